//! Files into tables: CSV, CSV in gzip, Parquet.
//!
//! In: a path; its name's end tells the format. Out: a table, or an error that names the file and the line.

use std::{fs::File, io::Read, path::Path};

use ::csv::{Position, ReaderBuilder, StringRecord, Trim};
use ::parquet::{
    basic::{LogicalType, TimeUnit},
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use anyhow::{Context as _, bail};
use flate2::read::MultiGzDecoder;
use tidewatch_schemas::time::rfc3339;

use super::table::{Builder, Table};

pub(super) fn read(path: &Path) -> anyhow::Result<Table> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("open {shown}"))?;
    let ends_with = |end: &str| path.extension().is_some_and(|extension| extension == end);
    let table = if ends_with("parquet") {
        parquet(file)
    } else if ends_with("gz") {
        csv(MultiGzDecoder::new(file))
    } else {
        csv(file)
    };
    table.with_context(|| format!("read {shown}"))
}

fn csv(input: impl Read) -> anyhow::Result<Table> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).buffer_capacity(1 << 16).from_reader(input);
    let mut builder = Builder::new("line", reader.headers()?)?;
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, Position::line);
        let mut fields = record.iter();
        builder.time(fields.next().unwrap_or_default().to_owned(), None, line)?;
        for (column, field) in fields.enumerate() {
            builder.text(column, field, line);
        }
    }
    builder.finish()
}

fn parquet(file: File) -> anyhow::Result<Table> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let names: Vec<&str> = schema.root_schema().get_fields().iter().map(|field| field.name()).collect();
    let mut builder = Builder::new("row", names)?;
    // the only unit that rows do not tell
    let is_nanos = schema.columns().first().is_some_and(|column| {
        matches!(column.logical_type_ref(), Some(LogicalType::Timestamp { unit: TimeUnit::NANOS, .. }))
    });
    for (number, row) in (1..).zip(reader.get_row_iter(None)?) {
        let row = row?;
        let mut fields = row.get_column_iter().map(|(_, field)| field);
        let Some(time) = fields.next() else { bail!("row {number} is empty") };
        let (text, seconds) = time_of(time, is_nanos);
        builder.time(text, seconds, number)?;
        for (column, field) in fields.enumerate() {
            builder.value(column, value_of(field), number);
        }
    }
    builder.finish()
}

/// A time's text, and its seconds if the text need not be read.
fn time_of(field: &Field, is_nanos: bool) -> (String, Option<f64>) {
    match field {
        Field::TimestampMillis(millis) => (rfc3339(*millis), Some(*millis as f64 / 1e3)),
        Field::TimestampMicros(micros) => (rfc3339(micros.div_euclid(1_000)), Some(*micros as f64 / 1e6)),
        Field::Long(nanos) if is_nanos => (rfc3339(nanos.div_euclid(1_000_000)), Some(*nanos as f64 / 1e9)),
        Field::Date(days) => (rfc3339(i64::from(*days) * 86_400_000), Some(f64::from(*days) * 86_400.0)),
        Field::Str(text) => (text.clone(), None),
        other => match value_of(other) {
            Some(number) => (number.to_string(), Some(number).filter(|number| number.is_finite())),
            None => (other.to_string(), None),
        },
    }
}

/// NaN = missing, `None` = no number.
fn value_of(field: &Field) -> Option<f64> {
    Some(match field {
        Field::Null => f64::NAN,
        Field::Byte(number) => f64::from(*number),
        Field::Short(number) => f64::from(*number),
        Field::Int(number) => f64::from(*number),
        Field::Long(number) => *number as f64,
        Field::UByte(number) => f64::from(*number),
        Field::UShort(number) => f64::from(*number),
        Field::UInt(number) => f64::from(*number),
        Field::ULong(number) => *number as f64,
        Field::Float(number) => f64::from(*number),
        Field::Double(number) => *number,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use ::parquet::{
        data_type::{DoubleType, Int64Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_csv_is_read_and_its_bad_lines_are_named() {
        let table = csv("\u{feff}timestamp, value ,label\n0,1.5,0\n\n60, 2 ,1\n".as_bytes()).unwrap();
        assert_eq!(table.times, ["0", "60"]);
        assert_eq!((table.series.len(), table.series[0].name.as_str()), (1, "value"));
        assert_eq!(table.series[0].values, [1.5, 2.0]);
        let error = format!("{:#}", csv("timestamp,value\n0,1\n60,2,3\n".as_bytes()).unwrap_err());
        assert!(error.contains("line: 3"), "{error}");
        let error = format!("{:#}", csv("timestamp,value\n0,1\nx,2\n".as_bytes()).unwrap_err());
        assert!(error.starts_with("line 3: `x`"), "{error}");
        assert!(csv("".as_bytes()).is_err());
    }

    #[test]
    fn gzip_is_unpacked_and_the_file_is_named_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        let mut out = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        out.write_all(b"timestamp,value\n2020-01-01T00:00:00Z,7\n").unwrap();
        out.finish().unwrap();
        assert_eq!(read(&path).unwrap().series[0].values, [7.0]);
        std::fs::write(&path, "timestamp,value\n0,7\n").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("a.csv.gz"), "{error}");
        let missing = format!("{:#}", read(&folder.path().join("none.csv")).unwrap_err());
        assert!(missing.starts_with("open ") && missing.contains("none.csv"), "{missing}");
    }

    /// Two rows, the second value of which is missing.
    fn write(path: &Path, unit: &str, times: &[i64]) {
        let schema = format!(
            "message m {{ required int64 timestamp (timestamp({unit},true)); optional double value; }}"
        );
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(times, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[1.5], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.finish().unwrap();
    }

    #[test]
    fn parquet_is_read_in_every_unit_of_time() {
        let folder = tempfile::tempdir().unwrap();
        for (unit, factor) in [("millis", 1_000), ("micros", 1_000_000), ("nanos", 1_000_000_000)] {
            let path = folder.path().join(format!("{unit}.parquet"));
            write(&path, unit, &[1_577_836_800 * factor, 1_577_836_860 * factor]);
            let table = read(&path).unwrap();
            assert_eq!(table.seconds, [1_577_836_800.0, 1_577_836_860.0], "{unit}");
            assert_eq!(table.times[0], "2020-01-01T00:00:00.000Z");
            assert_eq!(table.series[0].values[0], 1.5);
            assert!(table.series[0].values[1].is_nan());
        }
    }
}
