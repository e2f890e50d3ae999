//! From a record of Kafka to what the windows take. In: a record of one of the inputs. Out: a frame as it lies in the
//! record, a window, a tick, or why it is none of them.

use tidewatch_schemas::{
    AggregateFrame, AvroRecord, DecodeError, MetricFrame, Reason, decode as general, encode, headers,
};
use tidewatch_service_kit::kafka::{Received, ReceivedHeaders};

use super::inputs::Kind;
use crate::{
    read::{self, FrameView, Framed, ReadError, Version, WindowView},
    window::Input,
};

/// What a message turned out to be. Frames and windows lie in the message, or in scratch.
#[derive(Debug)]
pub(super) enum Decoded<'a> {
    Frame(FrameView<'a>),
    Window(WindowView<'a>),
    Tick,
    Unreadable(Reason, String),
}

impl Decoded<'_> {
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Self::Frame(frame) => Input::Frame(*frame),
            Self::Window(window) => Input::Window(*window),
            Self::Tick => Input::Tick,
            Self::Unreadable(reason, _) => Input::Unreadable(*reason),
        }
    }

    /// In words why it is none.
    pub(super) fn unreadable(self) -> Option<String> {
        if let Self::Unreadable(_, why) = self { Some(why) } else { None }
    }
}

/// `scratch` holds the frame where the record's own bytes can't be read in place.
pub(super) fn decode<'a>(kind: Kind, record: Received<'a>, scratch: &'a mut Vec<u8>) -> Decoded<'a> {
    let payload = record.payload.unwrap_or_default();
    if payload.is_empty() && is_tick(record.headers) {
        return Decoded::Tick;
    }
    match kind {
        Kind::Frames => read::<MetricFrame>(payload, scratch, |datum, version| {
            read::head(datum, version).map(Decoded::Frame)
        }),
        Kind::Windows => read::<AggregateFrame>(payload, scratch, |datum, version| {
            read::window(datum, version).map(Decoded::Window)
        }),
    }
}

fn read<'a, T: AvroRecord>(
    payload: &'a [u8],
    scratch: &'a mut Vec<u8>,
    head: impl Fn(&'a [u8], Version) -> Result<Decoded<'a>, ReadError>,
) -> Decoded<'a> {
    let (datum, version) = match read::unframe::<T>(payload) {
        Ok(Framed::Datum(datum, version)) => (datum, version),
        Ok(Framed::Other) => match general::<T>(payload) {
            Ok((record, _)) => match encode(&record) {
                Ok(bytes) => {
                    *scratch = bytes;
                    // behind the mark and the fingerprint
                    (&scratch[10..], Version::Current)
                }
                Err(error) => return Decoded::Unreadable(Reason::Undecodable, error.to_string()),
            },
            Err(error) => return unreadable(&error),
        },
        Err(error) => return unreadable(&error),
    };
    head(datum, version).unwrap_or_else(|error| Decoded::Unreadable(Reason::Undecodable, error.to_string()))
}

fn is_tick(headers: ReceivedHeaders<'_>) -> bool {
    headers.iter().any(|header| header.key == headers::TICK)
}

fn unreadable(error: &DecodeError) -> Decoded<'static> {
    let reason = match error {
        DecodeError::Json(_) => Reason::BadJson,
        DecodeError::UnknownSchema(_) => Reason::UnknownSchema,
        _ => Reason::Undecodable,
    };
    Decoded::Unreadable(reason, error.to_string())
}
