//! Apache Parquet, zstd: texts as dictionaries, times as milliseconds UTC; what is unknown is null.

use std::{fmt::Write as _, fs::File, sync::Arc};

use anyhow::bail;
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};

use super::{
    Target,
    table::{Column, Field, Kind, Row},
};

/// Rows of a group: some 20 MB in memory. Of histograms less, for they are larger.
const GROUP: usize = 200_000;
const HISTOGRAMS_GROUP: usize = 20_000;

pub(super) struct Parquet {
    writer: SerializedFileWriter<File>,
    columns: Vec<Values>,
    rows: usize,
    /// Rows of a group.
    most: usize,
}

/// A group's values in a column.
enum Values {
    Texts(Vec<ByteArray>),
    Longs(Vec<i64>),
    Doubles(Vec<f64>),
    /// Those that are known, and of each row whether it is: 1 or 0.
    Known(Vec<f64>, Vec<i16>),
}

impl Parquet {
    pub(super) fn new(columns: &[Column], file: File) -> anyhow::Result<Self> {
        let schema = Arc::new(parse_message_type(&schema(columns))?);
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build()))?;
        let is_of_histograms = columns.iter().any(|(_, kind)| *kind == Kind::Known);
        Ok(Self {
            writer,
            columns: columns.iter().map(|(_, kind)| Values::new(*kind)).collect(),
            rows: 0,
            most: if is_of_histograms { HISTOGRAMS_GROUP } else { GROUP },
        })
    }

    fn group(&mut self) -> anyhow::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for values in &mut self.columns {
            let Some(mut column) = group.next_column()? else { bail!("the schema has too few columns") };
            values.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

/// The columns in Parquet's own words.
fn schema(columns: &[Column]) -> String {
    let mut text = "message windows {\n".to_owned();
    for (name, kind) in columns {
        let _ = match kind {
            Kind::Text => writeln!(text, "required binary {name} (string);"),
            Kind::Json => writeln!(text, "required binary {name} (json);"),
            Kind::Time => writeln!(text, "required int64 {name} (timestamp(millis,true));"),
            Kind::Long => writeln!(text, "required int64 {name};"),
            Kind::Double => writeln!(text, "required double {name};"),
            Kind::Known => writeln!(text, "optional double {name};"),
        };
    }
    text + "}"
}

impl Values {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Json => Self::Texts(Vec::new()),
            Kind::Time | Kind::Long => Self::Longs(Vec::new()),
            Kind::Double => Self::Doubles(Vec::new()),
            Kind::Known => Self::Known(Vec::new(), Vec::new()),
        }
    }

    fn push(&mut self, field: &Field<'_>) -> anyhow::Result<()> {
        match (self, field) {
            (Self::Texts(texts), Field::Text(text)) => texts.push(ByteArray::from(*text)),
            (Self::Texts(texts), Field::Made(text)) => texts.push(ByteArray::from(text.as_str())),
            (Self::Longs(longs), Field::Time(long) | Field::Long(long)) => longs.push(*long),
            (Self::Doubles(doubles), Field::Double(double)) => doubles.push(*double),
            (Self::Known(doubles, known), Field::Known(double)) => {
                known.push(i16::from(!double.is_nan()));
                doubles.extend((!double.is_nan()).then_some(*double));
            }
            (_, field) => bail!("a column cannot hold {field:?}"),
        }
        Ok(())
    }

    /// Writes all, and is empty again.
    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> anyhow::Result<()> {
        match self {
            Self::Texts(texts) => {
                column.typed::<ByteArrayType>().write_batch(texts, None, None)?;
                texts.clear();
            }
            Self::Longs(longs) => {
                column.typed::<Int64Type>().write_batch(longs, None, None)?;
                longs.clear();
            }
            Self::Doubles(doubles) => {
                column.typed::<DoubleType>().write_batch(doubles, None, None)?;
                doubles.clear();
            }
            Self::Known(doubles, known) => {
                column.typed::<DoubleType>().write_batch(doubles, Some(known.as_slice()), None)?;
                doubles.clear();
                known.clear();
            }
        }
        Ok(())
    }
}

impl Target for Parquet {
    fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        for (values, field) in self.columns.iter_mut().zip(&row.0) {
            values.push(field)?;
        }
        self.rows += 1;
        if self.rows >= self.most { self.group() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        self.group()?;
        self.writer.finish()?;
        Ok(())
    }
}
