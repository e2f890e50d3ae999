//! What the files hold that were asked for, read back by others' readers or looked at byte by byte.

use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, RowAccessor},
};
use tidewatch_schemas::{Buckets, Distribution, Labels, Origin, SeriesKind};
use tidewatch_store::{SeriesMeta, WindowRow};

use super::*;

fn meta(kind: SeriesKind) -> SeriesMeta {
    SeriesMeta {
        id: 1,
        server_id: 1,
        metric_name: "node_network_receive_bytes_total".into(),
        labels: Labels::from([("device".into(), "eth0, \"the\" first".into())]),
        kind,
        unit: "bytes".into(),
    }
}

fn window(n: i64) -> WindowRow {
    WindowRow {
        series_id: 1,
        ts_ms: 1_795_392_000_000 + n * 60_000,
        count: 4,
        sum: 10.5 + n as f64,
        min: 1.0,
        max: 4.25,
        first: 1.0,
        last: 4.0 + n as f64,
        first_at: 0,
        last_at: 9,
        m2: 0.0,
        increase: 3.0,
        resets: 0,
        origin: Origin { partition: 0, offset: n },
    }
}

fn write(target: &mut dyn Target, kind: SeriesKind, rows: i64) {
    let series = meta(kind);
    let labels = serde_json::to_string(&series.labels).expect("labels");
    for n in 0..rows {
        target.row(&Row::of_window("web-1", &series, &labels, &window(n))).expect("row");
    }
}

/// 100 observations up to 4 or 8, one below zero; of some nobody knows the sum.
fn histogram(n: i64) -> HistogramRow {
    let observed = Distribution {
        count: 104,
        zero_count: 3,
        scale: 0,
        zero_threshold: 0.5,
        sum: if n % 2 == 0 { 300.5 } else { f64::NAN },
        min: -1.5,
        max: f64::NAN,
        positive: Buckets { offset: 1, counts: vec![90, 10] },
        negative: Buckets { offset: 0, counts: vec![1] },
    };
    HistogramRow {
        series_id: 1,
        ts_ms: 1_795_392_000_000 + n * 60_000,
        observed,
        origin: Origin { partition: 0, offset: n },
    }
}

fn write_histograms(target: &mut dyn Target, rows: i64) {
    let series = meta(SeriesKind::Gauge);
    for n in 0..rows {
        target.row(&Row::of_histogram("web-1", &series, "{}", &histogram(n))).expect("row");
    }
}

/// The names of the columns.
fn names(columns: &[Column]) -> Vec<&'static str> {
    columns.iter().map(|(name, _)| *name).collect()
}

fn names_in(reader: &SerializedFileReader<File>) -> Vec<String> {
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    columns.iter().map(|column| column.name().to_owned()).collect()
}

#[test]
fn a_parquet_file_holds_what_was_written_over_several_groups() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("out.parquet");
    let rows = 200_003;
    let mut target = parquet::Parquet::new(VALUES, File::create(&path).expect("file")).expect("target");
    write(&mut target, SeriesKind::Counter, rows);
    Box::new(target).finish().expect("finish");
    let reader = SerializedFileReader::new(File::open(&path).expect("file")).expect("a parquet file");
    assert_eq!(reader.metadata().num_row_groups(), 2);
    assert_eq!(names_in(&reader), names(VALUES));
    let mut count = 0;
    for (n, row) in (0..).zip(reader.get_row_iter(None).expect("rows")) {
        let (row, wanted) = (row.expect("row"), window(n));
        assert_eq!(row.get_string(0).expect("server"), "web-1");
        assert_eq!(row.get_string(2).expect("labels"), "{\"device\":\"eth0, \\\"the\\\" first\"}");
        assert_eq!(row.get_timestamp_millis(5).expect("time"), wanted.ts_ms);
        assert_eq!(row.get_double(6).expect("value"), wanted.last, "a counter's last value");
        assert_eq!(row.get_long(7).expect("count"), 4);
        assert_eq!(row.get_double(8).expect("sum"), wanted.sum);
        assert_eq!(row.get_double(13).expect("increase"), 3.0);
        count += 1;
    }
    assert_eq!(count, rows);
}

#[test]
fn csv_quotes_what_has_to_be() {
    let mut out = Vec::new();
    let mut target = csv::Csv::new(VALUES, &mut out).expect("target");
    write(&mut target, SeriesKind::Gauge, 1);
    Box::new(target).finish().expect("finish");
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], names(VALUES).join(","));
    let expected = "web-1,node_network_receive_bytes_total,\"{\"\"device\"\":\"\"eth0, \\\"\"the\\\"\" first\"\"}\",gauge,bytes,\
                    2026-11-23T00:00:00.000Z,2.625,4,10.5,1,4.25,1,4,3";
    assert_eq!(lines[1], expected);
}

#[test]
fn histograms_have_columns_of_their_own_in_parquet_and_nulls_for_what_is_unknown() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("out.parquet");
    let rows = 20_001;
    let file = File::create(&path).expect("file");
    let mut target = parquet::Parquet::new(HISTOGRAMS, file).expect("target");
    write_histograms(&mut target, rows);
    Box::new(target).finish().expect("finish");
    let reader = SerializedFileReader::new(File::open(&path).expect("file")).expect("a parquet file");
    assert_eq!(reader.metadata().num_row_groups(), 2);
    assert_eq!(names_in(&reader), names(HISTOGRAMS));
    let mut count = 0;
    for (n, row) in (0..).zip(reader.get_row_iter(None).expect("rows")) {
        let (row, wanted) = (row.expect("row"), histogram(n));
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        assert_eq!(fields[3], &Field::Str("histogram".to_owned()));
        assert_eq!(row.get_timestamp_millis(5).expect("time"), wanted.ts_ms);
        assert_eq!(row.get_long(6).expect("count"), 104);
        let sum = if n % 2 == 0 { Field::Double(300.5) } else { Field::Null };
        assert_eq!((fields[7], fields[8], fields[9]), (&sum, &Field::Double(-1.5), &Field::Null));
        let quantiles =
            [0.5, 0.9, 0.99].map(|q| Field::Double(wanted.observed.quantile(q).expect("quantile")));
        assert_eq!([fields[10], fields[11], fields[12]], [&quantiles[0], &quantiles[1], &quantiles[2]]);
        assert_eq!((row.get_long(14).expect("scale"), row.get_long(17).expect("offset")), (0, 1));
        assert_eq!(row.get_string(18).expect("positive"), "[90,10]");
        count += 1;
    }
    assert_eq!(count, rows);
}

#[test]
fn histograms_have_columns_of_their_own_in_csv_and_nothing_for_what_is_unknown() {
    let mut out = Vec::new();
    let mut target = csv::Csv::new(HISTOGRAMS, &mut out).expect("target");
    write_histograms(&mut target, 2);
    Box::new(target).finish().expect("finish");
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], names(HISTOGRAMS).join(","));
    // the middle by ratio of (2, 4] and of (4, 8]
    let (low, high) = (2.0 / (1.0 / 2.0 + 1.0 / 4.0), 2.0 / (1.0 / 4.0 + 1.0 / 8.0));
    let found: Vec<&str> = lines[1].split(',').skip(6).take(8).collect();
    assert_eq!(found[..4], ["104", "300.5", "-1.5", ""]);
    let near = |text: &str, wanted: f64| (text.parse::<f64>().expect("number") - wanted).abs() < 1e-9;
    assert!(near(found[4], low) && near(found[5], low) && near(found[6], high), "{found:?}");
    assert!(near(found[7], 1.0 / 3.0), "{found:?}");
    assert!(lines[1].ends_with(",0,0.5,3,1,\"[90,10]\",0,[1]"), "{}", lines[1]);
    let second: Vec<&str> = lines[2].split(',').skip(6).take(2).collect();
    assert_eq!(second, ["104", ""]);
}

#[test]
fn both_tables_begin_alike() {
    assert_eq!(VALUES[..6], HISTOGRAMS[..6]);
}

#[test]
fn the_format_follows_the_name_and_a_day_is_a_time() {
    assert_eq!(format_of(Path::new("a/b.parquet")), Format::Parquet);
    assert_eq!(format_of(Path::new("-")), Format::Csv);
    assert_eq!(time("2026-11-23"), time("2026-11-23T00:00:00Z"));
    assert!(time("yesterday").is_err());
}
