//! The HTTP surface: which path is answered by what, and what every answer carries. In: requests. Out: JSON with its source,
//! kept answers while PostgreSQL is away, the live stream, the pages.
//!
//! Keeps: a stale answer always says so and how old it is; no question takes more than its share; what changes anything is let through by the door.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use tidewatch_service_kit::http::{Problem, request_ids};
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;

use crate::{
    acknowledge,
    app::{App, Failure, Mode, busy},
    chart::ChartQuestion,
    collect, edit,
    events::Filter,
    fleet::{self, Overview},
    format::Format,
    fresh::{self, Given, SOURCE, STALE},
    incidents,
    keep::{Answer, Source},
    live,
    names::{MetricsView, NamesQuestion, ValuesView},
    openapi::{self, QueryAnswer, asked},
    pages,
    params::{HOUR, Params, Range},
    query::{Question, many::ManyQuestion},
    samples::SamplesQuestion,
    servers::ServersQuestion,
    silences::{self, SilencesQuestion},
    views::{AlertView, AnomalyView, MetricView, ServerView},
};

/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(2);

const PICTURE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

static DEGRADED: HeaderName = HeaderName::from_static("x-tidewatch-degraded");

/// What the document describes; a test holds it against the router.
#[derive(OpenApi)]
#[openapi(
    paths(
        servers,
        server,
        edit::patch,
        collect::collect,
        metrics,
        query,
        chart,
        fleet,
        alerts,
        acknowledge::acknowledge,
        acknowledge::withdraw,
        incidents::incidents,
        incidents::incident,
        silences::silences,
        silences::silence,
        silences::create_silence,
        silences::end_silence,
        anomalies,
        metric_names,
        label_values,
        live::stream::live,
        openapi::describe
    ),
    components(schemas(live::Window, live::Summary))
)]
pub(crate) struct Described;

pub(crate) fn router(app: Arc<App>) -> Router {
    let questions = Router::new()
        .route("/api/v1/servers", get(servers))
        .route("/api/v1/servers/{server}", get(server).patch(edit::patch))
        .route("/api/v1/metrics/{server}", get(metrics))
        .route("/api/v1/query", get(query))
        .route("/api/v1/charts/{file}", get(chart))
        .route("/api/v1/fleet", get(fleet))
        .route("/api/v1/alerts", get(alerts))
        .route(
            "/api/v1/alerts/{id}/acknowledge",
            post(acknowledge::acknowledge).delete(acknowledge::withdraw),
        )
        .route("/api/v1/incidents", get(incidents::incidents))
        .route("/api/v1/incidents/{id}", get(incidents::incident))
        .route("/api/v1/silences", get(silences::silences).post(silences::create_silence))
        .route("/api/v1/silences/{id}", get(silences::silence).delete(silences::end_silence))
        .route("/api/v1/anomalies", get(anomalies))
        .route("/api/v1/metric-names", get(metric_names))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route_layer(middleware::from_fn(fresh::conditional))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), take_turns));
    Router::new()
        .merge(questions)
        .route("/api/v1/servers/{server}/collect", post(collect::collect))
        .route("/api/v1/live", get(live::stream::live))
        .route("/api/v1/openapi.json", get(openapi::describe))
        .route("/healthz", get(async || "ok\n"))
        .fallback(pages::page)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), measure))
        // the default leaves event streams alone
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(pages::security_headers))
        .layer(middleware::from_fn(request_ids))
        .with_state(app)
}

/// Middleware: so many questions at once; others wait for a moment.
async fn take_turns(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(TURN, app.queries.acquire()).await {
        Ok(Ok(_turn)) => next.run(request).await,
        _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", "too many queries at once")
            .retry_after(1)
            .into_response(),
    }
}

/// Middleware: counts the answer and its time to the first byte.
async fn measure(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = route_of(request.uri().path());
    let start = Instant::now();
    let mut response = next.run(request).await;
    if route.starts_with("/api/") && app.is_degraded() {
        response.headers_mut().insert(DEGRADED.clone(), HeaderValue::from_static("redis"));
    }
    let headers = response.headers();
    let source = if headers.contains_key(&STALE) {
        "kept"
    } else {
        headers.get(&SOURCE).and_then(|v| v.to_str().ok()).unwrap_or("none")
    };
    app.metrics.record_request(route, response.status().as_u16(), source, start.elapsed());
    response
}

/// The route's template: what a request may name must not become a label.
fn route_of(path: &str) -> &'static str {
    let Some(rest) = path.strip_prefix("/api/v1/") else {
        return if path.starts_with("/api") { "/api/other" } else { "pages" };
    };
    match rest.split('/').next().unwrap_or_default() {
        "servers" if rest.matches('/').count() == 2 && rest.ends_with("/collect") => {
            "/api/v1/servers/{server}/collect"
        }
        "servers" if rest.contains('/') => "/api/v1/servers/{server}",
        "servers" => "/api/v1/servers",
        "metrics" => "/api/v1/metrics/{server}",
        "query" => "/api/v1/query",
        "charts" => "/api/v1/charts/{server}",
        "fleet" => "/api/v1/fleet",
        "alerts" if rest.contains('/') => "/api/v1/alerts/{id}/acknowledge",
        "alerts" => "/api/v1/alerts",
        "incidents" if rest.contains('/') => "/api/v1/incidents/{id}",
        "incidents" => "/api/v1/incidents",
        "silences" if rest.contains('/') => "/api/v1/silences/{id}",
        "silences" => "/api/v1/silences",
        "anomalies" => "/api/v1/anomalies",
        "metric-names" => "/api/v1/metric-names",
        "label" => "/api/v1/label/{name}/values",
        "live" => "/api/v1/live",
        "openapi.json" => "/api/v1/openapi.json",
        _ => "/api/other",
    }
}

/// A question that was understood.
#[derive(Debug)]
pub(crate) enum Ask {
    Servers(ServersQuestion),
    Server(String),
    /// With the path that was asked.
    Samples(SamplesQuestion, String),
    Columns(Question),
    Many(ManyQuestion),
    Chart(ChartQuestion),
    Fleet(Range),
    Alerts(Filter),
    Incidents(Filter),
    Incident(String),
    Silences(SilencesQuestion),
    Silence(String),
    Anomalies(Filter),
    Names(NamesQuestion),
}

impl Ask {
    async fn answer(&self, app: &App, key: &str, mode: Mode) -> Result<Answer, Failure> {
        match self {
            Self::Servers(question) => {
                let overview = overview(app, mode).await?;
                let (views, link) = question.page(&overview)?;
                Ok(Answer { link, ..json(&views, source_of(mode), overview.as_of)? })
            }
            Self::Server(wanted) => server_view(app, wanted, mode).await,
            Self::Samples(question, path) => app.samples(question, path, mode).await,
            Self::Columns(question) => app.query(question, mode).await,
            Self::Many(question) => app.query_many(question, mode).await,
            Self::Chart(question) => app.chart(question, mode).await,
            Self::Fleet(range) => app.fleet_page(*range, key, mode).await,
            Self::Alerts(filter) => app.alerts(filter, mode).await,
            Self::Incidents(filter) => app.incidents(filter, mode).await,
            Self::Incident(id) => app.incident(id, mode).await,
            Self::Silences(question) => app.silences(*question, mode).await,
            Self::Silence(id) => app.silence(id, mode).await,
            Self::Anomalies(filter) => app.anomalies(filter, mode).await,
            Self::Names(question) => app.names(question, mode).await,
        }
    }
}

async fn overview(app: &App, mode: Mode) -> Result<Arc<Overview>, Failure> {
    let (overview, there) = app.overview(mode).await?;
    if there {
        app.metrics.record_cache_hit("shared");
    }
    Ok(overview)
}

/// One server as it is shown.
pub(crate) async fn server_view(app: &App, wanted: &str, mode: Mode) -> Result<Answer, Failure> {
    let overview = overview(app, mode).await?;
    let id = app.server(wanted).await?.id;
    // not there: newer than the overview, for two seconds at most
    let server = overview.directory.servers.iter().find(|s| s.id == id).ok_or_else(busy)?;
    let view = ServerView::new(server, overview.status(server), overview.open(id).len());
    json(&view, source_of(mode), overview.as_of)
}

/// The fresh answer; while PostgreSQL is away the one that was kept for this question, else what Redis last knew.
pub(crate) async fn answer(app: &App, key: String, ask: Ask) -> Result<Response, Problem> {
    let given = |stale| Given { stale, degraded: app.is_degraded(), now: (app.clock)() };
    match Box::pin(ask.answer(app, &key, Mode::Fresh)).await {
        Ok(answer) => {
            app.kept.put(&key, answer.clone());
            Ok(fresh::respond(answer, given(false)))
        }
        Err(Failure::Outage(why)) => {
            tracing::debug!(%why, "answer from memory");
            let stale = if let Some(kept) = app.kept.get(&key) {
                app.metrics.record_cache_hit("kept");
                kept
            } else {
                match Box::pin(ask.answer(app, &key, Mode::LastKnown)).await {
                    Ok(last) => last,
                    // it is the outage that has to be told, not what Redis lacks
                    Err(_) => return Err(Failure::Outage(why).into()),
                }
            };
            Ok(fresh::respond(stale, given(true)))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// A small answer, made on the spot.
pub(crate) fn json(value: &impl Serialize, source: Source, as_of: i64) -> Result<Answer, Failure> {
    let json = serde_json::to_vec(value).map_err(|error| Failure::Outage(error.to_string()))?;
    Ok(Answer { body: json.into(), format: Format::Json, source, link: None, as_of, ends: None })
}

fn source_of(mode: Mode) -> Source {
    if mode == Mode::Fresh { Source::Postgres } else { Source::Redis }
}

/// All servers, or those asked for.
#[utoipa::path(
    get, path = "/api/v1/servers", tag = "Servers", params(asked::Servers),
    responses((status = 200, description = "By name, if no order is asked for", body = [ServerView]))
)]
async fn servers(State(app): State<Arc<App>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let question = ServersQuestion::parse(Params::parse(raw.as_deref(), &ServersQuestion::KNOWN)?)?;
    answer(&app, question.key(), Ask::Servers(question)).await
}

/// One server.
#[utoipa::path(
    get, path = "/api/v1/servers/{server}", tag = "Servers",
    params(("server" = String, Path, description = "Id or name of a server", example = "web-1")),
    responses((status = 200, description = "As in the list", body = ServerView))
)]
async fn server(
    State(app): State<Arc<App>>,
    Path(wanted): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    Params::parse(raw.as_deref(), &[])?;
    answer(&app, format!("server {wanted:?}"), Ask::Server(wanted)).await
}

/// Single values of a server, page by page.
#[utoipa::path(
    get, path = "/api/v1/metrics/{server}", tag = "Values",
    params(("server" = String, Path, description = "Id or name of a server", example = "web-1"), asked::Metrics),
    responses((status = 200, description = "By time, then id", content(
        ([MetricView] = "application/json"), (String = "text/csv"), ([MetricView] = "application/msgpack")
    )))
)]
async fn metrics(
    State(app): State<Arc<App>>,
    Path(wanted): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let now = (app.clock)();
    let params = Params::parse(raw.as_deref(), &SamplesQuestion::KNOWN)?;
    let question = SamplesQuestion::parse(&params, wanted, Format::of(&params, &headers)?, now)?;
    answer(&app, question.key(now), Ask::Samples(question, uri.path().to_owned())).await
}

/// Columns for charts: all of one server, or a metric over many.
#[utoipa::path(
    get, path = "/api/v1/query", tag = "Values", params(asked::Query),
    responses((status = 200, description = "On one grid of time", content(
        (QueryAnswer = "application/json"), (String = "text/csv"), (QueryAnswer = "application/msgpack")
    )))
)]
async fn query(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let now = (app.clock)();
    if Params::names(raw.as_deref(), "server") && !Params::names(raw.as_deref(), "agg") {
        let params = Params::parse(raw.as_deref(), &Question::KNOWN)?;
        let question = Question::read(&params, Format::of(&params, &headers)?, now)?;
        return answer(&app, question.key(now), Ask::Columns(question)).await;
    }
    let params = Params::parse(raw.as_deref(), &ManyQuestion::KNOWN)?;
    let question = ManyQuestion::parse(&params, Format::of(&params, &headers)?, now)?;
    answer(&app, question.key(now), Ask::Many(question)).await
}

/// A chart as a picture, with the expected band, anomalies and alerts.
#[utoipa::path(
    get, path = "/api/v1/charts/{file}", tag = "Values",
    params(("file" = String, Path, description = "Id or name of a server, with .svg or .png behind it", example = "web-1.svg"), asked::Chart),
    responses((status = 200, description = "The picture", content(
        (String = "image/svg+xml"), (Vec<u8> = "image/png")
    )))
)]
async fn chart(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let now = (app.clock)();
    let question = ChartQuestion::read(&file, raw.as_deref(), now)?;
    let mut response = answer(&app, question.key(now), Ask::Chart(question)).await?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    // opened alone an SVG is a document: it may load and run nothing
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PICTURE_POLICY));
    Ok(response)
}

/// The fleet at a glance: states, sparklines, the last day.
#[utoipa::path(
    get, path = "/api/v1/fleet", tag = "Servers", params(asked::Fleet),
    responses((status = 200, description = "All servers", body = fleet::Page))
)]
async fn fleet(State(app): State<Arc<App>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let now = (app.clock)();
    let range = Params::parse(raw.as_deref(), &fleet::KNOWN)?.range(now, 2 * HOUR)?;
    answer(&app, format!("fleet {}", range.key(now)), Ask::Fleet(range)).await
}

/// Alerts, open and past.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "Incidents", params(asked::Alerts),
    responses((status = 200, description = "Open ones first, then newest first", body = [AlertView]))
)]
async fn alerts(State(app): State<Arc<App>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), &Filter::OF_ALERTS)?;
    let filter = Filter::parse(&params, (app.clock)())?;
    answer(&app, format!("alerts {params:?}"), Ask::Alerts(filter)).await
}

/// Windows that left what was expected.
#[utoipa::path(
    get, path = "/api/v1/anomalies", tag = "Incidents", params(asked::Anomalies),
    responses((status = 200, description = "Newest first", body = [AnomalyView]))
)]
async fn anomalies(State(app): State<Arc<App>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), &Filter::OF_ANOMALIES)?;
    let filter = Filter::parse(&params, (app.clock)())?;
    answer(&app, format!("anomalies {params:?}"), Ask::Anomalies(filter)).await
}

/// Names of metrics, for completion.
#[utoipa::path(
    get, path = "/api/v1/metric-names", tag = "Names", params(asked::MetricNames),
    responses((status = 200, description = "In the order of their bytes", body = MetricsView))
)]
async fn metric_names(State(app): State<Arc<App>>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), &NamesQuestion::OF_METRICS)?;
    let question = NamesQuestion::parse(None, &params)?;
    answer(&app, question.key(), Ask::Names(question)).await
}

/// Values of a label of series or servers, for completion.
#[utoipa::path(
    get, path = "/api/v1/label/{name}/values", tag = "Names",
    params(
        ("name" = String, Path, description = "A label, or server.<label> for one of servers alone", example = "server.name"),
        asked::LabelValues
    ),
    responses((status = 200, description = "In the order of their bytes", body = ValuesView))
)]
async fn label_values(
    State(app): State<Arc<App>>,
    Path(label): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), &NamesQuestion::OF_LABEL)?;
    let question = NamesQuestion::parse(Some(label), &params)?;
    answer(&app, question.key(), Ask::Names(question)).await
}

#[cfg(test)]
pub(crate) mod tests;
