//! Frames.

use super::*;

impl Read for MetricFrame {
    fn whole(datum: &[u8], version: Version) -> Result<Self, ReadError> {
        let head = head(datum, version)?;
        let (extent, count) = layout_extent(head.body)?;
        let (layout, rest) = head.body.split_at(extent);
        let layout = layout_series(layout)?;
        assert_eq!(layout.len(), count);
        let mut read = Vec::new();
        let rest = values(rest, &mut read)?;
        Ok(Self {
            server: head.server.to_owned(),
            sequence: head.sequence,
            collected_at: head.collected_at,
            layout_id: head.layout_id,
            layout,
            values: read,
            histograms: some_histograms(histograms(rest, version)?)?,
        })
    }
}

#[test]
fn the_golden_frames_are_read_as_apache_avro_reads_them() {
    golden_files::<MetricFrame>("metric_frame", 24);
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
        assert_eq!(MetricFrame::whole(bytes, Version::Current).unwrap_err(), expected, "{bytes:?}");
    }
    let mut into = Vec::new();
    // 2^61 values would be 2^64 bytes
    let bomb = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    assert!(values(&bomb, &mut into).is_err() && into.capacity() < 64);
    assert!(histograms(&bomb, Version::Current).is_err());
}

#[test]
fn the_version_says_whether_histograms_follow() {
    let empty = [2, b'a', 0, 0, 0, 0, 0];
    let read = |datum: &[u8], version| MetricFrame::whole(datum, version).map(|frame| frame.histograms.len());
    assert_eq!(read(&empty, Version::First), Ok(0));
    assert_eq!(read(&empty, Version::Either), Ok(0));
    assert_eq!(read(&empty, Version::Current), Err(ReadError::Truncated("histograms")));
    let more = [&empty[..], &[0]].concat();
    assert_eq!(read(&more, Version::First), Err(ReadError::Trailing(1)));
    assert_eq!((read(&more, Version::Either), read(&more, Version::Current)), (Ok(0), Ok(0)));
    // an end in two bytes is one, too
    let long = [&empty[..], &[0x80, 0]].concat();
    assert!(histograms(&long[7..], Version::Current).unwrap().is_empty());
}

fn frame() -> impl Strategy<Value = MetricFrame> {
    let head = (".{0,20}", any::<i64>(), any::<i64>(), any::<i64>());
    let body = (
        prop::collection::vec(any_series(), 0..8),
        prop::collection::vec(any::<f64>(), 0..8),
        many_histograms(),
    );
    (head, body).prop_map(|((server, sequence, collected_at, layout_id), (layout, values, histograms))| {
        MetricFrame { server, sequence, collected_at, layout_id, layout, values, histograms }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_frame_of_apache_avros_is_read_back(frame in frame()) {
        let bytes = encode(&frame).unwrap();
        let Ok(Framed::Datum(datum, version)) = unframe::<MetricFrame>(&bytes) else { panic!("no datum") };
        prop_assert!(MetricFrame::whole(datum, version).unwrap().same(&frame));
    }

    #[test]
    fn a_damaged_frame_is_read_as_apache_avro_reads_it(frame in frame(), damage in damage()) {
        agree_damaged(&frame, damage)?;
    }

    #[test]
    fn any_bytes_are_read_as_apache_avro_reads_them(datum in prop::collection::vec(any::<u8>(), 0..64)) {
        agree_framed::<MetricFrame>(&datum)?;
    }
}
