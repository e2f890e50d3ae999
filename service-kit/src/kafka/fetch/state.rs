//! What is known of each partition, and the batches and buffers that wait.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    FetchError, Leader,
    chunk::{Origin, Ready},
    compression::Output,
};

/// Decompressed bytes that may wait, in all, before a batch more is decompressed.
pub(super) const ROOM: usize = 8 << 20;
/// Bytes of buffers that are kept, and how large one may be to be kept.
const POOL: usize = ROOM / 2;
const MAX_POOLED: usize = 4 << 20;
/// What a waiting batch costs besides its bytes.
const OVERHEAD: usize = 256;

/// A partition of which more is asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) generation: u64,
    pub(super) epoch: i32,
    pub(super) offset: i64,
}

impl Asked {
    pub(super) fn origin(&self) -> Origin {
        Origin { topic: Arc::clone(&self.topic), partition: self.partition, generation: self.generation }
    }
}

/// What was found out about a partition that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// Read up to `next`; so many batches of it wait to be handed over.
    Read {
        next: i64,
        last_stable_offset: i64,
        batches: usize,
        any: bool,
    },
    /// Where its log begins.
    Begins(i64),
    OutOfRange,
    /// Somebody else may know.
    NotHere,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) generation: u64,
    /// Where to fetch from; `None` = the beginning, wherever that is.
    pub(super) next: Option<i64>,
    /// Behind the last batch that was used up.
    pub(super) position: i64,
    pub(super) leader: Option<Leader>,
    pub(super) last_stable_offset: Option<i64>,
    /// Batches found and not used up.
    pub(super) waiting: usize,
    /// When it last brought something, in answers of all partitions.
    pub(super) served: u64,
}

impl Part {
    pub(super) fn lag(&self) -> i64 {
        let position = if self.waiting == 0 { self.next } else { Some(self.position) };
        self.last_stable_offset.zip(position).map_or(0, |(end, position)| (end - position).max(0))
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) parts: HashMap<Arc<str>, BTreeMap<i32, Part>>,
    pub(super) queue: VecDeque<Ready>,
    /// What the queue and the chunks in use take.
    pub(super) bytes: usize,
    pub(super) pool: Vec<Output>,
    pub(super) pooled: usize,
    pub(super) counter: u64,
    /// Brokers that have a thread.
    pub(super) served: HashSet<i32>,
    pub(super) refusals: HashMap<&'static str, u32>,
    pub(super) failure: Option<FetchError>,
    /// Whether the processing thread, and how many others, wait: a wake-up is a system call.
    pub(super) reader_waits: bool,
    pub(super) room_wanted: usize,
}

impl State {
    pub(super) fn part(&mut self, origin: &Origin) -> Option<&mut Part> {
        let part = self.parts.get_mut(&*origin.topic)?.get_mut(&origin.partition)?;
        (part.generation == origin.generation).then_some(part)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Arc<str>, i32, &Part)> {
        self.parts.iter().flat_map(|(topic, parts)| parts.iter().map(move |(number, p)| (topic, *number, p)))
    }

    pub(super) fn hold(&mut self, output: &Output) {
        self.bytes += output.bytes.len() + OVERHEAD;
    }

    pub(super) fn release(&mut self, output: Output) {
        let size = output.bytes.len();
        self.bytes = self.bytes.saturating_sub(size + OVERHEAD);
        if size <= MAX_POOLED && self.pooled + size <= POOL {
            self.pooled += size;
            self.pool.push(output);
        }
    }

    pub(super) fn buffer(&mut self) -> Output {
        let output = self.pool.pop().unwrap_or_default();
        self.pooled -= output.bytes.len();
        output
    }
}
