-- Incidents since a time are found by the alerts that ended since, or still fire.
CREATE INDEX alerts_ended ON alerts (coalesce(ends_at, updated_at));
