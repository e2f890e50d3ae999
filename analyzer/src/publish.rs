//! Anomalies, alerts, expected bands, dead letters and offsets in one Kafka transaction.
//!
//! In: what the partitions of a session found since the last commit. Out: records visible to `read_committed` readers
//! together with the offsets, or not at all; each in the partition its input came from. After any error the producer is
//! not used again: the next session fences it and reads whether the commit took.

use std::time::{Duration, Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidewatch_schemas::{Alert, AvroRecord, Topics, encode, headers, time::rfc3339};
use tidewatch_service_kit::kafka::{Context, Group, KafkaConfig};

use crate::{analysis::Output, consume::STAGE, error::SessionError};

/// How long begin, send-offsets and commit may each take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A record that was no window, as it came in.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: OwnedHeaders,
}

/// What one partition found up to an offset.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) partition: i32,
    /// The next record to read.
    pub(crate) offset: i64,
    pub(crate) metadata: String,
    pub(crate) outputs: Vec<Output>,
    pub(crate) originals: Vec<Original>,
}

/// The transactional producer of one session.
pub(crate) struct Publisher {
    producer: BaseProducer<Context>,
    topics: Topics,
}

impl Publisher {
    /// Fences a predecessor of the same instance: what it had open is aborted before anything is read.
    pub(crate) fn open(kafka: &KafkaConfig, instance: &str) -> Result<Self, SessionError> {
        let id = kafka.group(&format!("{STAGE}.{instance}"));
        let producer: BaseProducer<Context> = kafka
            .transactional(&id)
            .create_with_context(Context)
            .map_err(SessionError::kafka("create producer"))?;
        producer.init_transactions(3 * TIMEOUT).map_err(SessionError::kafka("fence predecessor"))?;
        Ok(Self { producer, topics: kafka.topics() })
    }

    /// Lets the client say what it has to say: unasked, an idle one would tell of an outage when it is long over.
    pub(crate) fn serve(&self) {
        self.producer.poll(Duration::ZERO);
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
        // taken at the cut: a rebalance since then makes the commit fail, and this session with it
        let Some(member) = group.consumer().group_metadata() else {
            return Err(SessionError::kafka("read group metadata")(KafkaError::Canceled));
        };
        self.producer.begin_transaction().map_err(SessionError::kafka("begin transaction"))?;
        for cut in cuts {
            cut.outputs.iter().try_for_each(|output| self.send_output(cut.partition, output))?;
            cut.originals.iter().try_for_each(|original| self.send_original(cut.partition, original))?;
        }
        self.producer
            .send_offsets_to_transaction(&offsets, &member, TIMEOUT)
            .map_err(SessionError::kafka("send offsets"))?;
        self.producer.commit_transaction(TIMEOUT).map_err(SessionError::kafka("commit transaction"))
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
                let payload = bytes("alert", &**alert)?;
                self.send_to(&self.topics.alerts(), partition, &alert.server, &payload, cloud_event(alert))
            }
        }
    }

    fn send_to(
        &self,
        topic: &str,
        partition: i32,
        server: &str,
        payload: &[u8],
        headers: OwnedHeaders,
    ) -> Result<(), SessionError> {
        let record = BaseRecord::to(topic)
            .partition(partition)
            .key(server.as_bytes())
            .payload(payload)
            .headers(headers);
        self.send(record)
    }

    fn send_original(&self, partition: i32, original: &Original) -> Result<(), SessionError> {
        let topic = self.topics.dead_letter(STAGE);
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic)
            .partition(partition)
            .payload(&original.payload)
            .headers(original.headers.clone());
        if let Some(key) = &original.key {
            record = record.key(key);
        }
        self.send(record)
    }

    /// A full queue is waited for: everything in it belongs to this transaction and is on its way.
    fn send(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), SessionError> {
        let deadline = Instant::now() + TIMEOUT;
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    record = back;
                    self.producer.poll(Duration::from_millis(20));
                }
                Err((error, _)) => return Err(SessionError::kafka("send record")(error)),
            }
        }
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
fn cloud_event(alert: &Alert) -> OwnedHeaders {
    let status = alert.status.as_str();
    with([
        (headers::CONTENT_TYPE, headers::CONTENT_TYPE_AVRO),
        (headers::CE_SPECVERSION, "1.0"),
        (headers::CE_ID, &format!("{}.{status}", alert.alert_id)),
        (headers::CE_SOURCE, "/tidewatch/analyzer"),
        (headers::CE_TYPE, &format!("io.tidewatch.alert.{status}")),
        (headers::CE_TIME, &rfc3339(alert.updated_at)),
        (headers::CE_SUBJECT, &alert.server),
    ])
}
