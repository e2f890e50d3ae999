//! The live stream: every new window and alert, as it leaves Kafka, to every open page.
//!
//! ```text
//! Kafka -> follow (thread of its own) -> bounded queue -> publish (rates, ids) -> recent + broadcast -> stream (one for each client)
//! ```
//! Keeps: a slow client loses its stream, never another's; Kafka away leaves the streams open, with their beat; a client that
//! comes back gets what it missed, once, or is told that it has to load again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tidewatch_schemas::{AggregateFrame, Alert, Labels, SeriesKind};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    oneshot,
};
use utoipa::ToSchema;

pub(crate) mod follow;
pub(crate) mod place;
pub(crate) mod publish;
mod recent;
pub(crate) mod stream;

use crate::openapi::schemas;
use place::{Place, Position};
use recent::Recent;

/// Events that a client may be behind before it is dropped.
const BEHIND: usize = 4_096;

/// Records between the Kafka thread and the publisher.
pub(crate) const QUEUE: usize = 256;

/// What the Kafka thread finds.
#[derive(Debug)]
pub(crate) enum Record {
    /// From where on the partitions are read, and whom to tell that readers' ids are understood now.
    Begin(Position, oneshot::Sender<()>),
    Window(Place, AggregateFrame),
    Alert(Place, Alert),
}

/// What clients get, its JSON made once for all of them.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) place: Place,
    pub(crate) server: String,
    told: Told,
}

#[derive(Debug)]
pub(crate) enum Told {
    Window {
        window: String,
        /// `None` while the store does not know the server yet.
        summary: Option<String>,
    },
    Alert(String),
}

/// Data of `window`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveWindow)]
pub(crate) struct Window {
    pub(crate) server: String,
    pub(crate) from: i64,
    pub(crate) step: i64,
    pub(crate) series: Vec<Point>,
}

/// The mean, the least and the most of a series in a window; a counter's per second.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LivePoint)]
pub(crate) struct Point {
    pub(crate) metric: String,
    #[schema(schema_with = schemas::labels)]
    pub(crate) labels: Labels,
    #[schema(schema_with = schemas::kind)]
    pub(crate) kind: SeriesKind,
    pub(crate) avg: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Data of `server`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = LiveServer)]
pub(crate) struct Summary {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) last_seen: i64,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<f64>,
    pub(crate) network: Option<f64>,
    pub(crate) disk: Option<crate::views::Disk>,
}

impl Event {
    pub(crate) fn new(place: Place, server: String, told: Told) -> Self {
        Self { place, server, told }
    }

    /// What it takes to hold it, nearly.
    fn bytes(&self) -> usize {
        let told = match &self.told {
            Told::Window { window, summary } => window.len() + summary.as_ref().map_or(0, String::len),
            Told::Alert(alert) => alert.len(),
        };
        size_of::<Self>() + self.server.len() + told
    }

    /// Name and data for a client that watches one server, or (`fleet`) all.
    pub(crate) fn text(&self, fleet: bool) -> Option<(&'static str, &str)> {
        match &self.told {
            Told::Window { summary, .. } if fleet => summary.as_deref().map(|text| ("server", text)),
            Told::Window { window, .. } => Some(("window", window)),
            Told::Alert(alert) => Some(("alert", alert)),
        }
    }
}

/// Where clients subscribe.
#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<Event>>,
    recent: Mutex<Recent>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND), recent: Mutex::default() }
    }
}

impl Events {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, at: &Position) {
        self.recent().begin(at);
    }

    pub(crate) fn publish(&self, event: Event, now: i64) {
        let event = Arc::new(event);
        // held until it is sent: who subscribes in between would have it twice or not at all
        let mut recent = self.recent();
        recent.push(&event, now);
        // an error only says that nobody listens
        let _ = self.sender.send(event);
    }

    /// From now on, or with an id behind what that one's reader has seen.
    pub(crate) fn subscribe(&self, last_id: Option<&str>) -> Subscription {
        let recent = self.recent();
        let events = self.sender.subscribe();
        let known = last_id.and_then(Position::parse);
        match known.and_then(|seen| recent.since(&seen).map(|missed| (seen, missed))) {
            Some((seen, missed)) => {
                Subscription { ahead: seen.clone(), seen, is_lost: false, missed, events }
            }
            None => Subscription {
                seen: recent.next().clone(),
                is_lost: last_id.is_some(),
                missed: VecDeque::new(),
                ahead: Position::default(),
                events,
            },
        }
    }
}

/// One client's events.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Up to where everything has come: the id of what is told next.
    pub(crate) seen: Position,
    /// There may be a hole between the id it came with and here.
    pub(crate) is_lost: bool,
    missed: VecDeque<Arc<Event>>,
    /// What another instance had told before this one came to it.
    ahead: Position,
    events: broadcast::Receiver<Arc<Event>>,
}

impl Subscription {
    pub(crate) async fn next(&mut self) -> Result<Arc<Event>, RecvError> {
        loop {
            let event = match self.missed.pop_front() {
                Some(event) => event,
                None => self.events.recv().await?,
            };
            if self.is_new(&event) {
                return Ok(event);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn try_next(&mut self) -> Option<Arc<Event>> {
        loop {
            let event = self.missed.pop_front().or_else(|| self.events.try_recv().ok())?;
            if self.is_new(&event) {
                return Some(event);
            }
        }
    }

    fn is_new(&mut self, event: &Event) -> bool {
        let is_new = self.ahead.is_before(event.place);
        if is_new {
            self.seen.pass(event.place);
        }
        is_new
    }
}

#[cfg(test)]
pub(crate) mod tests;
