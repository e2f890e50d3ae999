//! HTTP the safe way: an accept loop with header timeouts and a cap on connections, errors as problem+json, request
//! ids. `axum::serve` has no header timeout, hence the loop of our own.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use crate::Shutdown;

mod problem;
mod request_id;

pub use problem::Problem;
pub use request_id::{RequestId, request_ids};

/// What one listener puts up with.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Time for a request's head to arrive; also the idle time of a kept connection.
    pub header_timeout: Duration,
    /// Connections at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// After the wish to stop, time for the open requests.
    pub drain: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(30), connections: 4_096, drain: Duration::from_secs(3) }
    }
}

/// Answers until the wish to stop, then lets the open requests end.
pub async fn serve(listener: TcpListener, router: Router, limits: ServeLimits, shutdown: Shutdown) {
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = shutdown.wait() => break,
            permit = Arc::clone(&free).acquire_owned() => permit,
        };
        let stream = tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // out of descriptors, most likely: wait for some to close
                    tracing::warn!(%error, "accept connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let peer = stream.peer_addr().ok();
        let service = router.clone();
        let stop = shutdown.clone();
        open.spawn(async move {
            let service = tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                if let Some(peer) = peer {
                    request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
                }
                tower::ServiceExt::oneshot(service.clone(), request)
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
            let connection = builder
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                .with_upgrades();
            tokio::pin!(connection);
            // a peer that goes away mid-request is its own affair: nothing to log
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stop.wait() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(permit);
        });
        while open.try_join_next().is_some() {}
    }
    let all = async { while open.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(limits.drain, all).await;
}
