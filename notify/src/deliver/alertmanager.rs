//! What Alertmanager gets: alerts as its v2 API has them (`POST /api/v2/alerts`, a list of postableAlert).
//!
//! In: alerts. Out: a body. Pure. Keeps: the labels, by which Alertmanager knows an alert again, are the same for a
//! firing and its resolution; one that fires has no end, so that Alertmanager's own `resolve_timeout` counts.

use std::collections::BTreeMap;

use serde::Serialize;
use tidewatch_schemas::{Alert, AlertStatus, time::rfc3339};

use super::link::Link;

/// Behind the address of an Alertmanager.
pub(crate) const PATH: &str = "/api/v2/alerts";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Postable<'a> {
    labels: BTreeMap<String, &'a str>,
    annotations: BTreeMap<&'static str, &'a str>,
    starts_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

/// The body of a request with all of these alerts.
pub(crate) fn body<'a>(
    alerts: impl IntoIterator<Item = &'a Alert>,
    link: Option<&Link>,
) -> Result<Vec<u8>, serde_json::Error> {
    let all: Vec<Postable<'_>> = alerts.into_iter().map(|alert| postable(alert, link)).collect();
    serde_json::to_vec(&all)
}

fn postable<'a>(alert: &'a Alert, link: Option<&Link>) -> Postable<'a> {
    let ends_at = match alert.status {
        AlertStatus::Firing => None,
        AlertStatus::Resolved => {
            // Alertmanager refuses an end before the start
            Some(rfc3339(alert.ends_at.unwrap_or(alert.updated_at).max(alert.starts_at)))
        }
    };
    let annotations: [(&'static str, &'a str); 5] = [
        ("title", &alert.title),
        ("explanation", &alert.explanation),
        ("runbook_url", alert.runbook_url.as_deref().unwrap_or_default()),
        ("alert_id", &alert.alert_id),
        ("incident_id", &alert.incident_id),
    ];
    Postable {
        labels: labels(alert),
        annotations: annotations.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
        starts_at: rfc3339(alert.starts_at),
        ends_at,
        generator_url: link.map(|link| link.server(&alert.server)),
    }
}

/// Ours first; those of the series go beside them, under names that Prometheus has for such a case.
fn labels(alert: &Alert) -> BTreeMap<String, &str> {
    let ours: [(&str, &str); 4] = [
        ("alertname", &alert.rule),
        ("server", &alert.server),
        ("severity", alert.severity.as_str()),
        ("metric", alert.metric.as_deref().unwrap_or_default()),
    ];
    let mut labels: BTreeMap<String, &str> =
        ours.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in &alert.labels {
        let mut name = plain(name);
        if labels.contains_key(&name) {
            name.insert_str(0, "exported_");
        }
        while labels.contains_key(&name) {
            name.push('_');
        }
        labels.insert(name, value);
    }
    // an empty label is none
    labels.retain(|_, value| !value.is_empty());
    labels
}

/// A label's name as every Alertmanager takes it: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn plain(name: &str) -> String {
    let mut plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if plain.is_empty() || plain.starts_with(|c: char| c.is_ascii_digit()) {
        plain.insert(0, '_');
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::tests::{firing, resolved};

    fn posted(alert: &Alert) -> Value {
        let link = Link::from("https://tidewatch.example".parse::<crate::config::Endpoint>().unwrap());
        let all: Value = serde_json::from_slice(&body([alert], Some(&link)).unwrap()).unwrap();
        all[0].clone()
    }

    #[test]
    fn a_firing_has_no_end() {
        let expected = json!({
            "labels": {"alertname": "cpu_busy", "server": "web-1", "severity": "critical", "metric": "cpu", "mode": "user"},
            "annotations": {"title": "cpu 99 % on web-1", "explanation": "cpu 99 %, above 95 %.", "runbook_url": "https://r/cpu",
                            "alert_id": "a", "incident_id": "i"},
            "startsAt": "2026-11-23T14:16:00.000Z",
            "generatorURL": "https://tidewatch.example/servers/web-1",
        });
        assert_eq!(posted(&firing("a", "web-1")), expected);
    }

    #[test]
    fn a_resolution_has_an_end_and_the_labels_of_its_firing() {
        let (begun, over) = (posted(&firing("a", "web-1")), posted(&resolved("a", "web-1")));
        assert_eq!(over["labels"], begun["labels"]);
        assert_eq!(over["startsAt"], begun["startsAt"]);
        assert_eq!(over["endsAt"], "2026-11-23T14:17:00.000Z");
        let mut odd = resolved("a", "web-1");
        odd.ends_at = Some(odd.starts_at - 5);
        assert_eq!(posted(&odd)["endsAt"], begun["startsAt"], "never before the start");
    }

    #[test]
    fn names_that_alertmanager_does_not_take_are_made_plain() {
        let mut alert = firing("a", "web-1");
        let labels = [
            ("server", "other"),
            ("http.route", "/x"),
            ("http_route", "/y"),
            ("1st", "1"),
            ("none", ""),
            ("", "e"),
        ];
        alert.labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let labels = posted(&alert)["labels"].clone();
        assert_eq!(labels["server"], "web-1");
        assert_eq!(labels["exported_server"], "other");
        assert_eq!(labels["http_route"], "/x");
        assert_eq!(labels["exported_http_route"], "/y");
        assert_eq!((&labels["_1st"], &labels["_"]), (&json!("1"), &json!("e")));
        assert!(labels.get("none").is_none());
    }
}
