//! `/api/v1/silences`: alerts that nobody wants to hear of for a while. In: what they are about, from when to when, and why; let
//! through for an admin. Out: silences, newest first.
//!
//! Keeps: a silence marks alerts where they are read and stops nothing; one that was ended stays to be seen; who made it comes
//! from the door alone.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use tidewatch_schemas::{Labels, time::rfc3339};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Error, Silence, SilenceState};
use utoipa::ToSchema;

use crate::{
    app::{App, Failure, Mode, busy},
    incidents::unknown,
    keep::{Answer, Source},
    openapi::{asked, schemas},
    params::{Params, bad},
    routes::{Ask, answer, json},
    sent,
};

mod read;

use read::SilenceBody;

/// Which silences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SilencesQuestion {
    state: Option<SilenceState>,
    limit: usize,
}

impl SilencesQuestion {
    pub(crate) const KNOWN: [&str; 2] = ["state", "limit"];

    pub(crate) fn parse(params: &Params) -> Result<Self, Problem> {
        let state = params.get("state").map(|wanted| {
            let known = SilenceState::ALL.into_iter().find(|state| state.as_str() == wanted);
            known.ok_or_else(|| bad("state", "has to be pending, active or ended"))
        });
        let limit = params.number("limit", 1, 1_000)?.unwrap_or(100) as usize;
        Ok(Self { state: state.transpose()?, limit })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Scope)]
struct ScopeView {
    server: Option<String>,
    metric: Option<String>,
    #[schema(schema_with = schemas::labels)]
    labels: Labels,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Silence)]
pub(crate) struct SilenceView {
    id: i32,
    #[schema(schema_with = schemas::silence_state)]
    state: &'static str,
    matchers: ScopeView,
    #[schema(format = DateTime)]
    starts_at: String,
    #[schema(format = DateTime)]
    ends_at: String,
    comment: String,
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
}

impl SilenceView {
    fn new(silence: Silence, now: i64) -> Self {
        let (id, state, said) = (silence.id, silence.state(now).as_str(), silence.said);
        let scope = said.scope;
        Self {
            id,
            state,
            matchers: ScopeView { server: scope.server, metric: scope.metric, labels: scope.labels },
            starts_at: rfc3339(said.starts_ms),
            ends_at: rfc3339(said.ends_ms),
            comment: said.comment,
            created_by: said.created_by,
            created_at: rfc3339(said.created_ms),
        }
    }
}

impl App {
    pub(crate) async fn silences(&self, asked: SilencesQuestion, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let now = (self.clock)();
        let found = self.store.history.silences(asked.state, now, asked.limit).await?;
        let views: Vec<_> = found.into_iter().map(|silence| SilenceView::new(silence, now)).collect();
        json(&views, Source::Postgres, now)
    }

    pub(crate) async fn silence(&self, wanted: &str, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let found = match wanted.parse::<i32>() {
            Ok(id) => self.store.history.silence(id).await?,
            Err(_) => None,
        };
        self.one_silence(found, wanted)
    }

    fn one_silence(&self, found: Option<Silence>, wanted: &str) -> Result<Answer, Failure> {
        let now = (self.clock)();
        let silence = found.ok_or_else(|| unknown("silence", "unknown_silence", wanted))?;
        json(&SilenceView::new(silence, now), Source::Postgres, now)
    }
}

/// Silences, also those that have ended.
#[utoipa::path(
    get, path = "/api/v1/silences", tag = "Incidents", params(asked::Silences),
    responses((status = 200, description = "Newest first", body = [SilenceView]))
)]
pub(crate) async fn silences(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), &SilencesQuestion::KNOWN)?;
    let question = SilencesQuestion::parse(&params)?;
    answer(&app, format!("silences {params:?}"), Ask::Silences(question)).await
}

/// One silence.
#[utoipa::path(
    get, path = "/api/v1/silences/{id}", tag = "Incidents",
    params(("id" = i32, Path, description = "Id of a silence", example = json!(1))),
    responses((status = 200, description = "As in the list", body = SilenceView))
)]
pub(crate) async fn silence(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    Params::parse(raw.as_deref(), &[])?;
    answer(&app, format!("silence {id:?}"), Ask::Silence(id)).await
}

/// Silence alerts for a while: they are marked, and raised all the same.
#[utoipa::path(
    post, path = "/api/v1/silences", tag = "Incidents",
    request_body(
        content = SilenceBody, description = "Only an admin may",
        example = json!({"matchers": {"server": "web-*"}, "ends_at": "now+2h", "comment": "New disks"})
    ),
    responses((
        status = 201, description = "The silence", body = SilenceView,
        headers(("Location" = String, description = "Where it is"))
    ))
)]
pub(crate) async fn create_silence(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    sent::let_through(&headers, "silence alerts")?;
    Params::parse(raw.as_deref(), &[])?;
    let members = sent::members(&headers, body, sent::JSON).await?;
    let new = read::silence(members, sent::client(&headers), (app.clock)())?;
    let silence = match app.store.history.create_silence(&new).await {
        Err(Error::TooMuch(most)) => {
            return Err(sent::bad_value(
                "body",
                &format!("there may be {most} silences that have not ended"),
            ));
        }
        made => made.map_err(Failure::from)?,
    };
    tracing::info!(client = new.created_by, silence = silence.id, "alerts silenced by a person");
    app.forget_alerts();
    let place = format!("/api/v1/silences/{}", silence.id);
    let answer = app.one_silence(Some(silence), "")?;
    let mut response = sent::told(answer, StatusCode::CREATED);
    if let Ok(place) = HeaderValue::try_from(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// End a silence now; it stays in the list.
#[utoipa::path(
    delete, path = "/api/v1/silences/{id}", tag = "Incidents",
    params(("id" = i32, Path, description = "Id of a silence", example = json!(1))),
    responses((status = 200, description = "The silence, which has ended", body = SilenceView))
)]
pub(crate) async fn end_silence(
    State(app): State<Arc<App>>,
    Path(wanted): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    sent::let_through(&headers, "end a silence")?;
    Params::parse(raw.as_deref(), &[])?;
    let found = match wanted.parse::<i32>() {
        Ok(id) => app.store.history.end_silence(id, (app.clock)()).await.map_err(Failure::from)?,
        Err(_) => None,
    };
    let answer = app.one_silence(found, &wanted)?;
    tracing::info!(client = sent::client(&headers), silence = wanted, "silence ended by a person");
    app.forget_alerts();
    Ok(sent::told(answer, StatusCode::OK))
}
