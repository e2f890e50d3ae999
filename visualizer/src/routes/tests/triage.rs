//! Incidents, acknowledgements and silences: on a real PostgreSQL and Redis.

use serde_json::json;
use tidewatch_schemas::time::rfc3339;

use super::*;
use crate::params::{HOUR, MINUTE};

const JSON: (&str, &str) = ("content-type", "application/json");
const ADMIN: [(&str, &str); 3] = [("x-tidewatch-role", "admin"), ("x-tidewatch-client", "ann"), JSON];
const CARE: &str = "/api/v1/alerts/a1/acknowledge";
const SILENCES: &str = "/api/v1/silences";

async fn change(service: &Service, method: &str, path: &str, body: &Value, status: u16) -> Answered {
    let answer = service.ask(method, path, &ADMIN, &body.to_string()).await;
    assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
    assert_eq!((answer.header("cache-control"), answer.header("etag")), (Some("no-store"), None));
    assert_eq!(answer.header("x-tidewatch-source"), Some("postgres"));
    answer
}

async fn listed(service: &Service, query: &str) -> Value {
    let answer = service.get(&format!("/api/v1/{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    answer.body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_do_about_alerts_is_shown_with_them() {
    let stack = Stack::start("postgres redis");
    let service = Service::start(&stack).await;
    let alerts = listed(&service, "alerts").await;
    let before = &alerts[0];
    assert_eq!((&before["acknowledged"], &before["silenced_by"]), (&Value::Null, &json!([])));

    // acknowledged, once
    let now = rfc3339(NOW);
    let answer = change(&service, "POST", CARE, &json!({}), 200).await.body;
    assert_eq!(answer["acknowledged"], json!({"by": "ann", "at": now, "note": null, "verdict": null}));
    assert_eq!(change(&service, "POST", CARE, &json!({"note": null}), 200).await.body, answer);
    let noted = change(&service, "POST", CARE, &json!({"note": "on it\nsoon"}), 200).await.body;
    assert_eq!(noted["acknowledged"]["note"], "on it\nsoon");
    assert_eq!(listed(&service, "alerts").await, json!([noted]), "as the list shows it");
    assert_eq!(listed(&service, "alerts?acknowledged=true&silenced=false").await, json!([noted]));
    assert_eq!(listed(&service, "alerts?acknowledged=false").await, json!([]));
    for _ in 0..2 {
        assert_eq!(&change(&service, "DELETE", CARE, &json!({}), 200).await.body, before);
    }
    let nameless = [ADMIN[0], JSON];
    let answer = service.ask("POST", CARE, &nameless, "{}").await;
    assert_eq!(answer.body["acknowledged"]["by"], "anonymous");

    silences_mark_and_end(&service, &now).await;
    an_incident_is_told_as_a_whole(&service).await;
    refusals_name_what_is_wrong(&service).await;

    // while PostgreSQL is away the last answers are given, and nothing can be done
    let silences = listed(&service, "silences").await;
    stack.stop_part("postgres");
    eventually("the answers are stale", || async {
        service.get(SILENCES).await.header("x-tidewatch-stale") == Some("true")
    })
    .await;
    assert_eq!(listed(&service, "silences").await, silences);
    for (method, path) in [("POST", CARE), ("DELETE", CARE), ("DELETE", "/api/v1/silences/1")] {
        let refused = service.ask(method, path, &ADMIN, "{}").await;
        assert_eq!((refused.status, refused.body["code"].as_str()), (503, Some("history_unavailable")));
    }
    for unknown in ["alerts?status=firing&silenced=false&limit=3", "incidents?limit=3", "silences/1"] {
        assert_eq!(service.get(&format!("/api/v1/{unknown}")).await.status, 503, "{unknown}");
    }
}

async fn silences_mark_and_end(service: &Service, now: &str) {
    let new = json!({"matchers": {"server": "db.*"}, "ends_at": "now+1h", "comment": "new disks"});
    let made = change(service, "POST", SILENCES, &new, 201).await;
    let id = made.body["id"].as_i64().expect("id");
    let place = format!("{SILENCES}/{id}");
    assert_eq!(made.header("location"), Some(place.as_str()));
    let silence = json!({
        "id": id, "state": "active", "matchers": {"server": "db.*", "metric": null, "labels": {}}, "starts_at": now,
        "ends_at": rfc3339(NOW + HOUR), "comment": "new disks", "created_by": "ann", "created_at": now,
    });
    assert_eq!(made.body, silence);
    assert_eq!(service.get(&place).await.body, silence);
    assert_eq!(listed(service, "silences").await, json!([silence]));
    assert_eq!(listed(service, "alerts").await[0]["silenced_by"], json!([id]));
    assert_eq!(listed(service, "alerts?silenced=false").await, json!([]));
    // others do not fit, or not yet
    for (matchers, starts_at) in [
        (json!({"server": "web-*"}), "now"),
        (json!({"server": "*", "metric": "node_*"}), "now"),
        (json!({"labels": {"cpu": "0"}}), "now"),
        (json!({"server": "*"}), "now+1m"),
    ] {
        let new = json!({"matchers": matchers, "starts_at": starts_at, "ends_at": "now+1h", "comment": "x"});
        change(service, "POST", SILENCES, &new, 201).await;
    }
    assert_eq!(listed(service, "alerts").await[0]["silenced_by"], json!([id]));
    assert_eq!(listed(service, "silences?state=active").await.as_array().map(Vec::len), Some(4));
    assert_eq!(listed(service, "silences?limit=1").await, listed(service, "silences?state=pending").await);

    for _ in 0..2 {
        let ended = change(service, "DELETE", &place, &json!({}), 200).await.body;
        assert_eq!((&ended["state"], &ended["ends_at"]), (&json!("ended"), &json!(now)));
    }
    assert_eq!(listed(service, "alerts").await[0]["silenced_by"], json!([]));
    assert_eq!(listed(service, "silences?state=ended").await[0]["id"], id);
}

async fn an_incident_is_told_as_a_whole(service: &Service) {
    let incidents = listed(service, "incidents").await;
    let expected = json!([{
        "id": "i1", "state": "firing", "severity": "critical", "title": "CPU busy 98 % on db.fra-2",
        "started": rfc3339(NOW - 4 * MINUTE), "updated": rfc3339(NOW - 4 * MINUTE), "ended": null,
        "servers": ["db.fra-2"], "alert_count": 1, "false_alarms": 0, "joined": [],
    }]);
    assert_eq!(incidents, expected);
    for (query, is_there) in [
        ("state=firing", true),
        ("state=resolved", false),
        ("server=db.fra-2", true),
        ("server=web-1", false),
        ("to=now-5m", false),
        ("from=now-1m", true),
    ] {
        let found = listed(service, &format!("incidents?{query}")).await;
        assert_eq!(found == expected, is_there, "{query}: {found}");
    }
    let one = listed(service, "incidents/i1").await;
    assert_eq!(one["alerts"], listed(service, "alerts").await);
    assert_eq!((&one["alerts_left_out"], &one["anomalies_left_out"]), (&json!(0), &json!(0)));
    // the odd series is another server's
    assert_eq!((&one["state"], &one["anomalies"]), (&json!("firing"), &json!([])));
}

async fn refusals_name_what_is_wrong(service: &Service) {
    let good = json!({"matchers": {"server": "*"}, "ends_at": "now+1h", "comment": "x"}).to_string();
    let (good, long) = (good.as_str(), json!({"note": "x".repeat(70_000)}).to_string());
    let role = |role| vec![("x-tidewatch-role", role), JSON];
    let admin = || ADMIN.to_vec();
    for (method, path, headers, body, status, code, parameter) in [
        ("POST", CARE, vec![JSON], "{}", 403, "role_not_allowed", ""),
        ("POST", CARE, role("viewer"), "{}", 403, "role_not_allowed", ""),
        ("DELETE", CARE, role("viewer"), "", 403, "role_not_allowed", ""),
        ("POST", SILENCES, role("writer"), good, 403, "role_not_allowed", ""),
        ("DELETE", "/api/v1/silences/1", role("writer"), "", 403, "role_not_allowed", ""),
        ("POST", "/api/v1/alerts/none/acknowledge", admin(), "{}", 404, "unknown_alert", ""),
        ("POST", "/api/v1/alerts/a%00/acknowledge", admin(), "{}", 404, "unknown_alert", ""),
        ("DELETE", "/api/v1/alerts/none/acknowledge", admin(), "", 404, "unknown_alert", ""),
        ("DELETE", "/api/v1/silences/999999", admin(), "", 404, "unknown_silence", ""),
        ("GET", "/api/v1/silences/99999999999999999999", admin(), "", 404, "unknown_silence", ""),
        ("GET", "/api/v1/silences/one", admin(), "", 404, "unknown_silence", ""),
        ("GET", "/api/v1/incidents/none", admin(), "", 404, "unknown_incident", ""),
        ("GET", "/api/v1/incidents/%00", admin(), "", 404, "unknown_incident", ""),
        ("GET", "/api/v1/incidents?status=firing", admin(), "", 400, "bad_parameter", "status"),
        ("GET", "/api/v1/incidents?state=open", admin(), "", 400, "bad_parameter", "state"),
        ("GET", "/api/v1/incidents?server=nobody", admin(), "", 404, "unknown_server", ""),
        ("GET", "/api/v1/silences?state=over", admin(), "", 400, "bad_parameter", "state"),
        ("GET", "/api/v1/alerts?silenced=yes", admin(), "", 400, "bad_parameter", "silenced"),
        ("POST", "/api/v1/silences?x=1", admin(), good, 400, "bad_parameter", "x"),
        ("POST", SILENCES, vec![ADMIN[0]], good, 415, "unsupported_media_type", "Content-Type"),
        ("POST", CARE, admin(), "", 400, "bad_json", "body"),
        ("POST", CARE, admin(), long.as_str(), 413, "body_too_large", "body"),
        ("POST", CARE, admin(), "[]", 422, "bad_value", "body"),
        ("POST", CARE, admin(), "{\"note\": \"a\\u0000\"}", 422, "bad_value", "note"),
        ("POST", CARE, admin(), "{\"by\": \"me\"}", 422, "bad_value", "by"),
        ("POST", CARE, admin(), "{\"verdict\": \"true_alarm\"}", 422, "bad_value", "verdict"),
        ("POST", CARE, admin(), "{\"verdict\": 1}", 422, "bad_value", "verdict"),
        // the alert is a rule's
        ("POST", CARE, admin(), "{\"verdict\": \"false_alarm\"}", 422, "bad_value", "verdict"),
        ("POST", SILENCES, admin(), "{}", 422, "bad_value", "matchers"),
        (
            "POST",
            SILENCES,
            admin(),
            "{\"matchers\": {\"labels\": {\"a\": 1}}}",
            422,
            "bad_value",
            "matchers.labels.a",
        ),
    ] {
        let answer = service.ask(method, path, &headers, body).await;
        let told = (
            answer.status,
            answer.body["code"].as_str().unwrap_or_default(),
            answer.body["parameter"].as_str().unwrap_or_default(),
        );
        assert_eq!(told, (status, code, parameter), "{method} {path} {body:.80}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for (method, path) in [("GET", CARE), ("PATCH", "/api/v1/silences/1"), ("POST", "/api/v1/incidents")] {
        assert_eq!(service.ask(method, path, &ADMIN, "{}").await.status, 405, "{method} {path}");
    }
}
