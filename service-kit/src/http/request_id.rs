//! One id for each request, from the door to the log line: `X-Request-Id`, taken over when it is sane, else made.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// The id, as an extension of the request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The id of the request being answered, inside [`request_ids`].
pub(super) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Middleware: gives the request its id and the answer the same.
pub async fn request_ids(mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(&HEADER).and_then(|v| v.to_str().ok()).filter(|id| is_sane(id));
    let id = sent.map_or_else(new_id, str::to_owned);
    // hex or sane: always a valid header value
    let value = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("invalid"));
    request.headers_mut().insert(HEADER, value.clone());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = CURRENT.scope(id, next.run(request)).await;
    response.headers_mut().insert(HEADER, value);
    response
}

fn is_sane(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn new_id() -> String {
    format!("{:016x}{:08x}", rand::random::<u64>(), rand::random::<u32>())
}
