//! Fills a topic with the frames of a fleet, in the order of time, and prints what its windows have to add up to.
//!
//! In: how many servers, series, seconds. Out: the topic, and one line of JSON. Keeps: a record's timestamp is 200 ms after the
//! frame was collected, so that the log has the clock of one that was written live.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use rdkafka::producer::{BaseProducer, BaseRecord};
use tidewatch_bench::{
    Result,
    fill::{finish, now_ms, producer, send},
    fleet,
    frame::Template,
};
use tidewatch_schemas::{Layout, encode};

/// How long after a frame was collected it lies in the log, milliseconds.
const DELAY_MS: i64 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// One record for each scrape of a server
    Frames,
    /// The same, but the layout is announced once and then named
    Named,
    /// One record for each series of a scrape
    Rows,
}

#[derive(Debug, Parser)]
#[command(about = "Fill a topic with the frames of a fleet")]
struct Args {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    /// Where layouts are announced
    #[arg(long, required_if_eq("shape", "named"))]
    layouts: Option<String>,
    #[arg(long, value_enum, default_value = "frames")]
    shape: Shape,
    #[arg(long, default_value_t = 1_000)]
    servers: u32,
    /// Series of each server
    #[arg(long, default_value_t = 100)]
    series: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,
    /// Seconds of event time
    #[arg(long, default_value_t = 300)]
    seconds: u32,
    /// Seconds between two scrapes of a server
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    interval: u32,
    /// When the first scrape was, milliseconds since 1970; by default so that the last one was just now
    #[arg(long)]
    start: Option<i64>,
    /// Send each frame when its time has come, beginning now; the broker stamps it
    #[arg(long)]
    live: bool,
}

/// What the windows of one length that end a minute before the end of the log have to add up to.
#[derive(Debug, Default, Clone, Copy)]
struct Reference {
    until: i64,
    count: u64,
    sum: f64,
}

impl Reference {
    fn new(end: i64, window_ms: i64) -> Self {
        Self { until: (end - 60_000).div_euclid(window_ms) * window_ms, ..Self::default() }
    }

    fn add(&mut self, at: i64, values: &[f64], sum: f64) {
        if at < self.until {
            self.count += values.len() as u64;
            self.sum += sum;
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{\"until\": {}, \"count\": {}, \"sum\": {}}}", self.until, self.count, self.sum)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let producer = producer(&args.brokers)?;
    let fill = Fill::new(&args)?;
    let line = fill.run(&args, &producer)?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

struct Fill {
    start: i64,
    names: Vec<String>,
    /// One for each server, or for each of its series.
    templates: Vec<Vec<Template>>,
    announcements: Vec<Layout>,
}

impl Fill {
    fn new(args: &Args) -> Result<Self> {
        let now = now_ms();
        let begin = if args.live { now + 1_000 } else { now - i64::from(args.seconds) * 1_000 };
        let start = args.start.unwrap_or_else(|| {
            // whole windows from the first frame on
            let step = if args.live { 1_000 } else { 60_000 };
            begin.div_euclid(step) * step
        });
        let names = fleet::server_names(args.servers, args.partitions);
        let mut announcements = Vec::new();
        let template = |name: &String| -> Result<Vec<Template>> {
            let layout = fleet::layout(name, args.series);
            match args.shape {
                Shape::Frames => Ok(vec![Template::new(name, layout)?]),
                Shape::Named => {
                    let (template, announcement) = Template::naming(name, layout)?;
                    announcements.push(announcement);
                    Ok(vec![template])
                }
                Shape::Rows => layout.into_iter().map(|series| Template::new(name, vec![series])).collect(),
            }
        };
        let templates = names.iter().map(template).collect::<Result<_>>()?;
        Ok(Self { start, names, templates, announcements })
    }

    /// Acknowledged before the first frame.
    fn announce(&self, args: &Args, producer: &BaseProducer) -> Result<()> {
        let Some(topic) = &args.layouts else { return Ok(()) };
        for layout in &self.announcements {
            let (key, payload) = (layout.layout_id.to_string(), encode(layout)?);
            send(producer, BaseRecord::to(topic).partition(0).key(&key).payload(&payload))?;
        }
        finish(producer)
    }

    /// Sends it all; what to print.
    fn run(&self, args: &Args, producer: &BaseProducer) -> Result<String> {
        self.announce(args, producer)?;
        let begun = Instant::now();
        let end = self.start + i64::from(args.seconds) * 1_000;
        let mut tiers = [Reference::new(end, 10_000), Reference::new(end, 60_000)];
        let (mut records, mut bytes) = (0_u64, 0_u64);
        let mut values = vec![0.0; args.series as usize];
        let mut payload = Vec::new();
        // counted from 1970, so that one load after another in a topic does not repeat them
        let first_scrape = self.start.div_euclid(i64::from(args.interval) * 1_000);
        for (scrape, second) in (first_scrape..).zip((0..args.seconds).step_by(args.interval as usize)) {
            for (server, templates) in (0..args.servers).zip(&self.templates) {
                // servers are scraped one after the other within the interval
                let phase = i64::from(args.interval) * 1_000 * i64::from(server) / i64::from(args.servers);
                let at = self.start + i64::from(second) * 1_000 + phase;
                if args.live {
                    wait_for(at, producer);
                }
                for (index, value) in (0..args.series).zip(&mut values) {
                    *value = fleet::value(server, index, second);
                }
                let sum = values.iter().sum();
                for tier in &mut tiers {
                    tier.add(at, &values, sum);
                }
                let per_record = values.len() / templates.len();
                for (place, (template, values)) in templates.iter().zip(values.chunks(per_record)).enumerate()
                {
                    payload.clear();
                    let sequence = scrape * templates.len() as i64 + place as i64 + 1;
                    template.frame(&mut payload, sequence, at, values);
                    let mut record =
                        BaseRecord::to(&args.topic).key(&self.names[server as usize]).payload(&payload);
                    if !args.live {
                        record = record.timestamp(at + DELAY_MS);
                    }
                    send(producer, record)?;
                    records += 1;
                    bytes += payload.len() as u64;
                }
            }
        }
        finish(producer)?;
        let [ten, minute] = tiers;
        let (start, samples) = (self.start, records * values.len() as u64 / self.templates[0].len() as u64);
        let (layout, seconds) = (self.templates[0][0].layout_bytes(), begun.elapsed().as_secs_f64());
        Ok(format!(
            "{{\"records\": {records}, \"samples\": {samples}, \"bytes\": {bytes}, \"layout_bytes\": {layout}, \
             \"start\": {start}, \"end\": {end}, \"seconds\": {seconds:.3}, \
             \"reference\": {{\"10s\": {ten}, \"1m\": {minute}}}}}"
        ))
    }
}

fn wait_for(at: i64, producer: &BaseProducer) {
    loop {
        let left = at - now_ms();
        if left <= 0 {
            return;
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(left.min(10) as u64));
    }
}
