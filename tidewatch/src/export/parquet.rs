//! Apache Parquet, zstd: texts as dictionaries, times as milliseconds UTC.

use std::{fs::File, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::{Row, Target};

const SCHEMA: &str = "message windows {
    required binary server (string);
    required binary metric (string);
    required binary labels (json);
    required binary kind (string);
    required binary unit (string);
    required int64 time (timestamp(millis,true));
    required double value;
    required int64 count;
    required double sum;
    required double min;
    required double max;
    required double first;
    required double last;
    required double increase;
}";

/// Rows of a group: some 20 MB in memory.
const GROUP: usize = 200_000;

const TEXTS: usize = 5;
const DOUBLES: usize = 7;

pub(super) struct Parquet {
    writer: SerializedFileWriter<File>,
    texts: [Vec<ByteArray>; TEXTS],
    times: Vec<i64>,
    counts: Vec<i64>,
    /// `value` first.
    doubles: [Vec<f64>; DOUBLES],
}

impl Parquet {
    pub(super) fn new(file: File) -> anyhow::Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build()))?;
        Ok(Self {
            writer,
            texts: Default::default(),
            times: Vec::new(),
            counts: Vec::new(),
            doubles: Default::default(),
        })
    }

    /// In the order of the schema: texts, time, value, count, the other numbers.
    fn group(&mut self) -> anyhow::Result<()> {
        if self.times.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        let mut place = 0;
        while let Some(mut column) = group.next_column()? {
            match place {
                0..TEXTS => {
                    column.typed::<ByteArrayType>().write_batch(&self.texts[place], None, None)?;
                }
                TEXTS => {
                    column.typed::<Int64Type>().write_batch(&self.times, None, None)?;
                }
                7 => {
                    column.typed::<Int64Type>().write_batch(&self.counts, None, None)?;
                }
                6 => {
                    column.typed::<DoubleType>().write_batch(&self.doubles[0], None, None)?;
                }
                _ => {
                    column.typed::<DoubleType>().write_batch(&self.doubles[place - 7], None, None)?;
                }
            }
            column.close()?;
            place += 1;
        }
        group.close()?;
        self.texts.iter_mut().for_each(Vec::clear);
        self.doubles.iter_mut().for_each(Vec::clear);
        self.times.clear();
        self.counts.clear();
        Ok(())
    }
}

impl Target for Parquet {
    fn row(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        let (series, window) = (row.series, row.window);
        let texts = [row.server, &series.metric_name, row.labels, series.kind.as_str(), &series.unit];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(ByteArray::from(text));
        }
        self.times.push(window.ts_ms);
        self.counts.push(window.count);
        let value = window.value(series.kind);
        let doubles = [value, window.sum, window.min, window.max, window.first, window.last, window.increase];
        for (column, number) in self.doubles.iter_mut().zip(doubles) {
            column.push(number);
        }
        if self.times.len() >= GROUP { self.group() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> anyhow::Result<()> {
        self.group()?;
        self.writer.finish()?;
        Ok(())
    }
}
