//! What a log has to come to, counted without windows, offsets or commits; and what readers who merge end up with.

use super::*;

/// The one series that the one filter of these tests drops.
pub(super) const DROPPED: &str = "m1";

pub(super) type Key = (String, i64, i64, String);

/// count, sum, min, max, (time, value) of first and last
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Total(
    pub(super) i64,
    pub(super) f64,
    pub(super) f64,
    pub(super) f64,
    pub(super) (i64, f64),
    pub(super) (i64, f64),
);

impl Total {
    fn add(&mut self, one: &Self) {
        self.0 += one.0;
        self.1 += one.1;
        self.2 = self.2.min(one.2);
        self.3 = self.3.max(one.3);
        if one.4.0 < self.4.0 {
            self.4 = one.4;
        }
        if one.5.0 >= self.5.0 {
            self.5 = one.5;
        }
    }
}

/// What a reader who merges finals and deltas ends up with.
pub(super) fn merged(windows: &[AggregateFrame]) -> BTreeMap<Key, Total> {
    let mut all: BTreeMap<Key, Total> = BTreeMap::new();
    for frame in windows {
        assert!(frame.is_consistent(), "{frame:?}");
        for (i, series) in frame.layout.iter().enumerate() {
            let key = (frame.server.clone(), frame.window_ms, frame.window_start, series.metric.clone());
            let first = (frame.window_start + i64::from(frame.first_at[i]), frame.first[i]);
            let last = (frame.window_start + i64::from(frame.last_at[i]), frame.last[i]);
            let one = Total(frame.count[i], frame.sum[i], frame.min[i], frame.max[i], first, last);
            all.entry(key).and_modify(|total| total.add(&one)).or_insert(one);
        }
    }
    all
}

pub(super) type Counted = (BTreeMap<Key, Total>, Vec<i64>, Vec<(i64, Reason)>);

/// From the log alone: which frames count is decided by append clock, floor and repeats; when their windows closed does
/// not matter. `settings` says from which offset on which settings hold.
pub(super) fn counted(log: &Log, settings: &[(i64, WindowSettings)]) -> Counted {
    let (mut clock, mut floor) = (i64::MIN, i64::MIN);
    let (mut totals, mut late, mut refused) = (BTreeMap::new(), vec![], vec![]);
    let mut sequences = BTreeSet::new();
    // by end of the minute; a change of settings forgets them
    let mut servers: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    let mut changes =
        settings.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0).peekable();
    for (offset, (append, entry)) in log.iter().enumerate() {
        let offset = offset as i64;
        let (_, settings) = settings.iter().rfind(|(from, _)| *from <= offset).unwrap();
        while changes.next_if(|from| *from <= offset).is_some() {
            servers.clear();
        }
        clock = clock.max(*append);
        floor = floor.max((clock - settings.lateness_ms).div_euclid(10_000) * 10_000);
        let frame = match entry {
            Entry::Tick => continue,
            Entry::Garbage => {
                refused.push((offset, Reason::Undecodable));
                continue;
            }
            Entry::Frame(frame, _) => frame,
        };
        if frame.collected_at > append + 30_000 {
            refused.push((offset, Reason::Future));
            continue;
        }
        let is_late = (frame.collected_at.div_euclid(10_000) + 1) * 10_000 <= floor;
        if is_late {
            late.push(offset);
            if !settings.backfill {
                continue;
            }
        } else {
            let minute = servers.entry(frame.collected_at.div_euclid(60_000)).or_default();
            if !minute.contains(frame.server.as_str()) && minute.len() >= settings.max_servers as usize {
                refused.push((offset, Reason::TooManyServers));
                continue;
            }
            minute.insert(&frame.server);
        }
        if !is_late && frame.sequence != 0 && !sequences.insert((frame.server.clone(), frame.sequence)) {
            refused.push((offset, Reason::Duplicate));
            continue;
        }
        for &tier in &settings.tiers_ms {
            let start = frame.collected_at.div_euclid(tier) * tier;
            for (series, &value) in frame.layout.iter().zip(&frame.values).filter(|(_, v)| v.is_finite()) {
                if settings.filter != 0 && series.metric == DROPPED {
                    continue;
                }
                let at = (frame.collected_at, value);
                let one = Total(1, value, value, value, at, at);
                let key = (frame.server.clone(), tier, start, series.metric.clone());
                totals.entry(key).and_modify(|total: &mut Total| total.add(&one)).or_insert(one);
            }
        }
    }
    (totals, late, refused)
}
