//! From a partition's bytes to its records: batches of real clients, and batches made by hand.

use proptest::{collection::vec, prelude::*};

use super::{
    batch::{self, Batch, Content},
    chunk::{Item, Origin, Ready},
    compression::{CompressionError, Decompressor, MAX_BATCH, Output},
    wire::Fetched,
};

mod talk;

const STABLE: i64 = 1_000_000;

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const APPEND_TIME: i16 = 0x08;

/// What a record comes to: its offset, timestamp, key and value, and names of headers; or the offsets that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Record(i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<String>),
    Unreadable(i64, i64, String),
}

/// All that is shown of these bytes, and where to go on.
fn read(bytes: &[u8], wanted: i64, aborted: &[(i64, i64)]) -> (Vec<Seen>, i64) {
    let fetched = Fetched {
        topic: "t",
        partition: 3,
        error: 0,
        last_stable_offset: STABLE,
        aborted: aborted.to_vec(),
        records: 0..bytes.len(),
    };
    let found = batch::find(bytes, &fetched, wanted);
    let mut decompressor = Decompressor::default();
    let shown = found.batches.iter().flat_map(|batch| show(batch, bytes, &mut decompressor)).collect();
    (shown, found.next)
}

fn show(batch: &Batch, bytes: &[u8], decompressor: &mut Decompressor) -> Vec<Seen> {
    let mut output = Output::default();
    let result = match &batch.content {
        Content::Records(range, codec) => {
            decompressor.decompress(*codec, &bytes[range.clone()], &mut output).map_err(|e| e.to_string())
        }
        Content::Unreadable(_) => Ok(0),
    };
    let origin = Origin { topic: "t".into(), partition: 3, generation: 1 };
    let mut ready = Ready::new(origin, batch, output, result);
    let mut shown = Vec::new();
    while let Some(item) = ready.next() {
        shown.push(match item {
            Item::Record(r) => {
                assert_eq!((r.topic, r.partition), ("t", 3));
                let names = r.headers.iter().map(|header| header.key.to_owned()).collect();
                Seen::Record(r.offset, r.timestamp, r.key.map(Into::into), r.payload.map(Into::into), names)
            }
            Item::Unreadable { record, last, why } => Seen::Unreadable(record.offset, last, why),
        });
    }
    shown
}

fn offsets(seen: &[Seen]) -> Vec<i64> {
    let offset = |seen: &Seen| match seen {
        Seen::Record(offset, ..) => *offset,
        Seen::Unreadable(..) => panic!("{seen:?}"),
    };
    seen.iter().map(offset).collect()
}

fn put_varint(into: &mut Vec<u8>, value: i64) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// A batch by hand: offsets from `base` on at these deltas, each with its delta as its value.
struct Made {
    base: i64,
    deltas: Vec<i64>,
    attributes: i16,
    producer: i64,
    last_delta: Option<i32>,
}

fn made(base: i64, deltas: impl IntoIterator<Item = i64>) -> Made {
    Made { base, deltas: deltas.into_iter().collect(), attributes: 0, producer: -1, last_delta: None }
}

impl Made {
    fn of(mut self, producer: i64, attributes: i16) -> Self {
        (self.producer, self.attributes) = (producer, attributes);
        self
    }

    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for delta in &self.deltas {
            let mut body = vec![0];
            put_varint(&mut body, 10 * delta);
            put_varint(&mut body, *delta);
            // a control record's key: version, and whether it commits
            let key: &[u8] =
                if self.attributes & CONTROL == 0 { b"k" } else { &[0, 0, 0, self.producer as u8 & 1] };
            put_varint(&mut body, key.len() as i64);
            body.extend_from_slice(key);
            let value = delta.to_string();
            put_varint(&mut body, value.len() as i64);
            body.extend_from_slice(value.as_bytes());
            put_varint(&mut body, 0);
            put_varint(&mut records, body.len() as i64);
            records.extend(body);
        }
        records
    }

    fn bytes(&self) -> Vec<u8> {
        self.with(&self.records())
    }

    fn with(&self, records: &[u8]) -> Vec<u8> {
        let last = self.last_delta.unwrap_or(self.deltas.last().copied().unwrap_or(0) as i32);
        let mut bytes = self.base.to_be_bytes().to_vec();
        bytes.extend((49 + records.len() as i32).to_be_bytes());
        bytes.extend([0, 0, 0, 7, 2, 1, 2, 3, 4]);
        bytes.extend(self.attributes.to_be_bytes());
        bytes.extend(last.to_be_bytes());
        for number in [1_000_i64, 9_999, self.producer] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend([0, 0, 0, 0, 0, 0]);
        bytes.extend((self.deltas.len() as i32).to_be_bytes());
        bytes.extend_from_slice(records);
        bytes
    }
}

const GOLDEN: [(&str, &[u8]); 10] = [
    ("librdkafka none", include_bytes!("golden/librdkafka-none.bin")),
    ("librdkafka gzip", include_bytes!("golden/librdkafka-gzip.bin")),
    ("librdkafka snappy", include_bytes!("golden/librdkafka-snappy.bin")),
    ("librdkafka lz4", include_bytes!("golden/librdkafka-lz4.bin")),
    ("librdkafka zstd", include_bytes!("golden/librdkafka-zstd.bin")),
    ("java none", include_bytes!("golden/java-none.bin")),
    ("java gzip", include_bytes!("golden/java-gzip.bin")),
    ("java snappy", include_bytes!("golden/java-snappy.bin")),
    ("java lz4", include_bytes!("golden/java-lz4.bin")),
    ("java zstd", include_bytes!("golden/java-zstd.bin")),
];

/// Three records as a broker stored them: `k0..2`, a text and its number; the second one with two headers.
#[test]
fn batches_of_real_clients_are_read() {
    for (name, bytes) in GOLDEN {
        let (seen, next) = read(bytes, 0, &[]);
        assert_eq!((offsets(&seen), next), (vec![0, 1, 2], 3), "{name}");
        for (number, seen) in seen.into_iter().enumerate() {
            let Seen::Record(_, timestamp, key, value, headers) = seen else { panic!("{name}") };
            assert_eq!(value, Some(format!("{}{number}", "tidewatch ".repeat(8)).into()), "{name}");
            if name.starts_with("librdkafka") {
                assert_eq!(timestamp, 1_700_000_000_000 + number as i64, "{name}");
                assert_eq!(key, Some(format!("k{number}").into()), "{name}");
                assert_eq!(headers, if number == 1 { vec!["h", "n"] } else { vec![] }, "{name}");
            } else {
                assert_eq!(key, None, "{name}");
            }
        }
        let (seen, _) = read(bytes, 2, &[]);
        assert_eq!(offsets(&seen), [2], "{name}: from inside of a batch");
    }
}

#[test]
fn what_is_not_to_be_seen_is_passed_over() {
    let abort = |base| made(base, [0]).of(2, TRANSACTIONAL | CONTROL);
    let commit = |base| made(base, [0]).of(1, TRANSACTIONAL | CONTROL);
    let log: Vec<u8> = [
        made(0, 0..2),
        // producer 2 aborts this one, and commits its next
        made(2, 0..3).of(2, TRANSACTIONAL),
        made(5, 0..1).of(1, TRANSACTIONAL),
        made(6, 0..1),
        abort(7),
        commit(8),
        made(9, 0..2).of(2, TRANSACTIONAL),
        commit(11),
    ]
    .iter()
    .flat_map(Made::bytes)
    .collect();
    let (seen, next) = read(&log, 0, &[(2, 2)]);
    assert_eq!((offsets(&seen), next), (vec![0, 1, 5, 6, 9, 10], 12));
    // from inside of the aborted transaction: the broker names it all the same
    assert_eq!(offsets(&read(&log, 4, &[(2, 2)]).0), [5, 6, 9, 10]);
    // two of one producer, both aborted
    let twice = [made(0, 0..1).of(2, TRANSACTIONAL), abort(1), made(2, 0..1).of(2, TRANSACTIONAL), abort(3)];
    let twice: Vec<u8> = twice.iter().flat_map(Made::bytes).collect();
    assert_eq!(read(&twice, 0, &[(2, 2), (2, 0)]), (vec![], 4));
    // the list ends where the first one did: the second one counts
    assert_eq!(offsets(&read(&twice, 0, &[(2, 0)]).0), [2]);
}

#[test]
fn the_next_offset_goes_past_what_compaction_took() {
    let mut holes = made(10, [1, 4]);
    holes.last_delta = Some(9);
    let mut empty = made(20, []);
    empty.last_delta = Some(4);
    let log = [holes.bytes(), empty.bytes(), made(30, 0..1).bytes()].concat();
    let (seen, next) = read(&log, 5, &[]);
    assert_eq!((offsets(&seen), next), (vec![11, 14, 30], 31));
    assert_eq!(read(&log[..log.len() - 5], 12, &[]).1, 25, "the last batch is cut off");
    assert_eq!(read(&[], 12, &[]), (vec![], 12));
}

/// The broker notes the last stable offset, then reads: more may have become stable in between.
#[test]
fn records_above_the_last_stable_offset_that_is_told_are_shown() {
    let (seen, next) = read(&made(STABLE + 5, 0..1).bytes(), 9, &[]);
    assert_eq!((offsets(&seen), next), (vec![STABLE + 5], STABLE + 6));
}

#[test]
fn timestamps_are_the_brokers_or_the_records() {
    let stamps = |made: Made| {
        read(&made.bytes(), 0, &[]).0.into_iter().map(|seen| match seen {
            Seen::Record(_, timestamp, ..) => timestamp,
            Seen::Unreadable(..) => 0,
        })
    };
    assert!(stamps(made(0, 0..3)).eq([1_000, 1_010, 1_020]));
    assert!(stamps(made(0, 0..3).of(-1, APPEND_TIME)).eq([9_999; 3]));
}

#[test]
fn what_cant_be_read_takes_its_own_offsets_and_no_others() {
    let good = |base| made(base, 0..2).bytes();
    for codec in 1..=7 {
        let bad = made(2, 0..5).of(-1, codec).with(b"this is no compressed batch");
        let (seen, next) = read(&[good(0), bad, good(7)].concat(), 0, &[]);
        assert!(matches!(&seen[2], Seen::Unreadable(2, 6, why) if why.contains("compress")), "{seen:?}");
        assert_eq!((offsets(&[&seen[..2], &seen[3..]].concat()), next), (vec![0, 1, 7, 8], 9));
    }
    // in the middle of a batch: what stands before it counts
    let bad = made(2, 0..5);
    let mut records = bad.records();
    let third = records.len() / 5 * 2;
    records[third] = 0x7F;
    let (seen, next) = read(&[bad.with(&records), good(7)].concat(), 0, &[]);
    assert!(matches!(seen[2], Seen::Unreadable(4, 6, _)), "{seen:?}");
    assert_eq!((seen.len(), next), (5, 9));
    // read again from behind it, it is not told again
    assert_eq!(offsets(&read(&[bad.with(&records), good(7)].concat(), 7, &[]).0), [7, 8]);
    // an old format, told once with the last of its offsets
    let mut old = made(2, 0..1).bytes();
    old[16] = 1;
    let (seen, next) = read(&[good(0), old, good(3)].concat(), 0, &[]);
    assert!(matches!(&seen[2], Seen::Unreadable(2, 2, why) if why.contains("old format 1")), "{seen:?}");
    assert_eq!(next, 5);
}

#[test]
fn a_batch_is_not_decompressed_beyond_the_cap() {
    let zeros = vec![0; MAX_BATCH + 1];
    let gzip = {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(&zeros[..], 1).unwrap();
    // says of itself that it is 4 GB
    let snappy = vec![0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0];
    let mut output = Output::default();
    for (codec, bomb) in [(1, gzip), (2, snappy), (4, zstd)] {
        let found = Decompressor::default().decompress(codec, &bomb, &mut output);
        assert_eq!(found, Err(CompressionError::TooLarge), "codec {codec}");
        assert!(output.bytes.len() <= MAX_BATCH);
    }
}

/// A frame of linked blocks, the second one a match in the first.
#[test]
fn lz4_blocks_may_look_back_into_those_before() {
    let first = lz4_flex::block::compress(b"0123456789abcdef0123456789abcdef");
    let second =
        lz4_flex::block::compress_with_dict(b"9abcdef0123456789abcdef!", b"0123456789abcdef0123456789abcdef");
    let mut frame = vec![0x04, 0x22, 0x4D, 0x18, 0x40, 0x40, 0];
    for block in [first, second] {
        frame.extend((block.len() as u32).to_le_bytes());
        frame.extend(block);
    }
    // a third one that is not compressed, and the end
    frame.extend((3_u32 | 1 << 31).to_le_bytes());
    frame.extend(b"end\0\0\0\0");
    let mut output = Output::default();
    // a second frame behind the first
    let frames = [&frame[..], &frame[..]].concat();
    let used = Decompressor::default().decompress(3, &frames, &mut output).unwrap();
    let expected = "0123456789abcdef0123456789abcdef9abcdef0123456789abcdef!end".repeat(2);
    assert_eq!(std::str::from_utf8(&output.bytes[..used]), Ok(expected.as_str()));
}

/// Every offset is told of once at most, in order, and none below the wanted one.
fn check(bytes: &[u8], wanted: i64) {
    let (seen, next) = read(bytes, wanted, &[(7, 3), (9, 0)]);
    let mut last = wanted - 1;
    for seen in seen {
        let (first, end) = match seen {
            Seen::Record(offset, ..) => (offset, offset),
            Seen::Unreadable(first, last, _) => (first, last),
        };
        assert!(first > last && end >= first && next > end, "{first}..={end} behind {last}, then {next}");
        last = end;
    }
    assert!(next >= wanted);
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..400), wanted in 0_i64..20) {
        check(&bytes, wanted);
    }

    #[test]
    fn random_bytes_behind_a_header_do_no_harm(bytes in vec(any::<u8>(), 0..400), codec in 0_i16..6, wanted in 0_i64..20) {
        check(&made(5, 0..10).of(-1, codec).with(&bytes), wanted);
    }

    #[test]
    fn mutations_of_real_batches_do_no_harm(
        number in 0..GOLDEN.len(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        wanted in 0_i64..4,
    ) {
        let mut bytes = GOLDEN[number].1.to_vec();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        check(&bytes, wanted);
        check(&[&bytes[..], &made(3, 0..4).bytes()].concat(), wanted);
        bytes.truncate(cut.index(bytes.len()));
        check(&bytes, wanted);
    }
}
