//! Kafka clients the way every service wants them.
//!
//! Producers: idempotent, `acks=all`, lz4, the Java clients' partitioner. Consumers: `read_committed`, classic group
//! protocol, no auto commit, no fetch stalls. Librdkafka's own log lines become ours, an outage a WARN and not an ERROR.

use std::{
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryResult, ProducerContext},
};
use tidewatch_schemas::{Reason, Topics, headers};

use crate::{Secret, config::duration};

pub mod fetch;
mod group;
mod producer;
mod received;
mod topics;
mod transactor;

pub use group::{Fetching, Group, GroupChange, Polled, Start};
pub use producer::{Acknowledged, Producer, Record};
pub use received::{Received, ReceivedHeaders};
pub use topics::{CreateError, TopicState, check_topics, create_topics};
pub use transactor::{Original, Outgoing, PlainSender, TransactionError, Transactor, serve};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Security {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Security {
    fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }
}

/// How to reach Kafka; the same flags in every service.
#[derive(Debug, Clone, Args)]
pub struct KafkaConfig {
    /// Kafka brokers to start from, comma-separated
    #[arg(
        long,
        env = "TIDEWATCH_KAFKA_BROKERS",
        default_value = "127.0.0.1:29092",
        value_name = "HOST:PORT,.."
    )]
    pub kafka_brokers: String,
    /// What every topic and consumer group name begins with
    #[arg(long, env = "TIDEWATCH_TOPIC_PREFIX", default_value = "tidewatch.", value_name = "PREFIX")]
    pub topic_prefix: String,
    /// How long a member of a consumer group may be silent before its partitions go to others
    #[arg(long, env = "TIDEWATCH_KAFKA_SESSION_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub kafka_session_timeout: Duration,
    /// How connections to Kafka are protected
    #[arg(long, env = "TIDEWATCH_KAFKA_SECURITY", default_value = "plaintext", value_enum)]
    pub kafka_security: Security,
    /// PEM file of the authority that signed the brokers' certificates
    #[arg(long, env = "TIDEWATCH_KAFKA_CA", value_name = "FILE")]
    pub kafka_ca: Option<PathBuf>,
    /// SASL mechanism
    #[arg(
        long,
        env = "TIDEWATCH_KAFKA_SASL_MECHANISM",
        default_value = "SCRAM-SHA-512",
        value_name = "NAME"
    )]
    pub kafka_sasl_mechanism: String,
    /// SASL user
    #[arg(long, env = "TIDEWATCH_KAFKA_USERNAME", value_name = "NAME")]
    pub kafka_username: Option<String>,
    /// SASL password
    #[arg(long, env = "TIDEWATCH_KAFKA_PASSWORD", value_name = "SECRET", hide_env_values = true)]
    pub kafka_password: Option<Secret>,
}

impl KafkaConfig {
    pub fn topics(&self) -> Topics {
        Topics::new(&self.topic_prefix)
    }

    /// A consumer group's name under our prefix: `tidewatch.sink`.
    pub fn group(&self, service: &str) -> String {
        format!("{}{service}", self.topic_prefix)
    }

    /// What all clients share.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.kafka_brokers)
            .set("security.protocol", self.kafka_security.as_str())
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        if let Some(ca) = &self.kafka_ca {
            config.set("ssl.ca.location", ca.display().to_string());
        }
        if matches!(self.kafka_security, Security::SaslPlaintext | Security::SaslSsl) {
            config.set("sasl.mechanism", &self.kafka_sasl_mechanism);
            if let Some(user) = &self.kafka_username {
                config.set("sasl.username", user);
            }
            if let Some(password) = &self.kafka_password {
                config.set("sasl.password", password.reveal());
            }
        }
        config
    }

    /// An idempotent producer; an acknowledged record is on all in-sync replicas.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "10")
            .set("batch.size", "1000000")
            // the same partition for a key as every Java client chooses
            .set("partitioner", "murmur2_random")
            .set("delivery.timeout.ms", "20000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "131072");
        config
    }

    /// A transactional producer. After any unclear commit or abort: drop it, make a new one, read what is committed.
    pub fn transactional(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        config
            .set("transactional.id", transactional_id)
            // an orphan stalls read_committed readers for this long
            .set("transaction.timeout.ms", "15000")
            .set("delivery.timeout.ms", "10000")
            // a full queue is waited for, so it need not hold a whole transaction
            .set("queue.buffering.max.messages", "50000")
            .set("queue.buffering.max.kbytes", "32768")
            .set("linger.ms", "5");
        config
    }

    /// A consumer that sees committed records only and commits nothing by itself.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "false")
            .set("session.timeout.ms", self.kafka_session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", "1000")
            .set("max.poll.interval.ms", "120000")
            .set("partition.assignment.strategy", "range")
            // the default of a second stalls fetching whenever the queue was full
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "100")
            // of each partition: some 400 bytes of the client's own for each, however small
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "32768")
            // where the lag metrics come from
            .set("statistics.interval.ms", "5000");
        config
    }
}

/// Client context whose log lines go through `tracing`: an outage of the broker is a surprise we recover from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context;

impl ClientContext for Context {
    /// Statistics are for [`Group`], which reads its lag from them; by default they would be logged.
    fn stats(&self, _: rdkafka::Statistics) {}

    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Context {}

/// For producers whose deliveries are told otherwise: a transaction's by its commit.
impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A log line of librdkafka.
pub fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        // a connection that failed: tried again by itself
        _ if facility == "FAIL" => log_transient(facility, message),
        // a broker that has just started loads its coordinator first: nothing is wrong
        _ if facility == "GETPID" => tracing::debug!(facility, said = message, "kafka client"),
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(facility, said = message, "kafka client"),
        _ => tracing::debug!(facility, said = message, "kafka client"),
    }
}

/// A client-wide error of librdkafka: all but fatal ones heal by themselves.
pub fn log_error(error: &KafkaError, reason: &str) {
    // the end of a partition is no error: whoever asked for it sees it in the poll
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    if is_retriable(error) {
        log_transient(&error.to_string(), reason);
    } else {
        tracing::warn!(%error, reason, "kafka client");
    }
}

/// In an outage each client repeats itself at each attempt: at most one line a minute is a WARN, whichever client it is.
fn log_transient(what: &str, said: &str) {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = START.elapsed().as_secs() + 1;
    let last = LAST.load(Ordering::Relaxed);
    let due = last == 0 || now >= last + 60;
    if due && LAST.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        tracing::warn!(what, said, "kafka client");
    } else {
        tracing::debug!(what, said, "kafka client");
    }
}

/// Whether trying the same again later can help.
pub fn is_retriable(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::MessageTimedOut
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::NetworkException
                | Code::QueueFull
        )
    )
}

/// Where a partition begins and ends. One without a leader, made a moment ago or on its way to another broker, is asked again
/// for some seconds.
pub fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> KafkaResult<(i64, i64)> {
    let until = Instant::now() + REQUEST_TIMEOUT;
    loop {
        match consumer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT) {
            Err(error) if is_between_leaders(&error) && Instant::now() < until => {
                tracing::debug!(%error, topic, partition, "ask again where the partition ends");
                std::thread::sleep(BETWEEN_LEADERS);
            }
            result => return result,
        }
    }
}

fn is_between_leaders(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::LeaderNotAvailable | Code::NotLeaderForPartition))
}

/// Where a record came from, for its dead letter.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// Headers of a dead letter, in Kafka Connect's names; the record's bytes stay as they were.
pub fn dead_letter_headers(stage: &str, source: &Source<'_>, reason: Reason, message: &str) -> OwnedHeaders {
    let (partition, offset) = (source.partition.to_string(), source.offset.to_string());
    [
        (headers::DEAD_LETTER_TOPIC, source.topic),
        (headers::DEAD_LETTER_PARTITION, partition.as_str()),
        (headers::DEAD_LETTER_OFFSET, offset.as_str()),
        (headers::DEAD_LETTER_STAGE, stage),
        (headers::DEAD_LETTER_CLASS, reason.code()),
        (headers::DEAD_LETTER_MESSAGE, message),
    ]
    .into_iter()
    .fold(OwnedHeaders::new_with_capacity(6), |all, (key, value)| {
        all.insert(Header { key, value: Some(value) })
    })
}

/// How long a metadata or committed-offset request may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Before a partition without a leader is asked again.
const BETWEEN_LEADERS: Duration = Duration::from_millis(100);
