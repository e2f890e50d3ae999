//! Failed sign-ins of each address: after ten, one further try every six seconds.
//!
//! Keeps: a good sign-in costs nothing; the memory is bounded: when it is full, new addresses share one count.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Failures that an address has free.
const FREE: u32 = 10;
/// After so long one failure is forgotten.
const FORGET: Duration = Duration::from_secs(6);
const MAX_ADDRESSES: usize = 10_000;
/// Stands for all addresses when there are too many.
const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Counts as if each failure put off the time at which all is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    forgotten_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Failures {
    /// Seconds that this address has to wait before it may try again; `None`: go on.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let known = self.forgotten_at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known
            .get(&address)
            .or_else(|| if known.len() < MAX_ADDRESSES { None } else { known.get(&CROWD) })?;
        let too_long = at.saturating_duration_since(now).checked_sub(FORGET * (FREE - 1))?;
        (!too_long.is_zero()).then(|| too_long.as_millis().div_ceil(1_000) as u64)
    }

    /// Notes a failure.
    pub(crate) fn note(&self, address: IpAddr, now: Instant) {
        let mut known = self.forgotten_at.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_ADDRESSES && !known.contains_key(&address) {
            known.retain(|_, at| *at > now);
        }
        let address =
            if known.len() >= MAX_ADDRESSES && !known.contains_key(&address) { CROWD } else { address };
        let at = known.entry(address).or_insert(now);
        *at = (*at).max(now) + FORGET;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn ten_are_free_then_one_every_six_seconds() {
        let (failures, start) = (Failures::default(), Instant::now());
        for n in 0..10 {
            assert_eq!(failures.wait(address(1), start), None, "{n}");
            failures.note(address(1), start);
        }
        assert_eq!(failures.wait(address(1), start), Some(6));
        assert_eq!(failures.wait(address(2), start), None);
        let later = start + Duration::from_secs(6);
        assert_eq!(failures.wait(address(1), later), None);
        failures.note(address(1), later);
        assert_eq!(failures.wait(address(1), later), Some(6));
        assert_eq!(failures.wait(address(1), later + Duration::from_mins(1)), None);
    }

    #[test]
    fn many_addresses_share_one_count() {
        let (failures, start) = (Failures::default(), Instant::now());
        for n in 1..20_000 {
            failures.note(address(n), start);
        }
        assert!(failures.forgotten_at.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        assert!(failures.wait(address(40_000), start).is_some());
        let later = start + Duration::from_secs(100_000);
        failures.note(address(40_000), later);
        assert!(failures.forgotten_at.lock().unwrap().len() <= 2);
    }
}
