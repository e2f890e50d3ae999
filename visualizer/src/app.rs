//! What all requests share: the store, the directory of servers, answers in memory, limits, the live stream.
//!
//! Keeps: an outage of PostgreSQL is told apart from a wrong question; only the first may be answered from memory.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use tidewatch_service_kit::{Shutdown, http::Problem};
use tidewatch_store::{Error as StoreError, FleetPoint, Server, Store};
use tokio::sync::Semaphore;

use crate::{
    chart,
    collect::Requests,
    fleet::{self, Overview},
    keep::{Kept, Shared, SharedByKey},
    live::Events,
    metrics::Metrics,
    outlet::Outlet,
    query::many::cached::Reduction,
};

/// How long the directory and the fleet's state are good for.
pub(crate) const SHARED: Duration = Duration::from_secs(1);

/// The same while no server is known: whoever just started the first one waits for it.
const SHARED_EMPTY: Duration = Duration::from_millis(200);

/// Whether an answer has to be true now, or may be the last that is known (and is marked so).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Fresh,
    LastKnown,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The question is no good.
    Problem(Problem),
    /// PostgreSQL is away.
    Outage(String),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_outage() {
            return Self::Outage(error.to_string());
        }
        if let StoreError::TooMuch(rows) = error {
            return Self::Problem(too_much(&format!("the answer needs more than {rows} rows")));
        }
        if matches!(error, StoreError::Timeout(_)) {
            return Self::Problem(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "query_too_slow",
                "the database gave up on it: ask for a shorter range, a larger step or fewer series",
            ));
        }
        tracing::error!(error = %tidewatch_service_kit::service::chain(&error), "read history");
        Self::Problem(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "the history could not be read; the log says why",
        ))
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Problem(problem) => problem,
            Failure::Outage(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "history_unavailable",
                "the history cannot be read at the moment",
            )
            .retry_after(5),
        }
    }
}

/// 400 for a question whose answer is too large.
pub(crate) fn too_much(why: &str) -> Problem {
    crate::params::bad("from", &format!("{why}: ask for a shorter range, a larger step or fewer metrics"))
}

/// All servers by name.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) servers: Vec<Server>,
    by_name: HashMap<String, usize>,
}

impl Directory {
    /// From here on, their labels are those that are shown.
    pub(crate) fn new(mut servers: Vec<Server>) -> Self {
        for server in &mut servers {
            server.labels = server.shown_labels();
        }
        let by_name = servers.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
        Self { servers, by_name }
    }

    /// By id when it is a number that is one, else by name.
    pub(crate) fn find(&self, wanted: &str) -> Option<&Server> {
        let by_id = wanted.parse().ok().and_then(|id: i32| self.servers.iter().find(|s| s.id == id));
        by_id.or_else(|| self.by_name.get(wanted).map(|&index| &self.servers[index]))
    }
}

/// Shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) shutdown: Shutdown,
    /// Milliseconds since 1970; tests stop it.
    pub(crate) clock: fn() -> i64,
    pub(crate) queries: Semaphore,
    pub(crate) live_clients: Arc<Semaphore>,
    pub(crate) drawing: Arc<Semaphore>,
    pub(crate) outlet: Outlet,
    pub(crate) requests: Requests,
    pub(crate) max_points: usize,
    pub(crate) silent_after: i64,
    pub(crate) kept: Kept,
    pub(crate) redis_away: AtomicBool,
    pub(crate) overview: Shared<Overview>,
    pub(crate) past: Shared<fleet::Past>,
    pub(crate) series_counts: Shared<HashMap<i32, i64>>,
    /// From when on each tier has windows.
    pub(crate) kept_from: Shared<[Option<i64>; 4]>,
    /// Names that histograms of some server have.
    pub(crate) histogram_names: Shared<Vec<String>>,
    directory: Shared<Directory>,
    /// The summary gauges of a range of the fleet page.
    pub(crate) gauges: SharedByKey<Vec<FleetPoint>>,
    pub(crate) reduced: SharedByKey<Reduction>,
}

impl App {
    pub(crate) fn new(
        config: &crate::Config,
        store: Store,
        metrics: Metrics,
        events: Events,
        shutdown: Shutdown,
        clock: fn() -> i64,
    ) -> Self {
        Self {
            store,
            metrics,
            events,
            shutdown,
            clock,
            queries: Semaphore::new(config.visualizer_concurrency),
            live_clients: Arc::new(Semaphore::new(config.visualizer_live_clients)),
            drawing: Arc::new(Semaphore::new(chart::DRAWN_AT_ONCE)),
            outlet: Outlet::new(&config.kafka),
            requests: Requests::default(),
            max_points: config.visualizer_max_points,
            silent_after: config.visualizer_silent_after.as_millis() as i64,
            kept: Kept::new(config.visualizer_kept_answers, config.visualizer_kept_mib << 20),
            redis_away: AtomicBool::new(false),
            overview: Shared::default(),
            past: Shared::default(),
            series_counts: Shared::default(),
            kept_from: Shared::default(),
            histogram_names: Shared::default(),
            directory: Shared::default(),
            gauges: SharedByKey::default(),
            reduced: SharedByKey::default(),
        }
    }

    /// All servers as PostgreSQL has them.
    pub(crate) async fn directory(&self) -> Result<Arc<Directory>, Failure> {
        let read = async { Ok(Directory::new(self.store.history.servers().await?)) };
        Ok(self.directory.get(self.good_for().await, busy, read).await?.0)
    }

    /// How long what is shared by all requests is good for.
    pub(crate) async fn good_for(&self) -> Duration {
        let is_empty = self.directory.last().await.is_none_or(|directory| directory.servers.is_empty());
        if is_empty { SHARED_EMPTY } else { SHARED }
    }

    /// Who is meant. Ids and names do not change, so an old directory is as good while PostgreSQL is away.
    pub(crate) async fn server(&self, wanted: &str) -> Result<Server, Failure> {
        let directory = match self.directory().await {
            Ok(directory) => directory,
            Err(Failure::Outage(why)) => match self.directory.last().await {
                Some(directory) => directory,
                None => match self.store.hot.servers_last_known().await {
                    Some(servers) => Arc::new(Directory::new(servers)),
                    None => return Err(Failure::Outage(why)),
                },
            },
            Err(problem) => return Err(problem),
        };
        directory.find(wanted).cloned().ok_or_else(|| unknown_server(wanted).into())
    }

    /// A server changed: what is known of servers is asked for again, and an answer of before is given out no more.
    pub(crate) async fn forget_servers(&self) {
        self.directory.outdate().await;
        // after it: one that is being computed now may hold the directory of before
        self.overview.outdate().await;
        self.kept.forget(|key| ["server", "fleet", "names"].iter().any(|about| key.starts_with(about)));
    }

    /// People did something about alerts: an answer of before is given out no more.
    pub(crate) fn forget_alerts(&self) {
        self.kept.forget(|key| ["alerts", "incident", "silence"].iter().any(|about| key.starts_with(about)));
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.redis_away.load(Ordering::Relaxed) || self.store.hot.is_open()
    }
}

pub(crate) fn unknown_server(wanted: &str) -> Problem {
    let wanted: String = wanted.chars().take(253).collect();
    let detail = format!("no server has the id or name \"{wanted}\"");
    Problem::new(StatusCode::NOT_FOUND, "unknown_server", detail)
}

/// For those who come just after somebody else's try failed.
pub(crate) fn busy() -> Failure {
    Failure::Outage("postgresql did not answer a moment ago".to_owned())
}
