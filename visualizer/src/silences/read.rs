//! What a new silence has to say. In: the members of a body, who asks, the time. Out: a silence that the store can keep, or the
//! 422 that names the member. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tidewatch_schemas::{
    Labels,
    validate::{Limits, check_label},
};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{NewSilence, Scope};
use utoipa::ToSchema;

use crate::{
    openapi::asked::Time,
    params::{DAY, parse_time},
    sent::{bad_value, unknown, words},
};

/// Bytes of a pattern for a name.
const MAX_PATTERN: usize = 256;

/// The longest silence: what should never be heard of is a matter of rules.
const LONGEST: i64 = 400 * DAY;

/// What is silenced, when and why.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the document's: the body is read member by member, to name the one that is no good"
)]
pub(crate) struct SilenceBody {
    /// All of them have to fit the alert as a whole; `*` stands for any text
    #[schema(inline)]
    matchers: Matchers,
    /// RFC 3339, milliseconds or relative; now when absent
    #[schema(inline)]
    starts_at: Option<Time>,
    /// After `starts_at` and now, at most 400 days after `starts_at`
    #[schema(inline)]
    ends_at: Time,
    /// Why
    #[schema(min_length = 1, max_length = 2_000, example = "New disks")]
    comment: String,
}

/// At least one of them.
#[derive(ToSchema)]
#[schema(example = json!({"server": "web-*"}))]
#[expect(dead_code, reason = "the document's")]
struct Matchers {
    /// Name of the server
    #[schema(min_length = 1, max_length = 256)]
    server: Option<String>,
    /// Name of the alert's metric
    #[schema(min_length = 1, max_length = 256)]
    metric: Option<String>,
    /// Labels of the alert; one that is not there is an empty one
    #[schema(example = json!({"mountpoint": "/var*"}))]
    labels: Option<BTreeMap<String, String>>,
}

pub(super) fn silence(
    members: Map<String, Value>,
    created_by: String,
    now: i64,
) -> Result<NewSilence, Problem> {
    let (mut scope, mut starts_ms, mut ends_ms, mut comment) = (None, now, None, None);
    for (member, value) in members {
        match (member.as_str(), value) {
            ("matchers", Value::Object(matchers)) => scope = Some(scope_of(matchers)?),
            ("matchers", _) => return Err(bad_value("matchers", "has to be an object")),
            ("starts_at", Value::Null) => {}
            ("starts_at", value) => starts_ms = time("starts_at", &value, now)?,
            ("ends_at", value) => ends_ms = Some(time("ends_at", &value, now)?),
            ("comment", value) => comment = Some(words("comment", value)?),
            (other, _) => return Err(unknown(other, "matchers, starts_at, ends_at, comment")),
        }
    }
    let missing = |member| bad_value(member, "has to be there");
    let scope = scope.ok_or_else(|| missing("matchers"))?;
    let ends_ms = ends_ms.ok_or_else(|| missing("ends_at"))?;
    let comment = comment.ok_or_else(|| missing("comment"))?;
    if ends_ms <= starts_ms || ends_ms <= now {
        return Err(bad_value("ends_at", "has to be after starts_at and after now"));
    }
    if ends_ms - starts_ms > LONGEST {
        return Err(bad_value("ends_at", "may be at most 400 days after starts_at"));
    }
    Ok(NewSilence { scope, starts_ms, ends_ms, comment, created_by, created_ms: now })
}

fn time(member: &str, value: &Value, now: i64) -> Result<i64, Problem> {
    let read = match value {
        Value::String(text) => parse_time(text, now),
        Value::Number(number) => parse_time(&number.to_string(), now),
        _ => None,
    };
    let expected =
        "has to be a time: RFC 3339, milliseconds since 1970, or relative such as now, now+2h, now+90s";
    read.ok_or_else(|| bad_value(member, expected))
}

fn scope_of(matchers: Map<String, Value>) -> Result<Scope, Problem> {
    let mut scope = Scope::default();
    for (member, value) in matchers {
        match (member.as_str(), value) {
            ("server" | "metric" | "labels", Value::Null) => {}
            ("server", value) => scope.server = Some(pattern("matchers.server", value)?),
            ("metric", value) => scope.metric = Some(pattern("matchers.metric", value)?),
            ("labels", Value::Object(labels)) => scope.labels = labels_of(labels)?,
            ("labels", _) => return Err(bad_value("matchers.labels", "has to be an object of texts")),
            (other, _) => return Err(unknown(&format!("matchers.{other}"), "server, metric, labels")),
        }
    }
    if scope == Scope::default() {
        return Err(bad_value("matchers", "has to say server, metric or labels; \"*\" is any server"));
    }
    Ok(scope)
}

fn pattern(member: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text)
            if !text.is_empty() && text.len() <= MAX_PATTERN && !text.chars().any(char::is_control) =>
        {
            Ok(text)
        }
        _ => Err(bad_value(member, &format!("has to be a text of 1 to {MAX_PATTERN} bytes in one line"))),
    }
}

fn labels_of(members: Map<String, Value>) -> Result<Labels, Problem> {
    let limits = Limits::default();
    if members.len() > limits.labels {
        return Err(bad_value("matchers.labels", &format!("may be {} at most", limits.labels)));
    }
    let label = |(name, value): (String, Value)| match value {
        Value::String(text) if check_label(&name, &text, &limits).is_ok() => Ok((name, text)),
        _ => {
            let name: String = name.chars().take(64).collect();
            let Limits { name_bytes, label_value_bytes, .. } = limits;
            let expected = format!(
                "has to be a label's name of {name_bytes} bytes at most, with a text of {label_value_bytes} bytes at most in one line"
            );
            Err(bad_value(&format!("matchers.labels.{name}"), &expected))
        }
    };
    members.into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::params::HOUR;

    const NOW: i64 = 1_795_443_360_000;

    fn read(members: Value) -> Result<NewSilence, Problem> {
        let Value::Object(members) = members else { panic!("no object") };
        silence(members, "ann".to_owned(), NOW)
    }

    #[test]
    fn what_is_said_is_read_and_the_rest_is_now_and_whoever_asks() {
        let said = json!({"matchers": {"server": "web-*", "labels": {"cpu": "0"}}, "ends_at": "now+2h", "comment": "x"});
        let scope = Scope {
            server: Some("web-*".into()),
            metric: None,
            labels: Labels::from([("cpu".into(), "0".into())]),
        };
        let expected = NewSilence {
            scope,
            starts_ms: NOW,
            ends_ms: NOW + 2 * HOUR,
            comment: "x".into(),
            created_by: "ann".into(),
            created_ms: NOW,
        };
        assert_eq!(read(said).expect("good"), expected);
        for times in [json!(NOW + HOUR), json!("now+1h"), json!("2026-11-23T15:16:00Z")] {
            let said =
                json!({"matchers": {"metric": "*"}, "starts_at": times, "ends_at": "now+2h", "comment": "x"});
            assert_eq!(read(said).expect("good").starts_ms, NOW + HOUR);
        }
    }

    #[test]
    fn what_is_no_good_is_named() {
        let many: Map<_, _> = (0..33).map(|i| (format!("l{i}"), json!("x"))).collect();
        for (change, parameter) in [
            (json!({"matchers": null}), "matchers"),
            (json!({"matchers": {}}), "matchers"),
            (json!({"matchers": {"labels": {}}}), "matchers"),
            (json!({"matchers": {"server": ""}}), "matchers.server"),
            (json!({"matchers": {"server": "a\u{0}"}}), "matchers.server"),
            (json!({"matchers": {"server": "x".repeat(257)}}), "matchers.server"),
            (json!({"matchers": {"metric": 7}}), "matchers.metric"),
            (json!({"matchers": {"host": "x"}}), "matchers.host"),
            (json!({"matchers": {"labels": []}}), "matchers.labels"),
            (json!({"matchers": {"labels": many}}), "matchers.labels"),
            (json!({"matchers": {"labels": {"cpu": 0}}}), "matchers.labels.cpu"),
            (json!({"matchers": {"labels": {"a b": "x"}}}), "matchers.labels.a b"),
            (json!({"starts_at": "soon"}), "starts_at"),
            (json!({"starts_at": 1.5}), "starts_at"),
            (json!({"starts_at": "now+2h"}), "ends_at"),
            (json!({"starts_at": "now-401d"}), "ends_at"),
            (json!({"ends_at": null}), "ends_at"),
            (json!({"ends_at": "now"}), "ends_at"),
            (json!({"ends_at": {}}), "ends_at"),
            (json!({"comment": ""}), "comment"),
            (json!({"comment": "a\u{0}"}), "comment"),
            (json!({"created_by": "me"}), "created_by"),
        ] {
            let mut said = json!({"matchers": {"server": "*"}, "ends_at": "now+2h", "comment": "x"});
            for (member, value) in change.as_object().expect("object") {
                said[member] = value.clone();
            }
            let problem = read(said).expect_err(parameter);
            assert_eq!(problem.status().as_u16(), 422);
            assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{change}: {problem:?}");
        }
        for missing in ["matchers", "ends_at", "comment"] {
            let mut said = json!({"matchers": {"server": "*"}, "ends_at": "now+2h", "comment": "x"});
            said.as_object_mut().expect("object").remove(missing);
            let problem = read(said).expect_err(missing);
            assert!(format!("{problem:?}").contains(&format!("\"{missing}: ")), "{problem:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(name in "\\PC{0,12}", value in "\\PC{0,40}|now[-+][0-9]{0,24}[a-z]{0,2}") {
            for said in [
                json!({"matchers": {"labels": {&name: &value}}, "ends_at": "now+1h", "comment": &value}),
                json!({"matchers": {"server": &value}, "starts_at": &value, "ends_at": &value, "comment": "x"}),
            ] {
                let _ = read(said);
            }
        }
    }
}
