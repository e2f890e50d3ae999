//! One client's live stream. In: broadcast events. Out: server-sent events: `hello`, then what concerns the client, and a
//! `beat` every 5 s.
//!
//! Keeps: a client that falls behind gets `lagged` and its stream ends; it comes back and fetches what it missed.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event as Sse, Sse as SseResponse},
    },
};
use futures_util::{Stream, stream};
use prometheus::IntGauge;
use tidewatch_service_kit::http::Problem;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast, broadcast::error::RecvError},
    time::Interval,
};

use super::Event;
use crate::{app::App, params::Params};

const BEAT: Duration = Duration::from_secs(5);

/// `GET /api/v1/live`.
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &["server"])?;
    // subscribed before anything is asked, so that no event falls between
    let events = app.events.subscribe();
    let server = match params.get("server") {
        Some(wanted) => Some(app.server(wanted).await?.name.clone()),
        None => None,
    };
    let free = Arc::clone(&app.live_clients).try_acquire_owned();
    let permit = free.map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", "too many live streams are open")
            .retry_after(5)
    })?;
    let mut response = SseResponse::new(client(app, events, server, permit)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // proxies that buffer answers would hold events back
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

struct Client {
    app: Arc<App>,
    events: broadcast::Receiver<Arc<Event>>,
    server: Option<String>,
    beat: Interval,
    next: Next,
    _open: Open,
}

#[derive(PartialEq)]
enum Next {
    Hello,
    Events,
    End,
}

/// Counts the client for as long as it is there.
struct Open {
    gauge: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<Sse, Infallible>> + Send>>;

fn client(
    app: Arc<App>,
    events: broadcast::Receiver<Arc<Event>>,
    server: Option<String>,
    permit: OwnedSemaphorePermit,
) -> Events {
    let gauge = app.metrics.live_clients().clone();
    gauge.inc();
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let open = Open { gauge, _permit: permit };
    let client = Client { app, events, server, beat, next: Next::Hello, _open: open };
    Box::pin(stream::unfold(client, |mut client| async move {
        client.next().await.map(|event| (Ok(event), client))
    }))
}

impl Client {
    fn clock(&self, event: &str) -> Sse {
        let now = (self.app.clock)();
        Sse::default().event(event).id(format!("t-{now}")).data(format!("{{\"now\":{now}}}"))
    }

    async fn next(&mut self) -> Option<Sse> {
        match self.next {
            Next::Hello => {
                self.next = Next::Events;
                return Some(self.clock("hello"));
            }
            Next::End => return None,
            Next::Events => {}
        }
        loop {
            tokio::select! {
                () = self.app.shutdown.wait() => return None,
                _ = self.beat.tick() => return Some(self.clock("beat")),
                event = self.events.recv() => match event {
                    Ok(event) => {
                        if self.server.as_ref().is_some_and(|wanted| *wanted != event.server) {
                            continue;
                        }
                        if let Some((name, data)) = event.text(self.server.is_none()) {
                            return Some(Sse::default().event(name).id(&event.id).data(data));
                        }
                    }
                    Err(RecvError::Lagged(_)) => {
                        self.app.metrics.record_lagged();
                        self.next = Next::End;
                        return Some(self.clock("lagged"));
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}
