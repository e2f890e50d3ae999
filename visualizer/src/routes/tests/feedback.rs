//! An alert is called a false alarm, on a real Kafka: what the detector hears, and what becomes of it while Kafka is away.

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::json;
use tidewatch_schemas::{Feedback, Labels, NamedSeries, Verdict, time::rfc3339};
use tidewatch_service_kit::kafka::{Context, KafkaConfig, create_topics};

use super::*;

const CARE: &str = "/api/v1/alerts/a1/acknowledge";
const ADMIN: [(&str, &str); 3] =
    [("x-tidewatch-role", "admin"), ("x-tidewatch-client", "ann"), ("content-type", "application/json")];

/// Key and value of so many records, as the analyzer reads them.
fn heard(kafka: &KafkaConfig, count: usize) -> Vec<(String, Feedback)> {
    let consumer: BaseConsumer<Context> =
        kafka.consumer("tests").create_with_context(Context).expect("consumer");
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(&kafka.topics().feedback(), 0, Offset::Beginning).expect("offset");
    consumer.assign(&all).expect("assign");
    let (mut found, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
    while found.len() < count {
        assert!(Instant::now() < deadline, "{found:?}");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) {
            let key = String::from_utf8(message.key().expect("key").to_vec()).expect("text");
            found.push((key, Feedback::decode(message.payload().expect("value")).expect("feedback")));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_detector_hears_of_a_verdict_once_and_when_it_is_taken_back() {
    let stack = Stack::start("kafka postgres redis");
    let kafka = stack.config().kafka;
    create_topics(&kafka, &kafka.topics().all(2), 1).await.expect("topics");
    let service = Service::start(&stack).await;
    let learned = sqlx::query(
        "UPDATE alerts SET rule = 'learned', related = '[{\"metric\": \"node_load1\", \"labels\": {\"cpu\": \"0\"}, \"score\": 2}]'",
    );
    learned.execute(service.store.history.pool()).await.expect("update");

    let said = json!({"note": "the backup", "verdict": "false_alarm"});
    for _ in 0..2 {
        let answer = service.ask("POST", CARE, &ADMIN, &said.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let shown = json!({"by": "ann", "at": rfc3339(NOW), "note": "the backup", "verdict": "false_alarm"});
        assert_eq!(answer.body["acknowledged"], shown);
    }
    assert_eq!(service.get("/api/v1/incidents").await.body[0]["false_alarms"], 1);
    // another note is no other verdict
    let other = json!({"note": "the backup again", "verdict": "false_alarm"});
    assert_eq!(service.ask("POST", CARE, &ADMIN, &other.to_string()).await.status, 200);
    for _ in 0..2 {
        let answer = service.ask("DELETE", CARE, &ADMIN, "").await;
        assert_eq!((answer.status, &answer.body["acknowledged"]), (200, &Value::Null));
    }
    assert_eq!(service.get("/api/v1/incidents").await.body[0]["false_alarms"], 0);
    // who says nothing of it takes it back as well
    for body in [&said, &json!({"note": "no, it was real"})] {
        assert_eq!(service.ask("POST", CARE, &ADMIN, &body.to_string()).await.status, 200);
    }

    let called = Feedback {
        alert_id: "a1".into(),
        server: "db.fra-2".into(),
        verdict: Some(Verdict::FalseAlarm),
        said_at: NOW,
        said_by: "ann".into(),
        series: vec![
            NamedSeries { metric: "tidewatch_host_cpu_busy_percent".into(), labels: Labels::new() },
            NamedSeries { metric: "node_load1".into(), labels: Labels::from([("cpu".into(), "0".into())]) },
        ],
    };
    let taken_back = Feedback { verdict: None, ..called.clone() };
    let all = [called.clone(), taken_back.clone(), called, taken_back];
    assert_eq!(heard(&kafka, 4), all.map(|one| ("db.fra-2".to_owned(), one)));

    stack.stop_part("kafka");
    eventually("the answer says that kafka is away", || async {
        let answer = service.ask("POST", CARE, &ADMIN, &said.to_string()).await;
        answer.status == 503 && answer.body["code"] == "kafka_unavailable"
    })
    .await;
    let alerts = service.get("/api/v1/alerts").await.body;
    assert_eq!(alerts[0]["acknowledged"]["note"], "no, it was real", "what was not heard is not shown");
    // to take care of it needs no Kafka
    assert_eq!(service.ask("POST", CARE, &ADMIN, "{}").await.status, 200);
}
