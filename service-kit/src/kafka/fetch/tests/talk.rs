//! The fetcher against a broker of ten lines: what it makes of answers, of silence and of changed minds.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::super::{Chunk, FetchError, Fetcher, connection, metadata, shared::Shared, wire::Reader};

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "t";

/// A broker that leads partitions 0 and 1 of one topic; each holds one batch of three records over and over.
struct Broker {
    /// Requests for metadata before there is a leader.
    leaderless: AtomicI64,
    /// Below it nothing is there any more.
    log_start: i64,
    /// Where the partitions end.
    end: i64,
}

impl Broker {
    fn start(self) -> Fetcher {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let broker = Arc::new(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let broker = Arc::clone(&broker);
                std::thread::spawn(move || while broker.answer(&stream, port).is_some() {});
            }
        });
        fetcher(port)
    }

    fn answer(&self, mut stream: &TcpStream, port: u16) -> Option<()> {
        let mut head = [0; 4];
        stream.read_exact(&mut head).ok()?;
        let mut request = vec![0; i32::from_be_bytes(head) as usize];
        stream.read_exact(&mut request).ok()?;
        let mut r = Reader::new(&request);
        let (key, _version, correlation) = (r.i16().ok()?, r.i16().ok()?, r.i32().ok()?);
        r.take(2 + "tidewatch".len()).ok()?;
        let mut answer = vec![0; 4];
        ints(&mut answer, &[correlation]);
        match key {
            1 => self.fetch(&mut r, &mut answer)?,
            2 => self.log_start(&mut r, &mut answer)?,
            _ => self.metadata(&mut answer, port),
        }
        let length = answer.len() as i32 - 4;
        answer[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&answer).ok()
    }

    fn metadata(&self, into: &mut Vec<u8>, port: u16) {
        let leader = if self.leaderless.fetch_sub(1, Ordering::Relaxed) > 0 { -1 } else { 1 };
        ints(into, &[0, 1, 1]);
        string(into, "127.0.0.1");
        ints(into, &[i32::from(port)]);
        into.extend([0xFF; 4]);
        ints(into, &[1, 1]);
        into.extend([0, 0]);
        string(into, TOPIC);
        into.push(0);
        ints(into, &[2]);
        for partition in 0..2 {
            into.extend([0, 0]);
            ints(into, &[partition, leader, 5, 0, 0, 0]);
        }
        ints(into, &[0, 0]);
    }

    fn log_start(&self, r: &mut Reader<'_>, into: &mut Vec<u8>) -> Option<()> {
        r.take(4 + 1 + 4 + 2 + TOPIC.len()).ok()?;
        let count = r.i32().ok()?;
        ints(into, &[0, 1]);
        string(into, TOPIC);
        ints(into, &[count]);
        for _ in 0..count {
            let (partition, epoch, time) = (r.i32().ok()?, r.i32().ok()?, r.i64().ok()?);
            assert_eq!((epoch, time), (5, -2));
            ints(into, &[partition]);
            into.extend([0, 0]);
            longs(into, &[-1, self.log_start]);
            ints(into, &[5]);
        }
        Some(())
    }

    fn fetch(&self, r: &mut Reader<'_>, into: &mut Vec<u8>) -> Option<()> {
        r.take(4 * 4 + 1 + 4 * 2 + 4 + 2 + TOPIC.len()).ok()?;
        let count = r.i32().ok()?;
        ints(into, &[0]);
        into.extend([0, 0]);
        ints(into, &[0, 1]);
        string(into, TOPIC);
        ints(into, &[count]);
        let mut waits = true;
        for _ in 0..count {
            let (partition, epoch, offset) = (r.i32().ok()?, r.i32().ok()?, r.i64().ok()?);
            r.take(12).ok()?;
            assert_eq!(epoch, 5);
            let batch = super::made(offset, 0..3).bytes();
            let records = if (self.log_start..self.end).contains(&offset) { &batch[..] } else { &[] };
            ints(into, &[partition]);
            into.extend([0, u8::from(offset < self.log_start)]);
            longs(into, &[self.end, self.end, -1]);
            ints(into, &[0, -1, records.len() as i32]);
            into.extend_from_slice(records);
            waits &= records.is_empty() && offset >= self.log_start;
        }
        if waits {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(())
    }
}

fn ints(into: &mut Vec<u8>, numbers: &[i32]) {
    for number in numbers {
        into.extend(number.to_be_bytes());
    }
}

fn longs(into: &mut Vec<u8>, numbers: &[i64]) {
    for number in numbers {
        into.extend(number.to_be_bytes());
    }
}

fn string(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as i16).to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

fn fetcher(port: u16) -> Fetcher {
    let shared = Arc::new(Shared::default());
    let ours = Arc::clone(&shared);
    std::thread::spawn(move || metadata::serve(&ours, &connection::addresses(&format!("127.0.0.1:{port}"))));
    Fetcher { shared }
}

/// Partition and offsets of the next batch.
fn next(fetcher: &Fetcher) -> (i32, Vec<i64>) {
    let mut chunk = fetcher.next(PATIENCE).unwrap().expect("a batch");
    assert!(chunk.topic() == TOPIC && chunk.is_current());
    read(&mut chunk)
}

fn read(chunk: &mut Chunk) -> (i32, Vec<i64>) {
    let (mut partition, mut offsets) = (-1, Vec::new());
    while let Some(item) = chunk.next_item() {
        partition = item.record().partition;
        offsets.push(item.record().offset);
    }
    (partition, offsets)
}

#[test]
fn partitions_come_in_turn_and_in_order_once_they_have_a_leader() {
    let fetcher = Broker { leaderless: 3.into(), log_start: 0, end: 300 }.start();
    fetcher.assign(TOPIC, 0, Some(0));
    fetcher.assign(TOPIC, 1, Some(150));
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..150 {
        let (partition, offsets) = next(&fetcher);
        seen[partition as usize].extend(offsets);
    }
    assert!(seen[0].iter().copied().eq(0..300) && seen[1].iter().copied().eq(150..300));
    assert!(fetcher.next(Duration::from_millis(100)).unwrap().is_none());
    assert_eq!((fetcher.lag(), fetcher.lag_of(TOPIC, 0), fetcher.lag_of("other", 0)), (0, 0, 0));
}

#[test]
fn a_partition_begins_where_its_log_does() {
    let fetcher = Broker { leaderless: 0.into(), log_start: 90, end: 96 }.start();
    // from the beginning, and from what is not there any more
    fetcher.assign(TOPIC, 0, None);
    fetcher.assign(TOPIC, 1, Some(3));
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        let (partition, offsets) = next(&fetcher);
        seen[partition as usize].extend(offsets);
    }
    assert!(seen.iter().all(|seen| seen.iter().copied().eq(90..96)), "{seen:?}");
}

#[test]
fn nothing_comes_of_an_assignment_that_is_over() {
    let fetcher = Broker { leaderless: 0.into(), log_start: 0, end: 30_000 }.start();
    fetcher.assign(TOPIC, 0, Some(0));
    fetcher.assign(TOPIC, 1, Some(0));
    let mut held = fetcher.next(PATIENCE).unwrap().expect("a batch");
    // what is behind the batch in use counts as not read yet
    let (partition, _) = read(&mut held);
    assert_eq!(fetcher.lag_of(TOPIC, partition), 30_000);
    for number in 0..2 {
        fetcher.revoke(TOPIC, number);
    }
    assert!(!held.is_current());
    assert!(fetcher.next(Duration::from_millis(200)).unwrap().is_none());
    // the same one again, from elsewhere
    fetcher.assign(TOPIC, partition, Some(27_000));
    assert!(!held.is_current());
    drop(held);
    assert_eq!(next(&fetcher), (partition, vec![27_000, 27_001, 27_002]));
    assert_eq!(next(&fetcher).1[0], 27_003);
    assert_eq!(fetcher.lag_of(TOPIC, partition), 2_994);
}

#[test]
fn what_the_broker_does_not_know_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let fetcher = fetcher(listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // or its end would be a reset
            let _ = stream.read(&mut [0; 1_000]);
        }
    });
    fetcher.assign(TOPIC, 0, Some(0));
    assert_eq!(fetcher.next(PATIENCE).err(), Some(FetchError::Unsupported("Metadata")));
}
