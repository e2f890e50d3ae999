//! What the fetching threads and the processing thread share: partitions, batches that wait, room for more of them.
//!
//! Invariant: a partition's batches are handed out once each and in order, and none of an assignment that is over: what comes
//! from a request is taken only if the assignment and the position that were asked for still hold.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    FetchError, Leader,
    chunk::{Origin, Ready},
    compression::Output,
    connection::ConnectionError,
    state::{Answer, Asked, Part, ROOM, State},
    wire::{Api, Metadata},
};

/// Connections closed without a word in a row after which it is the request that the broker does not know.
const REFUSALS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    room: Condvar,
    leaderless: Condvar,
    stopped: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stopped(&self) -> &AtomicBool {
        &self.stopped
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        let state = self.state();
        self.stopped.store(true, Ordering::Relaxed);
        drop(state);
        self.room.notify_all();
        self.leaderless.notify_all();
    }

    // The processing thread

    pub(super) fn assign(&self, topic: &str, partition: i32, offset: Option<i64>) {
        self.revoke(topic, partition);
        let mut state = self.state();
        state.counter += 1;
        let part = Part {
            generation: state.counter,
            next: offset,
            position: offset.unwrap_or(0),
            leader: None,
            last_stable_offset: None,
            waiting: 0,
            served: 0,
        };
        state.parts.entry(topic.into()).or_default().insert(partition, part);
        self.leaderless.notify_one();
    }

    pub(super) fn revoke(&self, topic: &str, partition: i32) {
        let mut state = self.state();
        let Some(parts) = state.parts.get_mut(topic) else { return };
        if parts.remove(&partition).is_none() {
            return;
        }
        for ready in std::mem::take(&mut state.queue) {
            if &*ready.origin.topic == topic && ready.origin.partition == partition {
                state.release(ready.output);
            } else {
                state.queue.push_back(ready);
            }
        }
        self.room.notify_all();
    }

    /// The next batch, waited for.
    pub(super) fn next(&self, timeout: Duration) -> Result<Option<Ready>, FetchError> {
        let mut state = self.state();
        let mut until = None;
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if let Some(ready) = state.queue.pop_front() {
                return Ok(Some(ready));
            }
            if timeout.is_zero() {
                return Ok(None);
            }
            let now = Instant::now();
            let left = until.get_or_insert(now + timeout).saturating_duration_since(now);
            if left.is_zero() {
                return Ok(None);
            }
            state.reader_waits = true;
            (state, _) = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state.reader_waits = false;
        }
    }

    pub(super) fn is_current(&self, origin: &Origin) -> bool {
        self.state().part(origin).is_some()
    }

    /// A batch that is used up.
    pub(super) fn give_back(&self, ready: Ready) {
        let mut state = self.state();
        let end = ready.end();
        if let Some(part) = state.part(&ready.origin) {
            part.waiting = part.waiting.saturating_sub(1);
            part.position = end;
        }
        state.release(ready.output);
        // not for each batch: whoever waits has some to do then
        if state.room_wanted > 0 && state.bytes <= ROOM / 2 {
            self.room.notify_all();
        }
    }

    pub(super) fn lag(&self) -> i64 {
        self.state().all().map(|(_, _, part)| part.lag()).sum()
    }

    pub(super) fn lag_of(&self, topic: &str, partition: i32) -> i64 {
        self.of(topic, partition, Part::lag)
    }

    pub(super) fn end_of(&self, topic: &str, partition: i32) -> i64 {
        self.of(topic, partition, |part| part.last_stable_offset.unwrap_or(0))
    }

    fn of(&self, topic: &str, partition: i32, what: impl FnOnce(&Part) -> i64) -> i64 {
        self.state().parts.get(topic).and_then(|parts| parts.get(&partition)).map_or(0, what)
    }

    // The threads of the brokers

    /// What to ask a broker for, those that were served longest ago first, and of whose log the beginning; nothing at all:
    /// the broker's thread is to end, and is counted out.
    pub(super) fn asked(&self, broker: i32) -> Option<(Vec<Asked>, Vec<Asked>)> {
        let mut state = self.state();
        let mut found: Vec<(u64, Option<i64>, Asked)> = state
            .all()
            .filter_map(|(topic, partition, part)| {
                let Leader { epoch, .. } = part.leader.filter(|leader| leader.id == broker)?;
                let (topic, generation) = (Arc::clone(topic), part.generation);
                let asked =
                    Asked { topic, partition, generation, epoch, offset: part.next.unwrap_or_default() };
                Some((part.served, part.next, asked))
            })
            .collect();
        if found.is_empty() || self.is_stopped() || state.failure.is_some() {
            state.served.remove(&broker);
            return None;
        }
        found.sort_by_key(|(served, ..)| *served);
        let (known, unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, next, _)| next.is_some());
        let asked =
            |found: Vec<(u64, Option<i64>, Asked)>| found.into_iter().map(|(.., asked)| asked).collect();
        Some((asked(known), asked(unknown)))
    }

    /// Takes the answers for what was asked; whether each still counts.
    pub(super) fn answered<'a>(&self, answers: impl Iterator<Item = (&'a Asked, Answer)>) -> Vec<bool> {
        let mut state = self.state();
        let mut leaderless = false;
        let counts = answers
            .map(|(asked, answer)| {
                state.counter += 1;
                let counter = state.counter;
                let known = !matches!(answer, Answer::Begins(_));
                let Some(part) = state.part(&asked.origin()) else { return false };
                if part.next != known.then_some(asked.offset) && !matches!(answer, Answer::NotHere) {
                    return false;
                }
                match answer {
                    Answer::Read { next, last_stable_offset, batches, any } => {
                        part.next = Some(next);
                        part.last_stable_offset = Some(last_stable_offset);
                        part.waiting += batches;
                        if any {
                            part.served = counter;
                        }
                    }
                    Answer::Begins(offset) => (part.next, part.position) = (Some(offset), offset),
                    Answer::OutOfRange => part.next = None,
                    Answer::NotHere => {
                        part.leader = None;
                        leaderless = true;
                    }
                }
                true
            })
            .collect();
        if leaderless {
            self.leaderless.notify_one();
        }
        counts
    }

    /// A buffer, once there is room for what will be in it; `None` when nobody wants that any more.
    pub(super) fn buffer(&self, origin: &Origin) -> Option<Output> {
        let mut state = self.state();
        if state.bytes >= ROOM {
            state.room_wanted += 1;
            while state.bytes > ROOM / 2 && !self.is_stopped() && state.part(origin).is_some() {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.room_wanted -= 1;
        }
        if self.is_stopped() {
            return None;
        }
        state.part(origin)?;
        Some(state.buffer())
    }

    pub(super) fn hand_over(&self, ready: Ready) {
        let mut state = self.state();
        state.hold(&ready.output);
        if state.part(&ready.origin).is_none() {
            state.release(ready.output);
            return;
        }
        state.queue.push_back(ready);
        if state.reader_waits {
            self.arrived.notify_one();
        }
    }

    /// A broker's thread is gone: somebody else is asked for its partitions.
    pub(super) fn left(&self, broker: i32) {
        let mut state = self.state();
        state.served.remove(&broker);
        for part in state.parts.values_mut().flat_map(BTreeMap::values_mut) {
            part.leader = part.leader.filter(|leader| leader.id != broker);
        }
        self.leaderless.notify_one();
    }

    pub(super) fn fail(&self, failure: FetchError) {
        let mut state = self.state();
        state.failure.get_or_insert(failure);
        self.arrived.notify_one();
    }

    /// Notes whether the broker knows such a request: one that answers it once does.
    pub(super) fn told<T>(&self, api: Api, result: Result<T, ConnectionError>) -> Result<T, ConnectionError> {
        match &result {
            Ok(_) => {
                self.state().refusals.insert(api.name(), 0);
            }
            Err(ConnectionError::Refused) => self.refused(api),
            Err(_) => {}
        }
        result
    }

    /// A connection that ends at its first request: brokers answer so to what they do not know, and when they go away.
    fn refused(&self, api: Api) {
        let mut state = self.state();
        // 0: was answered before
        let count = state.refusals.entry(api.name()).and_modify(|n| *n += u32::from(*n > 0)).or_insert(1);
        let unknown = *count >= REFUSALS;
        drop(state);
        if unknown {
            self.fail(FetchError::Unsupported(api.name()));
        }
    }

    // The thread that finds the leaders

    /// Topics with partitions of which no leader is known, as soon as there are any; `None` at the end.
    pub(super) fn leaderless(&self) -> Option<Vec<Arc<str>>> {
        let mut state = self.state();
        loop {
            if self.is_stopped() || state.failure.is_some() {
                return None;
            }
            let without = |(_, parts): &(&Arc<str>, &BTreeMap<i32, Part>)| {
                parts.values().any(|part| part.leader.is_none())
            };
            let topics: Vec<_> =
                state.parts.iter().filter(without).map(|(topic, _)| Arc::clone(topic)).collect();
            if !topics.is_empty() {
                return Some(topics);
            }
            state = self.leaderless.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Until that long has passed, or all is to end.
    pub(super) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.state();
        while !self.is_stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) = self.leaderless.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sets the leaders of those that have none; the brokers that need a thread now, counted in.
    pub(super) fn lead(&self, metadata: &Metadata) -> Vec<i32> {
        let mut state = self.state();
        let mut wanted = HashSet::new();
        for (topic, partition, leader) in &metadata.leaders {
            if let Some(part) = state.parts.get_mut(topic.as_str()).and_then(|parts| parts.get_mut(partition))
                && part.leader.is_none()
                && metadata.brokers.iter().any(|(id, ..)| *id == leader.id)
            {
                part.leader = Some(*leader);
                wanted.insert(leader.id);
            }
        }
        wanted.into_iter().filter(|id| state.served.insert(*id)).collect()
    }
}
