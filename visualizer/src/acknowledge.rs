//! `POST` and `DELETE /api/v1/alerts/{id}/acknowledge`: that somebody takes care of an alert, and what they found it to be. In: a
//! note and a verdict, let through for an admin. Out: the alert as the list shows it; a verdict that is new or taken back, on
//! `analyzer.feedback`.
//!
//! Keeps: who it is comes from the door alone; the same said again changes nothing; the detector is told before PostgreSQL, so
//! what the list shows has reached it. Told twice is as good as once: of an alert the newest word holds.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde_json::{Map, Value};
use tidewatch_schemas::{Alert, Feedback, NamedSeries, Verdict};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Acknowledgement, TrackedAlert};
use utoipa::ToSchema;

use crate::{
    app::{App, Failure},
    incidents::{is_id, unknown},
    keep::Source,
    outlet::unavailable,
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
    /// `false_alarm`: nothing was wrong. For a while the detector then takes more of the series that the alert names. Only of an alert
    /// that it raised by itself (its `rule` is `learned`); absent or `null`: no word on it, and one of before is taken back
    #[schema(pattern = "^false_alarm$", example = "false_alarm")]
    verdict: Option<String>,
}

/// Say that you take care of an alert, and what you found it to be.
#[utoipa::path(
    post, path = "/api/v1/alerts/{id}/acknowledge", tag = "Incidents",
    params(("id" = String, Path, description = "Id of an alert", example = "0f343b0931126a20f133d67c2b018a3b")),
    request_body(content = Note, description = "`{}` without a word; only an admin may"),
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
    let (note, verdict) = words_of(sent::members(&headers, body, sent::JSON).await?)?;
    let said = Acknowledgement { by: sent::client(&headers), at_ms: (app.clock)(), note, verdict };
    let before = alert(&app, &id, said.at_ms).await?;
    tell(&app, &before, &said).await?;
    let found = app.store.history.acknowledge(&id, &said).await.map_err(Failure::from)?;
    let answer = told(&app, &id, found)?;
    let verdict = verdict.map_or("none", Verdict::as_str);
    tracing::info!(client = said.by, alert = id, verdict, "alert acknowledged by a person");
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
    let nothing =
        Acknowledgement { by: sent::client(&headers), at_ms: (app.clock)(), note: None, verdict: None };
    let before = alert(&app, &id, nothing.at_ms).await?;
    tell(&app, &before, &nothing).await?;
    let found = app.store.history.withdraw(&id, nothing.at_ms).await.map_err(Failure::from)?;
    let answer = told(&app, &id, found)?;
    tracing::info!(client = nothing.by, alert = id, "acknowledgement taken back by a person");
    Ok(answer)
}

/// The alert as it is now.
async fn alert(app: &App, id: &str, now: i64) -> Result<TrackedAlert, Problem> {
    let found =
        if is_id(id) { app.store.history.tracked_alert(id, now).await.map_err(Failure::from)? } else { None };
    found.ok_or_else(|| unknown("alert", "unknown_alert", id))
}

/// The detector hears of a verdict that is not what was said before.
async fn tell(app: &App, before: &TrackedAlert, said: &Acknowledgement) -> Result<(), Problem> {
    let alert = &before.stored.alert;
    if before.acknowledged.as_ref().and_then(|before| before.verdict) == said.verdict {
        return Ok(());
    }
    if said.verdict.is_some() && alert.rule != Alert::LEARNED {
        let rule = &alert.rule;
        let why = format!("has no effect on an alert of a rule: `{rule}` itself has to be another one");
        return Err(sent::bad_value("verdict", &why));
    }
    publish(app, alert, said).await.map_err(|why| unavailable("the detector could not be told", &why))
}

async fn publish(app: &App, alert: &Alert, said: &Acknowledgement) -> Result<(), String> {
    let series = alert
        .named()
        .map(|(metric, labels)| NamedSeries { metric: metric.to_owned(), labels: labels.clone() });
    let feedback = Feedback {
        alert_id: alert.alert_id.clone(),
        server: alert.server.clone(),
        verdict: said.verdict,
        said_at: said.at_ms,
        said_by: said.by.clone(),
        series: series.collect(),
    };
    let json = feedback.encode().map_err(|error| error.to_string())?;
    app.outlet.publish(&app.outlet.topics().feedback(), &alert.server, &json).await
}

fn told(app: &App, id: &str, found: Option<TrackedAlert>) -> Result<Response, Problem> {
    let alert = found.ok_or_else(|| unknown("alert", "unknown_alert", id))?;
    app.forget_alerts();
    let answer = json(&AlertView::from(alert), Source::Postgres, (app.clock)())?;
    Ok(sent::told(answer, StatusCode::OK))
}

fn words_of(members: Map<String, Value>) -> Result<(Option<String>, Option<Verdict>), Problem> {
    let (mut note, mut verdict) = (None, None);
    for (member, value) in members {
        match (member.as_str(), value) {
            ("note" | "verdict", Value::Null) => {}
            ("note", value) => note = Some(sent::words("note", value)?),
            ("verdict", value) => verdict = Some(verdict_of(&value)?),
            (other, _) => return Err(sent::unknown(other, "note, verdict")),
        }
    }
    Ok((note, verdict))
}

fn verdict_of(value: &Value) -> Result<Verdict, Problem> {
    value.as_str().and_then(Verdict::parse).ok_or_else(|| {
        let known = Verdict::ALL.map(Verdict::as_str).join(", ");
        sent::bad_value("verdict", &format!("has to be {known} or null"))
    })
}
