//! What there is to ask for: names of metrics, values of a label. In: what they begin with or hold, and of whom. Out: each
//! once in the order of its bytes, with how many series have it.
//!
//! Keeps: read by index: names hop from one to the next, values come from the series that have the label. No more travel
//! than are asked for.

use sqlx::{Postgres, QueryBuilder};

use super::{History, servers::HISTOGRAM};
use crate::Error;

/// Which names or values.
#[derive(Debug, Clone, Default)]
pub struct NamesQuery {
    /// Of series of these servers only.
    pub servers: Option<Vec<i32>>,
    /// Of series of these metrics only; empty = all. Names of metrics are not narrowed by it.
    pub metrics: Vec<String>,
    /// What it begins with.
    pub prefix: String,
    /// What it holds, in upper or lower case.
    pub text: String,
    pub limit: usize,
}

/// Each name of such series once: from one to the next in the index, however many series there are between.
fn hop(of: &str) -> String {
    format!(
        "WITH RECURSIVE names(name) AS (
            (SELECT metric_name FROM series WHERE {of} ORDER BY metric_name LIMIT 1)
            UNION ALL
            SELECT (SELECT s.metric_name FROM series s WHERE s.metric_name > n.name AND {of}
                ORDER BY s.metric_name LIMIT 1)
            FROM names n WHERE n.name IS NOT NULL)"
    )
}

fn histogram_names_sql(limit: usize) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new(hop(HISTOGRAM));
    sql.push(" SELECT name FROM names WHERE name IS NOT NULL LIMIT ").push_bind(limit as i64);
    sql
}

impl NamesQuery {
    fn metrics_sql(&self) -> QueryBuilder<Postgres> {
        if let Some(servers) = &self.servers {
            let mut sql = QueryBuilder::new(
                "SELECT name, count(*) FROM (SELECT metric_name AS name FROM series WHERE server_id = ANY(",
            );
            sql.push_bind(servers).push(")) v WHERE true");
            self.narrow(&mut sql, "name");
            sql.push(" GROUP BY name");
            self.end(&mut sql, "name");
            return sql;
        }
        let mut sql = QueryBuilder::new(hop("true"));
        sql.push(" SELECT f.name, c.series FROM (SELECT name FROM names WHERE name IS NOT NULL");
        self.narrow(&mut sql, "name");
        self.end(&mut sql, "name");
        sql.push(
            ") f CROSS JOIN LATERAL (SELECT count(*) AS series FROM series s WHERE s.metric_name = f.name) c
             ORDER BY f.name COLLATE \"C\"",
        );
        sql
    }

    fn values_sql(&self, label: &str) -> QueryBuilder<Postgres> {
        let mut sql = QueryBuilder::new("SELECT value, count(*) FROM (SELECT labels->>");
        sql.push_bind(label).push(" AS value FROM series WHERE labels ? ").push_bind(label);
        if let Some(servers) = &self.servers {
            sql.push(" AND server_id = ANY(").push_bind(servers).push(")");
        }
        if !self.metrics.is_empty() {
            sql.push(" AND metric_name = ANY(").push_bind(&self.metrics).push(")");
        }
        // an empty label is one that is not there
        sql.push(") v WHERE value <> ''");
        self.narrow(&mut sql, "value");
        sql.push(" GROUP BY value");
        self.end(&mut sql, "value");
        sql
    }

    fn narrow(&self, sql: &mut QueryBuilder<Postgres>, column: &str) {
        if !self.prefix.is_empty() {
            sql.push(format_args!(" AND starts_with({column}, ")).push_bind(&self.prefix).push(")");
        }
        if !self.text.is_empty() {
            sql.push(format_args!(" AND strpos(lower({column}), lower("))
                .push_bind(&self.text)
                .push(")) > 0");
        }
    }

    fn end(&self, sql: &mut QueryBuilder<Postgres>, column: &str) {
        sql.push(format_args!(" ORDER BY {column} COLLATE \"C\" LIMIT ")).push_bind(self.limit as i64);
    }
}

impl History {
    /// Names of metrics, each with its series; of all servers or some.
    pub async fn metric_names(&self, query: &NamesQuery) -> Result<Vec<(String, i64)>, Error> {
        self.counted(query.metrics_sql()).await
    }

    /// Values of a label of series, each with its series.
    pub async fn label_values(&self, label: &str, query: &NamesQuery) -> Result<Vec<(String, i64)>, Error> {
        self.counted(query.values_sql(label)).await
    }

    async fn counted(&self, mut sql: QueryBuilder<Postgres>) -> Result<Vec<(String, i64)>, Error> {
        self.guard(async { Ok(sql.build_query_as().fetch_all(self.pool()).await?) }).await
    }

    /// Names that histograms have, in the order of the index.
    pub async fn histogram_names(&self, limit: usize) -> Result<Vec<String>, Error> {
        self.guard(async {
            Ok(histogram_names_sql(limit).build_query_scalar().fetch_all(self.pool()).await?)
        })
        .await
    }

    /// The servers that have a series of one of these metrics, by id.
    pub async fn servers_with(&self, metrics: &[String]) -> Result<Vec<i32>, Error> {
        self.guard(async {
            let query =
                "SELECT DISTINCT server_id FROM series WHERE metric_name = ANY($1) ORDER BY server_id";
            Ok(sqlx::query_scalar(query).bind(metrics).fetch_all(self.pool()).await?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Execute, PgConnection};

    use super::*;
    use crate::testing::Stack;

    /// 200 servers with 100 metrics each; one metric has another label than the others, which is now and then empty.
    const SEED: &str = "
        INSERT INTO servers (name, first_seen, last_seen) SELECT 's' || i, now(), now() FROM generate_series(1, 200) i;
        INSERT INTO series (server_id, metric_name, labels, labels_hash, kind)
        SELECT s.id, CASE m WHEN 7 THEN 'Zoom_7' ELSE 'metric_' || m END,
            CASE m WHEN 7 THEN jsonb_build_object('rack', CASE s.id % 10 WHEN 0 THEN '' ELSE 'R' || s.id % 10 END)
                ELSE jsonb_build_object('job', 'node') END, decode(md5(m::text), 'hex'), 'gauge'
        FROM servers s, generate_series(1, 100) m;
        VACUUM (ANALYZE) series;";

    async fn plan(conn: &mut PgConnection, mut sql: QueryBuilder<Postgres>) -> String {
        let mut query = sql.build();
        let arguments = query.take_arguments().expect("arguments").expect("some");
        let explain = format!("EXPLAIN {}", query.sql().as_str());
        let lines = sqlx::query_scalar_with::<_, String, _>(AssertSqlSafe(explain), arguments);
        lines.fetch_all(conn).await.expect("explain").join("\n")
    }

    #[tokio::test]
    async fn names_and_values_are_found_by_index() {
        let db = Stack::shared().expect("stack").database().await.expect("database");
        let history = &db.store.history;
        let all = NamesQuery { limit: 1_000, ..NamesQuery::default() };
        assert!(history.metric_names(&all).await.expect("names").is_empty(), "no series yet");
        let mut conn = history.pool().acquire().await.expect("connection");
        for statement in SEED.split_terminator(';') {
            sqlx::raw_sql(statement).execute(&mut *conn).await.expect("seed");
        }

        let of_some = NamesQuery { servers: Some(vec![1, 2, 3]), ..all.clone() };
        let of_metric = NamesQuery { metrics: vec!["Zoom_7".into()], ..all.clone() };
        let by_server = "series_server_id_metric_name_labels_hash_key";
        for (sql, index) in [
            (all.metrics_sql(), "Index Only Scan using series_metric_name"),
            (of_some.metrics_sql(), by_server),
            (all.values_sql("rack"), "series_labels"),
            (of_some.values_sql("rack"), "series_"),
            (of_metric.values_sql("rack"), "series_"),
            (histogram_names_sql(9), "series_histogram"),
        ] {
            let plan = plan(&mut conn, sql).await;
            assert!(plan.contains(index) && !plan.contains("Seq Scan on series"), "{index}: {plan}");
        }

        let names = history.metric_names(&all).await.expect("names");
        assert_eq!(names.len(), 100);
        assert!(names.is_sorted() && names.iter().all(|(_, series)| *series == 200));
        assert_eq!(names[0].0, "Zoom_7", "in the order of bytes");
        let narrowed = NamesQuery { prefix: "metric_1".into(), text: "ETRIC_10".into(), ..all.clone() };
        let two = [("metric_10".to_owned(), 200), ("metric_100".to_owned(), 200)];
        assert_eq!(history.metric_names(&narrowed).await.expect("names"), two);
        let one = NamesQuery { limit: 1, servers: Some(vec![4, 5]), ..narrowed.clone() };
        assert_eq!(history.metric_names(&one).await.expect("names"), [("metric_10".to_owned(), 2)]);

        let values = history.label_values("rack", &all).await.expect("values");
        let expected: Vec<_> = (1..10).map(|i| (format!("R{i}"), 20)).collect();
        assert_eq!(values, expected, "an empty label is none");
        let one = NamesQuery { text: "r3".into(), servers: Some((1..=100).collect()), ..of_metric };
        assert_eq!(history.label_values("rack", &one).await.expect("values"), [("R3".to_owned(), 10)]);
        let nothing = NamesQuery { metrics: vec!["metric_1".into()], ..all };
        assert!(history.label_values("rack", &nothing).await.expect("values").is_empty());
        assert_eq!(history.servers_with(&["Zoom_7".into()]).await.expect("servers").len(), 200);
        assert!(history.servers_with(&["none".into()]).await.expect("servers").is_empty());
    }
}
