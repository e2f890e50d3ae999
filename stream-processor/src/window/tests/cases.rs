//! Single cases: bad clocks, bad series, odd values.

use super::*;

#[test]
fn a_servers_bad_clock_touches_no_other() {
    let frame = |server: &str, sequence, at| {
        Entry::frame(MetricFrame {
            server: server.into(),
            sequence,
            collected_at: at,
            layout_id: 0,
            layout: vec![Series::gauge("m", "")],
            values: vec![1.0],
            histograms: vec![],
        })
    };
    let good: Log = (0..60).map(|i| (START + i * 1_000, (frame("good", i + 1, START + i * 1_000)))).collect();
    let mut mixed = Log::new();
    for (i, entry) in good.iter().enumerate() {
        mixed.push(entry.clone());
        let sequence = i as i64 + 1;
        mixed.push((entry.0, (frame("ahead", sequence, entry.0 + 29_000))));
        mixed.push((entry.0, (frame("behind", sequence, entry.0 - 3_600_000))));
    }
    let of_good = |log: &Log| {
        let seen =
            run(log, &[WindowSettings::default()], None, |_| Event { commit: true, ..Event::default() });
        let windows = seen.windows.into_iter().filter(|w| w.server == "good" && w.window_ms == 10_000);
        windows.map(|w| (w.window_start, w.kind, w.count, w.sum)).collect::<Vec<_>>()
    };
    assert_eq!(of_good(&good), of_good(&mixed));
    assert!(of_good(&good).iter().all(|(_, kind, ..)| *kind == AggregateKind::Final));
}

#[test]
fn bad_series_are_refused_and_the_good_rest_counts() {
    let mut windows =
        PartitionWindows::begin(0, 0, WindowSettings { max_series: 3, ..WindowSettings::default() }.into());
    let frame = |layout: Vec<Series>, values: Vec<f64>| MetricFrame {
        server: "a".into(),
        sequence: 0,
        collected_at: START,
        layout_id: 0,
        layout,
        values,
        histograms: vec![],
    };
    let mut take = |frame: &MetricFrame| {
        let offset = windows.position();
        let bytes = encode(frame).unwrap();
        let input = Input::Frame(read::head(&bytes[10..], Version::Current).unwrap());
        windows.step(Record { offset, append_time: START, input })
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
        (vec![g("ok"), g("inf")], vec![1.0, f64::NEG_INFINITY], (1, Some(Reason::NotANumber))),
        (vec![g("ok"), g("inf")], vec![1.0, 1e308], (1, Some(Reason::OutOfRange))),
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

#[test]
fn invented_servers_are_refused_beyond_the_cap_and_nothing_is_remembered_of_them() {
    let settings = WindowSettings { max_servers: 3, ..WindowSettings::default() };
    let mut windows = PartitionWindows::begin(0, 0, settings.into());
    let mut take = |server: usize, collected_at| {
        let frame = MetricFrame {
            server: format!("s{server}"),
            sequence: 0,
            collected_at,
            layout_id: 0,
            layout: vec![Series::gauge("m", "")],
            values: vec![1.0],
            histograms: vec![],
        };
        let bytes = encode(&frame).unwrap();
        let input = Input::Frame(read::head(&bytes[10..], Version::Current).unwrap());
        let verdict = windows.step(Record { offset: windows.position(), append_time: START, input });
        let refused = match verdict {
            Verdict::Refused(refusal) => Some(refusal.reason),
            _ => None,
        };
        (refused, windows.size().1)
    };
    let minute = START.div_euclid(60_000) * 60_000;
    for server in 0..3 {
        assert_eq!(take(server, minute), (None, server + 1));
    }
    for server in 3..100 {
        assert_eq!(take(server, minute + 1), (Some(Reason::TooManyServers), 3));
    }
    // who is in stays in; another minute has room of its own
    assert_eq!(take(2, minute + 2), (None, 3));
    assert_eq!(take(50, minute - 1), (None, 4));
    assert_eq!(take(50, minute + 3), (Some(Reason::TooManyServers), 4));
}

#[test]
fn no_window_is_larger_than_a_record_may_be() {
    let settings = WindowSettings { backfill: true, ..WindowSettings::default() };
    let mut windows = PartitionWindows::begin(0, 0, settings.into());
    let mut take = |first: usize, width: usize, collected_at| {
        let series = (first..first + width).map(|i| Series::counter(format!("c{i:040}"), "bytes"));
        let frame = MetricFrame {
            server: "s".repeat(253),
            sequence: 0,
            collected_at,
            layout_id: 0,
            layout: series.collect(),
            values: (0..width).map(|i| i as f64 + 0.1).collect(),
            histograms: vec![],
        };
        let bytes = encode(&frame).unwrap();
        let input = Input::Frame(read::head(&bytes[10..], Version::Current).unwrap());
        let verdict = windows.step(Record { offset: windows.position(), append_time: START, input });
        (verdict, windows.cut().unwrap().output)
    };
    let largest = |output: &Output| output.records().iter().map(|r| output.payload(r).len()).max();
    for first in [0, 5_000, 30_000] {
        take(first, 15_000, START);
    }
    let (late, deltas) = take(0, 15_000, START - 300_000);
    assert_eq!(late, Verdict::Late);
    let (_, closed) = take(0, 1, START + 25_000);
    for size in [largest(&deltas), largest(&closed)] {
        assert!(size.is_some_and(|size| (600_000..1_000_000).contains(&size)), "{size:?}");
    }
}

#[test]
fn a_setup_changes_while_records_flow() {
    let frame = |sequence: i64| {
        Entry::frame(MetricFrame {
            server: "a".into(),
            sequence,
            collected_at: START + sequence * 1_000,
            layout_id: 0,
            layout: vec![Series::gauge("m0", ""), Series::gauge(reference::DROPPED, "")],
            values: vec![1.0, 1.0],
            histograms: vec![],
        })
    };
    let mut log: Log = (0..30).map(|i| (START + i * 1_000, frame(i))).collect();
    log.push((START + 60_000, Entry::Tick));
    let text = format!("rules: [{{drop: {{metric: {}}}}}]", reference::DROPPED);
    let next = Setup::new(WindowSettings::default(), Filter::parse(&text).unwrap());
    let mut windows = PartitionWindows::begin(0, 0, WindowSettings::default().into());
    let mut seen = Vec::new();
    for offset in 0..log.len() {
        if offset == 12 {
            windows.change_to(next.clone());
        }
        step(&mut windows, &log, offset);
        seen.extend(frames(&windows.cut().unwrap().output));
    }
    let count = |metric: &str, tier| -> i64 {
        let totals = reference::merged(&seen).into_iter();
        totals.filter(|((_, ms, _, name), _)| *ms == tier && name == metric).map(|(_, sum)| sum.count()).sum()
    };
    assert_eq!((count("m0", 10_000), count("m0", 60_000)), (30, 30));
    assert_eq!((count(reference::DROPPED, 10_000), count(reference::DROPPED, 60_000)), (12, 12));
}

#[test]
fn a_frame_may_name_its_layout() {
    let mut windows = PartitionWindows::begin(0, 0, WindowSettings::default().into());
    let layout = |names: [&str; 2]| names.map(|name| Series::gauge(name, "")).to_vec();
    let (ab, ba) = (layout(["a", "b"]), layout(["b", "a"]));
    let frame = |sequence, layout: &[Series], values: &[f64]| MetricFrame {
        server: "s".into(),
        sequence,
        collected_at: START + sequence,
        layout_id: 0,
        layout: layout.to_vec(),
        values: values.to_vec(),
        histograms: vec![],
    };
    let log: Log = [
        Entry::naming(frame(1, &ab, &[1.0, 10.0])),
        Entry::frame(frame(2, &ab, &[2.0, 20.0])),
        Entry::naming(frame(3, &ba, &[30.0, 3.0])),
        Entry::naming(frame(4, &ab, &[4.0, 40.0])),
        // as many values as the layout asks for, and no other number
        Entry::naming(frame(5, &ab, &[5.0])),
        Entry::naming(frame(6, &ba, &[60.0, 6.0])),
    ]
    .map(|entry| (START, entry))
    .into();
    let refused = |verdict| match verdict {
        Verdict::Refused(refusal) => Some(refusal.reason),
        _ => None,
    };
    // before anybody has announced it
    assert_eq!(refused(windows.step(record(&log, 0))), Some(Reason::UnknownLayout));
    let mut windows = PartitionWindows::begin(0, 0, WindowSettings::default().into());
    let verdicts: Vec<_> = (0..log.len()).map(|offset| refused(step(&mut windows, &log, offset))).collect();
    assert_eq!(verdicts, [None, None, None, None, Some(Reason::LayoutMismatch), None]);
    let late = Entry::Tick;
    let log: Log = log.into_iter().chain([(START + 100_000, late)]).collect();
    step(&mut windows, &log, 6);
    let seen: Vec<_> = frames(&windows.cut().unwrap().output).filter(|w| w.window_ms == 60_000).collect();
    let sums: Vec<_> =
        seen[0].layout.iter().zip(&seen[0].sum).map(|(s, sum)| (s.metric.as_str(), *sum)).collect();
    assert_eq!(sums, [("a", 16.0), ("b", 160.0)]);
}
