//! A request to collect a server at once, as JSON on `collect.requests` (key = server).
//!
//! Invariant: members are only ever added, and whoever reads passes over those that it does not know.

use serde::{Deserialize, Serialize};

/// Somebody wants to see a server now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectRequest {
    /// For the logs: the id of the HTTP request that it came with.
    #[serde(default)]
    pub id: String,
    pub server: String,
    /// Milliseconds since 1970 UTC.
    pub requested_at: i64,
    /// The name of the key.
    #[serde(default)]
    pub requested_by: String,
}

impl CollectRequest {
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    pub fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = CollectRequest {
            id: "0123456789abcdef".into(),
            server: "web \"1\"".into(),
            requested_at: 1_795_000_000_123,
            requested_by: "admin".into(),
        };
        assert_eq!(CollectRequest::decode(&request.encode().unwrap()).unwrap(), request);
    }

    #[test]
    fn whom_and_when_is_enough_and_what_is_new_is_passed_over() {
        let read = CollectRequest::decode(br#"{"server": "a", "requested_at": 7, "why": [1]}"#).unwrap();
        assert_eq!((read.server.as_str(), read.requested_at, read.id.as_str()), ("a", 7, ""));
        for bad in ["", "7", "[]", "{\"server\": \"a\"}", "{\"server\": 1, \"requested_at\": 7}", "\u{0}"] {
            assert!(CollectRequest::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
