//! The readers against apache-avro: golden files, damaged records, random bytes.

use std::{fs, path::Path};

use proptest::prelude::*;
use tidewatch_schemas::{
    AggregateFrame, AggregateKind, Buckets, Histogram, MetricFrame, Origin, decode as general, encode,
};

use super::*;

mod frames;
mod windows;

/// A record as ours reads it.
trait Read: AvroRecord + Clone + std::fmt::Debug {
    /// Everything of a record, or why it is none.
    fn whole(datum: &[u8], version: Version) -> Result<Self, ReadError>;

    /// The same where no bit differs.
    fn same(&self, other: &Self) -> bool {
        encode(self).unwrap() == encode(other).unwrap()
    }
}

/// Ours against apache-avro's, on the same bytes: what ours takes, theirs takes, and it is the same record; what theirs
/// takes, ours takes, but for numbers of more than 64 bits, of which theirs drops the rest.
fn agree<T: Read>(framed: &[u8]) -> Result<(), TestCaseError> {
    let Ok(Framed::Datum(datum, version)) = unframe::<T>(framed) else { return Ok(()) };
    match (T::whole(datum, version), general::<T>(framed)) {
        (Ok(ours), Ok((theirs, _))) => prop_assert!(ours.same(&theirs), "{ours:?} {theirs:?}"),
        (Ok(ours), Err(error)) => return Err(TestCaseError::fail(format!("{error}: {ours:?}"))),
        (Err(ReadError::BadVarint(_)), Ok(_)) | (Err(_), Err(_)) => {}
        (Err(error), Ok((theirs, _))) => return Err(TestCaseError::fail(format!("{error}: {theirs:?}"))),
    }
    Ok(())
}

/// Both versions' golden files, in both framings.
fn golden_files<T: Read>(record: &str, least: usize) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/fixtures");
    let mut read = 0;
    for folder in [fixtures.join(record), fixtures.join(format!("history/{record}.1"))] {
        for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "json") {
                continue;
            }
            let bytes = fs::read(&file).unwrap();
            let Framed::Datum(datum, version) = unframe::<T>(&bytes).unwrap() else {
                panic!("{}", file.display())
            };
            let (theirs, _) = general::<T>(&bytes).unwrap();
            assert!(T::whole(datum, version).unwrap().same(&theirs), "{}", file.display());
            read += 1;
        }
    }
    assert!(read >= least, "{read} files");
}

/// Bytes changed, and the end cut off.
type Damage = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>);

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (bytes, prop::option::of(any::<prop::sample::Index>()))
}

/// A datum of ours with damage behind every header that may stand there: either version's, and a registry's.
fn agree_damaged<T: Read>(record: &T, (changed, cut): Damage) -> Result<(), TestCaseError> {
    let mut datum = encode(record).unwrap()[10..].to_vec();
    for (at, byte) in changed {
        let at = at.index(datum.len());
        datum[at] = byte;
    }
    if let Some(cut) = cut {
        datum.truncate(cut.index(datum.len()));
    }
    agree_framed::<T>(&datum)
}

fn agree_framed<T: Read>(datum: &[u8]) -> Result<(), TestCaseError> {
    let mark = |fingerprint: [u8; 8]| [&[0xC3, 0x01][..], &fingerprint].concat();
    let older = codec::older_fingerprints::<T>().map(mark);
    for header in older.chain([mark(codec::fingerprint::<T>()), vec![0, 0, 0, 0, 42]]) {
        agree::<T>(&[header.as_slice(), datum].concat())?;
    }
    Ok(())
}

fn some_histograms(all: Histograms<'_>) -> Result<Vec<Histogram>, ReadError> {
    let known = |value: f64| (!value.is_nan()).then_some(value);
    let buckets = |view: BucketsView<'_>| {
        let counts: Vec<i64> = view.counts.longs().collect();
        assert_eq!(counts.len(), view.counts.len);
        Buckets { offset: view.offset, counts }
    };
    let one = |view: HistogramView<'_>| {
        Ok(Histogram {
            series: series(view.series)?,
            count: view.count,
            sum: known(view.sum),
            min: known(view.min),
            max: known(view.max),
            scale: view.scale,
            zero_threshold: view.zero_threshold,
            zero_count: view.zero_count,
            positive: buckets(view.positive),
            negative: buckets(view.negative),
        })
    };
    all.iter().map(one).collect()
}

fn any_series() -> impl Strategy<Value = Series> {
    let labels = prop::collection::btree_map("[a-z]{1,6}", ".{0,8}", 0..4);
    (".{0,12}", labels, any::<bool>(), ".{0,4}").prop_map(|(metric, labels, counter, unit)| Series {
        metric,
        labels,
        kind: if counter { SeriesKind::Counter } else { SeriesKind::Gauge },
        unit,
    })
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let buckets = (any::<i32>(), prop::collection::vec(any::<i64>(), 0..5))
        .prop_map(|(offset, counts)| Buckets { offset, counts });
    let known = || any::<f64>().prop_map(|value| (!value.is_nan()).then_some(value));
    let head = (any_series(), any::<i64>(), known(), known(), known(), any::<i32>());
    (head, any::<f64>(), any::<i64>(), buckets.clone(), buckets).prop_map(
        |((series, count, sum, min, max, scale), zero_threshold, zero_count, positive, negative)| Histogram {
            series,
            count,
            sum,
            min,
            max,
            scale,
            zero_threshold,
            zero_count,
            positive,
            negative,
        },
    )
}

fn many_histograms() -> impl Strategy<Value = Vec<Histogram>> {
    prop_oneof![Just(vec![]), prop::collection::vec(any_histogram(), 0..4)]
}
