//! Answers in memory, for two reasons: [`Shared`] so that many who ask the same at once cost one question ([`SharedByKey`] where
//! there are many such questions), [`Kept`] so that the last good answer is still there while PostgreSQL is away.
//!
//! Keeps: both are bounded, and neither gives an answer to another question than the one it was made for.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::format::Format;

/// After a failed try nobody tries again for so long: those who waited for it would fail one after the other.
const RECOVER: Duration = Duration::from_millis(500);

/// One value that is computed at most once at a time and good for a while.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    state: tokio::sync::Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// With the time when it was computed; none: it is good no more.
    value: Option<(Option<Instant>, Arc<T>)>,
    failed: Option<Instant>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { state: tokio::sync::Mutex::new(State { value: None, failed: None }) }
    }
}

impl<T> Shared<T> {
    /// The value, and whether it was there already. `busy` is the error for those who come just after a failure.
    pub(crate) async fn get<E>(
        &self,
        good_for: Duration,
        busy: impl FnOnce() -> E,
        compute: impl Future<Output = Result<T, E>>,
    ) -> Result<(Arc<T>, bool), E> {
        let mut state = self.state.lock().await;
        if let Some((Some(at), value)) = &state.value
            && at.elapsed() < good_for
        {
            return Ok((Arc::clone(value), true));
        }
        if state.failed.is_some_and(|at| at.elapsed() < RECOVER) {
            return Err(busy());
        }
        match compute.await {
            Ok(value) => {
                let value = Arc::new(value);
                *state = State { value: Some((Some(Instant::now()), Arc::clone(&value))), failed: None };
                Ok((value, false))
            }
            Err(error) => {
                state.failed = Some(Instant::now());
                Err(error)
            }
        }
    }

    /// The value is good no more, also one that is being computed; it is still the last.
    pub(crate) async fn outdate(&self) {
        if let Some((at, _)) = &mut self.state.lock().await.value {
            *at = None;
        }
    }

    /// The last value, however old.
    pub(crate) async fn last(&self) -> Option<Arc<T>> {
        self.state.lock().await.value.as_ref().map(|(_, value)| Arc::clone(value))
    }
}

/// Questions that are shared at once.
const QUESTIONS: usize = 32;

/// Shared values by question.
#[derive(Debug)]
pub(crate) struct SharedByKey<T>(Mutex<HashMap<String, Arc<Shared<T>>>>);

impl<T> Default for SharedByKey<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> SharedByKey<T> {
    pub(crate) fn of(&self, key: &str) -> Arc<Shared<T>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= QUESTIONS && !all.contains_key(key) {
            // those that nobody is using right now
            all.retain(|_, shared| Arc::strong_count(shared) > 1);
        }
        Arc::clone(all.entry(key.to_owned()).or_default())
    }
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Redis,
    Postgres,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
        }
    }
}

/// A finished answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    pub(crate) format: Format,
    pub(crate) source: Source,
    /// `Link` header.
    pub(crate) link: Option<String>,
    /// Milliseconds since 1970 of what is known in it; matters when it is given out as stale.
    pub(crate) as_of: i64,
    /// Milliseconds since 1970: the end of the time it speaks of; `None`: it speaks of now.
    pub(crate) ends: Option<i64>,
}

/// The last good answers by question; the one unused for longest goes first.
#[derive(Debug)]
pub(crate) struct Kept {
    entries: usize,
    bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    answers: HashMap<String, (u64, Answer)>,
    bytes: usize,
    clock: u64,
}

impl Kept {
    pub(crate) fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes, inner: Mutex::default() }
    }

    pub(crate) fn put(&self, key: &str, answer: Answer) {
        let size = cost(key, &answer);
        // one answer may take an eighth at most, or a single large query would push out all others
        if size > self.bytes / 8 {
            return;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let clock = inner.clock;
        inner.bytes += size;
        if let Some((_, old)) = inner.answers.insert(key.to_owned(), (clock, answer)) {
            inner.bytes -= cost(key, &old);
        }
        while inner.answers.len() > self.entries || inner.bytes > self.bytes {
            let oldest = inner.answers.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            if let Some((_, answer)) = inner.answers.remove(&oldest) {
                inner.bytes -= cost(&oldest, &answer);
            }
        }
    }

    /// Lets go of the answers to some questions.
    pub(crate) fn forget(&self, of: impl Fn(&str) -> bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        inner.answers.retain(|key, (_, answer)| {
            let stays = !of(key);
            freed += if stays { 0 } else { cost(key, answer) };
            stays
        });
        inner.bytes -= freed;
    }

    pub(crate) fn get(&self, key: &str) -> Option<Answer> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let clock = inner.clock;
        let (used, answer) = inner.answers.get_mut(key)?;
        *used = clock;
        Some(answer.clone())
    }
}

fn cost(key: &str, answer: &Answer) -> usize {
    key.len() + answer.body.len() + answer.link.as_ref().map_or(0, String::len) + 128
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn answer(size: usize) -> Answer {
        Answer {
            body: Bytes::from(vec![0; size]),
            format: Format::Json,
            source: Source::Redis,
            link: None,
            as_of: 0,
            ends: None,
        }
    }

    proptest! {
        #[test]
        fn the_kept_answers_stay_within_their_bounds(puts in prop::collection::vec((0_u8..40, 0_usize..3_000), 0..200)) {
            let kept = Kept::new(8, 20_000);
            for (key, size) in puts {
                kept.put(&key.to_string(), answer(size));
                let inner = kept.inner.lock().expect("lock");
                let real: usize = inner.answers.iter().map(|(k, (_, a))| cost(k, a)).sum();
                prop_assert_eq!(real, inner.bytes);
                prop_assert!(real <= 20_000 && inner.answers.len() <= 8);
            }
        }
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let kept = Kept::new(8, 20_000);
        for key in ["servers a", "servers b", "query"] {
            kept.put(key, answer(100));
        }
        kept.forget(|key| key.starts_with("servers"));
        assert!(kept.get("servers a").is_none() && kept.get("query").is_some());
        assert_eq!(kept.inner.lock().expect("lock").bytes, cost("query", &answer(100)));
    }

    #[tokio::test]
    async fn what_is_outdated_is_computed_again_and_is_the_last_until_then() {
        let shared = Shared::default();
        let ask = |value| shared.get(Duration::from_mins(1), || "busy", async move { Ok(value) });
        assert_eq!(ask(1).await.map(|(value, there)| (*value, there)), Ok((1, false)));
        shared.outdate().await;
        assert_eq!(shared.last().await.as_deref(), Some(&1));
        assert_eq!(ask(2).await.map(|(value, there)| (*value, there)), Ok((2, false)));
        assert_eq!(ask(3).await.map(|(value, there)| (*value, there)), Ok((2, true)));
    }

    #[test]
    fn what_was_used_last_stays() {
        let kept = Kept::new(2, 20_000);
        kept.put("a", answer(1));
        kept.put("b", answer(1));
        assert!(kept.get("a").is_some());
        kept.put("c", answer(1));
        assert!(kept.get("a").is_some() && kept.get("b").is_none());
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_question() {
        let (shared, asked) = (Shared::default(), AtomicUsize::new(0));
        let ask = || {
            shared.get(Duration::from_mins(1), || "busy", async {
                tokio::task::yield_now().await;
                asked.fetch_add(1, Ordering::SeqCst);
                Ok(7)
            })
        };
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!(
            [a, b, c].map(|r| r.map(|(v, there)| (*v, there))),
            [Ok((7, false)), Ok((7, true)), Ok((7, true))]
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn those_who_waited_for_a_failure_do_not_repeat_it() {
        let shared = Shared::<u8>::default();
        let first = shared.get(Duration::from_mins(1), || "busy", async { Err("away") }).await;
        let second = shared.get(Duration::from_mins(1), || "busy", async { Err("away") }).await;
        assert_eq!((first.err(), second.err()), (Some("away"), Some("busy")));
    }
}
