//! From names to ids, and what is known of each server: kept between batches, made in PostgreSQL when new.
//!
//! Ids are made outside the batch's transaction: they are facts on their own, and no batch waits for another's.

use std::{collections::BTreeMap, hash::Hash};

use hashbrown::{Equivalent, HashMap, HashSet};
use sqlx::PgConnection;
use tidewatch_schemas::{Labels, Reason, Series, SeriesKind};
use tidewatch_store::{Error, People, SeriesMeta, Server, Tier, write::catalog};

use super::windows::TIERS;
use crate::record::{Body, Item};

/// What a collector says about its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) ip_address: Option<String>,
    pub(super) labels: Labels,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) server: Server,
    series: HashMap<SeriesKey, Facts>,
    /// Start of the newest window this session wrote, by tier; what is known of the shortest is `server`'s.
    newest: [Option<i64>; TIERS],
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    metric: String,
    labels: Labels,
    /// Series of their own, whatever they are called.
    is_histogram: bool,
}

#[derive(Debug)]
struct Facts {
    id: i32,
    kind: SeriesKind,
    unit: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SeriesRef<'a> {
    metric: &'a str,
    labels: &'a Labels,
    is_histogram: bool,
}

impl<'a> SeriesRef<'a> {
    fn of(series: &'a Series, is_histogram: bool) -> Self {
        Self { metric: &series.metric, labels: &series.labels, is_histogram }
    }
}

impl Equivalent<SeriesKey> for SeriesRef<'_> {
    fn equivalent(&self, key: &SeriesKey) -> bool {
        self.is_histogram == key.is_histogram && self.metric == key.metric && *self.labels == key.labels
    }
}

#[derive(Debug)]
pub(super) struct Ids {
    servers: HashMap<String, Known>,
    names: HashMap<i32, String>,
    /// Servers whose series Redis has to be told.
    new_series: HashSet<i32>,
    series_per_server: usize,
    /// What is read is of now: the kind it gives a series is the right one.
    corrects: bool,
}

/// Servers kept at once; beyond it everything is forgotten and read again.
const MAX_SERVERS: usize = 200_000;

impl Ids {
    pub(super) fn new(series_per_server: usize) -> Self {
        Self {
            servers: HashMap::new(),
            names: HashMap::new(),
            new_series: HashSet::new(),
            series_per_server,
            corrects: true,
        }
    }

    /// For what is read of the past: the kinds of series that are there stay.
    pub(super) fn of_the_past(series_per_server: usize) -> Self {
        Self { corrects: false, ..Self::new(series_per_server) }
    }

    pub(super) fn forget(&mut self) {
        self.servers.clear();
        self.names.clear();
        self.new_series.clear();
    }

    pub(super) fn known(&self, server: &str) -> Option<&Known> {
        self.servers.get(server)
    }

    pub(super) fn server_id(&self, server: &str) -> Option<i32> {
        self.servers.get(server).map(|known| known.server.id)
    }

    pub(super) fn series_id(&self, server: &str, metric: &str, labels: &Labels) -> Option<i32> {
        self.servers.get(server)?.series_of(metric, labels).map(|(id, _)| id)
    }

    /// Makes sure that everything the items name has an id. Returns the items that would give their server too many
    /// series.
    pub(super) async fn resolve(
        &mut self,
        conn: &mut PgConnection,
        items: &[Item],
    ) -> Result<Vec<(usize, Reason, String)>, Error> {
        if self.servers.len() > MAX_SERVERS {
            self.forget();
        }
        self.servers(conn, items).await?;
        let mut bad = Vec::new();
        let mut wanted: Vec<(i32, &Series, bool)> = Vec::new();
        let mut corrected: Vec<(i32, &Series)> = Vec::new();
        let mut own = Vec::new();
        for item in items {
            // an anomaly speaks of a series without its kind: it is there already unless history was lost
            own.push(match &item.body {
                Body::Anomaly(a) => Some(Series {
                    metric: a.metric.clone(),
                    labels: a.labels.clone(),
                    kind: SeriesKind::Gauge,
                    unit: a.unit.clone(),
                }),
                _ => None,
            });
        }
        // new ones of each server, however many items name them
        let mut new: HashMap<i32, HashSet<SeriesRef<'_>>> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let layout = match &item.body {
                Body::Windows(_, frame) => frame.layout.as_slice(),
                Body::Expected(expected) => expected.layout.as_slice(),
                Body::Anomaly(_) => own[index].as_slice(),
                _ => continue,
            };
            let histograms = match &item.body {
                Body::Windows(_, frame) => frame.histograms.as_slice(),
                _ => &[],
            };
            let Some(known) = item.body.server().and_then(|name| self.servers.get(name)) else { continue };
            let new = new.entry(known.server.id).or_default();
            let before = wanted.len();
            for one in histograms {
                let key = SeriesRef::of(&one.series, true);
                if !known.series.contains_key(&key) && new.insert(key) {
                    wanted.push((known.server.id, &one.series, true));
                }
            }
            for series in layout {
                let key = SeriesRef::of(series, false);
                match known.series_of(key.metric, key.labels) {
                    None if new.insert(key) => wanted.push((known.server.id, series, false)),
                    // windows know the kind; an anomaly that came first only guessed it
                    Some((_, kind)) if kind != series.kind && matches!(item.body, Body::Windows(..)) => {
                        corrected.push((known.server.id, series));
                    }
                    _ => {}
                }
            }
            if known.series.len() + new.len() > self.series_per_server && wanted.len() > before {
                for (_, series, is_histogram) in wanted.drain(before..) {
                    new.remove(&SeriesRef::of(series, is_histogram));
                }
                let message = format!("server would have more than {} series", self.series_per_server);
                bad.push((index, Reason::TooManySeries, message));
            }
        }
        let of = |histograms: bool| {
            let those = wanted.iter().filter(move |(.., is_histogram)| *is_histogram == histograms);
            those.map(|(server, series, _)| (*server, *series)).collect::<Vec<_>>()
        };
        let (mut values, histograms) = (of(false), of(true));
        if self.corrects {
            values.extend(corrected);
        }
        if !values.is_empty() {
            let made = catalog::insert_series(conn, &values).await?;
            self.new_series.extend(made.iter().map(|meta| meta.server_id));
            self.learn(made, false);
        }
        if !histograms.is_empty() {
            self.learn(catalog::insert_histograms(conn, &histograms).await?, true);
        }
        Ok(bad)
    }

    /// Makes sure that every server the items name is known.
    pub(super) async fn servers(&mut self, conn: &mut PgConnection, items: &[Item]) -> Result<(), Error> {
        let mut named: BTreeMap<&str, i64> = BTreeMap::new();
        for item in items {
            let Some(name) = item.body.server() else { continue };
            if !self.servers.contains_key(name) {
                let seen = named.entry(name).or_insert(i64::MAX);
                *seen = (*seen).min(item.body.time());
            }
        }
        if named.is_empty() {
            return Ok(());
        }
        let named: Vec<(&str, i64)> = named.into_iter().collect();
        let servers = catalog::servers(conn, &named).await?;
        let ids: Vec<i32> = servers.iter().map(|server| server.id).collect();
        let (series, histograms) = catalog::series_of(conn, &ids).await?;
        // only now, and at once: half known would be worse than unknown
        for server in servers {
            self.names.insert(server.id, server.name.clone());
            self.new_series.insert(server.id);
            let known = Known { server, series: HashMap::new(), newest: [None; TIERS] };
            self.servers.insert(known.server.name.clone(), known);
        }
        self.learn(series, false);
        self.learn(histograms, true);
        Ok(())
    }

    fn learn(&mut self, metas: Vec<SeriesMeta>, is_histogram: bool) {
        for meta in metas {
            let known = self.names.get(&meta.server_id).and_then(|name| self.servers.get_mut(name));
            if let Some(known) = known {
                let key = SeriesKey { metric: meta.metric_name, labels: meta.labels, is_histogram };
                known.series.insert(key, Facts { id: meta.id, kind: meta.kind, unit: meta.unit });
            }
        }
    }

    /// What a commit made true; returns the servers that changed.
    pub(super) fn committed(
        &mut self,
        seen: &BTreeMap<i32, i64>,
        longer: &BTreeMap<(i32, Tier), i64>,
        described: &BTreeMap<i32, Info>,
        people: Vec<(i32, People)>,
    ) -> Vec<Server> {
        for ((id, tier), start) in longer {
            if let Some(known) = self.by_id(*id) {
                let newest = &mut known.newest[*tier as usize];
                *newest = (*newest).max(Some(*start));
            }
        }
        for (id, info) in described {
            if let Some(known) = self.by_id(*id) {
                known.server.ip_address.clone_from(&info.ip_address);
                known.server.labels.clone_from(&info.labels);
            }
        }
        for (id, people) in people {
            if let Some(known) = self.by_id(id) {
                known.server.people = people;
            }
        }
        let mut changed = Vec::new();
        for (id, ms) in seen {
            if let Some(known) = self.by_id(*id) {
                known.server.last_seen_ms = known.server.last_seen_ms.max(*ms);
                changed.push(known.server.clone());
            }
        }
        changed
    }

    fn by_id(&mut self, id: i32) -> Option<&mut Known> {
        self.names.get(&id).and_then(|name| self.servers.get_mut(name))
    }

    pub(super) fn series_again(&mut self, server_id: i32) {
        self.new_series.insert(server_id);
    }

    /// Whatever is known up to here, Redis need not be told.
    pub(super) fn nothing_new(&mut self) {
        self.new_series.clear();
    }

    /// All series of the servers that have new ones, by id, for Redis.
    pub(super) fn take_new_series(&mut self) -> Vec<(i32, Vec<SeriesMeta>)> {
        let ids = std::mem::take(&mut self.new_series);
        let known = |id: &i32| self.names.get(id).and_then(|name| self.servers.get(name));
        ids.iter().filter_map(|id| Some((*id, known(id)?.metas()))).collect()
    }
}

impl Known {
    pub(super) fn series_of(&self, metric: &str, labels: &Labels) -> Option<(i32, SeriesKind)> {
        let key = SeriesRef { metric, labels, is_histogram: false };
        self.series.get(&key).map(|facts| (facts.id, facts.kind))
    }

    pub(super) fn histogram_of(&self, metric: &str, labels: &Labels) -> Option<i32> {
        self.series.get(&SeriesRef { metric, labels, is_histogram: true }).map(|facts| facts.id)
    }

    pub(super) fn newest(&self, tier: Tier) -> Option<i64> {
        self.newest[tier as usize]
    }

    /// Of values: Redis keeps no histograms.
    fn metas(&self) -> Vec<SeriesMeta> {
        let meta = |(key, facts): (&SeriesKey, &Facts)| SeriesMeta {
            id: facts.id,
            server_id: self.server.id,
            metric_name: key.metric.clone(),
            labels: key.labels.clone(),
            kind: facts.kind,
            unit: facts.unit.clone(),
        };
        let mut metas: Vec<SeriesMeta> =
            self.series.iter().filter(|(key, _)| !key.is_histogram).map(meta).collect();
        metas.sort_by_key(|meta| meta.id);
        metas
    }
}
