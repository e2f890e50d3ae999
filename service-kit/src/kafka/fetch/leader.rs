//! The thread of one broker: asks it for the partitions that it leads, decompresses what comes, hands it over.
//!
//! The next request goes out before the answer in hand is decompressed, so the broker and we work at the same time; its answer
//! waits in the sockets until there is room. Whatever goes wrong ends the thread, and its partitions are looked for anew.

use std::{collections::VecDeque, sync::Arc};

use super::{
    FetchError,
    batch::{self, Batch, Content, Found},
    chunk::Ready,
    compression::Decompressor,
    connection::{Connection, ConnectionError},
    shared::Shared,
    state::{Answer, Asked},
    wire::{self, Api, Bounds, Fetched},
};
use crate::kafka::log_transient;

const BOUNDS: Bounds = Bounds { max_wait_ms: 100, max_bytes: 4 << 20, partition_max_bytes: 1 << 20 };
/// A response's buffer larger than this is not kept.
const MAX_KEPT: usize = 16 << 20;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNSUPPORTED_VERSION: i16 = 35;
pub(super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// A partition's batches of one response, to be decompressed.
type Work = Vec<(Asked, VecDeque<Batch>)>;

pub(super) fn serve(shared: &Arc<Shared>, id: i32, host: &str, port: u16) {
    let leaving = Leaving(shared, id);
    match (Reader { shared, id, decompressor: Decompressor::default() }).go(host, port) {
        // counted out already
        Ok(()) => std::mem::forget(leaving),
        Err(ConnectionError::Stopped) => {}
        Err(error) => log_transient("fetch", &format!("{host}:{port}: {error}")),
    }
}

/// Counts the thread out however it ends.
struct Leaving<'a>(&'a Shared, i32);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(FetchError::Panicked);
        }
        self.0.left(self.1);
    }
}

struct Reader<'a> {
    shared: &'a Arc<Shared>,
    id: i32,
    decompressor: Decompressor,
}

impl Reader<'_> {
    /// Until the broker leads nothing that is wanted.
    fn go(&mut self, host: &str, port: u16) -> Result<(), ConnectionError> {
        let mut connection = Connection::open(host, port, self.shared.stopped())?;
        let (mut response, mut work) = (Vec::new(), Work::new());
        while let Some((asked, unknown)) = self.shared.asked(self.id) {
            if !unknown.is_empty() {
                self.hand_over(&response, std::mem::take(&mut work));
                self.find_begin(&mut connection, &unknown)?;
                continue;
            }
            let sent = connection.send(|number| wire::fetch_request(number, &asked, BOUNDS));
            self.hand_over(&response, std::mem::take(&mut work));
            sent?;
            if response.len() > MAX_KEPT {
                response = Vec::new();
            }
            let length = self.shared.told(Api::Fetch, connection.receive(&mut response))?;
            work = self.take(&response[..length], &asked)?;
        }
        self.hand_over(&response, work);
        Ok(())
    }

    fn find_begin(&self, connection: &mut Connection<'_>, unknown: &[Asked]) -> Result<(), ConnectionError> {
        connection.send(|number| wire::log_start_request(number, unknown))?;
        let mut response = Vec::new();
        let length = self.shared.told(Api::ListOffsets, connection.receive(&mut response))?;
        let starts = wire::log_start_response(&response[..length])?;
        let answers = starts.iter().filter_map(|start| {
            let asked =
                unknown.iter().find(|a| *a.topic == *start.topic && a.partition == start.partition)?;
            let answer = match start.error {
                0 => Answer::Begins(start.offset.max(0)),
                error => self.refuse(asked, error),
            };
            Some((asked, answer))
        });
        self.shared.answered(answers.collect::<Vec<_>>().into_iter());
        Ok(())
    }

    /// What a response brings: positions at once, batches as work.
    fn take(&self, response: &[u8], asked: &[Asked]) -> Result<Work, ConnectionError> {
        let (error, all) = wire::fetch_response(response)?;
        if error == UNSUPPORTED_VERSION {
            self.shared.fail(FetchError::Unsupported(Api::Fetch.name()));
        }
        if error != 0 {
            return Err(ConnectionError::Broker(error));
        }
        let mut answers = Vec::with_capacity(all.len());
        let mut found = Vec::with_capacity(all.len());
        for (number, fetched) in all.iter().enumerate() {
            let is = |a: &&Asked| *a.topic == *fetched.topic && a.partition == fetched.partition;
            // the answers come in the order of the questions
            let Some(asked) = asked.get(number).filter(is).or_else(|| asked.iter().find(is)) else {
                continue;
            };
            let (answer, batches) = self.read(response, fetched, asked);
            answers.push((asked, answer));
            found.push(batches);
        }
        let counts = self.shared.answered(answers.iter().copied());
        let found = answers
            .iter()
            .zip(found)
            .zip(counts)
            .filter(|((_, batches), counts)| *counts && !batches.is_empty());
        Ok(found.map(|(((asked, _), batches), _)| ((*asked).clone(), batches.into())).collect())
    }

    fn read(&self, response: &[u8], fetched: &Fetched<'_>, asked: &Asked) -> (Answer, Vec<Batch>) {
        match fetched.error {
            0 => {
                let Found { batches, next } = batch::find(response, fetched, asked.offset);
                let answer = Answer::Read {
                    next,
                    last_stable_offset: fetched.last_stable_offset,
                    batches: batches.len(),
                    any: !fetched.records.is_empty(),
                };
                (answer, batches)
            }
            OFFSET_OUT_OF_RANGE => {
                let (topic, partition, offset) = (&*asked.topic, asked.partition, asked.offset);
                tracing::warn!(
                    topic,
                    partition,
                    offset,
                    "kafka does not have that offset, read on from the beginning"
                );
                (Answer::OutOfRange, Vec::new())
            }
            error => (self.refuse(asked, error), Vec::new()),
        }
    }

    /// Nothing that lasts, unless it is we who may not.
    fn refuse(&self, asked: &Asked, error: i16) -> Answer {
        let (topic, partition) = (&*asked.topic, asked.partition);
        match error {
            TOPIC_AUTHORIZATION_FAILED => self.shared.fail(FetchError::Unauthorized(topic.to_owned())),
            UNSUPPORTED_VERSION => self.shared.fail(FetchError::Unsupported(Api::Fetch.name())),
            _ => tracing::debug!(topic, partition, error, "fetch from somebody else"),
        }
        Answer::NotHere
    }

    /// One batch of each partition in turn, so that none waits for all of another.
    fn hand_over(&mut self, response: &[u8], mut work: Work) {
        while !work.is_empty() {
            work.retain_mut(|(asked, batches)| {
                let Some(batch) = batches.pop_front() else { return false };
                let origin = asked.origin();
                let Some(mut output) = self.shared.buffer(&origin) else { return false };
                let result = match &batch.content {
                    Content::Records(range, codec) => {
                        let records = response.get(range.clone()).unwrap_or_default();
                        self.decompressor.decompress(*codec, records, &mut output).map_err(|e| e.to_string())
                    }
                    Content::Unreadable(_) => Ok(0),
                };
                self.shared.hand_over(Ready::new(origin, &batch, output, result));
                !batches.is_empty()
            });
        }
    }
}
