//! When there was an alert. In: alerts of a server. Out: stretches that do not overlap, each as bad as the worst of its
//! time. Pure.
//!
//! Keeps: the worst wins; an alert that is open has no end.

use tidewatch_schemas::{Alert, Severity};

/// An alert about what is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) severity: Severity,
    pub(super) title: String,
}

/// Whether an alert is about one of these metrics: its own, one that was odd with it, or the server as a whole.
pub(super) fn is_about(alert: &Alert, metrics: &[String]) -> bool {
    let is_asked = |metric: &String| metrics.contains(metric);
    alert.metric.as_ref().is_none_or(is_asked) || alert.related.iter().any(|one| is_asked(&one.metric))
}

/// Stretches by time, of alerts that last up to `to`; an older one goes on under a worse one.
pub(super) fn stretches(alerts: &[Alert], from: i64, to: i64) -> Vec<Stretch> {
    let end = |alert: &Alert| alert.ends_at.unwrap_or(to).min(to);
    let alerts: Vec<&Alert> =
        alerts.iter().filter(|alert| alert.starts_at < to && end(alert) >= from).collect();
    let mut edges: Vec<i64> =
        alerts.iter().flat_map(|alert| [alert.starts_at.max(from), end(alert).max(from)]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut found: Vec<Stretch> = Vec::new();
    for pair in edges.windows(2) {
        let here = alerts.iter().filter(|alert| alert.starts_at <= pair[0] && end(alert) >= pair[1]);
        // of two that are as bad the older one speaks
        let Some(worst) = here.max_by_key(|alert| (alert.severity, -alert.starts_at)) else { continue };
        match found.last_mut() {
            Some(last)
                if last.to == pair[0] && last.severity == worst.severity && last.title == worst.title =>
            {
                last.to = pair[1];
            }
            _ => found.push(Stretch {
                from: pair[0],
                to: pair[1],
                severity: worst.severity,
                title: worst.title.clone(),
            }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidewatch_schemas::{AlertStatus, Labels};

    use super::*;

    fn alert(from: i64, to: Option<i64>, severity: Severity, title: &str) -> Alert {
        Alert {
            alert_id: title.into(),
            fingerprint: String::new(),
            incident_id: String::new(),
            server: "web-1".into(),
            status: if to.is_none() { AlertStatus::Firing } else { AlertStatus::Resolved },
            severity,
            rule: String::new(),
            starts_at: from,
            ends_at: to,
            updated_at: from,
            title: title.into(),
            explanation: String::new(),
            metric: Some("load".into()),
            labels: Labels::new(),
            unit: String::new(),
            value: None,
            expected_low: None,
            expected_high: None,
            score: None,
            related: Vec::new(),
            runbook_url: None,
        }
    }

    #[test]
    fn the_worst_wins_and_the_milder_goes_on_around_it() {
        let alerts = [
            alert(0, None, Severity::Warning, "slow"),
            alert(30, Some(50), Severity::Critical, "down"),
            alert(200, None, Severity::Critical, "later"),
        ];
        let found = stretches(&alerts, 10, 100);
        let short: Vec<_> = found.iter().map(|s| (s.from, s.to, s.title.as_str())).collect();
        assert_eq!(short, [(10, 30, "slow"), (30, 50, "down"), (50, 100, "slow")]);
    }

    #[test]
    fn an_alert_is_about_its_metric_or_the_whole_server() {
        let mut one = alert(0, None, Severity::Info, "x");
        let asked = |name: &str| [name.to_owned()];
        assert!(is_about(&one, &asked("load")) && !is_about(&one, &asked("cpu")));
        one.metric = None;
        assert!(is_about(&one, &asked("cpu")));
    }

    proptest! {
        #[test]
        fn stretches_follow_one_another_within_the_range(alerts in prop::collection::vec((0_i64..200, prop::option::of(0_i64..200), 0_u8..3), 0..8)) {
            let severities = [Severity::Info, Severity::Warning, Severity::Critical];
            let alerts: Vec<Alert> = alerts
                .into_iter()
                .map(|(from, length, severity)| {
                    alert(from, length.map(|l| from + l), severities[usize::from(severity)], "t")
                })
                .collect();
            let found = stretches(&alerts, 50, 150);
            for pair in found.windows(2) {
                prop_assert!(pair[0].to <= pair[1].from);
            }
            for at in 50..150 {
                let there = alerts.iter().filter(|a| a.starts_at <= at && a.ends_at.is_none_or(|end| end > at));
                let worst = there.map(|a| a.severity).max();
                let drawn = found.iter().find(|s| s.from <= at && at < s.to).map(|s| s.severity);
                prop_assert_eq!(drawn, worst, "{}", at);
            }
        }
    }
}
