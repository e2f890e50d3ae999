//! `GET /api/v1/metrics/{server}`: single values, page by page. In: a question, perhaps with a cursor. Out: rows in order
//! of time and id, with the address of the next page.
//!
//! Keeps: pages neither overlap nor leave out; the same rows from Redis and from PostgreSQL.

mod json;

use std::sync::Arc;

use json::Around;
use tidewatch_schemas::{Labels, time::rfc3339};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Freshness, MetricsQuery, SeriesMeta, WindowRow, rows::metric_id};

use crate::{
    app::{App, Failure, Mode, busy},
    cursor::Cursor,
    format::Format,
    keep::{Answer, Source},
    params::{HOUR, Params, Range, SECOND, bad},
    query::columns::{COARSE, FINE},
    views::MetricView,
};

/// One value, of what is held elsewhere.
#[derive(Debug, Clone, Copy)]
struct Sample<'a> {
    id: i64,
    server_id: i32,
    metric_name: &'a str,
    value: f64,
    ts_ms: i64,
    labels: &'a Labels,
    /// Its series as JSON, where that is at hand.
    around: Option<&'a Around>,
}

impl<'a> Sample<'a> {
    fn view(&self, timestamp: &'a str) -> MetricView<'a> {
        MetricView {
            id: self.id,
            server_id: self.server_id,
            metric_name: self.metric_name,
            value: self.value,
            timestamp,
            labels: self.labels,
        }
    }
}

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

    /// For each of the series.
    fn texts(&self, series: &[SeriesMeta]) -> Vec<Text> {
        let text = |meta: &SeriesMeta| {
            if !self.metrics.is_empty() && !self.metrics.contains(&meta.metric_name) {
                return Text::Unwanted;
            }
            if self.format != Format::Json {
                return Text::Plain;
            }
            Around::new(meta.server_id, &meta.metric_name, &meta.labels).map_or(Text::Plain, Text::Json)
        };
        series.iter().map(text).collect()
    }

    /// `rows` are one more than asked for when there is a next page.
    fn answer(
        &self,
        path: &str,
        mut rows: Vec<Sample<'_>>,
        source: Source,
        as_of: i64,
    ) -> Result<Answer, Failure> {
        let is_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let last = rows.last().filter(|_| is_more);
        let link = last.map(|row| self.link(path, Cursor { ts: row.ts_ms, id: row.id }));
        let body = match self.format {
            Format::Json => json::write(&rows).map_err(|error| Failure::Outage(error.to_string()))?.into(),
            format => {
                let times: Vec<String> = rows.iter().map(|row| rfc3339(row.ts_ms)).collect();
                let views: Vec<_> = rows.iter().zip(&times).map(|(row, time)| row.view(time)).collect();
                format.write(&views[..])?
            }
        };
        // the last step begins before the end and is whole
        let ends = Some(self.range.to + self.step);
        Ok(Answer { body, format: self.format, source, link, as_of, ends })
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
        if let Some(recent) = self.recent(server.id, question, mode).await? {
            let as_of = if mode == Mode::Fresh { now } else { recent.newest_ms + FINE };
            let texts = question.texts(&recent.series);
            let rows = page(server.id, question, &recent.series, &texts, &recent.rows, wanted);
            return question.answer(path, rows, Source::Redis, as_of);
        }
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let query = MetricsQuery {
            server_id: server.id,
            metrics: question.metrics.clone(),
            from_ms: question.range.from,
            to_ms: question.range.to,
            step_ms: question.step,
            after: question.after.map(|cursor| (cursor.ts, cursor.id)),
            limit: wanted,
        };
        let rows = self.store.history.metrics_page(&query).await?;
        let rows = rows.iter().map(|row| Sample {
            id: row.id,
            server_id: row.server_id,
            metric_name: &row.metric_name,
            value: row.value,
            ts_ms: row.ts_ms,
            labels: &row.labels,
            around: None,
        });
        question.answer(path, rows.collect(), Source::Postgres, now)
    }

    /// What Redis knows, when it knows all of the range.
    async fn recent(
        &self,
        server_id: i32,
        question: &SamplesQuestion,
        mode: Mode,
    ) -> Result<Option<Known>, Failure> {
        if question.step != FINE {
            return Ok(None);
        }
        let freshness = if mode == Mode::Fresh { Freshness::Exact } else { Freshness::LastKnown };
        let Range { from, to } = question.range;
        let Some(recent) = self.store.hot.recent(server_id, from, to, freshness).await else {
            return Ok(None);
        };
        let series = match recent.series {
            Some(series) => series,
            None => Arc::new(self.series(server_id, &[], mode).await?),
        };
        Ok(Some(Known { rows: recent.rows, newest_ms: recent.newest_ms, series }))
    }
}

/// What the rows of one series are written with.
enum Text {
    /// By the question's names.
    Unwanted,
    Plain,
    Json(Around),
}

/// Windows of 10 s by time and series, and all series of their server by id.
struct Known {
    rows: Vec<WindowRow>,
    newest_ms: i64,
    series: Arc<Vec<SeriesMeta>>,
}

/// Windows as rows in order of time and id, behind the cursor; `windows` are in that order, and `texts` are in that of the
/// series.
fn page<'a>(
    server_id: i32,
    question: &SamplesQuestion,
    series: &'a [SeriesMeta],
    texts: &'a [Text],
    windows: &[WindowRow],
    wanted: usize,
) -> Vec<Sample<'a>> {
    let after = question.after.map(|cursor| (cursor.ts, cursor.id));
    let rows = windows.iter().filter_map(|row| {
        let id = metric_id(row.series_id, row.ts_ms);
        if after.is_some_and(|after| (row.ts_ms, id) <= after) {
            return None;
        }
        let place = series.binary_search_by_key(&row.series_id, |s| s.id).ok()?;
        let meta = &series[place];
        let around = match &texts[place] {
            Text::Unwanted => return None,
            Text::Plain => None,
            Text::Json(around) => Some(around),
        };
        Some(Sample {
            id,
            server_id,
            metric_name: &meta.metric_name,
            value: row.value(meta.kind),
            ts_ms: row.ts_ms,
            labels: &meta.labels,
            around,
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
