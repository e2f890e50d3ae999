//! What people do about alerts, and incidents: on a real PostgreSQL.

use tidewatch_schemas::{Alert, AlertStatus, Labels, RelatedSeries, Series, Severity, Verdict};
use tidewatch_store::{
    Acknowledgement, Error, IncidentQuery, NewSilence, Scope, SilenceState, StoredAlert, TrackedQuery,
    testing::{Database, Stack},
    write::{
        catalog,
        events::{self, NewAnomaly},
    },
};

const T0: i64 = 1_795_392_000_000;
const MINUTE: i64 = 60_000;
const NOW: i64 = T0 + 60 * MINUTE;

fn labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn alert(id: &str, incident: &str, server: (i32, &str), from: i64, to: Option<i64>) -> StoredAlert {
    let alert = Alert {
        alert_id: id.into(),
        fingerprint: format!("f-{id}"),
        incident_id: incident.into(),
        server: server.1.into(),
        status: if to.is_some() { AlertStatus::Resolved } else { AlertStatus::Firing },
        severity: Severity::Warning,
        rule: "cpu".into(),
        starts_at: from,
        ends_at: to,
        updated_at: to.unwrap_or(from),
        title: format!("{id} of {}", server.1),
        explanation: String::new(),
        metric: Some("node_load1".into()),
        labels: labels(&[("cpu", "0")]),
        unit: String::new(),
        value: Some(1.0),
        expected_low: None,
        expected_high: None,
        score: None,
        related: vec![RelatedSeries { metric: "other".into(), labels: Labels::new(), score: 1.5 }],
        runbook_url: None,
    };
    StoredAlert { server_id: server.0, alert }
}

/// Two incidents: `i1` of both servers, of which one alert fires, and `i2`, which is over.
async fn database() -> (Database, i32, Vec<i32>) {
    let db = Stack::shared().expect("stack").database().await.expect("database");
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let servers = catalog::servers(&mut conn, &[("db", T0), ("web-1", T0)]).await.expect("servers");
    let id = |name: &str| servers.iter().find(|server| server.name == name).expect("server").id;
    let (web, other) = ((id("web-1"), "web-1"), (id("db"), "db"));
    let mut critical = alert("a2", "i1", other, T0 + 5 * MINUTE, None);
    critical.alert.severity = Severity::Critical;
    let alerts = [
        alert("a1", "i1", web, T0, Some(T0 + 10 * MINUTE)),
        critical,
        alert("b1", "i2", web, T0 + 20 * MINUTE, Some(T0 + 30 * MINUTE)),
    ];
    events::upsert_alerts(&mut conn, &alerts).await.expect("alerts");
    let series = [
        Series::gauge("node_load1", "").with("cpu", "0"),
        Series::gauge("node_load1", "").with("cpu", "1"),
        Series::gauge("other", ""),
    ];
    let wanted: Vec<_> = series.iter().map(|series| (web.0, series)).collect();
    let made = catalog::insert_series(&mut conn, &wanted).await.expect("series");
    let of = |series: &Series| {
        let is_it = |meta: &&tidewatch_store::SeriesMeta| {
            meta.metric_name == series.metric && meta.labels == series.labels
        };
        made.iter().find(is_it).expect("series").id
    };
    let ids: Vec<i32> = series.iter().map(of).collect();
    drop(conn);
    (db, web.0, ids)
}

async fn tracked(db: &Database, mut query: TrackedQuery) -> Vec<(String, Option<String>, Vec<i32>)> {
    query.alerts.limit = 9;
    if query.now_ms == 0 {
        query.now_ms = NOW;
    }
    let alerts = db.store.history.tracked_alerts(&query).await.expect("alerts");
    let short = alerts
        .into_iter()
        .map(|one| (one.stored.alert.alert_id, one.acknowledged.map(|said| said.by), one.silenced_by));
    short.collect()
}

async fn ids(db: &Database, query: TrackedQuery) -> Vec<String> {
    tracked(db, query).await.into_iter().map(|(id, ..)| id).collect()
}

#[tokio::test]
async fn an_acknowledgement_is_said_once_and_taken_back() {
    let (db, ..) = database().await;
    let history = &db.store.history;
    let said = |by: &str, at_ms, note: Option<&str>| Acknowledgement {
        by: by.into(),
        at_ms,
        note: note.map(str::to_owned),
        verdict: None,
    };
    let first = said("ann", NOW, None);
    for at_ms in [NOW, NOW + 5] {
        let again = Acknowledgement { at_ms, ..first.clone() };
        let alert = history.acknowledge("a2", &again).await.expect("acknowledge").expect("there");
        assert_eq!(alert.acknowledged.as_ref(), Some(&first), "the same again changes nothing");
    }
    let noted = said("ann", NOW + 9, Some("on it"));
    let alert = history.acknowledge("a2", &noted).await.expect("acknowledge").expect("there");
    assert_eq!(alert.acknowledged, Some(noted.clone()));
    // what they found it to be is part of what they say, and the incident counts it
    let judged = Acknowledgement { at_ms: NOW + 10, verdict: Some(Verdict::FalseAlarm), ..noted };
    for at_ms in [NOW + 10, NOW + 20] {
        let again = Acknowledgement { at_ms, ..judged.clone() };
        let alert = history.acknowledge("a2", &again).await.expect("acknowledge").expect("there");
        assert_eq!(alert.acknowledged.as_ref(), Some(&judged));
        assert_eq!(history.tracked_alert("a2", at_ms).await.expect("alert"), Some(alert));
    }
    assert_eq!(history.tracked_alert("nothing", NOW).await.expect("alert"), None);
    let false_alarms =
        async |id: &str| history.incident(id).await.expect("incident").expect("there").false_alarms;
    assert_eq!((false_alarms("i1").await, false_alarms("i2").await), (1, 0));
    let only = |acknowledged| TrackedQuery { acknowledged: Some(acknowledged), ..TrackedQuery::default() };
    assert_eq!(ids(&db, only(true)).await, ["a2"]);
    assert_eq!(ids(&db, only(false)).await, ["b1", "a1"]);
    assert_eq!(history.acknowledge("nothing", &first).await.expect("acknowledge"), None);
    for _ in 0..2 {
        let alert = history.withdraw("a2", NOW).await.expect("withdraw").expect("there");
        assert_eq!(alert.acknowledged, None);
    }
    assert_eq!(false_alarms("i1").await, 0);
    assert_eq!(history.withdraw("nothing", NOW).await.expect("withdraw"), None);
    assert!(ids(&db, only(true)).await.is_empty());
}

fn silence(scope: Scope, starts_ms: i64, ends_ms: i64) -> NewSilence {
    NewSilence {
        scope,
        starts_ms,
        ends_ms,
        comment: "work on it".into(),
        created_by: "ann".into(),
        created_ms: NOW,
    }
}

fn server(pattern: &str) -> Scope {
    Scope { server: Some(pattern.into()), ..Scope::default() }
}

#[tokio::test]
async fn a_silence_fits_alerts_as_a_whole_and_in_its_time() {
    let (db, ..) = database().await;
    let history = &db.store.history;
    let (metric, label) = ("node_load1", labels(&[("cpu", "0")]));
    let of = |metric: &str, labels: Labels| Scope { server: None, metric: Some(metric.into()), labels };
    for (scope, fits) in [
        (server("web-1"), &["b1", "a1"][..]),
        (server("web-*"), &["b1", "a1"]),
        (server("*"), &["a2", "b1", "a1"]),
        (server("web"), &[]),
        (server("web__"), &[]),
        (server("%"), &[]),
        (server("WEB-1"), &[]),
        (server("\\*"), &[]),
        (of(metric, label.clone()), &["a2", "b1", "a1"]),
        (of("node_*", Labels::new()), &["a2", "b1", "a1"]),
        (of(metric, labels(&[("cpu", "1")])), &[]),
        (of(metric, labels(&[("cpu", "*"), ("mode", "")])), &["a2", "b1", "a1"]),
        (of(metric, labels(&[("mode", "idle")])), &[]),
    ] {
        let made = history.create_silence(&silence(scope.clone(), T0, NOW + MINUTE)).await.expect("create");
        let silenced: Vec<String> = tracked(&db, TrackedQuery::default())
            .await
            .into_iter()
            .filter(|(_, _, by)| by.contains(&made.id))
            .map(|(id, ..)| id)
            .collect();
        assert_eq!(silenced, fits, "{scope:?}");
        let row = sqlx::query("DELETE FROM silences WHERE id = $1").bind(made.id);
        row.execute(history.pool()).await.expect("delete");
    }

    // what fires is silenced now or not; what is over, if it was at any time
    let make = async |starts, ends| {
        history.create_silence(&silence(server("*"), starts, ends)).await.expect("create").id
    };
    let before = make(T0 + 6 * MINUTE, T0 + 7 * MINUTE).await;
    let active = make(NOW, NOW + MINUTE).await;
    let pending = make(NOW + MINUTE, NOW + 2 * MINUTE).await;
    let found = tracked(&db, TrackedQuery::default()).await;
    let by: Vec<_> = found.iter().map(|(id, _, by)| (id.as_str(), by.as_slice())).collect();
    assert_eq!(by, [("a2", &[active][..]), ("b1", &[]), ("a1", &[before])]);
    let only = |silenced| TrackedQuery { silenced: Some(silenced), ..TrackedQuery::default() };
    assert_eq!(ids(&db, only(true)).await, ["a2", "a1"]);
    assert_eq!(ids(&db, only(false)).await, ["b1"]);
    let later = TrackedQuery { now_ms: NOW + MINUTE, ..only(true) };
    assert_eq!(tracked(&db, later).await[0].2, [pending]);

    let state = async |state| {
        let found = history.silences(Some(state), NOW, 9).await.expect("silences");
        assert!(found.iter().all(|one| one.state(NOW) == state));
        found.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert_eq!(state(SilenceState::Ended).await, [before]);
    assert_eq!(state(SilenceState::Active).await, [active]);
    assert_eq!(state(SilenceState::Pending).await, [pending]);
    let all = history.silences(None, NOW, 2).await.expect("silences");
    assert_eq!(all.iter().map(|one| one.id).collect::<Vec<_>>(), [pending, active], "the newest first");
    for id in [pending, active, active] {
        let ended = history.end_silence(id, NOW).await.expect("end").expect("there");
        assert_eq!((ended.said.ends_ms, ended.state(NOW)), (NOW, SilenceState::Ended));
        assert_eq!(history.silence(id).await.expect("silence"), Some(ended));
    }
    let early = history.end_silence(before, NOW).await.expect("end").expect("there");
    assert_eq!(early.said.ends_ms, T0 + 7 * MINUTE, "its end stays");
    assert_eq!(ids(&db, only(true)).await, ["a1"]);
    assert_eq!(history.end_silence(i32::MAX, NOW).await.expect("end"), None);
    assert_eq!(history.silence(i32::MAX).await.expect("silence"), None);
}

#[tokio::test]
async fn so_many_silences_and_no_more() {
    let (db, ..) = database().await;
    let history = &db.store.history;
    let new = silence(server("x"), NOW, NOW + MINUTE);
    sqlx::query(
        "INSERT INTO silences (server, starts_at, ends_at, comment, created_by, created_at)
         SELECT 'x', now(), 'infinity', '', '', now() FROM generate_series(1, 999)",
    )
    .execute(history.pool())
    .await
    .expect("insert");
    assert!(history.create_silence(&new).await.is_ok());
    let refused = history.create_silence(&new).await;
    assert!(matches!(refused, Err(Error::TooMuch(1_000))), "{refused:?}");
}

#[tokio::test]
async fn an_incident_is_what_its_alerts_are_together() {
    let (db, web, series) = database().await;
    let history = &db.store.history;
    let one = history.incident("i1").await.expect("incident").expect("there");
    assert_eq!((one.is_firing, one.severity, one.alerts), (true, Severity::Critical, 2));
    assert_eq!((one.started_ms, one.updated_ms, one.ended_ms), (T0, T0 + 10 * MINUTE, None));
    assert_eq!(
        (one.title.as_str(), &one.servers[..]),
        ("a1 of web-1", &["db".to_owned(), "web-1".into()][..])
    );
    assert_eq!(one.moved, "node_load1");
    let other = history.incident("i2").await.expect("incident").expect("there");
    assert_eq!((other.is_firing, other.ended_ms), (false, Some(T0 + 30 * MINUTE)));
    assert_eq!(history.incident("nothing").await.expect("incident"), None);

    let all = IncidentQuery { limit: 9, ..IncidentQuery::default() };
    for (query, expected) in [
        (all.clone(), &["i2", "i1"][..]),
        (IncidentQuery { limit: 1, ..all.clone() }, &["i2"]),
        (IncidentQuery { firing: Some(true), ..all.clone() }, &["i1"]),
        (IncidentQuery { firing: Some(false), ..all.clone() }, &["i2"]),
        (IncidentQuery { server_id: Some(web), ..all.clone() }, &["i2", "i1"]),
        (IncidentQuery { server_id: Some(web), firing: Some(true), ..all.clone() }, &["i1"]),
        (IncidentQuery { server_id: Some(i32::MAX), ..all.clone() }, &[]),
        (IncidentQuery { from_ms: Some(T0 + 31 * MINUTE), ..all.clone() }, &["i1"]),
        (IncidentQuery { to_ms: Some(T0 + 20 * MINUTE), ..all.clone() }, &["i1"]),
    ] {
        let found = history.incidents(&query).await.expect("incidents");
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), expected, "{query:?}");
        assert!(found.iter().all(|found| [&one, &other].contains(&found)));
    }
    let alerts = history.incident_alerts("i1", NOW, 9).await.expect("alerts");
    let ids: Vec<_> = alerts.iter().map(|one| one.stored.alert.alert_id.as_str()).collect();
    assert_eq!(ids, ["a1", "a2"], "the first mover first");

    let odd = |series_id, ts_ms| NewAnomaly {
        series_id,
        ts_ms,
        window_ms: 10_000,
        value: 9.0,
        expected_low: 0.0,
        expected_high: 1.0,
        score: 2.0,
        method: "loud".into(),
    };
    let anomalies = [
        odd(series[0], T0 - 10_000),
        odd(series[0], T0),
        odd(series[0], T0 + 20_000),
        odd(series[1], T0 + 10_000),
        odd(series[2], T0 + 10_000),
        odd(series[2], NOW + 10_000),
    ];
    let mut conn = history.pool().acquire().await.expect("connection");
    events::insert_anomalies(&mut conn, &anomalies).await.expect("anomalies");
    let (found, of) = history.incident_anomalies("i1", T0, NOW, 2).await.expect("anomalies");
    let found: Vec<_> = found.iter().map(|row| (row.series_id, row.ts_ms)).collect();
    assert_eq!((found, of), (vec![(series[0], T0), (series[2], T0 + 10_000)], 3));
    let (none, of) = history.incident_anomalies("nothing", T0, NOW, 2).await.expect("anomalies");
    assert_eq!((none.len(), of), (0, 0));
}
