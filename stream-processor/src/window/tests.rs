//! The protocol against random logs, with a crash at every step: what is committed is what a run without crashes emits,
//! byte for byte, and what an independent count of the log says.

use std::collections::{BTreeMap, BTreeSet};

use tidewatch_schemas::{AggregateKind, Series};

use super::*;

/// splitmix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[derive(Debug, Clone)]
enum Entry {
    Frame(MetricFrame),
    Tick,
    Garbage,
}

type Log = Vec<(i64, Entry)>;

const START: i64 = 1_795_000_000_000;

fn settings(random: &mut Random) -> WindowSettings {
    WindowSettings {
        tiers_ms: vec![10_000, 60_000],
        grace_ms: random.pick(&[0, 2_000, 5_000]),
        idle_ms: random.pick(&[8_000, 15_000, 40_000]),
        lateness_ms: random.pick(&[40_000, 60_000, 120_000]),
        max_series: 100,
    }
}

/// Several servers, some with bad clocks; reordered, repeated, late, silent; layouts that change.
fn log(random: &mut Random) -> Log {
    let servers: Vec<i64> =
        (0..=random.below(4)).map(|_| random.pick(&[0, 0, 0, -25_000, 12_000, -3_600_000])).collect();
    let (mut log, mut now, mut sequence) = (Log::new(), START, 0);
    let mut sent: Vec<MetricFrame> = Vec::new();
    for _ in 0..20 + random.below(160) {
        now +=
            random.pick(&[0, 0, 300, 1_000, 1_000, 2_000, 3_000]) + if random.chance(4) { 17_000 } else { 0 };
        if random.chance(3) {
            log.push((now, if random.chance(70) { Entry::Tick } else { Entry::Garbage }));
            continue;
        }
        if random.chance(6) && !sent.is_empty() {
            let again = sent[random.below(sent.len() as u64) as usize].clone();
            log.push((now, Entry::Frame(again)));
            continue;
        }
        let server = random.below(servers.len() as u64) as usize;
        let back =
            if random.chance(30) { random.pick(&[300, 1_500, 8_000, 30_000, 70_000, 200_000]) } else { 0 };
        let ahead = if random.chance(1) { 600_000 } else { 0 };
        sequence += 1;
        let width = 1 + random.below(3) as usize;
        let frame = MetricFrame {
            server: format!("s{server}"),
            sequence: if random.chance(10) { 0 } else { sequence },
            collected_at: now + servers[server] - back + ahead,
            layout_id: 0,
            layout: (0..width)
                .map(|i| Series::gauge(format!("m{}", i as u64 + random.below(2) * 3), ""))
                .collect(),
            values: (0..width)
                .map(|_| if random.chance(5) { f64::NAN } else { random.below(2_000) as f64 - 1_000.0 })
                .collect(),
        };
        if frame.sequence != 0 {
            sent.push(frame.clone());
        }
        log.push((now, Entry::Frame(frame)));
    }
    // a new leader's clock may be behind: append times go back, the append clock may not
    for (append, _) in &mut log {
        *append -= if random.chance(4) { 25_000 } else { 0 };
    }
    // silence, told by ticks, closes everything
    for _ in 0..12 {
        now += 20_000;
        log.push((now, Entry::Tick));
    }
    log
}

fn record(log: &Log, offset: usize) -> Record<'_> {
    let (append_time, entry) = &log[offset];
    let input = match entry {
        Entry::Frame(frame) => Input::Frame(frame),
        Entry::Tick => Input::Tick,
        Entry::Garbage => Input::Unreadable(Reason::Undecodable),
    };
    Record { offset: offset as i64, append_time: *append_time, input }
}

/// What readers of committed records see.
#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    windows: Vec<AggregateFrame>,
    late: Vec<i64>,
    refused: Vec<(i64, Reason)>,
}

/// Runs the log to its end; `event(step)` says whether to commit before a step, and whether to crash there.
fn run(log: &Log, settings: &[WindowSettings], mut event: impl FnMut(usize) -> (bool, bool)) -> Seen {
    let mut seen = Seen::default();
    let mut pending = Seen::default();
    let mut last: Option<Committed> = None;
    let mut owner = 0;
    let mut windows = PartitionWindows::begin(0, 0, settings[0].clone());
    let (mut crashes, mut step) = (0, 0);
    loop {
        let (commit, crash) = event(step);
        step += 1;
        let end = windows.position() as usize >= log.len();
        if (commit || end)
            && let Some(cut) = windows.cut()
        {
            seen.windows.extend(cut.windows);
            seen.late.append(&mut pending.late);
            seen.refused.append(&mut pending.refused);
            let metadata = cut.committed.metadata();
            last = Some(Committed::parse(cut.committed.high_water, &metadata).unwrap());
        }
        if end {
            return seen;
        }
        if crash && crashes < 30 {
            crashes += 1;
            owner += 1;
            let next = settings[owner % settings.len()].clone();
            pending = Seen::default();
            windows = match &last {
                None => PartitionWindows::begin(0, 0, next),
                Some(committed) => PartitionWindows::restore(0, committed, next),
            };
            continue;
        }
        let offset = windows.position() as usize;
        let verdict = windows.step(record(log, offset));
        if windows.is_live() {
            match verdict {
                Verdict::Late => pending.late.push(offset as i64),
                Verdict::Refused(refusal) => pending.refused.push((offset as i64, refusal.reason)),
                Verdict::Ticked | Verdict::Counted { .. } => {}
            }
        }
    }
}

type Key = (String, i64, i64, String);

/// count, sum, min, max, (time, value) of first and last
#[derive(Debug, Clone, PartialEq)]
struct Total(i64, f64, f64, f64, (i64, f64), (i64, f64));

/// What a reader who merges finals and deltas ends up with.
fn merged(windows: &[AggregateFrame]) -> BTreeMap<Key, Total> {
    let mut all: BTreeMap<Key, Total> = BTreeMap::new();
    for frame in windows {
        assert!(frame.is_consistent(), "{frame:?}");
        for (i, series) in frame.layout.iter().enumerate() {
            let key = (frame.server.clone(), frame.window_ms, frame.window_start, series.metric.clone());
            let first = (frame.window_start + i64::from(frame.first_at[i]), frame.first[i]);
            let last = (frame.window_start + i64::from(frame.last_at[i]), frame.last[i]);
            let one = Total(frame.count[i], frame.sum[i], frame.min[i], frame.max[i], first, last);
            all.entry(key)
                .and_modify(|t| {
                    t.0 += one.0;
                    t.1 += one.1;
                    t.2 = t.2.min(one.2);
                    t.3 = t.3.max(one.3);
                    if one.4.0 < t.4.0 {
                        t.4 = one.4;
                    }
                    if one.5.0 >= t.5.0 {
                        t.5 = one.5;
                    }
                })
                .or_insert(one);
        }
    }
    all
}

type Counted = (BTreeMap<Key, Total>, Vec<i64>, Vec<(i64, Reason)>);

/// The same from the log alone: which frames count is decided by append clock, floor and repeats; when their windows
/// closed does not matter.
fn counted(log: &Log, settings: &WindowSettings) -> Counted {
    let (mut clock, mut totals, mut late, mut refused) = (i64::MIN, BTreeMap::new(), vec![], vec![]);
    let mut sequences = BTreeSet::new();
    for (offset, (append, entry)) in log.iter().enumerate() {
        clock = clock.max(*append);
        let floor = (clock - settings.lateness_ms).div_euclid(10_000) * 10_000;
        let offset = offset as i64;
        let frame = match entry {
            Entry::Tick => continue,
            Entry::Garbage => {
                refused.push((offset, Reason::Undecodable));
                continue;
            }
            Entry::Frame(frame) => frame,
        };
        if frame.collected_at > append + 30_000 {
            refused.push((offset, Reason::Future));
            continue;
        }
        if (frame.collected_at.div_euclid(10_000) + 1) * 10_000 <= floor {
            late.push(offset);
            continue;
        }
        if frame.sequence != 0 && !sequences.insert((frame.server.clone(), frame.sequence)) {
            refused.push((offset, Reason::Duplicate));
            continue;
        }
        for tier in [10_000, 60_000] {
            let start = frame.collected_at.div_euclid(tier) * tier;
            for (series, &value) in frame.layout.iter().zip(&frame.values).filter(|(_, v)| v.is_finite()) {
                let at = (frame.collected_at, value);
                let key = (frame.server.clone(), tier, start, series.metric.clone());
                let t = totals.entry(key).or_insert(Total(
                    0,
                    0.0,
                    f64::MAX,
                    f64::MIN,
                    (i64::MAX, 0.0),
                    (i64::MIN, 0.0),
                ));
                t.0 += 1;
                t.1 += value;
                t.2 = t.2.min(value);
                t.3 = t.3.max(value);
                if at.0 < t.4.0 {
                    t.4 = at;
                }
                if at.0 >= t.5.0 {
                    t.5 = at;
                }
            }
        }
    }
    (totals, late, refused)
}

fn check_against_count(seed: u64, log: &Log, settings: &WindowSettings, seen: &Seen) {
    let (totals, late, refused) = counted(log, settings);
    assert_eq!(merged(&seen.windows), totals, "seed {seed}");
    assert_eq!((&seen.late, &seen.refused), (&late, &refused), "seed {seed}");
}

#[test]
fn random_logs_are_counted_exactly_once_whatever_crashes() {
    for seed in 0..1_500 {
        let mut random = Random(seed);
        let settings = settings(&mut random);
        let log = log(&mut random);
        let calm = run(&log, std::slice::from_ref(&settings), |_| (false, false));
        check_against_count(seed, &log, &settings, &calm);
        let mut chaos = Random(seed ^ 0x00C0_FFEE);
        let rough = run(&log, std::slice::from_ref(&settings), |_| (chaos.chance(12), chaos.chance(5)));
        assert_eq!(sorted(&rough), sorted(&calm), "seed {seed}");
    }
}

/// Commits gather windows in the order they closed; a replay may have cut elsewhere, the records are the same.
fn sorted(seen: &Seen) -> Seen {
    let mut seen = seen.clone();
    seen.windows.sort_by(|a, b| {
        (a.origin, &a.server, a.window_ms, a.window_start).cmp(&(
            b.origin,
            &b.server,
            b.window_ms,
            b.window_start,
        ))
    });
    seen
}

#[test]
fn a_crash_at_every_step_changes_nothing() {
    for seed in 0..25 {
        let mut random = Random(seed + 77_000);
        let settings = settings(&mut random);
        let log = log(&mut random);
        let calm = sorted(&run(&log, std::slice::from_ref(&settings), |_| (false, false)));
        for crash_at in 0..log.len() {
            let every = 1 + crash_at % 7;
            let rough =
                run(&log, std::slice::from_ref(&settings), |step| (step % every == 0, step == crash_at));
            assert_eq!(sorted(&rough), calm, "seed {seed}, crash at step {crash_at}");
        }
    }
}

#[test]
fn no_two_records_share_an_identity() {
    for seed in 0..300 {
        let mut random = Random(seed + 5_000);
        let settings = settings(&mut random);
        let log = log(&mut random);
        let seen = run(&log, std::slice::from_ref(&settings), |_| (true, false));
        let mut identities = BTreeSet::new();
        for frame in &seen.windows {
            let identity = (frame.origin, frame.server.clone(), frame.window_ms, frame.window_start);
            assert!(identities.insert(identity.clone()), "seed {seed}: {identity:?} twice");
        }
    }
}

#[test]
fn other_settings_take_over_without_losing_or_doubling() {
    for seed in 0..400 {
        let mut random = Random(seed + 9_000);
        let first = settings(&mut random);
        // the floor decides what is late, so it stays; when windows close may change freely
        let second = WindowSettings {
            grace_ms: first.grace_ms + 1_000,
            idle_ms: first.idle_ms + 5_000,
            ..first.clone()
        };
        let mut log = log(&mut random);
        // a repeat whose original lies before a change of settings is beyond memory: none here
        let mut sequences = BTreeSet::new();
        log.retain(|(_, entry)| match entry {
            Entry::Frame(frame) => frame.sequence == 0 || sequences.insert(frame.sequence),
            Entry::Tick | Entry::Garbage => true,
        });
        let mut chaos = Random(seed ^ 0xBEEF);
        let owners = [first.clone(), second];
        let seen = run(&log, &owners, |_| (chaos.chance(15), chaos.chance(4)));
        let totals: BTreeMap<_, _> =
            merged(&seen.windows).into_iter().map(|(k, t)| (k, (t.0, t.1))).collect();
        let expected: BTreeMap<_, _> =
            counted(&log, &first).0.into_iter().map(|(k, t)| (k, (t.0, t.1))).collect();
        assert_eq!(totals, expected, "seed {seed}");
    }
}

#[test]
fn a_servers_bad_clock_touches_no_other() {
    let frame = |server: &str, sequence, at| MetricFrame {
        server: server.into(),
        sequence,
        collected_at: at,
        layout_id: 0,
        layout: vec![Series::gauge("m", "")],
        values: vec![1.0],
    };
    let good: Log =
        (0..60).map(|i| (START + i * 1_000, Entry::Frame(frame("good", i + 1, START + i * 1_000)))).collect();
    let mut mixed = Log::new();
    for (i, entry) in good.iter().enumerate() {
        mixed.push(entry.clone());
        let sequence = i as i64 + 1;
        mixed.push((entry.0, Entry::Frame(frame("ahead", sequence, entry.0 + 29_000))));
        mixed.push((entry.0, Entry::Frame(frame("behind", sequence, entry.0 - 3_600_000))));
    }
    let of_good = |log: &Log| {
        let seen = run(log, &[WindowSettings::default()], |_| (true, false));
        let windows = seen.windows.into_iter().filter(|w| w.server == "good" && w.window_ms == 10_000);
        windows.map(|w| (w.window_start, w.kind, w.count, w.sum)).collect::<Vec<_>>()
    };
    assert_eq!(of_good(&good), of_good(&mixed));
    assert!(of_good(&good).iter().all(|(_, kind, ..)| *kind == AggregateKind::Final));
}

#[test]
fn bad_series_are_refused_and_the_good_rest_counts() {
    let mut windows =
        PartitionWindows::begin(0, 0, WindowSettings { max_series: 3, ..WindowSettings::default() });
    let frame = |layout: Vec<Series>, values: Vec<f64>| MetricFrame {
        server: "a".into(),
        sequence: 0,
        collected_at: START,
        layout_id: 0,
        layout,
        values,
    };
    let mut take = |frame: &MetricFrame| {
        let offset = windows.position();
        windows.step(Record { offset, append_time: START, input: Input::Frame(frame) })
    };
    let g = |name: &str| Series::gauge(name, "");
    let refused = |verdict| match verdict {
        Verdict::Counted { samples, refused } => (samples, refused.map(|r| r.reason)),
        Verdict::Refused(refusal) => (0, Some(refusal.reason)),
        other => panic!("{other:?}"),
    };
    let cases = [
        (vec![g("ok"), g("0bad")], vec![1.0, 1.0], (1, Some(Reason::BadMetricName))),
        (vec![g("ok"), g(&"x".repeat(10_000))], vec![1.0, 1.0], (1, Some(Reason::NameTooLong))),
        (vec![g("ok"), g("ok")], vec![1.0, 2.0], (1, Some(Reason::DuplicateSeries))),
        (vec![g("ok"), g("inf")], vec![1.0, f64::INFINITY], (1, Some(Reason::NotANumber))),
        (vec![g("ok"), g("gone")], vec![1.0, f64::NAN], (1, None)),
        (vec![g("ok"), g("too"), g("many")], vec![1.0; 3], (1, Some(Reason::TooManySeries))),
        (vec![g("ok")], vec![1.0, 2.0], (0, Some(Reason::LayoutMismatch))),
        (vec![], vec![], (0, Some(Reason::NoMetrics))),
    ];
    for (layout, values, expected) in cases {
        let frame = frame(layout, values);
        assert_eq!(refused(take(&frame)), expected, "{frame:?}");
    }
    let old = MetricFrame { collected_at: 5, ..frame(vec![g("ok")], vec![1.0]) };
    assert_eq!(refused(take(&old)), (0, Some(Reason::BadTimestamp)));
    let nameless = MetricFrame { server: String::new(), ..frame(vec![g("ok")], vec![1.0]) };
    assert_eq!(refused(take(&nameless)), (0, Some(Reason::BadServerName)));
}
