//! `GET /api/v1/metrics/{server}`: single values, page by page. In: a question, perhaps with a cursor. Out: rows in order
//! of time and id, with the address of the next page.
//!
//! Keeps: pages neither overlap nor leave out; the same rows from Redis and from PostgreSQL.

use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Freshness, MetricRow, MetricsQuery, SeriesMeta, WindowRow, rows::metric_id};

use crate::{
    app::{App, Failure, Mode, busy},
    cursor::Cursor,
    format::Format,
    keep::{Answer, Source},
    params::{HOUR, Params, Range, SECOND, bad},
    query::columns::{COARSE, FINE},
    views::MetricView,
};

#[derive(Debug, Clone)]
pub(crate) struct SamplesQuestion {
    server: String,
    metrics: Vec<String>,
    range: Range,
    step: i64,
    limit: usize,
    format: Format,
    after: Option<Cursor>,
}

impl SamplesQuestion {
    pub(crate) const KNOWN: [&str; 7] = ["metric", "from", "to", "step", "limit", "cursor", "format"];

    pub(crate) fn parse(params: &Params, server: String, format: Format, now: i64) -> Result<Self, Problem> {
        let step = params.number("step", 10, 86_400)?.unwrap_or(10) * SECOND;
        if step != FINE && step % COARSE != 0 {
            return Err(bad("step", "has to be 10, or a multiple of 60 (seconds)"));
        }
        let mut question = Self {
            server,
            metrics: params.metrics()?,
            range: params.range(now, HOUR)?,
            step,
            limit: params.number("limit", 1, 10_000)?.unwrap_or(1_000) as usize,
            format,
            after: None,
        };
        if let Some(text) = params.get("cursor") {
            let cursor = Cursor::decode(text, &question.identity());
            let expected = "has to come from the Link header of an answer to the same question";
            question.after = Some(cursor.ok_or_else(|| bad("cursor", expected))?);
        }
        Ok(question)
    }

    /// What has to stay the same from page to page; the limit may change.
    fn identity(&self) -> (&str, &[String], i64, i64, i64) {
        (&self.server, &self.metrics, self.range.from, self.range.to, self.step)
    }

    pub(crate) fn key(&self, now: i64) -> String {
        let range = self.range.key(now);
        format!(
            "metrics {:?} {:?} {range} {} {} {:?} {:?}",
            self.server, self.metrics, self.step, self.limit, self.after, self.format
        )
    }

    /// The next page's address, with the times as they were resolved for this one.
    fn link(&self, path: &str, last: Cursor) -> String {
        let metrics: String = self.metrics.iter().flat_map(|m| ["metric=", m, "&"]).collect();
        let Range { from, to } = self.range;
        let cursor = last.encode(&self.identity());
        let (step, limit) = (self.step / SECOND, self.limit);
        // a format that the Accept header asked for is named too: the link alone has to lead to the same
        let format = if self.format == Format::Json {
            String::new()
        } else {
            format!("format={}&", self.format.name())
        };
        format!(
            "<{path}?{metrics}{format}from={from}&to={to}&step={step}&limit={limit}&cursor={cursor}>; rel=\"next\""
        )
    }
}

impl App {
    pub(crate) async fn samples(
        &self,
        question: &SamplesQuestion,
        path: &str,
        mode: Mode,
    ) -> Result<Answer, Failure> {
        let server = self.server(&question.server).await?;
        let now = (self.clock)();
        // one more than asked for tells whether there is a next page
        let wanted = question.limit + 1;
        let (mut rows, source, as_of) = match self.recent_rows(server.id, question, wanted, mode).await? {
            Some((rows, newest)) => (rows, Source::Redis, if mode == Mode::Fresh { now } else { newest }),
            None if mode == Mode::LastKnown => return Err(busy()),
            None => {
                let query = MetricsQuery {
                    server_id: server.id,
                    metrics: question.metrics.clone(),
                    from_ms: question.range.from,
                    to_ms: question.range.to,
                    step_ms: question.step,
                    after: question.after.map(|cursor| (cursor.ts, cursor.id)),
                    limit: wanted,
                };
                (self.store.history.metrics_page(&query).await?, Source::Postgres, now)
            }
        };
        let link = (rows.len() > question.limit).then(|| {
            rows.truncate(question.limit);
            rows.last().map(|row| question.link(path, Cursor { ts: row.ts_ms, id: row.id }))
        });
        let rows: Vec<_> = rows.into_iter().map(MetricView::from).collect();
        let (format, body) = (question.format, question.format.write(&rows[..])?);
        // the last step begins before the end and is whole
        let ends = Some(question.range.to + question.step);
        Ok(Answer { body, format, source, link: link.flatten(), as_of, ends })
    }

    /// The page from Redis, when it knows all of the range.
    async fn recent_rows(
        &self,
        server_id: i32,
        question: &SamplesQuestion,
        wanted: usize,
        mode: Mode,
    ) -> Result<Option<(Vec<MetricRow>, i64)>, Failure> {
        if question.step != FINE {
            return Ok(None);
        }
        let freshness = if mode == Mode::Fresh { Freshness::Exact } else { Freshness::LastKnown };
        let Range { from, to } = question.range;
        let Some(recent) = self.store.hot.recent(server_id, from, to, freshness).await else {
            return Ok(None);
        };
        let series = self.series(server_id, &question.metrics, mode).await?;
        let after = question.after.map(|cursor| (cursor.ts, cursor.id));
        let rows = page(server_id, &series, recent.rows, after, wanted);
        Ok(Some((rows, recent.newest_ms + FINE)))
    }
}

/// Windows of 10 s as rows in order of time and id, behind `after`; `series` by id.
fn page(
    server_id: i32,
    series: &[SeriesMeta],
    mut windows: Vec<WindowRow>,
    after: Option<(i64, i64)>,
    wanted: usize,
) -> Vec<MetricRow> {
    windows.sort_unstable_by_key(|row| (row.ts_ms, row.series_id));
    let behind = windows
        .iter()
        .filter(|row| after.is_none_or(|after| (row.ts_ms, metric_id(row.series_id, row.ts_ms)) > after));
    let rows = behind.filter_map(|row| {
        let meta = &series[series.binary_search_by_key(&row.series_id, |s| s.id).ok()?];
        Some(MetricRow {
            id: metric_id(row.series_id, row.ts_ms),
            server_id,
            metric_name: meta.metric_name.clone(),
            value: row.value(meta.kind),
            ts_ms: row.ts_ms,
            labels: meta.labels.clone(),
        })
    });
    rows.take(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_443_360_000;

    fn parse(query: &str) -> Result<SamplesQuestion, Problem> {
        Params::parse(Some(query), &SamplesQuestion::KNOWN)
            .and_then(|params| SamplesQuestion::parse(&params, "web-1".into(), Format::Json, NOW))
    }

    #[test]
    fn the_link_asks_the_same_question_for_what_comes_next() {
        let first = parse("metric=b,a&from=now-2h&limit=5").expect("good");
        let cursor = Cursor { ts: NOW - 50_000, id: 77 };
        let link = first.link("/api/v1/metrics/web-1", cursor);
        let query = link.split(['?', '>']).nth(1).expect("a query");
        // asked a minute later: the times were resolved
        let params = Params::parse(Some(query), &SamplesQuestion::KNOWN).expect("good");
        let next = SamplesQuestion::parse(&params, "web-1".into(), Format::Json, NOW + 60_000).expect("good");
        assert_eq!((next.after, next.range, next.limit), (Some(cursor), first.range, 5));
        assert_eq!(next.metrics, ["a", "b"]);
        let other = SamplesQuestion::parse(&params, "web-2".into(), Format::Json, NOW);
        assert_eq!(other.expect_err("another server's").code(), "bad_parameter");
    }

    #[test]
    fn a_step_is_ten_seconds_or_minutes() {
        for good in ["", "step=10", "step=60", "step=3600"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["step=20", "step=90", "step=0", "step=x", "limit=0", "limit=10001", "cursor=x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
