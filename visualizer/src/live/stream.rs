//! One client's live stream. In: broadcast events. Out: server-sent events: `hello` and what the client missed, or `resync`;
//! then what concerns it, and a `beat` every 5 s. The id of each says up to where the client has seen everything.
//!
//! Keeps: a client that falls behind gets `lagged` and its stream ends; it comes back with its last id for what it missed.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event as Sse, Sse as SseResponse},
    },
};
use futures_util::{Stream, stream};
use prometheus::IntGauge;
use tidewatch_service_kit::http::Problem;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast::error::RecvError},
    time::Interval,
};

use super::Subscription;
use crate::{app::App, openapi::asked, params::Params};

const BEAT: Duration = Duration::from_secs(5);

pub(crate) const KNOWN: [&str; 2] = ["server", "last_event_id"];

/// What is measured, as it comes.
///
/// Server-sent events until either side hangs up, each with an `id` and JSON as its data: `hello` first, then `window`
/// (`LiveWindow`, of one server), `server` (`LiveServer`, of the fleet), `alert` (`Alert`), and every 5 s a `beat`. `lagged`
/// ends the stream of a reader that is too slow. With the id of the last event that came, what was missed is told behind
/// `hello`; when that is no longer known (most of the time it is for a minute), the stream begins with `resync` instead:
/// load everything again. The data of `hello`, `resync`, `beat` and `lagged` is `{"now": ms}`.
#[utoipa::path(
    get, path = "/api/v1/live", tag = "Live", params(asked::Live),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(query.as_deref(), &KNOWN)?;
    // a browser that comes back by itself says it in the header, and knows more than the address it was once given
    let header = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("unreadable"));
    let last_id = header.or_else(|| params.get("last_event_id")).filter(|id| !id.is_empty());
    // subscribed before anything is asked, so that no event falls between
    let events = app.events.subscribe(last_id);
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
    events: Subscription,
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
    events: Subscription,
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
    fn told(&self, name: &str, data: impl AsRef<str>) -> Sse {
        Sse::default().event(name).id(self.events.seen.to_string()).data(data)
    }

    fn clock(&self, name: &str) -> Sse {
        self.told(name, format!("{{\"now\":{}}}", (self.app.clock)()))
    }

    async fn next(&mut self) -> Option<Sse> {
        match self.next {
            Next::Hello => {
                self.next = Next::Events;
                return Some(self.clock(if self.events.is_lost { "resync" } else { "hello" }));
            }
            Next::End => return None,
            Next::Events => {}
        }
        loop {
            tokio::select! {
                () = self.app.shutdown.wait() => return None,
                _ = self.beat.tick() => return Some(self.clock("beat")),
                event = self.events.next() => match event {
                    Ok(event) => {
                        if self.server.as_ref().is_some_and(|wanted| *wanted != event.server) {
                            continue;
                        }
                        if let Some((name, data)) = event.text(self.server.is_none()) {
                            return Some(self.told(name, data));
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
