//! Third stage: frames or a layout in, an acknowledgement of all in-sync replicas out, or why there is none.
//!
//! Invariant: `Ok` means that Kafka has every record of the call (`acks=all`); anything else means that nothing may be
//! assumed. No call takes much longer than the acknowledgement timeout; while the breaker is open none is made.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
};
use tidewatch_schemas::{MetricFrame, encode, headers::CONTENT_TYPE_AVRO};
use tidewatch_service_kit::{
    Breaker, BreakerError, Deps, Shutdown, breaker,
    health::Component,
    kafka::{Acknowledged, Producer, Record},
    retry,
};
use tokio::time::Instant;

use crate::{
    Error,
    announce::Announcement,
    config::Config,
    metrics::{Metrics, Origin},
};

/// A frame on its way: its key, its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub server: String,
    pub bytes: Vec<u8>,
    pub samples: u64,
    pub collected_at: i64,
}

impl Encoded {
    pub fn of(frame: &MetricFrame) -> Result<Self, String> {
        Ok(Self {
            server: frame.server.clone(),
            bytes: encode(frame).map_err(|error| error.to_string())?,
            samples: frame.values.iter().filter(|value| !value.is_nan()).count() as u64,
            collected_at: frame.collected_at,
        })
    }

    /// The same frame with the id of its layout in the layout's place.
    pub fn naming(frame: &MetricFrame, layout_id: i64) -> Result<Self, String> {
        Self::of(&MetricFrame {
            server: frame.server.clone(),
            layout_id,
            layout: Vec::new(),
            values: frame.values.clone(),
            histograms: frame.histograms.clone(),
            ..*frame
        })
    }
}

/// What the producer is told of a frame or a layout.
fn record<'a>(topic: &'a str, partition: Option<i32>, key: &'a str, bytes: &'a [u8]) -> Record<'a> {
    Record { topic, partition, key, bytes, content_type: CONTENT_TYPE_AVRO }
}

/// Why frames are not acknowledged. All of them heal by waiting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Kafka failed before; this call was not made.
    #[error("kafka is away; it is tried again shortly")]
    Open,
    #[error("kafka did not acknowledge within {0:?}")]
    Timeout(Duration),
    #[error("kafka refused: {0}")]
    Refused(String),
    /// The producer's queue is full.
    #[error("too much waits for kafka already")]
    Full,
}

/// What the HTTP door and the backlog need of Kafka.
pub trait Publish: Clone + Send + Sync + 'static {
    /// Waits until all of `frames` are acknowledged.
    fn publish(
        &self,
        origin: Origin,
        frames: &[Encoded],
    ) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// What a layout needs of Kafka before frames may name it.
pub trait Announce: Send + Sync + 'static {
    /// Waits until the layout is acknowledged.
    fn announce(&self, layout: &Announcement) -> impl Future<Output = Result<(), PublishError>> + Send;
}

/// The producer of `metrics.raw` and `metrics.layouts`. Clones share it.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    settings: ClientConfig,
    /// Replaced when librdkafka declares it dead.
    producer: Mutex<Producer>,
    topic: String,
    layouts: String,
    breaker: Breaker,
    ack_timeout: Duration,
    metrics: Metrics,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Needs no broker yet.
    pub fn new(config: &Config, deps: &Deps, metrics: Metrics) -> Result<Self, Error> {
        let mut settings = config.kafka.producer();
        // the client gives up before we do, so that what we called failed is rarely written after all
        let delivery = config.ingest_ack_timeout.saturating_sub(Duration::from_millis(500));
        settings.set("delivery.timeout.ms", delivery.as_millis().to_string());
        let producer = Producer::new(&settings)?;
        let gauges = breaker::gauges(&deps.metrics);
        Ok(Self(Arc::new(Inner {
            settings,
            producer: Mutex::new(producer),
            topic: config.kafka.topics().raw(),
            layouts: config.kafka.topics().layouts(),
            // the longest pause is short: a sender that was told 503 comes back after two seconds
            breaker: Breaker::new(&gauges, "ingest", "kafka", 2, Duration::from_secs(2)),
            ack_timeout: config.ingest_ack_timeout,
            metrics,
        })))
    }

    fn producer(&self) -> Producer {
        self.0.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, frames: &[Encoded]) -> Result<(), PublishError> {
        let (producer, deadline) = (self.producer(), Instant::now() + self.0.ack_timeout);
        let mut waiting = Vec::with_capacity(frames.len());
        for frame in frames {
            let record = record(&self.0.topic, None, &frame.server, &frame.bytes);
            waiting.push(self.hand_over(&producer, &record, deadline).await?);
        }
        self.acknowledged(&producer, waiting, deadline).await
    }

    /// Waits only for room in the producer's queue.
    async fn hand_over(
        &self,
        producer: &Producer,
        record: &Record<'_>,
        deadline: Instant,
    ) -> Result<Acknowledged, PublishError> {
        loop {
            match producer.send(record) {
                Ok(acknowledged) => return Ok(acknowledged),
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                    if Instant::now() >= deadline {
                        return Err(PublishError::Full);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(self.refused(producer, &error)),
            }
        }
    }

    async fn acknowledged(
        &self,
        producer: &Producer,
        waiting: Vec<Acknowledged>,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let all = async {
            for acknowledged in waiting {
                match acknowledged.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(self.refused(producer, &error)),
                    Err(_) => return Err(PublishError::Refused("the producer was closed".to_owned())),
                }
            }
            Ok(())
        };
        tokio::time::timeout_at(deadline, all).await.unwrap_or(Err(PublishError::Timeout(self.0.ack_timeout)))
    }

    /// A producer that is dead for good is replaced: nobody should have to restart us.
    fn refused(&self, failed: &Producer, error: &KafkaError) -> PublishError {
        if let Some((code, message)) = failed.fatal_error() {
            let mut current = self.0.producer.lock().unwrap_or_else(PoisonError::into_inner);
            // several calls see the same death; the first one replaces
            if current.fatal_error().is_some()
                && let Ok(fresh) = Producer::new(&self.0.settings)
            {
                tracing::warn!(?code, message, "kafka producer is dead, replace it");
                *current = fresh;
            }
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageTimedOut) => PublishError::Timeout(self.0.ack_timeout),
            _ => PublishError::Refused(error.to_string()),
        }
    }
}

impl Publish for Publisher {
    async fn publish(&self, origin: Origin, frames: &[Encoded]) -> Result<(), PublishError> {
        let started = Instant::now();
        let result = self.0.breaker.call(self.send(frames)).await;
        match result {
            Ok(()) => {
                let samples = frames.iter().map(|frame| frame.samples).sum();
                self.0.metrics.record_published(origin, frames.len() as u64, samples, started.elapsed());
                Ok(())
            }
            Err(error) => {
                self.0.metrics.record_publish_failure();
                Err(match error {
                    BreakerError::Open => PublishError::Open,
                    BreakerError::Failed(error) => error,
                })
            }
        }
    }
}

impl Announce for Publisher {
    async fn announce(&self, layout: &Announcement) -> Result<(), PublishError> {
        // asked and never told: frames find out whether Kafka is back, and a topic of layouts that is missing or refuses
        // must not shut the door to them
        if self.0.breaker.is_open() {
            return Err(PublishError::Open);
        }
        let (producer, deadline) = (self.producer(), Instant::now() + self.0.ack_timeout);
        let key = layout.layout_id.to_string();
        // whoever looks for an id reads this one partition
        let record = record(&self.0.layouts, Some(0), &key, &layout.bytes);
        let waiting = self.hand_over(&producer, &record, deadline).await?;
        self.acknowledged(&producer, vec![waiting], deadline).await
    }
}

/// Keeps `health` true: whether the topic can be reached, asked at the start and every few seconds, so that an
/// instance nobody sends to anymore finds out that Kafka is back.
pub(crate) async fn watch(publisher: Publisher, health: Component, shutdown: Shutdown) {
    let (mut attempt, mut away) = (0, false);
    loop {
        let (producer, topic) = (publisher.producer(), publisher.0.topic.clone());
        let asked = tokio::task::spawn_blocking(move || producer.finds(&topic));
        let answer = tokio::select! {
            answer = asked => answer.unwrap_or_else(|error| Err(error.to_string())),
            () = shutdown.wait() => return,
        };
        let pause = match answer {
            Ok(()) => {
                health.ready();
                if std::mem::take(&mut away) {
                    tracing::info!("kafka is back");
                }
                attempt = 0;
                Duration::from_secs(5)
            }
            Err(why) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%why, "kafka is away");
                }
                health.waiting(why);
                attempt += 1;
                retry::pause(attempt)
            }
        };
        if !shutdown.sleep(pause).await {
            return;
        }
    }
}
