//! Silences: made, found, ended before their time.

use chrono::{DateTime, Utc};
use sqlx::{Row, postgres::PgRow, types::Json};

use super::{History, at};
use crate::{
    Error,
    triage::{NewSilence, Scope, Silence, SilenceState},
};

/// Silences that have not ended, at most: each is looked at for each alert.
const MAX_SILENCES: usize = 1_000;

impl History {
    /// Those of a state at `now_ms`, or all; the newest first.
    pub async fn silences(
        &self,
        state: Option<SilenceState>,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<Silence>, Error> {
        self.guard(async {
            let rows = sqlx::query(
                "SELECT * FROM silences
                 WHERE $1::text IS NULL OR $1 = CASE WHEN ends_at <= $2::timestamptz THEN 'ended'
                     WHEN starts_at > $2::timestamptz THEN 'pending' ELSE 'active' END
                 ORDER BY id DESC LIMIT $3",
            )
            .bind(state.map(SilenceState::as_str))
            .bind(at(now_ms))
            .bind(limit as i64)
            .fetch_all(self.pool())
            .await?;
            rows.iter().map(silence).collect()
        })
        .await
    }

    pub async fn silence(&self, id: i32) -> Result<Option<Silence>, Error> {
        self.guard(async {
            let query = sqlx::query("SELECT * FROM silences WHERE id = $1").bind(id);
            query.fetch_optional(self.pool()).await?.as_ref().map(silence).transpose()
        })
        .await
    }

    /// One more; [`Error::TooMuch`] when there are as many as may be.
    pub async fn create_silence(&self, new: &NewSilence) -> Result<Silence, Error> {
        self.guard(async {
            let row = sqlx::query(
                "INSERT INTO silences (server, metric, labels, starts_at, ends_at, comment, created_by, created_at)
                 SELECT $1::text, $2::text, $3::jsonb, $4::timestamptz, $5::timestamptz, $6::text, $7::text, $8::timestamptz
                 WHERE (SELECT count(*) FROM silences WHERE ends_at > $8::timestamptz) < $9::bigint
                 RETURNING *",
            )
            .bind(new.scope.server.as_deref())
            .bind(new.scope.metric.as_deref())
            .bind(Json(&new.scope.labels))
            .bind(at(new.starts_ms))
            .bind(at(new.ends_ms))
            .bind(&new.comment)
            .bind(&new.created_by)
            .bind(at(new.created_ms))
            .bind(MAX_SILENCES as i64)
            .fetch_optional(self.pool())
            .await?;
            row.as_ref().map(silence).transpose()?.ok_or(Error::TooMuch(MAX_SILENCES))
        })
        .await
    }

    /// Ends one at `now_ms` if it has not ended; `None`: there is none with this id.
    pub async fn end_silence(&self, id: i32, now_ms: i64) -> Result<Option<Silence>, Error> {
        self.guard(async {
            // one that has not begun ends where it begins
            let query = sqlx::query(
                "UPDATE silences SET starts_at = least(starts_at, $2), ends_at = least(ends_at, $2)
                 WHERE id = $1 RETURNING *",
            )
            .bind(id)
            .bind(at(now_ms));
            query.fetch_optional(self.pool()).await?.as_ref().map(silence).transpose()
        })
        .await
    }
}

fn silence(row: &PgRow) -> Result<Silence, Error> {
    let time = |column| Ok::<_, sqlx::Error>(row.try_get::<DateTime<Utc>, _>(column)?.timestamp_millis());
    Ok(Silence {
        id: row.try_get("id")?,
        said: NewSilence {
            scope: Scope {
                server: row.try_get("server")?,
                metric: row.try_get("metric")?,
                labels: row.try_get::<Json<_>, _>("labels")?.0,
            },
            starts_ms: time("starts_at")?,
            ends_ms: time("ends_at")?,
            comment: row.try_get("comment")?,
            created_by: row.try_get("created_by")?,
            created_ms: time("created_at")?,
        },
    })
}
