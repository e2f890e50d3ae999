//! Limit: a token bucket for each client, one for ingest and one for the rest.
//!
//! In: who asks. Out: how much is left, or how long to wait. Keeps: the memory is bounded: full buckets are forgotten,
//! and when too many strangers ask at once those that are new share one bucket.

use std::{net::IpAddr, num::NonZeroU32, str::FromStr, sync::Arc, time::Duration};

use axum::response::{IntoResponse, Response};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::{NoOpMiddleware, StateInformationMiddleware},
    state::keyed::DashMapStateStore,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use tidewatch_service_kit::http::Problem;

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    tokens: NonZeroU32,
    per: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no rate such as 50/s or 3000/m");
        let (tokens, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            _ => return Err(wrong()),
        };
        let tokens = tokens.parse().map_err(|_| wrong())?;
        // a token has to take a measurable time
        if NonZeroU32::get(tokens) > 1_000_000 { Err(wrong()) } else { Ok(Self { tokens, per }) }
    }
}

/// Whose bucket is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Key(Arc<str>),
    /// All browsers signed in with one key.
    Session(Arc<str>),
    Peer(IpAddr),
    /// Strangers beyond what is kept apart.
    Crowd,
}

/// Strangers kept apart at once; about 10 MB.
const MAX_CLIENTS: usize = 100_000;

type Limiter<C> = RateLimiter<Client, DashMapStateStore<Client>, C, StateInformationMiddleware>;

/// The buckets of one policy.
#[derive(Debug)]
pub(crate) struct Buckets<C: Clock = DefaultClock> {
    name: &'static str,
    limiter: Limiter<C>,
    burst: u32,
    token: Duration,
    max_clients: usize,
}

/// How a client stands after a request, or after one that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    policy: &'static str,
    burst: u32,
    /// Seconds in which an empty bucket fills.
    window: u64,
    pub left: u32,
    /// Seconds until it is full again.
    full_in: u64,
    /// `None`: go on; else the seconds to wait for one token.
    pub wait: Option<u64>,
}

impl Buckets {
    pub(crate) fn new(name: &'static str, rate: Rate, burst: NonZeroU32) -> Self {
        Self::with_clock(name, rate, burst, MAX_CLIENTS, DefaultClock::default())
    }
}

impl<C: Clock> Buckets<C> {
    fn with_clock(name: &'static str, rate: Rate, burst: NonZeroU32, max_clients: usize, clock: C) -> Self {
        let token = (rate.per / rate.tokens.get()).max(Duration::from_nanos(1));
        // a period above zero always makes a quota
        let quota = Quota::with_period(token).unwrap_or(Quota::per_second(rate.tokens)).allow_burst(burst);
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<C::Instant>>::new(
            quota,
            DashMapStateStore::default(),
            clock,
        )
        .with_middleware::<StateInformationMiddleware>();
        Self { name, limiter, burst: burst.get(), token, max_clients }
    }

    /// Takes a token of the client's.
    pub(crate) fn take(&self, client: Client) -> Standing {
        let client = match client {
            Client::Peer(_) if self.limiter.len() >= self.max_clients => Client::Crowd,
            kept => kept,
        };
        let (left, wait) = match self.limiter.check_key(&client) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(until) => (0, Some(seconds(until.wait_time_from(self.limiter.clock().now())).max(1))),
        };
        Standing {
            policy: self.name,
            burst: self.burst,
            window: seconds(self.token.saturating_mul(self.burst)),
            left,
            full_in: seconds(self.token.saturating_mul(self.burst - left.min(self.burst))),
            wait,
        }
    }

    /// Forgets the buckets that are full again; asked for every few seconds.
    pub(crate) fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

fn seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1_000) as u64
}

impl Standing {
    /// `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers has them.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let Self { policy, burst, window, left, full_in, .. } = self;
        let fields = [
            ("ratelimit-policy", format!("\"{policy}\";q={burst};w={window}")),
            ("ratelimit", format!("\"{policy}\";r={left};t={full_in}")),
        ];
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }

    pub(crate) fn policy(&self) -> &'static str {
        self.policy
    }

    /// The answer to a client without a token; `None` when it has one.
    pub(crate) fn refusal(&self) -> Option<Response> {
        self.wait.map(too_many)
    }
}

pub(crate) fn too_many(wait: u64) -> Response {
    let detail = format!("too many requests: the next one is welcome in {wait} s");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail).retry_after(wait).into_response()
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn buckets(rate: &str, burst: u32, max: usize) -> (Buckets<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let burst = NonZeroU32::new(burst).unwrap();
        (Buckets::with_clock("default", rate.parse().unwrap(), burst, max, clock.clone()), clock)
    }

    fn key(name: &str) -> Client {
        Client::Key(name.into())
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (buckets, clock) = buckets("2/s", 5, 10);
        for left in (0..5).rev() {
            let standing = buckets.take(key("a"));
            assert_eq!((standing.left, standing.wait), (left, None));
        }
        assert_eq!(buckets.take(key("a")).wait, Some(1));
        clock.advance(Duration::from_millis(499));
        assert!(buckets.take(key("a")).wait.is_some());
        clock.advance(Duration::from_millis(1));
        assert!(buckets.take(key("a")).wait.is_none());
        assert!(buckets.take(key("a")).wait.is_some());
        clock.advance(Duration::from_mins(1));
        assert_eq!(buckets.take(key("a")).left, 4, "a bucket holds no more than its burst");
    }

    #[test]
    fn clients_do_not_take_from_each_other() {
        let (buckets, _) = buckets("1/s", 1, 10);
        let peer = |last| Client::Peer([10, 0, 0, last].into());
        for client in [key("a"), key("b"), Client::Session("a".into()), peer(1), peer(2)] {
            assert!(buckets.take(client.clone()).wait.is_none(), "{client:?}");
            assert!(buckets.take(client.clone()).wait.is_some(), "{client:?}");
        }
    }

    #[test]
    fn the_wait_is_long_enough() {
        let (buckets, clock) = buckets("6/m", 1, 10);
        buckets.take(key("a"));
        let wait = buckets.take(key("a")).wait.unwrap();
        assert_eq!(wait, 10);
        clock.advance(Duration::from_secs(wait));
        assert!(buckets.take(key("a")).wait.is_none());
    }

    #[test]
    fn headers_say_what_is_left() {
        let (buckets, _) = buckets("50/s", 200, 10);
        let mut headers = HeaderMap::new();
        buckets.take(key("a")).write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"default\";q=200;w=4");
        assert_eq!(headers["ratelimit"], "\"default\";r=199;t=1");
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let (buckets, clock) = buckets("1/s", 1, 3);
        let peer = |n: u32| Client::Peer(std::net::Ipv4Addr::from_bits(n).into());
        for n in 0..1_000 {
            buckets.take(peer(n));
        }
        assert!(buckets.limiter.len() <= 4);
        assert!(buckets.take(peer(5_000)).wait.is_some(), "the crowd shares a bucket");
        assert!(buckets.take(key("a")).wait.is_none(), "a key has its own");
        clock.advance(Duration::from_secs(30));
        buckets.tidy();
        assert_eq!(buckets.limiter.len(), 0);
        assert!(buckets.take(peer(5_000)).wait.is_none());
    }

    #[test]
    fn rates_are_read() {
        assert_eq!("3000/m".parse::<Rate>().unwrap().per, Duration::from_mins(1));
        for bad in ["", "5", "5/", "/s", "0/s", "-1/s", "5/h", "5/s/s", "1e3/s", "9999999999/s", "2000000/s"]
        {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
