//! Route: what is this path, and who answers it?
//!
//! In: a request. Out: an answer, with the headers that every answer has. Keeps the order: authenticate, limit,
//! authorize, then the place itself. A refused request costs a token too.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    middleware,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tidewatch_service_kit::{
    Deps, Shutdown, breaker,
    http::{Problem, ServeLimits, request_ids},
};
use tokio::net::TcpListener;

use crate::{
    Config, Error, Network,
    authenticate::{Caller, Shown, Stranger, authenticate},
    authorize::authorize,
    forward::{Forwarder, Pool},
    keys::KeyFile,
    limit::{Buckets, Client, Standing},
    metrics::Metrics,
    peer::Peer,
    session::{Desk, now},
};

mod place;

pub(crate) use place::Place;

/// Everything a request passes.
#[derive(Debug)]
pub(crate) struct Door {
    keys: KeyFile,
    desk: Desk,
    trusted_proxies: Vec<Network>,
    default: Buckets,
    ingest_buckets: Buckets,
    forwarder: Forwarder,
    ingest: Pool,
    visualizer: Pool,
    metrics: Metrics,
    health: tidewatch_service_kit::health::Component,
}

impl Door {
    pub(crate) fn new(config: &Config, deps: &Deps) -> Result<Arc<Self>, Error> {
        let metrics = Metrics::new(&deps.metrics);
        let breakers = breaker::gauges(&deps.metrics);
        let pool = |name, upstreams: &[String]| {
            Pool::new(name, upstreams, config.breaker_failures, breakers.clone(), metrics.clone())
        };
        Ok(Arc::new(Self {
            keys: config.keys.clone(),
            desk: Desk::new(config, metrics.clone())?,
            trusted_proxies: config.trusted_proxies.clone(),
            default: Buckets::new("default", config.rate, config.burst),
            ingest_buckets: Buckets::new("ingest", config.ingest_rate, config.ingest_burst),
            ingest: pool("ingest", &config.ingest_upstreams),
            visualizer: pool("visualizer", &config.visualizer_upstreams),
            forwarder: Forwarder::new(config, metrics.clone()),
            metrics,
            health: deps.health.component("gateway"),
        }))
    }

    /// Checks all instances every `period`, until the wish to stop. Ready once each service had an instance; from then
    /// on as long as any has one: a door with one good room behind it stays open.
    pub(crate) fn watch_instances(
        self: &Arc<Self>,
        period: Duration,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + use<> {
        let door = Arc::clone(self);
        async move {
            let mut was_ready = false;
            loop {
                let check = |pool| door.forwarder.check(pool, &shutdown);
                let (ingest, visualizer) = tokio::join!(check(&door.ingest), check(&door.visualizer));
                let ready = if was_ready { ingest || visualizer } else { ingest && visualizer };
                was_ready |= ready;
                if ready {
                    door.health.ready();
                } else if ingest {
                    door.health.waiting("an instance of the visualizer");
                } else {
                    door.health.waiting("an instance of ingest");
                }
                // at a start the others come up too: look more often
                let pause = if was_ready { period } else { period.min(STARTING_PERIOD) };
                if !shutdown.sleep(pause).await {
                    return;
                }
            }
        }
    }

    /// Forgets clients that are long gone, until the wish to stop.
    pub(crate) fn tidy(self: &Arc<Self>, shutdown: Shutdown) -> impl Future<Output = ()> + use<> {
        let door = Arc::clone(self);
        async move {
            while shutdown.sleep(Duration::from_secs(10)).await {
                door.default.tidy();
                door.ingest_buckets.tidy();
            }
        }
    }

    async fn answer(&self, place: Place, connection: SocketAddr, request: Request) -> Response {
        let begun = Instant::now();
        let peer = Peer::of(connection.ip(), request.headers(), &self.trusted_proxies);
        let keys = self.keys.keys();
        let caller = authenticate(request.headers(), &keys, &self.desk.sessions, now());
        let role = caller.as_ref().map_or("none", |caller| caller.role.as_str());
        let standing = self.take(place, peer, &caller);
        let mut response = match standing.refusal() {
            Some(refusal) => {
                self.metrics.record_limited(standing.policy());
                refusal
            }
            None => self.admit(place, peer, caller, &keys, request).await,
        };
        standing.write(response.headers_mut());
        write_safety(place, response.headers_mut());
        self.metrics.record_answer(place.name(), response.status().as_u16(), role, begun.elapsed());
        response
    }

    fn take(&self, place: Place, peer: Peer, caller: &Result<Caller, Stranger>) -> Standing {
        let client = match caller {
            Ok(Caller { name, shown: Shown::Key, .. }) => Client::Key(Arc::clone(name)),
            Ok(Caller { name, shown: Shown::Session(_), .. }) => Client::Session(Arc::clone(name)),
            Err(_) => Client::Peer(peer.bucket()),
        };
        match place {
            Place::Ingest => self.ingest_buckets.take(client),
            _ => self.default.take(client),
        }
    }

    async fn admit(
        &self,
        place: Place,
        peer: Peer,
        caller: Result<Caller, Stranger>,
        keys: &crate::keys::KeySet,
        request: Request,
    ) -> Response {
        if let Err(refusal) = authorize(place, request.method(), request.headers(), &caller) {
            self.metrics.record_refused(refusal.problem.code());
            let mut headers = HeaderMap::new();
            refusal.write(&mut headers);
            return (headers, refusal.problem).into_response();
        }
        let caller = caller.ok();
        match place {
            Place::Ingest => self.forwarder.forward(&self.ingest, peer, caller.as_ref(), request).await,
            Place::Read
            | Place::Server
            | Place::Collect
            | Place::Acknowledge
            | Place::Silences
            | Place::Silence
            | Place::Page => self.forwarder.forward(&self.visualizer, peer, caller.as_ref(), request).await,
            Place::Session => {
                let (head, body) = request.into_parts();
                self.desk.session(&head.method, &head.headers, body, peer.bucket(), caller, keys).await
            }
            Place::SignIn => {
                self.desk.sign_in_by_code(request.headers(), request.uri().query(), peer.bucket())
            }
            Place::NowhereInApi | Place::Nowhere => {
                Problem::new(StatusCode::NOT_FOUND, "unknown_path", "there is nothing at this path")
                    .into_response()
            }
        }
    }
}

/// How often to look for instances before there were any.
const STARTING_PERIOD: Duration = Duration::from_millis(250);

/// What every answer tells a browser, unless the service behind said something stricter of its own.
const SAFETY: [(HeaderName, HeaderValue); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

fn write_safety(place: Place, headers: &mut HeaderMap) {
    for (name, value) in SAFETY {
        headers.entry(name).or_insert(value);
    }
    // what depends on who asks is nobody else's to keep
    if place != Place::Page {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    if place.is_in_api() {
        // what the service behind cannot say: it does not see how the door knows who asks
        headers.append(header::VARY, HeaderValue::from_static("authorization, x-api-key, cookie"));
    }
}

/// Answers until the wish to stop.
pub(crate) async fn serve(listener: TcpListener, door: Arc<Door>, shutdown: Shutdown) {
    let limits = ServeLimits { header_timeout: Duration::from_secs(10), ..ServeLimits::default() };
    tidewatch_service_kit::http::serve(listener, router(door), limits, shutdown).await;
}

pub(crate) fn router(door: Arc<Door>) -> Router {
    Router::new().fallback(answer).with_state(door).layer(middleware::from_fn(request_ids))
}

async fn answer(State(door): State<Arc<Door>>, request: Request) -> Response {
    let place = Place::of(request.uri().path());
    // the accept loop always says who is connected
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let connection = connection.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
    door.answer(place, connection, request).await
}

#[cfg(test)]
mod tests;
