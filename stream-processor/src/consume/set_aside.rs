//! Records that go out as they came in, with the next commit: late ones, and those that can't be counted.

use rdkafka::message::{Header, OwnedHeaders};
use tidewatch_schemas::{Reason, headers};
use tidewatch_service_kit::kafka::{Original, Received, ReceivedHeaders};

use super::Session;
use crate::encode::MAX_RECORD;

/// Bytes that the headers of a record that is set aside may take.
const HEADERS: usize = 10_000;

impl Session<'_> {
    /// A late frame goes to its topic; a late window is counted as a delta, and there is nothing to keep.
    pub(super) fn set_aside_late(&mut self, record: &Received<'_>, input: usize) {
        if input > 0 {
            return;
        }
        let reason = if self.config.late_backfill { headers::BACKFILLED } else { Reason::Late.code() };
        let header = Header { key: headers::LATE_REASON, value: Some(reason) };
        let size = |headers: ReceivedHeaders<'_>| {
            headers.iter().map(|h| h.key.len() + h.value.map_or(0, <[u8]>::len)).sum::<usize>()
        };
        let small = Some(record.headers).filter(|headers| size(*headers) < HEADERS / 2);
        let headers = small.map_or_else(OwnedHeaders::new, ReceivedHeaders::to_owned).insert(header);
        self.set_aside(input, Original::of(*record, self.topics.late(), headers));
    }

    pub(super) fn set_aside(&mut self, input: usize, mut original: Original) {
        let key = original.key.as_ref().map_or(0, Vec::len);
        if original.payload.len() + key + HEADERS > MAX_RECORD {
            // would end every session from here on: what is left says that there was one, and a dead letter's headers where
            original.payload.clear();
            original.key = original.key.filter(|_| key + HEADERS <= MAX_RECORD);
        }
        self.originals_size += original.payload.len() + 256;
        self.originals.push((input, original));
    }
}
