//! `tidewatch alerts acknowledge`: somebody takes care of an alert, or says that nothing was wrong. In: its id, and an admin's key.
//! Out: one call of the gateway, and in a line what holds now.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_tls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Map, Value, json};
use tidewatch_schemas::Verdict;

const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer; an alert is some thousands.
const MOST: usize = 1 << 20;

#[derive(Debug, Clone, Args)]
pub(crate) struct AcknowledgeArgs {
    /// Id of the alert; that of an incident is the id of its first alert
    id: String,
    /// Nothing was wrong: for some weeks the detector takes more of the series that the alert names
    #[arg(long)]
    false_alarm: bool,
    /// What there is to say to it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Take back what was said of it
    #[arg(long, conflicts_with_all = ["false_alarm", "note"])]
    withdraw: bool,
    /// Where the gateway is
    #[arg(long, env = "TIDEWATCH_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// File with the key of an admin
    #[arg(long, env = "TIDEWATCH_KEY_FILE", default_value = ".tidewatch/admin.key", value_name = "FILE")]
    key_file: PathBuf,
}

#[expect(clippy::print_stdout, reason = "what holds now is the output")]
pub(crate) async fn run(args: &AcknowledgeArgs) -> anyhow::Result<()> {
    let key = fs::read_to_string(&args.key_file)
        .with_context(|| format!("read the key from {}", args.key_file.display()))?;
    let request = request(args, key.trim())?;
    let answer = tokio::time::timeout(TIMEOUT, exchange(request));
    let (status, body) = answer
        .await
        .with_context(|| format!("no answer from {} within {} s", args.url, TIMEOUT.as_secs()))?
        .with_context(|| format!("ask {}", args.url))?;
    println!("{}", said(status, &body)?);
    Ok(())
}

fn request(args: &AcknowledgeArgs, key: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    anyhow::ensure!(
        !args.id.is_empty() && args.id.bytes().all(is_plain),
        "`{}` is no id of an alert",
        args.id
    );
    let url = format!("{}/api/v1/alerts/{}/acknowledge", args.url.trim_end_matches('/'), args.id);
    let (method, body) =
        if args.withdraw { ("DELETE", String::new()) } else { ("POST", words(args).to_string()) };
    Request::builder()
        .method(method)
        .uri(&url)
        .header(header::AUTHORIZATION, format!("Bearer {key}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .with_context(|| format!("make a request of {url}"))
}

fn words(args: &AcknowledgeArgs) -> Value {
    let mut words = Map::new();
    if let Some(note) = &args.note {
        words.insert("note".to_owned(), json!(note));
    }
    if args.false_alarm {
        words.insert("verdict".to_owned(), json!(Verdict::FalseAlarm));
    }
    Value::Object(words)
}

async fn exchange(request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let connector = HttpsConnector::from((http, native_tls::TlsConnector::new()?.into()));
    let client: Client<HttpsConnector<HttpConnector>, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(connector);
    let response = client.request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read the answer: {error}"))?;
    Ok((status, body.to_bytes()))
}

/// What holds now, in one line; an error is what the gateway says is wrong.
fn said(status: StatusCode, body: &[u8]) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if status != StatusCode::OK {
        let why = text(&answer["detail"]).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        anyhow::bail!("the gateway answers {status}: {why}");
    }
    let title = text(&answer["title"]).context("the answer is no alert")?;
    let acknowledged = &answer["acknowledged"];
    let Some(by) = text(&acknowledged["by"]) else {
        return Ok(format!("{title}: nobody takes care of it"));
    };
    let what = match acknowledged["verdict"].as_str() {
        Some(verdict) if verdict == Verdict::FalseAlarm.as_str() => "called a false alarm",
        _ => "taken care of",
    };
    let note = text(&acknowledged["note"]).map_or_else(String::new, |note| format!(" ({note})"));
    Ok(format!("{title}: {what} by {by}{note}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(id: &str) -> AcknowledgeArgs {
        AcknowledgeArgs {
            id: id.to_owned(),
            false_alarm: true,
            note: Some("the backup".to_owned()),
            withdraw: false,
            url: "https://watch.example/".to_owned(),
            key_file: PathBuf::new(),
        }
    }

    #[test]
    fn a_request_says_what_and_who() {
        let post = request(&args("0f34"), "secret").unwrap();
        assert_eq!(
            (post.method().as_str(), post.headers()[header::AUTHORIZATION].to_str().unwrap()),
            ("POST", "Bearer secret")
        );
        assert_eq!(post.uri(), "https://watch.example/api/v1/alerts/0f34/acknowledge");
        assert_eq!(words(&args("0f34")), json!({"note": "the backup", "verdict": "false_alarm"}));
        let plain = AcknowledgeArgs { false_alarm: false, note: None, ..args("0f34") };
        assert_eq!(words(&plain), json!({}));
        let taken_back = request(&AcknowledgeArgs { withdraw: true, ..plain }, "secret").unwrap();
        assert_eq!(taken_back.method().as_str(), "DELETE");
        for bad in ["", "a/b", "a b", "a?b", "\u{e4}"] {
            assert!(request(&args(bad), "secret").is_err(), "{bad}");
        }
        assert!(request(&args("0f34"), "two\nlines").is_err());
    }

    #[test]
    fn an_answer_is_one_line() {
        let said = |status, body: Value| said(status, body.to_string().as_bytes());
        let alert = |acknowledged: Value| json!({"title": "CPU busy 98 %", "acknowledged": acknowledged});
        let ok = |acknowledged| said(StatusCode::OK, alert(acknowledged)).unwrap();
        assert_eq!(ok(Value::Null), "CPU busy 98 %: nobody takes care of it");
        assert_eq!(
            ok(json!({"by": "ann", "at": "x", "note": null, "verdict": null})),
            "CPU busy 98 %: taken care of by ann"
        );
        assert_eq!(
            ok(json!({"by": "ann", "at": "x", "note": "the backup", "verdict": "false_alarm"})),
            "CPU busy 98 %: called a false alarm by ann (the backup)"
        );
        let refused = said(StatusCode::NOT_FOUND, json!({"detail": "no alert has the id \"x\""}));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the gateway answers 404 Not Found: no alert has the id \"x\""
        );
        assert!(said(StatusCode::OK, json!([])).is_err());
    }
}
