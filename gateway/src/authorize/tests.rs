//! The matrix: every place, method and credential, against a table written out by hand.

use std::collections::BTreeMap;

use super::*;
use crate::authenticate::Claims;

/// Who asks, in the order of the table's columns.
const WHO: [&str; 8] = [
    "nothing",
    "wrong key",
    "viewer",
    "writer",
    "admin",
    "admin's cookie, own page",
    "admin's cookie, foreign page",
    "viewer's cookie, no browser",
];

/// Statuses for each of [`WHO`]; 0: goes on to its place.
const TABLE: [(&str, &str, [u16; 8]); 69] = [
    ("GET", "/", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("HEAD", "/", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("POST", "/", [405; 8]),
    ("OPTIONS", "/", [405; 8]),
    ("TRACE", "/", [405; 8]),
    ("GET", "/assets/main.js", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("DELETE", "/assets/main.js", [405; 8]),
    ("GET", "/servers/web-1", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("GET", "/sign-in", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("POST", "/sign-in", [405; 8]),
    ("GET", "/api/v1/servers", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("HEAD", "/api/v1/servers", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("POST", "/api/v1/servers", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("DELETE", "/api/v1/servers/1", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("PUT", "/api/v1/servers/1", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api/v1/servers/1", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("HEAD", "/api/v1/servers/web-1", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("PATCH", "/api/v1/servers/1", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("PATCH", "/api/v1/servers/web%20one", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("PATCH", "/api/v1/servers", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("PATCH", "/api/v1/servers/1/", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("PATCH", "/api/v1/metrics/1", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("POST", "/api/v1/servers/1/collect", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("POST", "/api/v1/servers/web%20one/collect", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("GET", "/api/v1/servers/1/collect", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("PATCH", "/api/v1/servers/1/collect", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("POST", "/api/v1/servers/1", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("POST", "/api/v1/servers/1/collect/", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api/v1/metric-names", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/label/dc/values", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("POST", "/api/v1/label/dc/values", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api/v1/metrics/1", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/query", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/charts/1.png", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/fleet", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/alerts", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/incidents", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/incidents/i1", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("POST", "/api/v1/incidents/i1", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("POST", "/api/v1/alerts", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("POST", "/api/v1/alerts/a1/acknowledge", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("DELETE", "/api/v1/alerts/a1/acknowledge", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("GET", "/api/v1/alerts/a1/acknowledge", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("PATCH", "/api/v1/alerts/a1/acknowledge", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("POST", "/api/v1/alerts/a1/acknowledge/", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api/v1/silences", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("POST", "/api/v1/silences", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("DELETE", "/api/v1/silences", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("HEAD", "/api/v1/silences/1", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("DELETE", "/api/v1/silences/1", [401, 401, 403, 403, 0, 0, 403, 403]),
    ("POST", "/api/v1/silences/1", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api/v1/anomalies", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/live", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("GET", "/api/v1/openapi.json", [401, 401, 0, 403, 0, 0, 0, 0]),
    ("POST", "/api/v1/ingest", [401, 401, 403, 0, 0, 0, 403, 403]),
    ("GET", "/api/v1/ingest", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("PUT", "/api/v1/ingest", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("OPTIONS", "/api/v1/ingest", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api/v1/session", [401, 401, 0, 0, 0, 0, 0, 0]),
    ("POST", "/api/v1/session", [0, 0, 0, 0, 0, 0, 403, 403]),
    ("DELETE", "/api/v1/session", [401, 401, 0, 0, 0, 0, 403, 403]),
    ("PUT", "/api/v1/session", [401, 401, 405, 405, 405, 405, 405, 405]),
    ("GET", "/api", [401, 401, 0, 0, 0, 0, 0, 0]),
    ("GET", "/api/v1/unknown", [401, 401, 0, 0, 0, 0, 0, 0]),
    ("POST", "/api/v1/unknown", [401, 401, 0, 0, 0, 0, 403, 403]),
    ("GET", "/API/v1/servers", [401, 401, 0, 0, 0, 0, 0, 0]),
    ("GET", "/%61pi/v1/servers", [401, 401, 0, 0, 0, 0, 0, 0]),
    ("GET", "/api//v1/servers", [401, 401, 0, 0, 0, 0, 0, 0]),
    ("GET", "/metrics", [0, 0, 0, 0, 0, 0, 0, 0]),
];

#[expect(clippy::unnecessary_wraps, reason = "as authenticate gives it")]
fn caller(role: Role, by_cookie: bool) -> Result<Caller, Stranger> {
    let claims = Claims { name: "x".into(), role, exp: 0, sid: "x".into(), key: None };
    let shown = if by_cookie { Shown::Session(claims) } else { Shown::Key };
    Ok(Caller { name: "x".into(), role, shown })
}

fn asker(who: &str) -> (Result<Caller, Stranger>, HeaderMap) {
    let mut headers = HeaderMap::new();
    let caller = match who {
        "nothing" => Err(Stranger::ShowedNothing),
        "wrong key" => Err(Stranger::WrongKey),
        "viewer" => caller(Role::Viewer, false),
        "writer" => caller(Role::Writer, false),
        "admin" => caller(Role::Admin, false),
        "admin's cookie, own page" => {
            headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
            caller(Role::Admin, true)
        }
        "admin's cookie, foreign page" => {
            headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
            caller(Role::Admin, true)
        }
        _ => caller(Role::Viewer, true),
    };
    (caller, headers)
}

#[test]
fn the_matrix_holds() {
    let mut cases = 0;
    let mut seen: BTreeMap<u16, usize> = BTreeMap::new();
    for (method, path, expected) in TABLE {
        for (who, expected) in WHO.into_iter().zip(expected) {
            let (caller, headers) = asker(who);
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = authorize(Place::of(path), &method, &headers, &caller);
            let status = answer.as_ref().err().map_or(0, |refusal| refusal.problem.status().as_u16());
            assert_eq!(status, expected, "{method} {path} by {who}");
            cases += 1;
            *seen.entry(status).or_default() += 1;
        }
    }
    assert_eq!(cases, 552);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [0, 401, 403, 405]);
}

#[test]
fn a_foreign_page_signs_nobody_in() {
    let mut headers = HeaderMap::new();
    headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    let stranger = Err(Stranger::ShowedNothing);
    let refusal = authorize(Place::Session, &Method::POST, &headers, &stranger).unwrap_err();
    assert_eq!(refusal.problem.code(), "cross_origin");
    // a script sends no such header
    assert!(authorize(Place::Session, &Method::POST, &HeaderMap::new(), &stranger).is_ok());
}

#[test]
fn refusals_say_what_would_be_right() {
    let mut headers = HeaderMap::new();
    let stranger = Err(Stranger::ShowedNothing);
    authorize(Place::Read, &Method::GET, &HeaderMap::new(), &stranger).unwrap_err().write(&mut headers);
    assert!(headers.contains_key(header::WWW_AUTHENTICATE));
    let mut headers = HeaderMap::new();
    let known = caller(Role::Admin, false);
    authorize(Place::Ingest, &Method::GET, &HeaderMap::new(), &known).unwrap_err().write(&mut headers);
    assert_eq!(headers[header::ALLOW], "POST");
    let mut headers = HeaderMap::new();
    authorize(Place::Server, &Method::PUT, &HeaderMap::new(), &known).unwrap_err().write(&mut headers);
    assert_eq!(headers[header::ALLOW], "GET, HEAD, PATCH");
    for (place, allowed) in [
        (Place::Acknowledge, "POST, DELETE"),
        (Place::Silences, "GET, HEAD, POST"),
        (Place::Silence, "GET, HEAD, DELETE"),
    ] {
        let mut headers = HeaderMap::new();
        authorize(place, &Method::PUT, &HeaderMap::new(), &known).unwrap_err().write(&mut headers);
        assert_eq!(headers[header::ALLOW], allowed);
    }
}
