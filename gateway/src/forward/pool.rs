//! The instances of one service and whose turn it is.
//!
//! Keeps: names are looked up again and again, so that an instance that comes takes part and one that goes is
//! forgotten, its breaker and gauges with it; a health that changes is said once.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::IntGaugeVec;
use tidewatch_service_kit::Breaker;

use crate::metrics::Metrics;

/// The longest time for which a breaker stays open.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

#[derive(Debug)]
pub(crate) struct Instance {
    pub address: SocketAddr,
    pub breaker: Breaker,
    health: AtomicU8,
    /// As the breaker's gauge calls it.
    label: String,
}

impl Instance {
    /// Until it was checked it gets the benefit of the doubt.
    fn may_live(&self) -> bool {
        self.health.load(Ordering::Acquire) != DOWN
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    name: &'static str,
    upstreams: Vec<String>,
    instances: RwLock<Arc<Vec<Arc<Instance>>>>,
    turn: AtomicUsize,
    /// A name could not be looked up; said once.
    lost: AtomicBool,
    breaker_failures: u32,
    breakers: IntGaugeVec,
    metrics: Metrics,
}

impl Pool {
    pub(crate) fn new(
        name: &'static str,
        upstreams: &[String],
        breaker_failures: u32,
        breakers: IntGaugeVec,
        metrics: Metrics,
    ) -> Self {
        let pool = Self {
            name,
            upstreams: upstreams.to_vec(),
            instances: RwLock::default(),
            turn: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            breaker_failures,
            breakers,
            metrics,
        };
        // addresses need no looking up: they take part at once
        pool.set(upstreams.iter().filter_map(|upstream| upstream.parse().ok()).collect());
        pool
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn instances(&self) -> Arc<Vec<Arc<Instance>>> {
        Arc::clone(&self.instances.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those that may live, each once, beginning with the one whose turn it is.
    pub(crate) fn in_turn(&self) -> Vec<Arc<Instance>> {
        let mut alive: Vec<_> = self.instances().iter().filter(|one| one.may_live()).cloned().collect();
        if !alive.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % alive.len();
            alive.rotate_left(turn);
        }
        alive
    }

    /// Looks the names up. One that cannot be is as it was.
    pub(crate) async fn look_up(&self) {
        let mut found = Vec::new();
        for upstream in &self.upstreams {
            if let Ok(address) = upstream.parse() {
                found.push(address);
                continue;
            }
            match tokio::net::lookup_host(upstream).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    if !self.lost.swap(true, Ordering::AcqRel) {
                        tracing::warn!(service = self.name, upstream, %error, "look up instances");
                    }
                    return;
                }
            }
        }
        if self.lost.swap(false, Ordering::AcqRel) {
            tracing::info!(service = self.name, "instances are found again");
        }
        self.set(found);
    }

    /// These are the instances now; those that were keep their state.
    fn set(&self, mut addresses: Vec<SocketAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let before = self.instances();
        if before.iter().map(|one| one.address).eq(addresses.iter().copied()) {
            return;
        }
        for gone in before.iter().filter(|one| !addresses.contains(&one.address)) {
            self.metrics.forget_instance(self.name, &gone.address.to_string());
            // made together with the instance
            let _ = self.breakers.remove_label_values(&["gateway", &gone.label]);
        }
        let now = addresses.into_iter().map(|address| {
            before
                .iter()
                .find(|one| one.address == address)
                .cloned()
                .unwrap_or_else(|| Arc::new(self.make(address)))
        });
        let now = Arc::new(now.collect());
        *self.instances.write().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn make(&self, address: SocketAddr) -> Instance {
        let label = format!("{} {address}", self.name);
        let breaker = Breaker::new(&self.breakers, "gateway", &label, self.breaker_failures, LONGEST_PAUSE);
        Instance { address, breaker, health: AtomicU8::new(UNKNOWN), label }
    }

    /// Notes what a check found and says what changed. While we stop, others do too: that is no surprise.
    pub(crate) fn note(&self, instance: &Instance, up: bool, stopping: bool) {
        let address = instance.address;
        let before = instance.health.swap(if up { UP } else { DOWN }, Ordering::AcqRel);
        self.metrics.record_up(self.name, &address.to_string(), up);
        match (before, up) {
            (UP, false) if !stopping => {
                tracing::warn!(service = self.name, %address, "instance is away");
            }
            (UNKNOWN, false) => tracing::info!(service = self.name, %address, "instance is not there yet"),
            (DOWN, true) => tracing::info!(service = self.name, %address, "instance is there"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tidewatch_service_kit::breaker;

    use super::*;

    fn pool(upstreams: &[&str]) -> (Pool, tidewatch_service_kit::Metrics) {
        let metrics = tidewatch_service_kit::Metrics::default();
        let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let gauges = breaker::gauges(&metrics);
        (Pool::new("test", &upstreams, 2, gauges, Metrics::new(&metrics)), metrics)
    }

    fn ports(pool: &Pool) -> Vec<u16> {
        pool.in_turn().iter().map(|one| one.address.port()).collect()
    }

    #[test]
    fn each_has_its_turn_and_the_dead_none() {
        let (pool, _) = pool(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let firsts: Vec<u16> = (0..6).map(|_| ports(&pool)[0]).collect();
        assert_eq!(firsts, [1, 2, 3, 1, 2, 3]);
        pool.note(&pool.instances()[1], false, false);
        for _ in 0..4 {
            assert!(!ports(&pool).contains(&2));
        }
        pool.note(&pool.instances()[1], true, false);
        assert!(ports(&pool).contains(&2));
        for one in pool.instances().iter() {
            pool.note(one, false, false);
        }
        assert!(ports(&pool).is_empty());
    }

    #[tokio::test]
    async fn who_comes_takes_part_and_who_goes_is_forgotten() {
        let (pool, metrics) = pool(&["127.0.0.1:1"]);
        pool.note(&pool.instances()[0], false, false);
        pool.set(vec![([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into(), ([127, 0, 0, 1], 2).into()]);
        assert_eq!(ports(&pool), [2], "what is known of an instance stays");
        pool.note(&pool.instances()[1], true, false);
        assert!(metrics.encode().contains("127.0.0.1:2"));
        pool.look_up().await;
        assert_eq!(pool.instances().len(), 1);
        assert!(!metrics.encode().contains("127.0.0.1:2"), "{}", metrics.encode());
    }

    #[tokio::test]
    async fn a_name_stands_for_its_addresses() {
        let (pool, _) = pool(&["localhost:7"]);
        assert!(pool.instances().is_empty());
        pool.look_up().await;
        assert!(pool.instances().iter().any(|one| one.address == ([127, 0, 0, 1], 7).into()));
    }
}
