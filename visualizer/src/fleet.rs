//! The whole fleet at once. In: servers, open alerts, odd series, summary gauges, the last day. Out: `/servers` and
//! `/fleet`.
//!
//! Keeps: what many pages ask every few seconds is asked of PostgreSQL once; the day, which changes slowly, less often.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use tidewatch_schemas::{Alert, AlertStatus, Labels};
use tidewatch_store::{AlertQuery, FleetPoint, Server, StoredAlert};
use utoipa::ToSchema;

pub(crate) mod status;

use status::{Day, Now, Status};

use crate::{
    app::{App, Directory, Failure, Mode, busy},
    format::Format,
    keep::{Answer, Source},
    openapi::schemas,
    params::{MINUTE, Range},
    query::columns::Grid,
    views::{self, Disk},
};

/// The parameters of the fleet page.
pub(crate) const KNOWN: [&str; 2] = ["from", "to"];

/// Points of a sparkline at most: two for each of so many pixels.
const SPARK: i64 = 36;

/// How long the last day is good for.
const PAST: Duration = Duration::from_secs(30);

/// How long the sparklines are good for: a twelfth of their shortest usual step. The newest values come by the live stream.
const GAUGES: Duration = Duration::from_secs(10);

/// How long the numbers of series are good for: counting them reads all of their table's index.
const COUNTS: Duration = Duration::from_secs(30);

/// Alerts that are looked at for states and heartbeats.
const ALERTS: usize = 20_000;

/// How all servers are.
#[derive(Debug)]
pub(crate) struct Overview {
    pub(crate) directory: Arc<Directory>,
    /// Worst first, then oldest, by server.
    open: HashMap<i32, Vec<Alert>>,
    odd: HashMap<i32, i64>,
    series: Arc<HashMap<i32, i64>>,
    silent_after: i64,
    pub(crate) as_of: i64,
}

impl Overview {
    pub(crate) fn status(&self, server: &Server) -> Status {
        let count = |of: &HashMap<i32, i64>| of.get(&server.id).copied().unwrap_or_default();
        status::status(Now {
            at: self.as_of,
            first_seen: server.first_seen_ms,
            last_seen: server.last_seen_ms,
            worst_alert: self.open(server.id).first().map(|alert| alert.severity),
            odd_series: count(&self.odd),
            series: count(&self.series),
            silent_after: self.silent_after,
        })
    }

    /// Servers without alerts or oddities.
    #[cfg(test)]
    pub(crate) fn calm(directory: Arc<Directory>, as_of: i64) -> Self {
        let (open, odd, series) = <_>::default();
        Self { directory, open, odd, series, silent_after: MINUTE, as_of }
    }

    pub(crate) fn open(&self, server_id: i32) -> &[Alert] {
        self.open.get(&server_id).map_or(&[], Vec::as_slice)
    }
}

fn by_server(alerts: Vec<StoredAlert>) -> HashMap<i32, Vec<Alert>> {
    let mut open: HashMap<i32, Vec<Alert>> = HashMap::new();
    for stored in alerts {
        open.entry(stored.server_id).or_default().push(stored.alert);
    }
    for alerts in open.values_mut() {
        alerts.sort_by(|a, b| {
            (b.severity, a.starts_at, &a.alert_id).cmp(&(a.severity, b.starts_at, &b.alert_id))
        });
    }
    open
}

/// The last day of all servers.
#[derive(Debug)]
pub(crate) struct Past {
    present: HashMap<i32, BTreeSet<i64>>,
    odd: Vec<(i32, i64, i64)>,
    alerts: HashMap<i32, Vec<(i64, i64, Status)>>,
}

impl App {
    /// How all servers are, and whether that was known already.
    pub(crate) async fn overview(&self, mode: Mode) -> Result<(Arc<Overview>, bool), Failure> {
        match mode {
            Mode::Fresh => self.overview.get(self.good_for().await, busy, self.read_overview()).await,
            Mode::LastKnown => {
                if let Some(last) = self.overview.last().await {
                    return Ok((last, true));
                }
                let servers = self.store.hot.servers_last_known().await.ok_or_else(busy)?;
                let open = self.store.hot.open_alerts_last_known().await.ok_or_else(busy)?;
                // as it was then: nobody is silent only because nobody writes
                let as_of = servers.iter().map(|s| s.last_seen_ms).max().unwrap_or_default();
                let overview = Overview {
                    directory: Arc::new(Directory::new(servers)),
                    open: by_server(open),
                    odd: HashMap::new(),
                    series: Arc::default(),
                    silent_after: self.silent_after,
                    as_of,
                };
                Ok((Arc::new(overview), false))
            }
        }
    }

    async fn read_overview(&self) -> Result<Overview, Failure> {
        let now = (self.clock)();
        let history = &self.store.history;
        let query = AlertQuery { status: Some(AlertStatus::Firing), limit: ALERTS, ..AlertQuery::default() };
        let directory = self.directory().await?;
        let count = async { Ok(history.series_counts().await?.into_iter().collect()) };
        let counts = self.series_counts.get(COUNTS, busy, count);
        let found = async {
            let odd = history.odd_series(now - status::ODD_WITHIN, now + MINUTE);
            Ok(tokio::try_join!(history.alerts(&query), odd)?)
        };
        let ((open, odd), (series, _)) = tokio::try_join!(found, counts)?;
        Ok(Overview {
            directory,
            open: by_server(open),
            odd: odd.into_iter().collect(),
            series,
            silent_after: self.silent_after,
            as_of: now,
        })
    }

    async fn read_past(&self, now: i64) -> Result<Past, Failure> {
        let first = status::first_beat(now);
        let end = first + status::BEATS as i64 * status::BEAT;
        let history = &self.store.history;
        let query = AlertQuery { from_ms: Some(first), limit: ALERTS, ..AlertQuery::default() };
        let (present, odd, alerts) = tokio::try_join!(
            history.presence(first, end, status::BEAT),
            history.odd_steps(first, end, status::ODD_WITHIN),
            history.alerts(&query),
        )?;
        let mut past = Past { present: HashMap::new(), odd, alerts: HashMap::new() };
        for (server, beat) in present {
            past.present.entry(server).or_default().insert(beat);
        }
        for StoredAlert { server_id, alert } in alerts {
            if let Some(status) = status::of_alert(alert.severity) {
                let span = (alert.starts_at, alert.ends_at.unwrap_or(now), status);
                past.alerts.entry(server_id).or_default().push(span);
            }
        }
        Ok(past)
    }

    /// The fleet page of one range; `key` stands for the range in what is shared.
    pub(crate) async fn fleet_page(&self, range: Range, key: &str, mode: Mode) -> Result<Answer, Failure> {
        let (overview, mut there) = self.overview(mode).await?;
        let grid = Grid::for_width(range, SPARK);
        let (points, past) = if mode == Mode::Fresh {
            let read =
                async { Ok(self.store.history.fleet(&views::SUMMARY, grid.t0, range.to, grid.step).await?) };
            let (points, points_there) = self.gauges.of(key).get(GAUGES, busy, read).await?;
            there &= points_there;
            let past = self.past.get(PAST, busy, self.read_past(overview.as_of)).await?.0;
            (points, Some(past))
        } else {
            (Arc::default(), None)
        };
        if there {
            self.metrics.record_cache_hit("shared");
        }
        let as_of = overview.as_of;
        let json = tokio::task::spawn_blocking(move || {
            serde_json::to_vec(&page(&overview, grid, &points, past.as_deref()))
        });
        let json = json
            .await
            .map_err(|e| Failure::Outage(e.to_string()))?
            .map_err(|e| Failure::Outage(e.to_string()))?;
        Ok(Answer {
            body: Bytes::from(json),
            format: Format::Json,
            source: if mode == Mode::Fresh { Source::Postgres } else { Source::Redis },
            link: None,
            as_of,
            ends: None,
        })
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fleet)]
pub(crate) struct Page<'a> {
    as_of: i64,
    from: i64,
    to: i64,
    step: i64,
    odd_series: i64,
    series: i64,
    servers: Vec<Row<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FleetServer)]
struct Row<'a> {
    id: i32,
    name: &'a str,
    display_name: Option<&'a str>,
    status: Status,
    last_seen: i64,
    #[schema(schema_with = schemas::labels)]
    labels: &'a Labels,
    /// The title of the worst open alert.
    why: Option<&'a str>,
    open_alerts: usize,
    since: Option<i64>,
    /// The worst state of each half hour of the last day, oldest first.
    heartbeat: Vec<Status>,
    cpu: Trend,
    memory: Trend,
    network: Trend,
    disk: Option<Disk>,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Trend {
    last: Option<f64>,
    avg: Vec<Option<f64>>,
}

fn page<'a>(overview: &'a Overview, grid: Grid, points: &[FleetPoint], past: Option<&Past>) -> Page<'a> {
    // both are in order of the server's id
    let mut of: HashMap<i32, &[FleetPoint]> = HashMap::new();
    for chunk in points.chunk_by(|a, b| a.server_id == b.server_id) {
        of.insert(chunk[0].server_id, chunk);
    }
    let servers = overview.directory.servers.iter().map(|server| {
        let points = of.get(&server.id).copied().unwrap_or_default();
        row(overview, server, grid, points, past)
    });
    Page {
        as_of: overview.as_of,
        from: grid.t0,
        to: grid.end(),
        step: grid.step,
        odd_series: overview.odd.values().sum(),
        series: overview.series.values().sum(),
        servers: servers.collect(),
    }
}

fn row<'a>(
    overview: &'a Overview,
    server: &'a Server,
    grid: Grid,
    points: &[FleetPoint],
    past: Option<&Past>,
) -> Row<'a> {
    let status = overview.status(server);
    let open = overview.open(server.id);
    let since = match status {
        Status::Silent => Some(server.last_seen_ms),
        Status::Critical | Status::Warning => open.first().map(|alert| alert.starts_at),
        _ => None,
    };
    let day = past.map(|past| Day {
        first_seen: server.first_seen_ms,
        present: past.present.get(&server.id).cloned().unwrap_or_default(),
        alerts: past.alerts.get(&server.id).cloned().unwrap_or_default(),
        odd: odd_times(overview, past, server.id),
    });
    let heartbeat = day.map_or_else(
        || vec![Status::None; status::BEATS],
        |day| status::heartbeat(overview.as_of, &day, status),
    );
    Row {
        id: server.id,
        name: &server.name,
        display_name: server.people.display_name.as_deref(),
        status,
        last_seen: server.last_seen_ms,
        labels: &server.labels,
        why: open.first().map(|alert| alert.title.as_str()),
        open_alerts: open.len(),
        since,
        heartbeat,
        cpu: trend(grid, points, views::CPU),
        memory: trend(grid, points, views::MEMORY),
        network: trend(grid, points, views::NETWORK),
        disk: fullest(points),
    }
}

fn odd_times(overview: &Overview, past: &Past, server_id: i32) -> Vec<i64> {
    let bound = status::odd_bound(overview.series.get(&server_id).copied().unwrap_or_default());
    let from = past.odd.partition_point(|(server, ..)| *server < server_id);
    let own = past.odd[from..].iter().take_while(|(server, ..)| *server == server_id);
    own.filter(|(.., count)| *count >= bound).map(|(_, at, _)| *at).collect()
}

/// A gauge without further labels; of several series under the name the sums count together.
fn trend(grid: Grid, points: &[FleetPoint], metric: &str) -> Trend {
    let mut sums = vec![(0.0, 0); grid.len];
    let mut last = None;
    for point in points.iter().filter(|p| p.metric_name == metric) {
        let index = (point.ts_ms - grid.t0).div_euclid(grid.step);
        let Some((sum, count)) = usize::try_from(index).ok().and_then(|i| sums.get_mut(i)) else { continue };
        *sum += point.sum;
        *count += point.count;
        if last.is_none_or(|(at, _)| at <= point.ts_ms) {
            last = Some((point.ts_ms, point.last));
        }
    }
    let mean =
        |(sum, count): (f64, i64)| if count > 0 { crate::rate::finite(sum / count as f64) } else { None };
    Trend { last: last.map(|(_, value)| value), avg: sums.into_iter().map(mean).collect() }
}

/// The file system that is fullest at the newest time of all: one that was unmounted since is not looked at.
fn fullest(points: &[FleetPoint]) -> Option<Disk> {
    let disks = || points.iter().filter(|p| p.metric_name == views::DISK);
    let newest = disks().map(|p| p.ts_ms).max()?;
    let fullest = disks().filter(|p| p.ts_ms == newest).max_by(|a, b| a.last.total_cmp(&b.last))?;
    Some(Disk { mountpoint: views::mountpoint(&fullest.labels), last: fullest.last })
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_795_443_360_000;

    fn point(metric: &str, mountpoint: &str, minute: i64, last: f64) -> FleetPoint {
        FleetPoint {
            server_id: 1,
            metric_name: metric.into(),
            labels: [("mountpoint".to_owned(), mountpoint.to_owned())].into(),
            ts_ms: T0 + minute * MINUTE,
            count: 6,
            sum: 6.0 * (last - 1.0),
            max: last,
            last,
        }
    }

    #[test]
    fn a_trend_has_gaps_and_the_newest_value() {
        let grid = Grid::new(Range { from: T0, to: T0 + 4 * MINUTE }, MINUTE);
        let points =
            [point(views::CPU, "", 0, 5.0), point(views::CPU, "", 2, 9.0), point(views::MEMORY, "", 3, 1.0)];
        let found = trend(grid, &points, views::CPU);
        assert_eq!(found, Trend { last: Some(9.0), avg: vec![Some(4.0), None, Some(8.0), None] });
        assert_eq!(trend(grid, &points, views::NETWORK).last, None);
    }

    #[test]
    fn the_fullest_disk_is_one_that_is_still_there() {
        let points = [
            point(views::DISK, "/gone", 0, 99.0),
            point(views::DISK, "/", 2, 40.0),
            point(views::DISK, "/srv", 2, 60.0),
        ];
        assert_eq!(fullest(&points), Some(Disk { mountpoint: "/srv".into(), last: 60.0 }));
        assert_eq!(fullest(&[]), None);
    }
}
