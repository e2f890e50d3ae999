//! Adds up the windows of one topic as a `read_committed` reader sees them: how many samples they count, and their sum.
//!
//! In: a topic of windows in one of the formats that the contenders write. Out: one line of JSON. Keeps: it reads to the end
//! that the topic had when it began, and a record it does not understand is an error.

use std::{collections::BTreeSet, io::Write, time::Duration};

use clap::{Parser, ValueEnum};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    metadata::{MetadataPartition, MetadataTopic},
};
use tidewatch_bench::Result;
use tidewatch_schemas::{AggregateFrame, decode};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `AggregateFrame`: the stream processor
    Aggregate,
    /// Columns of a server's window: the tuned peers
    Columns,
    /// One series of a window: the plain peers
    Stats,
}

#[derive(Debug, Parser)]
#[command(about = "Add up the windows of a topic")]
struct Args {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long, value_enum)]
    format: Format,
    /// Length of the topic's windows, milliseconds
    #[arg(long)]
    window_ms: i64,
    /// Only windows that end at or before this, milliseconds since 1970
    #[arg(long)]
    until: i64,
}

/// One record: where its window ends, and what it counts.
struct Part {
    end: i64,
    count: i64,
    sum: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        .set("group.id", "tidewatch-bench-verify")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&args.topic), PATIENCE)?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
    let mut assignment = TopicPartitionList::new();
    for &partition in &partitions {
        assignment.add_partition_offset(&args.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let mut open: BTreeSet<i32> = partitions.into_iter().collect();
    let (mut records, mut count, mut sum) = (0_u64, 0_i64, 0.0);
    while !open.is_empty() {
        match consumer.poll(PATIENCE) {
            None => return Err(format!("{} stands still before its end", args.topic).into()),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => {
                let part = part(&args, message.payload().unwrap_or_default())?;
                records += 1;
                if part.end <= args.until {
                    count += part.count;
                    sum += part.sum;
                }
            }
        }
    }
    writeln!(std::io::stdout(), "{{\"records\": {records}, \"count\": {count}, \"sum\": {sum}}}")?;
    Ok(())
}

fn part(args: &Args, payload: &[u8]) -> Result<Part> {
    match args.format {
        Format::Aggregate => {
            let (frame, _) = decode::<AggregateFrame>(payload)?;
            let end = frame.window_end();
            Ok(Part { end, count: frame.count.iter().sum(), sum: frame.sum.iter().sum() })
        }
        Format::Columns => columns(payload).ok_or_else(|| "a record that is no columns".into()),
        Format::Stats => {
            let mut rest = payload;
            let part = (take::<1>(&mut rest) == Some([2])).then(|| stats(rest, args.window_ms)).flatten();
            part.ok_or_else(|| "a record that is no stats".into())
        }
    }
}

/// Format 2: start, count, sum, ..
fn stats(mut rest: &[u8], window_ms: i64) -> Option<Part> {
    let start = i64::from_le_bytes(take(&mut rest)?);
    let count = i64::from_le_bytes(take(&mut rest)?);
    let sum = f64::from_le_bytes(take(&mut rest)?);
    Some(Part { end: start + window_ms, count, sum })
}

/// Format 1: start, length, layout with its size, number of series, counts, sums, ..
fn columns(mut rest: &[u8]) -> Option<Part> {
    if take::<1>(&mut rest)? != [1] {
        return None;
    }
    let start = i64::from_le_bytes(take(&mut rest)?);
    let length = i64::from_le_bytes(take(&mut rest)?);
    let layout = u32::from_le_bytes(take(&mut rest)?) as usize;
    rest = rest.get(layout..)?;
    let series = u32::from_le_bytes(take(&mut rest)?);
    let (mut count, mut sum) = (0, 0.0);
    for _ in 0..series {
        count += i64::from(i32::from_le_bytes(take(&mut rest)?));
    }
    for _ in 0..series {
        sum += f64::from_le_bytes(take(&mut rest)?);
    }
    Some(Part { end: start + length, count, sum })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
