-- Histograms: series of their own, whose windows hold how often each size was observed. Arrays of counts, so that anyone
-- with psql can read them.

ALTER TABLE series DROP CONSTRAINT series_kind_check;
ALTER TABLE series ADD CONSTRAINT series_kind_check CHECK (kind IN ('gauge', 'counter', 'histogram'));
COMMENT ON COLUMN series.kind IS 'gauge: the value stands for itself. counter: only its growth matters. histogram: its windows are in histograms_*, those of the others in samples_*.';
COMMENT ON COLUMN series.labels_hash IS 'First 16 bytes of the SHA-256 of the labels in order, each name and value preceded by its length; of a histogram with the word histogram in front, for it may have the name and labels of another series.';

-- few among many: found without a look at the others
CREATE INDEX series_histograms ON series (server_id) WHERE kind = 'histogram';
COMMENT ON INDEX series_histograms IS 'The histograms of a server.';
CREATE INDEX series_histogram_name ON series (metric_name, server_id) WHERE kind = 'histogram';
COMMENT ON INDEX series_histogram_name IS 'The histograms of a name over all servers.';

CREATE TABLE histograms_10s (
    series_id        integer NOT NULL,
    ts               timestamptz NOT NULL,
    count            bigint NOT NULL,
    sum              double precision,
    min              double precision,
    max              double precision,
    scale            integer NOT NULL,
    zero_threshold   double precision NOT NULL,
    zero_count       bigint NOT NULL,
    positive_offset  integer NOT NULL,
    positive         bigint[] NOT NULL,
    negative_offset  integer NOT NULL,
    negative         bigint[] NOT NULL,
    origin_partition integer NOT NULL,
    origin_offset    bigint NOT NULL,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE histograms_10s IS 'One row for each histogram and 10 s window in which something was observed; a partition for each day. OpenTelemetry''s base-2 exponential histogram: bucket i covers (base^i, base^(i+1)] with base = 2^(2^-scale).';
COMMENT ON COLUMN histograms_10s.series_id IS 'Of series.id.';
COMMENT ON COLUMN histograms_10s.ts IS 'Start of the window, inclusive.';
COMMENT ON COLUMN histograms_10s.count IS 'Observations, at least 1: zero_count and those of all buckets.';
COMMENT ON COLUMN histograms_10s.sum IS 'Sum of what was observed; null when unknown.';
COMMENT ON COLUMN histograms_10s.min IS 'Smallest observation; null when unknown.';
COMMENT ON COLUMN histograms_10s.max IS 'Largest observation; null when unknown.';
COMMENT ON COLUMN histograms_10s.scale IS 'How fine the buckets are, -10 to 20: one more and there are twice as many.';
COMMENT ON COLUMN histograms_10s.zero_threshold IS 'Observations up to this magnitude may stand in zero_count.';
COMMENT ON COLUMN histograms_10s.zero_count IS 'Observations of zero.';
COMMENT ON COLUMN histograms_10s.positive_offset IS 'Index i of the first bucket in positive; positive[n] is bucket positive_offset + n - 1.';
COMMENT ON COLUMN histograms_10s.positive IS 'Observations in neighbouring buckets, at most 160; empty when there are none above zero.';
COMMENT ON COLUMN histograms_10s.negative_offset IS 'Index of the first bucket in negative.';
COMMENT ON COLUMN histograms_10s.negative IS 'The same of the magnitudes of observations below zero.';
COMMENT ON COLUMN histograms_10s.origin_partition IS 'Partition of metrics.raw whose record made or last changed the row.';
COMMENT ON COLUMN histograms_10s.origin_offset IS 'Offset of that record: a second copy of an output is known by it.';

CREATE TABLE histograms_1m (
    LIKE histograms_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE histograms_1m IS 'One row for each histogram and minute in which something was observed, as in histograms_10s; a partition for each week.';

CREATE TABLE histograms_5m (
    LIKE histograms_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE histograms_5m IS 'One row for each histogram and 5 minutes in which something was observed, as in histograms_10s; a partition for each month.';

CREATE TABLE histograms_1h (
    LIKE histograms_10s INCLUDING COMMENTS,
    PRIMARY KEY (series_id, ts)
) PARTITION BY RANGE (ts);
COMMENT ON TABLE histograms_1h IS 'One row for each histogram and hour in which something was observed, as in histograms_10s; a partition for each month.';
