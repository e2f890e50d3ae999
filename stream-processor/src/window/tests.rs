//! The protocol against random logs: what is committed is what a run without crashes emits, byte for byte, and what an
//! independent count of the log says. Here: the logs, the broker that commits, and the owners that come and go.

use std::collections::{BTreeMap, BTreeSet};

use tidewatch_schemas::{
    AggregateFrame, AggregateKind, Buckets, Histogram, Layout, MetricFrame, Series, decode, encode,
};

use super::*;
use crate::{layout::write_layout, read, read::Version};

mod cases;
mod histograms;
mod reference;
mod rollup;
mod simulate;

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
    /// The frame, and as it lies in the log.
    Frame(MetricFrame, Vec<u8>),
    Tick,
    Garbage,
}

impl Entry {
    fn frame(frame: MetricFrame) -> Self {
        let bytes = encode(&frame).unwrap();
        Self::Frame(frame, bytes[10..].to_vec())
    }

    /// The same frame, which names its layout instead of holding it.
    fn naming(frame: MetricFrame) -> Self {
        let Layout { layout_id, layout } = Layout::of(frame.layout.clone()).unwrap();
        let bytes = encode(&MetricFrame { layout_id, layout: vec![], ..frame.clone() }).unwrap();
        Self::Frame(MetricFrame { layout, ..frame }, bytes[10..].to_vec())
    }
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
        max_servers: random.pick(&[1, 2, 3, 100]),
        ..WindowSettings::default()
    }
}

/// Now and then some: of several scales, near each other or not, one empty now and then.
fn histograms(random: &mut Random) -> Vec<Histogram> {
    if !random.chance(30) {
        return vec![];
    }
    let buckets = |random: &mut Random| Buckets {
        offset: random.pick(&[-500, -7, -1, 0, 3, 600]) + random.below(9) as i32,
        counts: (0..random.below(6)).map(|_| random.pick(&[0, 1, 1, 2, 40])).collect(),
    };
    let first = random.below(3);
    let all = first..=first + random.below(2);
    let one = |i| {
        let (positive, negative) =
            (buckets(random), if random.chance(30) { buckets(random) } else { Buckets::default() });
        let zero_count = random.below(3) as i64;
        let value = |random: &mut Random| (!random.chance(10)).then(|| random.below(1_000) as f64 - 500.0);
        Histogram {
            series: Series::gauge(format!("h{i}"), "seconds"),
            count: zero_count + positive.counts.iter().chain(&negative.counts).sum::<i64>(),
            sum: value(random),
            min: value(random),
            max: value(random),
            scale: random.pick(&[0, 2, 3, 3, 5]),
            zero_threshold: random.pick(&[0.0, 0.0, 1e-9, 0.5]),
            zero_count,
            positive,
            negative,
        }
    };
    all.map(one).collect()
}

/// Several servers, some with bad clocks; reordered, repeated, late, silent; layouts that change.
fn log(random: &mut Random, longest: u64) -> Log {
    let servers: Vec<i64> =
        (0..=random.below(4)).map(|_| random.pick(&[0, 0, 0, -25_000, 12_000, -3_600_000])).collect();
    let (mut log, mut now, mut sequence) = (Log::new(), START, 0);
    let mut sent: Vec<Entry> = Vec::new();
    // which of two samples of one moment is the first of a window is nobody's business
    let mut moments = BTreeSet::new();
    for _ in 0..10 + random.below(longest) {
        now +=
            random.pick(&[0, 0, 300, 1_000, 1_000, 2_000, 3_000]) + if random.chance(4) { 17_000 } else { 0 };
        if random.chance(3) {
            log.push((now, if random.chance(70) { Entry::Tick } else { Entry::Garbage }));
            continue;
        }
        if random.chance(6) && !sent.is_empty() {
            log.push((now, sent[random.below(sent.len() as u64) as usize].clone()));
            continue;
        }
        let server = random.below(servers.len() as u64) as usize;
        let back =
            if random.chance(30) { random.pick(&[300, 1_500, 8_000, 30_000, 70_000, 200_000]) } else { 0 };
        let ahead = if random.chance(1) { 600_000 } else { 0 };
        sequence += 1;
        let mut collected_at = now + servers[server] - back + ahead;
        while !moments.insert((server, collected_at)) {
            collected_at += 1;
        }
        let histograms = histograms(random);
        let width = if histograms.is_empty() { 1 + random.below(3) } else { random.below(3) } as usize;
        let entry = if random.chance(40) { Entry::naming } else { Entry::frame };
        let frame = entry(MetricFrame {
            server: format!("s{server}"),
            sequence: if random.chance(10) { 0 } else { sequence },
            collected_at,
            layout_id: 0,
            layout: (0..width)
                .map(|i| Series::gauge(format!("m{}", i as u64 + random.below(2) * 3), ""))
                .collect(),
            values: (0..width)
                .map(|_| if random.chance(5) { f64::NAN } else { random.below(2_000) as f64 - 1_000.0 })
                .collect(),
            histograms,
        });
        if !matches!(&frame, Entry::Frame(frame, _) if frame.sequence == 0) {
            sent.push(frame.clone());
        }
        log.push((now, frame));
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
        Entry::Frame(_, bytes) => Input::Frame(read::head(bytes, Version::Current).unwrap()),
        Entry::Tick => Input::Tick,
        Entry::Garbage => Input::Unreadable(Reason::Undecodable),
    };
    Record { offset: offset as i64, append_time: *append_time, input }
}

/// Takes the record, and what the frame's layout is if that has to be looked up.
fn step(windows: &mut PartitionWindows, log: &Log, offset: usize) -> Verdict {
    let record = record(log, offset);
    if let (Input::Frame(view), (_, Entry::Frame(frame, _))) = (&record.input, &log[offset])
        && let Some(id) = windows.missing_layout(view)
    {
        let mut layout = Vec::new();
        write_layout(&mut layout, &frame.layout);
        windows.announce(id, &layout.into());
    }
    windows.step(record)
}

/// What readers of committed records see.
#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    windows: Vec<AggregateFrame>,
    late: Vec<i64>,
    refused: Vec<(i64, Reason)>,
}

impl Seen {
    fn take(&mut self, output: &Output) {
        self.windows.extend(frames(output));
    }

    /// Commits gather windows in the order they closed; a replay may have cut elsewhere, the records are the same.
    fn sorted(mut self) -> Self {
        let key = |w: &AggregateFrame| (w.origin, w.server.clone(), w.window_ms, w.window_start);
        self.windows.sort_by_key(key);
        self
    }
}

fn frames(output: &Output) -> impl Iterator<Item = AggregateFrame> {
    output.records().iter().map(|record| {
        let (frame, _) = decode::<AggregateFrame>(output.payload(record)).unwrap();
        assert_eq!(output.key(record), frame.server.as_bytes());
        frame
    })
}

/// The broker, as far as a partition's output and offset go: it takes a commit from the youngest owner only.
#[derive(Debug, Default)]
struct Broker {
    epoch: u64,
    committed: Option<Committed>,
    seen: Seen,
    /// From which offset on which settings hold.
    history: Vec<(i64, WindowSettings)>,
}

impl Broker {
    fn fence(&mut self) -> u64 {
        self.epoch += 1;
        self.epoch
    }

    /// Whether it took.
    fn commit(&mut self, owner: &mut Owner) -> bool {
        let Some(cut) = owner.windows.cut() else { return true };
        let pending = std::mem::take(&mut owner.pending);
        if owner.epoch != self.epoch {
            return false;
        }
        self.seen.take(&cut.output);
        self.seen.late.extend(pending.late);
        self.seen.refused.extend(pending.refused);
        let metadata = cut.committed.metadata();
        let now = (owner.since, cut.committed.settings.clone());
        if self.history.last() != Some(&now) {
            self.history.push(now);
        }
        self.committed = Some(Committed::parse(cut.committed.high_water, &metadata).unwrap());
        true
    }
}

/// One instance that believes the partition to be its own.
struct Owner {
    epoch: u64,
    /// H when it took over.
    since: i64,
    windows: PartitionWindows,
    /// What is to be set aside with the next commit.
    pending: Seen,
}

impl Owner {
    fn new(epoch: u64, committed: Option<&Committed>, setup: &WindowSettings, broken: Option<Rule>) -> Self {
        let next = Setup { settings: setup.clone(), filter: filter_of(setup) };
        let mut windows = match committed {
            None => PartitionWindows::begin(0, 0, next),
            Some(committed) => PartitionWindows::restore(0, committed, filter_of(&committed.settings), next),
        };
        windows.broken = broken;
        if broken == Some(Rule::FloorRestored) {
            windows.forget_floor();
        }
        let since = committed.map_or(0, |committed| committed.high_water);
        Self { epoch, since, windows, pending: Seen::default() }
    }

    fn step(&mut self, log: &Log) {
        let offset = self.windows.position();
        let verdict = step(&mut self.windows, log, offset as usize);
        if !self.windows.emits(offset) {
            return;
        }
        match verdict {
            Verdict::Late => self.pending.late.push(offset),
            Verdict::Refused(refusal) => self.pending.refused.push((offset, refusal.reason)),
            Verdict::Ticked | Verdict::Counted { .. } => {}
        }
    }

    fn is_through(&self, log: &Log) -> bool {
        self.windows.position() as usize >= log.len()
    }
}

fn the_filter() -> Filter {
    let [value, histogram] = [reference::DROPPED, reference::DROPPED_HISTOGRAM];
    Filter::parse(&format!("rules: [{{drop: {{metric: /{value}|{histogram}/}}}}]")).unwrap()
}

/// The one filter of these tests, or none.
fn filter_of(settings: &WindowSettings) -> Filter {
    let filter = the_filter();
    if settings.filter == filter.fingerprint() { filter } else { Filter::none() }
}

/// What happens before a step.
#[derive(Debug, Clone, Copy, Default)]
struct Event {
    commit: bool,
    /// The owner is gone, another one takes over.
    crash: bool,
    /// Another one takes over, and this one does not know it yet.
    zombie: bool,
}

/// What readers see of [`told`].
fn run(
    log: &Log,
    setups: &[WindowSettings],
    broken: Option<Rule>,
    event: impl FnMut(usize) -> Event,
) -> Seen {
    told(log, setups, broken, event).seen
}

/// Runs the log to its end under `setups`, a new owner having the next of them; `event` says what happens before a step.
fn told(
    log: &Log,
    setups: &[WindowSettings],
    broken: Option<Rule>,
    mut event: impl FnMut(usize) -> Event,
) -> Broker {
    let mut broker = Broker::default();
    let mut owner = Owner::new(broker.fence(), None, &setups[0], broken);
    let mut zombies: Vec<Owner> = Vec::new();
    let (mut owners, mut step) = (0, 0);
    loop {
        let Event { commit, crash, zombie } = event(step);
        step += 1;
        // a zombie goes on as if nothing had happened; the broker knows better
        for zombie in &mut zombies {
            if !zombie.is_through(log) {
                zombie.step(log);
            }
        }
        if commit {
            zombies.retain_mut(|zombie| broker.commit(zombie));
        }
        let end = owner.is_through(log);
        if commit || end {
            assert!(broker.commit(&mut owner), "the youngest owner is fenced");
        }
        if end {
            return broker;
        }
        if (crash || zombie) && owners < 30 {
            owners += 1;
            let setup = &setups[owners % setups.len()];
            let read_early = (broken == Some(Rule::FencedBeforeRead)).then(|| broker.committed.clone());
            if read_early.is_some() {
                broker.commit(&mut owner);
            }
            let epoch = broker.fence();
            let committed = read_early.unwrap_or_else(|| broker.committed.clone());
            let next = Owner::new(epoch, committed.as_ref(), setup, broken);
            let old = std::mem::replace(&mut owner, next);
            if zombie {
                zombies.push(old);
            }
            continue;
        }
        owner.step(log);
    }
}
