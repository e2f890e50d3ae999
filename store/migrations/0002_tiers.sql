-- Windows of 5 minutes and of an hour, and partitions as long as their tier asks for: a day of 10 s, a week of minutes, a
-- month of the longer ones.

-- moving the minutes may take longer than a question is allowed to
SET LOCAL statement_timeout = 0;

CREATE TABLE samples_5m (
    LIKE samples_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE samples_5m IS 'One row for each series and 5 minutes that hold a sample; a partition for each month.';

CREATE TABLE samples_1h (
    LIKE samples_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE samples_1h IS 'One row for each series and hour that holds a sample; a partition for each month.';

DROP FUNCTION tidewatch_ensure_day, tidewatch_drop_days;

-- A table is made and attached rather than created as a partition: that leaves readers and writers of the others alone.
CREATE FUNCTION tidewatch_ensure_partition(parent text, first date, behind date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    child text := parent || '_' || to_char(first, 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tidewatch partitions'));
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES)', child, parent);
    IF parent LIKE 'packed\_%' THEN
        -- an array is compressed as soon as its row is longer than that; a parent has no such setting of its own
        EXECUTE format('ALTER TABLE %I SET (toast_tuple_target = 128)', child);
    END IF;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child,
        first::timestamp AT TIME ZONE 'UTC', behind::timestamp AT TIME ZONE 'UTC');
    RETURN true;
END $$;
COMMENT ON FUNCTION tidewatch_ensure_partition IS 'Makes the partition of the days from the first to the one behind the last unless it is there; true when it did.';

CREATE VIEW tidewatch_partitions AS
SELECT p.relname::text AS parent, c.relname::text AS child, i.inhdetachpending AS leaving,
    substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([^'']+)''\)')::timestamptz AS first,
    substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::timestamptz AS behind
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE p.relkind = 'p' AND p.relnamespace = 'public'::regnamespace;
COMMENT ON VIEW tidewatch_partitions IS 'The partitions of all tables and the times they hold.';
COMMENT ON COLUMN tidewatch_partitions.parent IS 'The table.';
COMMENT ON COLUMN tidewatch_partitions.child IS 'Its partition.';
COMMENT ON COLUMN tidewatch_partitions.leaving IS 'Whether it is being detached, to be dropped then.';
COMMENT ON COLUMN tidewatch_partitions.first IS 'The first moment it holds.';
COMMENT ON COLUMN tidewatch_partitions.behind IS 'The first moment after it.';

ALTER TABLE samples_1m RENAME TO samples_1m_by_day;
ALTER INDEX samples_1m_pkey RENAME TO samples_1m_by_day_pkey;
CREATE TABLE samples_1m (
    LIKE samples_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE samples_1m IS 'One row for each series and minute that holds a sample; a partition for each week, from Monday on.';
DO $$
DECLARE
    day record;
BEGIN
    FOR day IN SELECT child, first FROM tidewatch_partitions WHERE parent = 'samples_1m_by_day' LOOP
        -- the week's partition may have the name of its Monday's
        EXECUTE format('ALTER TABLE %I RENAME TO %I', day.child, day.child || '_old');
    END LOOP;
    FOR day IN
        SELECT DISTINCT date_trunc('week', first AT TIME ZONE 'UTC')::date AS monday
        FROM tidewatch_partitions WHERE parent = 'samples_1m_by_day'
    LOOP
        PERFORM tidewatch_ensure_partition('samples_1m', day.monday, day.monday + 7);
    END LOOP;
END $$;
INSERT INTO samples_1m SELECT * FROM samples_1m_by_day;
DROP TABLE samples_1m_by_day;
