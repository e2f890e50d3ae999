//! Layouts: lists of series, each known once however many servers and frames repeat it.
//!
//! In: the bytes of a frame's layout. Out: the same list in canonical form (labels in order), what is wrong with which
//! series, and how values become those series. Invariant: two layouts share an entry only if their bytes are equal, as far as
//! 128 bits of XXH3 under a secret of this process can tell.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tidewatch_schemas::{Limits, Reason, Series, SeriesKind, validate::check_series};
use twox_hash::XxHash3_128;

use crate::{
    filter::{Filter, Plan},
    read::{self, ReadError},
};

mod histograms;

use histograms::SoleSeries;
pub(crate) use histograms::{Sole, Taken};

/// Why something was refused, for a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Hashes under a secret of this process: nobody outside can make two layouts meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher(u64);

impl Hasher {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(0))
    }

    pub(crate) fn hash(self, bytes: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed(self.0, bytes)
    }
}

/// A list of series in Avro, each series on its own and labels in order.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The series' encodings, one after the other.
    bytes: Box<[u8]>,
    /// Where each ends, and where its identity (metric, labels) ends.
    ends: Box<[(u32, u32)]>,
    /// A bit for each series that is a counter.
    counters: Box<[u64]>,
    /// Series that are refused whatever their values are, ascending.
    bad: Box<[u32]>,
    refusal: Option<Refusal>,
}

impl Layout {
    pub(crate) fn new(series: &[Series], limits: &Limits) -> Self {
        let mut bytes = Vec::with_capacity(series.len() * 64);
        let mut ends = Vec::with_capacity(series.len());
        let mut counters = vec![0; series.len().div_ceil(64)];
        let mut seen = HashSet::with_capacity(series.len());
        let (mut bad, mut refusal) = (Vec::new(), None);
        for (index, one) in series.iter().enumerate() {
            let identity = write_series(&mut bytes, one);
            ends.push((bytes.len() as u32, identity as u32));
            if one.kind == SeriesKind::Counter {
                counters[index / 64] |= 1 << (index % 64);
            }
            let name = || one.metric.chars().take(64).collect::<String>();
            let wrong = if let Err(reason) = check_series(one, limits) {
                Refusal::new(reason, format!("series `{}`", name()))
            } else if !seen.insert((&one.metric, &one.labels)) {
                Refusal::new(Reason::DuplicateSeries, format!("{} stands twice in one frame", name()))
            } else {
                continue;
            };
            bad.push(index as u32);
            refusal = Some(wrong);
        }
        Self { bytes: bytes.into(), ends: ends.into(), counters: counters.into(), bad: bad.into(), refusal }
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before].0 as usize)
    }

    /// The encodings of all series.
    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory, roughly.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + std::mem::size_of_val(&*self.ends)
    }

    /// The encoding of one series.
    pub(crate) fn series(&self, index: u32) -> &[u8] {
        let index = index as usize;
        &self.bytes[self.start(index)..self.ends[index].0 as usize]
    }

    /// What tells one series from others of its server: metric and labels.
    pub(crate) fn identity(&self, index: u32) -> &[u8] {
        let index = index as usize;
        &self.bytes[self.start(index)..self.ends[index].1 as usize]
    }

    /// The series' metric, for people.
    pub(crate) fn name(&self, index: u32) -> String {
        let series = self.series(index);
        // one byte of length up to 63, two beyond
        let from = if series.first().is_some_and(|byte| *byte < 0x80) { 1 } else { 2 };
        let length = series.iter().take(from).rev().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7F)) / 2;
        String::from_utf8_lossy(series.get(from..from + length).unwrap_or_default()).into_owned()
    }

    pub(crate) fn has_counters(&self) -> bool {
        self.counters.iter().any(|bits| *bits != 0)
    }

    pub(crate) fn is_counter(&self, index: u32) -> bool {
        self.counters[index as usize / 64] >> (index % 64) & 1 == 1
    }

    /// The series refused for good, and why the last of them is; the filter may have refused others before.
    pub(crate) fn bad(&self) -> (&[u32], Option<&Refusal>) {
        (&self.bad, self.refusal.as_ref())
    }
}

/// A layout as a frame would hold it.
pub(crate) fn write_layout(out: &mut Vec<u8>, series: &[Series]) {
    if !series.is_empty() {
        write_long(out, series.len() as i64);
        for one in series {
            write_series(out, one);
        }
    }
    out.push(0);
}

/// Appends the series in Avro; returns where its identity ends.
fn write_series(out: &mut Vec<u8>, series: &Series) -> usize {
    write_text(out, &series.metric);
    if !series.labels.is_empty() {
        write_long(out, series.labels.len() as i64);
        for (name, value) in &series.labels {
            write_text(out, name);
            write_text(out, value);
        }
    }
    out.push(0);
    let identity = out.len();
    write_long(out, i64::from(series.kind == SeriesKind::Counter));
    write_text(out, &series.unit);
    identity
}

pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

#[inline]
pub(crate) fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// How a frame's values become series of a layout; shared by all servers that send the same.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) layout: Arc<Layout>,
    /// What the filter makes of the values; `None` = they are taken as they come.
    pub(crate) plan: Option<Arc<Plan>>,
    /// Values that a frame of this layout has to bring.
    pub(crate) values: u32,
}

/// A layout that frames name by its id.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    pub(crate) hash: u128,
    pub(crate) series: usize,
    /// As a frame would hold it.
    pub(crate) bytes: Arc<[u8]>,
}

/// Every layout in use, by the hash of its bytes and the filter's class of servers.
#[derive(Debug)]
pub(crate) struct Layouts {
    filter: Filter,
    limits: Limits,
    known: HashMap<(u128, u64), Shape>,
    announced: HashMap<i64, Announced>,
    /// Those of histograms, which stand in no layout.
    sole: SoleSeries,
    /// Entries after which the unused ones are looked for, and bytes of them.
    sweep_at: (usize, usize),
    /// Bytes of all entries.
    size: usize,
}

/// Fewer entries and bytes are not worth a look.
const SWEEP_AT: (usize, usize) = (1_024, 32 << 20);

impl Layouts {
    pub(crate) fn new(filter: Filter) -> Self {
        Self {
            filter,
            limits: Limits::default(),
            known: HashMap::new(),
            announced: HashMap::new(),
            sole: SoleSeries::default(),
            sweep_at: SWEEP_AT,
            size: 0,
        }
    }

    /// Another filter; what the ids stand for stays.
    pub(crate) fn change_filter(&mut self, filter: Filter) {
        self.filter = filter;
        self.sole.clear();
        self.known.clear();
        self.size = 0;
    }

    /// From now on frames may name this layout.
    pub(crate) fn announce(&mut self, id: i64, announced: Announced) {
        self.announced.insert(id, announced);
    }

    #[inline]
    pub(crate) fn announced(&self, id: i64) -> Option<&Announced> {
        self.announced.get(&id)
    }

    /// Servers of one class are filtered alike.
    pub(crate) fn class(&self, server: &str) -> u64 {
        if self.filter.is_none() { 0 } else { self.filter.class(server) }
    }

    /// What a histogram's series is taken as.
    pub(crate) fn histogram(
        &mut self,
        hasher: Hasher,
        (server, class): (&str, u64),
        series: &[u8],
    ) -> Result<Taken, ReadError> {
        self.sole.take(&self.filter, &self.limits, hasher, (server, class), series)
    }

    /// The shape of a layout; `bytes` are looked at only if nobody sent them before.
    pub(crate) fn shape(&mut self, server: &str, hash: u128, bytes: &[u8]) -> Result<Shape, ReadError> {
        let class = self.class(server);
        if let Some(shape) = self.known.get(&(hash, class)) {
            return Ok(shape.clone());
        }
        let series = read::layout_series(bytes)?;
        let values = series.len() as u32;
        let shape = if self.filter.is_none() {
            Shape { layout: Arc::new(Layout::new(&series, &self.limits)), plan: None, values }
        } else {
            let plan = self.filter.plan(server, &series);
            let mut layout = Layout::new(&plan.series, &self.limits);
            let odd = plan.refused.last().map(|odd| Refusal::new(odd.reason, odd.message.clone()));
            layout.refusal = layout.refusal.or(odd);
            let layout = Arc::new(layout);
            let plan = (!plan.is_identity(&series)).then(|| Arc::new(plan));
            Shape { layout, plan, values }
        };
        self.size += shape.layout.size();
        self.known.insert((hash, class), shape.clone());
        if self.known.len() >= self.sweep_at.0 || self.size >= self.sweep_at.1 {
            self.sweep();
        }
        Ok(shape)
    }

    /// Forgets what no server uses. Who names such a layout again has it announced again.
    fn sweep(&mut self) {
        self.known.retain(|_, shape| Arc::strong_count(&shape.layout) > 1);
        let used: HashSet<u128> = self.known.keys().map(|(hash, _)| *hash).collect();
        self.announced.retain(|_, announced| used.contains(&announced.hash));
        self.size = self.known.values().map(|shape| shape.layout.size()).sum();
        self.sweep_at = ((2 * self.known.len()).max(SWEEP_AT.0), (2 * self.size).max(SWEEP_AT.1));
    }
}
