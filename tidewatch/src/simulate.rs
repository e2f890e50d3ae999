//! `tidewatch simulate`: a fleet of servers writing real frames to `metrics.raw`, for demonstrations and tests.
//!
//! Deterministic by seed; incidents can be injected. Exits with an error when a frame was not acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer},
};
use tidewatch_schemas::encode;
use tidewatch_service_kit::{config::duration, kafka::KafkaConfig};

mod fleet;
mod incident;

use fleet::Fleet;
use incident::Incident;

#[derive(Debug, Clone, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    kafka: KafkaConfig,
    /// Servers, named sim-0001 and on
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    servers: u32,
    /// Series of each server, at least
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    series: u32,
    /// Time between two frames of a server
    #[arg(long, default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// How long to go on
    #[arg(long, default_value = "1m", value_parser = duration)]
    duration: Duration,
    /// The same seed gives the same values at the same times
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Something to go wrong: cpu-spike, memory-leak, disk-full, network-flood or silence; may be repeated
    #[arg(long = "incident", value_name = "KIND:SERVER:START:LENGTH")]
    incidents: Vec<Incident>,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

/// Counts what Kafka acknowledged.
#[derive(Debug, Clone, Default)]
struct Deliveries {
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[expect(clippy::print_stdout, reason = "the result is for the person who ran it")]
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    if args.interval.is_zero() {
        bail!("--interval has to be longer than 0");
    }
    let incidents = args.incidents.clone();
    let fleet = Fleet::new(args.seed, args.servers as usize, args.series as usize, incidents);
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> =
        args.kafka.producer().create_with_context(deliveries.clone()).context("create producer")?;
    let topic = args.kafka.topics().raw();
    let rounds = (args.duration.as_millis() / args.interval.as_millis()).max(1) as u64;
    let bar = bar(rounds, args.quiet);
    let start = Instant::now();
    let started_at = chrono::Utc::now().timestamp_millis();
    // unique among runs: a later run of the same servers is not taken for a repeat
    let mut sequence = started_at * 1_000;
    let mut sent = 0u64;
    for round in 0..rounds {
        let since = args.interval * round as u32;
        std::thread::sleep(since.saturating_sub(start.elapsed()));
        let at = started_at + since.as_millis() as i64;
        sequence += 1;
        for server in 0..fleet.servers {
            let Some(frame) = fleet.frame(server, at, since.as_secs_f64(), sequence) else { continue };
            let payload = encode(&frame).context("encode frame")?;
            send(&producer, &topic, &frame.server, &payload)?;
            sent += 1;
        }
        bar.inc(1);
    }
    producer.flush(Duration::from_secs(30)).context("wait for acknowledgements")?;
    bar.finish_and_clear();
    let (good, bad) = (deliveries.good.load(Ordering::Relaxed), deliveries.bad.load(Ordering::Relaxed));
    println!(
        "{good} frames acknowledged, {} samples, {} servers, {:.1} s",
        good * fleet.width() as u64,
        fleet.servers,
        start.elapsed().as_secs_f64()
    );
    for incident in &fleet.incidents {
        println!("incident: {incident}");
    }
    if bad > 0 || good != sent {
        bail!("{} frames were not acknowledged", sent - good);
    }
    Ok(())
}

/// A full queue is waited for.
fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    key: &str,
    payload: &[u8],
) -> anyhow::Result<()> {
    let mut record = BaseRecord::to(topic).key(key).payload(payload);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < deadline =>
            {
                record = back;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error).context("send frame"),
        }
    }
}

fn bar(rounds: u64, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} rounds, {eta} left");
    ProgressBar::new(rounds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
