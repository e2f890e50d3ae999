//! Sessions: a browser exchanges a key, or the one-time code of a link, for a cookie.
//!
//! In: a request that passed the door. Out: who somebody is, or a cookie. Keeps: a code signs one browser in and is
//! then worth nothing; failed sign-ins slow their address down; no answer says which part of a credential was wrong.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;
use tidewatch_schemas::time::rfc3339;
use tidewatch_service_kit::http::Problem;

use crate::{
    Config, Error,
    authenticate::{COOKIE, Caller, Failures, Sessions, Shown, Stranger},
    keys::{self, KeySet, Role},
    limit::too_many,
    metrics::Metrics,
};

/// Whom a sign-in code signs in.
const LOCAL: &str = "local";

/// The largest body of a sign-in, bytes.
const MAX_BODY: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Desk {
    pub sessions: Sessions,
    failures: Failures,
    /// The hash of the code; gone once it was used.
    code: Mutex<Option<[u8; 32]>>,
    secure: bool,
    metrics: Metrics,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    key: String,
}

impl Desk {
    pub(crate) fn new(config: &Config, metrics: Metrics) -> Result<Self, Error> {
        Ok(Self {
            sessions: Sessions::new(config.session_secret.as_ref(), config.session_time)?,
            failures: Failures::default(),
            code: Mutex::new(config.sign_in_code_sha256),
            secure: config.secure_cookies,
            metrics,
        })
    }

    /// `POST`, `GET`, `DELETE /api/v1/session`; all but `POST` by a caller who is known.
    pub(crate) async fn session(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Body,
        from: IpAddr,
        caller: Option<Caller>,
        keys: &KeySet,
    ) -> Response {
        match (method, caller) {
            (&Method::POST, _) => self.sign_in(headers, body, from, keys).await,
            (&Method::DELETE, Some(caller)) => self.sign_out(headers, &caller),
            (_, Some(caller)) => who(&caller),
            // authorize lets nobody else here
            (_, None) => Stranger::ShowedNothing.problem().into_response(),
        }
    }

    async fn sign_in(&self, headers: &HeaderMap, body: Body, from: IpAddr, keys: &KeySet) -> Response {
        if let Some(wait) = self.failures.wait(from, Instant::now()) {
            self.metrics.record_limited("sign-in");
            return too_many(wait);
        }
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            let detail = format!("a sign-in has {MAX_BODY} bytes at most");
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).into_response();
        };
        let Ok(SignIn { key }) = serde_json::from_slice(&body.to_bytes()) else {
            let detail = "the body has to be {\"key\": \"tw_..\"}";
            return Problem::new(StatusCode::BAD_REQUEST, "bad_json", detail).into_response();
        };
        // pasted keys have a line end at times
        let Some(key) = keys.find(key.trim()) else {
            self.failures.note(from, Instant::now());
            self.metrics.record_refused(Stranger::WrongKey.code());
            return Stranger::WrongKey.problem().into_response();
        };
        let cookie = self.begin(headers, &key.name, key.role, Some(key.id()));
        let mut response = Json(json!({"name": &*key.name, "role": key.role.as_str()})).into_response();
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        response
    }

    /// `GET /sign-in?code=..`.
    pub(crate) fn sign_in_by_code(&self, headers: &HeaderMap, query: Option<&str>, from: IpAddr) -> Response {
        if let Some(wait) = self.failures.wait(from, Instant::now()) {
            self.metrics.record_limited("sign-in");
            return too_many(wait);
        }
        let code = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("code="));
        if code.is_some_and(|code| self.use_code(code)) {
            tracing::info!(name = LOCAL, "sign-in code used");
            let cookie = self.begin(headers, LOCAL, Role::Admin, None);
            let mut response = see("/");
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            return response;
        }
        self.failures.note(from, Instant::now());
        self.metrics.record_refused("wrong_code");
        see("/?sign-in=expired")
    }

    /// Whether this is the code and nobody used it before.
    fn use_code(&self, code: &str) -> bool {
        let sent = keys::hash(code);
        let mut kept = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        let good = kept.is_some_and(|kept| bool::from(kept.ct_eq(&sent)));
        if good {
            *kept = None;
        }
        good
    }

    fn begin(&self, headers: &HeaderMap, name: &str, role: Role, key: Option<String>) -> HeaderValue {
        let now = now();
        let (claims, value) = self.sessions.begin(name, role, key, now);
        self.cookie(headers, &value, claims.exp - now)
    }

    fn sign_out(&self, headers: &HeaderMap, caller: &Caller) -> Response {
        if let Shown::Session(claims) = &caller.shown {
            self.sessions.end(claims, now());
        }
        let cookie = self.cookie(headers, "", 0);
        (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
    }

    fn cookie(&self, headers: &HeaderMap, value: &str, seconds: i64) -> HeaderValue {
        // a browser that lies about HTTPS only locks itself out
        let https = headers.get(crate::peer::FORWARDED_PROTO).is_some_and(|proto| proto == "https");
        let secure = if https || self.secure { "; Secure" } else { "" };
        let text = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        // base64 and digits: always a valid header value
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }
}

fn who(caller: &Caller) -> Response {
    let mut body = json!({"name": &*caller.name, "role": caller.role.as_str()});
    if let Shown::Session(claims) = &caller.shown {
        body["expires_at"] = json!(rfc3339(claims.exp.saturating_mul(1_000)));
    }
    Json(body).into_response()
}

fn see(place: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
