//! A server is asked to be collected at once, on a real Kafka: who may, how often, and what becomes of it while Kafka is away.

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::json;
use tidewatch_schemas::{CollectRequest, time::rfc3339};
use tidewatch_service_kit::kafka::{Context, KafkaConfig, create_topics};

use super::*;

const WEB: &str = "/api/v1/servers/web-1/collect";
const ADMIN: [(&str, &str); 3] =
    [("x-tidewatch-role", "admin"), ("x-tidewatch-client", "ops"), ("x-request-id", "0123456789abcdef")];

/// Key and value of so many requests, as any program reads them.
fn requests(kafka: &KafkaConfig, count: usize) -> Vec<(String, CollectRequest)> {
    let consumer: BaseConsumer<Context> =
        kafka.consumer("tests").create_with_context(Context).expect("consumer");
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(&kafka.topics().collect_requests(), 0, Offset::Beginning).expect("offset");
    consumer.assign(&all).expect("assign");
    let (mut found, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
    while found.len() < count {
        assert!(Instant::now() < deadline, "{found:?}");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) {
            let key = String::from_utf8(message.key().expect("key").to_vec()).expect("text");
            found.push((key, CollectRequest::decode(message.payload().expect("value")).expect("a request")));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_in_kafka_before_it_is_accepted() {
    let stack = Stack::start("kafka postgres redis");
    let kafka = stack.config().kafka;
    create_topics(&kafka, &kafka.topics().all(2), 1).await.expect("topics");
    let service = Service::start(&stack).await;

    let answer = service.ask("POST", WEB, &ADMIN, "").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = service.get("/api/v1/servers/web-1").await.body["id"].to_string();
    let metrics = format!("/api/v1/metrics/{id}?from={}", NOW.div_euclid(10_000) * 10_000);
    let see = json!({"live": format!("/api/v1/live?server={id}"), "metrics": metrics});
    let told = json!({"id": "0123456789abcdef", "server": "web-1", "requested_at": rfc3339(NOW), "see": see});
    assert_eq!(answer.body, told);
    assert_eq!(answer.header("location"), Some(metrics.as_str()));
    assert_eq!((answer.header("cache-control"), answer.header("etag")), (Some("no-store"), None));
    let request = CollectRequest {
        id: "0123456789abcdef".into(),
        server: "web-1".into(),
        requested_at: NOW,
        requested_by: "ops".into(),
    };
    assert_eq!(requests(&kafka, 1), [("web-1".to_owned(), request)]);

    who_asks_too_much_or_wrong_is_refused(&service, &id).await;
    let other = service.ask("POST", "/api/v1/servers/db.fra-2/collect", &ADMIN, "").await;
    assert_eq!(other.status, 202, "it does not wait for web-1: {}", other.body);

    stack.stop_part("kafka");
    eventually("the answer says that kafka is away", || async {
        let begun = Instant::now();
        let answer = service.ask("POST", WEB, &ADMIN, "").await;
        assert!(begun.elapsed() < Duration::from_secs(6), "it took {:?}", begun.elapsed());
        answer.status == 503
            && answer.body["code"] == "kafka_unavailable"
            && answer.header("retry-after").is_some()
    })
    .await;
    stack.start_part("kafka");
    eventually("kafka takes requests again", || async {
        service.ask("POST", WEB, &ADMIN, "").await.status == 202
    })
    .await;
}

async fn who_asks_too_much_or_wrong_is_refused(service: &Service, id: &str) {
    // the second is over when we were slow: then that one is taken, and the next is refused
    let mut again = service.ask("POST", WEB, &ADMIN, "").await;
    if again.status == 202 {
        again = service.ask("POST", &format!("/api/v1/servers/{id}/collect"), &ADMIN, "").await;
    }
    assert_eq!((again.status, again.body["code"].as_str()), (429, Some("too_many_requests")));
    assert_eq!(again.header("retry-after"), Some("1"));
    let (admin, viewer, nobody) = (ADMIN.to_vec(), vec![("x-tidewatch-role", "viewer")], vec![]);
    for (path, headers, status, code) in [
        (WEB, &viewer, 403, "role_not_allowed"),
        (WEB, &nobody, 403, "role_not_allowed"),
        ("/api/v1/servers/nobody/collect", &admin, 404, "unknown_server"),
        ("/api/v1/servers/web-1/collect?now=1", &admin, 400, "bad_parameter"),
        ("/api/v1/servers/web-1", &admin, 405, "unknown_path"),
    ] {
        let answer = service.ask("POST", path, headers, "").await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{path}");
    }
    assert_eq!(service.get(WEB).await.status, 405);
}

#[test]
fn a_path_is_counted_under_its_template() {
    for (path, route) in [
        ("/api/v1/servers/web-1/collect", "/api/v1/servers/{server}/collect"),
        ("/api/v1/servers/collect", "/api/v1/servers/{server}"),
        ("/api/v1/servers/web-1", "/api/v1/servers/{server}"),
        ("/api/v1/servers/web-1/x/collect", "/api/v1/servers/{server}"),
        ("/api/v1/servers", "/api/v1/servers"),
    ] {
        assert_eq!(route_of(path), route, "{path}");
    }
}
