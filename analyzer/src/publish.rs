//! Anomalies, alerts (Avro or JSON), expected bands, dead letters, snapshots and offsets in one Kafka transaction.
//!
//! In: what the partitions of a session found since the last commit. Out: records visible to `read_committed` readers
//! together with the offsets, or not at all; each in the partition its input came from. After any error the producer is
//! not used again: the next session fences it and reads whether the commit took.

use rdkafka::{
    Offset, TopicPartitionList,
    message::{Header, OwnedHeaders},
};
use tidewatch_schemas::{Alert, Anomaly, AvroRecord, Topics, encode, encode_json, headers, time::rfc3339};
use tidewatch_service_kit::kafka::{Group, KafkaConfig, Original, Outgoing, Transactor};

use crate::{AlertsFormat, analysis::Output, consume::STAGE, error::SessionError, incident, snapshot::Entry};

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
    format: AlertsFormat,
}

impl Publisher {
    pub(crate) fn open(
        kafka: &KafkaConfig,
        instance: &str,
        format: AlertsFormat,
    ) -> Result<Self, SessionError> {
        let id = kafka.group(&format!("{STAGE}.{instance}"));
        Ok(Self { transactor: Transactor::open(kafka, &id)?, topics: kafka.topics(), format })
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
                let payload = written("anomaly", &**anomaly, self.format)?;
                let headers = cloud_event(&event_of_anomaly(anomaly), self.format);
                self.send_to(&self.topics.anomalies(), partition, &anomaly.server, &payload, headers)
            }
            Output::Expectation(expectation) => {
                let payload = written("expectation", &**expectation, AlertsFormat::Avro)?;
                self.send_to(
                    &self.topics.expected(),
                    partition,
                    &expectation.server,
                    &payload,
                    with([(headers::CONTENT_TYPE, headers::CONTENT_TYPE_AVRO)]),
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
        let payload = written("alert", alert, self.format)?;
        let headers = cloud_event(&event_of_alert(alert, transition, kind), self.format);
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

fn written<T: AvroRecord>(
    what: &'static str,
    record: &T,
    format: AlertsFormat,
) -> Result<Vec<u8>, SessionError> {
    let bytes = match format {
        AlertsFormat::Avro => encode(record).map_err(|error| error.to_string()),
        AlertsFormat::Json => encode_json(record).map_err(|error| error.to_string()),
    };
    bytes.map_err(|message| SessionError::Encode { what, message })
}

fn with<const N: usize>(pairs: [(&str, &str); N]) -> OwnedHeaders {
    pairs.into_iter().fold(OwnedHeaders::new_with_capacity(N), |all, (key, value)| {
        all.insert(Header { key, value: Some(value) })
    })
}

/// What a record is to those who read its headers alone.
struct Event<'a> {
    /// The same for a second copy of it.
    id: String,
    kind: String,
    time: i64,
    server: &'a str,
    /// All that is said of one thing is one trace.
    trace: Option<String>,
}

fn event_of_alert<'a>(alert: &'a Alert, transition: &str, kind: &str) -> Event<'a> {
    let id = format!("{}.{transition}", alert.alert_id);
    Event {
        trace: incident::traceparent(&alert.alert_id, &id),
        id,
        kind: format!("io.tidewatch.alert.{kind}"),
        time: alert.updated_at,
        server: &alert.server,
    }
}

fn event_of_anomaly(anomaly: &Anomaly) -> Event<'_> {
    let id = incident::anomaly_id(anomaly);
    Event {
        trace: incident::traceparent(&id, &id),
        id,
        kind: "io.tidewatch.anomaly".to_owned(),
        time: anomaly.window_start + anomaly.window_ms,
        server: &anomaly.server,
    }
}

/// CloudEvents 1.0, Kafka binding, binary mode.
fn cloud_event(event: &Event<'_>, format: AlertsFormat) -> OwnedHeaders {
    let content_type = match format {
        AlertsFormat::Avro => headers::CONTENT_TYPE_AVRO,
        AlertsFormat::Json => headers::CONTENT_TYPE_JSON,
    };
    let all = with([
        (headers::CONTENT_TYPE, content_type),
        (headers::CE_SPECVERSION, "1.0"),
        (headers::CE_ID, &event.id),
        (headers::CE_SOURCE, "/tidewatch/analyzer"),
        (headers::CE_TYPE, &event.kind),
        (headers::CE_TIME, &rfc3339(event.time)),
        (headers::CE_SUBJECT, event.server),
    ]);
    match &event.trace {
        Some(trace) => all.insert(Header { key: headers::TRACEPARENT, value: Some(trace) }),
        None => all,
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers;
    use tidewatch_schemas::{Framing, Labels, decode};

    use super::*;

    fn anomaly() -> Anomaly {
        Anomaly {
            server: "web-1".into(),
            metric: "node_load1".into(),
            labels: Labels::new(),
            unit: String::new(),
            window_start: 1_795_442_590_000,
            window_ms: 10_000,
            value: 9.0,
            expected_low: 0.1,
            expected_high: 4.5,
            score: 2.0,
            method: "loud".into(),
        }
    }

    fn told(headers: &OwnedHeaders) -> Vec<(String, String)> {
        let text = |header: Header<'_, &[u8]>| {
            let value = String::from_utf8(header.value.unwrap_or_default().to_vec()).unwrap();
            (header.key.to_owned(), value)
        };
        headers.iter().map(text).collect()
    }

    #[test]
    fn an_anomaly_is_an_event_that_says_how_it_is_written() {
        let id = incident::anomaly_id(&anomaly());
        for (format, kind, framing) in [
            (AlertsFormat::Avro, "application/avro", Framing::SingleObject),
            (AlertsFormat::Json, "application/json", Framing::Json),
        ] {
            let payload = written("anomaly", &anomaly(), format).unwrap();
            assert_eq!(decode::<Anomaly>(&payload).unwrap(), (anomaly(), framing));
            let trace = incident::traceparent(&id, &id).unwrap();
            let expected = [
                ("content-type", kind),
                ("ce_specversion", "1.0"),
                ("ce_id", id.as_str()),
                ("ce_source", "/tidewatch/analyzer"),
                ("ce_type", "io.tidewatch.anomaly"),
                ("ce_time", "2026-11-23T14:03:20.000Z"),
                ("ce_subject", "web-1"),
                ("traceparent", trace.as_str()),
            ];
            let expected: Vec<_> =
                expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(told(&cloud_event(&event_of_anomaly(&anomaly()), format)), expected);
        }
    }

    #[test]
    fn another_window_or_series_is_another_event() {
        let later = Anomaly { window_start: 1_795_442_600_000, ..anomaly() };
        let other = Anomaly { metric: "node_load5".into(), ..anomaly() };
        let ids = [anomaly(), later, other].map(|one| event_of_anomaly(&one).id);
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
    }
}
