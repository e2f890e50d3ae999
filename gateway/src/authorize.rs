//! Authorize: may he?
//!
//! In: the place a path leads to, the method, and who asks. Out: yes, or the answer that says no. Keeps: everything
//! below `/api` needs a role, whatever it is; a cookie alone changes nothing unless our own page sent it.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tidewatch_service_kit::http::Problem;

use crate::{
    authenticate::{Caller, Shown, Stranger, is_same_origin},
    keys::Role,
    route::Place,
};

/// What a role has to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Read,
    Write,
    /// Say something of a server, ask something of its collector, or do something about alerts.
    Administer,
    /// Any role will do.
    BeKnown,
    /// No role is needed.
    Nothing,
}

impl Role {
    fn has(self, right: Right) -> bool {
        match right {
            Right::Read => matches!(self, Self::Viewer | Self::Admin),
            Right::Write => matches!(self, Self::Writer | Self::Admin),
            Right::Administer => self == Self::Admin,
            Right::BeKnown | Right::Nothing => true,
        }
    }
}

const GET: [Method; 2] = [Method::GET, Method::HEAD];

/// The methods a place has, with the right that each needs.
fn right(place: Place, method: &Method) -> Result<Right, &'static str> {
    let found = match (place, method) {
        (Place::Page | Place::SignIn, m) if GET.contains(m) => Right::Nothing,
        (Place::Session, &Method::POST) | (Place::Nowhere, _) => Right::Nothing,
        (Place::Read | Place::Server | Place::Silences | Place::Silence, m) if GET.contains(m) => Right::Read,
        (Place::Server, &Method::PATCH)
        | (Place::Collect | Place::Silences, &Method::POST)
        | (Place::Acknowledge, &Method::POST | &Method::DELETE)
        | (Place::Silence, &Method::DELETE) => Right::Administer,
        (Place::Ingest, &Method::POST) => Right::Write,
        (Place::Session, m) if GET.contains(m) || m == Method::DELETE => Right::BeKnown,
        (Place::Page | Place::SignIn | Place::Read, _) => return Err("GET, HEAD"),
        (Place::Server, _) => return Err("GET, HEAD, PATCH"),
        (Place::Acknowledge, _) => return Err("POST, DELETE"),
        (Place::Silences, _) => return Err("GET, HEAD, POST"),
        (Place::Silence, _) => return Err("GET, HEAD, DELETE"),
        (Place::Ingest | Place::Collect, _) => return Err("POST"),
        (Place::Session, _) => return Err("GET, HEAD, POST, DELETE"),
        (Place::NowhereInApi, _) => Right::BeKnown,
    };
    Ok(found)
}

/// A refusal, with the methods that would have been allowed where that is the reason.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub problem: Problem,
    pub allow: Option<&'static str>,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None }
    }
}

/// Lets the request on to its place, or says why not.
pub(crate) fn authorize(
    place: Place,
    method: &Method,
    headers: &HeaderMap,
    caller: &Result<Caller, Stranger>,
) -> Result<(), Refusal> {
    // a stranger learns nothing of what there is below /api
    let is_known = match (place.is_in_api(), caller) {
        (true, Err(stranger)) if !(place == Place::Session && method == Method::POST) => {
            return Err(stranger.problem().into());
        }
        (_, caller) => caller.as_ref().ok(),
    };
    let right = right(place, method).map_err(|allow| Refusal {
        problem: Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this path answers {allow}"),
        ),
        allow: Some(allow),
    })?;
    if let Some(caller) = is_known
        && !caller.role.has(right)
    {
        let detail = format!("the role {} may not {method} this", caller.role.as_str());
        return Err(Problem::new(StatusCode::FORBIDDEN, "role_not_allowed", detail).into());
    }
    if !is_own_page(method, headers, is_known) {
        let detail = "a page of another site may not do this with the session of yours";
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail).into());
    }
    Ok(())
}

/// Cross-site requests: with a cookie a changing request has to prove that our page sent it; without one (a key in a
/// header, a sign-in) it is enough that nothing says the contrary.
fn is_own_page(method: &Method, headers: &HeaderMap, caller: Option<&Caller>) -> bool {
    if method.is_safe() {
        return true;
    }
    match caller.map(|caller| &caller.shown) {
        Some(Shown::Key) => true,
        Some(Shown::Session(_)) => is_same_origin(headers) == Some(true),
        None => is_same_origin(headers) != Some(false),
    }
}

impl Refusal {
    /// The headers that belong to a refusal.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if self.problem.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tidewatch\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
    }
}

#[cfg(test)]
mod tests;
