//! On the wire: what is written is read again, within its bound; what is no good is refused before it is made.

use tidewatch_schemas::{
    AggregateFrame, Buckets as Sent, Histogram as Record, MetricFrame, Reason, Series, decode, encode,
};

use super::*;
use crate::read::Version;

fn frame(histograms: Vec<Record>) -> MetricFrame {
    MetricFrame {
        server: "a".into(),
        sequence: 0,
        collected_at: 0,
        layout_id: 0,
        layout: vec![],
        values: vec![],
        histograms,
    }
}

/// Through the wire, as a frame brings it.
fn taken(record: &Record, most: f64) -> Result<Option<Distribution>, Refusal> {
    let bytes = encode(&frame(vec![record.clone()])).unwrap();
    // framing, server, three longs, an empty layout, no values
    let all = crate::read::histograms(&bytes[10 + 2 + 3 + 2..], Version::Current).unwrap();
    read(&all.iter().next().unwrap(), most)
}

/// Through the wire, as a window's reader has it.
fn written(histogram: &Distribution) -> Record {
    let mut bytes = encode(&frame(vec![])).unwrap();
    bytes.pop();
    bytes.push(2);
    let mut series = Vec::new();
    crate::layout::write_text(&mut series, "m");
    series.extend([0, 0, 0]);
    let before = bytes.len();
    write(histogram, &mut bytes, &series);
    assert!(bytes.len() - before <= series.len() + size(histogram));
    bytes.push(0);
    decode::<MetricFrame>(&bytes).unwrap().0.histograms.remove(0)
}

#[test]
fn a_record_of_a_window_may_hold_one() {
    // the golden file of another codec's making
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/fixtures/aggregate_frame/histograms.avro");
    let (golden, _) = decode::<AggregateFrame>(&std::fs::read(path).unwrap()).unwrap();
    assert!(!golden.histograms.is_empty());
    for record in golden.histograms {
        let (wire, own) = (taken(&record, f64::MAX), Distribution::of(&record, f64::MAX));
        let again = written(&wire.unwrap().unwrap());
        assert_eq!(again, own.unwrap().unwrap().record(Series::gauge("m", "")));
    }
}

#[test]
fn the_largest_stays_within_its_bound_and_a_larger_one_is_refused() {
    let with = |buckets: usize| {
        let counts = Sent { offset: -(1_100 << 20), counts: vec![i64::MAX; buckets] };
        Record {
            series: Series::gauge("m", ""),
            count: i64::MAX,
            sum: None,
            min: Some(-0.0),
            max: Some(f64::MAX),
            scale: 20,
            zero_threshold: 0.5,
            zero_count: i64::MAX,
            positive: counts.clone(),
            negative: counts,
        }
    };
    let largest = taken(&with(160), f64::MAX).unwrap().unwrap();
    assert_eq!(written(&largest), largest.record(Series::gauge("m", "")));
    let refused = taken(&with(1_001), f64::MAX).unwrap_err();
    assert_eq!(refused.reason, Reason::BadHistogram);
    assert!(refused.message.contains("1000 buckets"), "{}", refused.message);
}
