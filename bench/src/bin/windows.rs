//! Fills a topic of windows with those of a fleet, in the order of time, and prints what they hold.
//!
//! In: how many servers, series, windows. Out: the topic, and one line of JSON. Keeps: the windows are what the stream processor
//! makes of one sample a second, in records of their own origins.

use std::io::Write;

use clap::Parser;
use rdkafka::producer::BaseRecord;
use tidewatch_bench::{
    Result,
    fill::{finish, now_ms, producer, send},
    fleet,
};
use tidewatch_schemas::{AggregateFrame, AggregateKind, Origin, Series, encode};

const WINDOW_MS: i64 = 10_000;

#[derive(Debug, Parser)]
#[command(about = "Fill a topic with the windows of a fleet")]
struct Args {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1_000)]
    servers: u32,
    /// Series of each server
    #[arg(long, default_value_t = 100)]
    series: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
    /// Windows of each server
    #[arg(long, default_value_t = 50)]
    windows: u32,
    /// Samples of a window
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    samples: u32,
    /// Start of the first one, milliseconds since 1970; by default so that the last one just ended
    #[arg(long)]
    start: Option<i64>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let producer = producer(&args.brokers)?;
    let begin = args.start.unwrap_or_else(|| now_ms() - i64::from(args.windows) * WINDOW_MS);
    let start = begin.div_euclid(WINDOW_MS) * WINDOW_MS;
    let names = fleet::server_names(args.servers, args.partitions);
    let mut frames: Vec<AggregateFrame> =
        names.iter().map(|name| empty(name, fleet::layout(name, args.series))).collect();
    let (mut count, mut sum) = (0_i64, 0.0);
    for window in 0..args.windows {
        for (server, frame) in (0..).zip(&mut frames) {
            fill(frame, server, window, args.samples);
            frame.window_start = start + i64::from(window) * WINDOW_MS;
            frame.origin.offset = i64::from(window);
            count += frame.count.iter().sum::<i64>();
            sum += frame.sum.iter().sum::<f64>();
            let payload = encode(frame)?;
            send(&producer, BaseRecord::to(&args.topic).key(&frame.server).payload(&payload))?;
        }
    }
    finish(&producer)?;
    let records = u64::from(args.windows) * u64::from(args.servers);
    let rows = records * u64::from(args.series);
    writeln!(
        std::io::stdout(),
        "{{\"records\": {records}, \"rows\": {rows}, \"count\": {count}, \"sum\": {sum}, \"start\": {start}}}"
    )?;
    Ok(())
}

fn empty(server: &str, layout: Vec<Series>) -> AggregateFrame {
    let n = layout.len();
    AggregateFrame {
        server: server.to_owned(),
        window_start: 0,
        window_ms: WINDOW_MS,
        kind: AggregateKind::Final,
        origin: Origin { partition: 0, offset: 0 },
        layout,
        count: vec![0; n],
        sum: vec![0.0; n],
        min: vec![0.0; n],
        max: vec![0.0; n],
        first: vec![0.0; n],
        last: vec![0.0; n],
        first_at: vec![0; n],
        last_at: vec![0; n],
        m2: vec![0.0; n],
        increase: vec![0.0; n],
        resets: vec![0; n],
        histograms: Vec::new(),
    }
}

fn fill(frame: &mut AggregateFrame, server: u32, window: u32, samples: u32) {
    let step = WINDOW_MS as i32 / samples as i32;
    for (index, i) in (0..).zip(0..frame.layout.len()) {
        let values: Vec<f64> =
            (0..samples).map(|n| fleet::value(server, index, window * samples + n)).collect();
        let sum: f64 = values.iter().sum();
        let mean = sum / f64::from(samples);
        let (first, last) = (values[0], values[values.len() - 1]);
        frame.count[i] = i64::from(samples);
        frame.sum[i] = sum;
        frame.min[i] = values.iter().copied().fold(f64::INFINITY, f64::min);
        frame.max[i] = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (frame.first[i], frame.last[i]) = (first, last);
        frame.first_at[i] = server as i32 % step;
        frame.last_at[i] = frame.first_at[i] + step * (samples as i32 - 1);
        frame.m2[i] = values.iter().map(|value| (value - mean).powi(2)).sum();
        frame.increase[i] = if fleet::is_counter(index) { last - first } else { 0.0 };
    }
}
