//! Every topic: its name, its partitions, its settings. The one place where they stand.
//!
//! Invariant: the topics keyed by server all have the same partition count, so that a server is partition `p` in all
//! of them (the analyzer restores its open alerts from partition `p` of `alerts` when it is given `p` of `metrics.10s`).

/// How old records leave a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Deleted when older than so many hours.
    DeleteAfterHours(i64),
    /// Only the newest record of each key stays.
    Compact,
    /// The same, for a topic in which the same keys come again and again: compacted within an hour, or a reader would have to
    /// read all that was ever written.
    CompactSoon,
    /// As [`Self::Compact`], and it goes too when it is older than so many hours.
    CompactAndDeleteAfterHours(i64),
}

/// One topic as it has to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub cleanup: Cleanup,
    /// The broker stamps records when it appends them: the clock of the window protocol.
    pub log_append_time: bool,
}

impl TopicSpec {
    /// The settings in Kafka's words.
    pub fn config(&self) -> Vec<(&'static str, String)> {
        let mut config = match self.cleanup {
            Cleanup::DeleteAfterHours(hours) => {
                vec![
                    ("cleanup.policy", "delete".to_owned()),
                    ("retention.ms", (hours * 3_600_000).to_string()),
                ]
            }
            Cleanup::Compact => vec![("cleanup.policy", "compact".to_owned())],
            Cleanup::CompactSoon => vec![
                ("cleanup.policy", "compact".to_owned()),
                // only closed segments are compacted
                ("segment.ms", (HOUR_MS / 2).to_string()),
                ("segment.bytes", (64 << 20).to_string()),
                ("max.compaction.lag.ms", HOUR_MS.to_string()),
            ],
            Cleanup::CompactAndDeleteAfterHours(hours) => vec![
                ("cleanup.policy", "compact,delete".to_owned()),
                ("retention.ms", (hours * 3_600_000).to_string()),
            ],
        };
        let stamp = if self.log_append_time { "LogAppendTime" } else { "CreateTime" };
        config.push(("message.timestamp.type", stamp.to_owned()));
        config
    }
}

/// Stages that have a dead-letter topic.
pub const STAGES: [&str; 5] = ["ingest", "stream-processor", "analyzer", "notify", "sink"];

const HOUR_MS: i64 = 3_600_000;
const DAY: i64 = 24;

/// The names of all topics under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self::new("tidewatch.")
    }
}

impl Topics {
    /// Partitions of the topics keyed by server, unless told otherwise.
    pub const PARTITIONS: i32 = 64;

    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }

    /// Requests to collect a server at once.
    pub fn collect_requests(&self) -> String {
        self.name("collect.requests")
    }

    pub fn raw(&self) -> String {
        self.name("metrics.raw")
    }

    pub fn layouts(&self) -> String {
        self.name("metrics.layouts")
    }

    /// Aggregates of one tier; the length in milliseconds becomes `10s`, `1m`, `5m`, `1h`.
    pub fn window(&self, window_ms: i64) -> String {
        self.name(&format!("metrics.{}", tier_name(window_ms)))
    }

    pub fn late(&self) -> String {
        self.name("metrics.late")
    }

    pub fn expected(&self) -> String {
        self.name("metrics.expected")
    }

    pub fn anomalies(&self) -> String {
        self.name("anomalies")
    }

    pub fn alerts(&self) -> String {
        self.name("alerts")
    }

    /// Each server's whole state, as the analyzer had it at an offset of `metrics.10s`.
    pub fn analyzer_state(&self) -> String {
        self.name("analyzer.state")
    }

    /// What people say of alerts to the detector.
    pub fn feedback(&self) -> String {
        self.name("analyzer.feedback")
    }

    /// Texts of the stream processor's filters, by fingerprint.
    pub fn filters(&self) -> String {
        self.name("stream-processor.filters")
    }

    pub fn dead_letter(&self, stage: &str) -> String {
        self.name(&format!("dead-letter.{stage}"))
    }

    /// Everything `tidewatch topics create` creates; `partitions` is that of the topics keyed by server.
    pub fn all(&self, partitions: i32) -> Vec<TopicSpec> {
        let topic = |name, cleanup| TopicSpec { name, partitions, cleanup, log_append_time: false };
        let kept = |days: i64| Cleanup::DeleteAfterHours(days * DAY);
        let mut all = vec![
            // long enough to replay from and to ride out a weekend without PostgreSQL downstream
            TopicSpec { log_append_time: true, ..topic(self.raw(), kept(3)) },
            // announced anew every day as long as they are used: kept longer than the frames that name them, by the broker's clock
            TopicSpec {
                partitions: 1,
                log_append_time: true,
                ..topic(self.layouts(), Cleanup::CompactAndDeleteAfterHours(7 * DAY))
            },
            TopicSpec { partitions: 1, ..topic(self.filters(), Cleanup::Compact) },
            // every collector reads all of it, and what is older than half a minute is passed over; keyed by server, but no stage
            // reads it beside another topic
            TopicSpec { partitions: 1, ..topic(self.collect_requests(), Cleanup::DeleteAfterHours(1)) },
            // every analyzer reads all of it; kept for longer than anything in it has an effect
            TopicSpec { partitions: 1, ..topic(self.feedback(), kept(90)) },
            topic(self.window(10_000), kept(3)),
            topic(self.window(60_000), kept(7)),
            topic(self.window(300_000), kept(30)),
            topic(self.window(3_600_000), kept(90)),
            topic(self.late(), kept(7)),
            topic(self.expected(), kept(3)),
            topic(self.anomalies(), kept(30)),
            // the analyzer reads its open alerts back from here, so an alert may fire for a year
            topic(self.alerts(), kept(365)),
            // every server anew each ten minutes, and a new owner reads it from its beginning
            topic(self.analyzer_state(), Cleanup::CompactSoon),
        ];
        all.extend(STAGES.iter().map(|stage| topic(self.dead_letter(stage), kept(14))));
        all
    }
}

/// `10s`, `1m`, `5m`, `1h`: the largest unit that divides it.
pub fn tier_name(window_ms: i64) -> String {
    [(3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .iter()
        .find(|(unit, _)| window_ms % unit == 0)
        .map_or_else(|| format!("{window_ms}ms"), |(unit, letter)| format!("{}{letter}", window_ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_named_by_their_largest_unit() {
        let names: Vec<_> = [10_000, 60_000, 300_000, 3_600_000, 1_500].map(tier_name).into();
        assert_eq!(names, ["10s", "1m", "5m", "1h", "1500ms"]);
    }

    #[test]
    fn topics_keyed_by_server_share_their_partition_count() {
        let topics = Topics::default();
        for spec in topics.all(8) {
            let whole = [topics.layouts(), topics.filters(), topics.collect_requests(), topics.feedback()];
            let expected = if whole.contains(&spec.name) { 1 } else { 8 };
            assert_eq!(spec.partitions, expected, "{}", spec.name);
        }
    }

    #[test]
    fn what_is_written_again_and_again_is_compacted_soon() {
        let topics = Topics::default();
        let specs = topics.all(1);
        let state = specs.iter().find(|spec| spec.name == topics.analyzer_state()).unwrap().config();
        let of = |key: &str| state.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
        assert_eq!((of("cleanup.policy"), of("segment.ms")), (Some("compact"), Some("1800000")));
    }

    #[test]
    fn what_collectors_write_is_stamped_by_the_broker() {
        let topics = Topics::new("x.");
        let stamped: Vec<_> =
            topics.all(1).into_iter().filter(|t| t.log_append_time).map(|t| t.name).collect();
        assert_eq!(stamped, ["x.metrics.raw", "x.metrics.layouts"]);
    }
}
