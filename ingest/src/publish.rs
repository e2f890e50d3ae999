//! Third stage: frames in, an acknowledgement of all in-sync replicas out, or why there is none.
//!
//! Invariant: `Ok` means that Kafka has every frame of the call (`acks=all`); anything else means that nothing may be
//! assumed. No call takes much longer than the acknowledgement timeout; while the breaker is open none is made.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
};
use tidewatch_schemas::{MetricFrame, encode};
use tidewatch_service_kit::{Breaker, BreakerError, Deps, Shutdown, breaker, health::Component, retry};

use crate::{
    Error,
    config::Config,
    metrics::{Metrics, Origin},
};

mod producer;

use producer::Acknowledged;

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

/// The producer of `metrics.raw`. Clones share it.
#[derive(Clone)]
pub struct Publisher(Arc<Inner>);

struct Inner {
    settings: ClientConfig,
    /// Replaced when librdkafka declares it dead.
    producer: Mutex<producer::Producer>,
    topic: String,
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
        let producer = producer::Producer::new(&settings)?;
        let gauges = breaker::gauges(&deps.metrics);
        Ok(Self(Arc::new(Inner {
            settings,
            producer: Mutex::new(producer),
            topic: config.kafka.topics().raw(),
            // the longest pause is short: a sender that was told 503 comes back after two seconds
            breaker: Breaker::new(&gauges, "ingest", "kafka", 2, Duration::from_secs(2)),
            ack_timeout: config.ingest_ack_timeout,
            metrics,
        })))
    }

    fn producer(&self) -> producer::Producer {
        self.0.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, frames: &[Encoded]) -> Result<(), PublishError> {
        let producer = self.producer();
        let deadline = tokio::time::Instant::now() + self.0.ack_timeout;
        let mut waiting: Vec<Acknowledged> = Vec::with_capacity(frames.len());
        for frame in frames {
            loop {
                match producer.send(&self.0.topic, frame) {
                    Ok(acknowledged) => waiting.push(acknowledged),
                    Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                        if tokio::time::Instant::now() >= deadline {
                            return Err(PublishError::Full);
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                    Err(error) => return Err(self.refused(&producer, &error)),
                }
                break;
            }
        }
        let acknowledged = async {
            for acknowledged in waiting {
                match acknowledged.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(self.refused(&producer, &error)),
                    Err(_) => return Err(PublishError::Refused("the producer was closed".to_owned())),
                }
            }
            Ok(())
        };
        tokio::time::timeout_at(deadline, acknowledged)
            .await
            .unwrap_or(Err(PublishError::Timeout(self.0.ack_timeout)))
    }

    /// A producer that is dead for good is replaced: nobody should have to restart us.
    fn refused(&self, failed: &producer::Producer, error: &KafkaError) -> PublishError {
        if let Some((code, message)) = failed.fatal_error() {
            let mut current = self.0.producer.lock().unwrap_or_else(PoisonError::into_inner);
            // several calls see the same death; the first one replaces
            if current.fatal_error().is_some()
                && let Ok(fresh) = producer::Producer::new(&self.0.settings)
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
