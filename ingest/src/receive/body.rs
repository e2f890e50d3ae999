//! A request's body, read within limits: its own size, the time it takes, and the bytes of all requests together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{extract::Request, http::header};
use http_body_util::BodyExt;

use crate::metrics::Metrics;

/// A sender that drips its body holds memory for this long at most.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("a body with a content encoding is not read; send plain JSON")]
    Encoded,
    #[error("the body ended early")]
    Broken,
    #[error("the body did not arrive within {BODY_TIMEOUT:?}")]
    Slow,
    #[error("too much waits for kafka already")]
    Full,
}

/// Bytes that all requests may hold together.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    held: Arc<AtomicUsize>,
    most: usize,
    metrics: Metrics,
}

impl Budget {
    pub(super) fn new(most: usize, metrics: Metrics) -> Self {
        Self { held: Arc::default(), most, metrics }
    }

    fn hold(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

/// One request's part of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let all = self.budget.held.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.bytes += bytes;
        self.budget.metrics.record_queue(all);
        // what was taken too much goes back with the drop that follows
        if all > self.budget.most { Err(BodyError::Full) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.budget.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.metrics.record_queue(before - self.bytes);
    }
}

/// Reads the body as it arrives, charging each piece to the budget before keeping it.
pub(super) async fn read(
    request: Request,
    most: usize,
    budget: &Budget,
) -> Result<(Vec<u8>, Held), BodyError> {
    let headers = request.headers();
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(BodyError::Encoded);
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > most) {
        return Err(BodyError::TooLarge(most));
    }
    let mut held = budget.hold();
    let mut bytes = Vec::new();
    let mut body = request.into_body();
    let pieces = async {
        while let Some(piece) = body.frame().await {
            let Ok(piece) = piece.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            if bytes.len() + piece.len() > most {
                return Err(BodyError::TooLarge(most));
            }
            held.grow(piece.len())?;
            bytes.extend_from_slice(&piece);
        }
        Ok(())
    };
    tokio::time::timeout(BODY_TIMEOUT, pieces).await.map_err(|_| BodyError::Slow)??;
    Ok((bytes, held))
}
