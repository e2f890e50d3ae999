//! What many series were reduced to, kept for a moment: in this process and in Redis, so that a dashboard that many look at
//! asks PostgreSQL once. In: a question whose times are those of whole steps. Out: its values, and of when they are.
//!
//! Keeps: nothing is given out that is older than [`FRESH`] ([`PAST`] where nothing new is expected), whatever Redis holds.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidewatch_store::{ReduceQuery, Reduced};

use crate::{
    app::{App, Failure, busy},
    keep::Source,
    params::MINUTE,
};

/// How old an answer may be: the shortest window.
const FRESH: Duration = Duration::from_secs(10);

/// The same for what ended so long ago that only corrections still come.
const PAST: Duration = Duration::from_mins(1);
const PAST_AFTER: i64 = 10 * MINUTE;

/// Windows from which on a question is worth it: some hundredths of a second of PostgreSQL.
const DEAR: i64 = 20_000;

/// The longest answer that Redis is given.
const MOST_BYTES: usize = 1 << 20;

/// Values, and of when they are.
#[derive(Debug)]
pub(crate) struct Reduction {
    /// Milliseconds since 1970.
    pub(crate) as_of: i64,
    pub(crate) source: Source,
    pub(crate) values: Vec<Reduced>,
}

/// As Redis holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    as_of: i64,
    values: Vec<(i32, i64, f64)>,
}

impl App {
    pub(super) async fn reduced(&self, query: &ReduceQuery) -> Result<Arc<Reduction>, Failure> {
        if query.windows() < DEAR {
            return self.ask(query).await.map(Arc::new);
        }
        let good_for = if query.to_ms < (self.clock)() - PAST_AFTER { PAST } else { FRESH };
        let key = key(query);
        let compute = async {
            if let Some(found) = self.kept_by_others(&key, good_for).await {
                return Ok(found);
            }
            let found = self.ask(query).await?;
            let values = found.values.iter().map(|one| (one.group, one.ts_ms, one.value)).collect();
            match rmp_serde::to_vec(&Text { as_of: found.as_of, values }) {
                Ok(text) if text.len() <= MOST_BYTES => self.store.hot.keep(&key, &text, good_for).await,
                _ => {}
            }
            Ok(found)
        };
        let shared = self.reduced.of(&key);
        // the first half of its time in Redis, the second in this process: what came from there may be that old already
        let (found, there) = shared.get(good_for / 2, busy, compute).await?;
        if there {
            self.metrics.record_cache_hit("shared");
        }
        Ok(found)
    }

    /// Values that were just made.
    pub(super) fn reduction(&self, values: Vec<Reduced>) -> Arc<Reduction> {
        Arc::new(Reduction { as_of: (self.clock)(), source: Source::Postgres, values })
    }

    async fn ask(&self, query: &ReduceQuery) -> Result<Reduction, Failure> {
        let as_of = (self.clock)();
        let values = self.store.history.reduce(query).await?;
        Ok(Reduction { as_of, source: Source::Postgres, values })
    }

    async fn kept_by_others(&self, key: &str, good_for: Duration) -> Option<Reduction> {
        let text: Text = rmp_serde::from_slice(&self.store.hot.kept(key).await?).ok()?;
        let age = (self.clock)() - text.as_of;
        if age < 0 || age > good_for.as_millis() as i64 / 2 {
            return None;
        }
        let value = |(group, ts_ms, value)| Reduced { group, ts_ms, value };
        Some(Reduction {
            as_of: text.as_of,
            source: Source::Redis,
            values: text.values.into_iter().map(value).collect(),
        })
    }
}

/// The same for the same question, whoever asks it: its times are those of whole steps.
fn key(query: &ReduceQuery) -> String {
    let hash = Sha256::digest(format!("{query:?}"));
    format!("{:032x}", hash.first_chunk().copied().map_or(0, u128::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use tidewatch_store::{Across, OverTime, Tier};

    use super::*;

    #[test]
    fn a_key_is_of_one_question() {
        let query = ReduceQuery {
            series: vec![1, 2],
            groups: vec![0, 0],
            tier: Tier::Minute,
            step_ms: 60_000,
            from_ms: 0,
            to_ms: 600_000,
            lead_ms: 0,
            over_time: OverTime::Avg,
            across: Some(Across::Avg),
            limit: 100,
        };
        assert_eq!(key(&query), key(&query.clone()));
        let others = [
            ReduceQuery { series: vec![1, 3], ..query.clone() },
            ReduceQuery { groups: vec![0, 1], ..query.clone() },
            ReduceQuery { to_ms: 660_000, ..query.clone() },
            ReduceQuery { across: Some(Across::Sum), ..query.clone() },
            ReduceQuery { over_time: OverTime::Max, ..query.clone() },
        ];
        for other in others {
            assert_ne!(key(&query), key(&other), "{other:?}");
        }
    }
}
