//! Windows made of windows: what the machine makes of the records of a shorter tier is what it makes of the frames.

use super::{
    reference::{counted, merged},
    *,
};

/// The log of a tier's topic: each record's datum with the append clock that closed it.
fn windows_of(log: &Log, settings: &WindowSettings) -> Vec<(i64, Vec<u8>)> {
    let mut windows = PartitionWindows::begin(0, 0, settings.clone().into());
    let mut all = Vec::new();
    for offset in 0..log.len() {
        step(&mut windows, log, offset);
        let cut = windows.cut().unwrap();
        let stamps: Vec<i64> = cut.output.records().iter().map(|record| record.timestamp).collect();
        let datums = cut.output.records().iter().map(|record| cut.output.payload(record)[10..].to_vec());
        all.extend(stamps.into_iter().zip(datums));
    }
    all
}

fn input(datum: &[u8]) -> Input<'_> {
    Input::Window(read::window(datum, Version::Current).unwrap())
}

#[test]
fn a_rollup_of_windows_is_the_window_of_their_frames() {
    for seed in 0..1_000 {
        let mut random = Random(seed + 31_000);
        let short = WindowSettings { tiers_ms: vec![10_000], max_servers: 100, ..settings(&mut random) };
        let log = log(&mut random, 160);
        let below = windows_of(&log, &short);
        let rolled = WindowSettings { tiers_ms: vec![60_000], grace_ms: 0, backfill: true, ..short.clone() };
        let mut broker = Vec::new();
        let mut committed: Option<Committed> = None;
        let mut machine = PartitionWindows::begin(0, 0, rolled.clone().into());
        let end = below.last().map_or(START, |(stamp, _)| *stamp) + 600_000;
        let mut crashes = 0;
        loop {
            let at = machine.position();
            if random.chance(20) || at as usize > below.len() {
                if let Some(cut) = machine.cut() {
                    broker.extend(frames(&cut.output));
                    committed = Some(cut.committed);
                }
                if at as usize > below.len() {
                    break;
                }
            }
            if random.chance(5) && crashes < 20 {
                crashes += 1;
                machine = match &committed {
                    None => PartitionWindows::begin(0, 0, rolled.clone().into()),
                    Some(committed) => {
                        PartitionWindows::restore(0, committed, Filter::none(), rolled.clone().into())
                    }
                };
                continue;
            }
            let (append_time, input) =
                below.get(at as usize).map_or((end, Input::Tick), |(stamp, datum)| (*stamp, input(datum)));
            let verdict = machine.step(Record { offset: at, append_time, input });
            assert!(!matches!(verdict, Verdict::Refused(_)), "seed {seed}: {verdict:?}");
        }
        let minutes = WindowSettings { tiers_ms: vec![60_000], ..short.clone() };
        // the floor of the shorter tier decides what counts
        let (mut totals, ..) =
            counted(&log, &[(0, WindowSettings { tiers_ms: vec![10_000, 60_000], ..short })]);
        totals.retain(|(_, tier, ..), _| *tier == minutes.tiers_ms[0]);
        assert_eq!(merged(&broker), totals, "seed {seed}");
    }
}

#[test]
fn counters_grow_across_the_windows_they_are_rolled_up_from() {
    let frame = |sequence: i64, value| {
        Entry::frame(MetricFrame {
            server: "a".into(),
            sequence,
            collected_at: START + sequence * 1_000,
            layout_id: 0,
            layout: vec![Series::counter("c", "")],
            values: vec![value],
            histograms: vec![],
        })
    };
    // grows by 3 each second, starts anew once
    let value = |i: i64| if i < 25 { 100 + 3 * i } else { 3 * (i - 25) };
    let mut log: Log = (0..60).map(|i| (START + i * 1_000, frame(i, value(i) as f64))).collect();
    log.push((START + 80_000, Entry::Tick));
    let below = windows_of(&log, &WindowSettings { tiers_ms: vec![10_000], ..WindowSettings::default() });
    let rolled = WindowSettings { tiers_ms: vec![60_000], grace_ms: 0, ..WindowSettings::default() };
    let mut machine = PartitionWindows::begin(0, 0, rolled.into());
    for (offset, (stamp, window)) in below.iter().enumerate() {
        machine.step(Record { offset: offset as i64, append_time: *stamp, input: input(window) });
    }
    let offset = machine.position();
    machine.step(Record { offset, append_time: START + 900_000, input: Input::Tick });
    let rolled: Vec<AggregateFrame> = frames(&machine.cut().unwrap().output).collect();
    let direct = windows_of(&log, &WindowSettings { tiers_ms: vec![60_000], ..WindowSettings::default() });
    let increase =
        |all: &[AggregateFrame]| all.iter().map(|w| (w.increase[0], w.resets[0])).collect::<Vec<_>>();
    let header = encode(&rolled[0]).unwrap()[..10].to_vec();
    let decoded = |datum: Vec<u8>| decode::<AggregateFrame>(&[header.clone(), datum].concat()).unwrap().0;
    let direct: Vec<AggregateFrame> = direct.into_iter().map(|(_, datum)| decoded(datum)).collect();
    assert_eq!(increase(&rolled), increase(&direct));
    let grown: f64 = direct.iter().map(|w| w.increase[0]).sum();
    assert!(grown > 100.0 && direct.iter().map(|w| w.resets[0]).sum::<i32>() == 1, "{grown}");
}
