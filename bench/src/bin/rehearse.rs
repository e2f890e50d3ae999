//! Shows the analyzer's core a fleet in which known things go wrong, and prints what it said of them.
//!
//! In: the size of the fleet, a seed, rules. Out: one line of JSON. Keeps: the same arguments print the same figures, but for
//! the CPU time.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde_json::{Value, json};
use tidewatch_analyzer::rules::{self, RuleSet};
use tidewatch_bench::{
    Result,
    cost::cpu_seconds,
    simulation::{Analyst, Extent, Kind, Outcome, Plan, Score, WINDOWS_A_DAY, run},
};

const WINDOWS_AN_HOUR: i64 = WINDOWS_A_DAY / 24;

#[derive(Debug, Parser)]
#[command(about = "Show the analyzer a fleet in which known things go wrong")]
struct Args {
    #[arg(long, default_value_t = 200)]
    servers: u32,
    /// Hours of event time
    #[arg(long, default_value_t = 48)]
    hours: u32,
    /// Hours at the beginning in which nothing goes wrong
    #[arg(long, default_value_t = 12)]
    calm: u32,
    /// Incidents of each of the eight kinds
    #[arg(long, default_value_t = 5)]
    each: u32,
    /// Servers of an incident that hits many
    #[arg(long, default_value_t = 20)]
    together: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A file of rules; the built-in ones unless given
    #[arg(long)]
    rules: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let extent = Extent {
        servers: args.servers,
        windows: i64::from(args.hours) * WINDOWS_AN_HOUR,
        calm: i64::from(args.calm) * WINDOWS_AN_HOUR,
        each: args.each,
        together: args.together,
    };
    let plan = Plan::new(args.seed, extent)?;
    let mut analyst = Analyst::new(rules_of(args.rules.as_deref())?);
    let began = cpu_seconds();
    let said = run(&plan, &mut analyst);
    let cpu = cpu_seconds() - began;
    let score = Score::new(&plan, &said);
    let facts = json!({
        "seed": args.seed,
        "servers": args.servers,
        "hours": args.hours,
        "values": analyst.values,
        "cpu_seconds": cpu,
        "alerts": said.len(),
        "anomalies": analyst.anomalies,
        "server_days": score.server_days,
        "false_alerts": score.false_alerts,
        "false_alerts_a_server_day": score.false_a_server_day(),
        "kinds": Kind::ALL.map(|kind| facts_of(&score, kind)),
        "incidents": score.outcomes.iter().map(incident).collect::<Vec<_>>(),
    });
    writeln!(std::io::stdout(), "{facts}")?;
    Ok(())
}

fn rules_of(path: Option<&Path>) -> Result<RuleSet> {
    let Some(path) = path else {
        return Ok(rules::parse(rules::BUILT_IN, Path::new("deploy/rules/host.yaml"))?);
    };
    let text = std::fs::read_to_string(path)?;
    Ok(rules::parse(&text, path)?)
}

fn facts_of(score: &Score, kind: Kind) -> Value {
    let sum = score.of(kind);
    let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
    let found = score
        .outcomes
        .iter()
        .filter(|outcome| outcome.kind == kind)
        .filter_map(|outcome| outcome.found.as_ref());
    for found in found {
        *by_rule.entry(&found.rule).or_default() += 1;
    }
    json!({
        "kind": kind.name(),
        "incidents": sum.incidents,
        "found": sum.found,
        "missed": sum.incidents - sum.found,
        "found_by": by_rule,
        "seconds": sum.seconds,
        "alerts": sum.alerts,
    })
}

fn incident(outcome: &Outcome) -> Value {
    json!({
        "kind": outcome.kind.name(),
        "servers": outcome.servers,
        "starts_at": outcome.starts_at,
        "ends_at": outcome.ends_at,
        "seconds": outcome.found.as_ref().map(|found| found.seconds),
        "rule": outcome.found.as_ref().map(|found| &found.rule),
        "alerts": outcome.alerts,
    })
}
