//! `tidewatch topics create|check`: the topics as the contracts have them.

use anyhow::bail;
use clap::{Args, Subcommand};
use tidewatch_schemas::Topics;
use tidewatch_service_kit::kafka::{KafkaConfig, TopicState, check_topics, create_topics};

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create what is missing; leave the rest as it is
    Create(TopicsArgs),
    /// Say which topics are missing or have another partition count
    Check(TopicsArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TopicsArgs {
    #[command(flatten)]
    kafka: KafkaConfig,
    /// Partitions of the topics keyed by server; can't be changed later
    #[arg(long, env = "TIDEWATCH_PARTITIONS", default_value_t = Topics::PARTITIONS, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Replicas of each partition
    #[arg(long, env = "TIDEWATCH_REPLICATION", default_value = "3", value_parser = clap::value_parser!(i32).range(1..=9))]
    replication: i32,
}

#[expect(clippy::print_stdout, reason = "the answer is for the person who asked")]
pub(crate) async fn run(command: TopicsCommand) -> anyhow::Result<()> {
    match command {
        TopicsCommand::Create(args) => {
            let specs = args.kafka.topics().all(args.partitions);
            let made = create_topics(&args.kafka, &specs, args.replication).await?;
            for name in &made {
                println!("created {name}");
            }
            println!("{} created, {} there already", made.len(), specs.len() - made.len());
        }
        TopicsCommand::Check(args) => {
            let specs = args.kafka.topics().all(args.partitions);
            let states = check_topics(&args.kafka, &specs)?;
            let mut wrong = 0;
            for (spec, state) in specs.iter().zip(states) {
                match state {
                    TopicState::Partitions(n) if n == spec.partitions => {}
                    TopicState::Partitions(n) => {
                        wrong += 1;
                        println!("{} has {n} partitions, expected {}", spec.name, spec.partitions);
                    }
                    TopicState::Missing => {
                        wrong += 1;
                        println!("{} is missing", spec.name);
                    }
                }
            }
            if wrong > 0 {
                bail!("{wrong} of {} topics are not as they should be", specs.len());
            }
            println!("{} topics are as they should be", specs.len());
        }
    }
    Ok(())
}
