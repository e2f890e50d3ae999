//! A partition that goes wholly silent still has to close its windows: its owner writes a tick, an empty record, once a
//! second while windows are open there. The tick stands in the log, so a replay sees the same clock.

use rdkafka::{
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tidewatch_schemas::headers;
use tidewatch_service_kit::kafka::{self, Context, KafkaConfig};

/// Writes ticks outside of any transaction: they are input, not output. A lost tick is no loss: the next one comes
/// within a second.
pub(crate) struct Ticker {
    producer: BaseProducer<Context>,
    topic: String,
}

impl Ticker {
    pub(crate) fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        let mut config = kafka.producer();
        config.set("linger.ms", "0").set("delivery.timeout.ms", "5000");
        Ok(Self { producer: config.create_with_context(Context)?, topic: kafka.topics().raw() })
    }

    /// Whether the tick is on its way.
    pub(crate) fn tick(&self, partition: i32) -> bool {
        let record =
            BaseRecord::<(), [u8]>::to(&self.topic).partition(partition).payload(&[]).headers(tick_headers());
        self.producer.send(record).is_ok()
    }

    /// Takes note of what became of those that were sent; a thread that waits for it would cost more than the ticks.
    pub(crate) fn serve(&self) {
        kafka::serve(&self.producer);
    }

    /// Ticks under way.
    pub(crate) fn in_flight(&self) -> i32 {
        self.producer.in_flight_count()
    }
}

/// What says that an empty record is a tick.
pub(crate) fn tick_headers() -> OwnedHeaders {
    OwnedHeaders::new().insert(Header { key: headers::TICK, value: Some("1") })
}
