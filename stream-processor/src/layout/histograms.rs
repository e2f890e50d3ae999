//! The series of histograms, each known once however many servers and frames repeat it.
//!
//! In: a series' bytes as a record has them. Out: what it is taken as: in canonical form and renamed by the filter, left out as
//! the filter wishes, or refused. Invariant: a cache of a function of (filter, class of the server, bytes).

use std::sync::Arc;

use hashbrown::HashMap;
use tidewatch_schemas::{Limits, Series, validate::check_series};

use super::{Hasher, Refusal, write_series};
use crate::{filter::Filter, read};

/// A series on its own, in Avro with its labels in order.
#[derive(Debug)]
pub(crate) struct Sole {
    pub(crate) bytes: Box<[u8]>,
    /// The hash of what tells it from others of its server.
    pub(crate) identity: u128,
    /// Its metric, for people.
    pub(crate) name: Box<str>,
}

/// What becomes of a histogram because of its series.
#[derive(Debug, Clone)]
pub(crate) enum Taken {
    As(Arc<Sole>),
    /// A `drop` or a `keep` leaves it out.
    Dropped,
    Refused(Refusal),
}

#[derive(Debug, Default)]
pub(super) struct SoleSeries {
    known: HashMap<(u128, u64), Taken>,
    /// Bytes of all entries, roughly.
    size: usize,
}

/// Bytes of entries after which all are forgotten: who is still sent is known again at its next record.
const MOST_BYTES: usize = 16 << 20;

impl SoleSeries {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// `bytes` are looked at only if nobody sent them before.
    pub(super) fn take(
        &mut self,
        filter: &Filter,
        limits: &Limits,
        hasher: Hasher,
        (server, class): (&str, u64),
        bytes: &[u8],
    ) -> Result<Taken, read::ReadError> {
        let key = (hasher.hash(bytes), class);
        if let Some(taken) = self.known.get(&key) {
            return Ok(taken.clone());
        }
        let sent = read::series(bytes)?;
        let taken = match filter.histogram(server, sent) {
            Err(refused) => Taken::Refused(Refusal::new(refused.reason, refused.message)),
            Ok(None) => Taken::Dropped,
            Ok(Some(series)) => taken_as(&series, limits, hasher),
        };
        let size = 256 + if let Taken::As(sole) = &taken { sole.bytes.len() } else { 0 };
        if self.size + size > MOST_BYTES {
            self.clear();
        }
        self.size += size;
        self.known.insert(key, taken.clone());
        Ok(taken)
    }
}

fn taken_as(series: &Series, limits: &Limits, hasher: Hasher) -> Taken {
    let name: String = series.metric.chars().take(64).collect();
    if let Err(reason) = check_series(series, limits) {
        return Taken::Refused(Refusal::new(reason, format!("histogram `{name}`")));
    }
    let mut bytes = Vec::with_capacity(64);
    let identity = write_series(&mut bytes, series);
    let identity = hasher.hash(&bytes[..identity]);
    Taken::As(Arc::new(Sole { bytes: bytes.into(), identity, name: name.into() }))
}
