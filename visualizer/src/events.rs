//! `GET /api/v1/alerts` and `/anomalies`: what happened. In: a filter. Out: rows, newest first.

use tidewatch_schemas::AlertStatus;
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{AlertQuery, AnomalyQuery, TrackedQuery};

use crate::{
    app::{App, Failure, Mode, busy},
    keep::{Answer, Source},
    params::{Params, bad},
    routes::json,
    views::{AlertView, AnomalyView},
};

/// What these, and incidents, may be asked by.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) status: Option<AlertStatus>,
    server: Option<String>,
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
    acknowledged: Option<bool>,
    silenced: Option<bool>,
    pub(crate) limit: usize,
}

impl Filter {
    pub(crate) const OF_ALERTS: [&str; 7] =
        ["status", "server", "from", "to", "acknowledged", "silenced", "limit"];
    pub(crate) const OF_INCIDENTS: [&str; 5] = ["state", "server", "from", "to", "limit"];
    pub(crate) const OF_ANOMALIES: [&str; 4] = ["server", "from", "to", "limit"];

    pub(crate) fn parse(params: &Params, now: i64) -> Result<Self, Problem> {
        // an incident's is called state
        let name = if params.get("state").is_some() { "state" } else { "status" };
        let status = match params.get(name) {
            None => None,
            Some("firing") => Some(AlertStatus::Firing),
            Some("resolved") => Some(AlertStatus::Resolved),
            Some(_) => return Err(bad(name, "has to be firing or resolved")),
        };
        let (from, to) = (params.time("from", now)?, params.time("to", now)?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(bad("from", "has to be before to"));
        }
        let limit = params.number("limit", 1, 1_000)?.unwrap_or(100) as usize;
        let (acknowledged, silenced) = (params.flag("acknowledged")?, params.flag("silenced")?);
        let server = params.get("server").map(str::to_owned);
        Ok(Self { status, server, from, to, acknowledged, silenced, limit })
    }
}

impl App {
    pub(crate) async fn server_id(&self, filter: &Filter) -> Result<Option<i32>, Failure> {
        match &filter.server {
            Some(wanted) => Ok(Some(self.server(wanted).await?.id)),
            None => Ok(None),
        }
    }

    pub(crate) async fn alerts(&self, filter: &Filter, mode: Mode) -> Result<Answer, Failure> {
        let server_id = self.server_id(filter).await?;
        let now = (self.clock)();
        let (alerts, source, as_of): (Vec<AlertView>, _, _) = if mode == Mode::Fresh {
            let alerts = AlertQuery {
                status: filter.status,
                server_id,
                from_ms: filter.from,
                to_ms: filter.to,
                limit: filter.limit,
            };
            let (acknowledged, silenced) = (filter.acknowledged, filter.silenced);
            let query = TrackedQuery { alerts, acknowledged, silenced, now_ms: now };
            let found = self.store.history.tracked_alerts(&query).await?;
            (found.into_iter().map(AlertView::from).collect(), Source::Postgres, now)
        } else {
            // Redis knows the open ones only, and nothing of what people did about them
            let by_people = filter.acknowledged.is_some() || filter.silenced.is_some();
            if filter.status != Some(AlertStatus::Firing) || by_people {
                return Err(busy());
            }
            let mut open = self.store.hot.open_alerts_last_known().await.ok_or_else(busy)?;
            open.retain(|stored| {
                server_id.is_none_or(|id| id == stored.server_id)
                    && filter.to.is_none_or(|to| stored.alert.starts_at < to)
            });
            open.truncate(filter.limit);
            let as_of = open.iter().map(|stored| stored.alert.updated_at).max().unwrap_or(now);
            (open.into_iter().map(AlertView::from).collect(), Source::Redis, as_of)
        };
        json(&alerts, source, as_of)
    }

    pub(crate) async fn anomalies(&self, filter: &Filter, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let query = AnomalyQuery {
            server_id: self.server_id(filter).await?,
            from_ms: filter.from,
            to_ms: filter.to,
            limit: filter.limit,
        };
        let rows = self.store.history.anomalies(&query).await?;
        let views: Vec<_> = rows.into_iter().map(AnomalyView::from).collect();
        Ok(Answer { ends: filter.to, ..json(&views, Source::Postgres, (self.clock)())? })
    }
}
