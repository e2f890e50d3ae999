//! The whole notifier on a real Kafka, against a receiver that fails in every way: each transition arrives, in order for its
//! alert, and what is committed is what was taken.

#![expect(clippy::expect_used, reason = "a failed step ends the test")]

#[path = "run/receiver.rs"]
mod receiver;

use std::{
    collections::BTreeMap,
    sync::OnceLock,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
    topic_partition_list::TopicPartitionListElem,
};
use receiver::{Answer, Receiver, Seen};
use serde_json::Value;
use sha2::Sha256;
use tidewatch_notify::{Config, Endpoint, Error, run};
use tidewatch_schemas::{Alert, AlertStatus, Labels, Severity, encode, encode_json};
use tidewatch_service_kit::{
    Deps, Shutdown,
    config::assemble,
    kafka::{Context, KafkaConfig, create_topics},
};
use tidewatch_store::testing::Stack;
use tokio::task::JoinHandle;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PARTITIONS: i32 = 4;

/// One Kafka for all tests, each with topics of its own.
fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| Stack::start("kafka").expect("stack"))
}

struct Bench {
    prefix: String,
    kafka: KafkaConfig,
    producer: FutureProducer<Context>,
}

/// A notifier that runs.
struct Running {
    shutdown: Shutdown,
    deps: Deps,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.trigger();
        self.task.await.expect("join").expect("run");
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.deps.metrics.encode();
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(key, _)| key == name));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
    }
}

impl Bench {
    async fn new(prefix: &str) -> Self {
        let stack = tokio::task::spawn_blocking(stack).await.expect("stack");
        let set = [("kafka-brokers", stack.kafka()), ("topic-prefix", prefix)];
        let config: Config = assemble("notify", &set).expect("config");
        create_topics(&config.kafka, &config.kafka.topics().all(PARTITIONS), 1).await.expect("topics");
        let producer = config.kafka.producer().create_with_context(Context).expect("producer");
        Self { prefix: prefix.to_owned(), kafka: config.kafka, producer }
    }

    fn start(&self, set: &[(&str, &str)]) -> Running {
        let mut all = vec![
            ("kafka-brokers", self.kafka.kafka_brokers.as_str()),
            ("topic-prefix", self.prefix.as_str()),
            ("notify-webhook-secret", SECRET),
            ("notify-timeout", "500ms"),
        ];
        all.extend_from_slice(set);
        let config: Config = assemble("notify", &all).expect("config");
        let (shutdown, deps) = (Shutdown::new(), Deps::default());
        let task = tokio::spawn(run(config, deps.clone(), shutdown.clone()));
        Running { shutdown, deps, task }
    }

    async fn say(&self, alert: &Alert) {
        let (status, topic) = (alert.status.as_str(), self.kafka.topics().alerts());
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let id = format!("{}.{status}", alert.alert_id);
        let headers = OwnedHeaders::new()
            .insert(Header { key: "ce_id", value: Some(&id) })
            .insert(Header { key: "traceparent", value: Some(trace) });
        // an analyzer may be told to write the other form while an alert fires
        let bytes = match alert.status {
            AlertStatus::Firing => encode(alert).expect("encode"),
            AlertStatus::Resolved => encode_json(alert).expect("encode"),
        };
        let record = FutureRecord::to(&topic).key(&alert.server).payload(&bytes).headers(headers);
        self.producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error).expect("send");
    }

    async fn say_both(&self, alert_id: &str) {
        self.say(&alert(alert_id, AlertStatus::Firing)).await;
        self.say(&alert(alert_id, AlertStatus::Resolved)).await;
    }

    /// What a target's group has committed, and where the topic ends.
    fn offsets(&self, target: &str) -> (Vec<i64>, Vec<i64>) {
        let group = self.kafka.group(&format!("notify.{target}"));
        let consumer: BaseConsumer = self.kafka.consumer(&group).create().expect("consumer");
        let topic = self.kafka.topics().alerts();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&topic, 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).expect("committed");
        let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        let committed = committed.elements().iter().map(offset).collect();
        let end = |partition| {
            consumer.fetch_watermarks(&topic, partition, Duration::from_secs(10)).expect("watermarks").1
        };
        (committed, (0..PARTITIONS).map(end).collect())
    }

    /// Payload and headers of every dead letter.
    fn dead_letters(&self, count: usize) -> Vec<(Vec<u8>, BTreeMap<String, String>)> {
        let consumer: BaseConsumer = self.kafka.consumer("test").create().expect("consumer");
        let topic = self.kafka.topics().dead_letter("notify");
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(&topic, partition, Offset::Beginning).expect("list");
        }
        consumer.assign(&list).expect("assign");
        let until = Instant::now() + Duration::from_secs(30);
        let mut found = Vec::new();
        while found.len() < count && Instant::now() < until {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) else { continue };
            let headers = message.headers().expect("headers").iter().map(|header| {
                let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
                (header.key.to_owned(), value)
            });
            found.push((message.payload().unwrap_or_default().to_vec(), headers.collect()));
        }
        found
    }
}

fn alert(alert_id: &str, status: AlertStatus) -> Alert {
    let now = chrono::Utc::now().timestamp_millis();
    Alert {
        alert_id: alert_id.into(),
        fingerprint: alert_id.into(),
        incident_id: alert_id.into(),
        server: format!("server-{alert_id}"),
        status,
        severity: Severity::Warning,
        rule: "busy".into(),
        starts_at: now - 60_000,
        ends_at: (status == AlertStatus::Resolved).then_some(now),
        updated_at: now,
        title: "busy".into(),
        explanation: "It is busy.".into(),
        metric: None,
        labels: Labels::new(),
        unit: String::new(),
        value: Some(1.0),
        expected_low: None,
        expected_high: None,
        score: None,
        related: Vec::new(),
        runbook_url: None,
    }
}

/// The name of a target, as groups and metrics have it: the one that this receiver's address gets.
fn target_of(running: &Running, kind: &str, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let text = running.deps.metrics.encode();
        let names = text.lines().filter_map(|line| {
            let name = line.strip_prefix("tidewatch_notify_sessions_total{target=\"")?.split('"').next()?;
            name.starts_with(kind).then(|| name.to_owned())
        });
        let names: Vec<String> = names.collect();
        if names.len() == count {
            return names;
        }
        assert!(Instant::now() < until, "{count} targets of {kind}: {names:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn check_signature(seen: &Seen) {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("key");
    mac.update(format!("{}.{}.", seen.header("webhook-id"), seen.header("webhook-timestamp")).as_bytes());
    mac.update(&seen.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(seen.header("webhook-signature"), expected);
    let sent: i64 = seen.header("webhook-timestamp").parse().expect("seconds");
    assert!((chrono::Utc::now().timestamp() - sent).abs() < 120);
    assert!(seen.header("traceparent").starts_with("00-0af7651916cd43dd"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_in_every_way_gets_everything() {
    let bench = Bench::new("webhook.").await;
    let receiver = Receiver::start("127.0.0.1:0", |seen, before| match (seen.header("webhook-id"), before) {
        ("five-hundred.firing", 0..2) => Answer::Status(500),
        ("hangs.firing", 0) => Answer::Hang,
        ("closes.firing", 0..2) => Answer::Close,
        ("refused.firing", _) => Answer::Status(400),
        ("busy.firing", 0) => Answer::Busy { seconds: 2 },
        _ => Answer::Status(204),
    })
    .await;
    let url = format!("{}/hook/token", receiver.url());
    let running = bench.start(&[("notify-webhook", &url)]);
    let alerts = ["five-hundred", "hangs", "closes", "refused", "busy", "well"];
    for id in alerts {
        bench.say_both(id).await;
    }
    // no alert at all
    let topic = bench.kafka.topics().alerts();
    let garbage = FutureRecord::to(&topic).key("x").payload("no avro");
    bench.producer.send(garbage, Duration::from_secs(10)).await.map_err(|(e, _)| e).expect("send");
    eventually("all are taken", || receiver.taken().len() == 2 * alerts.len() - 1).await;

    let taken = receiver.taken();
    for id in alerts {
        let of: Vec<&str> =
            taken.iter().map(|seen| seen.header("webhook-id")).filter(|name| name.starts_with(id)).collect();
        let (firing, resolved) = (format!("{id}.firing"), format!("{id}.resolved"));
        if id == "refused" {
            assert_eq!(of, [resolved]);
        } else {
            assert_eq!(of, [firing, resolved], "in order, once");
        }
    }
    let all = receiver.seen();
    for seen in &all {
        assert_eq!(seen.path, "/hook/token");
        check_signature(seen);
    }
    // of a hang nobody knows whether it was taken: it is sent again under the same id
    assert_eq!(all.iter().filter(|seen| seen.header("webhook-id") == "hangs.firing").count(), 2);
    let busy: Vec<_> = all.iter().filter(|seen| seen.header("webhook-id") == "busy.firing").collect();
    assert!(busy[1].at - busy[0].at >= Duration::from_secs(2), "Retry-After is believed");
    let well = taken.iter().find(|seen| seen.header("webhook-id") == "well.firing").expect("well");
    let event: Value = serde_json::from_slice(&well.body).expect("json");
    assert_eq!(event["type"], "alert.firing");
    assert_eq!(event["data"]["server"], "server-well");

    // what was refused is not lost, and neither is what was no alert
    let letters = bench.dead_letters(2);
    let of = |reason: &str| {
        let class = "__connect.errors.exception.class.name";
        letters.iter().find(|(_, headers)| headers[class] == reason).expect("a letter of this reason")
    };
    let (payload, headers) = of("refused");
    assert_eq!(tidewatch_schemas::decode::<Alert>(payload).expect("alert").0.alert_id, "refused");
    assert_eq!(headers["__connect.errors.topic"], topic);
    assert_eq!(headers["__connect.errors.stage"], "notify");
    let message = &headers["__connect.errors.exception.message"];
    assert!(
        message.starts_with("webhook.127.0.0.1.") && message.contains("400") && !message.contains("token"),
        "{message}"
    );
    assert_eq!(of("undecodable").0, b"no avro");

    let target = target_of(&running, "webhook.", 1).remove(0);
    let fates = |fate: &str| {
        running.metric(&format!("tidewatch_notify_transitions_total{{fate=\"{fate}\",target=\"{target}\"}}"))
    };
    eventually("everything is committed", || {
        let (committed, ends) = bench.offsets(&target);
        committed == ends
    })
    .await;
    assert_eq!((fates("taken"), fates("refused"), fates("stale")), (11.0, 1.0, 0.0));
    running.stop().await;

    // the next start goes on where this one was
    let before = receiver.seen().len();
    let running = bench.start(&[("notify-webhook", &url)]);
    bench.say_both("after").await;
    eventually("the next ones are taken", || receiver.seen().len() >= before + 2).await;
    let ids: Vec<String> =
        receiver.seen()[before..].iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, ["after.firing", "after.resolved"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_holds_back_itself_alone() {
    let bench = Bench::new("away.").await;
    let good = Receiver::start("127.0.0.1:0", |_, _| Answer::Status(200)).await;
    let free = receiver::free_address();
    let urls = format!("{},http://{free}/", good.url());
    let set = [("notify-webhook", urls.as_str()), ("notify-stale-after", "5s")];
    let running = bench.start(&set);
    let targets = target_of(&running, "webhook.", 2);
    let of = |running: &Running, target: &str, name: &str, label: &str| {
        running.metric(&format!("tidewatch_notify_{name}{{{label}target=\"{target}\"}}"))
    };
    let all_of = |running: &Running, name: &str, label: &str| -> f64 {
        targets.iter().map(|target| of(running, target, name, label)).sum()
    };
    let every = f64::from(2 * PARTITIONS);
    eventually("both have their partitions", || all_of(&running, "partitions", "") == every).await;
    bench.say(&alert("open", AlertStatus::Firing)).await;
    bench.say_both("over").await;
    eventually("the one that is there gets its alerts", || good.taken().len() == 3).await;
    // for the one that is away this gets old: nobody is woken for what is over
    let stale = "fate=\"stale\",";
    eventually("what is over is left out", || all_of(&running, "transitions_total", stale) == 1.0).await;
    assert!(running.deps.health.is_ready(), "a target that is away is no reason to take the notifier away");
    running.stop().await;

    let late = Receiver::start(&free.to_string(), |_, _| Answer::Status(200)).await;
    let running = bench.start(&set);
    eventually("the other one gets what still fires, and the end of the other", || late.taken().len() == 2)
        .await;
    bench.say(&alert("open", AlertStatus::Resolved)).await;
    eventually("and the end of it", || late.taken().len() == 3).await;
    let mut ids: Vec<String> = late.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.pop().as_deref(), Some("open.resolved"));
    ids.sort_unstable();
    assert_eq!(ids, ["open.firing", "over.resolved"]);
    eventually("the first one too, once", || good.taken().len() == 4).await;
    running.stop().await;
    assert_eq!(good.seen().len(), 4);

    // a target that begins now can't have heard of what is over: only of what comes
    let new = Receiver::start("127.0.0.1:0", |_, _| Answer::Status(200)).await;
    let running = bench.start(&[("notify-webhook", new.url().as_str()), ("notify-stale-after", "0s")]);
    bench.say(&alert("news", AlertStatus::Firing)).await;
    eventually("a new one gets what fires", || !new.taken().is_empty()).await;
    running.stop().await;
    let ids: Vec<String> = new.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, ["news.firing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_is_told_again_and_one_bad_alert_takes_no_others_with_it() {
    let bench = Bench::new("alertmanager.").await;
    for id in ["a", "b", "bad", "c"] {
        bench.say(&alert(id, AlertStatus::Firing)).await;
    }
    let is_bad = |seen: &Seen| String::from_utf8_lossy(&seen.body).contains("server-bad");
    let receiver =
        Receiver::start("127.0.0.1:0", move |seen, _| Answer::Status(if is_bad(seen) { 400 } else { 200 }))
            .await;
    let running = bench.start(&[("notify-alertmanager", receiver.url().as_str()), ("notify-resend", "1s")]);
    let count = |server: &str, ended: bool| {
        let posted = receiver.taken();
        let alerts = posted.iter().flat_map(Seen::alerts);
        alerts.filter(|a| a["labels"]["server"] == server && a.get("endsAt").is_some() == ended).count()
    };
    eventually("the good ones are told again and again", || {
        ["server-a", "server-b", "server-c"].iter().all(|server| count(server, false) >= 3)
    })
    .await;
    assert_eq!(bench.dead_letters(1).len(), 1);
    bench.say(&alert("a", AlertStatus::Resolved)).await;
    eventually("the end of one is told, and told again", || count("server-a", true) >= 2).await;
    let firing = count("server-a", false);
    eventually("the others go on", || count("server-b", false) >= firing + 2).await;
    assert_eq!(count("server-a", false), firing, "nothing more of what is over");
    for seen in receiver.seen() {
        assert_eq!(seen.path, "/api/v2/alerts");
        for alert in seen.alerts() {
            assert_eq!(alert["labels"]["alertname"], "busy");
            assert_eq!(alert["annotations"]["title"], "busy");
        }
    }
    running.stop().await;

    // another process knows from the topic what fires
    let before = receiver.seen().len();
    let running = bench.start(&[("notify-alertmanager", receiver.url().as_str()), ("notify-resend", "1s")]);
    eventually("what fires is told again after a restart", || receiver.seen().len() > before).await;
    let told: Vec<Value> = receiver.seen()[before..].iter().flat_map(Seen::alerts).collect();
    assert!(told.iter().any(|a| a["labels"]["server"] == "server-b" && a.get("endsAt").is_none()));
    assert!(told.iter().all(|a| a["labels"]["server"] != "server-a" || a.get("endsAt").is_some()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_target_it_waits_and_ends_when_told_to() {
    let config: Config = assemble("notify", &[("kafka-brokers", "127.0.0.1:1")]).expect("config");
    let (shutdown, deps) = (Shutdown::new(), Deps::default());
    let task = tokio::spawn(run(config, deps.clone(), shutdown.clone()));
    tokio::task::yield_now().await;
    assert!(deps.health.is_ready());
    shutdown.trigger();
    task.await.expect("join").expect("run");
}

#[tokio::test]
async fn a_webhook_without_a_secret_is_no_settings() {
    let endpoint: Endpoint = "https://hooks.example/".parse().expect("endpoint");
    let mut config: Config = assemble("notify", &[]).expect("config");
    config.webhooks.push(endpoint);
    let error = run(config, Deps::default(), Shutdown::new()).await.expect_err("no secret");
    assert!(error.to_string().contains("TIDEWATCH_NOTIFY_WEBHOOK_SECRET"), "{error}");
}
