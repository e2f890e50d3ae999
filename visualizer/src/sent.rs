//! What calls that change something have in common: who may, the body that they send, how they are answered. In: headers and a
//! body. Out: the members of a JSON object, or the problem that names what is wrong.
//!
//! Keeps: the door says who asks, and without its word nobody changes anything; a body is bounded, and read only as what it
//! says that it is.

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};
use tidewatch_service_kit::http::Problem;

use crate::{fresh::SOURCE, keep::Answer};

pub(crate) const MAX_BODY: usize = 64 << 10;

/// Letters of a note or a comment.
pub(crate) const MAX_WORDS: usize = 2_000;

/// What a body is, if its call says nothing else.
pub(crate) const JSON: &str = "application/json";

/// Only an admin may; `what` goes on with "only an admin may".
pub(crate) fn let_through(headers: &HeaderMap, what: &str) -> Result<(), Problem> {
    if headers.get("x-tidewatch-role").is_some_and(|role| role == "admin") {
        return Ok(());
    }
    let detail = format!("only an admin may {what}");
    Err(Problem::new(StatusCode::FORBIDDEN, "role_not_allowed", detail))
}

/// Who asks, as the door knows it.
pub(crate) fn client(headers: &HeaderMap) -> String {
    let name = headers.get("x-tidewatch-client").map(|name| String::from_utf8_lossy(name.as_bytes()));
    name.filter(|name| !name.is_empty()).map_or_else(|| "anonymous".to_owned(), std::borrow::Cow::into_owned)
}

/// The object in the body, which has to be of one of `types` (with ", " between).
pub(crate) async fn members(
    headers: &HeaderMap,
    body: Body,
    types: &str,
) -> Result<Map<String, Value>, Problem> {
    let text =
        |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    let kind = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if !types.split(", ").any(|known| known.eq_ignore_ascii_case(kind)) {
        return Err(bad_type("Content-Type", &format!("has to be one of {types}")));
    }
    if !["", "identity"].contains(&text(header::CONTENT_ENCODING)) {
        return Err(bad_type("Content-Encoding", "is not understood here: send the body as it is"));
    }
    // one that broke off has nobody left to tell
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        let detail = format!("body: may have {MAX_BODY} bytes at most");
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail);
        return Err(problem.with("parameter", "body".into()));
    };
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(bad_value("body", "has to be an object")),
        Err(error) => {
            let detail = format!("body: is no JSON: {error}");
            let problem = Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail);
            Err(problem.with("parameter", "body".into()))
        }
    }
}

fn bad_type(parameter: &str, expected: &str) -> Problem {
    let detail = format!("{parameter}: {expected}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
        .with("parameter", parameter.into())
}

/// 422 with the member's name, and what is expected of it.
pub(crate) fn bad_value(parameter: &str, expected: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_value", format!("{parameter}: {expected}"))
        .with("parameter", parameter.into())
}

/// 422 for a member that the body may not have.
pub(crate) fn unknown(member: &str, known: &str) -> Problem {
    let member: String = member.chars().take(64).collect();
    bad_value(&member, &format!("is not known here; known are {known}"))
}

/// What a person says to something, in one line or several.
pub(crate) fn words(member: &str, value: Value) -> Result<String, Problem> {
    match value {
        Value::String(text) if is_words(&text) => Ok(text),
        _ => Err(bad_value(member, &format!("has to be a text of 1 to {MAX_WORDS} letters"))),
    }
}

fn is_words(text: &str) -> bool {
    !text.trim().is_empty()
        && text.chars().count() <= MAX_WORDS
        && !text.chars().any(|c| c.is_control() && !['\n', '\r', '\t'].contains(&c))
}

/// What a change is answered with: nobody keeps it.
pub(crate) fn told(answer: Answer, status: StatusCode) -> Response {
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(SOURCE.clone(), HeaderValue::from_static(answer.source.as_str()));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_whom_the_door_calls_an_admin_is_let_through() {
        let role = |role: &'static str| {
            HeaderMap::from_iter([(
                HeaderName::from_static("x-tidewatch-role"),
                HeaderValue::from_static(role),
            )])
        };
        assert!(let_through(&role("admin"), "do this").is_ok());
        for headers in [HeaderMap::new(), role(""), role("viewer"), role("writer"), role("Admin")] {
            let problem = let_through(&headers, "do this").expect_err("no admin");
            assert_eq!((problem.status().as_u16(), problem.code()), (403, "role_not_allowed"));
        }
    }

    #[test]
    fn who_asks_is_the_name_that_the_door_gives() {
        let mut headers = HeaderMap::new();
        assert_eq!(client(&headers), "anonymous");
        headers.insert("x-tidewatch-client", HeaderValue::from_static("on-call"));
        assert_eq!(client(&headers), "on-call");
        headers.insert("x-tidewatch-client", HeaderValue::from_static(""));
        assert_eq!(client(&headers), "anonymous");
    }

    #[test]
    fn words_are_a_text_that_postgresql_can_hold() {
        for good in ["x", "two\nlines\tof \u{e4}", &"\u{e4}".repeat(MAX_WORDS)] {
            assert_eq!(words("note", good.into()).expect(good), good);
        }
        let long = json!("x".repeat(MAX_WORDS + 1));
        for bad in
            [json!(""), json!(" \n"), json!("a\u{0}b"), json!("\u{1b}[2J"), json!(7), json!(["x"]), long]
        {
            let problem = words("note", bad).expect_err("no words");
            assert_eq!((problem.status().as_u16(), problem.code()), (422, "bad_value"));
        }
    }
}
