//! What becomes of each kind of record, good and bad.

use tidewatch_schemas::{
    Alert, AlertStatus, Anomaly, Expectation, Reason, RelatedSeries, Series, SeriesKind, Severity,
};
use tidewatch_sink::record::Body;
use tidewatch_store::{AlertQuery, AnomalyQuery, Freshness, PeoplePatch, ServerRef, Tier, people::Change};

use crate::fixture::{Instance, T0, all_rows, database, frame, item, layout, next_offset, windows};

pub(crate) fn alert(status: AlertStatus, updated_at: i64, title: &str) -> Body {
    Body::Alert(Box::new(Alert {
        alert_id: "a1".to_owned(),
        fingerprint: "f1".to_owned(),
        incident_id: "i1".to_owned(),
        server: "web".to_owned(),
        status,
        severity: Severity::Critical,
        rule: "load".to_owned(),
        starts_at: T0,
        ends_at: (status == AlertStatus::Resolved).then_some(updated_at),
        updated_at,
        title: title.to_owned(),
        explanation: "load is 9, expected 0 to 2".to_owned(),
        metric: Some("load".to_owned()),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        unit: String::new(),
        value: Some(9.0),
        expected_low: Some(0.0),
        expected_high: Some(2.0),
        score: Some(4.5),
        related: vec![RelatedSeries { metric: "cpu".to_owned(), labels: [].into(), score: 1.5 }],
        runbook_url: None,
    }))
}

#[tokio::test]
async fn every_kind_of_record_is_found_where_it_is_looked_for() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let info = Series::gauge("tidewatch_host_info", "").with("ip_address", "10.0.0.5").with("os", "linux");
    let with_info = [layout(), vec![info]].concat();
    let expected = Expectation {
        server: "web".to_owned(),
        window_start: T0 + 10_000,
        window_ms: 10_000,
        layout: layout(),
        low: vec![0.5, f64::NAN],
        high: vec![1.5, 3.0],
    };
    let anomaly = Anomaly {
        server: "web".to_owned(),
        metric: "load".to_owned(),
        labels: [].into(),
        unit: String::new(),
        window_start: T0,
        window_ms: 10_000,
        value: 9.0,
        expected_low: 0.0,
        expected_high: 2.0,
        score: 4.5,
        method: "loud".to_owned(),
    };
    let batch = vec![
        windows(0, frame("web", 0, 9.0, with_info)),
        item("m.expected", 0, Body::Expected(expected)),
        item("anomalies", 0, Body::Anomaly(anomaly.clone())),
        item("anomalies", 1, Body::Anomaly(anomaly)),
        item("alerts", 0, alert(AlertStatus::Firing, T0 + 1_000, "high load")),
        item("alerts", 1, Body::Nothing),
    ];
    sink.commit(generation, vec![batch]).await;
    let history = &db.store.history;
    let server = history.server(&ServerRef::Name("web".to_owned())).await.expect("server").expect("there");
    assert_eq!(server.ip_address.as_deref(), Some("10.0.0.5"));
    assert_eq!(server.labels, [("os".to_owned(), "linux".to_owned())].into());
    assert_eq!((server.first_seen_ms, server.last_seen_ms), (T0, T0 + 10_000));
    let series = history.series(server.id, &["load".to_owned()]).await.expect("series");
    let bands = history.expectations(&[series[0].id], T0, T0 + 60_000).await.expect("bands");
    assert_eq!(bands.iter().map(|b| (b.ts_ms, b.low, b.high)).collect::<Vec<_>>(), [(T0 + 10_000, 0.5, 1.5)]);
    let anomalies =
        history.anomalies(&AnomalyQuery { limit: 9, ..AnomalyQuery::default() }).await.expect("anomalies");
    assert_eq!(
        anomalies.iter().map(|a| (a.server.as_str(), a.ts_ms, a.score)).collect::<Vec<_>>(),
        [("web", T0, 4.5)]
    );
    assert_eq!(history.odd_series(T0, T0 + 1).await.expect("odd"), [(server.id, 1)]);
    let open = AlertQuery { status: Some(AlertStatus::Firing), limit: 9, ..AlertQuery::default() };
    let alerts = history.alerts(&open).await.expect("alerts");
    assert_eq!(
        Body::Alert(Box::new(alerts[0].alert.clone())),
        alert(AlertStatus::Firing, T0 + 1_000, "high load")
    );
    assert_eq!(db.store.hot.open_alerts_last_known().await, Some(alerts));
    assert_eq!(db.store.hot.servers_last_known().await, Some(vec![server.clone()]));
    let all = history.series(server.id, &[]).await.expect("series");
    assert_eq!(db.store.hot.series(server.id, Freshness::Exact).await.as_deref(), Some(&all));
    assert_eq!(next_offset(&db.store, "alerts").await, Some(2), "an empty record counts too");

    let batch = vec![
        item("alerts", 2, alert(AlertStatus::Resolved, T0 + 9_000, "high load")),
        item("alerts", 3, alert(AlertStatus::Firing, T0 + 5_000, "an older state")),
    ];
    sink.commit(generation, vec![batch]).await;
    assert!(history.alerts(&open).await.expect("alerts").is_empty());
    assert_eq!(db.store.hot.open_alerts_last_known().await.map(|open| open.len()), Some(0));
}

#[tokio::test]
async fn what_people_say_of_a_server_stands_and_redis_is_told_with_the_next_window() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let info = |os: &str| [layout(), vec![Series::gauge("tidewatch_host_info", "").with("os", os)]].concat();
    sink.commit(generation, vec![vec![windows(0, frame("web", 0, 1.0, info("linux")))]]).await;
    let history = &db.store.history;
    let web = ServerRef::Name("web".to_owned());
    let server = history.server(&web).await.expect("server").expect("there");
    let patch = PeoplePatch {
        display_name: Change::Set("Till 4".to_owned()),
        labels: Change::Set([("os".to_owned(), Some("ours".to_owned()))].into()),
    };
    let said = history.patch_server(server.id, &patch).await.expect("patch").expect("there");
    for (window, os) in [(1, "linux"), (2, "bsd")] {
        sink.commit(generation, vec![vec![windows(window, frame("web", window, 1.0, info(os)))]]).await;
        let server = history.server(&web).await.expect("server").expect("there");
        assert_eq!((&server.people, server.labels["os"].as_str()), (&said.people, os));
        assert_eq!(server.shown_labels()["os"], "ours");
        assert_eq!(db.store.hot.servers_last_known().await, Some(vec![server]));
    }
}

#[tokio::test]
async fn the_one_record_postgresql_refuses_is_a_dead_letter_alone() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let mut batch: Vec<_> = (0..20).map(|n| windows(n, frame("web", n, 1.0, layout()))).collect();
    batch.insert(7, item("alerts", 0, alert(AlertStatus::Firing, T0, "a title\0 with a zero")));
    batch.insert(13, item("alerts", 1, alert(AlertStatus::Firing, T0, "a good one")));
    batch.push(item("alerts", 2, Body::Bad(Reason::Undecodable, "bytes".to_owned())));
    sink.commit(generation, vec![batch]).await;
    assert_eq!(*sink.letters.0.lock().expect("lock"), [(2, Reason::Undecodable), (0, Reason::Refused)]);
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 40);
    let alerts =
        db.store.history.alerts(&AlertQuery { limit: 9, ..AlertQuery::default() }).await.expect("alerts");
    assert_eq!(alerts.iter().map(|a| a.alert.title.as_str()).collect::<Vec<_>>(), ["a good one"]);
    assert_eq!(
        (next_offset(&db.store, "m.10s").await, next_offset(&db.store, "alerts").await),
        (Some(20), Some(3))
    );
}

#[tokio::test]
async fn a_server_has_so_many_series_and_no_more() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let many =
        |from: usize, to: usize| (from..to).map(|i| Series::gauge(format!("m{i}"), "")).collect::<Vec<_>>();
    let batch = vec![
        windows(0, frame("web", 0, 1.0, many(0, 40))),
        windows(1, frame("web", 1, 1.0, many(30, 60))),
        windows(2, frame("web", 2, 1.0, many(0, 50))),
        windows(3, frame("db", 0, 1.0, many(0, 50))),
    ];
    sink.commit(generation, vec![batch]).await;
    sink.commit(generation, vec![vec![windows(4, frame("web", 3, 1.0, many(50, 51)))]]).await;
    assert_eq!(
        *sink.letters.0.lock().expect("lock"),
        [(1, Reason::TooManySeries), (4, Reason::TooManySeries)]
    );
    assert_eq!(db.store.history.series_count().await.expect("count"), 100);
    assert_eq!(all_rows(&db.store, Tier::TenSeconds).await.len(), 40 + 50 + 50);
}

#[tokio::test]
async fn an_anomaly_that_comes_before_its_windows_only_guesses_the_kind() {
    let db = database().await;
    let mut sink = Instance::new(&db.store);
    let generation = sink.assign(&db.store).await;
    let counter = &layout()[1];
    let anomaly = Anomaly {
        server: "web".to_owned(),
        metric: counter.metric.clone(),
        labels: counter.labels.clone(),
        unit: String::new(),
        window_start: T0,
        window_ms: 10_000,
        value: 1.0,
        expected_low: 0.0,
        expected_high: 0.5,
        score: 2.0,
        method: "loud".to_owned(),
    };
    sink.commit(generation, vec![vec![item("anomalies", 0, Body::Anomaly(anomaly))]]).await;
    sink.commit(generation, vec![vec![windows(0, frame("web", 0, 1.0, layout()))]]).await;
    let series = db.store.history.series(1, std::slice::from_ref(&counter.metric)).await.expect("series");
    assert_eq!(
        series.iter().map(|s| (s.kind, s.unit.as_str())).collect::<Vec<_>>(),
        [(SeriesKind::Counter, "bytes")]
    );
}
