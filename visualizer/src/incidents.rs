//! `GET /api/v1/incidents` and `/incidents/{id}`: what alerts are together. In: a filter, or an id. Out: incidents, newest first;
//! of one its alerts, the first mover first, and the anomalies of the series that they name.
//!
//! Keeps: an incident is what its alerts are now; what is left out of an answer is counted in it.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use serde::Serialize;
use tidewatch_schemas::{AlertStatus, Severity, time::rfc3339};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Incident, IncidentQuery, joined};
use utoipa::ToSchema;

use crate::{
    app::{App, Failure, Mode, busy},
    events::Filter,
    keep::{Answer, Source},
    openapi::{asked, schemas},
    params::Params,
    routes::{Ask, answer, json},
    views::{AlertView, AnomalyView},
};

/// Alerts, and anomalies, of one answer.
const MOST: usize = 1_000;

/// Bytes of an id of ours, with much room.
const MAX_ID: usize = 200;

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Incident)]
struct IncidentView {
    id: String,
    /// `firing` while any of its alerts is
    #[schema(schema_with = schemas::alert_status)]
    state: AlertStatus,
    /// The highest of its alerts
    #[schema(schema_with = schemas::severity)]
    severity: Severity,
    /// Of the alert that began first
    title: String,
    #[schema(format = DateTime)]
    started: String,
    #[schema(format = DateTime)]
    updated: String,
    #[schema(format = DateTime)]
    ended: Option<String>,
    servers: Vec<String>,
    alert_count: i64,
    /// How many of them somebody called a false alarm
    false_alarms: i64,
    /// The ids of incidents of other servers that are told with it
    joined: Vec<String>,
}

impl From<Incident> for IncidentView {
    fn from(incident: Incident) -> Self {
        Self {
            id: incident.id,
            state: if incident.is_firing { AlertStatus::Firing } else { AlertStatus::Resolved },
            severity: incident.severity,
            title: incident.title,
            started: rfc3339(incident.started_ms),
            updated: rfc3339(incident.updated_ms),
            ended: incident.ended_ms.map(rfc3339),
            servers: incident.servers,
            alert_count: incident.alerts,
            false_alarms: incident.false_alarms,
            joined: incident.joined,
        }
    }
}

/// One incident as a whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IncidentStory)]
struct StoryView {
    #[serde(flatten)]
    incident: IncidentView,
    /// In the order of their start
    alerts: Vec<AlertView>,
    alerts_left_out: i64,
    /// Of the series that the alerts name, from its start to its end, in the order of time
    anomalies: Vec<AnomalyView>,
    anomalies_left_out: i64,
}

impl App {
    pub(crate) async fn incidents(&self, filter: &Filter, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let query = IncidentQuery {
            firing: filter.status.map(|status| status == AlertStatus::Firing),
            server_id: self.server_id(filter).await?,
            from_ms: filter.from,
            to_ms: filter.to,
            limit: filter.limit,
        };
        let found = self.store.history.incidents(&query).await?;
        let views: Vec<_> = joined(found).into_iter().map(IncidentView::from).collect();
        json(&views, Source::Postgres, (self.clock)())
    }

    pub(crate) async fn incident(&self, id: &str, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let (history, now) = (&self.store.history, (self.clock)());
        let found = if is_id(id) { history.incident(id).await? } else { None };
        let Some(incident) = found else { return Err(unknown("incident", "unknown_incident", id).into()) };
        let (from, to) = (incident.started_ms, incident.ended_ms.unwrap_or(now));
        let (alerts, (anomalies, found)) = tokio::try_join!(
            history.incident_alerts(id, now, MOST),
            history.incident_anomalies(id, from, to, MOST)
        )?;
        let story = StoryView {
            alerts_left_out: (incident.alerts - alerts.len() as i64).max(0),
            anomalies_left_out: found - anomalies.len() as i64,
            incident: incident.into(),
            alerts: alerts.into_iter().map(AlertView::from).collect(),
            anomalies: anomalies.into_iter().map(AnomalyView::from).collect(),
        };
        json(&story, Source::Postgres, now)
    }
}

/// Whether a text may be an id of an alert or an incident: PostgreSQL takes no zero in a text.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ID && !text.chars().any(char::is_control)
}

pub(crate) fn unknown(what: &str, code: &'static str, wanted: &str) -> Problem {
    let wanted: String = wanted.chars().take(MAX_ID).collect();
    Problem::new(StatusCode::NOT_FOUND, code, format!("no {what} has the id \"{wanted}\""))
}

/// Incidents: alerts that belong together.
#[utoipa::path(
    get, path = "/api/v1/incidents", tag = "Incidents", params(asked::Incidents),
    responses((status = 200, description = "Newest first", body = [IncidentView]))
)]
pub(crate) async fn incidents(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let params = Params::parse(raw.as_deref(), &Filter::OF_INCIDENTS)?;
    let filter = Filter::parse(&params, (app.clock)())?;
    answer(&app, format!("incidents {params:?}"), Ask::Incidents(filter)).await
}

/// One incident: its alerts, and what was odd in their series.
#[utoipa::path(
    get, path = "/api/v1/incidents/{id}", tag = "Incidents",
    params(("id" = String, Path, description = "`incident_id` of an alert", example = "0f343b0931126a20f133d67c2b018a3b")),
    responses((status = 200, description = "With its alerts, the first mover first", body = StoryView))
)]
pub(crate) async fn incident(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    Params::parse(raw.as_deref(), &[])?;
    answer(&app, format!("incident {id:?}"), Ask::Incident(id)).await
}
