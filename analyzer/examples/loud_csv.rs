//! Judges CSV files with the detector, to be compared with the reference: every numeric column but `timestamp` (epoch
//! seconds), `label` and `warmup` of FILE is a series. Writes `size,score` of each value, column after column.
//!
//!     cargo run -p tidewatch-analyzer --example loud_csv FILE > OUT

use std::io::Write;

use tidewatch_analyzer::detect::Loud;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("name a CSV file"))?;
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let rows: Vec<Vec<f64>> =
        lines.map(|line| line.split(',').map(|field| field.parse().unwrap_or(f64::NAN)).collect()).collect();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (column, name) in header.iter().enumerate() {
        if ["timestamp", "label", "warmup"].contains(name) {
            continue;
        }
        let mut state = Loud::default();
        for row in &rows {
            let judged = state.step(row[0], row[column]);
            let (size, score) = judged.map_or((0.0, 0.0), |judged| (judged.size, judged.score));
            writeln!(out, "{size:e},{score:e}")?;
        }
    }
    Ok(out.flush()?)
}
