//! `POST` and `DELETE /api/v1/alerts/{id}/acknowledge`: that somebody takes care of an alert. In: a note, let through for an
//! admin. Out: the alert as the list shows it.
//!
//! Keeps: who it is comes from the door alone; the same said again changes nothing.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::{Map, Value};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Acknowledgement, TrackedAlert};
use utoipa::ToSchema;

use crate::{
    app::{App, Failure},
    incidents::{is_id, unknown},
    keep::Source,
    params::Params,
    routes::json,
    sent,
    views::AlertView,
};

/// What may be said to it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document's: the body is read member by member")]
pub(crate) struct Note {
    #[schema(min_length = 1, max_length = 2_000, example = "On it: the new disk is on its way")]
    note: Option<String>,
}

/// Say that you take care of an alert.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/acknowledge", tag = "Incidents",
    params(("id" = String, Path, description = "Id of an alert", example = "0f343b0931126a20f133d67c2b018a3b")),
    request_body(content = Note, description = "`{}` without a note; only an admin may"),
    responses((status = 200, description = "The alert", body = AlertView))
)]
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    sent::let_through(&headers, "acknowledge an alert")?;
    Params::parse(raw.as_deref(), &[])?;
    let note = note_of(sent::members(&headers, body, sent::JSON).await?)?;
    let said = Acknowledgement { by: sent::client(&headers), at_ms: (app.clock)(), note };
    let found = if is_id(&id) {
        app.store.history.acknowledge(&id, &said).await.map_err(Failure::from)?
    } else {
        None
    };
    let answer = told(&app, &id, found)?;
    tracing::info!(client = said.by, alert = id, "alert acknowledged by a person");
    Ok(answer)
}

/// Take it back.
#[utoipa::path(
    delete, path = "/api/v1/alerts/{id}/acknowledge", tag = "Incidents",
    params(("id" = String, Path, description = "Id of an alert", example = "0f343b0931126a20f133d67c2b018a3b")),
    responses((status = 200, description = "The alert", body = AlertView))
)]
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    sent::let_through(&headers, "take back that somebody takes care of an alert")?;
    Params::parse(raw.as_deref(), &[])?;
    let found = if is_id(&id) {
        app.store.history.withdraw(&id, (app.clock)()).await.map_err(Failure::from)?
    } else {
        None
    };
    let answer = told(&app, &id, found)?;
    tracing::info!(client = sent::client(&headers), alert = id, "acknowledgement taken back by a person");
    Ok(answer)
}

fn told(app: &App, id: &str, found: Option<TrackedAlert>) -> Result<Response, Problem> {
    let alert = found.ok_or_else(|| unknown("alert", "unknown_alert", id))?;
    app.forget_alerts();
    let answer = json(&AlertView::from(alert), Source::Postgres, (app.clock)())?;
    Ok(sent::told(answer, StatusCode::OK))
}

fn note_of(members: Map<String, Value>) -> Result<Option<String>, Problem> {
    let mut note = None;
    for (member, value) in members {
        match (member.as_str(), value) {
            ("note", Value::Null) => {}
            ("note", value) => note = Some(sent::words("note", value)?),
            (other, _) => return Err(sent::unknown(other, "note")),
        }
    }
    Ok(note)
}
