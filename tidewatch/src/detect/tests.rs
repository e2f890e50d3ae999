//! The command from files to files, and the table that its parts are tried on.

use std::fmt::Write as _;

use super::{table::Series, *};

fn value(t: u32, series: u32) -> f64 {
    50.0 + f64::from((t + 100 * series) * 7 % 11) / 5.0
}

/// So many series of 1,000 minutes, with something added to some in minute 700.
pub(super) fn sample(series: u32, odd: &[(u32, f64)]) -> Table {
    let column = |place: u32| {
        let extra = odd.iter().find(|(series, _)| *series == place).map_or(0.0, |(_, extra)| *extra);
        let values = (0..1_000).map(|t| value(t, place) + if t == 700 { extra } else { 0.0 });
        Series { name: format!("m{place}"), values: values.collect() }
    };
    Table {
        times: (0..1_000_u32).map(|t| (t * 60).to_string()).collect(),
        seconds: (0..1_000_u32).map(|t| f64::from(t) * 60.0).collect(),
        series: (0..series).map(column).collect(),
        notes: vec![],
    }
}

fn text(table: &Table) -> String {
    let names: Vec<&str> = table.series.iter().map(|series| series.name.as_str()).collect();
    let mut text = format!("timestamp,{},label\n", names.join(","));
    for (row, time) in table.times.iter().enumerate() {
        let values: Vec<String> = table.series.iter().map(|series| series.values[row].to_string()).collect();
        let _ = writeln!(text, "{time},{},0", values.join(","));
    }
    text
}

fn args(inputs: &[&Path], output: &Path, by_server: bool) -> DetectArgs {
    DetectArgs {
        inputs: inputs.iter().map(|input| input.to_path_buf()).collect(),
        by_server,
        output: output.to_owned(),
        plot: true,
        explain: true,
        quiet: true,
    }
}

#[test]
fn a_file_of_scores_has_a_row_for_each_row() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("a.csv"), folder.path().join("out/deep"));
    fs::write(&input, text(&sample(2, &[(1, 90.0)]))).unwrap();
    run(&args(&[&input], &output, false)).unwrap();
    let scores = fs::read_to_string(output.join("a.csv")).unwrap();
    let lines: Vec<&str> = scores.lines().collect();
    assert_eq!((lines.len(), lines[0]), (1_001, "timestamp,score,alert,series"));
    assert_eq!(lines[1], "0,0,0,");
    let fields: Vec<&str> = lines[701].split(',').collect();
    assert_eq!((fields[0], fields[2], fields[3]), ("42000", "1", "m1"));
    assert!(fields[1].parse::<f64>().unwrap() > 1.0);
    assert_eq!(lines[1..].iter().filter(|line| line.split(',').nth(2) == Some("1")).count(), 1);
    assert!(fs::read_to_string(output.join("a.svg")).unwrap().starts_with("<svg "));
    let files = fs::read_dir(&output).unwrap().count();
    assert_eq!(files, 2, "nothing is left half written");
}

#[test]
fn a_server_is_one_score() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("b.csv");
    fs::write(&input, text(&sample(6, &[(1, 10.0), (2, 9.0), (4, 30.0), (5, 8.0)]))).unwrap();
    run(&args(&[&input], &folder.path().join("out"), true)).unwrap();
    let scores = fs::read_to_string(folder.path().join("out/b.csv")).unwrap();
    let alerts: Vec<&str> = scores.lines().filter(|line| line.split(',').nth(2) == Some("1")).collect();
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].starts_with("42000,") && alerts[0].ends_with(",1,m4"), "{}", alerts[0]);
}

#[test]
fn outputs_that_would_meet_are_refused() {
    let names = |paths: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        named(&paths).map(|named| named.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
    };
    assert_eq!(names(&["x/a.csv.gz", "b.parquet", "c.csv", "d"]).unwrap(), ["a", "b", "c", "d"]);
    let error = names(&["x/a.csv", "y/a.csv.gz"]).unwrap_err().to_string();
    assert_eq!(error, "x/a.csv and y/a.csv.gz would both be written to a.csv");
    assert!(names(&["x/.csv"]).is_err());
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("a.csv");
    fs::write(&input, "timestamp,value\n0,1\n").unwrap();
    let error = run(&args(&[&input], folder.path(), false)).unwrap_err().to_string();
    assert!(error.contains("written over"), "{error}");
    assert_eq!(fs::read_to_string(&input).unwrap(), "timestamp,value\n0,1\n");
}

#[test]
fn a_bad_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("a.csv");
    fs::write(&input, "timestamp,value\n0,1\nnoon,2\n").unwrap();
    let error = format!("{:#}", run(&args(&[&input], &folder.path().join("out"), false)).unwrap_err());
    assert!(error.contains("a.csv: line 3: `noon`"), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 0);
}
