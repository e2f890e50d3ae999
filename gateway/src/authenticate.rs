//! Authenticate: who asks?
//!
//! In: the headers of a request. Out: a [`Caller`] or why there is none. Keeps: one credential is looked at, the most
//! explicit one, so that a wrong key is never saved by a good cookie.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tidewatch_service_kit::http::Problem;

use crate::keys::{KeySet, Role};

mod cookie;
mod failures;

pub(crate) use cookie::{COOKIE, Claims, Sessions, is_same_origin};
pub(crate) use failures::Failures;

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Key,
    /// The cookie, with what it says.
    Session(Claims),
}

/// Somebody we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub name: Arc<str>,
    pub role: Role,
    pub shown: Shown,
}

/// Why somebody is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    ShowedNothing,
    WrongKey,
    ExpiredSession,
}

impl Stranger {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ShowedNothing => "missing_key",
            Self::WrongKey => "wrong_key",
            Self::ExpiredSession => "expired_session",
        }
    }

    pub(crate) fn problem(self) -> Problem {
        let detail = match self {
            Self::ShowedNothing => "send a key as `Authorization: Bearer tw_..`, or sign in",
            Self::WrongKey => "this key is not known here",
            Self::ExpiredSession => "the session is over: sign in again",
        };
        Problem::new(StatusCode::UNAUTHORIZED, self.code(), detail)
    }
}

/// Who asks, by `Authorization`, else `X-Api-Key`, else the cookie. `now` in seconds since 1970.
pub(crate) fn authenticate(
    headers: &HeaderMap,
    keys: &KeySet,
    sessions: &Sessions,
    now: i64,
) -> Result<Caller, Stranger> {
    if headers.contains_key(header::AUTHORIZATION) {
        return by_key(keys, one(headers, header::AUTHORIZATION.as_str()).and_then(bearer));
    }
    if headers.contains_key(API_KEY) {
        return by_key(keys, one(headers, API_KEY));
    }
    let Some(value) = cookie::find(headers) else { return Err(Stranger::ShowedNothing) };
    let claims = sessions.verify(value, now).ok_or(Stranger::ExpiredSession)?;
    // a revoked key takes its sessions with it
    if let Some(id) = &claims.key
        && !keys.still_holds(&claims.name, claims.role, id)
    {
        return Err(Stranger::ExpiredSession);
    }
    Ok(Caller { name: claims.name.as_str().into(), role: claims.role, shown: Shown::Session(claims) })
}

const API_KEY: &str = "x-api-key";

fn by_key(keys: &KeySet, sent: Option<&str>) -> Result<Caller, Stranger> {
    let key = sent.and_then(|key| keys.find(key)).ok_or(Stranger::WrongKey)?;
    Ok(Caller { name: Arc::clone(&key.name), role: key.role, shown: Shown::Key })
}

/// The only value of a header; two of them are nobody's honest request.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().and_then(|value: &HeaderValue| value.to_str().ok());
    if values.next().is_some() { None } else { first }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

#[cfg(test)]
mod tests;
