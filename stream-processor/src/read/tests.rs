//! The reader against apache-avro: golden files, damaged frames, random bytes.

use std::{fs, path::Path};

use proptest::prelude::*;
use tidewatch_schemas::{decode as general, encode};

use super::*;

/// Everything of a frame, or why it is none.
fn whole(datum: &[u8]) -> Result<MetricFrame, ReadError> {
    let head = head(datum)?;
    let (extent, count) = layout_extent(head.body)?;
    let (layout, rest) = head.body.split_at(extent);
    let layout = layout_series(layout)?;
    assert_eq!(layout.len(), count);
    let mut read = Vec::new();
    values(rest, &mut read)?;
    Ok(MetricFrame {
        server: head.server.to_owned(),
        sequence: head.sequence,
        collected_at: head.collected_at,
        layout_id: head.layout_id,
        layout,
        values: read,
    })
}

fn same(a: &MetricFrame, b: &MetricFrame) -> bool {
    let bits = |frame: &MetricFrame| frame.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let bare = |frame: &MetricFrame| MetricFrame { values: Vec::new(), ..frame.clone() };
    bare(a) == bare(b) && bits(a) == bits(b)
}

/// Ours against apache-avro's, on the same bytes: what ours takes, theirs takes, and it is the same frame; what theirs
/// takes, ours takes, but for numbers of more than 64 bits, of which theirs drops the rest.
fn agree(framed: &[u8]) -> Result<(), TestCaseError> {
    let Ok(Framed::Datum(datum)) = unframe(framed) else { return Ok(()) };
    match (whole(datum), general::<MetricFrame>(framed)) {
        (Ok(ours), Ok((theirs, _))) => prop_assert!(same(&ours, &theirs), "{ours:?} {theirs:?}"),
        (Ok(ours), Err(error)) => return Err(TestCaseError::fail(format!("{error}: {ours:?}"))),
        (Err(ReadError::BadVarint(_)), Ok(_)) | (Err(_), Err(_)) => {}
        (Err(error), Ok((theirs, _))) => return Err(TestCaseError::fail(format!("{error}: {theirs:?}"))),
    }
    Ok(())
}

#[test]
fn the_golden_frames_are_read_as_apache_avro_reads_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/fixtures/metric_frame");
    let mut read = 0;
    for file in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "json") {
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        let Framed::Datum(datum) = unframe(&bytes).unwrap() else { panic!("{}", file.display()) };
        let (theirs, _) = general::<MetricFrame>(&bytes).unwrap();
        assert!(same(&whole(datum).unwrap(), &theirs), "{}", file.display());
        read += 1;
    }
    assert!(read >= 10, "{read} files");
}

#[test]
fn blocks_with_and_without_their_size_are_one_layout() {
    // ["m"{} gauge ""] as a block of -1 items and 5 bytes, an empty map of its own; then a block of one more
    let sized = [1, 10, 2, b'm', 0, 0, 0, 2, 2, b'n', 0, 2, 0, 0];
    assert_eq!(layout_extent(&sized), Ok((sized.len(), 2)));
    let series = layout_series(&sized).unwrap();
    assert_eq!(series, [Series::gauge("m", ""), Series::counter("n", "")]);
}

#[test]
fn what_lies_is_refused() {
    let cases: [(&[u8], ReadError); 7] = [
        (&[], ReadError::Truncated("server")),
        (&[200], ReadError::Truncated("server")),
        (&[10, b'a'], ReadError::TooLong("server")),
        (&[1], ReadError::TooLong("server")),
        (&[2, 0xFF], ReadError::NotText("server")),
        (
            &[2, b'a', 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
            ReadError::BadVarint("sequence"),
        ),
        (&[2, b'a', 0, 0, 0, 0x7E, 2, b'm', 0, 0, 0], ReadError::TooLong("layout")),
    ];
    for (bytes, expected) in cases {
        assert_eq!(whole(bytes), Err(expected), "{bytes:?}");
    }
    let mut into = Vec::new();
    // 2^61 values would be 2^64 bytes
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    assert!(values(&bomb, &mut into).is_err() && into.capacity() < 64);
}

fn series() -> impl Strategy<Value = Series> {
    let labels = prop::collection::btree_map("[a-z]{1,6}", ".{0,8}", 0..4);
    (".{0,12}", labels, any::<bool>(), ".{0,4}").prop_map(|(metric, labels, counter, unit)| Series {
        metric,
        labels,
        kind: if counter { SeriesKind::Counter } else { SeriesKind::Gauge },
        unit,
    })
}

fn frame() -> impl Strategy<Value = MetricFrame> {
    let head = (".{0,20}", any::<i64>(), any::<i64>(), any::<i64>());
    let body = (prop::collection::vec(series(), 0..8), prop::collection::vec(any::<f64>(), 0..8));
    (head, body).prop_map(|((server, sequence, collected_at, layout_id), (layout, values))| MetricFrame {
        server,
        sequence,
        collected_at,
        layout_id,
        layout,
        values,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_frame_of_apache_avros_is_read_back(frame in frame()) {
        let bytes = encode(&frame).unwrap();
        let Ok(Framed::Datum(datum)) = unframe(&bytes) else { panic!("no datum") };
        prop_assert!(same(&whole(datum).unwrap(), &frame));
    }

    #[test]
    fn a_damaged_frame_is_read_as_apache_avro_reads_it(
        frame in frame(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encode(&frame).unwrap();
        for (at, byte) in damage {
            let at = 10 + at.index(bytes.len() - 10);
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(10 + cut.index(bytes.len() - 10));
        }
        agree(&bytes)?;
    }

    #[test]
    fn any_bytes_are_read_as_apache_avro_reads_them(datum in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = encode(&MetricFrame {
            server: String::new(), sequence: 0, collected_at: 0, layout_id: 0, layout: vec![], values: vec![],
        }).unwrap();
        bytes.truncate(10);
        bytes.extend_from_slice(&datum);
        agree(&bytes)?;
    }
}
