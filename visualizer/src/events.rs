//! `GET /api/v1/alerts` and `/anomalies`: what happened. In: a filter. Out: rows, newest first.

use tidewatch_schemas::AlertStatus;
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{AlertQuery, AnomalyQuery};

use crate::{
    app::{App, Failure, Mode, busy},
    keep::{Answer, Source},
    params::{Params, bad},
    routes::json,
    views::{AlertView, AnomalyView},
};

/// What both may be asked by.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    status: Option<AlertStatus>,
    server: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
    limit: usize,
}

impl Filter {
    pub(crate) const OF_ALERTS: [&str; 5] = ["status", "server", "from", "to", "limit"];
    pub(crate) const OF_ANOMALIES: [&str; 4] = ["server", "from", "to", "limit"];

    pub(crate) fn parse(params: &Params, now: i64) -> Result<Self, Problem> {
        let status = match params.get("status") {
            None => None,
            Some("firing") => Some(AlertStatus::Firing),
            Some("resolved") => Some(AlertStatus::Resolved),
            Some(_) => return Err(bad("status", "has to be firing or resolved")),
        };
        let (from, to) = (params.time("from", now)?, params.time("to", now)?);
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(bad("from", "has to be before to"));
        }
        let limit = params.number("limit", 1, 1_000)?.unwrap_or(100) as usize;
        Ok(Self { status, server: params.get("server").map(str::to_owned), from, to, limit })
    }
}

impl App {
    async fn server_id(&self, filter: &Filter) -> Result<Option<i32>, Failure> {
        match &filter.server {
            Some(wanted) => Ok(Some(self.server(wanted).await?.id)),
            None => Ok(None),
        }
    }

    pub(crate) async fn alerts(&self, filter: &Filter, mode: Mode) -> Result<Answer, Failure> {
        let server_id = self.server_id(filter).await?;
        let now = (self.clock)();
        let (alerts, source, as_of) = if mode == Mode::Fresh {
            let query = AlertQuery {
                status: filter.status,
                server_id,
                from_ms: filter.from,
                to_ms: filter.to,
                limit: filter.limit,
            };
            (self.store.history.alerts(&query).await?, Source::Postgres, now)
        } else {
            // Redis knows the open ones only
            if filter.status != Some(AlertStatus::Firing) {
                return Err(busy());
            }
            let mut open = self.store.hot.open_alerts_last_known().await.ok_or_else(busy)?;
            open.retain(|stored| {
                server_id.is_none_or(|id| id == stored.server_id)
                    && filter.to.is_none_or(|to| stored.alert.starts_at < to)
            });
            open.truncate(filter.limit);
            let as_of = open.iter().map(|stored| stored.alert.updated_at).max().unwrap_or(now);
            (open, Source::Redis, as_of)
        };
        json(&alerts.into_iter().map(AlertView::from).collect::<Vec<_>>(), source, as_of)
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
        json(&rows.into_iter().map(AnomalyView::from).collect::<Vec<_>>(), Source::Postgres, (self.clock)())
    }
}
