//! What the tests ask about: two servers, written as the sink writes them, to PostgreSQL and to Redis.

use tidewatch_schemas::{Alert, AlertStatus, Labels, Origin, Series, SeriesKind, Severity};
use tidewatch_store::{
    ExpectationRow, SeriesMeta, Server, Store, StoredAlert, Tier, WindowRow,
    hot::writer::{HotWriter, Refresh, ServerWindow},
    migrate,
    write::{
        catalog,
        events::{self, NewAnomaly},
        partitions::{self, Partitioned},
        samples,
    },
};

use crate::params::{MINUTE, SECOND};

/// When all questions are asked: a whole minute.
pub(crate) const NOW: i64 = 1_795_443_360_000;

/// First sample; 15 minutes are seeded.
pub(crate) const START: i64 = NOW - 15 * MINUTE;

/// Nothing came in this time.
pub(crate) const GAP: std::ops::Range<i64> = NOW - 6 * MINUTE..NOW - 5 * MINUTE;

/// The counter starts from zero.
pub(crate) const RESTART: i64 = NOW - 3 * MINUTE;

pub(crate) struct Seeded {
    pub(crate) writer: HotWriter,
    pub(crate) series: Vec<SeriesMeta>,
}

/// A sample every five seconds.
fn value(series: &SeriesMeta, at: i64) -> f64 {
    let n = ((at - START) / (5 * SECOND)) as f64;
    match (series.kind, series.metric_name.as_str()) {
        (SeriesKind::Counter, _) if at < RESTART => 1_000.0 + 50.0 * n,
        (SeriesKind::Counter, _) => 50.0 * ((at - RESTART) / (5 * SECOND)) as f64,
        (_, "tidewatch_host_cpu_busy_percent") => 40.0 + (n % 7.0),
        _ => n / 3.0,
    }
}

fn windows(series: &SeriesMeta, tier: Tier) -> Vec<WindowRow> {
    let length = tier.window_ms();
    let times: Vec<i64> =
        (START..NOW).step_by(5_000).filter(|at| !GAP.contains(at)).map(|at| at + 1_234).collect();
    let rows = times.chunk_by(|a, b| a.div_euclid(length) == b.div_euclid(length)).map(|times| {
        let ts = times[0].div_euclid(length) * length;
        let samples: Vec<_> = times.iter().map(|&at| (at, value(series, at))).collect();
        let w = crate::rate::tests::window(ts, &samples);
        WindowRow {
            series_id: series.id,
            ts_ms: ts,
            count: w.count,
            sum: w.sum,
            min: w.min,
            max: w.max,
            first: w.first,
            last: w.last,
            first_at: w.first_at,
            last_at: w.last_at,
            m2: 0.0,
            increase: w.increase,
            resets: 0,
            origin: Origin { partition: 0, offset: ts / SECOND },
        }
    });
    rows.collect()
}

fn alert(server: &Server) -> StoredAlert {
    let alert = Alert {
        alert_id: "a1".into(),
        fingerprint: "f1".into(),
        incident_id: "i1".into(),
        server: server.name.clone(),
        status: AlertStatus::Firing,
        severity: Severity::Critical,
        rule: "cpu".into(),
        starts_at: NOW - 4 * MINUTE,
        ends_at: None,
        updated_at: NOW - 4 * MINUTE,
        title: "CPU busy 98 % on db.fra-2".into(),
        explanation: "98 %, expected 4 to 31 %".into(),
        metric: Some("tidewatch_host_cpu_busy_percent".into()),
        labels: Labels::new(),
        unit: "percent".into(),
        value: Some(98.0),
        expected_low: Some(4.0),
        expected_high: Some(31.0),
        score: Some(2.5),
        related: Vec::new(),
        runbook_url: None,
    };
    StoredAlert { server_id: server.id, alert }
}

/// Writes everything; `web-1` has all windows, `db.fra-2` the alert.
pub(crate) async fn seed(store: &Store) -> Seeded {
    let pool = store.history.pool();
    migrate(pool).await.expect("migrate");
    let mut conn = pool.acquire().await.expect("connect");
    for table in Partitioned::ALL {
        for partition in [START, NOW].map(|ms| table.of(ms)) {
            partitions::ensure(&mut conn, partition).await.expect("partition");
        }
    }
    let named = [("db.fra-2", START), ("web-1", START)];
    let servers = catalog::servers(&mut conn, &named).await.expect("servers");
    let web = servers.iter().find(|s| s.name == "web-1").expect("web-1");
    let db = servers.iter().find(|s| s.name == "db.fra-2").expect("db.fra-2");
    let layout = [
        Series::gauge("node_load1", ""),
        Series::counter("node_disk_read_bytes_total", "bytes").with("device", "sda"),
        Series::counter("node_disk_read_bytes_total", "bytes").with("device", "sdb"),
        Series::gauge("tidewatch_host_cpu_busy_percent", "percent"),
        Series::gauge("tidewatch_host_filesystem_used_percent", "percent").with("mountpoint", "/"),
    ];
    let new: Vec<_> = layout.iter().map(|series| (web.id, series)).collect();
    let mut series = catalog::insert_series(&mut conn, &new).await.expect("series");
    series.sort_by_key(|s| s.id);
    let mut fine = Vec::new();
    for tier in Tier::ALL {
        let rows: Vec<_> = series.iter().flat_map(|s| windows(s, tier)).collect();
        samples::copy_in(&mut conn, tier, &rows).await.expect("windows");
        if tier == Tier::TenSeconds {
            fine = rows;
        }
    }
    catalog::describe(&mut conn, web.id, Some("10.0.0.5"), &Labels::from([("os".into(), "Debian".into())]))
        .await
        .expect("describe");
    catalog::touch(&mut conn, &[(web.id, NOW), (db.id, NOW - 2 * MINUTE)]).await.expect("last seen");
    let load = series.iter().find(|s| s.metric_name == "node_load1").expect("node_load1").id;
    let bands: Vec<_> = (0..15)
        .map(|i| ExpectationRow {
            series_id: load,
            ts_ms: START + i * MINUTE,
            window_ms: 60_000,
            low: 1.0,
            high: 20.0,
        })
        .collect();
    events::upsert_expectations(&mut conn, &bands).await.expect("expectations");
    let odd: Vec<_> = [6, 7, 8, 20]
        .map(|i| NewAnomaly {
            series_id: load,
            ts_ms: NOW - 4 * MINUTE + i * 10 * SECOND,
            window_ms: 10_000,
            value: 50.0 + i as f64,
            expected_low: 1.0,
            expected_high: 20.0,
            score: 1.0 + i as f64 / 10.0,
            method: "loud".into(),
        })
        .into();
    events::insert_anomalies(&mut conn, &odd).await.expect("anomalies");
    events::upsert_alerts(&mut conn, &[alert(db)]).await.expect("alerts");
    drop(conn);

    let mut writer = HotWriter::new(store.hot.clone());
    fine.sort_by_key(|row| (row.ts_ms, row.series_id));
    let known = store.history.servers().await.expect("servers");
    let mut series_of = vec![(web.id, series.clone())];
    for rows in fine.chunk_by(|a, b| a.ts_ms == b.ts_ms) {
        let window =
            ServerWindow { server_id: web.id, ts_ms: rows[0].ts_ms, is_newest: true, rows: rows.to_vec() };
        let changed = Refresh {
            windows: vec![window],
            servers: known.clone(),
            series: std::mem::take(&mut series_of),
            alerts: vec![alert(db)],
        };
        writer.refresh(&changed).await.expect("refresh redis");
    }
    Seeded { writer, series }
}
