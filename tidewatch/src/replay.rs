//! `tidewatch replay`: history again, from the topics into PostgreSQL.
//!
//! In: a range, perhaps tiers and servers. Out: rows that were lost, and a word about every topic: what was made, merged and
//! left as it was, and from when on the topic has anything.

use std::{
    cell::RefCell,
    fmt::Write as _,
    io::{self, IsTerminal},
};

use anyhow::ensure;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tidewatch_schemas::time::rfc3339;
use tidewatch_service_kit::{Metrics, breaker, kafka::KafkaConfig};
use tidewatch_sink::{
    record::Kind,
    replay::{self, Kept, Progress, Report, Request},
};
use tidewatch_store::{Store, StoreConfig, Tier};

use crate::export::{TierName, time};

#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    kafka: KafkaConfig,
    #[command(flatten)]
    store: StoreConfig,
    /// Windows that start at this time or later, RFC 3339 or a day (2026-11-20, UTC)
    #[arg(long, value_parser = time)]
    from: i64,
    /// Windows that start before this time, RFC 3339 or a day
    #[arg(long, value_parser = time)]
    to: i64,
    /// Only windows of these lengths, comma-separated. Otherwise all of them, and bands, anomalies and alerts
    #[arg(long = "tier", value_enum, value_delimiter = ',', value_name = "TIER,..")]
    tiers: Vec<TierName>,
    /// A server by its name; may be repeated. All of them otherwise
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// Series of a server at most, as the sink has it
    #[arg(long, env = "TIDEWATCH_SINK_SERIES_PER_SERVER", default_value_t = 20_000, value_name = "N")]
    sink_series_per_server: u32,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The answer as JSON
    #[arg(long)]
    json: bool,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

#[expect(clippy::print_stdout, reason = "the answer is for the person who asked")]
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<()> {
    ensure!(args.from < args.to, "--from has to be before --to");
    let metrics = Metrics::default();
    let store = Store::new(&args.store, "replay", &metrics, &breaker::gauges(&metrics))?;
    let request = Request {
        kafka: args.kafka,
        kinds: kinds(&args.tiers),
        from_ms: args.from,
        to_ms: args.to,
        servers: args.servers,
        series_per_server: args.sink_series_per_server as usize,
        is_dry: args.dry_run,
    };
    let bar = Bar::new(args.quiet);
    let reports = replay::run(&request, &store, &bar).await?;
    bar.clear();
    if args.json {
        println!("{}", answer(&request, &reports));
    } else {
        print!("{}", table(&request, &reports));
    }
    Ok(())
}

/// In the order in which they are read: windows give series their kind, anomalies only guess it.
fn kinds(tiers: &[TierName]) -> Vec<Kind> {
    let asked: Vec<Tier> = tiers.iter().map(|name| Tier::from(*name)).collect();
    let is_asked = |tier: &Tier| asked.is_empty() || asked.contains(tier);
    let mut kinds: Vec<Kind> = Tier::ALL.into_iter().filter(is_asked).map(Kind::Windows).collect();
    if asked.is_empty() {
        kinds.extend([Kind::Expected, Kind::Anomalies, Kind::Alerts]);
    }
    kinds
}

fn answer(request: &Request, reports: &[Report]) -> Value {
    let topic = |report: &Report| {
        let (kept, since) = match report.kept {
            Kept::Whole => ("whole", None),
            Kept::Since(ms) => ("since", Some(rfc3339(ms))),
            Kept::Nothing => ("nothing", None),
        };
        let counts = report.counts;
        json!({
            "topic": report.topic,
            "records": report.records,
            "bad": report.bad,
            "topic_has": kept,
            "since": since,
            "made": counts.made,
            "merged": counts.merged,
            "unchanged": counts.unchanged,
            "kept": counts.kept,
            "refused": counts.refused,
            "unknown": report.unknown,
        })
    };
    json!({
        "from": rfc3339(request.from_ms),
        "to": rfc3339(request.to_ms),
        "dry_run": request.is_dry,
        "topics": reports.iter().map(topic).collect::<Vec<_>>(),
    })
}

const HEAD: [&str; 8] = ["topic", "records", "made", "merged", "unchanged", "kept", "unknown", "topic has"];

fn table(request: &Request, reports: &[Report]) -> String {
    let cells = |report: &Report| {
        let counts = report.counts;
        let has = match report.kept {
            Kept::Whole => "all of it".to_owned(),
            Kept::Since(ms) => format!("since {}", rfc3339(ms)),
            Kept::Nothing => "nothing in some partition".to_owned(),
        };
        let unknown = report.unknown.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let numbers = [report.records, counts.made, counts.merged, counts.unchanged, counts.kept];
        let [records, made, merged, unchanged, kept] = numbers.map(|n| n.to_string());
        [report.topic.clone(), records, made, merged, unchanged, kept, unknown, has]
    };
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(reports.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let [topic, numbers @ .., has] = line;
        let numbers = numbers.iter().zip(&widths[1..]).map(|(number, &width)| format!("  {number:>width$}"));
        let _ = writeln!(text, "{topic:<width$}{}  {has}", numbers.collect::<String>(), width = widths[0]);
    }
    let (bad, refused) = reports
        .iter()
        .fold((0, 0), |(bad, refused), report| (bad + report.bad, refused + report.counts.refused));
    if bad + refused > 0 {
        let _ =
            writeln!(text, "left out: {bad} records that are no good, {refused} that a sink refuses, too");
    }
    if request.is_dry {
        text += "nothing was changed: a dry run\n";
    }
    text
}

/// A bar for each reading of a topic, one after the other.
struct Bar {
    is_hidden: bool,
    now: RefCell<ProgressBar>,
}

impl Bar {
    fn new(quiet: bool) -> Self {
        let is_hidden = quiet || !io::stderr().is_terminal();
        Self { is_hidden, now: RefCell::new(ProgressBar::hidden()) }
    }

    fn clear(&self) {
        self.now.borrow().finish_and_clear();
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, records: u64) {
        self.clear();
        if self.is_hidden {
            return;
        }
        let bar = ProgressBar::new(records);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} records  {msg}  {eta}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        self.now.replace(bar);
    }

    fn advance(&self, records: u64) {
        self.now.borrow().inc(records);
    }
}

#[cfg(test)]
mod tests {
    use tidewatch_sink::write::Counts;

    use super::*;

    fn request() -> Request {
        let config: ReplayConfig = tidewatch_service_kit::config::assemble("replay", &[]).expect("config");
        let kinds = kinds(&[]);
        let (from_ms, to_ms) = (1_795_392_000_000, 1_795_478_400_000);
        Request {
            kafka: config.kafka,
            kinds,
            from_ms,
            to_ms,
            servers: vec![],
            series_per_server: 9,
            is_dry: true,
        }
    }

    #[derive(Debug, Args)]
    struct ReplayConfig {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    fn reports() -> [Report; 2] {
        let counts = Counts { made: 12, merged: 3, unchanged: 45_678, kept: 1, refused: 2 };
        let whole = Report {
            topic: "tidewatch.metrics.10s".into(),
            records: 99,
            bad: 1,
            kept: Kept::Whole,
            counts,
            unknown: Some(0),
        };
        let kept = Kept::Since(1_795_399_200_000);
        let cut = Report { topic: "tidewatch.alerts".into(), kept, unknown: None, ..whole.clone() };
        [whole, cut]
    }

    #[test]
    fn tiers_narrow_what_is_read_and_windows_come_first() {
        assert_eq!(kinds(&[]).len(), 7);
        assert_eq!(kinds(&[])[0], Kind::Windows(Tier::TenSeconds));
        assert_eq!(
            kinds(&[TierName::Hour, TierName::Minute]),
            [Kind::Windows(Tier::Minute), Kind::Windows(Tier::Hour)]
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_topic() {
        let text = table(&request(), &reports());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "topic                  records  made  merged  unchanged  kept  unknown  topic has",
                "tidewatch.metrics.10s       99    12       3      45678     1        0  all of it",
                "tidewatch.alerts            99    12       3      45678     1        -  since 2026-11-23T02:00:00.000Z",
            ]
        );
        assert!(lines[3].contains("2 records that are no good, 4 that"), "{}", lines[3]);
        assert!(lines[4].contains("dry run"));
    }

    #[test]
    fn the_json_says_the_same() {
        let answer = answer(&request(), &reports());
        assert_eq!(answer["topics"][0]["unchanged"], 45_678);
        assert_eq!(answer["topics"][1]["since"], "2026-11-23T02:00:00.000Z");
        assert_eq!(answer["topics"][1]["unknown"], Value::Null);
        assert_eq!(answer["dry_run"], true);
    }
}
