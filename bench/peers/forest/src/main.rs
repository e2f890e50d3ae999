//! Random Cut Forest on the values that the analyzer's core was timed with: a forest for each series, each value scored
//! and then learned from.
//!
//! In: a file of little-endian f64, window by window, and how many series a window has. Out: one line of JSON. Keeps: the
//! forests run one after the other in one thread, as the analyzer's series do.

use std::{error::Error, io::Write};

use krcf::{RandomCutForest, RandomCutForestOptions};
use rustix::time::{ClockId, clock_gettime};

/// Values that are one point of the forest: what its authors advise for series.
const SHINGLE: usize = 8;
/// The library's defaults, said here so that they are seen.
const TREES: usize = 50;
const SAMPLE: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(series)) = (args.next(), args.next()) else {
        return Err("usage: tidewatch-bench-forest FILE SERIES".into());
    };
    let series: usize = series.parse()?;
    let bytes = std::fs::read(path)?;
    let values: Vec<f32> =
        bytes.as_chunks::<8>().0.iter().map(|value| f64::from_le_bytes(*value) as f32).collect();
    if series == 0 || values.is_empty() || !values.len().is_multiple_of(series) {
        return Err(format!("{} values are no whole windows of {series} series", values.len()).into());
    }
    let before = resident_bytes()?;
    let mut forests = (0..series).map(forest).collect::<Result<Vec<_>, _>>()?;
    let began = cpu_seconds();
    let mut sum = 0.0;
    for window in values.chunks_exact(series) {
        for (forest, value) in forests.iter_mut().zip(window) {
            let point = [*value];
            sum += forest.score(&point)?;
            forest.update(&point)?;
        }
    }
    let cpu = cpu_seconds() - began;
    let resident = resident_bytes()?.saturating_sub(before);
    writeln!(
        std::io::stdout(),
        "{{\"values\": {}, \"cpu_seconds\": {cpu}, \"resident_bytes\": {resident}, \"mean_score\": {}, \
         \"trees\": {TREES}, \"sample\": {SAMPLE}, \"shingle\": {SHINGLE}}}",
        values.len(),
        sum / values.len() as f64,
    )?;
    Ok(())
}

fn forest(series: usize) -> Result<RandomCutForest, Box<dyn Error>> {
    let forest = RandomCutForest::new(RandomCutForestOptions {
        dimensions: 1,
        shingle_size: SHINGLE,
        num_trees: Some(TREES),
        sample_size: Some(SAMPLE),
        random_seed: Some(series as u64),
        internal_shingling: Some(true),
        parallel_execution_enabled: Some(false),
        ..RandomCutForestOptions::default()
    })?;
    Ok(forest)
}

/// CPU time of this thread.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
