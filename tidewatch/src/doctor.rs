//! `tidewatch doctor`: what is wrong, in plain words, with what to do about it.
//!
//! Exit code 1 when something has to be mended; a warning alone is 0.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;
use sqlx::Row;
use tidewatch_schemas::Topics;
use tidewatch_service_kit::{
    Metrics, breaker,
    kafka::{KafkaConfig, TopicState, check_topics},
};
use tidewatch_store::{Store, StoreConfig};

#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    store: StoreConfig,
    /// Partitions the topics keyed by server should have; 0 = any, the same for all
    #[arg(long, env = "TIDEWATCH_PARTITIONS", default_value = "0")]
    partitions: i32,
    /// Where the local stack keeps its data: checked for free space
    #[arg(long, env = "TIDEWATCH_STATE", default_value = ".tidewatch", value_name = "DIR")]
    state: PathBuf,
}

/// One finding.
enum Finding {
    Good(String),
    Warning(String),
    Bad(String),
}

use Finding::{Bad, Good, Warning};

/// Clocks may differ by so much before samples are at risk: the future bound is 30 s.
const CLOCK_WARNING: f64 = 2.0;
const CLOCK_BAD: f64 = 20.0;
const LEAST_FREE: u64 = 2 << 30;

#[expect(clippy::print_stdout, reason = "the findings are for the person who asked")]
pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<()> {
    let mut findings = kafka(args.kafka.clone(), args.partitions).await;
    findings.extend(store(&args.store).await);
    findings.push(disk(&args.state));
    let mut bad = 0;
    for finding in &findings {
        match finding {
            Good(text) => println!("good     {text}"),
            Warning(text) => println!("warning  {text}"),
            Bad(text) => {
                bad += 1;
                println!("bad      {text}");
            }
        }
    }
    if bad > 0 {
        bail!("{bad} of {} checks found something to mend", findings.len());
    }
    Ok(())
}

async fn kafka(config: KafkaConfig, partitions: i32) -> Vec<Finding> {
    let brokers = config.kafka_brokers.clone();
    let specs = config.topics().all(if partitions > 0 { partitions } else { Topics::PARTITIONS });
    let asked = specs.clone();
    let states = match tokio::task::spawn_blocking(move || check_topics(&config, &asked)).await {
        Ok(Ok(states)) => states,
        Ok(Err(error)) => {
            return vec![Bad(format!(
                "Kafka at {brokers} does not answer ({error}). Is it running, and is the address right?"
            ))];
        }
        Err(error) => return vec![Bad(format!("Kafka could not be asked: {error}"))],
    };
    let mut findings = vec![Good(format!("Kafka at {brokers} answers"))];
    let missing: Vec<_> = specs
        .iter()
        .zip(&states)
        .filter(|(_, s)| **s == TopicState::Missing)
        .map(|(t, _)| t.name.as_str())
        .collect();
    if missing.is_empty() {
        findings.push(Good(format!("all {} topics exist", specs.len())));
    } else {
        findings.push(Bad(format!(
            "topics are missing: {}. `tidewatch topics create` makes them",
            missing.join(", ")
        )));
    }
    let counts: Vec<(i32, &str)> = specs
        .iter()
        .zip(&states)
        .filter(|(spec, _)| spec.partitions != 1)
        .filter_map(|(spec, state)| match state {
            TopicState::Partitions(n) => Some((*n, spec.name.as_str())),
            TopicState::Missing => None,
        })
        .collect();
    let wanted = if partitions > 0 { Some(partitions) } else { counts.first().map(|(n, _)| *n) };
    for (n, name) in counts.iter().filter(|(n, _)| Some(*n) != wanted) {
        let wanted = wanted.unwrap_or_default();
        findings.push(Bad(format!("{name} has {n} partitions, the others {wanted}: a server would not be the same partition in all of them")));
    }
    findings
}

async fn store(config: &StoreConfig) -> Vec<Finding> {
    let metrics = Metrics::default();
    let store = match Store::new(config, "doctor", &metrics, &breaker::gauges(&metrics)) {
        Ok(store) => store,
        Err(error) => return vec![Bad(format!("the store's settings are wrong: {error}"))],
    };
    let mut findings = Vec::new();
    match sqlx::query(
        "SELECT extract(epoch FROM clock_timestamp())::float8, current_setting('server_version')",
    )
    .fetch_one(store.history.pool())
    .await
    {
        Ok(row) => {
            let (time, version): (f64, String) = (row.get(0), row.get(1));
            findings.push(Good(format!("PostgreSQL {version} answers")));
            findings.push(clock(chrono::Utc::now().timestamp_millis() as f64 / 1_000.0 - time));
            findings.push(match store.history.ping().await {
                Ok(()) => Good("PostgreSQL has our tables".into()),
                Err(error) => {
                    Bad(format!("PostgreSQL lacks our tables ({error}). The sink makes them when it starts"))
                }
            });
        }
        Err(error) => findings.push(Bad(format!(
            "PostgreSQL does not answer ({error}). Is it running, and is --postgres-url right?"
        ))),
    }
    findings.extend(redis(config).await);
    findings
}

async fn redis(config: &StoreConfig) -> Vec<Finding> {
    let ask = async {
        let client = redis::Client::open(config.redis_url.reveal())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("INFO").query_async::<String>(&mut connection).await
    };
    let info = match tokio::time::timeout(Duration::from_secs(3), ask).await {
        Ok(Ok(info)) => info,
        Ok(Err(error)) => {
            return vec![Warning(format!(
                "Redis does not answer ({error}). Answers are the same without it, only slower"
            ))];
        }
        Err(_) => {
            return vec![Warning(
                "Redis takes longer than 3 s. Answers are the same without it, only slower".into(),
            )];
        }
    };
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mut findings =
        vec![Good(format!("Redis {} answers", field("redis_version").unwrap_or("of unknown version")))];
    if field("maxmemory") == Some("0") {
        findings.push(Warning(
            "Redis has no maxmemory: it may grow until the machine is full. Set maxmemory and a policy"
                .into(),
        ));
    }
    findings
}

fn clock(ahead: f64) -> Finding {
    let text = format!("this machine's clock and PostgreSQL's differ by {:.1} s", ahead.abs());
    match ahead.abs() {
        d if d >= CLOCK_BAD => {
            Bad(format!("{text}: samples more than 30 s ahead are refused. Run an NTP client"))
        }
        d if d >= CLOCK_WARNING => Warning(format!("{text}. Run an NTP client")),
        _ => Good(text),
    }
}

fn disk(state: &std::path::Path) -> Finding {
    let existing = state.ancestors().find(|path| path.exists()).unwrap_or(state);
    let existing = if existing.as_os_str().is_empty() { std::path::Path::new(".") } else { existing };
    match rustix::fs::statvfs(existing) {
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize;
            let text = format!("{:.1} GiB free at {}", free as f64 / 1_073_741_824.0, existing.display());
            if free < LEAST_FREE { Bad(format!("{text}: less than 2 GiB. Make room")) } else { Good(text) }
        }
        Err(error) => Warning(format!("free space at {} can't be read: {error}", existing.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged_by_what_they_endanger() {
        assert!(matches!(clock(0.5), Good(_)));
        assert!(matches!(clock(-5.0), Warning(_)));
        assert!(matches!(clock(25.0), Bad(_)));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_its_parent() {
        assert!(!matches!(disk(std::path::Path::new("/tmp/not/there")), Warning(_)));
    }
}
