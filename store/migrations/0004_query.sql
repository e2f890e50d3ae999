-- Questions over many servers begin with the name of a metric: which series have it. Their identity begins with the
-- server, so its index is of no use there. The server is added so that completion of names needs no row of the table.
CREATE INDEX series_metric_name ON series (metric_name, server_id);
COMMENT ON INDEX series_metric_name IS 'The series of a metric over all servers.';
