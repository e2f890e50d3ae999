//! What came of a backtest, one JSON object a line: alerts and differences as their servers are through, a summary at last.
//!
//! `type` tells them apart: `alert`; `added`, `removed` and `moved` by other rules; `not_said`, `only_said` and
//! `said_at_another_time` against the history; `summary`. Times are milliseconds since 1970, as in the `alerts` topic.

use serde_json::{Value, json};
use tidewatch_schemas::{AlertStatus, time::rfc3339};

use super::{
    Heard,
    differ::Changes,
    play::Found,
    report::{Report, Tally},
};

/// Everything about one server.
pub(super) fn lines(heard: &Heard) -> serde_json::Result<Vec<Value>> {
    let mut lines = all("alert", &heard.found)?;
    if let Some(changes) = &heard.compared {
        lines.extend(differences(["added", "removed", "moved"], changes)?);
    }
    if let Some(changes) = &heard.history {
        lines.extend(differences(["not_said", "only_said", "said_at_another_time"], changes)?);
    }
    Ok(lines)
}

fn differences([added, removed, moved]: [&str; 3], changes: &Changes) -> serde_json::Result<Vec<Value>> {
    let mut lines = all(added, &changes.added)?;
    lines.extend(all(removed, &changes.removed)?);
    for (before, after) in &changes.moved {
        let mut line = line(moved, after)?;
        line["alert_id_before"] = json!(before.alert.alert_id);
        line["starts_at_before"] = json!(before.alert.starts_at);
        lines.push(line);
    }
    Ok(lines)
}

fn all(kind: &str, found: &[Found]) -> serde_json::Result<Vec<Value>> {
    found.iter().map(|found| line(kind, found)).collect()
}

/// The fields of the alert, and when it fired.
fn line(kind: &str, found: &Found) -> serde_json::Result<Value> {
    let mut line = serde_json::to_value(&found.alert)?;
    let status = if found.ends_at.is_some() { AlertStatus::Resolved } else { AlertStatus::Firing };
    line["type"] = json!(kind);
    line["status"] = json!(status.as_str());
    line["fired_at"] = json!(found.fired_at);
    line["ends_at"] = json!(found.ends_at);
    Ok(line)
}

pub(super) fn summary(report: &Report) -> Value {
    let rules: Vec<Value> = report
        .rules()
        .map(|(name, of_rule)| {
            json!({
                "rule": name,
                "alerts": of_rule.alerts,
                "open_ms": of_rule.open_ms,
                "still_open": of_rule.still_open,
                "open_before": of_rule.already,
                "servers": of_rule.servers,
            })
        })
        .collect();
    json!({
        "type": "summary",
        "from": rfc3339(report.span.from),
        "to": rfc3339(report.span.to),
        "history_from": report.known_from().map(rfc3339),
        "servers": report.servers,
        "servers_younger": report.younger,
        "windows": report.windows(),
        "alerts": report.alerts(),
        "rules": rules,
        "compared": report.compared.as_ref().map(tally),
        "against_history": report.history.as_ref().map(tally),
    })
}

fn tally(tally: &Tally) -> Value {
    json!({"same": tally.same, "moved": tally.moved, "added": tally.added, "removed": tally.removed})
}
