//! The admin listener of every service: `/metrics`, `/healthz`, `/readyz`. Never reachable through the gateway.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{Deps, Shutdown, http};

/// Answers until the wish to stop.
pub async fn serve(listener: TcpListener, deps: Deps, shutdown: Shutdown) {
    http::serve(listener, router(deps), http::ServeLimits::default(), shutdown).await;
}

pub fn router(deps: Deps) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(deps)
}

async fn metrics(State(deps): State<Deps>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], deps.metrics.encode())
}

async fn ready(State(deps): State<Deps>) -> impl IntoResponse {
    let waiting = deps.health.waiting();
    if waiting.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let lines: Vec<_> = waiting.iter().map(|(name, why)| format!("{name} waits for: {why}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines.concat())
}
