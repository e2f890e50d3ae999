//! The records of `analyzer.state`: one server's whole state, as of an offset.
//!
//! ```text
//! key:   server             payload: version | checksum | offset | clock | number | of pieces | a piece, compressed
//!        server 00 number                               (further pieces of a state that is too long for one record)
//! ```
//! In: a state as bytes; or the records of a partition in their order. Out: records; or the newest states, and which can't be
//! used and why. Invariant: a state comes back whole, as it was sealed, or not at all.

mod code;
mod schedule;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

pub(crate) use code::{Keep, keep_fields, keep_variants};
pub(crate) use schedule::Schedule;
use twox_hash::XxHash3_64;

/// Of everything that is kept, and how. It changes with any kept type.
pub(crate) const VERSION: u8 = 3;
/// Below the megabyte that a record may have.
const PIECE_BYTES: usize = 800_000;
/// Fast: floats do not get much shorter with more.
const LEVEL: i32 = 1;
/// Stands between a server's name, which has no such character, and the number of a further piece.
const BETWEEN: u8 = 0;

/// A record to write; without a payload it deletes what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Vec<u8>,
    pub payload: Option<Vec<u8>>,
}

/// Why a snapshot can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is torn: not whole, or its checksum is wrong")]
    Torn,
    #[error("it is of format {0}, older than {current}", current = VERSION)]
    Older(u8),
    #[error("it is of format {0}, newer than {current}", current = VERSION)]
    Newer(u8),
    #[error("it is of an offset that was not committed")]
    Ahead,
}

impl Unusable {
    /// As the metric has it.
    pub(crate) fn outcome(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Older(_) => "older",
            Self::Newer(_) => "newer",
            Self::Ahead => "ahead",
        }
    }
}

/// Where in the log a snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// It contains everything of its server below.
    pub offset: i64,
    /// The time of the partition's windows then, milliseconds since 1970.
    pub clock: i64,
    /// How many records it is.
    pub pieces: u16,
}

keep_fields!(Place { offset, clock, pieces });

/// A state that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    pub place: Place,
    pub state: Vec<u8>,
}

/// A state as records.
pub fn seal(server: &str, offset: i64, clock: i64, state: &[u8]) -> io::Result<Vec<Entry>> {
    let packed = zstd::encode_all(state, LEVEL)?;
    let pieces = u16::try_from(packed.len().div_ceil(PIECE_BYTES))
        .map_err(|_| io::Error::other("more pieces than there are numbers"))?;
    let place = Place { offset, clock, pieces };
    let entry = |(number, piece): (u16, &[u8])| {
        let mut content = Vec::with_capacity(piece.len() + 20);
        (place, number).keep(&mut content);
        content.extend_from_slice(piece);
        let key = key(server, number);
        let mut payload = Vec::with_capacity(content.len() + 9);
        payload.push(VERSION);
        checksum(&key, &content).keep(&mut payload);
        payload.append(&mut content);
        Entry { key, payload: Some(payload) }
    };
    Ok((0..pieces).zip(packed.chunks(PIECE_BYTES)).map(entry).collect())
}

/// What deletes the pieces of a server.
pub(crate) fn erase(server: &str, pieces: impl Iterator<Item = u16>) -> impl Iterator<Item = Entry> {
    pieces.map(|number| Entry { key: key(server, number), payload: None })
}

fn key(server: &str, piece: u16) -> Vec<u8> {
    let mut key = server.as_bytes().to_vec();
    if piece > 0 {
        key.push(BETWEEN);
        key.extend_from_slice(&piece.to_be_bytes());
    }
    key
}

/// Of the key too: a piece under another name is none.
fn checksum(key: &[u8], content: &[u8]) -> u64 {
    XxHash3_64::oneshot(content) ^ XxHash3_64::oneshot(key).rotate_left(1)
}

#[derive(Debug)]
struct Piece {
    place: Place,
    bytes: Vec<u8>,
}

fn piece(key: &[u8], number: u16, payload: &[u8]) -> Result<Piece, Unusable> {
    let (&version, mut rest) = payload.split_first().ok_or(Unusable::Torn)?;
    if version < VERSION {
        return Err(Unusable::Older(version));
    }
    if version > VERSION {
        return Err(Unusable::Newer(version));
    }
    let sum = u64::recall(&mut rest).ok_or(Unusable::Torn)?;
    if sum != checksum(key, rest) {
        return Err(Unusable::Torn);
    }
    let header: Option<(Place, u16)> = Keep::recall(&mut rest);
    let (place, found) = header.ok_or(Unusable::Torn)?;
    if found == number { Ok(Piece { place, bytes: rest.to_vec() }) } else { Err(Unusable::Torn) }
}

/// The records of a partition, as far as they were read.
#[derive(Debug, Default)]
pub struct Shelf {
    servers: BTreeMap<String, BTreeMap<u16, Result<Piece, Unusable>>>,
}

impl Shelf {
    /// Takes a record; the newest one of a key counts.
    pub fn put(&mut self, key: &[u8], payload: Option<&[u8]>) {
        let (name, number) = match key.iter().position(|byte| *byte == BETWEEN) {
            None => (key, 0),
            Some(end) => match key[end + 1..].try_into() {
                Ok(number) => (&key[..end], u16::from_be_bytes(number)),
                // no key of ours
                Err(_) => return,
            },
        };
        let Ok(name) = std::str::from_utf8(name) else { return };
        match payload {
            Some(payload) => {
                let piece = piece(key, number, payload);
                self.servers.entry(name.to_owned()).or_default().insert(number, piece);
            }
            None => {
                if let Some(pieces) = self.servers.get_mut(name) {
                    pieces.remove(&number);
                    if pieces.is_empty() {
                        self.servers.remove(name);
                    }
                }
            }
        }
    }

    /// The state of each server, or why it can't be used.
    pub fn open(self) -> impl Iterator<Item = (String, Result<Whole, Unusable>)> {
        self.servers.into_iter().map(|(server, pieces)| (server, whole(pieces)))
    }
}

fn whole(mut pieces: BTreeMap<u16, Result<Piece, Unusable>>) -> Result<Whole, Unusable> {
    let first = pieces.remove(&0).ok_or(Unusable::Torn)??;
    let Piece { place, bytes: mut packed } = first;
    for number in 1..place.pieces {
        let piece = pieces.remove(&number).ok_or(Unusable::Torn)??;
        if piece.place != place {
            return Err(Unusable::Torn);
        }
        packed.extend_from_slice(&piece.bytes);
    }
    let state = zstd::decode_all(&packed[..]).map_err(|_| Unusable::Torn)?;
    Ok(Whole { place, state })
}

/// The names of servers, for a message: a few of many.
pub(crate) fn named(servers: &BTreeSet<String>) -> String {
    const NAMED: usize = 5;
    let some = servers.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if servers.len() > NAMED { format!("{some} and {} more", servers.len() - NAMED) } else { some }
}

#[cfg(test)]
mod tests;
