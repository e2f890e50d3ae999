//! What people say of a server, and what completion offers: on a real PostgreSQL and Redis.

use serde_json::json;
use tidewatch_schemas::Labels;
use tidewatch_store::write::catalog;

use super::*;

const WEB: &str = "/api/v1/servers/web-1";
const KIND: (&str, &str) = ("content-type", "application/merge-patch+json");
const ADMIN: [(&str, &str); 2] = [("x-tidewatch-role", "admin"), KIND];

async fn patch(service: &Service, path: &str, body: &Value) -> Answered {
    let answer = service.ask("PATCH", path, &ADMIN, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.body);
    assert_eq!((answer.header("cache-control"), answer.header("etag")), (Some("no-store"), None));
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_say_of_a_server_is_shown_at_once_and_stands() {
    let stack = Stack::start("postgres redis");
    let service = Service::start(&stack).await;
    let before = service.get(WEB).await.body;
    assert_eq!((&before["display_name"], &before["labels"]), (&Value::Null, &json!({"os": "Debian"})));
    for warm in ["/api/v1/servers", "/api/v1/fleet"] {
        assert_eq!(service.get(warm).await.status, 200);
    }

    let said = json!({"display_name": "Till 4", "labels": {"dc": "fra", "os": null}});
    let answer = patch(&service, WEB, &said).await.body;
    assert_eq!((&answer["display_name"], &answer["labels"]), (&"Till 4".into(), &json!({"dc": "fra"})));
    assert_eq!(service.get(WEB).await.body, answer, "as GET shows it");
    for found in ["q=till", "label=dc%3Dfra", "label=os%3D&label=dc!%3D"] {
        let servers = service.get(&format!("/api/v1/servers?{found}")).await.body;
        assert_eq!(servers, json!([answer]), "{found}");
    }
    let fleet = service.get("/api/v1/fleet").await.body;
    assert_eq!(fleet["servers"][1]["display_name"], "Till 4");
    let known = service.store.hot.servers_last_known().await.expect("servers in Redis");
    let web = known.iter().find(|server| server.name == "web-1").expect("web-1");
    assert_eq!(web.people.display_name.as_deref(), Some("Till 4"));
    assert_eq!(web.shown_labels(), Labels::from([("dc".into(), "fra".into())]));

    // its collector was started again elsewhere
    let mut conn = service.store.history.pool().acquire().await.expect("connection");
    let labels = [("os", "Debian 13"), ("dc", "ams"), ("kernel", "6.12")];
    let labels: Labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    catalog::describe(&mut conn, web.id, Some("10.0.0.6"), &labels).await.expect("describe");
    eventually("the new address is shown", || async {
        service.get(WEB).await.body["ip_address"] == "10.0.0.6"
    })
    .await;
    let answer = service.get(WEB).await.body;
    assert_eq!(answer["display_name"], "Till 4");
    assert_eq!(answer["labels"], json!({"dc": "fra", "kernel": "6.12"}));

    let answer =
        patch(&service, &format!("/api/v1/servers/{}", web.id), &json!({"labels": {"dc": null}})).await;
    assert_eq!(answer.body["labels"], json!({"kernel": "6.12"}));
    refusals_name_what_is_wrong_and_change_nothing(&service).await;
    let answer = patch(&service, WEB, &json!({"display_name": null, "labels": null})).await.body;
    assert_eq!(answer["display_name"], Value::Null);
    assert_eq!(answer["labels"], json!({"dc": "ams", "kernel": "6.12", "os": "Debian 13"}));
    completion_offers_what_there_is(&service).await;

    // while PostgreSQL is away nothing can be said, and what was said last is known
    assert_eq!(service.get("/api/v1/servers").await.body[1]["display_name"], Value::Null);
    patch(&service, WEB, &json!({"display_name": "The last"})).await;
    stack.stop_part("postgres");
    eventually("the answers are stale", || async {
        service.get("/api/v1/servers").await.header("x-tidewatch-stale") == Some("true")
    })
    .await;
    assert_eq!(service.get("/api/v1/servers").await.body[1]["display_name"], "The last");
    let refused = service.ask("PATCH", WEB, &ADMIN, "{\"display_name\": \"x\"}").await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (503, Some("history_unavailable")));
    assert!(refused.header("retry-after").is_some());
}

async fn refusals_name_what_is_wrong_and_change_nothing(service: &Service) {
    let before = service.get(WEB).await.body;
    let good = "{\"display_name\": \"x\"}";
    let many: serde_json::Map<_, _> = (0..33).map(|i| (format!("l{i}"), json!("x"))).collect();
    let many = json!({ "labels": many }).to_string();
    let role = |role| vec![("x-tidewatch-role", role), KIND];
    let admin = |more: &[(&'static str, &'static str)]| [&ADMIN[..], more].concat();
    for (path, headers, body, status, code, parameter) in [
        (WEB, vec![KIND], good, 403, "role_not_allowed", ""),
        (WEB, role("viewer"), good, 403, "role_not_allowed", ""),
        (WEB, role("writer"), good, 403, "role_not_allowed", ""),
        ("/api/v1/servers/nobody", admin(&[]), good, 404, "unknown_server", ""),
        ("/api/v1/servers/web-1?x=1", admin(&[]), good, 400, "bad_parameter", "x"),
        (WEB, admin(&[("if-match", "W/\"1\"")]), good, 412, "precondition_failed", "If-Match"),
        (WEB, vec![ADMIN[0]], good, 415, "unsupported_media_type", "Content-Type"),
        (WEB, admin(&[]), "{", 400, "bad_json", "body"),
        (WEB, admin(&[]), "[]", 422, "bad_value", "body"),
        (WEB, admin(&[]), "{\"id\": 7}", 422, "bad_value", "id"),
        (WEB, admin(&[]), "{\"labels\": {\"dc\": 7}}", 422, "bad_value", "labels.dc"),
        (WEB, admin(&[]), many.as_str(), 422, "bad_value", "labels"),
    ] {
        let answer = service.ask("PATCH", path, &headers, body).await;
        let told = (
            answer.status,
            answer.body["code"].as_str().unwrap_or_default(),
            answer.body["parameter"].as_str().unwrap_or_default(),
        );
        assert_eq!(told, (status, code, parameter), "{body}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("accept-patch").is_some(), status == 415);
    }
    let if_there = service.ask("PATCH", WEB, &admin(&[("if-match", "*")]), "{}").await;
    assert_eq!((if_there.status, if_there.body), (200, before));
    assert_eq!(service.ask("DELETE", WEB, &ADMIN, "").await.status, 405);
}

async fn completion_offers_what_there_is(service: &Service) {
    let names = |metrics: &[(&str, i64)], more: bool| {
        let metrics: Vec<_> =
            metrics.iter().map(|(name, series)| json!({"name": name, "series": series})).collect();
        json!({"as_of": NOW, "metrics": metrics, "more": more})
    };
    let cpu = ("tidewatch_host_cpu_busy_percent", 1);
    let all = [
        ("node_disk_read_bytes_total", 2),
        ("node_load1", 1),
        cpu,
        ("tidewatch_host_filesystem_used_percent", 1),
    ];
    for (query, expected) in [
        ("", names(&all, false)),
        ("prefix=node_&limit=1", names(&all[..1], true)),
        ("prefix=node_&limit=2", names(&all[..2], false)),
        ("q=BUSY", names(&[cpu], false)),
        ("match=server.os%3D~Debian.*", names(&all, false)),
        ("match=server.os%3D~Debian.*&q=load", names(&all[1..2], false)),
        ("match=server.name%3Ddb.fra-2", names(&[], false)),
        ("match=server.name%3Dnobody", names(&[], false)),
    ] {
        let answer = service.get(&format!("/api/v1/metric-names?{query}")).await;
        assert_eq!((answer.status, answer.body), (200, expected), "{query}");
    }
    let of = |value: &str, servers: i64, series: i64| json!({"value": value, "servers": servers, "series": series});
    let on = |value: &str, servers: i64| json!({"value": value, "servers": servers});
    for (question, values, more) in [
        ("device/values?", vec![of("sda", 0, 1), of("sdb", 0, 1)], false),
        ("device/values?limit=1", vec![of("sda", 0, 1)], true),
        ("device/values?metric=node_load1", vec![], false),
        (
            "device/values?metric=node_load1,node_disk_read_bytes_total&prefix=sdb",
            vec![of("sdb", 0, 1)],
            false,
        ),
        ("device/values?match=server.name%3Ddb.fra-2", vec![], false),
        // what people say goes before what the collector says: here nothing any more
        ("os/values?", vec![of("Debian 13", 1, 0)], false),
        ("server.os/values?", vec![on("Debian 13", 1)], false),
        ("server.name/values?", vec![on("db.fra-2", 1), on("web-1", 1)], false),
        ("server.name/values?q=WEB", vec![on("web-1", 1)], false),
        ("server.name/values?metric=node_load1", vec![on("web-1", 1)], false),
        ("server.name/values?match=server.os%3D", vec![on("db.fra-2", 1)], false),
        ("nothing/values?", vec![], false),
    ] {
        let answer = service.get(&format!("/api/v1/label/{question}")).await;
        let label = question.split('/').next();
        let expected = json!({"as_of": NOW, "label": label, "values": values, "more": more});
        assert_eq!((answer.status, answer.body), (200, expected), "{question}");
    }
    for (question, parameter) in [
        ("metric-names?match=device%3Dsda", "match"),
        ("metric-names?metric=node_load1", "metric"),
        ("label/a%20b/values", "name"),
        ("label/device/values?limit=0", "limit"),
        ("label/device/values?q=%00", "q"),
    ] {
        let answer = service.get(&format!("/api/v1/{question}")).await;
        let told = (answer.status, answer.body["code"].as_str(), answer.body["parameter"].as_str());
        assert_eq!(told, (400, Some("bad_parameter"), Some(parameter)), "{question}");
    }
}
