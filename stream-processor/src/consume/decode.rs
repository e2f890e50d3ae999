//! From a record of Kafka to what the windows take. In: a record of one of the inputs. Out: a frame as it lies in the
//! record, a window, a tick, or why it is none of them.

use tidewatch_schemas::{
    AggregateFrame, DecodeError, MetricFrame, Reason, decode as general, encode, headers,
};
use tidewatch_service_kit::kafka::{Received, ReceivedHeaders};

use super::inputs::Kind;
use crate::{
    read::{self, FrameView, Framed},
    window::Input,
};

/// What a message turned out to be.
#[derive(Debug)]
pub(super) enum Decoded<'a> {
    Frame(FrameView<'a>),
    Window(Box<AggregateFrame>),
    Tick,
    Unreadable(Reason, String),
}

impl Decoded<'_> {
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Self::Frame(frame) => Input::Frame(*frame),
            Self::Window(window) => Input::Window(window),
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
        Kind::Frames => frame(payload, scratch),
        Kind::Windows => match general::<AggregateFrame>(payload) {
            Ok((window, _)) => Decoded::Window(Box::new(window)),
            Err(error) => unreadable(&error),
        },
    }
}

fn frame<'a>(payload: &'a [u8], scratch: &'a mut Vec<u8>) -> Decoded<'a> {
    let datum = match read::unframe(payload) {
        Ok(Framed::Datum(datum)) => datum,
        Ok(Framed::Other) => match general::<MetricFrame>(payload) {
            Ok((frame, _)) => match encode(&frame) {
                Ok(bytes) => {
                    *scratch = bytes;
                    // behind the mark and the fingerprint
                    &scratch[10..]
                }
                Err(error) => return Decoded::Unreadable(Reason::Undecodable, error.to_string()),
            },
            Err(error) => return unreadable(&error),
        },
        Err(error) => return unreadable(&error),
    };
    match read::head(datum) {
        Ok(frame) => Decoded::Frame(frame),
        Err(error) => Decoded::Unreadable(Reason::Undecodable, error.to_string()),
    }
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
