-- What people do about alerts: they say that they take care of one, and silence those that fit for a while. And the alerts of an
-- incident are found by its id.

-- the index of a long history may take longer than a question is allowed to
SET LOCAL statement_timeout = 0;

CREATE INDEX alerts_incident ON alerts (incident_id, starts_at, alert_id);
COMMENT ON INDEX alerts_incident IS 'The alerts of an incident, the first mover first.';

-- no foreign key: a replay writes the alerts anew, and what people did about them stays
CREATE TABLE acknowledgements (
    alert_id text PRIMARY KEY,
    by       text NOT NULL,
    at       timestamptz NOT NULL,
    note     text
);
COMMENT ON TABLE acknowledgements IS 'Alerts that somebody takes care of.';
COMMENT ON COLUMN acknowledgements.alert_id IS 'Of alerts.alert_id.';
COMMENT ON COLUMN acknowledgements.by IS 'Who: the name of the key that the gateway knew, or anonymous.';
COMMENT ON COLUMN acknowledgements.at IS 'Since when.';
COMMENT ON COLUMN acknowledgements.note IS 'What they say to it; null when nothing.';

CREATE TABLE silences (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server     text,
    metric     text,
    labels     jsonb NOT NULL DEFAULT '{}',
    starts_at  timestamptz NOT NULL,
    ends_at    timestamptz NOT NULL,
    comment    text NOT NULL,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (starts_at <= ends_at)
);
CREATE INDEX silences_ends ON silences (ends_at);
COMMENT ON INDEX silences_ends IS 'Those that have not ended yet, and those of a time.';
COMMENT ON TABLE silences IS 'Alerts that nobody wants to hear of for a while. They are marked, not kept from anyone: the analyzer raises them all the same.';
COMMENT ON COLUMN silences.id IS 'Counted from 1.';
COMMENT ON COLUMN silences.server IS 'Name of the server, * stands for any text; null: any server.';
COMMENT ON COLUMN silences.metric IS 'Name of the metric, likewise; null: any metric, and alerts of none.';
COMMENT ON COLUMN silences.labels IS 'Labels of the alert, name to value with *, likewise; a label that is not there is an empty one.';
COMMENT ON COLUMN silences.starts_at IS 'Begin, inclusive.';
COMMENT ON COLUMN silences.ends_at IS 'End, exclusive; moved to the time when somebody ended it. One that never began is as long as nothing.';
COMMENT ON COLUMN silences.comment IS 'Why.';
COMMENT ON COLUMN silences.created_by IS 'Who: the name of the key that the gateway knew, or anonymous.';
COMMENT ON COLUMN silences.created_at IS 'When it was said.';

CREATE FUNCTION tidewatch_fits(value text, pattern text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(value, '') LIKE replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
$$;
COMMENT ON FUNCTION tidewatch_fits IS 'Whether a whole text fits a pattern in which * stands for any text; null is an empty one.';
