//! Schemas of what has no type of ours, or one that knows nothing of the document. In: the code's own lists of names. Out:
//! parts of the document.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidewatch_schemas::{AlertStatus, SeriesKind, Severity};
use tidewatch_store::SilenceState;
use utoipa::openapi::{
    Object, ObjectBuilder,
    schema::{AdditionalProperties, Type},
};

/// Text that is one of these, by the names that answers use.
fn one_of<T: Serialize>(values: &[T]) -> Object {
    let names = values.iter().filter_map(|value| serde_json::to_value(value).ok());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
}

pub(crate) fn kind() -> Object {
    one_of(&[SeriesKind::Gauge.as_str(), SeriesKind::Counter.as_str(), "histogram"])
}

pub(crate) fn severity() -> Object {
    one_of(&[Severity::Info, Severity::Warning, Severity::Critical])
}

pub(crate) fn alert_status() -> Object {
    one_of(&[AlertStatus::Firing, AlertStatus::Resolved])
}

pub(crate) fn silence_state() -> Object {
    one_of(&SilenceState::ALL.map(SilenceState::as_str))
}

/// Names and values.
pub(crate) fn labels() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::RefOr(text.into())))
        .build()
}

/// RFC 9457, with what we add.
pub(super) fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What went wrong: `code` for programs, `detail` for people",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri", "examples": ["https://tidewatch.io/problems/bad_parameter"]},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"},
            "code": {"type": "string", "examples": ["bad_parameter"]},
            "request_id": {"type": "string", "description": "As in `X-Request-Id`"},
            "parameter": {"type": "string", "description": "Of `bad_parameter` and `bad_value`: which one"},
        },
    })
}

/// Headers of answers.
pub(super) fn headers() -> Value {
    let header = |schema: Value, description: &str| json!({"schema": schema, "description": description});
    let text = || json!({"type": "string"});
    json!({
        "X-Request-Id": {"required": true, "schema": {"type": "string"}, "description": "Yours if you sent a sane one; it finds this call in the logs"},
        "X-Tidewatch-Source": header(json!({"enum": ["redis", "postgres"]}), "Where the answer came from"),
        "X-Tidewatch-Stale": header(json!({"enum": ["true"]}), "PostgreSQL is away and this is what was known then; `Age` says how old it is"),
        "X-Tidewatch-Degraded": header(json!({"enum": ["redis"]}), "Redis is away: the same answer, slower"),
        "Age": header(json!({"type": "integer", "minimum": 0}), "Seconds, of a stale answer"),
        "X-Tidewatch-As-Of": header(json!({"type": "string", "format": "date-time"}), "When the answer was true"),
        "ETag": header(text(), "Of all but `as_of`; with it in `If-None-Match` an answer that has not changed is a 304"),
        "Cache-Control": header(text(), "`private`, and for how long: 300 s where the range has long ended, else only to ask again"),
        "Link": header(text(), "`<address>; rel=\"next\"` when there is more"),
        "Retry-After": header(json!({"type": "integer", "minimum": 1}), "Seconds to wait"),
        "WWW-Authenticate": header(text(), "Bearer"),
        "RateLimit": header(text(), "`\"default\";r=<left>;t=<seconds>`"),
        "RateLimit-Policy": header(text(), "`\"default\";q=<burst>;w=<seconds>`"),
    })
}

/// What is `null` when there is nothing is always there: the macros would leave it open.
pub(super) fn require_nullable(schema: &mut Value) {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        require_nullable(part);
    }
    let nullable = |(name, property): (&String, &Value)| {
        let types = property["type"].as_array().into_iter().flatten();
        let choices = property["oneOf"].as_array().into_iter().flatten().map(|choice| &choice["type"]);
        types.chain(choices).any(|one| one == "null").then(|| name.clone())
    };
    let Some(properties) = schema["properties"].as_object().map(Map::iter) else { return };
    let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    required.extend(properties.filter_map(nullable).map(Value::from).collect::<Vec<_>>());
    if !required.is_empty() {
        schema["required"] = required.into();
    }
}
