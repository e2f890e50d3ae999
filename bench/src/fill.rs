//! Fills a topic as fast as Kafka takes it. Keeps: whatever was sent is acknowledged when [`finish`] returns.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::Result;

const FLUSH: Duration = Duration::from_mins(1);

pub fn producer(brokers: &str) -> Result<BaseProducer> {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("linger.ms", "20")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "262144")
        .create()?;
    Ok(producer)
}

/// A full queue is backpressure: wait for room.
pub fn send(producer: &BaseProducer, mut record: BaseRecord<'_, String, Vec<u8>>) -> Result<()> {
    while let Err((error, back)) = producer.send(record) {
        if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            return Err(error.into());
        }
        record = back;
        producer.poll(Duration::from_millis(10));
    }
    producer.poll(Duration::ZERO);
    Ok(())
}

/// Waits for the acknowledgements.
pub fn finish(producer: &BaseProducer) -> Result<()> {
    producer.flush(FLUSH)?;
    if producer.in_flight_count() > 0 {
        return Err("not every record was taken".into());
    }
    Ok(())
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
