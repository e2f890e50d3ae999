//! The way of what people cause into Kafka: a request to collect, a verdict on an alert. In: a record. Out: that Kafka has it, or
//! why it may not.
//!
//! Keeps: nothing is called done without Kafka's acknowledgement (`acks=all`), and nobody waits much longer than
//! [`ACK_TIMEOUT`]; until somebody causes something there is no producer.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use rdkafka::error::{KafkaError, KafkaResult};
use tidewatch_schemas::headers::CONTENT_TYPE_JSON;
use tidewatch_service_kit::{
    http::Problem,
    kafka::{KafkaConfig, Producer, Record},
};

/// How long a record waits for Kafka.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// The client gives up before we do, so that what we called failed is rarely written after all.
const DELIVERY_TIMEOUT_MS: &str = "2500";

#[derive(Debug)]
pub(crate) struct Outlet {
    kafka: KafkaConfig,
    /// Made for the first record.
    producer: Mutex<Option<Producer>>,
}

impl Outlet {
    pub(crate) fn new(kafka: &KafkaConfig) -> Self {
        Self { kafka: kafka.clone(), producer: Mutex::default() }
    }

    pub(crate) fn topics(&self) -> tidewatch_schemas::Topics {
        self.kafka.topics()
    }

    fn made(&self) -> MutexGuard<'_, Option<Producer>> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self) -> KafkaResult<Producer> {
        let mut made = self.made();
        if let Some(producer) = made.as_ref() {
            return Ok(producer.clone());
        }
        let mut settings = self.kafka.producer();
        settings.set("delivery.timeout.ms", DELIVERY_TIMEOUT_MS);
        let producer = Producer::new(&settings)?;
        *made = Some(producer.clone());
        Ok(producer)
    }

    /// Waits until all in-sync replicas have the JSON; else says why they may not have it.
    pub(crate) async fn publish(&self, topic: &str, key: &str, json: &[u8]) -> Result<(), String> {
        let producer = self.producer().map_err(|error| error.to_string())?;
        let record = Record { topic, partition: None, key, bytes: json, content_type: CONTENT_TYPE_JSON };
        let sent = producer.send(&record);
        let acknowledged = sent.map_err(|error| self.failed(&producer, &error))?;
        match tokio::time::timeout(ACK_TIMEOUT, acknowledged).await {
            Ok(Ok(result)) => result.map_err(|error| self.failed(&producer, &error)),
            Ok(Err(_)) => Err("the producer was closed".to_owned()),
            Err(_) => Err(format!("kafka did not acknowledge within {ACK_TIMEOUT:?}")),
        }
    }

    /// A producer that is dead for good is let go of; the next record makes another.
    fn failed(&self, producer: &Producer, error: &KafkaError) -> String {
        if producer.fatal_error().is_some() {
            *self.made() = None;
        }
        error.to_string()
    }
}

/// 503; `what` could not be done.
pub(crate) fn unavailable(what: &str, why: &str) -> Problem {
    tracing::debug!(what, why, "give Kafka a record");
    let detail = format!("{what}: {why}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "kafka_unavailable", detail).retry_after(2)
}
