//! Judges CSV files for novelty alone, to be compared with the reference: FILE has the columns `timestamp` (epoch seconds)
//! and `value`, all of them numbers. Writes `decades,score` of each value.
//!
//!     cargo run -p tidewatch-analyzer --example novelty_csv FILE > OUT

use std::io::Write;

use tidewatch_analyzer::detect::novelty::Solo;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("name a CSV file"))?;
    let text = std::fs::read_to_string(path)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut state = Solo::default();
    for line in text.lines().skip(1) {
        let mut fields = line.split(',').map(|field| field.parse().unwrap_or(f64::NAN));
        let (seconds, value) = (fields.next().unwrap_or(f64::NAN), fields.next().unwrap_or(f64::NAN));
        let (score, decades) = state.step(seconds, value).map_or((0.0, 0.0), |(s, rarity)| (s, rarity.sum()));
        writeln!(out, "{decades:e},{score:e}")?;
    }
    Ok(out.flush()?)
}
