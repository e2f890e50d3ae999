//! The thread that owns the partitions: poll, step, tick, and once a second a commit.
//!
//! A session is one membership with one producer. After any error both are dropped and a new session restores: servers from
//! their snapshots and a silent replay of what these do not contain, open alerts from the alert topic, the rest from the
//! committed offset. Nothing is kept across sessions.
//! What people called a false alarm is read before the first window, and before every window that it may be about.

mod flow;
mod listen;
mod partition;
mod restore;
mod states;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use flow::Flow;
use listen::Listener;
use partition::Partition;
use rdkafka::{Message, consumer::Consumer, message::BorrowedMessage};
use states::Findings;
use tidewatch_service_kit::{
    Shutdown,
    health::Component,
    kafka::{self, Group, GroupChange, Start},
    retry,
};

use crate::{
    Config,
    analysis::{Sight, Sizes},
    error::SessionError,
    metrics::AnalyzerMetrics,
    publish::{Cut, Publisher},
    rulebook::{Change, Rulebook},
};

pub(crate) const STAGE: &str = "analyzer";
/// The tier that is analysed.
pub(crate) const WINDOW_MS: i64 = 10_000;

const POLL: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);
/// How often Kafka is asked whether it is there.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// An alert is committed at once, but not more often than this.
const ALERT_PACE: Duration = Duration::from_millis(100);
/// Outputs waiting for a commit after which it does not wait for its time.
const MAX_PENDING: usize = 20_000;
/// Snapshots in a commit: not more than this, and one server's more. Far less than what a transaction's time allows.
const SNAPSHOT_BYTES: usize = 8 << 20;

/// What every part of a session needs.
pub(crate) struct Setup<'a> {
    pub(crate) config: &'a Config,
    pub(crate) metrics: &'a AnalyzerMetrics,
}

/// Sessions, one after the other, until the wish to stop.
pub(crate) fn run(
    config: &Config,
    mut rulebook: Rulebook,
    metrics: &AnalyzerMetrics,
    component: &Component,
    shutdown: &Shutdown,
) {
    let setup = Setup { config, metrics };
    metrics.record_rules(rulebook.rules().rules.len());
    let mut attempt = 0;
    while !shutdown.is_triggered() {
        let begun = Instant::now();
        metrics.record_session();
        let Err(error) = session(&setup, &mut rulebook, component, shutdown) else { break };
        if begun.elapsed() > Duration::from_secs(30) {
            attempt = 0;
        }
        tracing::warn!(%error, attempt, "session ended, restore from the last commit");
        component.waiting(error.to_string());
        let until = Instant::now() + retry::pause(attempt);
        while Instant::now() < until && !shutdown.is_triggered() {
            std::thread::sleep(POLL);
        }
        attempt += 1;
    }
}

fn session(
    setup: &Setup<'_>,
    rulebook: &mut Rulebook,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), SessionError> {
    let kafka = &setup.config.kafka;
    let instance = setup.config.instance();
    let publisher = Publisher::open(kafka, &instance, setup.config.alerts_format)?;
    let listener = Listener::open(kafka)?;
    let replay_ms = Arc::new(AtomicI64::new(setup.config.replay_ms(rulebook.rules())));
    let findings = Findings::default();
    let starter = restore::starter(kafka, Arc::clone(&replay_ms), findings.clone());
    let topic = kafka.topics().window(WINDOW_MS);
    let group = Group::join_as(kafka, &kafka.group(STAGE), &instance, &[&topic], starter)
        .map_err(SessionError::kafka("join group"))?;
    component.waiting("an assignment of partitions");
    let mut session = Session {
        setup,
        rulebook,
        replay_ms,
        findings,
        topic,
        dead_letters: kafka.topics().dead_letter(STAGE),
        partitions: BTreeMap::new(),
        sees_kafka: true,
        flow: Flow::default(),
        listener,
    };
    let (mut committed, mut ticked, mut looked) = (Instant::now(), Instant::now(), Instant::now());
    loop {
        let polled = group.poll(POLL).map_err(SessionError::kafka("poll"))?;
        for change in polled.changes {
            session.change(&group, change)?;
        }
        match polled.message {
            Some(message) => {
                session.be_told()?;
                session.take(&message);
            }
            None => setup.metrics.record_idle(),
        }
        if looked.elapsed() >= LOOK {
            session.look(&group);
            looked = Instant::now();
        }
        if ticked.elapsed() >= TICK {
            session.look_at_rules();
            session.listen();
            session.tick(&group);
            session.tell(&group, component);
            publisher.serve();
            ticked = Instant::now();
        }
        let stop = shutdown.is_triggered();
        let due = if session.has_alert() { ALERT_PACE } else { setup.config.commit_interval };
        if stop || committed.elapsed() >= due || session.pending() >= MAX_PENDING {
            session.commit(&group, &publisher)?;
            committed = Instant::now();
        }
        if stop {
            return Ok(());
        }
    }
}

struct Session<'a> {
    setup: &'a Setup<'a>,
    rulebook: &'a mut Rulebook,
    /// What the next assignment replays: longer when the rules wait longer.
    replay_ms: Arc<AtomicI64>,
    /// What the last assignment found in `analyzer.state`.
    findings: Findings,
    topic: String,
    dead_letters: String,
    partitions: BTreeMap<i32, Partition>,
    sees_kafka: bool,
    flow: Flow,
    /// `None`: nobody can say anything.
    listener: Option<Listener>,
}

impl Session<'_> {
    fn change(&mut self, group: &Group, change: GroupChange) -> Result<(), SessionError> {
        match change {
            GroupChange::Assigned(starts) => self.assigned(group, &starts),
            // what was not committed is not lost: the next owner computes it again
            GroupChange::Revoked(gone) => {
                for (_, partition) in gone {
                    tracing::info!(partition, "partition revoked");
                    self.partitions.remove(&partition);
                }
                Ok(())
            }
        }
    }

    fn assigned(&mut self, group: &Group, starts: &[Start]) -> Result<(), SessionError> {
        let numbers: Vec<i32> = starts.iter().map(|start| start.partition).collect();
        let mut said = restore::read_alerts(&self.setup.config.kafka, &numbers)?;
        for start in starts {
            let log = said.remove(&start.partition).unwrap_or_default();
            let high_water = match &start.committed {
                Some((offset, _)) => Some(*offset),
                None if log.is_empty() => None,
                // alerts, but no offset: it was lost, and what is there was said before
                None => {
                    let marks = kafka::watermarks(group.consumer(), &self.topic, start.partition);
                    Some(marks.map_err(SessionError::kafka("read watermarks"))?.1)
                }
            };
            let found = self.findings.take(start.partition);
            found.tell(start.partition, self.setup.metrics);
            let restored = found.servers.len();
            let snapshot_every = self.setup.config.snapshot_every;
            let mut partition =
                Partition::new(self.rulebook.rules(), start, high_water, log, found, snapshot_every);
            if let Some(listener) = &self.listener {
                partition.set_verdicts(listener.verdicts());
            }
            tracing::info!(
                partition = start.partition,
                from = start.offset,
                high_water,
                restored,
                live = partition.is_live(),
                "partition assigned"
            );
            self.partitions.insert(start.partition, partition);
        }
        Ok(())
    }

    /// Before a window: what people said that may be about it. It waits for that only when Kafka did not answer for a while.
    fn be_told(&mut self) -> Result<(), SessionError> {
        let now = now_ms();
        if let Some(listener) = &mut self.listener
            && listener.is_stale(now)
            && listener.catch_up(now)?
        {
            self.spread();
        }
        Ok(())
    }

    /// What people said since the last tick.
    fn listen(&mut self) {
        if self.listener.as_mut().is_some_and(Listener::listen) {
            self.spread();
        }
    }

    fn spread(&mut self) {
        let Some(listener) = &self.listener else { return };
        for partition in self.partitions.values_mut() {
            partition.set_verdicts(listener.verdicts());
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        if let Some(stamp) = message.timestamp().to_millis() {
            self.flow.beat(stamp);
        }
        if let Some(partition) = self.partitions.get_mut(&message.partition()) {
            partition.take(message, now_ms(), self.setup.metrics, &self.dead_letters);
        }
    }

    /// Whether Kafka answers; silence while it does not says nothing about servers.
    fn look(&mut self, group: &Group) {
        let Some(&number) = self.partitions.keys().next() else { return };
        let sees = group.consumer().fetch_watermarks(&self.topic, number, LOOK_TIMEOUT).is_ok();
        if sees != self.sees_kafka {
            tracing::info!(answers = sees, "kafka");
        }
        self.sees_kafka = sees;
        if let Some(listener) = &mut self.listener
            && sees
        {
            listener.look(now_ms());
        }
    }

    /// Where other rules take effect is a place in each partition's log: after the last record read, before the next.
    fn look_at_rules(&mut self) {
        match self.rulebook.look(Instant::now()) {
            None => {}
            Some(Change::Refused(why)) => {
                tracing::error!(error = %why, "keep the rules as they were");
                self.setup.metrics.record_rules_refused();
            }
            Some(Change::Taken) => {
                let rules = self.rulebook.rules();
                tracing::info!(rules = rules.rules.len(), "rules changed");
                self.setup.metrics.record_rules_taken(rules.rules.len());
                self.replay_ms.store(self.setup.config.replay_ms(rules), Ordering::Relaxed);
                for (&number, partition) in &mut self.partitions {
                    partition.set_rules(number, rules);
                }
            }
        }
    }

    fn tick(&mut self, group: &Group) {
        let positions = group.consumer().position().ok();
        let flow_since = self.flow.since(now_ms());
        for (&number, partition) in &mut self.partitions {
            let position = positions
                .as_ref()
                .and_then(|list| list.find_partition(&self.topic, number)?.offset().to_raw())
                .filter(|offset| *offset >= 0);
            partition.arrived_at(position);
            let now = now_ms();
            let mut sight = if self.sees_kafka { Sight::Clear } else { Sight::Blind };
            if self.sees_kafka && partition.is_silence_due(now) {
                // about to accuse somebody: make sure that nothing is left to read
                let marks = group.consumer().fetch_watermarks(&self.topic, number, LOOK_TIMEOUT);
                sight = match marks {
                    Ok((_, high)) if position.is_some_and(|position| position >= high) || high == 0 => {
                        Sight::Clear
                    }
                    Ok(_) => Sight::Behind,
                    Err(_) => Sight::Blind,
                };
            }
            partition.tick(now, sight, flow_since);
        }
    }

    fn pending(&self) -> usize {
        self.partitions.values().map(Partition::pending).sum()
    }

    fn has_alert(&self) -> bool {
        self.partitions.values().any(Partition::has_alert)
    }

    fn commit(&mut self, group: &Group, publisher: &Publisher) -> Result<(), SessionError> {
        let mut room = SNAPSHOT_BYTES;
        let mut cuts: Vec<Cut> = Vec::new();
        for (&number, partition) in &mut self.partitions {
            cuts.extend(partition.cut(number, &mut room)?);
        }
        if cuts.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        publisher.commit(group, &cuts)?;
        let outputs = cuts.iter().flat_map(|cut| &cut.outputs);
        self.setup.metrics.record_commit(begun.elapsed().as_secs_f64(), outputs);
        for cut in &cuts {
            self.setup.metrics.record_snapshots(cut.snapshots);
        }
        Ok(())
    }

    fn tell(&self, group: &Group, component: &Component) {
        let replaying = self.partitions.values().filter(|partition| !partition.is_live()).count();
        if !self.partitions.is_empty() {
            if replaying == 0 {
                component.ready();
            } else {
                component.waiting(format!("the replay of {replaying} partitions"));
            }
        }
        let mut all = Sizes::default();
        for sizes in self.partitions.values().map(Partition::sizes) {
            all.servers += sizes.servers;
            all.series += sizes.series;
            all.open_alerts += sizes.open_alerts;
            all.verdicts += sizes.verdicts;
            all.bytes += sizes.bytes;
        }
        self.setup.metrics.record_state(self.partitions.len(), all, group.lag());
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
