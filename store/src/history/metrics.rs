//! Single values, page by page, in order of time and then id: what `GET /api/v1/metrics/{server}` gives out.
//!
//! The rows lie in order of series, the page is in order of time. So a page reads a stretch of time just long enough to
//! fill it, and a longer one only when that was too short: the cost is the page's, not the range's.
//! Long steps are made of long windows as far as these are closed, and of minutes from there on.

use chrono::{DateTime, Utc};
use hashbrown::HashMap;
use sqlx::{AssertSqlSafe, Row};
use tidewatch_schemas::SeriesKind;

use super::{History, at, hour_of};
use crate::{
    Error, MetricRow, SeriesMeta, Tier,
    rows::{metric_id, series_of_metric_id},
};

/// Which values.
#[derive(Debug, Clone)]
pub struct MetricsQuery {
    pub server_id: i32,
    /// Names; empty = all of the server's.
    pub metrics: Vec<String>,
    pub from_ms: i64,
    pub to_ms: i64,
    /// 10 s, or a multiple of a minute.
    pub step_ms: i64,
    /// Time and id of the last row of the page before.
    pub after: Option<(i64, i64)>,
    pub limit: usize,
}

impl MetricsQuery {
    fn tier(&self) -> Tier {
        Tier::of_step(self.step_ms)
    }

    /// Steps are counted from 1970, so that pages and repeated questions agree.
    fn step(&self) -> i64 {
        let unit = self.tier().window_ms();
        (self.step_ms / unit).max(1) * unit
    }
}

impl History {
    /// The next `limit` values. Fewer means that there are no more.
    pub async fn metrics_page(&self, query: &MetricsQuery) -> Result<Vec<MetricRow>, Error> {
        let series = self.series(query.server_id, &query.metrics).await?;
        self.guard(self.fill(query, &series)).await
    }

    async fn fill(&self, query: &MetricsQuery, series: &[SeriesMeta]) -> Result<Vec<MetricRow>, Error> {
        let by_id: HashMap<i32, &SeriesMeta> = series.iter().map(|s| (s.id, s)).collect();
        let ids: Vec<i32> = series.iter().map(|s| s.id).collect();
        let step = query.step();
        let mut page = Vec::new();
        // from the first step that begins in the range
        let mut from = query.from_ms.div_euclid(step) * step;
        if from < query.from_ms {
            from += step;
        }
        if let Some((ts, _)) = query.after {
            from = from.max(ts);
        }
        let tier = query.tier();
        let covered =
            if tier > Tier::Minute { self.covered(&ids, tier.view(), tier, step).await? } else { i64::MAX };
        let mut steps = (query.limit / ids.len().max(1) + 2) as i64;
        while page.len() < query.limit && from < query.to_ms && !ids.is_empty() {
            // a step that begins in the range is whole, even if it ends behind it
            let last = query.to_ms + (step - query.to_ms.rem_euclid(step)) % step;
            let (tier, bound) =
                if from < covered { (tier, last.min(covered)) } else { (tier.min(Tier::Minute), last) };
            let to = from.saturating_add(steps.saturating_mul(step)).min(bound);
            let floor = query.after.filter(|(ts, _)| *ts == from).map(|(_, id)| series_of_metric_id(id));
            let wanted = query.limit - page.len();
            for (id, ts, value_gauge, value_counter) in
                self.stretch(tier, step, &ids, (from, to), floor, wanted).await?
            {
                let Some(meta) = by_id.get(&id) else { continue };
                page.push(MetricRow {
                    id: metric_id(id, ts),
                    server_id: query.server_id,
                    metric_name: meta.metric_name.clone(),
                    value: if meta.kind == SeriesKind::Counter { value_counter } else { value_gauge },
                    ts_ms: ts,
                    labels: meta.labels.clone(),
                });
            }
            from = to;
            steps = steps.saturating_mul(2);
        }
        Ok(page)
    }

    /// (series, time, mean, last) of the steps in `[from, to)`; in the first step only of series behind `floor`.
    async fn stretch(
        &self,
        tier: Tier,
        step: i64,
        ids: &[i32],
        (from, to): (i64, i64),
        floor: Option<i32>,
        limit: usize,
    ) -> Result<Vec<(i32, i64, f64, f64)>, Error> {
        let view = tier.view();
        let sql = if step == tier.window_ms() {
            format!(
                "SELECT series_id, ts, sum / count, last FROM {view}
                 WHERE series_id = ANY($1) AND ts >= $2 AND ts < $3 AND hour >= $6 AND hour < $3 AND (ts > $2 OR series_id > $4)
                 ORDER BY ts, series_id LIMIT $5"
            )
        } else {
            let bin = format!("date_bin('{step} milliseconds', ts, 'epoch')");
            format!(
                "SELECT series_id, {bin} AS bin, sum(sum) / sum(count)::double precision, (array_agg(last ORDER BY ts DESC))[1]
                 FROM {view}
                 WHERE series_id = ANY($1) AND ts >= $2 AND ts < $3 AND hour >= $6 AND hour < $3 AND ({bin} > $2 OR series_id > $4)
                 GROUP BY series_id, bin ORDER BY bin, series_id LIMIT $5"
            )
        };
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(ids)
            .bind(at(from))
            .bind(at(to))
            .bind(floor.unwrap_or(i32::MIN))
            .bind(limit as i64)
            .bind(hour_of(from))
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| {
                let ts: DateTime<Utc> = row.try_get(1)?;
                Ok((row.try_get(0)?, ts.timestamp_millis(), row.try_get(2)?, row.try_get(3)?))
            })
            .collect()
    }
}
