//! What an answer says of its freshness, and when it is sent again: on a real PostgreSQL and Redis, then without the first.

use tidewatch_schemas::time::rfc3339;

use super::*;

const CHANGING: &str = "private, max-age=0, must-revalidate";
const OVER: &str = "private, max-age=300";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_says_how_fresh_it_is_and_is_sent_to_those_who_lack_it() {
    let stack = Stack::start("postgres redis");
    let mut service = Service::start(&stack).await;
    service.seeded.writer.heartbeat().await.expect("lease");
    let mut tags = Vec::new();
    for question in QUESTIONS.into_iter().chain(["/api/v1/metric-names", "/api/v1/label/device/values"]) {
        let tag = is_fresh(&service, question).await;
        assert!(!tags.contains(&tag), "{question}");
        tags.push(tag);
    }
    it_is_kept_as_long_as_it_stays_true(&service).await;
    encodings_and_formats_are_told_apart(&service).await;
    for bad in ["/api/v1/query", "/api/v1/servers/nobody", "/api/v1/nothing"] {
        let answer = service.get(bad).await;
        let said = (answer.header("cache-control"), answer.header("etag"), answer.header("age"));
        assert_eq!(said, (Some("no-store"), None, None), "{bad}");
    }

    stack.stop_part("postgres");
    eventually("the answers are stale", || async {
        service.get(QUESTIONS[0]).await.header("x-tidewatch-stale") == Some("true")
    })
    .await;
    // the same body, and yet not what the asker has
    let stale = service.ask("GET", QUESTIONS[0], &[("if-none-match", &tags[0])], "").await;
    assert_eq!((stale.status, stale.header("cache-control")), (200, Some("private, no-cache")));
    let tag = stale.header("etag").expect("a tag").to_owned();
    let again = service.ask("GET", QUESTIONS[0], &[("if-none-match", &tag)], "").await;
    assert_eq!((again.status, again.header("x-tidewatch-stale")), (304, Some("true")));
    assert_eq!(again.header("age"), Some("0"), "the clock of the test stands still");
    assert_eq!(again.header("x-tidewatch-as-of"), Some(rfc3339(NOW).as_str()));
}

/// A fresh answer, and 304 for those who have it; its tag.
async fn is_fresh(service: &Service, question: &str) -> String {
    let first = service.get(question).await;
    assert_eq!(first.status, 200, "{question}: {}", first.body);
    let tag = first.header("etag").expect("a tag").to_owned();
    assert!(tag.starts_with("W/\""), "compressed or not: {tag}");
    let other = service.ask("GET", question, &[("if-none-match", "W/\"0011223344556677\"")], "").await;
    assert_eq!((other.status, other.header("etag")), (200, Some(tag.as_str())), "{question}");
    let known = service.ask("GET", question, &[("if-none-match", &format!("\"x\", {tag}"))], "").await;
    assert_eq!((known.status, &known.body, known.header("content-type")), (304, &Value::Null, None));
    for answer in [&first, &known] {
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{question}");
        assert_eq!(answer.header("cache-control"), Some(CHANGING), "{question}");
        assert_eq!(answer.header("vary"), Some("accept, accept-encoding"), "{question}");
        assert_eq!(answer.header("x-tidewatch-as-of"), Some(rfc3339(NOW).as_str()), "{question}");
        assert!(
            answer.header("x-tidewatch-source").is_some() && answer.header("age").is_none(),
            "{question}"
        );
    }
    tag
}

async fn it_is_kept_as_long_as_it_stays_true(service: &Service) {
    let one = "/api/v1/query?server=web-1&from=now-2h&to=now-15m";
    let many = "/api/v1/query?metric=node_load1&from=now-2h&to=now-15m";
    for (question, cache_control) in [
        (format!("{one}&step=60000"), OVER),
        // its last step goes on
        (format!("{one}&step=3600000"), CHANGING),
        (one.replace("15m", "14m"), CHANGING),
        (format!("{many}&step=60000"), OVER),
        (format!("{many}&step=60000&by=server"), OVER),
        // labels of servers change at any time
        (format!("{many}&step=60000&by=server.os"), CHANGING),
        (format!("{many}&step=60000&match=server.os%3DDebian"), CHANGING),
        ("/api/v1/metrics/web-1?from=now-2h&to=now-16m".to_owned(), OVER),
        ("/api/v1/metrics/web-1?from=now-2h&to=now-16m&step=3600".to_owned(), CHANGING),
        ("/api/v1/anomalies?to=now-16m".to_owned(), OVER),
        // an alert of then may end now
        ("/api/v1/alerts?to=now-16m".to_owned(), CHANGING),
        ("/api/v1/fleet?from=now-2h&to=now-16m".to_owned(), CHANGING),
    ] {
        let answer = service.get(&question).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some(cache_control)), "{question}");
    }
}

async fn encodings_and_formats_are_told_apart(service: &Service) {
    let question = "/api/v1/query?server=web-1&metric=node_load1&from=now-10m";
    let tag = async |headers: &[(&str, &str)]| {
        let answer = service.ask("GET", question, headers, "").await;
        (answer.header("content-encoding").map(str::to_owned), answer.header("etag").map(str::to_owned))
    };
    let plain = tag(&[]).await;
    let packed = tag(&[("accept-encoding", "gzip")]).await;
    assert_eq!((plain.0, packed.0.as_deref(), &plain.1), (None, Some("gzip"), &packed.1), "one tag for both");
    assert_ne!(tag(&[("accept", "text/csv")]).await.1, plain.1);
    assert_ne!(tag(&[("accept", "application/msgpack")]).await.1, plain.1);
}
