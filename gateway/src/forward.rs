//! Forward: hand a request to an instance and its answer back, both as streams.
//!
//! In: an admitted request and the instances of its service. Out: the answer of one of them, or why there is none.
//! Keeps: a call that may change something is sent a second time only when the first never left; a client that goes
//! away or dawdles is never held against an instance.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, Uri, header, uri::PathAndQuery};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tidewatch_service_kit::{BreakerError, Shutdown, http::Problem};

use crate::{Config, authenticate::Caller, metrics::Metrics, peer::Peer};

mod headers;
mod pool;
mod upload;

use pool::Instance;
pub(crate) use pool::Pool;
use upload::Upload;

/// Kept connections are dropped before an instance drops them (after 30 s idle), so that no request meets a closed one.
const IDLE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Forwarder {
    client: Client<HttpConnector, Upload>,
    answer_timeout: Duration,
    connect_timeout: Duration,
    health_path: Uri,
    tries: usize,
    body_bytes: u64,
    metrics: Metrics,
}

/// Why a try brought no good answer.
#[derive(Debug)]
enum Fault {
    /// Nothing was sent.
    Connect,
    /// 502, or 503 that does not say when to come again: perhaps another instance can.
    Unwell(Box<Response<Incoming>>),
    /// The connection broke after something was sent.
    Broken(ClientError),
    TimedOut,
    /// The client's doing, not the instance's.
    Client(upload::Ending),
}

impl Fault {
    fn kind(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Unwell(_) => "unwell",
            Self::Broken(_) => "broken",
            Self::TimedOut => "timeout",
            Self::Client(_) => "client",
        }
    }
}

impl Forwarder {
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(config.connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self {
            client,
            answer_timeout: config.answer_timeout,
            connect_timeout: config.connect_timeout,
            // the settings let only good paths through
            health_path: config.health_path.parse().unwrap_or(Uri::from_static("/")),
            tries: usize::from(config.retries) + 1,
            body_bytes: u64::from(config.body_bytes),
            metrics,
        }
    }

    /// The answer to a request that may pass.
    pub(crate) async fn forward(
        &self,
        pool: &Pool,
        peer: Peer,
        caller: Option<&Caller>,
        request: Request,
    ) -> Response {
        let (mut head, body) = request.into_parts();
        headers::to_service(&mut head, peer, caller);
        let idempotent = matches!(head.method, Method::GET | Method::HEAD);
        let upload = if idempotent {
            headers::without_body(&mut head.headers);
            Upload::none()
        } else {
            match Upload::new(body, &head.headers, self.body_bytes) {
                Some(upload) => upload,
                None => return self.too_large(),
            }
        };
        let outcome = self.try_instances(pool, &head, &upload, idempotent).await;
        match outcome {
            Ok(response) => hand_back(response),
            Err(Some(Fault::Unwell(response))) => hand_back(*response),
            Err(Some(Fault::TimedOut)) => {
                let detail = format!("{} took longer than {} s", pool.name(), self.answer_timeout.as_secs());
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", detail).into_response()
            }
            Err(Some(Fault::Client(upload::Ending::TooLarge))) => self.too_large(),
            Err(Some(Fault::Client(upload::Ending::Unfinished))) => {
                let detail = format!("the body did not arrive within {} s", self.answer_timeout.as_secs());
                Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail).into_response()
            }
            Err(Some(Fault::Connect | Fault::Broken(_)) | None) => {
                let detail = format!("no instance of {} can answer at the moment", pool.name());
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_instance", detail)
                    .retry_after(2)
                    .into_response()
            }
        }
    }

    fn too_large(&self) -> Response {
        let detail = format!("a body has {} bytes at most", self.body_bytes);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).into_response()
    }

    /// Tries the instances in turn; the last fault when none could, `None` when none was there to try.
    async fn try_instances(
        &self,
        pool: &Pool,
        head: &http::request::Parts,
        upload: &Upload,
        idempotent: bool,
    ) -> Result<Response<Incoming>, Option<Fault>> {
        let (mut tries, mut last) = (0, None);
        for instance in pool.in_turn() {
            if tries == self.tries {
                break;
            }
            let request = headers::request(head, instance.address, upload.again());
            let fault = match self.call(&instance, request, upload.again()).await {
                Ok(response) => return Ok(response),
                // nothing was sent: the next one's turn, and no try of ours
                Err(BreakerError::Open) => continue,
                Err(BreakerError::Failed(fault)) => fault,
            };
            tries += 1;
            if !matches!(fault, Fault::Client(_)) {
                self.metrics.record_failure(pool.name(), fault.kind());
            }
            if let Fault::Broken(error) = &fault {
                tracing::debug!(service = pool.name(), instance = %instance.address, %error, "call broke");
            }
            let again = match fault {
                Fault::Connect => !upload.was_touched(),
                Fault::Unwell(_) | Fault::Broken(_) => idempotent,
                // somebody has waited long enough
                Fault::TimedOut | Fault::Client(_) => false,
            };
            last = Some(fault);
            if !again {
                break;
            }
            if tries < self.tries {
                self.metrics.record_retry(pool.name());
            }
        }
        Err(last)
    }

    /// One try, in a task of its own: a client that goes away drops this future, not the call, which would count as
    /// the instance's failure.
    async fn call(
        &self,
        instance: &Arc<Instance>,
        request: http::Request<Upload>,
        upload: Upload,
    ) -> Result<Response<Incoming>, BreakerError<Fault>> {
        let (client, timeout, instance) = (self.client.clone(), self.answer_timeout, Arc::clone(instance));
        let call = async move {
            let fate = match tokio::time::timeout(timeout, client.request(request)).await {
                Ok(Ok(response)) if is_unwell(&response) => Fault::Unwell(Box::new(response)),
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if error.is_connect() => Fault::Connect,
                Ok(Err(error)) => upload.ending().map_or(Fault::Broken(error), Fault::Client),
                Err(_) => upload.ending().map_or(Fault::TimedOut, Fault::Client),
            };
            Err(fate)
        };
        let guarded = tokio::spawn(async move {
            instance.breaker.call_if(|fault| !matches!(fault, Fault::Client(_)), call).await
        });
        // a task ends early only when the runtime does
        guarded.await.unwrap_or(Err(BreakerError::Open))
    }

    /// Looks up the addresses and asks each whether it lives; whether any does.
    pub(crate) async fn check(&self, pool: &Pool, shutdown: &Shutdown) -> bool {
        pool.look_up().await;
        let mut any = false;
        for instance in pool.instances().iter() {
            let up = self.lives(instance).await;
            any |= up;
            pool.note(instance, up, shutdown.is_triggered());
        }
        any
    }

    async fn lives(&self, instance: &Instance) -> bool {
        let path = self.health_path.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let request = headers::plain(Method::GET, instance.address, path, Upload::none());
        let time = self.connect_timeout + Duration::from_secs(1);
        match tokio::time::timeout(time, self.client.request(request)).await {
            Ok(Ok(response)) => !response.status().is_server_error(),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

fn is_unwell(response: &Response<Incoming>) -> bool {
    match response.status() {
        StatusCode::BAD_GATEWAY => true,
        StatusCode::SERVICE_UNAVAILABLE => !response.headers().contains_key(header::RETRY_AFTER),
        _ => false,
    }
}

fn hand_back(response: Response<Incoming>) -> Response {
    let (mut head, body) = response.into_parts();
    headers::to_client(&mut head.headers);
    Response::from_parts(head, Body::new(body))
}
