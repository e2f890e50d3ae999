//! RFC 4180: a line of names, then a line for each row; what is unknown is empty.

use std::io::Write;

use ::csv::{Terminator, Writer, WriterBuilder};

use super::{
    Target, rfc3339,
    table::{Column, Field, Row},
};

pub(super) struct Csv<W: Write> {
    out: Writer<W>,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(columns: &[Column], out: W) -> anyhow::Result<Self> {
        let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        out.write_record(columns.iter().map(|(name, _)| name))?;
        Ok(Self { out })
    }
}

impl<W: Write> Target for Csv<W> {
    fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        for field in &row.0 {
            match field {
                Field::Text(text) => self.out.write_field(text)?,
                Field::Made(text) => self.out.write_field(text)?,
                Field::Time(ms) => self.out.write_field(rfc3339(*ms))?,
                Field::Long(number) => self.out.write_field(number.to_string())?,
                Field::Known(number) if number.is_nan() => self.out.write_field("")?,
                Field::Double(number) | Field::Known(number) => self.out.write_field(number.to_string())?,
            }
        }
        self.out.write_record(None::<&[u8]>)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}
