//! Snapshots: a server that came back from one is the server that never stopped, to the bit.

use std::collections::BTreeMap;

use super::{crash, *};
use crate::snapshot::seal;

/// By server: of how many records it is, and the state.
type Snapshots = BTreeMap<String, (usize, Vec<u8>)>;

/// One that never stops, and what it was after each number of records.
struct Story {
    text: String,
    log: Vec<AggregateFrame>,
    said: Vec<Output>,
    /// How much was said, and the states of all servers.
    after: Vec<(usize, BTreeMap<String, Vec<u8>>)>,
}

fn states(analysis: &Analysis) -> BTreeMap<String, Vec<u8>> {
    ["a", "b"].into_iter().filter_map(|name| Some((name.to_owned(), analysis.keep(name)?))).collect()
}

impl Story {
    fn new(text: &str, log: Vec<AggregateFrame>) -> Self {
        let mut analysis = live(text);
        let mut said = Vec::new();
        let mut after = vec![(0, states(&analysis))];
        for frame in &log {
            said.extend(feed(&mut analysis, [frame.clone()]));
            after.push((said.len(), states(&analysis)));
        }
        Self { text: text.to_owned(), log, said, after }
    }

    fn said(&self, records: usize) -> &[Output] {
        &self.said[..self.after[records].0]
    }

    /// The newest snapshot of each server among those that were taken after so many records.
    fn snapshots(&self, taken: impl Fn(&str, usize) -> bool, committed: usize) -> Snapshots {
        let mut snapshots = Snapshots::new();
        for records in 0..=committed {
            for (server, state) in &self.after[records].1 {
                if taken(server, records) {
                    snapshots.insert(server.clone(), (records, state.clone()));
                }
            }
        }
        snapshots
    }

    /// From where on the log is needed: a server without a snapshot is needed from its first record on.
    fn low_water(&self, snapshots: &Snapshots, committed: usize) -> usize {
        let mut low = committed;
        for (place, frame) in self.log[..committed].iter().enumerate() {
            low = low.min(snapshots.get(&frame.server).map_or(place, |(records, _)| *records));
        }
        low
    }

    /// A new owner of what is committed, live.
    fn successor(&self, snapshots: &Snapshots, from: usize, committed: usize, replays_all: bool) -> Analysis {
        let log = topic(self.said(committed));
        let mut analysis = Analysis::new(rules(&self.text));
        analysis.recall(&log);
        if replays_all {
            analysis.replay_all();
        }
        for (server, (_, state)) in snapshots {
            analysis.restore(server, Kept::read(state).unwrap());
        }
        let is_needed = |place: usize, frame: &AggregateFrame| {
            snapshots.get(&frame.server).is_none_or(|(records, _)| place >= *records)
        };
        let replay = (from..committed).filter(|place| is_needed(*place, &self.log[*place]));
        let silent = feed(&mut analysis, replay.map(|place| self.log[place].clone()));
        assert_eq!(silent, [], "a replay says nothing");
        analysis.go_live(log);
        analysis
    }

    /// A crash before record `crash`, with commits after every `every` records.
    fn crash(&self, taken: impl Fn(&str, usize) -> bool, every: usize, crash: usize, to_the_end: bool) {
        let committed = crash / every * every;
        let snapshots = self.snapshots(taken, committed);
        let mut successor =
            self.successor(&snapshots, self.low_water(&snapshots, committed), committed, true);
        assert!(states(&successor) == self.after[committed].1, "another state after {committed} records");
        if to_the_end {
            let rest = feed(&mut successor, self.log[committed..].iter().cloned());
            assert!(rest == self.said[self.after[committed].0..], "something else said after {committed}");
            assert!(states(&successor) == self.after[self.log.len()].1);
        }
    }
}

/// With a rule about a score and a forecast: both are about models.
fn all_rules() -> String {
    format!(
        "{}  - {{name: odd, metric: load, of: score, above: 1}}\n  - {{name: soon, metric: disk_percent, above: 90, within: 24h, keep: 1m}}\n",
        crash::RULES
    )
}

#[test]
fn a_crash_at_any_step_leaves_the_same_state_to_the_bit() {
    for seed in 1..3 {
        let story = Story::new(&all_rules(), crash::log(seed, 440));
        assert!(alerts(&story.said).len() > 20, "the log has to be eventful");
        for crash in 0..story.log.len() {
            // each server has its own turn, and before the first one there is no snapshot
            let taken = |server: &str, records: usize| match server {
                "a" => records % 61 == 40,
                _ => records % 97 == 90,
            };
            story.crash(taken, 1 + crash % 7, crash, crash % 23 == 0);
        }
    }
}

/// Far more begins at once than may be said, and some of it is over before it was.
fn storm() -> Vec<AggregateFrame> {
    let disk = |number: usize, value: f64| {
        (Series::gauge("disk_percent", "percent").with("mountpoint", format!("/{number}")), value)
    };
    let windows = (0..120).flat_map(|window| {
        let value = |number: usize| match (window, number) {
            (10.., 0..=24) | (10..30, _) => 99.0,
            _ => 20.0,
        };
        let frame = |server| {
            frame(server, window, &(0..30).map(|number| disk(number, value(number))).collect::<Vec<_>>())
        };
        ["a", "b"].map(frame)
    });
    windows.collect()
}

#[test]
fn what_was_held_back_is_known_after_a_crash() {
    let story = Story::new(super::RULES, storm());
    let said = alerts(&story.said);
    assert!(said.iter().any(|alert| alert.explanation.contains("held back")), "some waited");
    assert!(said.iter().any(|alert| alert.explanation.contains("had to wait and are over")));
    for crash in 0..story.log.len() {
        let taken = |server: &str, records: usize| records % 40 == if server == "a" { 30 } else { 5 };
        story.crash(taken, 3, crash, crash % 5 == 0);
    }
}

#[test]
fn without_a_snapshot_a_server_is_learned_from_the_replay() {
    let story = Story::new(crash::RULES, crash::log(1, 440));
    for committed in [500, 700, 830] {
        let mut snapshots = story.snapshots(|_, records| records == 450, committed);
        // that of the other one is torn
        snapshots.remove("b");
        let mut successor = story.successor(&snapshots, 0, committed, false);
        let rest = feed(&mut successor, story.log[committed..].iter().cloned());
        assert!(rest == story.said[story.after[committed].0..], "after {committed}");
    }
}

#[test]
fn a_rule_that_is_the_same_goes_on_though_others_came_before_it() {
    let values = |window: i64| [cpu(if window < 20 { 99.0 } else { 10.0 })];
    let mut first = live(super::RULES);
    let mut said = feed(&mut first, (0..10).map(|w| frame("a", w, &values(w))));
    let kept = Kept::read(&first.keep("a").unwrap()).unwrap();
    let other = super::RULES.replace("rules:", "rules:\n  - {name: first, metric: other, above: 1}").replace(
        "{name: disk, metric: disk_percent, above: 95,",
        "{name: disk, metric: disk_percent, above: 96,",
    );
    let mut second = Analysis::new(rules(&other));
    second.recall(&topic(&said));
    second.restore("a", kept);
    second.go_live(topic(&said));
    said.extend(feed(&mut second, (10..40).map(|w| frame("a", w, &values(w)))));
    let brief: Vec<_> = brief(&said).into_iter().filter(|alert| alert.0 == "cpu").collect();
    assert_eq!(brief, [("cpu".to_owned(), "firing", 0, None), ("cpu".to_owned(), "resolved", 0, Some(20))]);
}

#[test]
fn what_is_cut_off_is_no_server() {
    let story = Story::new(crash::RULES, crash::log(2, 60));
    let state = &story.after[story.log.len()].1["a"];
    assert!(Kept::read(state).is_some());
    for end in (0..state.len()).step_by(7) {
        assert!(Kept::read(&state[..end]).is_none(), "{end} of {}", state.len());
    }
    let longer = [&state[..], &[0]].concat();
    assert!(Kept::read(&longer).is_none());
}

#[test]
fn a_series_takes_less_than_four_kilobytes_in_the_topic() {
    let mut analysis = live("rules: []");
    let value = |w: i64, k: i64| 20.0 + ((w * 7_919 + k * 104_729) % 1_013) as f64 / 97.0;
    for window in 0..6_000 {
        let values: Vec<_> = (0..10)
            .map(|k| (Series::gauge("level", "").with("place", k.to_string()), value(window, k)))
            .collect();
        feed(&mut analysis, [frame("a", window, &values)]);
    }
    let sealed = seal("a", 0, 0, &analysis.keep("a").unwrap()).unwrap();
    let bytes: usize = sealed.iter().map(|entry| entry.payload.as_ref().unwrap().len()).sum();
    assert!((1_000..4_096).contains(&(bytes / 10)), "{} bytes a series", bytes / 10);
}
