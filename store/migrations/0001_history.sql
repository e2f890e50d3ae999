-- The shape of Tidewatch's history: who (servers), what (series), the windows themselves, what was expected of them,
-- what was odd, and up to where each Kafka partition is accounted for. All times are UTC.

CREATE TABLE servers (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    ip_address text,
    labels     jsonb NOT NULL DEFAULT '{}',
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL
);
COMMENT ON TABLE servers IS 'Every server that ever sent a sample.';
COMMENT ON COLUMN servers.id IS 'Short stand-in for the name.';
COMMENT ON COLUMN servers.name IS 'As its collector calls it; the key of every Kafka record about it.';
COMMENT ON COLUMN servers.ip_address IS 'From the labels of tidewatch_host_info; null when its collector does not say.';
COMMENT ON COLUMN servers.labels IS 'The other labels of tidewatch_host_info.';
COMMENT ON COLUMN servers.first_seen IS 'Start of its first 10 s window.';
COMMENT ON COLUMN servers.last_seen IS 'End of its newest 10 s window.';

CREATE TABLE series (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server_id   integer NOT NULL REFERENCES servers,
    metric_name text NOT NULL,
    labels      jsonb NOT NULL DEFAULT '{}',
    labels_hash bytea NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('gauge', 'counter')),
    unit        text NOT NULL DEFAULT '',
    first_seen  timestamptz NOT NULL DEFAULT now(),
    -- labels may be longer than an index entry, hence their hash
    UNIQUE (server_id, metric_name, labels_hash)
);
COMMENT ON TABLE series IS 'Every series of a server; its identity is (server, metric name, labels).';
COMMENT ON COLUMN series.id IS 'Short stand-in for the identity.';
COMMENT ON COLUMN series.server_id IS 'Whose series it is.';
COMMENT ON COLUMN series.metric_name IS 'What is measured.';
COMMENT ON COLUMN series.labels IS 'Which one of them: name to value.';
COMMENT ON COLUMN series.labels_hash IS 'First 16 bytes of the SHA-256 of the labels in order, each name and value preceded by its length.';
COMMENT ON COLUMN series.kind IS 'gauge: the value stands for itself. counter: only its growth matters.';
COMMENT ON COLUMN series.unit IS 'Unit of the value; empty when unknown.';
COMMENT ON COLUMN series.first_seen IS 'When it was first written here.';

CREATE TABLE samples_10s (
    series_id        integer NOT NULL,
    ts               timestamptz NOT NULL,
    count            bigint NOT NULL,
    sum              double precision NOT NULL,
    min              double precision NOT NULL,
    max              double precision NOT NULL,
    first            double precision NOT NULL,
    last             double precision NOT NULL,
    first_at         integer NOT NULL,
    last_at          integer NOT NULL,
    m2               double precision NOT NULL,
    increase         double precision NOT NULL,
    resets           integer NOT NULL,
    origin_partition integer NOT NULL,
    origin_offset    bigint NOT NULL,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE samples_10s IS 'One row for each series and 10 s window that holds a sample; a partition for each day.';
COMMENT ON COLUMN samples_10s.series_id IS 'Of series.id.';
COMMENT ON COLUMN samples_10s.ts IS 'Start of the window, inclusive.';
COMMENT ON COLUMN samples_10s.count IS 'Samples in the window, at least 1.';
COMMENT ON COLUMN samples_10s.sum IS 'Sum of the values.';
COMMENT ON COLUMN samples_10s.min IS 'Smallest value.';
COMMENT ON COLUMN samples_10s.max IS 'Largest value.';
COMMENT ON COLUMN samples_10s.first IS 'Value of the earliest sample.';
COMMENT ON COLUMN samples_10s.last IS 'Value of the latest sample.';
COMMENT ON COLUMN samples_10s.first_at IS 'Time of the earliest sample, milliseconds after ts.';
COMMENT ON COLUMN samples_10s.last_at IS 'Time of the latest sample, milliseconds after ts.';
COMMENT ON COLUMN samples_10s.m2 IS 'Sum of squared deviations from the mean; variance = m2 / count.';
COMMENT ON COLUMN samples_10s.increase IS 'Counters: growth between the samples of the window, a reset counting from zero. Gauges: 0.';
COMMENT ON COLUMN samples_10s.resets IS 'Counters: how often the value fell inside the window.';
COMMENT ON COLUMN samples_10s.origin_partition IS 'Partition of metrics.raw whose record made or last changed the row.';
COMMENT ON COLUMN samples_10s.origin_offset IS 'Offset of that record: a second copy of an output is known by it.';

CREATE TABLE samples_1m (
    LIKE samples_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE samples_1m IS 'One row for each series and minute that holds a sample; a partition for each day.';

CREATE TABLE expectations (
    series_id integer NOT NULL,
    ts        timestamptz NOT NULL,
    window_ms integer NOT NULL,
    low       double precision NOT NULL,
    high      double precision NOT NULL,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE expectations IS 'The band in which the analyzer expected a series; a partition for each day.';
COMMENT ON COLUMN expectations.series_id IS 'Of series.id.';
COMMENT ON COLUMN expectations.ts IS 'Start of the window it speaks of.';
COMMENT ON COLUMN expectations.window_ms IS 'Length of that window.';
COMMENT ON COLUMN expectations.low IS 'Lower end, in the unit of the series; a counter as a rate per second.';
COMMENT ON COLUMN expectations.high IS 'Upper end, likewise.';

CREATE TABLE anomalies (
    series_id     integer NOT NULL,
    ts            timestamptz NOT NULL,
    window_ms     integer NOT NULL,
    value         double precision NOT NULL,
    expected_low  double precision NOT NULL,
    expected_high double precision NOT NULL,
    score         double precision NOT NULL,
    method        text NOT NULL,
    PRIMARY KEY (series_id, ts)
);
CREATE INDEX anomalies_ts ON anomalies (ts);
COMMENT ON TABLE anomalies IS 'Windows of single series that were odd.';
COMMENT ON COLUMN anomalies.series_id IS 'Of series.id.';
COMMENT ON COLUMN anomalies.ts IS 'Start of the window.';
COMMENT ON COLUMN anomalies.window_ms IS 'Length of the window.';
COMMENT ON COLUMN anomalies.value IS 'What was seen: a mean, or a counter''s rate per second.';
COMMENT ON COLUMN anomalies.expected_low IS 'Lower end of what was expected.';
COMMENT ON COLUMN anomalies.expected_high IS 'Upper end of what was expected.';
COMMENT ON COLUMN anomalies.score IS 'How odd: 1 or more.';
COMMENT ON COLUMN anomalies.method IS 'Which detector said so.';

CREATE TABLE alerts (
    alert_id      text PRIMARY KEY,
    fingerprint   text NOT NULL,
    incident_id   text NOT NULL,
    server_id     integer NOT NULL REFERENCES servers,
    status        text NOT NULL CHECK (status IN ('firing', 'resolved')),
    severity      text NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    rule          text NOT NULL,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz,
    updated_at    timestamptz NOT NULL,
    title         text NOT NULL,
    explanation   text NOT NULL,
    metric_name   text,
    labels        jsonb NOT NULL DEFAULT '{}',
    unit          text NOT NULL DEFAULT '',
    value         double precision,
    expected_low  double precision,
    expected_high double precision,
    score         double precision,
    related       jsonb NOT NULL DEFAULT '[]',
    runbook_url   text
);
CREATE INDEX alerts_open ON alerts (starts_at DESC) WHERE status = 'firing';
CREATE INDEX alerts_starts ON alerts (starts_at DESC);
CREATE INDEX alerts_server ON alerts (server_id, starts_at DESC);
COMMENT ON TABLE alerts IS 'The newest state of every alert.';
COMMENT ON COLUMN alerts.alert_id IS 'The same however often the alert is computed.';
COMMENT ON COLUMN alerts.fingerprint IS 'What the alert is about; shared by all its occurrences.';
COMMENT ON COLUMN alerts.incident_id IS 'The outage it belongs to.';
COMMENT ON COLUMN alerts.server_id IS 'Of servers.id.';
COMMENT ON COLUMN alerts.status IS 'firing or resolved.';
COMMENT ON COLUMN alerts.severity IS 'info, warning or critical.';
COMMENT ON COLUMN alerts.rule IS 'The rule or detector that raised it.';
COMMENT ON COLUMN alerts.starts_at IS 'When the trouble began.';
COMMENT ON COLUMN alerts.ends_at IS 'When it ended; null while it fires.';
COMMENT ON COLUMN alerts.updated_at IS 'Time of the state kept here; an older state never replaces it.';
COMMENT ON COLUMN alerts.title IS 'One line.';
COMMENT ON COLUMN alerts.explanation IS 'What was seen and what was expected, in words.';
COMMENT ON COLUMN alerts.metric_name IS 'The series in question, if it is one.';
COMMENT ON COLUMN alerts.labels IS 'Its labels.';
COMMENT ON COLUMN alerts.unit IS 'Its unit.';
COMMENT ON COLUMN alerts.value IS 'What was seen.';
COMMENT ON COLUMN alerts.expected_low IS 'Lower end of what was expected.';
COMMENT ON COLUMN alerts.expected_high IS 'Upper end of what was expected.';
COMMENT ON COLUMN alerts.score IS 'How odd: 1 or more.';
COMMENT ON COLUMN alerts.related IS 'Series that were odd at the same time: [{metric, labels, score}].';
COMMENT ON COLUMN alerts.runbook_url IS 'What to do about it.';

CREATE TABLE ingest_offsets (
    consumer_group text NOT NULL,
    topic          text NOT NULL,
    partition      integer NOT NULL,
    next_offset    bigint NOT NULL,
    PRIMARY KEY (consumer_group, topic, partition)
);
COMMENT ON TABLE ingest_offsets IS 'Up to where each Kafka partition is written here: moved in the transaction of its rows, by compare-and-set.';
COMMENT ON COLUMN ingest_offsets.consumer_group IS 'Name of the consumer group.';
COMMENT ON COLUMN ingest_offsets.topic IS 'Kafka topic.';
COMMENT ON COLUMN ingest_offsets.partition IS 'Kafka partition.';
COMMENT ON COLUMN ingest_offsets.next_offset IS 'The first offset that is not yet written.';

CREATE VIEW metrics AS
SELECT
    s.series_id::bigint << 29 | (extract(epoch FROM s.ts)::bigint / 10) AS id,
    e.server_id,
    e.metric_name,
    CASE e.kind WHEN 'counter' THEN s.last ELSE s.sum / s.count END AS value,
    s.ts AS timestamp,
    s.ts AS time,
    e.labels
FROM series e
JOIN samples_10s s ON s.series_id = e.id;
COMMENT ON VIEW metrics IS 'samples_10s for people and dashboards: one value for each series and 10 s window.';
COMMENT ON COLUMN metrics.id IS 'The same for ever: series.id in front of the number of the window since 1970.';
COMMENT ON COLUMN metrics.server_id IS 'Of servers.id.';
COMMENT ON COLUMN metrics.metric_name IS 'What is measured.';
COMMENT ON COLUMN metrics.value IS 'A gauge''s mean over the window; a counter''s last value.';
COMMENT ON COLUMN metrics.timestamp IS 'Start of the window.';
COMMENT ON COLUMN metrics.time IS 'The same, under the name that Grafana looks for.';
COMMENT ON COLUMN metrics.labels IS 'Labels of the series.';

-- Makes the partition of one day unless it is there. A table is made and attached rather than created as a partition:
-- that leaves readers and writers of the other days alone.
CREATE FUNCTION tidewatch_ensure_day(parent text, day date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    child text := parent || '_' || to_char(day, 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tidewatch day partitions'));
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES)', child, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child,
        day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    RETURN true;
END $$;
COMMENT ON FUNCTION tidewatch_ensure_day IS 'Makes the partition of one day unless it is there; true when it did.';

-- Retention: whole days go at once, no row is deleted.
CREATE FUNCTION tidewatch_drop_days(parent text, before date) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    child text;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tidewatch day partitions'));
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent::regclass AND c.relname ~ '_[0-9]{8}$'
            AND to_date(right(c.relname, 8), 'YYYYMMDD') < before
        ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
COMMENT ON FUNCTION tidewatch_drop_days IS 'Drops the partitions of the days before one; says how many.';
