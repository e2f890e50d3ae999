//! Windows with any number of records in any order of partitions: each comes once, whole, in its order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidewatch_schemas::Expectation;

use super::*;
use crate::record::Body;

fn item(server: u8, start: i64, partition: i32, offset: i64) -> Item {
    let expected = Expectation {
        server: format!("s{server}"),
        window_start: start * 10_000,
        window_ms: 10_000,
        layout: vec![],
        low: vec![],
        high: vec![],
    };
    Item {
        topic: "m.expected".into(),
        partition,
        offset,
        timestamp: Some(offset),
        key: None,
        payload: None,
        body: Body::Expected(expected),
    }
}

/// Server, window, and whether the record went to another partition than the server's own.
fn log() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec((0..5_u8, 0..6_i64, prop::bool::weighted(0.05)), 1..80).prop_map(|draws| {
        let mut next = [0_i64; 3];
        let record = |(server, start, strays): (u8, i64, bool)| {
            let partition = (usize::from(server) + usize::from(strays)) % 3;
            next[partition] += 1;
            item(server, start, partition as i32, next[partition])
        };
        draws.into_iter().map(record).collect()
    })
}

proptest! {
    #[test]
    fn every_window_comes_once_with_all_its_records(log in log()) {
        let mut survey = Survey::default();
        for item in &log {
            survey.see(item);
        }
        let mut found: BTreeMap<(String, i64), Vec<(i32, i64)>> = BTreeMap::new();
        let mut waiting = 0;
        let mut note = |window: Vec<Item>| {
            let records = window.iter().map(|item| (item.partition, item.offset)).collect();
            prop_assert!(found.insert(key(&window[0]), records).is_none(), "twice");
            Ok(())
        };
        for partition in 0..3 {
            let mut gather = Gather::new(&survey, false);
            for item in log.iter().filter(|item| item.partition == partition) {
                if let Some(window) = gather.take(item.clone()) {
                    note(window)?;
                }
            }
            waiting += gather.finish().len();
        }
        prop_assert_eq!(waiting, 0, "a window was not given out with its last record");
        let mut gather = Gather::new(&survey, true);
        for item in &log {
            prop_assert!(gather.take(item.clone()).is_none());
        }
        for window in gather.finish() {
            note(window)?;
        }
        let mut expected: BTreeMap<(String, i64), Vec<(i32, i64)>> = BTreeMap::new();
        for item in &log {
            expected.entry(key(item)).or_default().push((item.partition, item.offset));
        }
        let is_split = |records: &[(i32, i64)]| records.iter().any(|(partition, _)| *partition != records[0].0);
        for records in expected.values_mut().chain(found.values_mut()).filter(|records| is_split(records)) {
            records.sort_unstable();
        }
        prop_assert_eq!(found, expected);
        let spans: u64 = survey.spans.values().map(|span| span.records).sum();
        prop_assert_eq!(spans, log.len() as u64);
    }
}

#[test]
fn a_window_that_has_one_record_is_not_waited_for() {
    let mut survey = Survey::default();
    let log = [item(0, 0, 0, 0), item(0, 2, 0, 1), item(0, 1, 0, 2), item(0, 2, 0, 3)];
    for item in &log {
        survey.see(item);
    }
    let mut gather = Gather::new(&survey, false);
    let given: Vec<_> = log.map(|item| gather.take(item).map(|window| window.len())).into();
    assert_eq!(given, [Some(1), None, Some(1), Some(2)]);
}
