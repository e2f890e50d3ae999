//! The live stream: every new window and alert, as it leaves Kafka, to every open page.
//!
//! ```text
//! Kafka -> follow (thread of its own) -> bounded queue -> publish (rates, ids) -> broadcast -> stream (one for each client)
//! ```
//! Keeps: a slow client loses its stream, never another's; Kafka away leaves the streams open, with their beat.

use std::sync::{Arc, OnceLock};

use serde::Serialize;
use tidewatch_schemas::{AggregateFrame, Alert, Labels, SeriesKind};
use tokio::sync::broadcast;

pub(crate) mod follow;
pub(crate) mod publish;
pub(crate) mod stream;

/// Events that a client may be behind before it is dropped.
const BEHIND: usize = 4_096;

/// Records between the Kafka thread and the publisher.
pub(crate) const QUEUE: usize = 256;

/// A record of Kafka, with an id that is the same in every instance.
#[derive(Debug)]
pub(crate) enum Record {
    Window(String, AggregateFrame),
    Alert(String, Alert),
}

/// What clients get. Its JSON is made once, by the first client that needs it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) server: String,
    pub(crate) body: Body,
    text: OnceLock<Option<String>>,
    summary_text: OnceLock<Option<String>>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Window {
        window: Window,
        /// `None` while the store does not know the server yet.
        summary: Option<Summary>,
    },
    Alert(Box<crate::views::AlertView>),
}

/// Data of `window`.
#[derive(Debug, Serialize)]
pub(crate) struct Window {
    pub(crate) server: String,
    pub(crate) from: i64,
    pub(crate) step: i64,
    pub(crate) series: Vec<Point>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) metric: String,
    pub(crate) labels: Labels,
    pub(crate) kind: SeriesKind,
    pub(crate) avg: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Data of `server`.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
    pub(crate) fn new(id: String, server: String, body: Body) -> Self {
        Self { id, server, body, text: OnceLock::new(), summary_text: OnceLock::new() }
    }

    /// Name and data for a client that watches one server, or (`fleet`) all.
    pub(crate) fn text(&self, fleet: bool) -> Option<(&'static str, &str)> {
        let json = |text: Result<String, serde_json::Error>| text.ok();
        match &self.body {
            Body::Window { summary: None, .. } if fleet => None,
            Body::Window { summary: Some(summary), .. } if fleet => {
                let text = self.summary_text.get_or_init(|| json(serde_json::to_string(summary)));
                text.as_deref().map(|text| ("server", text))
            }
            Body::Window { window, .. } => {
                let text = self.text.get_or_init(|| json(serde_json::to_string(window)));
                text.as_deref().map(|text| ("window", text))
            }
            Body::Alert(alert) => {
                let text = self.text.get_or_init(|| json(serde_json::to_string(alert)));
                text.as_deref().map(|text| ("alert", text))
            }
        }
    }
}

/// Where clients subscribe.
pub(crate) type Events = broadcast::Sender<Arc<Event>>;

pub(crate) fn events() -> Events {
    broadcast::Sender::new(BEHIND)
}

#[cfg(test)]
mod tests;
