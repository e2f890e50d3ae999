//! `GET /api/v1/metric-names` and `/api/v1/label/{name}/values`: what there is to ask for, for completion. In: what it begins
//! with or holds, and of which servers. Out: names or values in the order of their bytes, with how many have them.
//!
//! Keeps: labels of servers are those that are shown; series are counted in PostgreSQL by index, and no more travel than are
//! asked for.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use tidewatch_schemas::validate::{Limits, check_metric_name};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{NamesQuery, Server};
use utoipa::ToSchema;

use crate::{
    app::{App, Directory, Failure, Mode, busy},
    keep::{Answer, Source},
    matchers::{self, Matcher, SERVER},
    params::{Params, bad},
    routes::json,
};

/// A question for names of metrics or for values of a label.
#[derive(Debug, Clone)]
pub(crate) struct NamesQuestion {
    /// Whose values; `None`: names of metrics.
    label: Option<String>,
    matchers: Vec<Matcher>,
    metrics: Vec<String>,
    prefix: String,
    /// In lower case.
    text: String,
    limit: usize,
    asked: String,
}

impl NamesQuestion {
    pub(crate) const OF_METRICS: [&str; 4] = ["match", "prefix", "q", "limit"];
    pub(crate) const OF_LABEL: [&str; 5] = ["metric", "match", "prefix", "q", "limit"];

    pub(crate) fn parse(label: Option<String>, params: &Params) -> Result<Self, Problem> {
        if let Some(label) = &label {
            check_metric_name(label, &Limits::default())
                .map_err(|_| bad("name", "has to be a label, or server.<label> for one of servers"))?;
        }
        let matchers = Matcher::all(params, "match")?;
        if matchers.iter().any(|matcher| matcher.behind(SERVER).is_none()) {
            return Err(bad(
                "match",
                "has to be on servers here: server.name, server.ip_address, server.<label>",
            ));
        }
        Ok(Self {
            label,
            matchers,
            metrics: params.metrics()?,
            prefix: params.text("prefix")?.to_owned(),
            text: params.text("q")?.to_lowercase(),
            limit: params.number("limit", 1, 10_000)?.unwrap_or(1_000) as usize,
            asked: params.query_without(&[]),
        })
    }

    pub(crate) fn key(&self) -> String {
        format!("names {:?} {}", self.label, self.asked)
    }

    fn wants(&self, value: &str) -> bool {
        !value.is_empty()
            && value.starts_with(&self.prefix)
            && (self.text.is_empty() || value.to_lowercase().contains(&self.text))
    }

    /// How many of the servers have each value.
    fn of_servers<'a>(
        &self,
        servers: impl Iterator<Item = &'a Server>,
        value: impl Fn(&'a Server) -> &'a str,
    ) -> BTreeMap<String, Counts> {
        let mut found: BTreeMap<String, Counts> = BTreeMap::new();
        for value in servers.map(value).filter(|value| self.wants(value)) {
            found.entry(value.to_owned()).or_default().servers += 1;
        }
        found
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Counts)]
struct Counts {
    servers: usize,
    /// Absent where only servers were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricNames)]
pub(crate) struct MetricsView {
    as_of: i64,
    metrics: Vec<MetricName>,
    more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct MetricName {
    name: String,
    series: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LabelValues)]
pub(crate) struct ValuesView<'a> {
    as_of: i64,
    label: &'a str,
    values: Vec<Value>,
    more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LabelValue)]
struct Value {
    value: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Those that are asked for, and whether there are more.
fn page<T>(found: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let mut page: Vec<T> = found.take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    (page, more)
}

impl App {
    pub(crate) async fn names(&self, question: &NamesQuestion, mode: Mode) -> Result<Answer, Failure> {
        if mode == Mode::LastKnown {
            return Err(busy());
        }
        let directory = self.directory().await?;
        let query = NamesQuery {
            servers: matchers::servers(&question.matchers, &directory),
            metrics: question.metrics.clone(),
            prefix: question.prefix.clone(),
            text: question.text.clone(),
            // one more tells whether there are more
            limit: question.limit + 1,
        };
        let as_of = (self.clock)();
        if let Some(label) = &question.label {
            let found = self.label_values(question, label, &directory, &query).await?;
            let found = found.into_iter().map(|(value, counts)| Value { value, counts });
            let (values, more) = page(found, question.limit);
            return json(&ValuesView { as_of, label, values, more }, Source::Postgres, as_of);
        }
        let found = self.store.history.metric_names(&query).await?;
        let found = found.into_iter().map(|(name, series)| MetricName { name, series });
        let (metrics, more) = page(found, question.limit);
        json(&MetricsView { as_of, metrics, more }, Source::Postgres, as_of)
    }

    /// Of servers and series, or of servers alone.
    async fn label_values(
        &self,
        question: &NamesQuestion,
        label: &str,
        directory: &Directory,
        query: &NamesQuery,
    ) -> Result<BTreeMap<String, Counts>, Failure> {
        let history = &self.store.history;
        let matched: Option<HashSet<i32>> = query.servers.as_ref().map(|ids| ids.iter().copied().collect());
        let with_metric: Option<HashSet<i32>> = if query.metrics.is_empty() {
            None
        } else {
            Some(history.servers_with(&query.metrics).await?.into_iter().collect())
        };
        let is_in = |set: &Option<HashSet<i32>>, id| set.as_ref().is_none_or(|set| set.contains(&id));
        let servers = directory.servers.iter().filter(|s| is_in(&matched, s.id) && is_in(&with_metric, s.id));
        if let Some(label) = label.strip_prefix(SERVER) {
            return Ok(question.of_servers(servers, |server| matchers::of_server(server, label)));
        }
        let mut found =
            question.of_servers(servers, |server| server.labels.get(label).map_or("", String::as_str));
        for counts in found.values_mut() {
            counts.series = Some(0);
        }
        for (value, series) in history.label_values(label, query).await? {
            found.entry(value).or_default().series = Some(series);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(label: Option<&str>, query: &str) -> Result<NamesQuestion, Problem> {
        let known: &[&str] =
            if label.is_some() { &NamesQuestion::OF_LABEL } else { &NamesQuestion::OF_METRICS };
        Params::parse(Some(query), known)
            .and_then(|params| NamesQuestion::parse(label.map(str::to_owned), &params))
    }

    #[test]
    fn a_bad_question_names_its_parameter() {
        for (label, query, parameter) in [
            (None, "match=device%3Dsda", "match"),
            (None, "match=server.dc", "match"),
            (None, "metric=a", "metric"),
            (None, "limit=0", "limit"),
            (None, "limit=10001", "limit"),
            (None, "prefix=%00", "prefix"),
            (Some("a b"), "", "name"),
            (Some(""), "", "name"),
            (Some("dc"), "q=a%0Ab", "q"),
            (Some("dc"), "metric=a,,b", "metric"),
            (Some("dc"), "from=now", "from"),
        ] {
            let problem = parse(label, query).expect_err(query);
            assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{query}: {problem:?}");
        }
        let long = "x".repeat(257);
        assert!(
            parse(None, &format!("q={long}")).is_err() && parse(None, &format!("prefix={long}")).is_err()
        );
    }

    #[test]
    fn a_value_begins_with_the_prefix_and_holds_the_text_in_any_case() {
        let question = parse(Some("dc"), "prefix=Fra&q=R%C3%84").expect("good");
        assert!(question.wants("Frankenberg-krä") && question.wants("FraRÄ"));
        assert!(!question.wants("fra-rä") && !question.wants("Fra") && !question.wants(""));
    }

    #[test]
    fn a_page_says_whether_there_are_more() {
        assert_eq!(page(0..3, 3), (vec![0, 1, 2], false));
        assert_eq!(page(0..4, 3), (vec![0, 1, 2], true));
        assert_eq!(page(0..0, 3), (vec![], false));
    }
}
