//! RFC 4180: a line of names, then a line for each row.

use std::io::Write;

use ::csv::{Terminator, Writer, WriterBuilder};

use super::{COLUMNS, Row, Target, rfc3339};

pub(super) struct Csv<W: Write> {
    out: Writer<W>,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(out: W) -> anyhow::Result<Self> {
        let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        out.write_record(COLUMNS)?;
        Ok(Self { out })
    }
}

impl<W: Write> Target for Csv<W> {
    fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let (series, window) = (row.series, row.window);
        for text in [row.server, &series.metric_name, row.labels, series.kind.as_str(), &series.unit] {
            self.out.write_field(text)?;
        }
        self.out.write_field(rfc3339(window.ts_ms))?;
        self.out.write_field(window.value(series.kind).to_string())?;
        self.out.write_field(window.count.to_string())?;
        for number in [window.sum, window.min, window.max, window.first, window.last, window.increase] {
            self.out.write_field(number.to_string())?;
        }
        self.out.write_record(None::<&[u8]>)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}
