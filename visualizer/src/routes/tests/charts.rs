//! Charts as pictures on real PostgreSQL and Redis: what is drawn of what was seeded, what is refused, what is given while
//! PostgreSQL is away.

use bytes::Bytes;
use resvg::{tiny_skia::Pixmap, usvg::roxmltree::Document};

use super::*;

async fn picture(service: &Service, path: &str) -> (http::response::Parts, Bytes) {
    let request = Request::get(path).body(Body::empty()).expect("request");
    let response = service.router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    (parts, to_bytes(body, 64 << 20).await.expect("body"))
}

fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).expect("XML");
    let texts = document.descendants().filter(|node| node.tag_name().name() == "text");
    texts.filter_map(|node| node.text().map(str::to_owned)).collect()
}

const LOAD: &str = "metric=node_load1&from=now-10m";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_shows_what_is_in_the_store() {
    let stack = Stack::start("postgres redis");
    let mut service = Service::start(&stack).await;
    service.seeded.writer.heartbeat().await.expect("lease");

    let (parts, body) = picture(&service, &format!("/api/v1/charts/web-1.svg?{LOAD}")).await;
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!((parts.status.as_u16(), header("content-type")), (200, Some("image/svg+xml")));
    assert_eq!(header("content-disposition"), Some("inline"));
    assert_eq!(header("x-content-type-options"), Some("nosniff"));
    assert!(header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    assert_eq!(header("x-tidewatch-source"), Some("redis"));
    let svg = String::from_utf8(body.to_vec()).expect("text");
    let found = texts(&svg);
    for wanted in
        ["node_load1", "web-1", "Mon 23 Nov 2026, 14:06 to 14:16 UTC", "expected", "odd", "no data", "14:10"]
    {
        assert!(found.iter().any(|text| text == wanted), "{wanted}: {found:?}");
    }
    assert!(found.iter().any(|text| text == "3.0"), "the worst score of the last odd time: {found:?}");

    let (parts, body) =
        picture(&service, &format!("/api/v1/charts/web-1.png?{LOAD}&width=300&height=150")).await;
    assert_eq!(parts.headers[header::CONTENT_TYPE], "image/png");
    let pixels = Pixmap::decode_png(&body).expect("PNG");
    assert_eq!((pixels.width(), pixels.height()), (600, 300));

    // the disk's two series and one of them; the alert of the other server is not about this one
    let disks = "/api/v1/charts/web-1.svg?metric=node_disk_read_bytes_total&from=now-10m";
    let (_, both) = picture(&service, disks).await;
    let both = texts(std::str::from_utf8(&both).expect("text"));
    assert!(
        ["sda", "sdb", "B/s by device"].iter().all(|wanted| both.iter().any(|text| text == wanted)),
        "{both:?}"
    );
    let (_, one) = picture(&service, &format!("{disks}&match=device%3Dsdb&title=Reads")).await;
    let one = texts(std::str::from_utf8(&one).expect("text"));
    assert!(one.contains(&"Reads".to_owned()) && !one.contains(&"sda".to_owned()), "{one:?}");
    assert!(!one.iter().any(|text| text.starts_with("Critical")));

    for (path, status, code, parameter) in [
        (format!("nobody.svg?{LOAD}"), 404, "unknown_server", None),
        ("web-1.svg?metric=nothing".to_owned(), 404, "unknown_metric", Some("metric")),
        (format!("web-1.svg?{LOAD}&match=a%3Db"), 404, "unknown_metric", Some("match")),
        ("web-1.svg".to_owned(), 400, "bad_parameter", Some("metric")),
        (format!("web-1.png?{LOAD}&width=9999"), 400, "bad_parameter", Some("width")),
        (format!("web-1.svg?{LOAD}&match=a~b"), 400, "bad_parameter", Some("match")),
        (format!("web-1.gif?{LOAD}"), 404, "unknown_path", None),
        (
            "web-1.svg?metric=node_load1&from=now-300d&step=10000".to_owned(),
            400,
            "bad_parameter",
            Some("from"),
        ),
        (
            "web-1.svg?metric=node_load1,node_disk_read_bytes_total".to_owned(),
            400,
            "bad_parameter",
            Some("metric"),
        ),
    ] {
        let answer = service.get(&format!("/api/v1/charts/{path}")).await;
        let found = (answer.status, answer.body["code"].as_str(), answer.body["parameter"].as_str());
        assert_eq!(found, (status, Some(code), parameter), "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
    }
    an_empty_range_says_so(&service).await;
    the_last_picture_is_kept(&service, &stack).await;
}

async fn an_empty_range_says_so(service: &Service) {
    let (parts, body) =
        picture(service, "/api/v1/charts/web-1.svg?metric=node_load1&from=now-3d&to=now-2d").await;
    assert_eq!(parts.status.as_u16(), 200);
    let found = texts(std::str::from_utf8(&body).expect("text"));
    assert!(found.iter().any(|text| text == "no data"), "{found:?}");
}

async fn the_last_picture_is_kept(service: &Service, stack: &Stack) {
    let path = format!("/api/v1/charts/web-1.png?{LOAD}");
    let (_, before) = picture(service, &path).await;
    stack.stop_part("postgres");
    eventually("the picture is stale", || async {
        picture(service, &path).await.0.headers.contains_key("x-tidewatch-stale")
    })
    .await;
    let (parts, kept) = picture(service, &path).await;
    assert_eq!(
        (parts.status.as_u16(), &parts.headers[header::CONTENT_TYPE]),
        (200, &"image/png".parse().expect("type"))
    );
    assert!(kept == before && parts.headers.contains_key(header::AGE));
    // never asked before: what Redis knows is drawn, and says that it may be old
    let unasked = format!("/api/v1/charts/web-1.svg?{LOAD}&theme=dark");
    let (parts, body) = picture(service, &unasked).await;
    assert_eq!(
        (parts.status.as_u16(), &parts.headers["x-tidewatch-stale"]),
        (200, &"true".parse().expect("text"))
    );
    let found = texts(std::str::from_utf8(&body).expect("text"));
    assert!(found.iter().any(|text| text.starts_with("the history is away")), "{found:?}");
}
