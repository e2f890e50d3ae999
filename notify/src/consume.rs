//! Consume: one thread for each target, with a consumer group of its own.
//!
//! In: `alerts`. Out: transitions delivered, offsets of what is done with, dead letters of what was refused. Keeps: an
//! offset is committed only when everything before it was taken, refused for good or is no alert; a target that is away
//! holds back its own group and nobody else's.

mod commit;
mod history;
mod read;
mod send;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{Message, consumer::Consumer, message::BorrowedMessage};
use read::Read;
use tidewatch_service_kit::{
    Shutdown,
    health::Component,
    kafka::{Group, GroupChange, KafkaConfig, Original, PlainSender, Start},
    retry,
};
use tokio::runtime::Handle;

use crate::{
    Config,
    deliver::Target,
    error::SessionError,
    ledger::Ledger,
    metrics::{Fate, State},
};

pub(crate) const STAGE: &str = "notify";

const POLL: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);
/// Records read before it is time to send.
const MANY: usize = 500;
/// Transitions in hand from which on no more are read; below half of it reading goes on.
const FULL: usize = 10_000;

/// What a target's thread works with.
pub(crate) struct Notifier {
    pub(crate) config: Config,
    pub(crate) target: Target,
    pub(crate) component: Component,
    pub(crate) shutdown: Shutdown,
    pub(crate) runtime: Handle,
}

impl Notifier {
    /// Memberships, one after the other, until the wish to stop.
    pub(crate) fn run(&self) {
        let mut attempt = 0;
        while !self.shutdown.is_triggered() {
            let begun = Instant::now();
            self.target.metrics().record_session();
            let Err(error) = self.session() else { break };
            if begun.elapsed() > Duration::from_secs(30) {
                attempt = 0;
            }
            let id = self.target.id();
            tracing::warn!(target_id = id, %error, attempt, "session ended, go on from the last commit");
            self.component.waiting(error.to_string());
            let until = Instant::now() + retry::pause(attempt);
            while Instant::now() < until && !self.shutdown.is_triggered() {
                std::thread::sleep(POLL);
            }
            attempt += 1;
        }
    }

    fn session(&self) -> Result<(), SessionError> {
        let kafka = &self.config.kafka;
        let topic = kafka.topics().alerts();
        let name = kafka.group(&format!("{STAGE}.{}", self.target.id()));
        let group = Group::join(kafka, &name, &[&topic], |_: &mut [Start]| Ok(()))
            .map_err(SessionError::kafka("join group"))?;
        self.component.waiting("an assignment of partitions");
        let mut session = Session::new(self, topic);
        loop {
            session.read(&group)?;
            session.tick(&group)?;
            session.round();
            session.commit(&group)?;
            if self.shutdown.is_triggered() {
                return Ok(());
            }
        }
    }
}

struct Session<'a> {
    notifier: &'a Notifier,
    topic: String,
    ledgers: BTreeMap<i32, Ledger>,
    paused: bool,
    ticked: Instant,
    /// When the target has to be told again of what stands.
    repeat_at: Instant,
    /// No request before.
    rest_until: Instant,
    /// Transitions taken in this session.
    taken: u64,
    /// Whether it was said that the target takes nothing.
    is_away: bool,
    /// Whether it was said that the target refuses.
    refuses: bool,
    /// Dead letters to be written before the next commit.
    letters: Vec<Original>,
    sender: Option<PlainSender>,
    /// Since when commits fail, and whether that was said.
    failing: Option<(Instant, bool)>,
    /// No commit before.
    commit_at: Instant,
}

impl<'a> Session<'a> {
    fn new(notifier: &'a Notifier, topic: String) -> Self {
        let now = Instant::now();
        Self {
            notifier,
            topic,
            ledgers: BTreeMap::new(),
            paused: false,
            ticked: now,
            repeat_at: now,
            rest_until: now,
            taken: 0,
            is_away: false,
            refuses: false,
            letters: Vec::new(),
            sender: None,
            failing: None,
            commit_at: now,
        }
    }

    fn kafka(&self) -> &'a KafkaConfig {
        &self.notifier.config.kafka
    }

    /// What is there, so that a round has all of it to choose from.
    fn read(&mut self, group: &Group) -> Result<(), SessionError> {
        let mut wait = POLL;
        for _ in 0..MANY {
            let polled = group.poll(wait).map_err(SessionError::kafka("poll"))?;
            for change in polled.changes {
                self.change(change)?;
            }
            let Some(message) = polled.message else { break };
            self.take(&message);
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn change(&mut self, change: GroupChange) -> Result<(), SessionError> {
        let Notifier { config, target, component, .. } = self.notifier;
        match change {
            GroupChange::Assigned(starts) => {
                let mut said = history::read(&config.kafka, target.id(), &starts, target.forgets())?;
                for start in &starts {
                    let committed = start.committed.as_ref().map(|(offset, _)| *offset);
                    let history = said.remove(&start.partition).unwrap_or_default();
                    self.ledgers.insert(start.partition, Ledger::new(history, committed, config.stale_after));
                }
                tracing::info!(target_id = target.id(), partitions = starts.len(), "partitions assigned");
                (self.paused, self.repeat_at) = (false, Instant::now());
                component.ready();
            }
            // what was not committed is read again by the next owner
            GroupChange::Revoked(gone) => {
                tracing::info!(target_id = target.id(), partitions = gone.len(), "partitions revoked");
                for (_, partition) in gone {
                    self.ledgers.remove(&partition);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let Some(ledger) = self.ledgers.get_mut(&message.partition()) else { return };
        match read::read(message) {
            Read::Transition(transition) => {
                if !ledger.take(*transition) {
                    self.notifier.target.metrics().record_fate(Fate::Repeated, 1);
                }
            }
            Read::Nothing => ledger.pass(message.offset()),
            Read::Bad(reason, words) => {
                ledger.pass(message.offset());
                let key = message.key().map(<[u8]>::to_vec);
                let payload = message.payload().unwrap_or_default().to_vec();
                self.bury((message.partition(), message.offset()), key, payload, reason, &words);
            }
        }
    }

    /// What is too old, always; once a second what has to be told again, and the figures.
    fn tick(&mut self, group: &Group) -> Result<(), SessionError> {
        let (now, target) = (now_ms(), &self.notifier.target);
        let stale: usize = self.ledgers.values_mut().map(|ledger| ledger.leave_out_stale(now)).sum();
        if stale > 0 {
            tracing::info!(
                target_id = target.id(),
                transitions = stale,
                "left out: old, and resolved meanwhile"
            );
            target.metrics().record_fate(Fate::Stale, stale);
        }
        if self.ticked.elapsed() < TICK {
            return Ok(());
        }
        self.ticked = Instant::now();
        if let Some(sender) = &self.sender {
            sender.serve();
        }
        self.repeat(now);
        self.hold_or_go_on(group)?;
        let mut state = State { partitions: self.ledgers.len(), lag: group.lag(), ..State::default() };
        for ledger in self.ledgers.values() {
            state.pending += ledger.pending_len();
            state.standing += if target.forgets() { ledger.standing_len() } else { 0 };
            let age = ledger.oldest().map_or(0, |stamp| now - stamp);
            state.oldest_ms = state.oldest_ms.max(age);
        }
        target.metrics().record_state(state);
        Ok(())
    }

    /// A target that is away for long must not fill the memory: the topic keeps the rest.
    fn hold_or_go_on(&mut self, group: &Group) -> Result<(), SessionError> {
        let pending: usize = self.ledgers.values().map(Ledger::pending_len).sum();
        let consumer = group.consumer();
        let failed = SessionError::kafka("hold partitions");
        if !self.paused && pending >= FULL {
            consumer.assignment().and_then(|all| consumer.pause(&all)).map_err(failed)?;
            self.paused = true;
        } else if self.paused && pending < FULL / 2 {
            consumer.assignment().and_then(|all| consumer.resume(&all)).map_err(failed)?;
            self.paused = false;
        }
        Ok(())
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
