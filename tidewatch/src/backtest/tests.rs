//! What is asked for, and what is said of what came of it.

use clap::Parser;
use tidewatch_analyzer::rules;
use tidewatch_store::People;

use super::{differ::tests::found, *};

const FROM: i64 = 1_795_392_000_000;
const HOUR: i64 = 3_600_000;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: BacktestArgs,
}

fn args(more: &[&str]) -> BacktestArgs {
    let words = ["backtest", "--from", "2026-11-23", "--to", "2026-11-24"];
    Line::try_parse_from(words.iter().chain(more)).expect("arguments").args
}

fn server(name: &str, last_seen_ms: i64) -> Server {
    Server {
        id: 1,
        name: name.to_owned(),
        ip_address: None,
        labels: tidewatch_schemas::Labels::new(),
        first_seen_ms: 0,
        last_seen_ms,
        people: People::default(),
    }
}

fn report(servers: impl IntoIterator<Item = Heard>) -> Report {
    let rules = "rules:\n  - {name: a, metric: m, above: 1}\n  - {name: b, metric: m, above: 2}\n";
    let rules = rules::parse(rules, Path::new("rules.yaml")).expect("rules");
    let span = Span { warm_from: FROM - HOUR, from: FROM, to: FROM + HOUR };
    let mut report = Report::new(&rules, span, 2);
    servers.into_iter().for_each(|heard| report.add(heard));
    report
}

fn heard(found: Vec<Found>) -> Heard {
    let known_from = Some(FROM - HOUR);
    Heard { found, windows: 360, known_from, ..Heard::default() }
}

#[test]
fn servers_are_named_as_in_rules() {
    let all = || ["db-1", "web-1", "web-2"].map(|name| server(name, 0)).to_vec();
    let named = |more: &[&str]| {
        let found = chosen(all(), &args(more).servers);
        found.map(|servers| servers.into_iter().map(|server| server.name).collect::<Vec<_>>())
    };
    assert_eq!(named(&[]).expect("all").len(), 3);
    assert_eq!(named(&["--server", "web-*"]).expect("some"), ["web-1", "web-2"]);
    assert_eq!(named(&["--server", "db-1", "--server", "=~.*-2"]).expect("some"), ["db-1", "web-2"]);
    let error = named(&["--server", "web-*", "--server", "mail"]).expect_err("nobody");
    assert_eq!(error.to_string(), "there is no server that fits `mail`");
}

#[test]
fn the_time_ends_with_the_history() {
    let newest = [server("a", FROM + HOUR), server("b", FROM)];
    let wanted = Span { warm_from: FROM - 2 * HOUR, from: FROM, to: FROM + HOUR + GRACE_MS };
    assert_eq!(span(&args(&["--warm", "2h"]), &newest).expect("span"), wanted);
    let error = span(&args(&[]), &[server("a", FROM - HOUR)]).expect_err("before");
    assert!(error.to_string().ends_with("it ends at 2026-11-22T23:00:00.000Z"), "{error}");
    assert!(span(&args(&[]), &[]).is_err());
}

#[test]
fn a_bad_file_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("folder");
    let (good, bad) = (dir.path().join("good.yaml"), dir.path().join("bad.yaml"));
    std::fs::write(&good, "rules:\n  - {name: a, metric: m, above: 1}\n").expect("file");
    std::fs::write(&bad, "rules:\n  - {name: a, metric: m}\n").expect("file");
    let (good, bad) = (good.display().to_string(), bad.display().to_string());
    let books = Books::read(&args(&["--rules", &good])).expect("books");
    assert_eq!(books.all().count(), 1);
    assert!(Books::read(&args(&[])).expect("built-in rules").rules.rules.len() > 10);
    for words in [["--rules", bad.as_str()], ["--compare", bad.as_str()]] {
        let why = Books::read(&args(&words)).expect_err("refused");
        assert!(why.contains("bad.yaml:2: "), "{why}");
    }
}

#[test]
fn the_first_alerts_are_the_first_in_time_whichever_server_was_played_first() {
    let late = heard(vec![found("a", "db-1", FROM + 70_000, Some(FROM + 100_000))]);
    let early = heard(
        [0, 30_000, 90_000].map(|at| found("a", "web-1", FROM + at, Some(FROM + at + 20_000))).to_vec(),
    );
    let text = report([late, early]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "2 rules and the learned detector, 2026-11-23T00:00:00.000Z to 2026-11-23T01:00:00.000Z, 2 servers, 720 windows: 4 alerts",
            "",
            "rule  alerts  open in all  still open  open before  most on",
            "a          4   1 min 30 s           0            0  web-1 3, db-1 1",
        ]
    );
    assert_eq!(lines[5], "said nothing: b, learned");
    let told: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("  2026")).collect();
    assert_eq!(
        told,
        [
            "  2026-11-23T00:00:10.000Z  warning   web-1  a on web-1",
            "  2026-11-23T00:00:40.000Z  warning   web-1  a on web-1",
        ]
    );
    assert!(text.contains("      So it was. Open for 20 s.\n"), "{text}");
    assert!(text.ends_with("  and 2 more\n"), "{text}");
}

#[test]
fn differences_and_what_is_not_known_are_said() {
    let mut one = heard(vec![found("learned", "web-1", FROM + 10_000, None)]);
    one.known_from = Some(FROM + 5_000);
    one.already.insert("b".to_owned(), 2);
    let added = vec![found("a", "web-1", FROM, None)];
    one.compared = Some(Changes { added: added.clone(), ..Changes::default() });
    one.history = Some(Changes { removed: added, same: one.found.clone(), ..Changes::default() });
    let lines: Vec<String> = json::lines(&one).expect("lines").iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 3);
    for (line, kind) in lines.iter().zip(["alert", "added", "only_said"]) {
        assert!(line.contains(&format!("\"type\":\"{kind}\"")), "{line}");
    }
    assert!(lines[0].contains(&format!("\"fired_at\":{}", FROM + 20_000)), "{}", lines[0]);
    let report = report([one]);
    let text = report.text();
    assert!(text.contains("no windows of 10 s before 2026-11-23T00:00:05.000Z"), "{text}");
    assert!(text.contains(
        "against the other rules: 0 the same, 0 at another time (~), 1 said beside (+), 0 not said (-)"
    ));
    assert!(text.contains("  + 2026-11-23T00:00:10.000Z  a  web-1  a on web-1\n"), "{text}");
    assert!(text.contains("against what was really said: 1 the same"), "{text}");
    assert!(text.contains("Open for 59 min 50 s when the history ends."), "{text}");
    let summary = json::summary(&report);
    assert_eq!(summary["alerts"], 1);
    assert_eq!(summary["compared"]["added"], 1);
    assert_eq!(summary["rules"][1]["open_before"], 2);
    assert_eq!(summary["rules"][2]["servers"]["web-1"], 1);
}
