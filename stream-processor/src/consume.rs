//! The thread that owns the partitions: fetch, step, and twice a second a cut for the committing thread.
//!
//! A session is one membership with one producer. After any error both are dropped and a new session restores from what
//! is committed: an unclear commit is cleared by reading whether it took. Nothing is kept across sessions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::consumer::Consumer as _;
use tidewatch_schemas::{Reason, Topics};
use tidewatch_service_kit::{
    Shutdown,
    health::Component,
    kafka::{
        self, Group, GroupChange, Original, Received, Start, dead_letter_headers,
        fetch::{FetchError, Item},
    },
    retry,
};

use crate::{
    Config, Consumer, Error,
    commit::Committed,
    committer::{self, Committer, Flight},
    emit::{Batch, Emitter},
    error::SessionError,
    layout::Refusal,
    metrics::{ProcessorMetrics, Tally},
    tick::{Ticker, tick_headers},
    window::{Record, Verdict},
};

mod announced;
mod decode;
pub(crate) mod filters;
mod inputs;
mod partition;
mod round;
mod set_aside;

use announced::Announcements;
use decode::Decoded;
use filters::Filters;
use inputs::Inputs;
pub(crate) use partition::Partition;
use round::Source;

pub(crate) const STAGE: &str = "stream-processor";

const POLL: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);
/// Between ticks of a topic that others read too.
const ROLLUP_TICK: Duration = Duration::from_secs(30);
/// Bytes waiting for a commit after which it does not wait for its time.
const MAX_PENDING: usize = 16 << 20;

/// Sessions, one after the other, until the wish to stop.
pub(crate) fn run(
    config: &Config,
    instance: &str,
    metrics: &ProcessorMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let (mut attempt, mut consumer) = (0, config.consumer);
    while !shutdown.is_triggered() {
        let begun = Instant::now();
        metrics.record_session();
        match session(config, instance, consumer, metrics, component, shutdown) {
            Ok(()) => break,
            Err(SessionError::Fatal(error)) => return Err(error),
            Err(SessionError::Fetch(error @ FetchError::Unsupported(_))) => {
                tracing::warn!(%error, "leave the fetching to librdkafka from now on");
                consumer = Consumer::Librdkafka;
            }
            Err(error) => {
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
    }
    Ok(())
}

fn session(
    config: &Config,
    instance: &str,
    consumer: Consumer,
    metrics: &ProcessorMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), SessionError> {
    let emitter = Emitter::open(&config.kafka, instance, config.delivery)?;
    let ticker = Ticker::new(&config.kafka).map_err(SessionError::kafka("create tick producer"))?;
    let filters = Filters::open(config.window_filters.clone(), &config.kafka)?;
    let inputs = Inputs::new(config, filters.current());
    let mut source = Source::open(config, consumer)?;
    let flight = Arc::new(Flight::default());
    let waiting = Arc::clone(&flight);
    let group = Group::join_waiting(
        &config.kafka,
        &config.kafka.group(STAGE),
        instance,
        &inputs.topics(),
        source.fetching(),
        |starts| {
            starts.iter_mut().for_each(start_at_low_water);
            Ok(())
        },
        move || waiting.wait(),
    )
    .map_err(SessionError::kafka("join group"))?;
    component.waiting("an assignment of partitions");
    let (committer, receiver) = Committer::new(&flight);
    std::thread::scope(|scope| {
        // dropped at the end of this: the thread ends with it
        let committer = committer;
        let thread = std::thread::Builder::new().name("committer".into());
        let group = &group;
        thread
            .spawn_scoped(scope, move || committer::serve(emitter, group, &receiver, &flight, metrics))
            .map_err(|error| SessionError::Fatal(Error::Thread(error)))?;
        let mut session = Session::new(config, metrics, inputs, filters);
        session.go(group, &mut source, &committer, &ticker, component, shutdown)
    })
}

/// Where a partition has to be read from: its low water.
fn start_at_low_water(start: &mut Start) {
    if let Some((offset, metadata)) = &start.committed
        && let Ok(committed) = Committed::parse(*offset, metadata)
    {
        start.offset = Some(committed.low_water);
    }
}

struct Session<'a> {
    config: &'a Config,
    metrics: &'a ProcessorMetrics,
    topics: Topics,
    inputs: Inputs,
    filters: Filters,
    announcements: Announcements<'a>,
    /// By input and partition.
    partitions: Vec<Vec<Option<Partition>>>,
    /// Late and refused records since the last commit, and ticks, by the input they belong to.
    originals: Vec<(usize, Original)>,
    originals_size: usize,
    tally: Tally,
    /// Where a frame that is not in Avro is put.
    scratch: Vec<u8>,
    /// The clock, as of this round.
    now: Instant,
}

impl<'a> Session<'a> {
    fn new(config: &'a Config, metrics: &'a ProcessorMetrics, inputs: Inputs, filters: Filters) -> Self {
        Self {
            filters,
            announcements: Announcements::new(&config.kafka, metrics),
            config,
            metrics,
            topics: config.kafka.topics(),
            partitions: inputs.iter().map(|_| Vec::new()).collect(),
            inputs,
            originals: Vec::new(),
            originals_size: 0,
            tally: Tally::default(),
            scratch: Vec::new(),
            now: Instant::now(),
        }
    }

    fn go(
        &mut self,
        group: &Group,
        source: &mut Source,
        committer: &Committer,
        ticker: &Ticker,
        component: &Component,
        shutdown: &Shutdown,
    ) -> Result<(), SessionError> {
        let (mut committed, mut told, mut ticked) = (self.now, self.now, self.now);
        loop {
            self.round(group, source, component)?;
            self.now = Instant::now();
            self.tally.flush(self.metrics, now_ms());
            committer.check()?;
            if self.now - ticked >= TICK / 10 {
                self.tick(group, source, ticker);
                ticked = self.now;
            }
            if let Some(filter) = self.filters.changed(self.now)? {
                self.inputs.filter(&filter);
                let setup = &self.inputs[0].setup;
                self.partitions[0].iter_mut().flatten().for_each(|p| p.windows.change_to(setup.clone()));
            }
            let stop = shutdown.is_triggered();
            let due = self.now - committed >= self.config.commit_interval && committer.is_free();
            if stop || due || self.pending() >= MAX_PENDING {
                let batch = self.cut();
                if !batch.is_empty() {
                    let member = group.consumer().group_metadata().ok_or(SessionError::NoMembership)?;
                    committer.submit((member, batch))?;
                }
                committed = self.now;
            }
            if self.now - told >= TICK {
                self.tell(source.lag(group));
                told = self.now;
            }
            if stop {
                return committer.wait();
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().flatten().flatten()
    }

    fn change(&mut self, change: &GroupChange, component: &Component) -> Result<(), SessionError> {
        match change {
            GroupChange::Assigned(starts) => {
                for start in starts {
                    let Some(input) = self.inputs.position(&start.topic) else { continue };
                    let setup = &self.inputs[input].setup;
                    let partition = Partition::restore(start, setup, &mut self.filters, self.now)?;
                    let number = start.partition as usize;
                    let all = &mut self.partitions[input];
                    if all.len() <= number {
                        all.resize_with(number + 1, || None);
                    }
                    all[number] = Some(partition);
                }
            }
            // what was not committed is not lost: the next owner computes it again
            GroupChange::Revoked(gone) => {
                for (topic, number) in gone {
                    tracing::info!(topic, partition = number, "partition revoked");
                    if let Some(input) = self.inputs.position(topic)
                        && let Some(partition) = self.partitions[input].get_mut(*number as usize)
                    {
                        *partition = None;
                    }
                }
                // records that belong to a partition that is gone are its next owner's
                let partitions = &self.partitions;
                self.originals.retain(|(input, original)| {
                    partitions[*input].get(original.partition as usize).is_some_and(Option::is_some)
                });
            }
        }
        if self.all().next().is_some() {
            component.ready();
        }
        Ok(())
    }

    /// `end`: of a partition, the end as far as it is known.
    fn take(
        &mut self,
        input: usize,
        item: Item<'_>,
        end: impl FnOnce(&str, i32) -> i64,
    ) -> Result<(), SessionError> {
        let number = item.record().partition as usize;
        let Some(partition) = self.partitions[input].get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        // what can't be read takes its offsets with it
        let offset = item.last_offset();
        if offset < partition.windows.position() {
            return Ok(());
        }
        let (record, decoded) = match item {
            Item::Record(record) => {
                (record, decode::decode(self.inputs[input].kind, record, &mut self.scratch))
            }
            Item::Unreadable { record, why, .. } => (record, Decoded::Unreadable(Reason::Undecodable, why)),
        };
        if let Decoded::Frame(frame) = &decoded
            && let Some(id) = partition.windows.missing_layout(frame)
            && let Some(layout) =
                self.announcements.find(id, &record, || end(record.topic, record.partition))?
        {
            partition.windows.announce(id, &layout);
        }
        let append_time = record.timestamp;
        let verdict = partition.windows.step(Record { offset, append_time, input: decoded.input() });
        let unreadable = decoded.unreadable();
        partition.heard = self.now;
        let live = partition.windows.is_live();
        self.tally.read(live, append_time);
        if !live {
            return Ok(());
        }
        partition.replayed();
        let refusal = match verdict {
            Verdict::Ticked => None,
            Verdict::Counted { samples, refused } => {
                self.tally.samples += samples as u64;
                refused
            }
            Verdict::Late => {
                self.metrics.record_late();
                self.set_aside_late(&record, input);
                None
            }
            Verdict::Refused(refusal) => Some(refusal),
        };
        if let Some(Refusal { reason, message: why }) = refusal {
            let why = unreadable.unwrap_or(why);
            self.metrics.record_dead_letter(reason);
            let Received { topic, partition, offset, .. } = record;
            let source = kafka::Source { topic, partition, offset };
            let headers = dead_letter_headers(STAGE, &source, reason, &why);
            self.set_aside(input, Original::of(record, self.topics.dead_letter(STAGE), headers));
        }
        Ok(())
    }

    /// A tick for every partition that is silent with windows open, and through with its replay.
    fn tick(&mut self, group: &Group, source: &Source, ticker: &Ticker) {
        ticker.serve();
        self.announcements.serve();
        let mut ticks = Vec::new();
        for number in 0..self.partitions[0].len() {
            // a rollup's input is silent for good only if all before it are
            let mut quiet = true;
            for (input, all) in self.partitions.iter_mut().enumerate() {
                let Some(partition) = all.get_mut(number).and_then(Option::as_mut) else { break };
                let wanted = partition.windows.replay_left() == 0 && partition.windows.has_open_windows();
                let silence = self.now - partition.heard;
                if input == 0 && wanted && silence >= TICK && ticker.in_flight() <= 1_000 {
                    partition.heard = self.now;
                    if ticker.tick(number as i32) {
                        self.metrics.record_tick();
                    }
                }
                if input > 0 && wanted && quiet && silence >= ROLLUP_TICK {
                    partition.heard = self.now;
                    ticks.push((input, number as i32));
                    self.metrics.record_tick();
                }
                quiet &= partition.windows.replay_left() == 0
                    && !partition.windows.has_open_windows()
                    && partition.windows.pending() == 0
                    && silence >= 10 * TICK
                    && source.lag_of(group, &self.inputs[input].topic, number as i32) == 0;
            }
        }
        for (input, partition) in ticks {
            let topic = self.inputs[input].topic.clone();
            let headers = tick_headers();
            self.set_aside(input, Original { topic, partition, key: None, payload: Vec::new(), headers });
        }
    }

    fn pending(&self) -> usize {
        self.originals_size + self.all().map(|p| p.windows.pending()).sum::<usize>()
    }

    fn cut(&mut self) -> Batch {
        let originals = std::mem::take(&mut self.originals).into_iter().map(|(_, original)| original);
        let mut batch = Batch { originals: originals.collect(), ..Batch::default() };
        self.originals_size = 0;
        for (input, all) in self.partitions.iter_mut().enumerate() {
            for (number, partition) in all.iter_mut().enumerate() {
                let Some(cut) = partition.as_mut().and_then(Partition::cut) else { continue };
                batch.windows.push((number as i32, cut.output));
                batch.offsets.push((self.inputs[input].topic.clone(), number as i32, cut.committed));
            }
        }
        batch
    }

    fn tell(&mut self, lag: i64) {
        for partition in self.partitions.iter_mut().flatten().flatten() {
            partition.tell_progress(self.now);
        }
        self.metrics.record_state(self.all(), &self.partitions[0], lag, now_ms());
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
