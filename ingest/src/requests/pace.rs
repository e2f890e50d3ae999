//! What becomes of a request to collect. Pure: requests and times in, decisions out.
//!
//! Keeps: however many ask, a host is not collected twice within a second; who asks in between is answered by its neighbour.

use std::time::{Duration, Instant};

use tidewatch_schemas::CollectRequest;

use crate::metrics::Outcome;

/// Requests older than that are ignored: nobody waits for them any more.
const MAX_AGE_MS: i64 = 30_000;

/// The least time between a collection that was asked for and its neighbours: rates over less say little.
const APART: Duration = Duration::from_secs(1);

/// Whether a request that is read at `now` is one to collect `server`; otherwise what becomes of it. One that is ahead of our clock
/// is as good as new.
pub(super) fn judge(request: &CollectRequest, server: &str, now: i64) -> Result<(), Outcome> {
    if request.server != server {
        return Err(Outcome::Other);
    }
    if now.saturating_sub(request.requested_at) > MAX_AGE_MS {
        return Err(Outcome::Expired);
    }
    Ok(())
}

/// Which requests make a collection of their own.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the last collection ended, asked for or not.
    ended: Option<Instant>,
}

impl Pace {
    /// Whether a request that is heard at `now` needs a collection of its own. What came while one was under way is heard when
    /// it ends.
    pub(crate) fn needs(&self, now: Instant, tick: Instant) -> bool {
        let is_apart = |before: Instant, after: Instant| after.saturating_duration_since(before) >= APART;
        is_apart(now, tick) && self.ended.is_none_or(|ended| is_apart(ended, now))
    }

    pub(crate) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000_000;

    fn request(server: &str, requested_at: i64) -> CollectRequest {
        CollectRequest { id: String::new(), server: server.into(), requested_at, requested_by: String::new() }
    }

    #[test]
    fn only_young_requests_for_this_host_are_for_us() {
        for (server, requested_at, expected) in [
            ("a", NOW, Ok(())),
            ("a", NOW - MAX_AGE_MS, Ok(())),
            ("a", NOW + 60_000, Ok(())),
            ("a", NOW - MAX_AGE_MS - 1, Err(Outcome::Expired)),
            ("a", i64::MIN, Err(Outcome::Expired)),
            ("b", NOW, Err(Outcome::Other)),
            ("A", NOW, Err(Outcome::Other)),
            ("", 0, Err(Outcome::Other)),
        ] {
            assert_eq!(judge(&request(server, requested_at), "a", NOW), expected, "{server} {requested_at}");
        }
    }

    #[test]
    fn requests_of_one_second_are_one() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let tick = at(60_000);
        assert!(pace.needs(at(0), tick), "nothing was collected yet");
        // it took 300 ms, in which others came: they are heard at its end
        pace.ended(at(300));
        assert!(!pace.needs(at(300), tick));
        assert!(!pace.needs(at(1_299), tick));
        assert!(pace.needs(at(1_300), tick));
        pace.ended(at(1_310));
        assert!(!pace.needs(at(1_400), tick));
    }

    #[test]
    fn a_tick_within_a_second_answers_it() {
        let (now, pace) = (Instant::now(), Pace::default());
        assert!(!pace.needs(now, now + Duration::from_millis(999)));
        assert!(!pace.needs(now + APART, now), "it is due");
        assert!(pace.needs(now, now + APART));
    }

    #[test]
    fn a_storm_of_requests_makes_one_collection_a_second() {
        let (start, mut pace, mut collected) = (Instant::now(), Pace::default(), 0);
        for ms in (0..10_000).step_by(7) {
            let now = start + Duration::from_millis(ms);
            if pace.needs(now, start + Duration::from_mins(1)) {
                collected += 1;
                pace.ended(now);
            }
        }
        assert_eq!(collected, 10);
    }
}
