//! `PATCH /api/v1/servers/{server}`: what people call a server and say of it. In: a JSON merge patch (RFC 7396), let through for
//! an admin. Out: the server as `GET` shows it.
//!
//! Keeps: the door says who asks, and without its word nobody changes anything; what the collector says is not touched; this
//! instance shows the change at once, others within the second that their directory is good for.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};
use tidewatch_schemas::validate::{Limits, check_label};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{Error, PeoplePatch, people::Change};
use utoipa::ToSchema;

use crate::{
    app::{App, Failure, Mode, unknown_server},
    params::Params,
    routes::server_view,
    sent::{self, bad_value},
    views::ServerView,
};

/// What may be changed; `null` takes away.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the document's: the body is read member by member, to name the one that is no good"
)]
pub(crate) struct ServerPatch {
    #[schema(min_length = 1, max_length = 200, example = "Shop, front")]
    display_name: Option<String>,
    /// Each by its name; those that are not named stay
    #[schema(example = json!({"team": "shop"}))]
    labels: Option<BTreeMap<String, Option<String>>>,
}

/// Letters of a name that people give.
const MAX_NAME: usize = 200;

/// The first is what the body is; the other is taken to be it.
const TYPES: &str = "application/merge-patch+json, application/json";

/// Change what people call a server and say of it.
#[utoipa::path(
    patch, path = "/api/v1/servers/{server}", tag = "Servers",
    params(("server" = String, Path, description = "Id or name of a server", example = "web-1")),
    request_body(content(
        (ServerPatch = "application/merge-patch+json"), (ServerPatch = "application/json")
    ), description = "A JSON merge patch (RFC 7396); only an admin may"),
    responses((status = 200, description = "The server, as `GET` shows it", body = ServerView))
)]
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Path(wanted): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    change(&app, &wanted, raw.as_deref(), &headers, body).await.unwrap_or_else(|problem| {
        let is_type = problem.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let mut response = problem.into_response();
        if is_type {
            let accepted = HeaderValue::from_static(TYPES);
            response.headers_mut().insert(HeaderName::from_static("accept-patch"), accepted);
        }
        response
    })
}

async fn change(
    app: &App,
    wanted: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    sent::let_through(headers, "change a server")?;
    Params::parse(query, &[])?;
    let patch = read(headers, body).await?;
    let id = app.server(wanted).await?.id;
    // our tags are weak, and no weak tag fits here (RFC 9110, 13.1.1)
    if headers.get(header::IF_MATCH).is_some_and(|tags| tags != "*") {
        let detail = "If-Match: no server has a strong tag; leave it out";
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail);
        return Err(problem.with("parameter", "If-Match".into()));
    }
    let server = match app.store.history.patch_server(id, &patch).await {
        Err(Error::TooMuch(most)) => return Err(bad_value("labels", &format!("may be {most} at most"))),
        patched => patched.map_err(Failure::from)?.ok_or_else(|| unknown_server(wanted))?,
    };
    tracing::info!(client = sent::client(headers), server = server.name, "server changed by a person");
    app.store.hot.replace_server(&server).await;
    app.forget_servers().await;
    let answer = server_view(app, &id.to_string(), Mode::Fresh).await?;
    Ok(sent::told(answer, StatusCode::OK))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<PeoplePatch, Problem> {
    patch_of(sent::members(headers, body, TYPES).await?)
}

fn patch_of(members: Map<String, Value>) -> Result<PeoplePatch, Problem> {
    let mut patch = PeoplePatch::default();
    for (member, value) in members {
        match (member.as_str(), value) {
            ("display_name", Value::Null) => patch.display_name = Change::Clear,
            ("display_name", Value::String(name)) if is_name(&name) => patch.display_name = Change::Set(name),
            ("display_name", _) => {
                let expected = format!(
                    "has to be a text of 1 to {MAX_NAME} letters in one line, without white space at its ends, or null"
                );
                return Err(bad_value("display_name", &expected));
            }
            ("labels", Value::Null) => patch.labels = Change::Clear,
            ("labels", Value::Object(labels)) => patch.labels = Change::Set(labels_of(labels)?),
            ("labels", _) => {
                return Err(bad_value("labels", "has to be an object of texts and nulls, or null"));
            }
            (other, _) => {
                let other: String = other.chars().take(64).collect();
                return Err(bad_value(&other, "cannot be changed; display_name and labels can"));
            }
        }
    }
    Ok(patch)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.trim() == name
        && name.chars().count() <= MAX_NAME
        && !name.chars().any(char::is_control)
}

fn labels_of(members: Map<String, Value>) -> Result<BTreeMap<String, Option<String>>, Problem> {
    let limits = Limits::default();
    let label = |(name, value): (String, Value)| {
        let value = match value {
            Value::Null => Some(None),
            // an empty label is one that is not there, which null says
            Value::String(text) if !text.is_empty() => Some(Some(text)),
            _ => None,
        };
        let checked =
            value.filter(|value| check_label(&name, value.as_deref().unwrap_or_default(), &limits).is_ok());
        checked.map(|value| (name.clone(), value)).ok_or_else(|| {
            let name: String = name.chars().take(64).collect();
            let Limits { name_bytes, label_value_bytes, .. } = limits;
            let expected = format!(
                "has to be a label's name of {name_bytes} bytes at most, with a text of 1 to {label_value_bytes} bytes in one line or null"
            );
            bad_value(&format!("labels.{name}"), &expected)
        })
    };
    members.into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::sent::MAX_BODY;

    async fn ask(headers: &[(HeaderName, &str)], body: impl Into<Body>) -> Result<PeoplePatch, Problem> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("header"))).collect();
        read(&headers, body.into()).await
    }

    fn patch(members: Value) -> Result<PeoplePatch, Problem> {
        let Value::Object(members) = members else { panic!("no object") };
        patch_of(members)
    }

    #[test]
    fn what_is_said_is_set_and_null_takes_it_away() {
        let said =
            patch(json!({"display_name": "Till 4", "labels": {"dc": "fra", "os": null}})).expect("good");
        assert_eq!(said.display_name, Change::Set("Till 4".into()));
        let labels = [("dc".to_owned(), Some("fra".to_owned())), ("os".to_owned(), None)];
        assert_eq!(said.labels, Change::Set(labels.into()));
        let cleared = patch(json!({"display_name": null, "labels": null})).expect("good");
        assert_eq!(cleared, PeoplePatch { display_name: Change::Clear, labels: Change::Clear });
        assert_eq!(patch(json!({})).expect("good"), PeoplePatch::default());
    }

    #[test]
    fn what_is_no_good_is_named() {
        for (body, parameter) in [
            (json!({"display_name": ""}), "display_name"),
            (json!({"display_name": " x"}), "display_name"),
            (json!({"display_name": "a\nb"}), "display_name"),
            (json!({"display_name": "\u{e4}".repeat(201)}), "display_name"),
            (json!({"display_name": 7}), "display_name"),
            (json!({"labels": []}), "labels"),
            (json!({"labels": {"a b": "c"}}), "labels.a b"),
            (json!({"labels": {"": "c"}}), "labels."),
            (json!({"labels": {"dc": 1}}), "labels.dc"),
            (json!({"labels": {"dc": {"x": null}}}), "labels.dc"),
            (json!({"labels": {"dc": ""}}), "labels.dc"),
            (json!({"labels": {"dc": "\u{0}"}}), "labels.dc"),
            (json!({"labels": {"dc": "x".repeat(1_025)}}), "labels.dc"),
            (json!({"name": "web-2"}), "name"),
        ] {
            let problem = patch(body).expect_err(parameter);
            assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
            assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{problem:?}");
        }
        assert!(patch(json!({"display_name": "\u{e4}".repeat(200)})).is_ok());
    }

    #[tokio::test]
    async fn a_body_has_to_be_json_of_a_size_that_is_understood() {
        const JSON: (HeaderName, &str) = (header::CONTENT_TYPE, "application/json");
        let is_good = async |kind: &str| ask(&[(header::CONTENT_TYPE, kind)], "{}").await.is_ok();
        assert!(is_good("application/merge-patch+json").await);
        assert!(is_good("Application/JSON; charset=utf-8").await);
        let long = format!("{{\"display_name\": \"{}\"}}", "x".repeat(MAX_BODY));
        for (headers, body, status, parameter) in [
            (vec![], "{}", 415, "Content-Type"),
            (vec![(header::CONTENT_TYPE, "text/plain")], "{}", 415, "Content-Type"),
            (vec![(header::CONTENT_TYPE, "application/json-patch+json")], "[]", 415, "Content-Type"),
            (vec![JSON, (header::CONTENT_ENCODING, "gzip")], "{}", 415, "Content-Encoding"),
            (vec![JSON], "", 400, "body"),
            (vec![JSON], "{\"labels\": {", 400, "body"),
            (vec![JSON], "[]", 422, "body"),
            (vec![JSON], "null", 422, "body"),
            (vec![JSON], long.as_str(), 413, "body"),
        ] {
            let problem = ask(&headers, body.to_owned()).await.expect_err(parameter);
            assert_eq!(problem.status().as_u16(), status, "{parameter}");
            assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{problem:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_fail(text in "\\PC{0,60}|\\{\"labels\":\\{\"\\PC{0,9}\":(null|\"\\PC{0,9}\")\\}\\}") {
            if let Ok(Value::Object(members)) = serde_json::from_str(&text) {
                let _ = patch_of(members);
            }
        }
    }
}
