-- What people call a server and say of it stands apart from what its collector says: the sink writes the collector's columns
-- and never these. And the values of labels are found by name, for completion.

-- the index of a long history may take longer than a question is allowed to
SET LOCAL statement_timeout = 0;

ALTER TABLE servers ADD COLUMN display_name text, ADD COLUMN user_labels jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN servers.labels IS 'The other labels of tidewatch_host_info; those of user_labels go before them.';
COMMENT ON COLUMN servers.display_name IS 'What people call it; null when they call it by its name.';
COMMENT ON COLUMN servers.user_labels IS 'Labels that people gave it, over the collector''s; one that is null takes the collector''s away.';

CREATE INDEX series_labels ON series USING gin (labels);
COMMENT ON INDEX series_labels IS 'The series that have a label, for the completion of its values.';
