//! The series of servers as Redis had them last, so that they are sent and read again only when they have changed.
//!
//! Keeps: what is given out has the version that Redis just named; at most [`SERIES`] series are held.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use crate::SeriesMeta;

/// Some 100 MB at worst, labels and all.
const SERIES: usize = 300_000;

/// What Redis says of a server's series: their version, and their text unless the version is the known one.
pub(super) type Told = (String, Option<String>);

/// Shared by the clones of a connection.
#[derive(Debug, Default)]
pub(super) struct Catalog(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    servers: HashMap<i32, (String, Arc<Vec<SeriesMeta>>)>,
    series: usize,
}

/// The version of a server's series, and what its key holds: who vouches for it, the version, all series. The version is made of
/// the series, so that whoever writes the same says the same.
pub(super) fn text(epoch: &str, series: &[SeriesMeta]) -> Option<(String, String)> {
    let json = serde_json::to_string(series).ok()?;
    let hash = Sha256::digest(&json);
    let version = hash.first_chunk().copied().map(u64::from_be_bytes)?;
    let version = format!("{version:016x}");
    let text = format!("{epoch} {version}\n{json}");
    Some((version, text))
}

impl Catalog {
    /// Of what is held of a server; empty when nothing is.
    pub(super) fn version(&self, server_id: i32) -> String {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.servers.get(&server_id).map(|(version, _)| version.clone()).unwrap_or_default()
    }

    /// The series that Redis spoke of; `None` for text that is not ours, or for a version that is not held any more.
    pub(super) fn learn(&self, server_id: i32, (version, text): Told) -> Option<Arc<Vec<SeriesMeta>>> {
        // read outside of the lock: it is long
        let read = match text {
            Some(text) => Some(Arc::new(serde_json::from_str::<Vec<SeriesMeta>>(&text).ok()?)),
            None => None,
        };
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(series) = read else {
            return held.servers.get(&server_id).filter(|(v, _)| *v == version).map(|(_, s)| Arc::clone(s));
        };
        if held.series + series.len() > SERIES {
            // rare enough that a better choice of what goes is not worth its bookkeeping
            *held = Held::default();
        }
        held.series += series.len();
        if let Some((_, old)) = held.servers.insert(server_id, (version, Arc::clone(&series))) {
            held.series -= old.len();
        }
        Some(series)
    }
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::SeriesKind;

    use super::*;

    fn series(count: usize) -> Vec<SeriesMeta> {
        let one = |id| SeriesMeta {
            id: id as i32,
            server_id: 1,
            metric_name: "m".to_owned(),
            labels: [("a".to_owned(), "line\nbreak".to_owned())].into(),
            kind: SeriesKind::Gauge,
            unit: String::new(),
        };
        (0..count).map(one).collect()
    }

    /// As the script takes it apart.
    fn told(series: &[SeriesMeta]) -> (String, String) {
        let (version, text) = text("ab", series).expect("text");
        let (head, json) = text.split_once('\n').expect("two lines");
        assert_eq!(head, format!("ab {version}"));
        (version, json.to_owned())
    }

    #[test]
    fn series_are_read_once_for_each_version() {
        let catalog = Catalog::default();
        let (version, json) = told(&series(3));
        assert_eq!(catalog.version(1), "");
        assert_eq!(catalog.learn(1, (version.clone(), None)), None, "nothing is held");
        assert_eq!(catalog.learn(1, (version.clone(), Some(json))).as_deref(), Some(&series(3)));
        assert_eq!(catalog.version(1), version);
        assert_eq!(catalog.learn(1, (version.clone(), None)).as_deref(), Some(&series(3)));
        assert_eq!(catalog.learn(2, (version, None)), None, "another server's");
        let (changed, _) = told(&series(4));
        assert_ne!(changed, catalog.version(1));
        assert_eq!(catalog.learn(1, (changed, None)), None, "another version's");
        assert_eq!(catalog.learn(1, ("0".to_owned(), Some("garbage".to_owned()))), None);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let catalog = Catalog::default();
        let json = serde_json::to_string(&series(SERIES / 10)).expect("text");
        for server in 0..25 {
            catalog.learn(server, ("0".to_owned(), Some(json.clone()))).expect("read");
            let held = catalog.0.lock().expect("lock");
            let real: usize = held.servers.values().map(|(_, series)| series.len()).sum();
            assert!(real == held.series && real <= SERIES, "{real} {}", held.series);
        }
    }
}
