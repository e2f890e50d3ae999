//! The interface described by OpenAPI 3.1. In: what stands at the handlers (`routes`), their parameters (`asked`) and the
//! answers' shapes. Out: one JSON document, made once.
//!
//! Keeps: what all calls have in common (who may ask, headers, errors) is said here and once, so that a new path is
//! `#[utoipa::path]` at its handler and its name in [`crate::routes::Described`]; a test holds the document against the
//! router and the parsers.

use std::sync::LazyLock;

use axum::{
    extract::RawQuery,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidewatch_service_kit::http::Problem;
use utoipa::{OpenApi, ToSchema};

pub(crate) mod asked;
pub(crate) mod schemas;

use crate::{
    params::Params,
    query::{View, many::ManyView},
    routes::Described,
};

/// The two shapes of `/api/v1/query`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the document's: each is written by its own question")]
pub(crate) enum QueryAnswer<'a> {
    Server(View<'a>),
    Many(ManyView<'a>),
}

/// Calls that read nothing of the fleet have this tag.
const ABOUT: &str = "Interface";

/// Errors that any call may end in: status, name, when.
const PROBLEMS: [(&str, &str, &str); 12] = [
    (
        "400",
        "BadParameter",
        "A parameter that is not known here, was given twice, or is out of its bounds; `parameter` names it",
    ),
    ("401", "NoKey", "No key, a wrong one, or a session that has ended"),
    ("403", "RoleNotAllowed", "The key's role may not do this"),
    ("404", "Unknown", "Nothing has this name or id"),
    ("412", "PreconditionFailed", "`If-Match`: no server has a strong tag"),
    ("413", "TooLarge", "The body is longer than 64 KiB"),
    (
        "415",
        "WrongType",
        "The body is of another type than the call reads; of a merge patch `Accept-Patch` says which it may be",
    ),
    (
        "422",
        "TooSlow",
        "The database gave up on the question; or a member of the body is no good, and `parameter` names it",
    ),
    (
        "429",
        "TooManyRequests",
        "The caller's bucket is empty, or the server was asked to collect a moment ago; `Retry-After` says until when",
    ),
    ("500", "Internal", "A fault of the service; its log says which, by `request_id`"),
    (
        "503",
        "Unavailable",
        "The history cannot be read, Kafka does not take a request to collect or a verdict, all turns are taken, or no instance is there",
    ),
    ("504", "Timeout", "The service did not answer the gateway in time"),
];

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = ABOUT,
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
pub(crate) async fn describe(RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    Params::parse(raw.as_deref(), &[])?;
    let mut response = DOCUMENT.clone().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What the macros gathered, and around it what is the same everywhere.
fn document() -> Value {
    let mut all = serde_json::to_value(Described::openapi()).unwrap_or_default();
    all["info"] = json!({
        "title": "Tidewatch",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "What is normal on every server, and since when it is not",
        "description": "The HTTP interface but for what collectors send, by the gateway. All times are UTC. Sign in with a key of a viewer or an administrator.",
        "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    });
    all["servers"] = json!([{"url": "/", "description": "The gateway that serves this document"}]);
    all["security"] = json!([{"bearer": []}, {"key": []}, {"session": []}]);
    let operations = all["paths"].as_object().into_iter().flat_map(Map::values).filter_map(Value::as_object);
    let sent: String = operations.flat_map(Map::values).map(|one| one["requestBody"].to_string()).collect();
    let components = &mut all["components"];
    components["securitySchemes"] = json!({
        "bearer": {"type": "http", "scheme": "bearer", "description": "A key: tw_<a|v>_<43 characters>"},
        "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same key"},
        "session": {"type": "apiKey", "in": "cookie", "name": "tidewatch_session", "description": "A browser's, for 12 h after `POST /api/v1/session`"},
    });
    components["headers"] = schemas::headers();
    components["schemas"]["Problem"] = schemas::problem();
    components["responses"] =
        PROBLEMS.iter().map(|(_, name, when)| ((*name).to_owned(), problem(name, when))).collect();
    for (name, schema) in components["schemas"].as_object_mut().into_iter().flatten() {
        // what is sent may be left out
        if !sent.contains(&format!("\"#/components/schemas/{name}\"")) {
            schemas::require_nullable(schema);
        }
    }
    for (path, item) in all["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete(path, method, operation);
        }
    }
    all
}

fn problem(name: &str, when: &str) -> Value {
    let headers = match name {
        "TooManyRequests" | "Unavailable" => refer("headers", &["X-Request-Id", "Retry-After"]),
        "NoKey" => refer("headers", &["X-Request-Id", "WWW-Authenticate"]),
        _ => refer("headers", &["X-Request-Id"]),
    };
    json!({
        "description": when,
        "headers": headers,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// Components by their names.
fn refer(kind: &str, names: &[&str]) -> Value {
    let one = |name: &&str| ((*name).to_owned(), json!({"$ref": format!("#/components/{kind}/{name}")}));
    names.iter().map(one).collect()
}

/// Headers and errors of one call.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let names = |wanted: &[&str]| {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.filter_map(|one| one["name"].as_str()).any(|name| wanted.contains(&name))
    };
    let (is_paged, may_be_unknown) = (names(&["cursor"]), path.contains('{') || names(&["server", "metric"]));
    let reads = operation["tags"][0] != ABOUT;
    let takes_body = !operation["requestBody"].is_null();
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if !status.starts_with('2') {
            continue;
        }
        let mut headers = vec!["X-Request-Id", "RateLimit", "RateLimit-Policy"];
        if reads && response["content"]["text/event-stream"].is_null() {
            headers.extend(["X-Tidewatch-Degraded", "Cache-Control"]);
            // what is only accepted came from nowhere yet
            if status == "200" {
                headers.push("X-Tidewatch-Source");
            }
            if method == "get" {
                headers.extend(["X-Tidewatch-As-Of", "X-Tidewatch-Stale", "Age", "ETag"]);
            }
        }
        if is_paged {
            headers.push("Link");
        }
        let own = response["headers"].take();
        response["headers"] = refer("headers", &headers);
        for (name, header) in own.as_object().into_iter().flatten() {
            response["headers"][name] = header.clone();
        }
    }
    for (status, name, _) in PROBLEMS {
        let can_be = match status {
            "404" => may_be_unknown,
            "412" => method == "patch",
            "413" | "415" => takes_body,
            "422" => reads,
            _ => true,
        };
        if can_be && operation["responses"][status].is_null() {
            operation["responses"][status] = json!({"$ref": format!("#/components/responses/{name}")});
        }
    }
}

#[cfg(test)]
mod tests;
