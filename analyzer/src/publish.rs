//! Anomalies, alerts, expected bands, dead letters, snapshots and offsets in one Kafka transaction.
//!
//! In: what the partitions of a session found since the last commit. Out: records visible to `read_committed` readers
//! together with the offsets, or not at all; each in the partition its input came from. After any error the producer is
//! not used again: the next session fences it and reads whether the commit took.

use rdkafka::{
    Offset, TopicPartitionList,
    message::{Header, OwnedHeaders},
};
use tidewatch_schemas::{Alert, AvroRecord, Topics, encode, headers, time::rfc3339};
use tidewatch_service_kit::kafka::{Group, KafkaConfig, Original, Outgoing, Transactor};

use crate::{analysis::Output, consume::STAGE, error::SessionError, snapshot::Entry};

/// What one partition found up to an offset.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) partition: i32,
    /// The next record to read.
    pub(crate) offset: i64,
    pub(crate) metadata: String,
    pub(crate) outputs: Vec<Output>,
    /// Records that were no windows, as they came in.
    pub(crate) originals: Vec<Original>,
    /// States as of this offset, and what deletes those of servers that are forgotten.
    pub(crate) states: Vec<Entry>,
    /// Of how many servers.
    pub(crate) snapshots: Snapshots,
}

/// What a commit does to `analyzer.state`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshots {
    pub(crate) written: usize,
    pub(crate) dropped: usize,
    pub(crate) bytes: usize,
}

/// The transactional output of one session.
pub(crate) struct Publisher {
    transactor: Transactor,
    topics: Topics,
}

impl Publisher {
    pub(crate) fn open(kafka: &KafkaConfig, instance: &str) -> Result<Self, SessionError> {
        let id = kafka.group(&format!("{STAGE}.{instance}"));
        Ok(Self { transactor: Transactor::open(kafka, &id)?, topics: kafka.topics() })
    }

    /// Keeps the idle client's events moving.
    pub(crate) fn serve(&self) {
        self.transactor.serve();
    }

    /// All of the cuts or nothing.
    pub(crate) fn commit(&self, group: &Group, cuts: &[Cut]) -> Result<(), SessionError> {
        let mut offsets = TopicPartitionList::with_capacity(cuts.len());
        let topic = self.topics.window(crate::consume::WINDOW_MS);
        for cut in cuts {
            let mut element = offsets.add_partition(&topic, cut.partition);
            element.set_offset(Offset::Offset(cut.offset)).map_err(SessionError::kafka("set offset"))?;
            element.set_metadata(&cut.metadata);
        }
        self.transactor.begin()?;
        for cut in cuts {
            cut.outputs.iter().try_for_each(|output| self.send_output(cut.partition, output))?;
            for original in &cut.originals {
                self.transactor.send(original.outgoing())?;
            }
            cut.states.iter().try_for_each(|entry| self.send_state(cut.partition, entry))?;
        }
        Ok(self.transactor.commit(group, &offsets)?)
    }

    fn send_state(&self, partition: i32, entry: &Entry) -> Result<(), SessionError> {
        let topic = self.topics.analyzer_state();
        let Some(payload) = &entry.payload else {
            return Ok(self.transactor.erase(&topic, partition, &entry.key)?);
        };
        let headers = OwnedHeaders::new();
        let key = Some(&entry.key[..]);
        Ok(self.transactor.send(Outgoing {
            topic: &topic,
            partition,
            key,
            payload,
            headers,
            timestamp: None,
        })?)
    }

    fn send_output(&self, partition: i32, output: &Output) -> Result<(), SessionError> {
        match output {
            Output::Anomaly(anomaly) => {
                let payload = bytes("anomaly", &**anomaly)?;
                self.send_to(&self.topics.anomalies(), partition, &anomaly.server, &payload, content_type())
            }
            Output::Expectation(expectation) => {
                let payload = bytes("expectation", &**expectation)?;
                self.send_to(
                    &self.topics.expected(),
                    partition,
                    &expectation.server,
                    &payload,
                    content_type(),
                )
            }
            Output::Alert(alert) => {
                let status = alert.status.as_str();
                self.send_alert(partition, alert, status, status)
            }
            // counted, not sent
            Output::HeldBack => Ok(()),
            // to those who know two states it fires; the type tells it apart
            Output::Again(alert, number) => {
                self.send_alert(partition, alert, &format!("{}.{number}", alert.status.as_str()), "updated")
            }
        }
    }

    /// `transition` is unique within the alert, `kind` the end of the event's type.
    fn send_alert(
        &self,
        partition: i32,
        alert: &Alert,
        transition: &str,
        kind: &str,
    ) -> Result<(), SessionError> {
        let payload = bytes("alert", alert)?;
        let headers = cloud_event(alert, transition, kind);
        self.send_to(&self.topics.alerts(), partition, &alert.server, &payload, headers)
    }

    fn send_to(
        &self,
        topic: &str,
        partition: i32,
        server: &str,
        payload: &[u8],
        headers: OwnedHeaders,
    ) -> Result<(), SessionError> {
        let key = Some(server.as_bytes());
        Ok(self.transactor.send(Outgoing { topic, partition, key, payload, headers, timestamp: None })?)
    }
}

fn bytes<T: AvroRecord>(what: &'static str, record: &T) -> Result<Vec<u8>, SessionError> {
    encode(record).map_err(|error| SessionError::Encode { what, message: error.to_string() })
}

fn with<const N: usize>(pairs: [(&str, &str); N]) -> OwnedHeaders {
    pairs.into_iter().fold(OwnedHeaders::new_with_capacity(N), |all, (key, value)| {
        all.insert(Header { key, value: Some(value) })
    })
}

fn content_type() -> OwnedHeaders {
    with([(headers::CONTENT_TYPE, headers::CONTENT_TYPE_AVRO)])
}

/// CloudEvents 1.0, Kafka binding, binary mode: the id is the same for a second copy of a transition.
fn cloud_event(alert: &Alert, transition: &str, kind: &str) -> OwnedHeaders {
    with([
        (headers::CONTENT_TYPE, headers::CONTENT_TYPE_AVRO),
        (headers::CE_SPECVERSION, "1.0"),
        (headers::CE_ID, &format!("{}.{transition}", alert.alert_id)),
        (headers::CE_SOURCE, "/tidewatch/analyzer"),
        (headers::CE_TYPE, &format!("io.tidewatch.alert.{kind}")),
        (headers::CE_TIME, &rfc3339(alert.updated_at)),
        (headers::CE_SUBJECT, &alert.server),
    ])
}
