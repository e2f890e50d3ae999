//! The cookie of a signed-in browser: what it says, signed with HMAC-SHA256 (RFC 2104).
//!
//! Keeps: a cookie is believed only when its signature is ours, its time is not over and nobody signed out with it; all
//! instances that share the secret read each other's.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tidewatch_service_kit::Secret;

use crate::keys::{Role, hex};

pub(crate) const COOKIE: &str = "tidewatch_session";

/// Signed along with the payload, so that a signature of ours is good for nothing else.
const PURPOSE: &[u8] = b"tidewatch session 1\n";

/// A longer cookie is not ours.
const MAX_COOKIE: usize = 1_024;

/// Sign-outs remembered at once; each is forgotten when its session would have ended.
const MAX_SIGNED_OUT: usize = 100_000;

/// What a session is, as the cookie carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub name: String,
    pub role: Role,
    /// When it ends, seconds since 1970.
    pub exp: i64,
    /// Its own name, for signing out.
    pub sid: String,
    /// Which key it came from; none for a sign-in code.
    pub key: Option<String>,
}

/// Makes and reads cookies.
pub(crate) struct Sessions {
    mac: Hmac<Sha256>,
    time: Duration,
    signed_out: Mutex<HashMap<String, i64>>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("time", &self.time).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Without a secret a random one, that no other instance and no later start knows.
    pub(crate) fn new(secret: Option<&Secret>, time: Duration) -> Result<Self, crate::Error> {
        let random: [u8; 32] = rand::random();
        let secret = secret.map_or(random.as_slice(), |secret| secret.reveal().as_bytes());
        let mac = Hmac::new_from_slice(secret).map_err(|_| crate::Error::SessionSecret)?;
        Ok(Self { mac, time, signed_out: Mutex::default() })
    }

    /// A new session and its cookie's value.
    pub(crate) fn begin(&self, name: &str, role: Role, key: Option<String>, now: i64) -> (Claims, String) {
        let exp = now.saturating_add(self.time.as_secs() as i64);
        let sid = hex(&rand::random::<[u8; 16]>());
        let claims = Claims { name: name.to_owned(), role, exp, sid, key };
        let value = self.sign(&claims);
        (claims, value)
    }

    fn sign(&self, claims: &Claims) -> String {
        // a struct of strings and numbers always has a JSON form
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap_or_default());
        let mac = self.mac_of(&payload).finalize().into_bytes();
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    fn mac_of(&self, payload: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(PURPOSE);
        mac.update(payload.as_bytes());
        mac
    }

    /// What a cookie says, if it is to be believed at `now`.
    pub(crate) fn verify(&self, value: &str, now: i64) -> Option<Claims> {
        if value.len() > MAX_COOKIE {
            return None;
        }
        let (payload, mac) = value.split_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        // constant time; nothing of the payload is read before
        self.mac_of(payload).verify_slice(&mac).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        let signed_out = self.signed_out.lock().unwrap_or_else(PoisonError::into_inner);
        (claims.exp > now && !signed_out.contains_key(&claims.sid)).then_some(claims)
    }

    /// The session is over, whoever still has its cookie.
    pub(crate) fn end(&self, claims: &Claims, now: i64) {
        let mut signed_out = self.signed_out.lock().unwrap_or_else(PoisonError::into_inner);
        if signed_out.len() >= MAX_SIGNED_OUT {
            signed_out.retain(|_, exp| *exp > now);
        }
        if signed_out.len() < MAX_SIGNED_OUT {
            signed_out.insert(claims.sid.clone(), claims.exp);
        }
    }
}

/// The session cookie's value, if one came.
pub(super) fn find(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// Whether a browser sent this from one of our own pages: `Sec-Fetch-Site`, and `Origin` for browsers without it. A
/// request that says neither is no browser's.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> Option<bool> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        return Some(site == "same-origin");
    }
    let origin = text(header::ORIGIN.as_str())?;
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let host = text(header::HOST.as_str());
    Some(authority.is_some() && authority == host)
}
