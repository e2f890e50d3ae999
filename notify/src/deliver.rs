//! Deliver: transitions to one target, each answered for.
//!
//! In: the oldest transition of each of some alerts. Out: an [`Outcome`] for each, in their order. Keeps: a target that
//! is away is left alone by its breaker; one bad alert does not take those with it that went out in the same request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use futures_util::future::join_all;
use http::{
    HeaderValue, Request, Uri,
    header::{CONTENT_TYPE, USER_AGENT},
    request::Builder,
};
use http_body_util::Full;
use prometheus::IntGaugeVec;
use tidewatch_schemas::{Alert, headers::TRACEPARENT};
use tidewatch_service_kit::{Breaker, BreakerError};

use crate::{
    Config, Error, config::Endpoint, consume::STAGE, ledger::Transition, metrics::TargetMetrics, post::Poster,
};

mod alertmanager;
mod link;
pub(crate) mod verdict;
pub(crate) mod webhook;

use link::Link;
use verdict::{Kind, No, Outcome, judge};
use webhook::SigningKey;

/// Failed calls in a row after which the target is left alone.
const FAILURES: u32 = 5;
/// How long it is left alone at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Requests to a webhook at once, one for each alert.
const WEBHOOK_AT_ONCE: usize = 8;
/// Alerts in a request to an Alertmanager.
const ALERTMANAGER_AT_ONCE: usize = 64;

/// Somebody who gets the alerts. Without a debug form: the path of its address may hold a token.
pub(crate) struct Target {
    id: String,
    speech: Speech,
    uri: Uri,
    link: Option<Link>,
    poster: Poster,
    breaker: Breaker,
    metrics: TargetMetrics,
}

/// How it wants to be spoken to.
enum Speech {
    Alertmanager,
    Webhook(Box<SigningKey>),
}

/// Every target of the settings, each once.
pub(crate) fn targets(
    config: &Config,
    gauges: &IntGaugeVec,
    metrics: &crate::metrics::NotifyMetrics,
) -> Result<Vec<Target>, Error> {
    if config.alertmanagers.is_empty() && config.webhooks.is_empty() {
        return Ok(Vec::new());
    }
    let key = match (&config.webhook_secret, config.webhooks.is_empty()) {
        (None, false) => return Err(Error::NoSecret),
        (Some(secret), false) => Some(SigningKey::new(secret).ok_or(Error::BadSecret)?),
        (_, true) => None,
    };
    let poster = Poster::new(config.timeout)?;
    let target = |id: String, speech: Speech, uri: Uri| Target {
        breaker: Breaker::new(gauges, STAGE, &id, FAILURES, LONGEST_PAUSE),
        metrics: metrics.of(&id),
        link: config.link.clone().map(Link::from),
        poster: poster.clone(),
        id,
        speech,
        uri,
    };
    let mut all: Vec<Target> = Vec::new();
    for endpoint in &config.alertmanagers {
        all.push(target(endpoint.id("alertmanager"), Speech::Alertmanager, alerts_of(endpoint)));
    }
    for endpoint in &config.webhooks {
        let Some(key) = &key else { continue };
        let speech = Speech::Webhook(Box::new(key.clone()));
        all.push(target(endpoint.id("webhook"), speech, endpoint.uri().clone()));
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.dedup_by(|a, b| a.id == b.id);
    Ok(all)
}

/// Where an Alertmanager takes alerts; its address may end there already.
fn alerts_of(endpoint: &Endpoint) -> Uri {
    let base = endpoint.base();
    let base = base.strip_suffix(alertmanager::PATH).unwrap_or(&base);
    // a good address with a plain path behind it is a good address
    format!("{base}{}", alertmanager::PATH).parse().unwrap_or_else(|_| endpoint.uri().clone())
}

impl Target {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn metrics(&self) -> &TargetMetrics {
        &self.metrics
    }

    /// How many transitions a round may have.
    pub(crate) fn at_once(&self) -> usize {
        match self.speech {
            Speech::Alertmanager => ALERTMANAGER_AT_ONCE,
            Speech::Webhook(_) => WEBHOOK_AT_ONCE,
        }
    }

    /// Whether it forgets what fires unless it is told again.
    pub(crate) fn forgets(&self) -> bool {
        matches!(self.speech, Speech::Alertmanager)
    }

    /// What became of each; no two are of the same alert.
    pub(crate) async fn deliver(&self, due: &[Arc<Transition>]) -> Vec<Outcome> {
        match &self.speech {
            Speech::Webhook(key) => join_all(due.iter().map(|one| self.send_one(key, one))).await,
            Speech::Alertmanager => {
                let outcome = self.send_all(due).await;
                match outcome {
                    // which of them it is about is only known by asking for each
                    Err(no) if due.len() > 1 && no.is_about_content() => {
                        join_all(due.iter().map(|one| self.send_all(std::slice::from_ref(one)))).await
                    }
                    outcome => vec![outcome; due.len()],
                }
            }
        }
    }

    /// Tells an Alertmanager again of what was delivered before.
    pub(crate) async fn repeat(&self, alerts: &[Arc<Alert>]) -> Outcome {
        let body = alertmanager::body(alerts.iter().map(|alert| &**alert), self.link.as_ref());
        self.call(self.request(), body).await
    }

    async fn send_all(&self, due: &[Arc<Transition>]) -> Outcome {
        let body = alertmanager::body(due.iter().map(|one| &*one.alert), self.link.as_ref());
        // a request has one trace: of several, none is its
        let request = match due {
            [one] => traced(self.request(), one),
            _ => self.request(),
        };
        self.call(request, body).await
    }

    async fn send_one(&self, key: &SigningKey, one: &Transition) -> Outcome {
        let body = webhook::body(&one.alert, self.link.as_ref());
        let seconds = Utc::now().timestamp();
        let signature = body.as_ref().map(|body| key.sign(&one.id, seconds, body)).unwrap_or_default();
        let request = traced(self.request(), one)
            .header("webhook-id", &one.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature);
        self.call(request, body).await
    }

    fn request(&self) -> Builder {
        Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("tidewatch/", env!("CARGO_PKG_VERSION")))
    }

    async fn call(&self, request: Builder, body: Result<Vec<u8>, serde_json::Error>) -> Outcome {
        // neither happens to an alert of ours; to one of somebody else's it will every time
        let body = body.map_err(|error| No::Refused(format!("encode alert: {error}")))?;
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| No::Refused(format!("make request: {error}")))?;
        let call = async {
            let begun = std::time::Instant::now();
            let answer = self.poster.post(request).await;
            self.metrics.record_request(begun.elapsed());
            judge(&answer?, Utc::now())
        };
        let outcome = match self.breaker.call_if(No::is_failure, call).await {
            Ok(()) => Ok(()),
            Err(BreakerError::Open) => Err(No::later(Kind::Skipped, "it is left alone for a while")),
            Err(BreakerError::Failed(no)) => Err(no),
        };
        if let Err(No::Later(fault)) = &outcome
            && fault.kind != Kind::Skipped
        {
            self.metrics.record_failure(fault.kind);
        }
        outcome
    }
}

/// Hands the trace on, if there is one that a header can hold.
fn traced(request: Builder, one: &Transition) -> Builder {
    match one.traceparent.as_deref().map(HeaderValue::from_str) {
        Some(Ok(value)) => request.header(TRACEPARENT, value),
        Some(Err(_)) | None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alertmanager_is_named_with_or_without_the_path() {
        for (given, wanted) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("https://am/prefix/", "https://am/prefix/api/v2/alerts"),
            ("http://am/api/v2/alerts", "http://am/api/v2/alerts"),
        ] {
            assert_eq!(alerts_of(&given.parse().unwrap()).to_string(), wanted);
        }
    }

    #[test]
    fn a_webhook_without_a_secret_is_refused_and_a_target_named_twice_is_one() {
        let metrics = tidewatch_service_kit::Metrics::default();
        let gauges = tidewatch_service_kit::breaker::gauges(&metrics);
        let own = crate::metrics::NotifyMetrics::new(&metrics);
        let made = |set: &[(&str, &str)]| {
            let config: Config = tidewatch_service_kit::config::assemble("notify", set).unwrap();
            targets(&config, &gauges, &own)
        };
        assert!(matches!(made(&[("notify-webhook", "http://a/")]), Err(Error::NoSecret)));
        let secret = ("notify-webhook-secret", "0123456789abcdef0123456789abcdef");
        let all = made(&[
            ("notify-webhook", "http://a/,http://a/,http://b/"),
            ("notify-alertmanager", "http://a"),
            secret,
        ]);
        assert_eq!(all.unwrap().len(), 3);
        assert!(made(&[secret]).unwrap().is_empty());
    }
}
