//! Asks an HTTP server so many times a second, however long its answers take, and prints how long they took.
//!
//! In: an address, a path with `{server}` in it, a fleet. Out: one line of JSON. Keeps: a slow answer delays no other question,
//! and every answer counts, whatever its status.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

use axum::body::Body;
use clap::Parser;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use tidewatch_bench::{Result, fleet};
use tokio::task::JoinSet;

/// Below this a percentile is a single answer.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Debug, Parser)]
#[command(about = "Ask an HTTP server at a steady rate")]
struct Args {
    /// Such as `http://127.0.0.1:8082`
    #[arg(long)]
    url: String,
    /// Path and query; `{server}` becomes the name of one
    #[arg(long)]
    path: String,
    #[arg(long, default_value_t = 1_000)]
    servers: u32,
    /// Partitions of the fleet's topics, which decide its names
    #[arg(long, default_value_t = 8)]
    partitions: u32,
    /// Questions a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Ask one after the other instead, so many times, as fast as the answers come
    #[arg(long)]
    count: Option<u32>,
}

/// What came of one question.
struct Answer {
    began: Instant,
    took: Duration,
    status: u16,
    source: String,
    bytes: usize,
}

type Asker = Client<HttpConnector, Body>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Asker = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let names = fleet::server_names(args.servers, args.partitions);
    // steps through the fleet that no cache of some neighbours helps with
    let address = |n: u32| {
        let server = &names[(u64::from(n) * 7_919 % names.len() as u64) as usize];
        format!("{}{}", args.url, args.path.replace("{server}", server))
    };
    let began = Instant::now();
    let mut answers = Vec::new();
    if let Some(count) = args.count {
        for n in 0..count {
            answers.push(ask(client.clone(), address(n)).await?);
        }
    } else {
        let mut tasks = JoinSet::new();
        for n in 0..args.rate * args.seconds {
            let due = began + Duration::from_secs(u64::from(n)) / args.rate;
            tokio::time::sleep_until(due.into()).await;
            tasks.spawn(ask(client.clone(), address(n)));
        }
        for answer in tasks.join_all().await {
            answers.push(answer?);
        }
        answers.retain(|answer| answer.began - began >= WARM_UP);
    }
    writeln!(std::io::stdout(), "{}", told(&mut answers, began.elapsed()))?;
    Ok(())
}

async fn ask(client: Asker, address: String) -> Result<Answer> {
    let began = Instant::now();
    let answer = client.get(address.parse()?).await?;
    let status = answer.status().as_u16();
    let header =
        |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("none").to_owned();
    let source = header("x-tidewatch-source");
    let bytes = answer.into_body().collect().await?.to_bytes().len();
    Ok(Answer { began, took: began.elapsed(), status, source, bytes })
}

fn told(answers: &mut [Answer], elapsed: Duration) -> serde_json::Value {
    answers.sort_unstable_by_key(|answer| answer.took);
    let at = |share: f64| {
        let place = ((answers.len() as f64 * share).ceil() as usize).clamp(1, answers.len().max(1)) - 1;
        answers.get(place).map(|answer| answer.took.as_secs_f64() * 1e3)
    };
    let counted = |of: &dyn Fn(&Answer) -> String| {
        let mut counted = BTreeMap::<String, u64>::new();
        for answer in answers.iter() {
            *counted.entry(of(answer)).or_default() += 1;
        }
        counted
    };
    json!({
        "answers": answers.len(),
        "seconds": elapsed.as_secs_f64(),
        "p50": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "max": at(1.0),
        "bytes": answers.iter().map(|answer| answer.bytes).sum::<usize>() / answers.len().max(1),
        "statuses": counted(&|answer| answer.status.to_string()),
        "sources": counted(&|answer| answer.source.clone()),
    })
}
