//! Times the analyzer's core, without Kafka: the silent replay of a new owner, then windows as they come, then a snapshot of
//! every server and another owner's reading of them.
//!
//! In: how many series, how many windows of either. Out: one line of JSON, and with `--values` a file of what the detectors of
//! the series were shown, for a peer to be shown the same. Keeps: only the core is timed, neither the making of windows nor
//! what becomes of the output.

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Parser;
use tidewatch_analyzer::{
    analysis::{Analysis, Kept, Output, Said, Sight, Taken},
    rules::{self, RuleSet},
    snapshot::{self, Shelf},
};
use tidewatch_bench::{
    Result,
    cost::{cpu_seconds, resident_bytes},
    simulation::{Host, start_of},
};
use tidewatch_schemas::{AggregateFrame, decode, encode};

/// Servers whose windows are made before they are judged: few enough for a processor's cache, as a record that was just decoded.
const BATCH: usize = 32;
/// Servers whose records are decoded, and how often each.
const DECODED: (usize, usize) = (64, 50);

#[derive(Debug, Parser)]
#[command(about = "Time the analyzer's core")]
struct Args {
    /// Series at least: servers are whole
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Windows that are replayed silently, as a new owner of a partition does; 720 are two hours
    #[arg(long, default_value_t = 720)]
    replay: i64,
    /// Windows after that
    #[arg(long, default_value_t = 60)]
    live: i64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write what the detectors were shown: little-endian f64, window by window
    #[arg(long)]
    values: Option<PathBuf>,
}

/// What some windows cost.
#[derive(Debug, Default, Clone, Copy)]
struct Phase {
    windows: i64,
    values: u64,
    cpu_seconds: f64,
}

impl Phase {
    fn facts(&self) -> serde_json::Value {
        serde_json::json!({ "windows": self.windows, "values": self.values, "cpu_seconds": self.cpu_seconds })
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let hosts = fleet(args.seed, args.series);
    let series: usize = hosts.iter().map(|host| host.values().len()).sum();
    let rules = Arc::new(rules::parse(rules::BUILT_IN, Path::new("deploy/rules/host.yaml"))?);
    let mut judge = Judge {
        analysis: Analysis::new(Arc::clone(&rules)),
        hosts,
        out: Vec::new(),
        anomalies: 0,
        alerts: 0,
        values: args.values.map(File::create).transpose()?.map(BufWriter::new),
    };
    let before = resident_bytes()?;
    let replayed = judge.windows(0..args.replay)?;
    let began = cpu_seconds();
    judge.analysis.go_live(Said::default());
    let go_live_seconds = cpu_seconds() - began;
    let live = judge.windows(args.replay..args.replay + args.live)?;
    if let Some(file) = &mut judge.values {
        file.flush()?;
    }
    let resident = resident_bytes()?.saturating_sub(before);
    let facts = serde_json::json!({
        "servers": judge.hosts.len(),
        "series": series,
        "replay": replayed.facts(),
        "live": live.facts(),
        "go_live_seconds": go_live_seconds,
        "resident_bytes": resident,
        "told_bytes": judge.analysis.sizes().bytes,
        "decode_seconds_a_value": decoding(&judge.hosts)?,
        "memory": memory(&judge, &rules)?,
        "anomalies": judge.anomalies,
        "alerts": judge.alerts,
    });
    writeln!(std::io::stdout(), "{facts}")?;
    Ok(())
}

fn fleet(seed: u64, series: usize) -> Vec<Host> {
    let mut hosts = Vec::new();
    let mut number = 0;
    let mut count = 0;
    while count < series {
        let host = Host::new(seed, number, None);
        count += host.values().len();
        number += 1;
        hosts.push(host);
    }
    hosts
}

struct Judge {
    analysis: Analysis,
    hosts: Vec<Host>,
    out: Vec<Output>,
    anomalies: u64,
    alerts: u64,
    values: Option<BufWriter<File>>,
}

impl Judge {
    fn windows(&mut self, windows: Range<i64>) -> Result<Phase> {
        let mut phase = Phase { windows: windows.end - windows.start, ..Phase::default() };
        for window in windows {
            let now = start_of(window + 1);
            for batch in self.hosts.chunks_mut(BATCH) {
                for host in batch.iter_mut() {
                    host.window(window);
                    if let Some(file) = &mut self.values {
                        host.values().iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
                    }
                }
                let began = cpu_seconds();
                for host in batch.iter() {
                    if let Taken::Judged(values) = self.analysis.step(host.frame(), now, &mut self.out) {
                        phase.values += values as u64;
                    }
                }
                phase.cpu_seconds += cpu_seconds() - began;
                for output in self.out.drain(..) {
                    self.anomalies += u64::from(matches!(output, Output::Anomaly(_)));
                    self.alerts += u64::from(matches!(output, Output::Alert(_)));
                }
            }
            let began = cpu_seconds();
            // a window is ten seconds, and so many times the clock is told
            for second in 0..10 {
                self.analysis.tick(now + second * 1_000, Sight::Clear, Some(start_of(0)), &mut self.out);
            }
            phase.cpu_seconds += cpu_seconds() - began;
            self.out.clear();
        }
        Ok(phase)
    }
}

/// Every server's snapshot, made and read back by another owner.
fn memory(judge: &Judge, rules: &Arc<RuleSet>) -> Result<serde_json::Value> {
    let began = cpu_seconds();
    let mut entries = Vec::new();
    for host in &judge.hosts {
        let name = &host.frame().server;
        let state = judge.analysis.keep(name).ok_or("a server that was judged is not known")?;
        entries.extend(snapshot::seal(name, 1, 0, &state)?);
    }
    let write_seconds = cpu_seconds() - began;
    let began = cpu_seconds();
    let mut shelf = Shelf::default();
    for entry in &entries {
        shelf.put(&entry.key, entry.payload.as_deref());
    }
    let mut restored = Analysis::new(Arc::clone(rules));
    let mut servers = 0;
    for (name, whole) in shelf.open() {
        let kept = Kept::read(&whole?.state).ok_or("a snapshot can't be read back")?;
        restored.restore(&name, kept);
        servers += 1;
    }
    let read_seconds = cpu_seconds() - began;
    if servers != judge.hosts.len() || restored.sizes().series != judge.analysis.sizes().series {
        return Err("not every server came back".into());
    }
    let bytes: usize = entries.iter().filter_map(|entry| entry.payload.as_ref()).map(Vec::len).sum();
    Ok(serde_json::json!({ "write_seconds": write_seconds, "read_seconds": read_seconds, "bytes": bytes }))
}

/// What it costs to read a record before the core can judge it.
fn decoding(hosts: &[Host]) -> Result<f64> {
    let (servers, times) = DECODED;
    let hosts = &hosts[..servers.min(hosts.len())];
    let records =
        hosts.iter().map(|host| encode(host.frame())).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut values = 0;
    let began = cpu_seconds();
    for _ in 0..times {
        for record in &records {
            values += decode::<AggregateFrame>(record)?.0.layout.len();
        }
    }
    Ok((cpu_seconds() - began) / values as f64)
}
