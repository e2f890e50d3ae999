//! `tidewatch export`: windows out of PostgreSQL into a file that other programs read, CSV or Parquet.
//!
//! In: servers, metrics, a tier, a range, whether values or histograms. Out: one row for each series and window, in order of server,
//! series and time. Keeps: a file that is not whole has another name than the one that was asked for.

use std::{
    fs::File,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tidewatch_schemas::time::{parse_rfc3339, rfc3339};
use tidewatch_service_kit::{Metrics, breaker};
use tidewatch_store::{HistogramQuery, HistogramRow, Server, Store, StoreConfig, Tier};

mod csv;
mod parquet;
mod table;

use table::{Column, HISTOGRAMS, Row, VALUES};

#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    store: StoreConfig,
    /// A server by its name; may be repeated. All of them otherwise
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// A metric by its name; may be repeated. All of them otherwise
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Which windows
    #[arg(long, value_enum, default_value = "1m")]
    tier: TierName,
    /// The windows of histograms instead of those of values: quantiles, and the buckets as JSON
    #[arg(long)]
    histograms: bool,
    /// Windows that start at this time or later, RFC 3339 or a day (2026-11-23, UTC)
    #[arg(long, value_parser = time)]
    from: i64,
    /// Windows that start before this time, RFC 3339 or a day
    #[arg(long, value_parser = time)]
    to: i64,
    /// By default what the file's name ends with, else CSV
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file; `-` is standard output, for CSV
    #[arg(long, short, default_value = "-", value_name = "FILE")]
    output: PathBuf,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TierName {
    #[value(name = "10s")]
    TenSeconds,
    #[value(name = "1m")]
    Minute,
    #[value(name = "5m")]
    FiveMinutes,
    #[value(name = "1h")]
    Hour,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::TenSeconds => Self::TenSeconds,
            TierName::Minute => Self::Minute,
            TierName::FiveMinutes => Self::FiveMinutes,
            TierName::Hour => Self::Hour,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Parquet,
}

/// A day is its first moment.
pub(crate) fn time(text: &str) -> Result<i64, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    parse_rfc3339(&whole)
        .ok_or_else(|| "has to be a time such as 2026-11-23T14:16:00Z or a day such as 2026-11-23".to_owned())
}

/// What rows are written to.
trait Target {
    fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()>;
    /// Everything is on its way to the disk.
    fn finish(self: Box<Self>) -> anyhow::Result<()>;
}

/// Windows read at once; the store refuses more than twice that.
const AT_ONCE: i64 = 200_000;
/// The same of histograms, of up to 2.6 kB each.
const HISTOGRAMS_AT_ONCE: i64 = 20_000;

pub(crate) async fn run(args: ExportArgs) -> anyhow::Result<()> {
    ensure!(args.from < args.to, "--from has to be before --to");
    let tier = Tier::from(args.tier);
    let format = args.format.unwrap_or_else(|| format_of(&args.output));
    let metrics = Metrics::default();
    let store = Store::new(&args.store, "export", &metrics, &breaker::gauges(&metrics))?;
    let servers = chosen(store.history.servers().await.context("read servers")?, &args.servers)?;
    let part = part_of(&args.output);
    let columns = if args.histograms { HISTOGRAMS } else { VALUES };
    let mut target = open(format, columns, part.as_deref())?;
    let bar = progress(servers.len() as u64, args.quiet);
    let mut rows = 0_u64;
    for server in &servers {
        bar.set_message(server.name.clone());
        rows += if args.histograms {
            histograms(&store, server, &args, tier, &mut *target).await?
        } else {
            values(&store, server, &args, tier, &mut *target).await?
        };
        bar.inc(1);
    }
    target.finish()?;
    if let Some(part) = &part {
        std::fs::rename(part, &args.output).with_context(|| format!("name {}", args.output.display()))?;
    }
    bar.finish_with_message(format!("{rows} rows"));
    Ok(())
}

fn chosen(mut servers: Vec<Server>, names: &[String]) -> anyhow::Result<Vec<Server>> {
    if let Some(unknown) = names.iter().find(|name| !servers.iter().any(|server| server.name == **name)) {
        bail!("there is no server named {unknown}");
    }
    if !names.is_empty() {
        servers.retain(|server| names.contains(&server.name));
    }
    Ok(servers)
}

/// How many series are read together, and of which stretches of time one after the other.
fn portions(server: &Server, args: &ExportArgs, tier: Tier, at_once: i64) -> (usize, Vec<(i64, i64)>) {
    // a range that is far longer than the history costs nothing
    let from = args.from.max(server.first_seen_ms - tier.window_ms());
    let to = args.to.min(server.last_seen_ms + tier.window_ms());
    let windows = ((to - from) / tier.window_ms()).max(1);
    let length = at_once * tier.window_ms();
    let stretches = (from..to).step_by(length as usize).map(|begin| (begin, to.min(begin + length)));
    ((at_once / windows).clamp(1, 500) as usize, stretches.collect())
}

/// One server's windows of values; how many.
async fn values(
    store: &Store,
    server: &Server,
    args: &ExportArgs,
    tier: Tier,
    target: &mut dyn Target,
) -> anyhow::Result<u64> {
    let series = store.history.series(server.id, &args.metrics).await.context("read series")?;
    let (together, stretches) = portions(server, args, tier, AT_ONCE);
    let mut rows = 0;
    for some in series.chunks(together) {
        let ids: Vec<i32> = some.iter().map(|meta| meta.id).collect();
        for (begin, end) in &stretches {
            let found = store.history.windows(&ids, tier, *begin, *end).await.context("read windows")?;
            for windows in found.chunk_by(|a, b| a.series_id == b.series_id) {
                let Some(meta) = some.iter().find(|meta| meta.id == windows[0].series_id) else { continue };
                let labels = serde_json::to_string(&meta.labels)?;
                for window in windows {
                    target.row(&Row::of_window(&server.name, meta, &labels, window))?;
                }
            }
            rows += found.len() as u64;
        }
    }
    Ok(rows)
}

/// One server's windows of histograms; how many.
async fn histograms(
    store: &Store,
    server: &Server,
    args: &ExportArgs,
    tier: Tier,
    target: &mut dyn Target,
) -> anyhow::Result<u64> {
    let series = store.history.histogram_series(server.id, &args.metrics).await.context("read series")?;
    let (together, stretches) = portions(server, args, tier, HISTOGRAMS_AT_ONCE);
    let mut rows = 0;
    for some in series.chunks(together) {
        for (from_ms, to_ms) in &stretches {
            let query = HistogramQuery {
                series: some.iter().map(|meta| meta.id).collect(),
                tier,
                step_ms: tier.window_ms(),
                from_ms: *from_ms,
                to_ms: *to_ms,
                buckets: true,
                limit: 2 * HISTOGRAMS_AT_ONCE as usize,
            };
            let mut found: Vec<HistogramRow> = Vec::new();
            let take = |row| {
                found.push(row);
                Ok(())
            };
            store.history.histograms_of_tier(&query, take).await.context("read histograms")?;
            for windows in found.chunk_by(|a, b| a.series_id == b.series_id) {
                let Some(meta) = some.iter().find(|meta| meta.id == windows[0].series_id) else { continue };
                let labels = serde_json::to_string(&meta.labels)?;
                for window in windows {
                    target.row(&Row::of_histogram(&server.name, meta, &labels, window))?;
                }
            }
            rows += found.len() as u64;
        }
    }
    Ok(rows)
}

fn format_of(output: &Path) -> Format {
    if output.extension().is_some_and(|end| end == "parquet") { Format::Parquet } else { Format::Csv }
}

/// Where a file is written until it is whole; `None` for standard output.
fn part_of(output: &Path) -> Option<PathBuf> {
    if output == Path::new("-") {
        return None;
    }
    let mut name = output.as_os_str().to_owned();
    name.push(".part");
    Some(name.into())
}

fn open(format: Format, columns: &'static [Column], part: Option<&Path>) -> anyhow::Result<Box<dyn Target>> {
    let file = |path: &Path| File::create(path).with_context(|| format!("create {}", path.display()));
    Ok(match (format, part) {
        (Format::Csv, Some(path)) => Box::new(csv::Csv::new(columns, file(path)?)?),
        (Format::Csv, None) => Box::new(csv::Csv::new(columns, io::stdout())?),
        (Format::Parquet, Some(path)) => Box::new(parquet::Parquet::new(columns, file(path)?)?),
        (Format::Parquet, None) => bail!("Parquet goes to a file: name it with --output"),
    })
}

fn progress(servers: u64, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(servers);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} servers  {msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests;
