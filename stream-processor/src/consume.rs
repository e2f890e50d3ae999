//! The thread that owns the partitions: poll, step, and every half second a commit.
//!
//! A session is one membership with one producer. After any error both are dropped and a new session restores from what
//! is committed: an unclear commit is cleared by reading whether it took. Nothing is kept across sessions.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
};
use tidewatch_schemas::{DecodeError, MetricFrame, Reason, Topics, decode, headers};
use tidewatch_service_kit::{
    Shutdown,
    health::Component,
    kafka::{Group, GroupChange, Original, Source, Start, dead_letter_headers},
    retry,
};

use crate::{
    Config, Error,
    commit::Committed,
    emit::{Batch, Emitter},
    error::SessionError,
    metrics::ProcessorMetrics,
    tick::Ticker,
    window::{Input, PartitionWindows, Record, Refusal, Verdict},
};

pub(crate) const STAGE: &str = "stream-processor";

const POLL: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_secs(1);
/// Windows waiting for a commit after which it does not wait for its time.
const MAX_PENDING: usize = 20_000;

/// Sessions, one after the other, until the wish to stop.
pub(crate) fn run(
    config: &Config,
    metrics: &ProcessorMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let mut attempt = 0;
    while !shutdown.is_triggered() {
        let begun = Instant::now();
        metrics.record_session();
        match session(config, metrics, component, shutdown) {
            Ok(()) => break,
            Err(SessionError::Fatal(error)) => return Err(error),
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
    metrics: &ProcessorMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), SessionError> {
    let instance = config.instance();
    let emitter = Emitter::open(&config.kafka, &instance)?;
    let ticker = Ticker::new(&config.kafka).map_err(SessionError::kafka("create tick producer"))?;
    let topics = config.kafka.topics();
    let group =
        Group::join_as(&config.kafka, &config.kafka.group(STAGE), &instance, &[&topics.raw()], |starts| {
            starts.iter_mut().for_each(start_at_low_water);
            Ok(())
        })
        .map_err(SessionError::kafka("join group"))?;
    component.waiting("an assignment of partitions");
    let mut session = Session { config, metrics, topics, partitions: BTreeMap::new(), originals: Vec::new() };
    let (mut committed, mut told) = (Instant::now(), Instant::now());
    loop {
        let polled = group.poll(POLL).map_err(SessionError::kafka("poll"))?;
        for change in polled.changes {
            session.change(change)?;
            if !session.partitions.is_empty() {
                component.ready();
            }
        }
        match polled.message {
            Some(message) => session.take(&message),
            None => metrics.record_idle(),
        }
        session.tick(&ticker);
        let stop = shutdown.is_triggered();
        if stop || committed.elapsed() >= config.commit_interval || session.pending() >= MAX_PENDING {
            session.commit(&group, &emitter)?;
            committed = Instant::now();
        }
        if told.elapsed() >= TICK {
            emitter.serve();
            session.tell(group.lag());
            told = Instant::now();
        }
        if stop {
            return Ok(());
        }
    }
}

/// Where a partition has to be read from: its low water.
fn start_at_low_water(start: &mut Start) {
    if let Some((offset, metadata)) = &start.committed
        && let Ok(committed) = Committed::parse(*offset, metadata)
    {
        start.offset = Some(committed.low_water);
    }
}

/// One assigned partition.
struct Partition {
    windows: PartitionWindows,
    /// When a record of it was last seen, or a tick sent.
    heard: Instant,
    /// The position at the last commit.
    committed: i64,
    replay: Option<(i64, Instant)>,
}

struct Session<'a> {
    config: &'a Config,
    metrics: &'a ProcessorMetrics,
    topics: Topics,
    partitions: BTreeMap<i32, Partition>,
    /// Late and refused records since the last commit.
    originals: Vec<Original>,
}

impl Session<'_> {
    fn change(&mut self, change: GroupChange) -> Result<(), Error> {
        match change {
            GroupChange::Assigned(starts) => {
                for start in starts {
                    let windows = self.restore(&start)?;
                    let left = windows.replay_left();
                    tracing::info!(
                        partition = start.partition,
                        position = windows.position(),
                        replay = left,
                        "partition assigned"
                    );
                    let now = Instant::now();
                    let replay = (left > 0).then_some((left, now));
                    let committed = windows.position() + left;
                    self.partitions
                        .insert(start.partition, Partition { windows, heard: now, committed, replay });
                }
            }
            // what was not committed is not lost: the next owner computes it again
            GroupChange::Revoked(gone) => {
                for (_, partition) in gone {
                    tracing::info!(partition, "partition revoked");
                    self.partitions.remove(&partition);
                    self.originals.retain(|original| original.partition != partition);
                }
            }
        }
        Ok(())
    }

    fn restore(&self, start: &Start) -> Result<PartitionWindows, Error> {
        let settings = self.config.window_settings();
        match &start.committed {
            None => Ok(PartitionWindows::begin(start.partition, 0, settings)),
            // an offset set by hand: a clean start from there
            Some((offset, metadata)) if metadata.is_empty() => {
                Ok(PartitionWindows::begin(start.partition, *offset, settings))
            }
            Some((offset, metadata)) => {
                let committed = Committed::parse(*offset, metadata)
                    .map_err(|source| Error::Metadata { partition: start.partition, source })?;
                if committed.settings != settings {
                    tracing::info!(
                        partition = start.partition,
                        "window settings changed: open windows go out as partial ones"
                    );
                }
                Ok(PartitionWindows::restore(start.partition, &committed, settings))
            }
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let Some(partition) = self.partitions.get_mut(&message.partition()) else { return };
        if message.offset() < partition.windows.position() {
            return;
        }
        let append_time = message.timestamp().to_millis().unwrap_or(0);
        let decoded = read(message);
        let input = match &decoded {
            Ok(Some(frame)) => Input::Frame(frame),
            Ok(None) => Input::Tick,
            Err(error) => Input::Unreadable(reason_of(error)),
        };
        let verdict = partition.windows.step(Record { offset: message.offset(), append_time, input });
        partition.heard = Instant::now();
        let live = partition.windows.is_live();
        self.metrics.record_read(live, now_ms() - append_time);
        if !live {
            return;
        }
        if let Some((records, since)) = partition.replay.take() {
            let (partition, seconds) = (message.partition(), since.elapsed().as_secs_f64());
            tracing::info!(partition, records, seconds, "replay is through");
        }
        let refusal = match verdict {
            Verdict::Ticked => None,
            Verdict::Counted { samples, refused } => {
                self.metrics.record_samples(samples);
                refused
            }
            Verdict::Late => {
                self.metrics.record_late();
                let header = Header { key: headers::LATE_REASON, value: Some(Reason::Late.code()) };
                let headers = message
                    .headers()
                    .map_or_else(OwnedHeaders::new, rdkafka::message::BorrowedHeaders::detach)
                    .insert(header);
                self.originals.push(Original::of(message, self.topics.late(), headers));
                None
            }
            Verdict::Refused(refusal) => Some(refusal),
        };
        if let Some(Refusal { reason, message: why }) = refusal {
            let why = decoded.err().map_or(why, |error| error.to_string());
            self.metrics.record_dead_letter(reason);
            let source =
                Source { topic: message.topic(), partition: message.partition(), offset: message.offset() };
            let headers = dead_letter_headers(STAGE, &source, reason, &why);
            self.originals.push(Original::of(message, self.topics.dead_letter(STAGE), headers));
        }
    }

    /// A tick for every partition that is silent with windows open, and through with its replay.
    fn tick(&mut self, ticker: &Ticker) {
        for (&number, partition) in &mut self.partitions {
            if partition.heard.elapsed() < TICK || ticker.in_flight() > 1_000 {
                continue;
            }
            partition.heard = Instant::now();
            if partition.windows.replay_left() == 0
                && partition.windows.has_open_windows()
                && ticker.tick(number)
            {
                self.metrics.record_tick();
            }
        }
    }

    fn pending(&self) -> usize {
        self.originals.len() + self.partitions.values().map(|p| p.windows.pending()).sum::<usize>()
    }

    fn commit(&mut self, group: &Group, emitter: &Emitter) -> Result<(), SessionError> {
        let mut batch = Batch { originals: std::mem::take(&mut self.originals), ..Batch::default() };
        for (&number, partition) in &mut self.partitions {
            if partition.windows.position() == partition.committed && partition.windows.pending() == 0 {
                continue;
            }
            let Some(cut) = partition.windows.cut() else { continue };
            partition.committed = cut.committed.high_water;
            batch.windows.extend(cut.windows);
            batch.offsets.push((number, cut.committed));
        }
        if batch.offsets.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        emitter.commit(group, &batch)?;
        self.metrics.record_commit(begun.elapsed().as_secs_f64(), &batch.windows);
        Ok(())
    }

    fn tell(&self, lag: i64) {
        let sizes = self.partitions.values().map(|p| p.windows.size());
        let (windows, servers) = sizes.fold((0, 0), |(w, s), (windows, servers)| (w + windows, s + servers));
        let open = self.partitions.values().filter(|p| p.windows.has_open_windows());
        let lowest = open.filter_map(|p| p.windows.clock()).min();
        let delay = lowest.map_or(0, |clock| now_ms() - clock);
        self.metrics.record_state(self.partitions.len(), windows, servers, lag, delay);
    }
}

/// `None` = a tick.
fn read(message: &BorrowedMessage<'_>) -> Result<Option<MetricFrame>, DecodeError> {
    let payload = message.payload().unwrap_or_default();
    let is_tick =
        |headers: &rdkafka::message::BorrowedHeaders| headers.iter().any(|h| h.key == headers::TICK);
    if payload.is_empty() && message.headers().is_some_and(is_tick) {
        return Ok(None);
    }
    decode(payload).map(|(frame, _)| Some(frame))
}

fn reason_of(error: &DecodeError) -> Reason {
    match error {
        DecodeError::Json(_) => Reason::BadJson,
        DecodeError::UnknownSchema(_) => Reason::UnknownSchema,
        _ => Reason::Undecodable,
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
