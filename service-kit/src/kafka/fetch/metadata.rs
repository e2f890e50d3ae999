//! The thread that finds out which broker leads a partition, whenever one has none, and starts a thread for each such broker.
//!
//! Asks at most ten times a second, and less often while that does not help.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    FetchError,
    connection::{Connection, ConnectionError},
    leader::{self, TOPIC_AUTHORIZATION_FAILED},
    shared::Shared,
    wire::{self, Api, Metadata},
};
use crate::kafka::log_transient;

const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Partitions come in one after the other: the first one is not asked for alone.
const GATHER: Duration = Duration::from_millis(5);
/// After so long without a question the next one is the first again.
const CALM: Duration = Duration::from_secs(5);

pub(super) fn serve(shared: &Arc<Shared>, bootstrap: &[(String, u16)]) {
    let mut known: Vec<(String, u16)> = Vec::new();
    let mut last: Option<(Instant, Duration)> = None;
    while shared.leaderless().is_some() {
        let (pause, backoff) = match last {
            Some((asked, backoff)) if asked.elapsed() < CALM => {
                (backoff.saturating_sub(asked.elapsed()), (2 * backoff).min(MAX_BACKOFF))
            }
            _ => (GATHER, MIN_BACKOFF),
        };
        shared.pause(pause);
        last = Some((Instant::now(), backoff));
        // others may have come meanwhile
        let Some(topics) = shared.leaderless() else { return };
        match ask(shared, known.iter().chain(bootstrap), &topics) {
            Ok(metadata) => {
                known = metadata.brokers.iter().map(|(_, host, port)| (host.clone(), *port)).collect();
                take(shared, &metadata);
            }
            Err(ConnectionError::Stopped) => return,
            Err(error) => log_transient("fetch metadata", &error.to_string()),
        }
    }
}

/// The first answer.
fn ask<'a>(
    shared: &Shared,
    brokers: impl Iterator<Item = &'a (String, u16)>,
    topics: &[Arc<str>],
) -> Result<Metadata, ConnectionError> {
    let mut last = ConnectionError::Io(std::io::Error::other("no broker is named"));
    for (host, port) in brokers {
        match ask_one(shared, host, *port, topics) {
            Ok(metadata) => return Ok(metadata),
            Err(ConnectionError::Stopped) => return Err(ConnectionError::Stopped),
            Err(error) => {
                tracing::debug!(host, port, %error, "ask for metadata");
                last = error;
            }
        }
    }
    Err(last)
}

fn ask_one(shared: &Shared, host: &str, port: u16, topics: &[Arc<str>]) -> Result<Metadata, ConnectionError> {
    let mut connection = Connection::open(host, port, shared.stopped())?;
    connection.send(|number| wire::metadata_request(number, topics))?;
    let mut response = Vec::new();
    let length = shared.told(Api::Metadata, connection.receive(&mut response))?;
    Ok(wire::metadata_response(&response[..length])?)
}

fn take(shared: &Arc<Shared>, metadata: &Metadata) {
    for (topic, error) in &metadata.refused {
        match *error {
            TOPIC_AUTHORIZATION_FAILED => shared.fail(FetchError::Unauthorized(topic.clone())),
            error => log_transient("fetch metadata", &format!("{topic}: error {error}")),
        }
    }
    for id in shared.lead(metadata) {
        let Some((_, host, port)) = metadata.brokers.iter().find(|(broker, ..)| *broker == id) else {
            continue;
        };
        let (ours, host, port) = (Arc::clone(shared), host.clone(), *port);
        let thread = std::thread::Builder::new()
            .name(format!("fetch-{id}"))
            .spawn(move || leader::serve(&ours, id, &host, port));
        if let Err(error) = thread {
            log_transient("start thread", &error.to_string());
            shared.left(id);
        }
    }
}
