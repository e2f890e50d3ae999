//! Many series at once, reduced where they lie. In: series, each with the number of its group, and a grid of steps. Out:
//! one value for each group and step that has any.
//!
//! One index walk for each series makes its values by step; a hash aggregate by (group, step) adds the series of a group.
//! So what travels is the answer's size and not the windows'. Nothing in the SQL is a caller's text: names are resolved to
//! ids before, and all else comes from the enums here.

use chrono::{DateTime, Utc};
use hashbrown::HashMap;
use sqlx::{AssertSqlSafe, Row};

use super::{
    History, at,
    servers::{HISTOGRAM, series_meta},
};
use crate::{Error, SeriesMeta, Tier};

/// What becomes of one series' windows in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverTime {
    Avg,
    Min,
    Max,
    Sum,
    Count,
    Last,
    /// Counters: growth a second.
    Rate,
    /// Counters: growth.
    Increase,
}

/// What becomes of the series of a group in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Across {
    Avg,
    Sum,
    Min,
    Max,
    /// Series that have a value.
    Count,
}

/// Which series, and what to make of them.
#[derive(Debug, Clone)]
pub struct ReduceQuery {
    pub series: Vec<i32>,
    /// Group of each of them; where nothing is reduced across series, each has one of its own.
    pub groups: Vec<i32>,
    pub tier: Tier,
    /// A multiple of the tier's window.
    pub step_ms: i64,
    /// Start of the first step.
    pub from_ms: i64,
    pub to_ms: i64,
    /// How far before the first step windows are read, for a counter's value at its beginning.
    pub lead_ms: i64,
    pub over_time: OverTime,
    pub across: Option<Across>,
    /// Values at most; more are [`Error::TooMuch`].
    pub limit: usize,
}

/// One group in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reduced {
    pub group: i32,
    /// Start of the step.
    pub ts_ms: i64,
    pub value: f64,
}

/// Group, start of the step, parts of its value.
type Part = (i32, i64, (f64, f64));

/// Windows that one walk reads alone, and walks at once for more.
const ALONE: i64 = 50_000;
const WALKS: usize = 4;

/// Counters are joined across windows whose samples lie no further apart than so many milliseconds; a longer silence is a
/// gap.
pub const JOIN_MS: i64 = 150_000;

impl OverTime {
    fn is_growth(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }

    /// Of a window that is a step of its own.
    fn of_one(self) -> &'static str {
        match self {
            Self::Avg => "sum / count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count::double precision",
            Self::Last => "last",
            Self::Rate => "amount * 1000 / millis",
            Self::Increase => "amount",
        }
    }

    /// Of the windows of a step. Sums of bigint would be numeric, which is several times slower.
    fn of_many(self) -> &'static str {
        match self {
            Self::Avg => "sum(sum) / sum(count::double precision)",
            Self::Min => "min(min)",
            Self::Max => "max(max)",
            Self::Sum => "sum(sum)",
            Self::Count => "sum(count::double precision)",
            Self::Last => "(array_agg(last ORDER BY ts DESC))[1]",
            Self::Rate => "sum(amount) * 1000 / sum(millis)",
            Self::Increase => "sum(amount)",
        }
    }
}

impl Across {
    /// Parts of a group's value, so that those of several walks can be put together.
    fn sql(self) -> &'static str {
        match self {
            Self::Avg => "sum(c.value), count(c.value)::double precision",
            Self::Sum => "sum(c.value), 1::double precision",
            Self::Min => "min(c.value), 1::double precision",
            Self::Max => "max(c.value), 1::double precision",
            Self::Count => "count(c.value)::double precision, 1::double precision",
        }
    }

    fn join(self, a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
        match self {
            Self::Avg => (a.0 + b.0, a.1 + b.1),
            Self::Sum | Self::Count => (a.0 + b.0, 1.0),
            Self::Min => (a.0.min(b.0), 1.0),
            Self::Max => (a.0.max(b.0), 1.0),
        }
    }
}

impl ReduceQuery {
    /// Windows to read, at most.
    pub fn windows(&self) -> i64 {
        (self.to_ms - self.from_ms + self.lead_ms) / self.tier.window_ms() * self.series.len() as i64
    }

    fn finish(&self, parts: impl Iterator<Item = Part>) -> Result<Vec<Reduced>, Error> {
        let value = |(sum, weight)| if self.across == Some(Across::Avg) { sum / weight } else { sum };
        let found: Vec<Reduced> =
            parts.map(|(group, ts_ms, part)| Reduced { group, ts_ms, value: value(part) }).collect();
        if found.len() > self.limit { Err(Error::TooMuch(self.limit)) } else { Ok(found) }
    }

    /// The windows behind the end of what is closed come from a shorter tier.
    fn tail(&self) -> Tier {
        if self.tier > Tier::Minute { Tier::Minute } else { Tier::TenSeconds }
    }

    /// $1 series, $2 groups, $3 from with the lead, $4 up to where the tier is closed, $5 to, $6 from, $7 most values.
    fn sql(&self, has_tail: bool) -> String {
        const COLUMNS: &str = "ts, count, sum, min, max, first, last, first_at, last_at, increase";
        let walk = |tier: Tier, from: &str, to: &str| {
            format!(
                "SELECT {COLUMNS} FROM {} w WHERE w.series_id = k.id AND w.ts >= {from} AND w.ts < {to}
                    AND w.hour >= date_trunc('hour', {from}::timestamptz) AND w.hour < {to}",
                tier.view()
            )
        };
        let (body, tail) = (walk(self.tier, "$3", "$4"), walk(self.tail(), "$4", "$5"));
        let cells = match (self.over_time.is_growth(), has_tail) {
            // a counter grows from the one into the other
            (true, true) => self.many(&growth(&format!("{body} UNION ALL {tail}"))),
            (true, false) => self.some(&growth(&body)),
            (false, true) => format!("{} UNION ALL {}", self.some(&body), self.many(&tail)),
            (false, false) => self.some(&body),
        };
        let (value, end) = match self.across {
            Some(across) => (across.sql(), "GROUP BY 1, 2"),
            None => ("c.value, 1::double precision", ""),
        };
        // OFFSET 0: series by series; else the planner may rather hash the whole table, which takes seconds
        format!(
            "SELECT k.grp, c.bin, {value} FROM UNNEST($1::integer[], $2::integer[]) AS k(id, grp)
             CROSS JOIN LATERAL (SELECT * FROM ({cells}) x OFFSET 0) c WHERE c.bin < $5::timestamptz AND c.value IS NOT NULL {end} LIMIT $7"
        )
    }

    /// The values of the tier's own windows.
    fn some(&self, windows: &str) -> String {
        if self.step_ms != self.tier.window_ms() {
            return self.many(windows);
        }
        // nothing to add up: saves an aggregate of every row
        format!("SELECT ts AS bin, {} AS value FROM ({windows}) v WHERE ts >= $6", self.over_time.of_one())
    }

    fn many(&self, windows: &str) -> String {
        let (step, value) = (self.step_ms, self.over_time.of_many());
        format!(
            "SELECT date_bin('{step} milliseconds', ts, 'epoch') AS bin, {value} AS value FROM ({windows}) v
             WHERE ts >= $6 GROUP BY 1"
        )
    }
}

/// How much a counter grew in each window and in how many milliseconds, from the last sample before on.
fn growth(windows: &str) -> String {
    format!(
        "SELECT ts, increase + CASE WHEN joined THEN CASE WHEN first < before THEN first ELSE first - before END ELSE 0 END
                AS amount, last_ms - CASE WHEN joined THEN before_ms ELSE first_ms END AS millis
         FROM (SELECT *, coalesce(before_ms < first_ms AND first_ms - before_ms <= {JOIN_MS}, false) AS joined
            FROM (SELECT ts, first, increase, date_part('epoch', ts) * 1000 + first_at AS first_ms,
                    date_part('epoch', ts) * 1000 + last_at AS last_ms, lag(last) OVER o AS before,
                    lag(date_part('epoch', ts) * 1000 + last_at) OVER o AS before_ms
                FROM ({windows}) x WINDOW o AS (ORDER BY ts)) y) z
         WHERE last_ms > CASE WHEN joined THEN before_ms ELSE first_ms END"
    )
}

impl History {
    /// The values of all groups, in no order.
    pub async fn reduce(&self, query: &ReduceQuery) -> Result<Vec<Reduced>, Error> {
        if query.series.is_empty() || query.from_ms >= query.to_ms {
            return Ok(Vec::new());
        }
        let covered = if query.tier > Tier::TenSeconds {
            // a step is made of one tier's windows
            let whole =
                self.guard(self.covered(&query.series, query.tier.view(), query.tier, query.step_ms)).await?;
            whole.clamp(query.from_ms - query.lead_ms, query.to_ms)
        } else {
            query.to_ms
        };
        let (sql, windows) = (query.sql(covered < query.to_ms), query.windows());
        // several walks side by side: PostgreSQL does not spread one over its processors
        let walks = if windows > ALONE { WALKS } else { 1 };
        let share = query.series.len().div_ceil(walks);
        let parts = query.series.chunks(share).zip(query.groups.chunks(share));
        let parts = parts.map(|(series, groups)| self.walk(query, &sql, covered, series, groups));
        let parts = futures_util::future::try_join_all(parts).await?;
        // without groups across series no two walks have the same one
        let Some(across) = query.across.filter(|_| parts.len() > 1) else {
            return query.finish(parts.into_iter().flatten());
        };
        let mut joined: HashMap<(i32, i64), (f64, f64)> = HashMap::new();
        for (group, ts, part) in parts.into_iter().flatten() {
            joined.entry((group, ts)).and_modify(|sum| *sum = across.join(*sum, part)).or_insert(part);
        }
        query.finish(joined.into_iter().map(|((group, ts), part)| (group, ts, part)))
    }

    /// The parts of the values that some of the series give.
    async fn walk(
        &self,
        query: &ReduceQuery,
        sql: &str,
        covered: i64,
        series: &[i32],
        groups: &[i32],
    ) -> Result<Vec<Part>, Error> {
        self.guard_cancellable(async |connection| {
            let rows = sqlx::query(AssertSqlSafe(sql.to_owned()))
                .bind(series)
                .bind(groups)
                .bind(at(query.from_ms - query.lead_ms))
                .bind(at(covered))
                .bind(at(query.to_ms))
                .bind(at(query.from_ms))
                .bind(query.limit as i64 + 1)
                .fetch_all(connection)
                .await?;
            let part = |row: &sqlx::postgres::PgRow| {
                let ts: DateTime<Utc> = row.try_get(1)?;
                Ok((row.try_get(0)?, ts.timestamp_millis(), (row.try_get(2)?, row.try_get(3)?)))
            };
            rows.iter().map(part).collect()
        })
        .await
    }

    /// The series of these names, by id: of all servers, or of some; of values, without histograms.
    pub async fn series_named(
        &self,
        metrics: &[String],
        servers: Option<&[i32]>,
        limit: usize,
    ) -> Result<Vec<SeriesMeta>, Error> {
        self.named(metrics, servers, "kind <> 'histogram'", limit).await
    }

    /// The histograms of these names, by id: of all servers, or of some.
    pub async fn histograms_named(
        &self,
        metrics: &[String],
        servers: Option<&[i32]>,
        limit: usize,
    ) -> Result<Vec<SeriesMeta>, Error> {
        self.named(metrics, servers, HISTOGRAM, limit).await
    }

    async fn named(
        &self,
        metrics: &[String],
        servers: Option<&[i32]>,
        kind: &'static str,
        limit: usize,
    ) -> Result<Vec<SeriesMeta>, Error> {
        self.guard(async {
            let query = format!(
                "SELECT id, server_id, metric_name, labels, kind, unit FROM series
                 WHERE metric_name = ANY($1) AND ($2::integer[] IS NULL OR server_id = ANY($2)) AND {kind}
                 ORDER BY id LIMIT $3"
            );
            let rows = sqlx::query(AssertSqlSafe(query))
                .bind(metrics)
                .bind(servers)
                .bind(limit as i64 + 1)
                .fetch_all(self.pool())
                .await?;
            if rows.len() > limit {
                return Err(Error::TooMuch(limit));
            }
            rows.iter().map(series_meta).collect()
        })
        .await
    }

    /// The first moment that each tier still has a place for; `None` when it has none.
    pub async fn kept_from(&self) -> Result<[Option<i64>; 4], Error> {
        self.guard(async {
            let tables = Tier::ALL.map(Tier::table);
            let rows: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
                "SELECT t.name, min(p.first) FROM UNNEST($1::text[]) AS t(name)
                 JOIN tidewatch_partitions p ON p.parent IN (t.name, replace(t.name, 'samples', 'packed'))
                 WHERE NOT p.leaving GROUP BY t.name",
            )
            .bind(&tables[..])
            .fetch_all(self.pool())
            .await?;
            let of = |table: &str| {
                rows.iter().find(|(t, _)| t == table).map(|(_, first)| first.timestamp_millis())
            };
            Ok(tables.map(of))
        })
        .await
    }
}
