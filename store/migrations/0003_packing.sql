-- Closed partitions of 10 s and of minutes are packed: one row for each series and hour, an array for each column.
-- Views show packed and unpacked windows alike.

CREATE TABLE packed_10s (
    series_id        integer NOT NULL,
    hour             timestamptz NOT NULL,
    windows          integer NOT NULL,
    first_slot       integer NOT NULL,
    slots            smallint[],
    scale            double precision,
    base             bigint,
    step             bigint,
    count            bigint[] NOT NULL,
    sum              double precision[],
    sum_int          integer[],
    sum_small        smallint[],
    min              double precision[],
    min_int          integer[],
    min_small        smallint[],
    max              double precision[],
    max_int          integer[],
    max_small        smallint[],
    first            double precision[],
    first_int        integer[],
    first_small      smallint[],
    last             double precision[],
    last_int         integer[],
    last_small       smallint[],
    first_at         integer[],
    first_at_small   smallint[],
    last_at          integer[],
    last_at_small    smallint[],
    m2               double precision[] NOT NULL,
    increase         double precision[],
    resets           integer[] NOT NULL,
    origin_partition integer[] NOT NULL,
    origin_base      bigint,
    origin_step      bigint,
    origin_small     smallint[],
    origin_offset    bigint[],
    PRIMARY KEY (series_id, hour)
) PARTITION BY RANGE (hour);
COMMENT ON TABLE packed_10s IS 'Windows of samples_10s of closed days, one row for each series and hour, to be read through windows_10s. An array of one element holds for all windows.';
COMMENT ON COLUMN packed_10s.series_id IS 'Of series.id.';
COMMENT ON COLUMN packed_10s.hour IS 'Start of the hour.';
COMMENT ON COLUMN packed_10s.windows IS 'How many windows it holds.';
COMMENT ON COLUMN packed_10s.first_slot IS 'Place of the first window in the hour, counted in windows.';
COMMENT ON COLUMN packed_10s.slots IS 'Places of all windows in the hour; null when they follow each other without a gap.';
COMMENT ON COLUMN packed_10s.scale IS 'Values given as _int or _small are (base + step * n + value) / scale in window n, counted from 0; sum has count times base + step * n.';
COMMENT ON COLUMN packed_10s.base IS 'See scale.';
COMMENT ON COLUMN packed_10s.step IS 'See scale.';
COMMENT ON COLUMN packed_10s.count IS 'As in samples_10s.';
COMMENT ON COLUMN packed_10s.sum IS 'As in samples_10s; last * count when sum, sum_int and sum_small are null.';
COMMENT ON COLUMN packed_10s.sum_int IS 'See scale.';
COMMENT ON COLUMN packed_10s.sum_small IS 'See scale.';
COMMENT ON COLUMN packed_10s.min IS 'As in samples_10s; first when min, min_int and min_small are null.';
COMMENT ON COLUMN packed_10s.min_int IS 'See scale.';
COMMENT ON COLUMN packed_10s.min_small IS 'See scale.';
COMMENT ON COLUMN packed_10s.max IS 'As in samples_10s; last when max, max_int and max_small are null.';
COMMENT ON COLUMN packed_10s.max_int IS 'See scale.';
COMMENT ON COLUMN packed_10s.max_small IS 'See scale.';
COMMENT ON COLUMN packed_10s.first IS 'As in samples_10s; last when first, first_int and first_small are null.';
COMMENT ON COLUMN packed_10s.first_int IS 'See scale.';
COMMENT ON COLUMN packed_10s.first_small IS 'See scale.';
COMMENT ON COLUMN packed_10s.last IS 'As in samples_10s.';
COMMENT ON COLUMN packed_10s.last_int IS 'See scale.';
COMMENT ON COLUMN packed_10s.last_small IS 'See scale.';
COMMENT ON COLUMN packed_10s.first_at IS 'As in samples_10s.';
COMMENT ON COLUMN packed_10s.first_at_small IS 'The same less 30000.';
COMMENT ON COLUMN packed_10s.last_at IS 'As in samples_10s; first_at when last_at and last_at_small are null.';
COMMENT ON COLUMN packed_10s.last_at_small IS 'The same less 30000.';
COMMENT ON COLUMN packed_10s.m2 IS 'As in samples_10s.';
COMMENT ON COLUMN packed_10s.increase IS 'As in samples_10s; last - first when null.';
COMMENT ON COLUMN packed_10s.resets IS 'As in samples_10s.';
COMMENT ON COLUMN packed_10s.origin_partition IS 'As in samples_10s.';
COMMENT ON COLUMN packed_10s.origin_base IS 'origin_offset in window n is origin_base + origin_step * n + origin_small when there is origin_small.';
COMMENT ON COLUMN packed_10s.origin_step IS 'See origin_base.';
COMMENT ON COLUMN packed_10s.origin_small IS 'See origin_base.';
COMMENT ON COLUMN packed_10s.origin_offset IS 'As in samples_10s.';

-- compressed, and in the row itself as long as it fits a page: an hour is then read with one look
DO $$
DECLARE
    attribute name;
    has_lz4 boolean := EXISTS (SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals));
BEGIN
    FOR attribute IN
        SELECT attname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE attrelid = 'packed_10s'::regclass AND attnum > 0 AND t.typcategory = 'A'
    LOOP
        EXECUTE format('ALTER TABLE packed_10s ALTER COLUMN %I SET STORAGE MAIN', attribute);
        IF has_lz4 THEN
            EXECUTE format('ALTER TABLE packed_10s ALTER COLUMN %I SET COMPRESSION lz4', attribute);
        END IF;
    END LOOP;
END $$;

CREATE TABLE packed_1m (
    LIKE packed_10s INCLUDING COMMENTS INCLUDING STORAGE INCLUDING COMPRESSION,
    PRIMARY KEY (series_id, hour)
) PARTITION BY RANGE (hour);
COMMENT ON TABLE packed_1m IS 'Windows of samples_1m of closed weeks, one row for each series and hour, to be read through windows_1m. An array of one element holds for all windows.';

-- Small enough that the planner puts their bodies in place of the calls.
CREATE FUNCTION tidewatch_scaled(own double precision, small smallint, wide integer, model bigint, scale double precision, one double precision[])
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(own, (model + coalesce(small, wide))::double precision / scale, one[1]);
COMMENT ON FUNCTION tidewatch_scaled IS 'A packed value: its own, what its small or wide integer and the model of its hour make, or the one of all windows.';

-- unpacked_*: the windows that packed_* holds. windows_*: those of samples_* too, with `hour`, by which packed ones are found.
DO $do$
DECLARE
    tier record;
    view text;
    name text;
    columns CONSTANT text := 'series_id, ts, count, sum, min, max, first, last, first_at, last_at, m2, increase, resets, origin_partition, origin_offset';
BEGIN
    FOR tier IN
        SELECT * FROM (VALUES ('10s', '10 seconds', '10 s', true), ('1m', '1 minute', 'a minute', true),
            ('5m', '5 minutes', '5 minutes', false), ('1h', '1 hour', 'an hour', false)) AS t(name, length, said, is_packed)
    LOOP
        IF tier.is_packed THEN
            EXECUTE format($view$
            CREATE VIEW unpacked_%1$s AS
            SELECT w.series_id, w.ts, w.count,
                coalesce(w.sum, w.last * w.count) AS sum,
                coalesce(w.min, w.first, w.last) AS min,
                coalesce(w.max, w.last) AS max,
                coalesce(w.first, w.last) AS first,
                w.last, w.first_at,
                coalesce(w.last_at, w.first_at) AS last_at,
                w.m2,
                coalesce(w.increase, w.last - coalesce(w.first, w.last)) AS increase,
                w.resets, w.origin_partition, w.origin_offset, w.hour
            FROM (
                SELECT p.series_id, p.hour,
                    p.hour + coalesce(u.slot, p.first_slot + u.place) * %2$L::interval AS ts,
                    coalesce(u.count, p.count[1]) AS count,
                    tidewatch_scaled(u.sum, u.sum_small, u.sum_int, coalesce(u.count, p.count[1]) * (p.base + p.step * u.place), p.scale, p.sum) AS sum,
                    tidewatch_scaled(u.min, u.min_small, u.min_int, p.base + p.step * u.place, p.scale, p.min) AS min,
                    tidewatch_scaled(u.max, u.max_small, u.max_int, p.base + p.step * u.place, p.scale, p.max) AS max,
                    tidewatch_scaled(u.first, u.first_small, u.first_int, p.base + p.step * u.place, p.scale, p.first) AS first,
                    tidewatch_scaled(u.last, u.last_small, u.last_int, p.base + p.step * u.place, p.scale, p.last) AS last,
                    coalesce(u.first_at, u.first_at_small + 30000, p.first_at[1]) AS first_at,
                    coalesce(u.last_at, u.last_at_small + 30000, p.last_at[1]) AS last_at,
                    coalesce(u.m2, p.m2[1]) AS m2,
                    coalesce(u.increase, p.increase[1]) AS increase,
                    coalesce(u.resets, p.resets[1]) AS resets,
                    coalesce(u.origin_partition, p.origin_partition[1]) AS origin_partition,
                    coalesce(u.origin_offset, p.origin_base + p.origin_step * u.place + u.origin_small, p.origin_offset[1]) AS origin_offset
                FROM packed_%1$s p CROSS JOIN LATERAL ROWS FROM (
                    generate_series(0, p.windows - 1),
                    unnest(p.slots),
                    unnest(p.count),
                    unnest(p.sum),
                    unnest(p.sum_int),
                    unnest(p.sum_small),
                    unnest(p.min),
                    unnest(p.min_int),
                    unnest(p.min_small),
                    unnest(p.max),
                    unnest(p.max_int),
                    unnest(p.max_small),
                    unnest(p.first),
                    unnest(p.first_int),
                    unnest(p.first_small),
                    unnest(p.last),
                    unnest(p.last_int),
                    unnest(p.last_small),
                    unnest(p.first_at),
                    unnest(p.first_at_small),
                    unnest(p.last_at),
                    unnest(p.last_at_small),
                    unnest(p.m2),
                    unnest(p.increase),
                    unnest(p.resets),
                    unnest(p.origin_partition),
                    unnest(p.origin_small),
                    unnest(p.origin_offset)
                ) AS u(place, slot, count, sum, sum_int, sum_small,
                    min, min_int, min_small, max, max_int, max_small, first, first_int, first_small, last, last_int, last_small,
                    first_at, first_at_small, last_at, last_at_small, m2, increase, resets, origin_partition, origin_small, origin_offset)
            ) w
            $view$, tier.name, tier.length);
            EXECUTE format($view$
            CREATE VIEW windows_%1$s AS
            SELECT %2$s, ts AS hour FROM samples_%1$s UNION ALL SELECT %2$s, hour FROM unpacked_%1$s
            $view$, tier.name, columns);
            EXECUTE format('COMMENT ON VIEW unpacked_%1$s IS %2$L', tier.name, format('The windows that packed_%s holds.', tier.name));
            EXECUTE format('COMMENT ON VIEW windows_%1$s IS %2$L', tier.name,
                format('The windows of %s, of samples_%s and packed_%2$s.', tier.said, tier.name));
        ELSE
            EXECUTE format('CREATE VIEW windows_%1$s AS SELECT %2$s, ts AS hour FROM samples_%1$s', tier.name, columns);
            EXECUTE format('COMMENT ON VIEW windows_%1$s IS %2$L', tier.name,
                format('The windows of %s, of samples_%s.', tier.said, tier.name));
        END IF;
    END LOOP;
    FOR view, name IN
        SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace AND c.relname ~ '^(unpacked|windows)_' AND a.attnum > 0
    LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', view, name, CASE
            WHEN name = 'series_id' THEN 'Of series.id.'
            WHEN name = 'ts' THEN 'Start of the window, inclusive.'
            WHEN name <> 'hour' THEN format('As in samples_%s.', split_part(view, '_', 2))
            WHEN view LIKE 'unpacked%' THEN 'Start of its hour.'
            ELSE 'Where the window is kept: the start of its hour when it is packed, else its own start. Whoever bounds ts should bound it, too, from the full hour on: packed windows are found by it.'
        END);
    END LOOP;
END $do$;

-- A look at single values finds packed hours by the time it asks for: time is an ordinary column here.
CREATE TABLE slots_10s (
    ts   timestamptz PRIMARY KEY,
    hour timestamptz NOT NULL,
    slot integer NOT NULL
);
COMMENT ON TABLE slots_10s IS 'The windows of every hour of packed_10s.';
COMMENT ON COLUMN slots_10s.ts IS 'Start of the window.';
COMMENT ON COLUMN slots_10s.hour IS 'Start of its hour.';
COMMENT ON COLUMN slots_10s.slot IS 'Its place in the hour, from 0 on.';

CREATE OR REPLACE VIEW metrics AS
SELECT
    s.series_id::bigint << 29 | (extract(epoch FROM s.ts)::bigint / 10) AS id,
    e.server_id,
    e.metric_name,
    CASE e.kind WHEN 'counter' THEN s.last ELSE s.sum / s.count END AS value,
    s.ts AS timestamp,
    s.ts AS time,
    e.labels
FROM series e
JOIN samples_10s s ON s.series_id = e.id
UNION ALL
SELECT
    e.id::bigint << 29 | (extract(epoch FROM g.ts)::bigint / 10),
    e.server_id,
    e.metric_name,
    CASE e.kind WHEN 'counter' THEN v.last ELSE coalesce(v.sum, v.last * v.count) / v.count END,
    g.ts,
    g.ts,
    e.labels
FROM series e
CROSS JOIN slots_10s g
JOIN packed_10s p ON p.series_id = e.id AND p.hour = g.hour
CROSS JOIN LATERAL (
    -- OFFSET 0: once for each value
    SELECT CASE WHEN p.slots IS NULL THEN g.slot - p.first_slot + 1 ELSE array_position(p.slots, g.slot::smallint) END AS n OFFSET 0
) i
CROSS JOIN LATERAL (
    SELECT c.count,
        tidewatch_scaled(p.sum[i.n], p.sum_small[i.n], p.sum_int[i.n], c.count * (p.base + p.step * (i.n - 1)), p.scale, p.sum) AS sum,
        tidewatch_scaled(p.last[i.n], p.last_small[i.n], p.last_int[i.n], p.base + p.step * (i.n - 1), p.scale, p.last) AS last
    FROM (SELECT coalesce(p.count[i.n], p.count[1]) AS count OFFSET 0) c
    OFFSET 0
) v
WHERE i.n BETWEEN 1 AND p.windows;
COMMENT ON VIEW metrics IS '10 s windows for people and dashboards, packed or not: one value for each series and window.';
