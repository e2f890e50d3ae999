//! Crashes at every step, zombies, changed settings, and the rules broken one by one: the oracle has to notice each.
//!
//! `TIDEWATCH_SEEDS` is how many logs each property runs over (`make simulate-crashes SEEDS=..`).

use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    reference::{counted, merged},
    *,
};

const SEEDS: u64 = 10_000;

fn seeds(share: u64) -> u64 {
    let seeds = std::env::var("TIDEWATCH_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    (seeds / share).max(1)
}

/// Every seed, on all cores.
fn for_each_seed(share: u64, check: impl Fn(u64) + Sync) {
    let (next, end) = (AtomicU64::new(0), seeds(share));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    check(seed);
                }
            });
        }
    });
}

type Difference<'a> = Vec<(&'a reference::Key, Option<&'a reference::Sum>, Option<&'a reference::Sum>)>;

/// What stands in one of the two only, or otherwise.
fn difference<'a>(a: &'a reference::Totals, b: &'a reference::Totals) -> Difference<'a> {
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    keys.into_iter().map(|key| (key, a.get(key), b.get(key))).filter(|(_, a, b)| a != b).collect()
}

fn calm(log: &Log, settings: &WindowSettings) -> Seen {
    run(log, std::slice::from_ref(settings), None, |_| Event::default()).sorted()
}

fn chaos(random: &mut Random) -> Event {
    Event { commit: random.chance(12), crash: random.chance(4), zombie: random.chance(2) }
}

#[test]
fn random_logs_are_counted_exactly_once_whatever_crashes() {
    for_each_seed(1, |seed| {
        let mut random = Random(seed);
        let settings = WindowSettings { backfill: random.chance(20), ..settings(&mut random) };
        let log = log(&mut random, 160);
        let calm = calm(&log, &settings);
        let (totals, late, refused) = counted(&log, &[(0, settings.clone())]);
        let merged = merged(&calm.windows);
        let odd = difference(&merged, &totals);
        assert!(odd.is_empty(), "seed {seed}: merged, counted: {odd:#?}");
        assert_eq!((&calm.late, &calm.refused), (&late, &refused), "seed {seed}");
        let mut random = Random(seed ^ 0x00C0_FFEE);
        let rough = run(&log, std::slice::from_ref(&settings), None, |_| chaos(&mut random));
        assert_eq!(rough.sorted(), calm, "seed {seed}");
    });
}

#[test]
fn a_crash_at_every_step_changes_nothing() {
    for_each_seed(1, |seed| {
        let mut random = Random(seed + 77_000_000);
        let settings = settings(&mut random);
        let log = log(&mut random, 40);
        let calm = calm(&log, &settings);
        for at in 0..log.len() {
            let (every, zombie) = (1 + at % 7, at % 3 == 0);
            let rough = run(&log, std::slice::from_ref(&settings), None, |step| Event {
                commit: step % every == 0,
                crash: step == at && !zombie,
                zombie: step == at && zombie,
            });
            assert_eq!(rough.sorted(), calm, "seed {seed}, crash at step {at}");
        }
    });
}

#[test]
fn no_two_records_share_an_identity() {
    for_each_seed(10, |seed| {
        let mut random = Random(seed + 5_000);
        let settings = settings(&mut random);
        let log = log(&mut random, 160);
        let mut identities = BTreeSet::new();
        for frame in calm(&log, &settings).windows {
            let identity = (frame.origin, frame.server.clone(), frame.window_ms, frame.window_start);
            assert!(identities.insert(identity.clone()), "seed {seed}: {identity:?} twice");
        }
    });
}

/// A repeat whose original lies before a change of settings is beyond memory: none in these.
fn without_repeats(mut log: Log) -> Log {
    let mut sequences = BTreeSet::new();
    log.retain(|(_, entry)| match entry {
        Entry::Frame(frame, _) => frame.sequence == 0 || sequences.insert(frame.sequence),
        Entry::Tick | Entry::Garbage => true,
    });
    log
}

/// Two ways to set a processor up, the lateness among what differs.
fn two(random: &mut Random) -> [WindowSettings; 2] {
    let first = settings(random);
    let lateness_ms = random.pick(&[30_000, 60_000, 90_000, 200_000]);
    let filter = if random.chance(50) { the_filter().fingerprint() } else { 0 };
    let second = WindowSettings {
        grace_ms: first.grace_ms + 1_000,
        idle_ms: first.idle_ms + 5_000,
        lateness_ms,
        filter,
        ..first.clone()
    };
    [first, second]
}

/// Whether what readers merge is what the log comes to; which settings held from where on is in the commits.
fn is_exact(log: &Log, broker: &Broker) -> Result<(), String> {
    let merged = merged(&broker.seen.windows);
    let (totals, late, refused) = counted(log, &broker.history);
    let odd = difference(&merged, &totals);
    if !odd.is_empty() {
        return Err(format!("merged, counted: {odd:#?}"));
    }
    let mut identities = BTreeSet::new();
    for frame in &broker.seen.windows {
        let identity = (frame.origin, frame.server.clone(), frame.window_ms, frame.window_start);
        if !identities.insert(identity.clone()) {
            return Err(format!("{identity:?} twice"));
        }
    }
    let aside = (&broker.seen.late, &broker.seen.refused);
    if aside == (&late, &refused) {
        Ok(())
    } else {
        Err(format!("set aside {aside:?}, not {late:?}, {refused:?}"))
    }
}

#[test]
fn other_settings_take_over_without_losing_or_doubling() {
    for_each_seed(2, |seed| {
        let mut random = Random(seed + 9_000);
        let owners = two(&mut random);
        let log = without_repeats(log(&mut random, 160));
        let broker = told(&log, &owners, None, |_| chaos(&mut random));
        is_exact(&log, &broker).unwrap_or_else(|odd| panic!("seed {seed}: {odd}"));
    });
}

#[test]
fn a_floor_that_was_passed_stays_passed_when_the_lateness_grows() {
    let short = WindowSettings { lateness_ms: 40_000, ..WindowSettings::default() };
    let long = WindowSettings { lateness_ms: 120_000, ..short.clone() };
    let frame = |sequence, at| {
        Entry::frame(MetricFrame {
            server: "a".into(),
            sequence,
            collected_at: at,
            layout_id: 0,
            layout: vec![Series::gauge("m", "")],
            values: vec![1.0],
            histograms: vec![],
        })
    };
    let mut log: Log = vec![(START, frame(1, START)), (START + 100_000, frame(2, START + 100_000))];
    // between the old floor and the new one: its window was closed for good
    log.push((START + 100_001, frame(3, START + 5_000)));
    log.push((START + 100_002, frame(1, START)));
    log.push((START + 400_000, Entry::Tick));
    let seen = run(&log, &[short.clone(), long], None, |step| Event {
        commit: true,
        crash: step == 2,
        zombie: false,
    });
    assert_eq!(seen.late, [2, 3]);
    let counts = merged(&seen.windows).values().map(reference::Sum::count).sum::<i64>();
    assert_eq!(counts, 4, "two frames in two tiers");
}

/// How many of some logs come out wrong with a rule broken.
fn caught(rule: Option<Rule>, logs: u64) -> usize {
    let wrong = |seed: &u64| {
        let mut random = Random(*seed);
        let owners = two(&mut random);
        let log = log(&mut random, 160);
        // repeats are for the rules about memory: they are beyond it where settings change
        let (log, owners) = match rule {
            Some(Rule::NoRepeats | Rule::LowWaterOfAllWindows) => (log, &owners[..1]),
            _ => (without_repeats(log), &owners[..]),
        };
        let broker = told(&log, owners, rule, |_| chaos(&mut random));
        is_exact(&log, &broker).is_err()
    };
    (0..logs).filter(wrong).count()
}

#[test]
fn breaking_a_rule_is_noticed() {
    for rule in [
        Rule::LateInItsCommit,
        Rule::FloorRestored,
        Rule::SilentBelowHighWater,
        Rule::NoCommitInReplay,
        Rule::LowWaterOfAllWindows,
        Rule::NoRepeats,
        Rule::SpeakerNotIdle,
        Rule::FencedBeforeRead,
    ] {
        let caught = caught(Some(rule), 500);
        assert!(caught >= 5, "{rule:?} broken: {caught} of 500 logs came out wrong");
    }
    assert_eq!(caught(None, 500), 0, "nothing broken, and an alarm");
}
