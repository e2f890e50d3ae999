//! The pure core for one partition: records of `metrics.10s` and the time come in as arguments, anomalies, alerts and
//! expected bands go out as values. No Kafka, no clock, no tokio.
//!
//! A new owner replays the last hours silently (models, conditions being watched) and then learns from the alert topic
//! what was really said ([`Analysis::go_live`]). Invariants: nothing goes out before that; a transition is said once; what
//! goes out is a function of the records, of what was said, of where in the log the rules changed, and (for silence alone)
//! of the time.

mod foresee;
mod server;
mod watch;

use std::{collections::BTreeMap, sync::Arc};

use server::Server;
use tidewatch_schemas::{AggregateFrame, AggregateKind, Alert, AlertStatus, Anomaly, Expectation, Series};

use crate::{
    incident::{self, Over},
    rules::{LEARNED, Rule, RuleSet},
};

/// A server that is silent for so long, with nothing open, is forgotten.
const FORGET_SERVER_MS: i64 = 24 * 3_600_000;
/// Ticks come every second. A longer pause means that we were not looking: a suspended machine, a stuck thread.
const LOOKED_AWAY_MS: i64 = 10_000;

/// What a record or a tick leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Anomaly(Box<Anomaly>),
    Alert(Box<Alert>),
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
    pub bytes: usize,
    /// End of the newest window, milliseconds since 1970.
    pub newest: i64,
}

/// All servers of one partition.
#[derive(Debug)]
pub struct Analysis {
    rules: Arc<RuleSet>,
    servers: BTreeMap<String, Server>,
    live: bool,
    /// Since when the records of this partition's servers are known without a break.
    seen_since: Option<i64>,
    last_tick: Option<i64>,
}

/// What the alert topic says is open; takes its records in order.
#[derive(Debug, Clone, Default)]
pub struct Said {
    open: BTreeMap<String, Alert>,
    anything: bool,
}

impl Said {
    pub fn add(&mut self, alert: Alert) {
        self.anything = true;
        match alert.status {
            AlertStatus::Firing => self.open.insert(alert.alert_id.clone(), alert),
            AlertStatus::Resolved => self.open.remove(&alert.alert_id),
        };
    }

    /// Whether there was any record at all.
    pub fn is_empty(&self) -> bool {
        !self.anything
    }
}

impl Analysis {
    /// Silent until [`Self::go_live`].
    pub fn new(rules: Arc<RuleSet>) -> Self {
        Self { rules, servers: BTreeMap::new(), live: false, seen_since: None, last_tick: None }
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    /// The replay is through: from here on what is found is said. `log` is what was said.
    pub fn go_live(&mut self, log: Said) {
        let mut said: BTreeMap<String, Vec<Alert>> = BTreeMap::new();
        for alert in log.open.into_values() {
            said.entry(alert.server.clone()).or_default().push(alert);
        }
        for name in said.keys() {
            self.server(name);
        }
        for (name, server) in &mut self.servers {
            server.reconcile(&self.rules, name, said.remove(name).unwrap_or_default());
        }
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

    fn server(&mut self, name: &str) -> &mut Server {
        self.servers.entry(name.to_owned()).or_insert_with(|| Server::new(&self.rules, name))
    }

    /// Takes one record of `metrics.10s`; `stamp` is the record's own time, not the window's.
    pub fn step(&mut self, frame: &AggregateFrame, stamp: i64, out: &mut Vec<Output>) -> Taken {
        if frame.kind == AggregateKind::Delta {
            return Taken::Ignored;
        }
        let said = out.len();
        let rules = Arc::clone(&self.rules);
        let taken = self.server(&frame.server).step(&rules, frame, stamp, out);
        if !self.live {
            out.truncate(said);
        }
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
            server.tick(&self.rules, name, since, now, out);
        }
        self.servers.retain(|_, server| server.is_wanted(now - FORGET_SERVER_MS));
    }

    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes { servers: self.servers.len(), ..Sizes::default() };
        for (name, server) in &self.servers {
            server.add_to(&mut sizes);
            sizes.bytes += name.len();
        }
        sizes
    }

    /// Open alerts by rule: silence, learned and thresholds alike.
    pub fn open_rules(&self) -> impl Iterator<Item = &str> {
        self.servers.values().flat_map(Server::open_rules)
    }
}

/// The alerts of one server that were said and are not over, by fingerprint.
#[derive(Debug, Default)]
struct Open {
    alerts: BTreeMap<String, Alert>,
}

impl Open {
    /// An alert that begins; it joins the incident of the alert that has been open for longest.
    fn fire(&mut self, mut alert: Alert, out: &mut Vec<Output>) {
        let eldest = self.alerts.values().min_by_key(|open| (open.starts_at, &open.alert_id));
        if let Some(eldest) = eldest {
            alert.incident_id.clone_from(&eldest.incident_id);
        }
        out.push(Output::Alert(Box::new(alert.clone())));
        self.alerts.insert(alert.fingerprint.clone(), alert);
    }

    fn resolve(&mut self, fingerprint: &str, ends_at: i64, now: i64, over: Over<'_>, out: &mut Vec<Output>) {
        if let Some(alert) = self.alerts.remove(fingerprint) {
            out.push(Output::Alert(Box::new(incident::resolved(&alert, ends_at, now, over))));
        }
    }

    fn start_of(&self, fingerprint: &str) -> Option<i64> {
        self.alerts.get(fingerprint).map(|alert| alert.starts_at)
    }

    /// When the open alert of a rule about a series began, if there is one.
    fn said_of(&self, rule: &Rule, server: &str, series: &Series) -> Option<i64> {
        if self.alerts.is_empty() {
            return None;
        }
        self.start_of(&incident::series_fingerprint(rule, server, &series.metric, &series.labels))
    }

    /// Alerts that no rule is about any more.
    fn without_rule(&self, rules: &RuleSet, server: &str) -> Vec<String> {
        let has_rule = |alert: &Alert| {
            alert.rule == LEARNED
                || rules.by_name(&alert.rule).is_some_and(|rule| watch::covers(rule, server, alert))
        };
        let gone = self.alerts.values().filter(|alert| !has_rule(alert));
        gone.map(|alert| alert.fingerprint.clone()).collect()
    }
}

#[cfg(test)]
mod tests;
