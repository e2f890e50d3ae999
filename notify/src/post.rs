//! Post: a request out, and what came back of it, within the time for it.
//!
//! In: a request with its body. Out: an [`Answer`], or why there is none. Keeps: no redirect is followed; of an answer only
//! the beginning is kept.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full, Limited};
use hyper_tls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::deliver::verdict::{Answer, Kind, No};

/// Kept connections are dropped before most servers drop them, so that no request meets a closed one.
const IDLE: Duration = Duration::from_secs(15);
/// A longer body of an answer is not read to its end.
const BODY: usize = 64 << 10;
/// What is kept of it.
const WORDS: usize = 200;

/// Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl Poster {
    /// Believes the authorities that this machine believes (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
    pub(crate) fn new(timeout: Duration) -> Result<Self, native_tls::Error> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let connector = HttpsConnector::from((http, native_tls::TlsConnector::new()?.into()));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { client, timeout })
    }

    pub(crate) async fn post(&self, request: Request<Full<Bytes>>) -> Result<Answer, No> {
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(No::later(Kind::Timeout, format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, No> {
        let response = self.client.request(request).await.map_err(|error| {
            let kind = if error.is_connect() { Kind::Connect } else { Kind::Broken };
            No::later(kind, tidewatch_service_kit::service::chain(&error))
        })?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let (status, retry_after) = (response.status(), retry_after.map(str::to_owned));
        // the status decides; a body that breaks off or goes on and on changes nothing
        let body = Limited::new(response.into_body(), BODY).collect().await;
        let words = body.map(|body| words(&body.to_bytes())).unwrap_or_default();
        Ok(Answer { status, retry_after, words })
    }
}

/// The beginning of a text, in one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_quoted_in_one_short_line() {
        assert_eq!(words(b"  a\r\nb\tc \xff "), "a b c \u{fffd}");
        assert_eq!(words("\u{e4}".repeat(1_000).as_bytes()).chars().count(), WORDS);
    }
}
