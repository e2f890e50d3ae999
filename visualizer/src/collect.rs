//! `POST /api/v1/servers/{server}/collect`: a server is collected at once. In: who is meant, let through for an admin. Out: a
//! request on `collect.requests`, which the server's collector reads; 202, and where its result is seen.
//!
//! Keeps: no 202 without Kafka's acknowledgement (`acks=all`); one instance asks a server once a second at most.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tidewatch_schemas::{CollectRequest, time::rfc3339};
use tidewatch_service_kit::http::Problem;
use utoipa::ToSchema;

use crate::{app::App, outlet::unavailable, params::Params, query::columns::FINE, sent};

/// So long after it was asked a server is not asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What was asked for, and where to look.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Collect)]
pub(crate) struct CollectView {
    /// As in `X-Request-Id`
    id: String,
    /// Its name
    server: String,
    #[schema(format = DateTime)]
    requested_at: String,
    see: See,
}

/// Where the result is seen, once the window that it falls into has closed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CollectSee)]
pub(crate) struct See {
    /// The server's live stream
    live: String,
    /// Its values from the window of the request on
    metrics: String,
}

/// When each server was asked, of those asked within [`AGAIN`].
#[derive(Debug, Default)]
struct Asked(HashMap<i32, Instant>);

impl Asked {
    /// `false`: it was asked a moment ago.
    fn may(&mut self, server: i32, now: Instant) -> bool {
        self.0.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        match self.0.entry(server) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(now);
                true
            }
        }
    }
}

/// Who was asked a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<Asked>);

impl Requests {
    fn may_ask(&self, server: i32) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).may(server, Instant::now())
    }
}

/// Collect a server now.
///
/// Its collector takes all of its metrics at once, between two of its own times; the values come as all others do, by the live
/// stream and by `/api/v1/metrics/{server}`, once their window has closed. A server of which nobody runs a collector of ours
/// (its metrics come by HTTP or from another producer) hears nothing.
#[utoipa::path(
    post, path = "/api/v1/servers/{server}/collect", tag = "Servers",
    params(("server" = String, Path, description = "Id or name of a server", example = "web-1")),
    responses((status = 202, description = "Kafka has the request; only an admin may", body = CollectView,
        headers(("Location" = String, description = "Where the result is seen: `see.metrics`"))))
)]
pub(crate) async fn collect(
    State(app): State<Arc<App>>,
    Path(wanted): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    sent::let_through(&headers, "ask for a collection")?;
    let client = sent::client(&headers);
    Params::parse(raw.as_deref(), &[])?;
    let server = app.server(&wanted).await?;
    if !app.requests.may_ask(server.id) {
        let detail = format!("{} was asked to collect less than a second ago", server.name);
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        return Err(problem.retry_after(AGAIN.as_secs()));
    }
    let request = CollectRequest {
        id: headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned(),
        server: server.name,
        requested_at: (app.clock)(),
        requested_by: client.clone(),
    };
    publish(&app, &request).await.map_err(|why| unavailable("the collector could not be asked", &why))?;
    tracing::info!(client, server = request.server, id = request.id, "collection asked for");
    Ok(accepted(server.id, request))
}

async fn publish(app: &App, request: &CollectRequest) -> Result<(), String> {
    let json = request.encode().map_err(|error| error.to_string())?;
    app.outlet.publish(&app.outlet.topics().collect_requests(), &request.server, &json).await
}

fn accepted(id: i32, request: CollectRequest) -> Response {
    // values are found by their window's begin
    let from = request.requested_at.div_euclid(FINE) * FINE;
    let see = See {
        live: format!("/api/v1/live?server={id}"),
        metrics: format!("/api/v1/metrics/{id}?from={from}"),
    };
    let headers = [(header::LOCATION, see.metrics.clone()), (header::CACHE_CONTROL, "no-store".to_owned())];
    let view = CollectView {
        id: request.id,
        server: request.server,
        requested_at: rfc3339(request.requested_at),
        see,
    };
    (StatusCode::ACCEPTED, headers, Json(view)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_once_a_second_and_others_do_not_wait_for_it() {
        let (start, mut asked) = (Instant::now(), Asked::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(asked.may(1, at(0)) && asked.may(2, at(1)));
        assert!(!asked.may(1, at(999)));
        assert!(asked.may(1, at(1_000)), "a refusal does not make the next one wait longer");
        assert!(!asked.may(1, at(1_500)));
        assert!(asked.may(3, at(9_000)));
        assert_eq!(asked.0.len(), 1, "what is over is forgotten");
    }
}
