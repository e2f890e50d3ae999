//! Through the door: whose turn it is, what is tried again, what is passed on and what is not.

use super::*;

const ONE_TRY: (&str, &str) = ("retries", "0");

#[tokio::test]
async fn what_is_let_in_is_passed_on_under_our_word() {
    let mut behind = Behind::start().await;
    let door = TestDoor::start(&[behind.address], &[]).await;
    let answer = door
        .ask(
            Method::POST,
            "/api/v1/ingest?x=1",
            &[("x-api-key", &door.writer), ("x-tidewatch-role", "admin"), ("x-request-id", "my-id-123")],
            "[1,2,3]",
        )
        .await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"7"[..]));
    let head = behind.seen.recv().await.unwrap();
    assert_eq!(head.uri.path_and_query().unwrap(), "/api/v1/ingest?x=1");
    assert_eq!(head.headers["x-tidewatch-client"], "writer");
    assert_eq!(head.headers["x-tidewatch-role"], "writer");
    assert_eq!(head.headers["x-request-id"], "my-id-123");
    assert_eq!(head.headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(head.headers["x-forwarded-host"], door.address.to_string());
    assert_eq!(head.headers["content-length"], "7");
    assert!(!head.headers.contains_key("x-api-key"));
    // and back
    assert_eq!(answer.header("x-request-id"), "my-id-123");
    assert_eq!(answer.header("x-tidewatch-source"), "redis");
    assert_eq!(answer.header("set-cookie"), "");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("ratelimit-policy"), "\"ingest\";q=1000;w=2");
    let page = door.ask(Method::GET, "/", &[], "").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("ratelimit"), "\"default\";r=199;t=1");
}

#[tokio::test]
async fn instances_take_turns() {
    let (a, b) = (Behind::start().await, Behind::start().await);
    let door = TestDoor::start(&[a.address, b.address], &[]).await;
    for _ in 0..10 {
        assert_eq!(door.get("/api/v1/servers").await.status, 200);
    }
    assert_eq!((a.asked(), b.asked()), (5, 5));
}

#[tokio::test]
async fn a_reading_call_is_tried_on_another_instance() {
    for status in [0, 502, 503] {
        let (bad, good) = (Behind::start().await, Behind::start().await);
        bad.answers_with(status);
        let door = TestDoor::start(&[bad.address, good.address], &[]).await;
        for _ in 0..4 {
            assert_eq!(door.get("/api/v1/servers").await.status, 200, "{status}");
        }
        assert_eq!(good.asked(), 4, "{status}");
        assert!(bad.asked() >= 1, "{status}");
        door.until_metric("tidewatch_gateway_retries_total{service=\"visualizer\"} 2").await;
    }
}

#[tokio::test]
async fn a_writing_call_is_sent_once() {
    for (status, told) in [(0, 503), (502, 502), (503, 503)] {
        let (bad, other) = (Behind::start().await, Behind::start().await);
        for one in [&bad, &other] {
            one.answers_with(status);
        }
        let door = TestDoor::start(&[bad.address, other.address], &[]).await;
        assert_eq!(door.post("{}").await.status, told, "{status}");
        assert_eq!(bad.asked() + other.asked(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_writing_call_that_never_left_goes_to_another_instance() {
    let good = Behind::start().await;
    // bound and never accepted would hang; a port that was let go refuses
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = [("health-interval", "1h"), ("health-path", "/healthz")];
    let door = TestDoor::start(&[gone, good.address], &settings).await;
    for _ in 0..4 {
        let answer = door.post("{\"server\":\"a\"}").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"14"[..]), "the body is whole");
    }
    assert_eq!(good.asked(), 4);
}

#[tokio::test]
async fn a_breaker_spares_an_instance_that_fails() {
    let bad = Behind::start().await;
    bad.answers_with(502);
    let door = TestDoor::start(&[bad.address], &[ONE_TRY, ("breaker-failures", "3")]).await;
    for _ in 0..3 {
        assert_eq!(door.get("/api/v1/servers").await.status, 502);
    }
    let answer = door.get("/api/v1/servers").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_instance"));
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(bad.asked(), 3);
    let gauge = format!("tidewatch_breaker_state{{peer=\"visualizer {}\",service=\"gateway\"}}", bad.address);
    door.until_metric(&format!("{gauge} 2")).await;
    bad.answers_with(200);
    for _ in 0..300 {
        if door.get("/api/v1/servers").await.status == 200 {
            return door.until_metric(&format!("{gauge} 0")).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the breaker stayed open");
}

#[tokio::test]
async fn an_instance_that_says_when_to_come_again_is_well() {
    let behind = Behind::start().await;
    behind.answers_with(429);
    let door = TestDoor::start(&[behind.address], &[("breaker-failures", "1")]).await;
    for _ in 0..3 {
        assert_eq!(door.post("{}").await.status, 429);
    }
    assert_eq!(behind.asked(), 3);
}

#[tokio::test]
async fn an_instance_that_dies_is_left_out_until_it_is_back() {
    let (one, other) = (Behind::start().await, Behind::start().await);
    let door = TestDoor::start(&[one.address, other.address], &[]).await;
    let gauge =
        |up| format!("tidewatch_gateway_upstream_up{{instance=\"{}\",service=\"ingest\"}} {up}", one.address);
    door.until_metric(&gauge(1)).await;
    one.shutdown.trigger();
    door.until_metric(&gauge(0)).await;
    for _ in 0..4 {
        assert_eq!(door.post("{}").await.status, 200);
    }
    assert_eq!((one.asked(), other.asked()), (0, 4));
    let again = Behind::start_on(TcpListener::bind(one.address).await.unwrap());
    door.until_metric(&gauge(1)).await;
    for _ in 0..4 {
        assert_eq!(door.post("{}").await.status, 200);
    }
    assert_eq!(again.asked(), 2);
}

#[tokio::test]
async fn ready_means_that_each_service_has_an_instance() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let door = TestDoor::start(&[gone], &[]).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert!(!door.deps.health.is_ready());
    assert_eq!(door.get("/api/v1/servers").await.code(), "no_instance");
    let _behind = Behind::start_on(TcpListener::bind(gone).await.unwrap());
    for _ in 0..500 {
        if door.deps.health.is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never ready: {:?}", door.deps.health.waiting());
}

#[tokio::test]
async fn events_flow_as_they_come() {
    let behind = Behind::start().await;
    let door = TestDoor::start(&[behind.address], &[("answer-timeout", "200ms")]).await;
    let request = door.request(Method::GET, "/api/v1/live", &[("x-api-key", &door.viewer)], "");
    let mut response = door.client.request(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let first = tokio::time::timeout(Duration::from_secs(2), response.frame()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().into_data().unwrap(), "event: hello\n\n");
    // the stream outlives the time an answer may take to begin
    let next = tokio::time::timeout(Duration::from_millis(600), response.frame()).await;
    assert!(next.is_err(), "the stream is open and silent: {next:?}");
}

#[tokio::test]
async fn a_large_body_is_refused_before_and_while_it_comes() {
    let behind = Behind::start().await;
    let door = TestDoor::start(&[behind.address], &[("body-bytes", "1024"), ("breaker-failures", "1")]).await;
    let large: &'static str = Box::leak("x".repeat(1_025).into_boxed_str());
    let answer = door.post(large).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    // without a length: counted as it comes
    let head = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        door.writer
    );
    let mut raw = tokio::net::TcpStream::connect(door.address).await.unwrap();
    let body = format!("401\r\n{large}\r\n0\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut raw, (head + &body).as_bytes()).await.unwrap();
    let mut text = vec![0; 4_096];
    let read = tokio::io::AsyncReadExt::read(&mut raw, &mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text[..read]);
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    // that was not the instance's fault
    assert_eq!(door.post("{}").await.status, 200);
}

#[tokio::test]
async fn an_instance_that_never_answers_costs_its_time_and_no_more() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = [("answer-timeout", "150ms"), ("health-interval", "1h"), ("connect-timeout", "100ms")];
    let door = TestDoor::start(&[mute.local_addr().unwrap()], &settings).await;
    let answer = door.get("/api/v1/servers").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    // a body that does not come is the client's affair
    let head = format!(
        "POST /api/v1/ingest HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\ncontent-length: 10\r\n\r\nx",
        door.writer
    );
    let mut raw = tokio::net::TcpStream::connect(door.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut raw, head.as_bytes()).await.unwrap();
    let mut text = vec![0; 4_096];
    let read = tokio::io::AsyncReadExt::read(&mut raw, &mut text).await.unwrap();
    let text = String::from_utf8_lossy(&text[..read]);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
}

#[tokio::test]
async fn clients_that_go_away_open_no_breaker() {
    let behind = Behind::start().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = [("breaker-failures", "1"), ("health-interval", "1h")];
    let door = TestDoor::start(&[mute.local_addr().unwrap()], &settings).await;
    for _ in 0..3 {
        let asked = door.get("/api/v1/servers");
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
    }
    assert!(!door.deps.metrics.encode().contains("service=\"gateway\"} 2"));
    drop(behind);
}

#[tokio::test]
async fn paths_that_are_nothing_are_not_passed_on() {
    let behind = Behind::start().await;
    let door = TestDoor::start(&[behind.address], &[]).await;
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/unknown",
        "/API/v1/servers",
        "//api/v1/servers",
        "/x/..%2fapi",
    ] {
        let answer = door.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_path"), "{path}");
    }
    assert_eq!(behind.asked(), 0);
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_again() {
    let behind = Behind::start().await;
    let door = TestDoor::start(&[behind.address], &[("rate", "1/m"), ("burst", "2")]).await;
    for left in ["1", "0"] {
        let answer = door.get("/api/v1/servers").await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("ratelimit").contains(&format!("r={left};")), "{:?}", answer.headers);
    }
    let answer = door.get("/api/v1/servers").await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"));
    assert_eq!(answer.header("retry-after"), "60");
    assert_eq!(answer.header("ratelimit"), "\"default\";r=0;t=120");
    // others are not asked to wait: another key, no key, and ingest
    let admin = [("x-api-key", door.admin.as_str())];
    assert_eq!(door.ask(Method::GET, "/api/v1/servers", &admin, "").await.status, 200);
    assert_eq!(door.ask(Method::GET, "/", &[], "").await.status, 200);
    assert_eq!(door.post("{}").await.status, 200);
    assert_eq!(behind.asked(), 5);
    // who is refused for his key pays too
    let wrong = [("x-api-key", "nonsense")];
    assert_eq!(door.ask(Method::GET, "/api/v1/servers", &wrong, "").await.status, 401);
    assert_eq!(door.ask(Method::GET, "/api/v1/servers", &wrong, "").await.status, 429);
    door.until_metric("tidewatch_gateway_limited_total{policy=\"default\"} 2").await;
    door.shutdown.trigger();
}

#[tokio::test]
async fn what_an_answer_says_of_its_freshness_passes_through() {
    const TAG: &str = "W/\"0011223344556677\"";
    const SAID: [(&str, &str); 7] = [
        ("etag", TAG),
        ("cache-control", "private, max-age=300"),
        ("age", "90"),
        ("vary", "accept, accept-encoding"),
        ("x-tidewatch-source", "postgres"),
        ("x-tidewatch-as-of", "2026-11-23T14:16:00.000Z"),
        ("x-tidewatch-stale", "true"),
    ];
    let answer = async |request: axum::extract::Request| {
        let is_known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|tag| tag == TAG);
        let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        (status, SAID, if is_known { "" } else { "[]" }).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(answer));
    tokio::spawn(async move {
        tidewatch_service_kit::http::serve(listener, router, ServeLimits::default(), Shutdown::new()).await;
    });
    let door = TestDoor::start(&[address], &[]).await;
    let key = ("x-api-key", door.viewer.as_str());
    for (asked, status, body) in [
        (vec![key], 200, "[]"),
        (vec![key, ("if-none-match", "\"other\"")], 200, "[]"),
        (vec![key, ("if-none-match", TAG)], 304, ""),
    ] {
        let answer = door.ask(Method::GET, "/api/v1/query?metric=a", &asked, "").await;
        assert_eq!((answer.status, &answer.body[..]), (status, body.as_bytes()));
        for (name, value) in SAID.into_iter().filter(|(name, _)| *name != "vary") {
            assert_eq!(answer.header(name), value, "{name}");
        }
        let vary: Vec<_> =
            answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(vary.join(", "), "accept, accept-encoding, authorization, x-api-key, cookie");
    }
    // who is told no is told so each time
    let refused = door.ask(Method::GET, "/api/v1/query?metric=a", &[("if-none-match", TAG)], "").await;
    assert_eq!((refused.status, refused.header("cache-control")), (401, "no-store"));
}
