//! The pure core for one partition: records of `metrics.10s` and the time come in as arguments, anomalies, alerts and
//! expected bands go out as values. No Kafka, no clock, no tokio.
//!
//! A new owner takes its servers from their snapshots, replays silently what those do not contain, and then learns from the
//! alert topic what was really said ([`Analysis::go_live`]). Invariants: nothing goes out before that; a transition is said once; what
//! goes out is a function of the records, of what was said, of where in the log the rules changed, of what people called a
//! false alarm, and (for silence alone) of the time.

mod foresee;
mod names;
mod open;
mod said;
mod server;
mod voice;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use names::Names;
pub(crate) use open::HELD_MS;
use open::Open;
use said::Memory;
pub use said::Said;
use server::{Remembered, Server};
use tidewatch_schemas::{AggregateFrame, AggregateKind, Alert, Anomaly, Expectation};
use voice::Voice;

use crate::{feedback::Verdicts, rules::RuleSet};

/// A server that is silent for so long, with nothing open, is forgotten.
const FORGET_SERVER_MS: i64 = 24 * 3_600_000;
/// Ticks come every second. A longer pause means that we were not looking: a suspended machine, a stuck thread.
const LOOKED_AWAY_MS: i64 = 10_000;

/// What a record or a tick leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Anomaly(Box<Anomaly>),
    /// An alert that begins or ends.
    Alert(Box<Alert>),
    /// One that fires and is said again since more has come, and how often it was.
    Again(Box<Alert>, u32),
    /// One that has to wait, for too many begin at once; counted, and said when there is room.
    HeldBack,
    Expectation(Box<Expectation>),
}

/// How well the partition's end is seen right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Everything there is has been read.
    Clear,
    /// There is more to read: silence can't be told yet.
    Behind,
    /// Kafka is away: silence of that time says nothing about servers.
    Blind,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// A delta, or a window that is not newer than the last one of its server.
    Ignored,
    /// So many values were judged.
    Judged(usize),
}

/// Sizes, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub servers: usize,
    pub series: usize,
    pub open_alerts: usize,
    /// What people said of alerts and what is in force.
    pub verdicts: usize,
    pub bytes: usize,
    /// End of the newest window, milliseconds since 1970.
    pub newest: i64,
}

/// A server that was kept, read back.
#[derive(Debug)]
pub struct Kept(Remembered);

impl Kept {
    /// `None` when the bytes are no server of this version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Remembered::read(bytes).map(Self)
    }
}

/// All servers of one partition.
#[derive(Debug)]
pub struct Analysis {
    rules: Arc<RuleSet>,
    servers: BTreeMap<String, Server>,
    names: Names,
    /// Of servers that have not been seen yet.
    memory: BTreeMap<String, Memory>,
    verdicts: Arc<Verdicts>,
    voice: Voice,
    live: bool,
    /// Whether the replay has everything of the servers that begin in it.
    replays_all: bool,
    /// Since when the records of this partition's servers are known without a break.
    seen_since: Option<i64>,
    last_tick: Option<i64>,
}

impl Analysis {
    /// Silent until [`Self::go_live`].
    pub fn new(rules: Arc<RuleSet>) -> Self {
        Self {
            rules,
            servers: BTreeMap::new(),
            names: Names::default(),
            memory: BTreeMap::new(),
            verdicts: Arc::default(),
            voice: Voice::default(),
            live: false,
            replays_all: false,
            seen_since: None,
            last_tick: None,
        }
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Before the replay: when alerts began, so that the replay finds again which of them flapped.
    pub fn recall(&mut self, log: &Said) {
        self.memory = log.memory();
    }

    /// Before the replay: it begins where nobody needs anything from before.
    pub(crate) fn replay_all(&mut self) {
        self.replays_all = true;
    }

    /// Before the replay, after [`Self::recall`]: a server as it was kept.
    pub fn restore(&mut self, name: &str, kept: Kept) {
        let memory = self.memory.remove(name).unwrap_or_default();
        self.servers.insert(name.to_owned(), kept.0.under(&self.rules, &mut self.names, name, memory));
    }

    /// A server's whole state; what it is remembered for stands in the alert topic.
    pub fn keep(&self, name: &str) -> Option<Vec<u8>> {
        self.servers.get(name).map(|server| server.keep(&self.rules))
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.servers.contains_key(name)
    }

    /// The replay is through: from here on what is found is said. `log` is what was said.
    pub fn go_live(&mut self, log: Said) {
        self.voice.budget = log.budget().clone();
        let (mut open, mut memory) = log.by_server();
        for name in open.keys() {
            self.server(name);
        }
        for (name, server) in &mut self.servers {
            let said = open.remove(name).unwrap_or_default();
            server.reconcile(&self.rules, name, said, memory.remove(name).unwrap_or_default());
        }
        self.memory = memory;
        self.live = true;
    }

    /// From the next record on these rules hold. What a rule that is still the same has begun goes on; open alerts of a
    /// rule that is another now go on until it says otherwise; those of a rule that is gone end with the next window.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        let kept = rules.kept_from(&self.rules);
        for (name, server) in &mut self.servers {
            server.set_rules(&rules, &kept, name);
        }
        self.rules = rules;
    }

    /// All that people said of alerts. Each of them says from which window on it is in force, so it does not matter where in
    /// the log it is heard, as long as that is before.
    pub fn set_verdicts(&mut self, verdicts: Arc<Verdicts>) {
        for (name, server) in &mut self.servers {
            server.set_bars(verdicts.bars_of(name));
        }
        self.verdicts = verdicts;
    }

    fn server(&mut self, name: &str) -> &mut Server {
        let (rules, memory, verdicts) = (&self.rules, &mut self.memory, &self.verdicts);
        let follows = self.replays_all && !self.live;
        self.servers.entry(name.to_owned()).or_insert_with(|| {
            let mut server = Server::new(rules, name, memory.remove(name).unwrap_or_default());
            server.set_bars(verdicts.bars_of(name));
            if follows {
                server.follow_topic();
            }
            server
        })
    }

    /// Takes one record of `metrics.10s`; `stamp` is the record's own time, not the window's.
    pub fn step(&mut self, frame: &AggregateFrame, stamp: i64, out: &mut Vec<Output>) -> Taken {
        if frame.kind == AggregateKind::Delta {
            return Taken::Ignored;
        }
        let rules = Arc::clone(&self.rules);
        let (mut names, mut voice) = (std::mem::take(&mut self.names), std::mem::take(&mut self.voice));
        let taken = self.server(&frame.server).step(&rules, &mut names, frame, stamp, &mut voice);
        self.names = names;
        if self.live {
            out.append(&mut voice.said);
        }
        voice.said.clear();
        self.voice = voice;
        taken
    }

    /// Whether a server has been silent for long enough to say so: ask before a tick whether the end is seen.
    pub fn is_silence_due(&self, now: i64) -> bool {
        let Some(since) = self.seen_since.filter(|_| self.live) else { return false };
        self.servers.iter().any(|(name, server)| server.is_silence_due(&self.rules, name, since, now))
    }

    /// Once a second, with the wall clock. `flow_since`: since when records have come without a break, of whichever
    /// server, as their stamps say; what we missed of that time ourselves was read later and is no gap in what we know.
    pub fn tick(&mut self, now: i64, sight: Sight, flow_since: Option<i64>, out: &mut Vec<Output>) {
        let looked_away = self.last_tick.replace(now).is_none_or(|last| (now - last).abs() > LOOKED_AWAY_MS);
        if !self.live || sight == Sight::Blind {
            self.seen_since = None;
            return;
        }
        if looked_away || self.seen_since.is_none() {
            self.seen_since = Some(flow_since.map_or(now, |since| since.min(now)));
        }
        let Some(since) = self.seen_since.filter(|_| sight == Sight::Clear) else { return };
        for (name, server) in &mut self.servers {
            server.tick(&self.rules, name, since, now, &mut self.voice);
        }
        out.append(&mut self.voice.said);
        let memory = &mut self.memory;
        self.servers.retain(|name, server| {
            let is_wanted = server.is_wanted(now - FORGET_SERVER_MS);
            if !is_wanted {
                memory.insert(name.clone(), server.memory().clone());
            }
            is_wanted
        });
    }

    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes { servers: self.servers.len(), ..Sizes::default() };
        for (name, server) in &self.servers {
            server.add_to(&mut sizes);
            sizes.bytes += name.len();
        }
        sizes.bytes += self.names.bytes();
        sizes
    }

    /// Open alerts by rule: silence, learned and thresholds alike.
    pub fn open_rules(&self) -> impl Iterator<Item = &str> {
        self.servers.values().flat_map(Server::open_rules)
    }
}

#[cfg(test)]
mod tests;
