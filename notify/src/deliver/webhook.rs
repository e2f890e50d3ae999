//! What a webhook gets: one transition as JSON, signed as Standard Webhooks says (standardwebhooks.com).
//!
//! In: a transition, the time of sending. Out: a body and its signature. Pure. Keeps: the same transition has the same
//! id and the same body however often it is sent.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;
use tidewatch_schemas::{Alert, RelatedSeries, time::rfc3339};
use tidewatch_service_kit::Secret;

use super::link::Link;

/// Signs bodies. HMAC-SHA256, RFC 2104.
#[derive(Clone)]
pub(crate) struct SigningKey(Hmac<Sha256>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl SigningKey {
    /// `whsec_` and base64, as the specification writes keys, or the bytes of any other text; none when it is too short.
    pub(crate) fn new(secret: &Secret) -> Option<Self> {
        // a secret that comes from a file often ends its line
        let text = secret.reveal().trim();
        let bytes = match text.strip_prefix("whsec_") {
            Some(coded) => STANDARD.decode(coded).ok().filter(|key| key.len() <= 64)?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.len() < 24 {
            return None;
        }
        Hmac::<Sha256>::new_from_slice(&bytes).ok().map(Self)
    }

    /// The value of `webhook-signature`; `seconds` since 1970 is that of `webhook-timestamp`.
    pub(crate) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The body: `type`, `timestamp` and `data`, as the specification proposes.
#[derive(Serialize)]
struct Event<'a> {
    r#type: String,
    timestamp: String,
    data: Data<'a>,
}

/// An alert with its times in words; the names are those of the topic and of the API.
#[derive(Serialize)]
struct Data<'a> {
    alert_id: &'a str,
    fingerprint: &'a str,
    incident_id: &'a str,
    server: &'a str,
    status: &'static str,
    severity: &'static str,
    rule: &'a str,
    starts_at: String,
    ends_at: Option<String>,
    updated_at: String,
    title: &'a str,
    explanation: &'a str,
    metric: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    unit: &'a str,
    value: Option<f64>,
    expected_low: Option<f64>,
    expected_high: Option<f64>,
    score: Option<f64>,
    related: &'a [RelatedSeries],
    runbook_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

/// The body of a transition's request.
pub(crate) fn body(alert: &Alert, link: Option<&Link>) -> Result<Vec<u8>, serde_json::Error> {
    let status = alert.status.as_str();
    let data = Data {
        alert_id: &alert.alert_id,
        fingerprint: &alert.fingerprint,
        incident_id: &alert.incident_id,
        server: &alert.server,
        status,
        severity: alert.severity.as_str(),
        rule: &alert.rule,
        starts_at: rfc3339(alert.starts_at),
        ends_at: alert.ends_at.map(rfc3339),
        updated_at: rfc3339(alert.updated_at),
        title: &alert.title,
        explanation: &alert.explanation,
        metric: alert.metric.as_deref(),
        labels: &alert.labels,
        unit: &alert.unit,
        value: alert.value,
        expected_low: alert.expected_low,
        expected_high: alert.expected_high,
        score: alert.score,
        related: &alert.related,
        runbook_url: alert.runbook_url.as_deref(),
        link: link.map(|link| link.server(&alert.server)),
    };
    let timestamp = rfc3339(alert.updated_at);
    serde_json::to_vec(&Event { r#type: format!("alert.{status}"), timestamp, data })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::ledger::tests::{firing, resolved};

    fn key(secret: &str) -> Option<SigningKey> {
        SigningKey::new(&Secret::new(secret))
    }

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // the vector that the reference libraries of Standard Webhooks are tested with
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_signature_covers_id_time_and_body() {
        let key = key("0123456789abcdef0123456789abcdef").unwrap();
        let signature = key.sign("a", 1, b"{}");
        for other in [key.sign("b", 1, b"{}"), key.sign("a", 2, b"{}"), key.sign("a", 1, b"{ }")] {
            assert_ne!(signature, other);
        }
        assert_eq!(signature, key.sign("a", 1, b"{}"));
    }

    #[test]
    fn a_short_key_is_none_and_no_key_is_shown() {
        for short in ["", "whsec_", "whsec_MfKQ9r8G", "whsec_no base64 at all", "0123456789"] {
            assert!(key(short).is_none(), "{short}");
        }
        assert_eq!(format!("{:?}", key("0123456789abcdef01234567")), "Some(***)");
    }

    #[test]
    fn a_body_says_everything_and_is_the_same_again() {
        let alert = firing("a", "web-1");
        let link: Link = "https://tidewatch.example/".parse::<crate::config::Endpoint>().unwrap().into();
        let bytes = body(&alert, Some(&link)).unwrap();
        assert_eq!(bytes, body(&alert, Some(&link)).unwrap());
        let event: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(event["type"], "alert.firing");
        assert_eq!(event["timestamp"], "2026-11-23T14:16:20.000Z");
        let data = &event["data"];
        assert_eq!(data["alert_id"], "a");
        assert_eq!(data["starts_at"], "2026-11-23T14:16:00.000Z");
        assert_eq!(data["ends_at"], Value::Null);
        assert_eq!(data["status"], "firing");
        assert_eq!(data["link"], "https://tidewatch.example/servers/web-1");
        // every field of the topic's record is there
        let Value::Object(whole) = serde_json::to_value(&alert).unwrap() else { unreachable!() };
        for name in whole.keys() {
            assert!(data.get(name).is_some(), "{name} is missing");
        }
        let event: Value = serde_json::from_slice(&body(&resolved("a", "web-1"), None).unwrap()).unwrap();
        assert_eq!(event["type"], "alert.resolved");
        assert_eq!(event["data"]["ends_at"], "2026-11-23T14:17:00.000Z");
        assert!(event["data"].get("link").is_none());
    }
}
