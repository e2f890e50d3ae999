//! What a log has to come to, counted without windows, offsets or commits; and what readers who merge end up with.

use super::*;

/// The one series that the one filter of these tests drops.
pub(super) const DROPPED: &str = "m1";
/// And of histograms.
pub(super) const DROPPED_HISTOGRAM: &str = "h1";

pub(super) type Key = (String, i64, i64, String);

/// What stands for a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sum {
    Values(Total),
    Observed(Distribution),
}

impl Sum {
    pub(super) fn count(&self) -> i64 {
        match self {
            Self::Values(total) => total.0,
            Self::Observed(distribution) => distribution.count,
        }
    }
}

pub(super) type Totals = BTreeMap<Key, Sum>;
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

/// All histograms of a key, bucket by bucket at the scale in which all of them together fit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distribution {
    count: i64,
    zero_count: i64,
    zero_threshold: f64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    scale: i32,
    positive: BTreeMap<i64, i64>,
    negative: BTreeMap<i64, i64>,
}

impl Distribution {
    fn of(parts: &[&Histogram]) -> Self {
        let sign = |scale: i32, of: fn(&Histogram) -> &Buckets| {
            let mut all: BTreeMap<i64, i64> = BTreeMap::new();
            for part in parts {
                let indices = i64::from(of(part).offset)..;
                for (index, count) in indices.zip(&of(part).counts).filter(|(_, count)| **count > 0) {
                    *all.entry(index.div_euclid(1 << (part.scale - scale))).or_default() += count;
                }
            }
            all
        };
        let fits = |all: &BTreeMap<i64, i64>| {
            all.last_key_value().is_none_or(|(last, _)| last - all.first_key_value().unwrap().0 < 160)
        };
        let finest = parts.iter().map(|part| part.scale).min().unwrap();
        let scales = (-10..=finest).rev();
        let mut signs =
            scales.map(|scale| (scale, sign(scale, |p| &p.positive), sign(scale, |p| &p.negative)));
        let (scale, positive, negative) =
            signs.find(|(_, positive, negative)| fits(positive) && fits(negative)).unwrap();
        // unknown if one is
        let all =
            |of: fn(&Histogram) -> Option<f64>| parts.iter().map(|part| of(part)).collect::<Option<Vec<_>>>();
        Self {
            count: parts.iter().map(|part| part.count).sum(),
            zero_count: parts.iter().map(|part| part.zero_count).sum(),
            zero_threshold: parts.iter().map(|part| part.zero_threshold).fold(0.0, f64::max),
            sum: all(|part| part.sum).map(|sums| sums.iter().sum()),
            min: all(|part| part.min).map(|values| values.into_iter().fold(f64::MAX, f64::min)),
            max: all(|part| part.max).map(|values| values.into_iter().fold(f64::MIN, f64::max)),
            scale,
            positive,
            negative,
        }
    }
}

/// Values and histograms by their keys: no two have one.
fn together(values: BTreeMap<Key, Total>, histograms: &BTreeMap<Key, Vec<&Histogram>>) -> Totals {
    let observed =
        histograms.iter().map(|(key, parts)| (key.clone(), Sum::Observed(Distribution::of(parts))));
    values.into_iter().map(|(key, total)| (key, Sum::Values(total))).chain(observed).collect()
}

/// What a reader who merges finals and deltas ends up with.
pub(super) fn merged(windows: &[AggregateFrame]) -> Totals {
    let mut all: BTreeMap<Key, Total> = BTreeMap::new();
    let mut histograms: BTreeMap<Key, Vec<&Histogram>> = BTreeMap::new();
    for frame in windows {
        assert!(frame.is_consistent(), "{frame:?}");
        for (i, series) in frame.layout.iter().enumerate() {
            let key = (frame.server.clone(), frame.window_ms, frame.window_start, series.metric.clone());
            let first = (frame.window_start + i64::from(frame.first_at[i]), frame.first[i]);
            let last = (frame.window_start + i64::from(frame.last_at[i]), frame.last[i]);
            let one = Total(frame.count[i], frame.sum[i], frame.min[i], frame.max[i], first, last);
            all.entry(key).and_modify(|total| total.add(&one)).or_insert(one);
        }
        for histogram in &frame.histograms {
            let name = histogram.series.metric.clone();
            let key = (frame.server.clone(), frame.window_ms, frame.window_start, name);
            assert!(histogram.count > 0 && histogram.positive.counts.len() <= 160, "{histogram:?}");
            histograms.entry(key).or_default().push(histogram);
        }
    }
    together(all, &histograms)
}

pub(super) type Counted = (Totals, Vec<i64>, Vec<(i64, Reason)>);

/// From the log alone: which frames count is decided by append clock, floor and repeats; when their windows closed does
/// not matter. `settings` says from which offset on which settings hold.
pub(super) fn counted(log: &Log, settings: &[(i64, WindowSettings)]) -> Counted {
    let (mut clock, mut floor) = (i64::MIN, i64::MIN);
    let (mut totals, mut late, mut refused) = (BTreeMap::new(), vec![], vec![]);
    let mut histograms: BTreeMap<Key, Vec<&Histogram>> = BTreeMap::new();
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
            for histogram in frame.histograms.iter().filter(|histogram| histogram.count > 0) {
                let name = &histogram.series.metric;
                if settings.filter == 0 || name != DROPPED_HISTOGRAM {
                    let key = (frame.server.clone(), tier, start, name.clone());
                    histograms.entry(key).or_default().push(histogram);
                }
            }
        }
    }
    (together(totals, &histograms), late, refused)
}
