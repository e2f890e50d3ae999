//! `tidewatch detect`: the analyzer's ear on history in files.
//!
//! In: CSV or Parquet with a column of times and columns of numbers. Out: for each file one with a score for each row, perhaps a
//! picture, perhaps the alerts in words. Keeps: a row in, a row out, in order; a file that is not whole has another name than
//! the one that was promised; no input is written over.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

mod judge;
mod plot;
mod read;
mod table;
mod words;

use judge::Verdicts;
use table::Table;

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Clone, Args)]
pub(crate) struct DetectArgs {
    /// CSV, CSV in gzip (.gz) or Parquet. The first column is `timestamp`, ISO 8601 or seconds since 1970; every other column of
    /// numbers is a series, except `label` and `warmup`
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// A file is a server, its columns are judged together
    #[arg(long)]
    by_server: bool,
    /// Folder for the scores: NAME.csv for each input, with timestamp, score, alert and the series that contributed most
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// A picture beside each: NAME.svg with values, expected band, score and alerts
    #[arg(long)]
    plot: bool,
    /// Tell each alert in words
    #[arg(long)]
    explain: bool,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
}

#[expect(clippy::print_stdout, reason = "the answer is for the person who asked")]
pub(crate) fn run(args: &DetectArgs) -> anyhow::Result<()> {
    let inputs = named(&args.inputs)?;
    fs::create_dir_all(&args.output).with_context(|| format!("create {}", args.output.display()))?;
    for (name, input) in &inputs {
        let output = fs::canonicalize(args.output.join(format!("{name}.csv")));
        let is_itself = output.is_ok_and(|output| fs::canonicalize(input).is_ok_and(|input| input == output));
        ensure!(!is_itself, "{} would be written over: name another --output", input.display());
    }
    let bar = progress(inputs.len() as u64, args.quiet);
    let (mut rows, mut alerts) = (0, 0);
    for (name, input) in &inputs {
        bar.set_message(name.clone());
        let (table, verdicts) = judge(args, input, &bar)?;
        write(&args.output.join(format!("{name}.csv")), &scores(&table, &verdicts)?)?;
        if args.plot {
            let svg = plot::svg(name, &table, &verdicts);
            write(&args.output.join(format!("{name}.svg")), svg.as_bytes())?;
        }
        for alert in verdicts.alerts.iter().filter(|_| args.explain) {
            let score = verdicts.rows[alert.row].score;
            let text = words::explain(name, &table, alert, score, args.by_server);
            bar.suspend(|| println!("{text}"));
        }
        rows += verdicts.rows.len();
        alerts += verdicts.alerts.len();
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!(
        "{alerts} alerts in {rows} rows of {} files, written to {}",
        inputs.len(),
        args.output.display()
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what was left out is for the person at the terminal")]
fn judge(args: &DetectArgs, input: &Path, bar: &ProgressBar) -> anyhow::Result<(Table, Verdicts)> {
    let table = read::read(input)?;
    for note in &table.notes {
        bar.suspend(|| eprintln!("{}: {note}", input.display()));
    }
    let judged = if args.by_server { judge::server } else { judge::each };
    let verdicts = judged(&table, args.plot);
    Ok((table, verdicts))
}

/// The inputs by the names of their outputs, in the order they were given.
fn named(inputs: &[PathBuf]) -> anyhow::Result<Vec<(String, &Path)>> {
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    let mut named = Vec::with_capacity(inputs.len());
    for input in inputs {
        let file = input.file_name().unwrap_or_default().to_string_lossy();
        let name = file.strip_suffix(".gz").unwrap_or(&file);
        let name = [".csv", ".parquet"].iter().find_map(|end| name.strip_suffix(*end)).unwrap_or(name);
        ensure!(!name.is_empty(), "{} has no name", input.display());
        if let Some(other) = seen.insert(name.to_owned(), input) {
            bail!("{} and {} would both be written to {name}.csv", other.display(), input.display());
        }
        named.push((name.to_owned(), input.as_path()));
    }
    Ok(named)
}

fn scores(table: &Table, verdicts: &Verdicts) -> anyhow::Result<Vec<u8>> {
    let mut out = ::csv::Writer::from_writer(Vec::new());
    out.write_record(["timestamp", "score", "alert", "series"])?;
    for (time, row) in table.times.iter().zip(&verdicts.rows) {
        let series = row.series.map_or("", |series| table.series[series].name.as_str());
        let alert = if row.is_alert() { "1" } else { "0" };
        out.write_record([time.as_str(), &row.score.to_string(), alert, series])?;
    }
    out.into_inner().map_err(|error| error.into_error().into())
}

/// Under another name until it is whole.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    fs::write(&part, content).with_context(|| format!("write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("name {}", path.display()))
}

fn progress(files: u64, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(files);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} files  {msg}  {eta}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests;
