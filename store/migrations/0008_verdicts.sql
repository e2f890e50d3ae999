-- What somebody who takes care of an alert found it to be.

ALTER TABLE acknowledgements ADD COLUMN verdict text CHECK (verdict IN ('false_alarm'));
COMMENT ON COLUMN acknowledgements.verdict IS 'What they found it to be: false_alarm when nothing was wrong; null when they said nothing of it.';
