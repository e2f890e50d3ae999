//! The least that an HTTP service in front of Redis can cost: what is asked for is a key, and its value is the answer. Through
//! the listener and the layers of our services, so that only what they do for an answer is left between the two.

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    middleware,
    routing::get,
};
use clap::Parser;
use redis::{AsyncCommands, aio::ConnectionManager};
use tidewatch_bench::Result;
use tidewatch_service_kit::{
    Shutdown,
    http::{ServeLimits, request_ids, serve},
};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

#[derive(Debug, Parser)]
#[command(about = "Answer with the value of a key of Redis")]
struct Args {
    #[arg(long)]
    listen: String,
    #[arg(long)]
    redis: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let redis = ConnectionManager::new(redis::Client::open(args.redis)?).await?;
    let router = Router::new()
        .route("/{key}", get(value))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(request_ids))
        .with_state(redis);
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    serve(TcpListener::bind(args.listen).await?, router, ServeLimits::default(), shutdown).await;
    Ok(())
}

async fn value(
    State(mut redis): State<ConnectionManager>,
    Path(key): Path<String>,
) -> std::result::Result<Bytes, StatusCode> {
    let value: Option<Vec<u8>> = redis.get(key).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    value.map(Bytes::from).ok_or(StatusCode::NOT_FOUND)
}
