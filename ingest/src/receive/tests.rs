//! The door against a fake Kafka: which answer for which outcome.

use std::sync::Mutex;

use axum::body::Body;
use http_body_util::BodyExt;
use tidewatch_schemas::{MetricFrame, decode};
use tidewatch_service_kit::config::assemble;
use tower::ServiceExt;

use super::*;

#[derive(Clone, Default)]
struct Kafka {
    failure: Option<PublishError>,
    got: Arc<Mutex<Vec<Encoded>>>,
}

impl Publish for Kafka {
    async fn publish(&self, origin: Origin, frames: &[Encoded]) -> Result<(), PublishError> {
        assert_eq!(origin, Origin::Http);
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        self.got.lock().unwrap().extend_from_slice(frames);
        Ok(())
    }
}

fn door(kafka: &Kafka, set: &[(&str, &str)]) -> Router {
    let config = assemble::<Config>("ingest", set).unwrap();
    router(&config, kafka.clone(), Metrics::new(&tidewatch_service_kit::Metrics::default()))
}

async fn post_to(door: Router, body: impl Into<Body>) -> (StatusCode, Option<String>, Value) {
    let request = Request::post("/api/v1/ingest").body(body.into()).unwrap();
    let response = door.oneshot(request).await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    let retry = response.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, retry, serde_json::from_slice(&bytes).unwrap())
}

const GOOD: &str =
    r#"[{"server": "a", "metrics": {"x": 1, "y": 2}}, {"server": "b", "metrics": {"x": "NaN", "z": 3}}]"#;

#[tokio::test]
async fn what_is_good_is_published_and_the_rest_is_listed() {
    let kafka = Kafka::default();
    let (status, _, answer) = post_to(door(&kafka, &[]), GOOD).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        (&answer["accepted"], &answer["samples"], &answer["rejected"]),
        (&json!(2), &json!(3), &json!(1))
    );
    let error = &answer["errors"][0];
    assert_eq!(
        (&error["index"], &error["server"], &error["metric"], &error["code"]),
        (&json!(1), &json!("b"), &json!("x"), &json!("not_a_number"))
    );
    let got = kafka.got.lock().unwrap();
    let frames: Vec<MetricFrame> = got.iter().map(|frame| decode(&frame.bytes).unwrap().0).collect();
    assert_eq!(got[1].server, "b");
    assert_eq!(frames[0].values, [1.0, 2.0]);
    assert_eq!(frames[1].layout[0].metric, "z");
}

#[tokio::test]
async fn nothing_good_is_422_with_reasons() {
    let kafka = Kafka::default();
    let (status, _, answer) = post_to(door(&kafka, &[]), r#"{"server": "", "metrics": {"x": 1}}"#).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("rejected")));
    assert_eq!(answer["errors"][0]["code"], "bad_server_name");
    assert!(kafka.got.lock().unwrap().is_empty());
}

#[tokio::test]
async fn errors_are_listed_up_to_a_hundred() {
    let bad = vec![json!({"server": ""}); 300];
    let (_, _, answer) = post_to(door(&Kafka::default(), &[]), Value::from(bad).to_string()).await;
    assert_eq!((answer["errors"].as_array().unwrap().len(), &answer["rejected"]), (100, &json!(300)));
}

#[tokio::test]
async fn bodies_have_limits() {
    let kafka = Kafka::default();
    for (body, status, code) in [
        ("{".to_owned(), StatusCode::BAD_REQUEST, "bad_json"),
        (String::new(), StatusCode::BAD_REQUEST, "bad_json"),
        (" ".repeat(5_000), StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        ("[{},{},{},{}]".to_owned(), StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
    ] {
        let door = door(&kafka, &[("ingest-body-bytes", "4096"), ("ingest-objects", "3")]);
        let (got, _, answer) = post_to(door, body).await;
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)));
    }
    let request =
        Request::post("/api/v1/ingest").header("content-encoding", "gzip").body(Body::from("x")).unwrap();
    assert_eq!(door(&kafka, &[]).oneshot(request).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn kafka_away_is_503_with_a_time_to_come_back() {
    for (failure, code, seconds) in [
        (PublishError::Open, "kafka_unavailable", "2"),
        (PublishError::Timeout(Duration::from_secs(4)), "kafka_unavailable", "2"),
        (PublishError::Refused("no".into()), "kafka_unavailable", "2"),
        (PublishError::Full, "queue_full", "1"),
    ] {
        let kafka = Kafka { failure: Some(failure), ..Kafka::default() };
        let (status, retry, answer) = post_to(door(&kafka, &[]), GOOD).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some(code)));
        assert_eq!(retry.as_deref(), Some(seconds));
    }
}

#[tokio::test]
async fn what_all_requests_hold_together_is_bounded_and_given_back() {
    let door = door(&Kafka::default(), &[("ingest-queue-bytes", "1048576")]);
    let large = format!("{GOOD}{}", " ".repeat(2 << 20));
    let (status, retry, answer) = post_to(door.clone(), large).await;
    assert_eq!((status, answer["code"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("queue_full")));
    assert_eq!(retry.as_deref(), Some("1"));
    for _ in 0..3 {
        let (status, _, _) = post_to(door.clone(), format!("{GOOD}{}", " ".repeat(700_000))).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_told_so() {
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        door(&Kafka::default(), &[]).oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask("GET", "/healthz").await, StatusCode::OK);
    assert_eq!(ask("GET", "/api/v1/ingest").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ask("POST", "/api/v1/other").await, StatusCode::NOT_FOUND);
}
