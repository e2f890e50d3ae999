//! The whole door on a real port, with real instances behind it that fail on demand.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::{body::Body, routing::any};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tidewatch_service_kit::config::assemble;
use tokio::sync::mpsc;

use super::*;
use crate::keys::{Role, create};

mod forwarding;
mod sessions;

/// An instance of a service that says how often it was asked, and what for.
struct Behind {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// Status of every answer; 0: close the connection instead.
    status: Arc<AtomicU16>,
    seen: mpsc::UnboundedReceiver<http::request::Parts>,
    shutdown: Shutdown,
}

impl Behind {
    async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn start_on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (asked, status, shutdown) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU16::new(200)), Shutdown::new());
        let (tell, seen) = mpsc::unbounded_channel();
        let (count, wanted) = (Arc::clone(&asked), Arc::clone(&status));
        let answer = move |request: axum::extract::Request| {
            let (count, wanted, tell) = (Arc::clone(&count), Arc::clone(&wanted), tell.clone());
            async move {
                let (head, body) = request.into_parts();
                if head.uri.path() == "/healthz" {
                    return "ok".into_response();
                }
                count.fetch_add(1, Ordering::SeqCst);
                if head.uri.path() == "/api/v1/live" {
                    return events().into_response();
                }
                let wanted = wanted.load(Ordering::SeqCst);
                // breaks the connection: no answer leaves
                assert!(wanted != 0, "closed on purpose");
                let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
                let _ = tell.send(head);
                let status = StatusCode::from_u16(wanted).unwrap();
                (status, [("set-cookie", "sneaky=1"), ("x-tidewatch-source", "redis")], length.to_string())
                    .into_response()
            }
        };
        let router = Router::new().fallback(any(answer));
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tidewatch_service_kit::http::serve(listener, router, ServeLimits::default(), stop).await;
        });
        Self { address, asked, status, seen, shutdown }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn answers_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

/// One event at once, then silence.
fn events() -> Response {
    let (tell, events) = mpsc::unbounded_channel::<Bytes>();
    tell.send(Bytes::from_static(b"event: hello\n\n")).unwrap();
    let stream = futures(events, tell);
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(StreamBody::new(stream))).into_response()
}

/// The events as a stream that stays open: the sender lives in it.
fn futures(
    mut events: mpsc::UnboundedReceiver<Bytes>,
    tell: mpsc::UnboundedSender<Bytes>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> {
    futures_util::stream::poll_fn(move |cx| {
        let _open = &tell;
        events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    })
}

/// A door with keys of each role.
struct TestDoor {
    address: SocketAddr,
    viewer: String,
    writer: String,
    admin: String,
    deps: Deps,
    shutdown: Shutdown,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    _folder: tempfile::TempDir,
}

impl TestDoor {
    async fn start(upstreams: &[SocketAddr], settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.yaml");
        let [viewer, writer, admin] =
            Role::ALL.map(|role| create(&path, role.as_str(), role).unwrap().reveal().to_owned());
        let upstreams = upstreams.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let path = path.display().to_string();
        let mut all = vec![
            ("keys", path.as_str()),
            ("ingest-upstreams", &upstreams),
            ("visualizer-upstreams", &upstreams),
            ("health-interval", "20ms"),
        ];
        all.retain(|(flag, _)| settings.iter().all(|(other, _)| other != flag));
        all.extend_from_slice(settings);
        let config: Config = assemble("gateway", &all).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (deps, shutdown) = (Deps::default(), Shutdown::new());
        let run = crate::run_on(listener, config, deps.clone(), shutdown.clone());
        tokio::spawn(async move { run.await.unwrap() });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, viewer, writer, admin, deps, shutdown, client, _folder: folder }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &'static str,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        let response = self.client.request(self.request(method, path, headers, body)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[("x-api-key", &self.viewer)], "").await
    }

    async fn post(&self, body: &'static str) -> Answer {
        self.ask(Method::POST, "/api/v1/ingest", &[("x-api-key", &self.writer)], body).await
    }

    /// What the instances are known to be, once it is as wished.
    async fn until_metric(&self, line: &str) {
        for _ in 0..500 {
            if self.deps.metrics.encode().lines().any(|one| one == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {line} in\n{}", self.deps.metrics.encode());
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn code(&self) -> String {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        body["code"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
