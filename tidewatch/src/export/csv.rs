//! RFC 4180: a line of names, then a line for each row.

use std::io::Write;

use super::{COLUMNS, Row, Target, rfc3339};

pub(super) struct Csv<W> {
    out: W,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(mut out: W) -> anyhow::Result<Self> {
        write!(out, "{}\r\n", COLUMNS.join(","))?;
        Ok(Self { out })
    }
}

impl<W: Write> Target for Csv<W> {
    fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let (series, window) = (row.series, row.window);
        for text in [row.server, &series.metric_name, row.labels, series.kind.as_str(), &series.unit] {
            quoted(&mut self.out, text)?;
            self.out.write_all(b",")?;
        }
        write!(self.out, "{},{},{}", rfc3339(window.ts_ms), window.value(series.kind), window.count)?;
        for number in [window.sum, window.min, window.max, window.first, window.last, window.increase] {
            write!(self.out, ",{number}")?;
        }
        self.out.write_all(b"\r\n")?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

/// In quotes where it has to be.
fn quoted(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    if text.contains(['"', ',', '\r', '\n']) {
        write!(out, "\"{}\"", text.replace('"', "\"\""))
    } else {
        out.write_all(text.as_bytes())
    }
}
