//! What the files hold that were asked for, read back by others' readers or looked at byte by byte.

use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use tidewatch_schemas::{Labels, Origin, SeriesKind};

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
        let row = Row { server: "web-1", series: &series, labels: &labels, window: &window(n) };
        target.row(&row).expect("row");
    }
}

#[test]
fn a_parquet_file_holds_what_was_written_over_several_groups() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("out.parquet");
    let rows = 200_003;
    let mut target = parquet::Parquet::new(File::create(&path).expect("file")).expect("target");
    write(&mut target, SeriesKind::Counter, rows);
    Box::new(target).finish().expect("finish");
    let reader = SerializedFileReader::new(File::open(&path).expect("file")).expect("a parquet file");
    assert_eq!(reader.metadata().num_row_groups(), 2);
    let names: Vec<_> = reader
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    assert_eq!(names, COLUMNS);
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
    let mut target = csv::Csv::new(&mut out).expect("target");
    write(&mut target, SeriesKind::Gauge, 1);
    Box::new(target).finish().expect("finish");
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], COLUMNS.join(","));
    let expected = "web-1,node_network_receive_bytes_total,\"{\"\"device\"\":\"\"eth0, \\\"\"the\\\"\" first\"\"}\",gauge,bytes,\
                    2026-11-23T00:00:00.000Z,2.625,4,10.5,1,4.25,1,4,3";
    assert_eq!(lines[1], expected);
}

#[test]
fn the_format_follows_the_name_and_a_day_is_a_time() {
    assert_eq!(format_of(Path::new("a/b.parquet")), Format::Parquet);
    assert_eq!(format_of(Path::new("-")), Format::Csv);
    assert_eq!(time("2026-11-23"), time("2026-11-23T00:00:00Z"));
    assert!(time("yesterday").is_err());
}
