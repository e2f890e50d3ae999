//! Single cases of histograms in windows.

use super::*;

fn histogram(name: &str, scale: i32, offset: i32, counts: &[i64]) -> Histogram {
    Histogram {
        series: Series::gauge(name, "seconds"),
        count: counts.iter().sum(),
        sum: Some(counts.iter().sum::<i64>() as f64),
        min: None,
        max: None,
        scale,
        zero_threshold: 0.0,
        zero_count: 0,
        positive: Buckets { offset, counts: counts.to_vec() },
        negative: Buckets::default(),
    }
}

fn frame(collected_at: i64, histograms: Vec<Histogram>) -> MetricFrame {
    MetricFrame {
        server: "a".into(),
        sequence: 0,
        collected_at,
        layout_id: 0,
        layout: vec![],
        values: vec![],
        histograms,
    }
}

fn take(windows: &mut PartitionWindows, frame: &MetricFrame) -> Verdict {
    let bytes = encode(frame).unwrap();
    let input = Input::Frame(read::head(&bytes[10..], Version::Current).unwrap());
    windows.step(Record { offset: windows.position(), append_time: START, input })
}

fn end(windows: &mut PartitionWindows) -> Vec<AggregateFrame> {
    let offset = windows.position();
    windows.step(Record { offset, append_time: START + 900_000, input: Input::Tick });
    let output = windows.cut().unwrap().output;
    assert!(output.records().iter().all(|record| output.payload(record).len() <= crate::encode::MAX_RECORD));
    frames(&output).collect()
}

fn refused(verdict: Verdict) -> (usize, Option<Reason>) {
    match verdict {
        Verdict::Counted { samples, refused } => (samples, refused.map(|refusal| refusal.reason)),
        Verdict::Refused(refusal) => (usize::MAX, Some(refusal.reason)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_may_have_nothing_else() {
    let mut windows = PartitionWindows::begin(0, 0, WindowSettings::default().into());
    for i in 0..3 {
        let verdict = take(&mut windows, &frame(START + i, vec![histogram("h", 3, 4, &[1, 2])]));
        assert_eq!(verdict, Verdict::Counted { samples: 1, refused: None });
    }
    let values = MetricFrame {
        layout: vec![Series::gauge("m", "")],
        values: vec![1.0],
        ..frame(START + 3, vec![histogram("h", 3, 6, &[1]), histogram("i", 0, 0, &[5])])
    };
    assert_eq!(refused(take(&mut windows, &values)), (3, None));
    // what is empty is as good as not sent, and no reason to refuse
    assert_eq!(refused(take(&mut windows, &frame(START + 4, vec![histogram("h", 0, 0, &[0])]))), (0, None));
    let minute = end(&mut windows).into_iter().find(|window| window.window_ms == 60_000).unwrap();
    assert_eq!((minute.layout.len(), minute.count), (1, vec![1]));
    let [h, i] = &minute.histograms[..] else { panic!("{:?}", minute.histograms) };
    assert_eq!((h.count, h.scale, h.sum), (10, 3, Some(10.0)));
    assert_eq!(h.positive, Buckets { offset: 4, counts: vec![3, 6, 1] });
    assert_eq!((i.series.metric.as_str(), i.count), ("i", 5));
}

#[test]
fn bad_ones_are_refused_and_the_good_rest_counts() {
    let settings = WindowSettings { max_series: 2, ..WindowSettings::default() };
    let mut windows = PartitionWindows::begin(0, 0, settings.into());
    let good = |name: &str| histogram(name, 3, 0, &[1]);
    let lies = Histogram { count: 2, ..good("lies") };
    let cases = [
        (vec![good("ok"), lies.clone()], (1, Some(Reason::BadHistogram))),
        (vec![lies], (usize::MAX, Some(Reason::BadHistogram))),
        (vec![good("ok"), good("0bad")], (1, Some(Reason::BadMetricName))),
        (vec![good("ok"), good("ok")], (1, Some(Reason::DuplicateSeries))),
        (
            vec![good("ok"), Histogram { sum: Some(f64::INFINITY), ..good("inf") }],
            (1, Some(Reason::NotANumber)),
        ),
        (vec![good("ok"), good("too"), good("many")], (2, Some(Reason::TooManySeries))),
        (vec![], (usize::MAX, Some(Reason::NoMetrics))),
    ];
    for (histograms, expected) in cases {
        let frame = frame(START, histograms);
        assert_eq!(refused(take(&mut windows, &frame)), expected, "{frame:?}");
    }
    let counts = end(&mut windows).iter().map(|window| window.histograms[0].count).collect::<Vec<_>>();
    assert_eq!(counts, [5, 5]);
}

#[test]
fn rules_of_a_filter_hold_for_histograms_too() {
    let rules = "rules:
  - drop: { metric: h_dropped }
  - keep: { metric: '/h.*|kept/' }
  - rename: { metric: h_old, to: h_new }
  - relabel: { metric: h_new, set: { zone: '1' } }
  - scale: { metric: h_scaled, factor: 2 }
  - scale: { metric: kept, unit: minutes }
  - derive: { name: h_derived, value: 2 * a, operands: { a: h_new } }
  - drop: { metric: h_elsewhere, server: other }";
    let setup = Setup::new(WindowSettings::default(), Filter::parse(rules).unwrap());
    let mut windows = PartitionWindows::begin(0, 0, setup);
    let names = ["h_dropped", "left_out", "h_old", "h_scaled", "h_elsewhere", "kept"];
    let all = names.map(|name| histogram(name, 3, 0, &[1])).to_vec();
    assert_eq!(refused(take(&mut windows, &frame(START, all.clone()))), (3, Some(Reason::Refused)));
    assert_eq!(refused(take(&mut windows, &frame(START + 1, all[..2].to_vec()))), (0, None));
    let windows = end(&mut windows);
    let series: Vec<Series> =
        windows[0].histograms.iter().map(|histogram| histogram.series.clone()).collect();
    let named = |name: &str| Series::gauge(name, "seconds");
    assert_eq!(
        series,
        [named("h_new").with("zone", "1"), named("h_elsewhere"), Series::gauge("kept", "minutes")]
    );
}

#[test]
fn no_window_is_larger_than_a_record_may_be_however_wide_its_histograms() {
    for backfill in [false, true] {
        let settings = WindowSettings { backfill, ..WindowSettings::default() };
        let mut windows = PartitionWindows::begin(0, 0, settings.into());
        let at = if backfill { START - 300_000 } else { START };
        let wide = |i: usize| {
            let one = histogram(&format!("h{i}"), 5, -80, &[1 << 53; 160]);
            Histogram { count: 2 * one.count, negative: one.positive.clone(), ..one }
        };
        let (mut sent, mut full) = (0, false);
        for i in 0..60 {
            let all = (i * 50..(i + 1) * 50).map(wide).collect();
            match take(&mut windows, &frame(at, all)) {
                Verdict::Late => sent = 50,
                Verdict::Counted { samples, refused } => {
                    sent += samples;
                    full |= refused.is_some_and(|refusal| refusal.reason == Reason::TooManySeries);
                }
                Verdict::Refused(refusal) => full |= refusal.reason == Reason::TooManySeries,
                Verdict::Ticked => {}
            }
        }
        assert!(full != backfill);
        for window in end(&mut windows) {
            assert_eq!(window.histograms.len(), sent);
            // 50 of them fit as they are, and many more get coarser until they do
            let (scale, len) = if backfill { (5, 160) } else { (2, 20) };
            assert!(
                window
                    .histograms
                    .iter()
                    .all(|h| h.count == 320 << 53 && h.scale == scale && h.positive.counts.len() == len)
            );
        }
    }
}
