//! `tidewatch alerts tail`: what subscribers of the alert topic see, as text or JSON lines.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use tidewatch_schemas::{Alert, AlertStatus, decode, time::rfc3339};
use tidewatch_service_kit::{
    config::duration,
    kafka::{Context, KafkaConfig, REQUEST_TIMEOUT},
};

use crate::acknowledge::AcknowledgeArgs;

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AlertsCommand {
    /// Print alerts as they come
    Tail(TailArgs),
    /// Say that you take care of an alert, or that it was a false alarm
    Acknowledge(AcknowledgeArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    kafka: KafkaConfig,
    /// Begin with the oldest alert kept, not with the next one
    #[arg(long)]
    from_beginning: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Stop after so long without an alert
    #[arg(long, value_parser = duration, value_name = "TIME")]
    idle_exit: Option<Duration>,
}

#[expect(clippy::print_stdout, reason = "the alerts are the output")]
pub(crate) fn tail(args: &TailArgs) -> anyhow::Result<()> {
    let topic = args.kafka.topics().alerts();
    let group = args.kafka.group("tail");
    let consumer: BaseConsumer<Context> = args.kafka.consumer(&group).create_with_context(Context)?;
    let metadata = consumer.fetch_metadata(Some(&topic), REQUEST_TIMEOUT).context("read topic metadata")?;
    let partitions = metadata.topics().first().map_or(0, |t| t.partitions().len());
    anyhow::ensure!(partitions > 0, "topic {topic} does not exist; `tidewatch topics create` makes it");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        let from = if args.from_beginning { Offset::Beginning } else { Offset::End };
        list.add_partition_offset(&topic, partition, from)?;
    }
    consumer.assign(&list)?;
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => {
                last = Instant::now();
                match decode::<Alert>(message.payload().unwrap_or_default()) {
                    Ok((alert, _)) if args.json => println!("{}", serde_json::to_string(&alert)?),
                    Ok((alert, _)) => println!("{}", line(&alert)),
                    Err(error) => tracing::warn!(%error, offset = message.offset(), "skip record"),
                }
            }
            Some(Err(error)) => tracing::debug!(%error, "poll"),
            None => {}
        }
        if args.idle_exit.is_some_and(|limit| last.elapsed() > limit) {
            return Ok(());
        }
    }
}

fn line(alert: &Alert) -> String {
    let word = match alert.status {
        AlertStatus::Firing => alert.severity.as_str(),
        AlertStatus::Resolved => "resolved",
    };
    let at = rfc3339(alert.updated_at);
    format!("{at}  {word:<8}  {}  {}\n    {}", alert.server, alert.title, alert.explanation)
}
