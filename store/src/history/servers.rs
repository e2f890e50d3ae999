//! Who there is and what they measure.

use sqlx::{Row, postgres::PgRow, types::Json};
use tidewatch_schemas::{Labels, SeriesKind, validate::Limits};

use super::History;
use crate::{Error, People, PeoplePatch, SeriesMeta, Server};

/// The ways to name a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerRef {
    Id(i32),
    Name(String),
}

/// Most servers that one answer holds.
const MAX_SERVERS: i64 = 100_000;
/// Most series that one answer holds.
const MAX_SERIES: i64 = 100_000;

/// What tells histograms from series of values; as their indexes have it.
pub(super) const HISTOGRAM: &str = "kind = 'histogram'";

const SERVERS: &str =
    "SELECT id, name, ip_address, labels, first_seen, last_seen, display_name, user_labels FROM servers";

impl History {
    /// All servers, by name.
    pub async fn servers(&self) -> Result<Vec<Server>, Error> {
        self.guard(async {
            let query = const_format(SERVERS, "ORDER BY name COLLATE \"C\" LIMIT $1");
            let rows = sqlx::query(query).bind(MAX_SERVERS).fetch_all(self.pool()).await?;
            rows.iter().map(server).collect()
        })
        .await
    }

    /// One server. A name made of digits may be meant by [`ServerRef::Id`] too: the id is tried by the caller's choice.
    pub async fn server(&self, which: &ServerRef) -> Result<Option<Server>, Error> {
        self.guard(async {
            let query = match which {
                ServerRef::Id(id) => sqlx::query(const_format(SERVERS, "WHERE id = $1")).bind(*id),
                ServerRef::Name(name) => {
                    sqlx::query(const_format(SERVERS, "WHERE name = $1")).bind(name.as_str())
                }
            };
            query.fetch_optional(self.pool()).await?.as_ref().map(server).transpose()
        })
        .await
    }

    /// Changes what people say of a server, and returns it; `None`: no server has this id. More labels of theirs than a
    /// series may have are [`Error::TooMuch`].
    pub async fn patch_server(&self, id: i32, patch: &PeoplePatch) -> Result<Option<Server>, Error> {
        self.guard(async {
            let mut transaction = self.pool().begin().await?;
            // locked: of two who change it at once, the second goes on with what the first left
            let query = sqlx::query(const_format(SERVERS, "WHERE id = $1 FOR UPDATE")).bind(id);
            let row = query.fetch_optional(&mut *transaction).await?;
            let Some(mut server) = row.as_ref().map(server).transpose()? else { return Ok(None) };
            server.people.patch(patch, &server.labels);
            let most = Limits::default().labels;
            if server.people.labels.len() > most {
                return Err(Error::TooMuch(most));
            }
            sqlx::query("UPDATE servers SET display_name = $2, user_labels = $3 WHERE id = $1")
                .bind(id)
                .bind(server.people.display_name.as_deref())
                .bind(Json(&server.people.labels))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(Some(server))
        })
        .await
    }

    /// The series of a server with one of these names (all when there is none), by id; of values, without histograms.
    pub async fn series(&self, server_id: i32, metrics: &[String]) -> Result<Vec<SeriesMeta>, Error> {
        self.series_of(server_id, metrics, "kind <> 'histogram'").await
    }

    /// The histograms of a server with one of these names (all when there is none), by id.
    pub async fn histogram_series(
        &self,
        server_id: i32,
        metrics: &[String],
    ) -> Result<Vec<SeriesMeta>, Error> {
        self.series_of(server_id, metrics, HISTOGRAM).await
    }

    async fn series_of(
        &self,
        server_id: i32,
        metrics: &[String],
        kind: &'static str,
    ) -> Result<Vec<SeriesMeta>, Error> {
        self.guard(async {
            let query = format!(
                "SELECT id, server_id, metric_name, labels, kind, unit FROM series
                 WHERE server_id = $1 AND (cardinality($2::text[]) = 0 OR metric_name = ANY($2)) AND {kind}
                 ORDER BY id LIMIT $3"
            );
            let rows = sqlx::query(sqlx::AssertSqlSafe(query))
                .bind(server_id)
                .bind(metrics)
                .bind(MAX_SERIES)
                .fetch_all(self.pool())
                .await?;
            rows.iter().map(series_meta).collect()
        })
        .await
    }

    /// How many series there are.
    pub async fn series_count(&self) -> Result<i64, Error> {
        self.guard(async {
            Ok(sqlx::query_scalar("SELECT count(*) FROM series").fetch_one(self.pool()).await?)
        })
        .await
    }
}

/// A query and its end; both are literals of ours.
fn const_format(query: &'static str, end: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{query} {end}"))
}

pub(crate) fn server(row: &PgRow) -> Result<Server, Error> {
    let first_seen: chrono::DateTime<chrono::Utc> = row.try_get("first_seen")?;
    let last_seen: chrono::DateTime<chrono::Utc> = row.try_get("last_seen")?;
    Ok(Server {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        ip_address: row.try_get("ip_address")?,
        labels: row.try_get::<Json<Labels>, _>("labels")?.0,
        first_seen_ms: first_seen.timestamp_millis(),
        last_seen_ms: last_seen.timestamp_millis(),
        people: people(row)?,
    })
}

pub(crate) fn people(row: &PgRow) -> Result<People, Error> {
    Ok(People {
        display_name: row.try_get("display_name")?,
        labels: row.try_get::<Json<_>, _>("user_labels")?.0,
    })
}

pub(crate) fn series_meta(row: &PgRow) -> Result<SeriesMeta, Error> {
    Ok(SeriesMeta {
        id: row.try_get("id")?,
        server_id: row.try_get("server_id")?,
        metric_name: row.try_get("metric_name")?,
        labels: row.try_get::<Json<Labels>, _>("labels")?.0,
        kind: kind(row.try_get("kind")?),
        unit: row.try_get("unit")?,
    })
}

pub(crate) fn kind(name: &str) -> SeriesKind {
    if name == SeriesKind::Counter.as_str() { SeriesKind::Counter } else { SeriesKind::Gauge }
}
