//! From a record of `alerts` to a transition, or to why it is none. Pure.

use std::sync::Arc;

use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};
use tidewatch_schemas::{Alert, DecodeError, Reason, decode, headers};

use crate::ledger::Transition;

/// What a record turned out to be.
#[derive(Debug)]
pub(super) enum Read {
    Transition(Box<Transition>),
    /// Empty: only its offset counts.
    Nothing,
    /// To be a dead letter.
    Bad(Reason, String),
}

/// A longer id is nobody's of ours.
const LONGEST_ID: usize = 256;

pub(super) fn read(message: &BorrowedMessage<'_>) -> Read {
    let Some(payload) = message.payload().filter(|payload| !payload.is_empty()) else { return Read::Nothing };
    let alert = match decode::<Alert>(payload) {
        Ok((alert, _)) => alert,
        Err(error @ DecodeError::UnknownSchema(_)) => {
            return Read::Bad(Reason::UnknownSchema, error.to_string());
        }
        Err(error) => return Read::Bad(Reason::Undecodable, error.to_string()),
    };
    let said = header(message, headers::CE_ID);
    Read::Transition(Box::new(Transition {
        offset: message.offset(),
        stamp: message.timestamp().to_millis().unwrap_or(alert.updated_at),
        id: id_of(&alert, said),
        traceparent: header(message, headers::TRACEPARENT).map(str::to_owned),
        alert: Arc::new(alert),
        key: message.key().map(<[u8]>::to_vec),
        payload: payload.to_vec(),
    }))
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    found.value.and_then(|value| std::str::from_utf8(value).ok())
}

/// The id that the record carries, if it is one of this alert's; else the one it would have.
fn id_of(alert: &Alert, said: Option<&str>) -> String {
    let usual = format!("{}.{}", alert.alert_id, alert.status.as_str());
    let is_good = |id: &&str| {
        let numbered = id.strip_prefix(&usual).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        numbered && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_graphic())
    };
    said.filter(is_good).map_or_else(|| usual.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::firing;

    #[test]
    fn an_id_of_the_record_is_believed_if_it_is_one_of_the_alert() {
        let alert = firing("a1", "web-1");
        for good in ["a1.firing", "a1.firing.2"] {
            assert_eq!(id_of(&alert, Some(good)), good);
        }
        let long = format!("a1.firing.{}", "9".repeat(300));
        for bad in ["", "a2.firing", "a1.resolved", "a1.firings", "a1.firing.\r\nx: y", long.as_str()] {
            assert_eq!(id_of(&alert, Some(bad)), "a1.firing", "{bad}");
        }
        assert_eq!(id_of(&alert, None), "a1.firing");
    }
}
