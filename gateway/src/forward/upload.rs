//! A request's body on its way to an instance: streamed, counted, and able to tell what became of it.
//!
//! Keeps: all tries of one request share the one body; no more than the cap is ever read of it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::{Body as _, Frame, SizeHint};

/// How a body ended that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    TooLarge,
    /// It broke off or still goes on.
    Unfinished,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("read body of the request: it is too large")]
    TooLarge,
    #[error("read body of the request: {0}")]
    Client(axum::Error),
}

#[derive(Debug)]
struct Shared {
    body: Body,
    left: u64,
    touched: bool,
    ending: Option<Ending>,
}

/// One try's hold of the body.
#[derive(Debug)]
pub(crate) struct Upload(Option<Arc<Mutex<Shared>>>);

impl Upload {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// `None` when the request says itself that it is larger than the cap.
    pub(crate) fn new(body: Body, headers: &HeaderMap, cap: u64) -> Option<Self> {
        let declared =
            headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > cap) {
            return None;
        }
        let ending = (!body.is_end_stream()).then_some(Ending::Unfinished);
        Some(Self(Some(Arc::new(Mutex::new(Shared { body, left: cap, touched: false, ending })))))
    }

    /// The same body, for another try or to ask what became of it.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether any of it was taken.
    pub(crate) fn was_touched(&self) -> bool {
        self.with(|shared| shared.touched).unwrap_or(false)
    }

    /// What is wrong with it, from the client's side; `None` when it arrived whole.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.with(|shared| shared.ending).flatten()
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Shared) -> T) -> Option<T> {
        let shared = self.0.as_ref()?;
        Some(ask(&mut shared.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        self.with(|shared| {
            shared.touched = true;
            let polled = Pin::new(&mut shared.body).poll_frame(cx);
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(left) = shared.left.checked_sub(length) else {
                        shared.ending = Some(Ending::TooLarge);
                        return Poll::Ready(Some(Err(UploadError::TooLarge)));
                    };
                    shared.left = left;
                    if shared.body.is_end_stream() {
                        shared.ending = None;
                    }
                    Poll::Ready(Some(Ok(frame)))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(UploadError::Client(error)))),
                Poll::Ready(None) => {
                    shared.ending = None;
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .unwrap_or(Poll::Ready(None))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|shared| shared.body.is_end_stream()).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|shared| shared.body.size_hint()).unwrap_or(SizeHint::with_exact(0))
    }
}
