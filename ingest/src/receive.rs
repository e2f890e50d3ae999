//! First stage for others: `POST /api/v1/ingest` in, an answer out as docs/api.md has it.
//!
//! Invariant: 202 only when Kafka acknowledged everything that was good; otherwise a reason, and with 503 the time
//! after which to try again. What all requests hold together is bounded before it is held.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tidewatch_service_kit::{
    Shutdown,
    http::{self, Problem, ServeLimits, request_ids},
};
use tokio::net::TcpListener;

use crate::{
    collect::now_ms,
    config::Config,
    metrics::{Metrics, Origin},
    normalize::{Batch, ReadError, Rejection, RequestLimits, normalize},
    publish::{Encoded, Publish, PublishError},
};

mod body;

use body::{BodyError, Budget};

/// Bodies above this are read on a thread of their own: parsing must not stall the other connections.
const LARGE_BODY: usize = 64 << 10;

struct Door<P> {
    publisher: P,
    limits: RequestLimits,
    body_bytes: usize,
    budget: Budget,
    metrics: Metrics,
}

pub fn router<P: Publish>(config: &Config, publisher: P, metrics: Metrics) -> Router {
    let door = Arc::new(Door {
        publisher,
        limits: config.request_limits(),
        body_bytes: config.ingest_body_bytes as usize,
        budget: Budget::new(config.ingest_queue_bytes as usize, metrics.clone()),
        metrics,
    });
    Router::new()
        .route("/api/v1/ingest", post(ingest::<P>))
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "unknown_path", "there is nothing at this path")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "bad_parameter", "this path takes another method")
        })
        .layer(middleware::from_fn(request_ids))
        .with_state(door)
}

pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) {
    // long enough for a request that waits for Kafka
    let limits = ServeLimits { drain: Duration::from_secs(5), ..ServeLimits::default() };
    http::serve(listener, router, limits, shutdown).await;
}

async fn ingest<P: Publish>(State(door): State<Arc<Door<P>>>, request: Request) -> Response {
    let response = match door.ingest(request).await {
        Ok(accepted) => (StatusCode::ACCEPTED, Json(summary(&accepted))).into_response(),
        Err(problem) => problem.into_response(),
    };
    door.metrics.record_answer(response.status().as_u16());
    response
}

/// What of a body is told to the sender.
struct Accepted {
    frames: usize,
    samples: u64,
    rejected: u64,
    errors: Vec<Rejection>,
}

fn summary(accepted: &Accepted) -> Value {
    json!({
        "accepted": accepted.frames,
        "samples": accepted.samples,
        "rejected": accepted.rejected,
        "errors": errors(&accepted.errors),
    })
}

fn errors(rejections: &[Rejection]) -> Value {
    let one = |error: &Rejection| {
        json!({
            "index": error.index,
            "server": error.server,
            "metric": error.metric,
            "code": error.reason.code(),
            "detail": error.detail,
        })
    };
    rejections.iter().map(one).collect()
}

impl<P: Publish> Door<P> {
    async fn ingest(&self, request: Request) -> Result<Accepted, Problem> {
        let (body, mut held) =
            body::read(request, self.body_bytes, &self.budget).await.map_err(body_problem)?;
        let (batch, frames) = self.read(body).await?;
        for (reason, samples) in &batch.by_reason {
            self.metrics.record_rejected(*reason, *samples);
        }
        let accepted = Accepted {
            frames: frames.len(),
            samples: batch.samples,
            rejected: batch.rejected,
            errors: batch.errors,
        };
        if frames.is_empty() {
            let detail = format!("none of {} samples was good; `errors` says why", accepted.rejected);
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", detail)
                .with("rejected", json!(accepted.rejected))
                .with("errors", errors(&accepted.errors)));
        }
        let bytes = frames.iter().map(|frame| frame.bytes.len()).sum();
        held.grow(bytes).map_err(body_problem)?;
        self.publisher.publish(Origin::Http, &frames).await.map_err(|error| publish_problem(&error))?;
        Ok(accepted)
    }

    /// Parses, checks and encodes.
    async fn read(&self, body: Vec<u8>) -> Result<(Batch, Vec<Encoded>), Problem> {
        let (limits, large) = (self.limits, body.len() > LARGE_BODY);
        let work = move || {
            let mut batch = normalize(&body, now_ms(), &limits).map_err(|error| read_problem(&error))?;
            let frames = std::mem::take(&mut batch.frames);
            let encoded = frames.iter().map(Encoded::of).collect::<Result<Vec<_>, _>>();
            encoded.map(|frames| (batch, frames)).map_err(|error| internal(&error))
        };
        if large {
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(internal(&error.to_string())))
        } else {
            work()
        }
    }
}

/// A mistake of ours: said in the log, where somebody can act on it.
fn internal(error: &str) -> Problem {
    tracing::error!(error, "encode frame");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the frames could not be encoded")
}

fn read_problem(error: &ReadError) -> Problem {
    match error {
        ReadError::BadJson(_) => Problem::new(StatusCode::BAD_REQUEST, "bad_json", error.to_string()),
        ReadError::TooManyObjects(_) => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", error.to_string())
        }
    }
}

fn body_problem(error: BodyError) -> Problem {
    let detail = error.to_string();
    match error {
        BodyError::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail),
        BodyError::Encoded | BodyError::Broken | BodyError::Slow => {
            Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail)
        }
        BodyError::Full => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", detail).retry_after(1),
    }
}

fn publish_problem(error: &PublishError) -> Problem {
    let detail = format!("{error}; nothing of the request may be assumed written");
    let (code, seconds) = match error {
        PublishError::Full => ("queue_full", 1),
        PublishError::Open | PublishError::Timeout(_) | PublishError::Refused(_) => ("kafka_unavailable", 2),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(seconds)
}

#[cfg(test)]
mod tests;
