//! Windows.

use super::*;

impl Read for AggregateFrame {
    fn whole(datum: &[u8], version: Version) -> Result<Self, ReadError> {
        let head = window(datum, version)?;
        let (extent, count) = layout_extent(head.body)?;
        let (layout, rest) = head.body.split_at(extent);
        let layout = layout_series(layout)?;
        assert_eq!(layout.len(), count);
        let columns = columns(rest, version)?;
        let whole = Self {
            server: head.server.to_owned(),
            window_start: head.window_start,
            window_ms: head.window_ms,
            kind: if head.is_delta { AggregateKind::Delta } else { AggregateKind::Final },
            origin: Origin { partition: head.partition, offset: head.offset },
            layout,
            count: columns.count.longs().collect(),
            sum: columns.sum.doubles().collect(),
            min: columns.min.doubles().collect(),
            max: columns.max.doubles().collect(),
            first: columns.first.doubles().collect(),
            last: columns.last.doubles().collect(),
            first_at: columns.first_at.ints().collect(),
            last_at: columns.last_at.ints().collect(),
            m2: columns.m2.doubles().collect(),
            increase: columns.increase.doubles().collect(),
            resets: columns.resets.ints().collect(),
            histograms: some_histograms(columns.histograms)?,
        };
        assert_eq!((columns.count.len, columns.resets.len), (whole.count.len(), whole.resets.len()));
        assert_eq!((columns.sum.len, columns.increase.len), (whole.sum.len(), whole.increase.len()));
        if columns.are_of(count) {
            let rows: Vec<Row> = columns.rows().collect();
            let bits = |value: &f64| value.to_bits();
            assert!(rows.iter().map(|row| bits(&row.m2)).eq(whole.m2.iter().map(bits)));
            assert!(
                rows.iter().map(|row| (row.count, row.resets)).eq(whole
                    .count
                    .iter()
                    .copied()
                    .zip(whole.resets.iter().copied()))
            );
        }
        Ok(whole)
    }
}

#[test]
fn the_golden_windows_are_read_as_apache_avro_reads_them() {
    golden_files::<AggregateFrame>("aggregate_frame", 20);
}

#[test]
fn a_column_in_several_blocks_is_one() {
    let (a, b) = (1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes());
    // one item; then -1 items of 8 bytes
    let blocks = [&[2][..], &a, &[1, 16], &b, &[0]].concat();
    let column = Cursor(&blocks).doubles("sum").unwrap();
    assert_eq!((column.len, column.doubles().collect::<Vec<_>>()), (2, vec![1.5, -2.0]));
    let column = Cursor(&[2, 14, 3, 2, 1, 2, 0]).longs("count").unwrap();
    assert_eq!((column.len, column.longs().collect::<Vec<_>>()), (3, vec![7, -1, 1]));
}

fn frame() -> impl Strategy<Value = AggregateFrame> {
    let head = (".{0,20}", any::<i64>(), any::<i64>(), any::<bool>(), any::<i32>(), any::<i64>());
    let doubles = || prop::collection::vec(any::<f64>(), 0..4);
    let integers = || prop::collection::vec(any::<i32>(), 0..4);
    let counts = prop::collection::vec(any::<i64>(), 0..4);
    let layout = prop::collection::vec(any_series(), 0..4);
    let first = (doubles(), doubles(), doubles(), doubles(), doubles());
    let second = (integers(), integers(), doubles(), doubles(), integers());
    (head, layout, counts, first, second, many_histograms()).prop_map(
        |((server, window_start, window_ms, delta, partition, offset), layout, count, a, b, histograms)| {
            AggregateFrame {
                server,
                window_start,
                window_ms,
                kind: if delta { AggregateKind::Delta } else { AggregateKind::Final },
                origin: Origin { partition, offset },
                layout,
                count,
                sum: a.0,
                min: a.1,
                max: a.2,
                first: a.3,
                last: a.4,
                first_at: b.0,
                last_at: b.1,
                m2: b.2,
                increase: b.3,
                resets: b.4,
                histograms,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_window_of_apache_avros_is_read_back(frame in frame()) {
        let bytes = encode(&frame).unwrap();
        let Ok(Framed::Datum(datum, version)) = unframe::<AggregateFrame>(&bytes) else { panic!("no datum") };
        prop_assert!(AggregateFrame::whole(datum, version).unwrap().same(&frame));
    }

    #[test]
    fn a_damaged_window_is_read_as_apache_avro_reads_it(frame in frame(), damage in damage()) {
        agree_damaged(&frame, damage)?;
    }

    #[test]
    fn any_bytes_are_read_as_apache_avro_reads_them(datum in prop::collection::vec(any::<u8>(), 0..96)) {
        agree_framed::<AggregateFrame>(&datum)?;
    }
}
