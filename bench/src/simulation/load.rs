//! What a server does in a window if nothing goes wrong: a daily cycle of its own, noise, bursts of minutes that are
//! habitual here, a file system that fills up and is cleaned once a day.

use super::{Chance, WINDOWS_A_DAY};

const MINUTE: i64 = 6;
/// A burst may come once in this time.
const BURST_EVERY: i64 = 30 * MINUTE;
/// What is written goes to the disk in one go, every five minutes.
const FLUSH_EVERY: i64 = 5 * MINUTE;

// streams of a server's chance
const OWN: u64 = 0;
const BURST: u64 = 1;
const CPU: u64 = 2;
const MEMORY: u64 = 3;
const NETWORK: u64 = 4;
const WRITES: u64 = 5;

/// What a server does in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Share of the processors that is busy.
    pub cpu: f64,
    /// Share of the memory that is used.
    pub memory: f64,
    /// Share of the file system that is used.
    pub disk: f64,
    /// Bytes a second, both ways.
    pub network: f64,
    /// Bytes a second to the disk.
    pub writes: f64,
    /// Share of the time in which something waits for the disk.
    pub waiting: f64,
}

/// What kind of server it is; drawn once.
#[derive(Debug, Clone)]
pub struct Nature {
    chance: Chance,
    /// When its day begins, in days after midnight: most servers of a fleet have the same users.
    phase: f64,
    idle: f64,
    swing: f64,
    memory: f64,
    disk: f64,
    network: f64,
    writes: f64,
    /// The chance of a burst in `BURST_EVERY`.
    restless: f64,
    flush: i64,
    /// When the file system is cleaned.
    cleaned: i64,
}

impl Nature {
    pub fn new(chance: Chance) -> Self {
        let own = chance.of(OWN);
        Self {
            chance,
            phase: own.between(0, -0.05, 0.05),
            idle: own.between(1, 0.04, 0.3),
            swing: own.between(2, 0.02, 0.3),
            memory: own.between(3, 0.25, 0.75),
            disk: own.between(4, 0.15, 0.7),
            network: own.between(5, 1e6, 3e7),
            writes: own.between(6, 1e5, 5e6),
            restless: own.between(7, 0.02, 0.3),
            flush: own.between(8, 0.0, FLUSH_EVERY as f64) as i64,
            cleaned: own.between(9, 0.0, WINDOWS_A_DAY as f64) as i64,
        }
    }

    /// What a server of this nature does in a window.
    pub fn load(&self, window: i64) -> Load {
        let day = window.rem_euclid(WINDOWS_A_DAY) as f64 / WINDOWS_A_DAY as f64 + self.phase;
        let day = 0.5 - 0.5 * (day * std::f64::consts::TAU).cos();
        let burst = self.burst(window);
        let (cpu, memory) = (self.chance.of(CPU), self.chance.of(MEMORY));
        let (network, writes) = (self.chance.of(NETWORK), self.chance.of(WRITES));
        let busy =
            self.idle + self.swing * day + 0.03 * cpu.wander(window, 2 * MINUTE) + 0.01 * cpu.normal(window);
        let used = self.memory + 0.03 * day + 0.015 * memory.wander(window, 60 * MINUTE);
        let talk =
            (0.3 + day) * (1.0 + 0.25 * network.wander(window, MINUTE) + 0.08 * network.normal(window));
        let flush = if window.rem_euclid(FLUSH_EVERY) == self.flush { 2.0 } else { 0.0 };
        let written = (0.6 + 0.4 * day) * (1.0 + 0.25 * writes.normal(window) + flush + 2.0 * burst);
        let since_cleaned = (window - self.cleaned).rem_euclid(WINDOWS_A_DAY) as f64 / WINDOWS_A_DAY as f64;
        Load {
            cpu: (busy + 0.15 * burst).clamp(0.005, 0.92),
            memory: used + 0.001 * memory.normal(window),
            disk: self.disk + 0.03 * since_cleaned,
            network: self.network * talk.max(0.05) * (1.0 + 1.5 * burst),
            writes: self.writes * written.max(0.05),
            waiting: 0.004 + 0.01 * written.max(0.0),
        }
    }

    /// How strong a burst is on; 0 most of the time.
    fn burst(&self, window: i64) -> f64 {
        let cell = window.div_euclid(BURST_EVERY);
        let drawn = self.chance.of(BURST);
        if drawn.uniform(cell) >= self.restless {
            return 0.0;
        }
        let begin = drawn.of(1).between(cell, 0.0, (BURST_EVERY - 3 * MINUTE) as f64) as i64;
        let length = drawn.of(2).between(cell, 3.0, (3 * MINUTE) as f64) as i64;
        let place = window.rem_euclid(BURST_EVERY);
        if (begin..begin + length).contains(&place) { drawn.of(3).between(cell, 0.3, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_days_bursts_and_limits() {
        let (mut bursts, mut daily) = (0, 0);
        for number in 0..40 {
            let nature = Nature::new(Chance::new(1).of(number));
            let mean =
                |from: i64| (from..from + 360).map(|window| nature.load(window).network).sum::<f64>() / 360.0;
            // the hour around noon against the one after midnight
            daily += u32::from(mean(WINDOWS_A_DAY / 2) > 1.5 * mean(0));
            for window in 0..WINDOWS_A_DAY {
                let load = nature.load(window);
                bursts += u32::from(nature.burst(window) > 0.0);
                assert!((0.0..1.0).contains(&load.cpu) && (0.0..0.95).contains(&load.memory), "{load:?}");
                assert!(
                    (0.0..0.9).contains(&load.disk) && load.network > 0.0 && load.writes > 0.0,
                    "{load:?}"
                );
            }
        }
        assert_eq!(daily, 40);
        assert!((1_000..40_000).contains(&bursts), "{bursts}");
    }

    #[test]
    fn a_load_depends_on_seed_and_window_alone() {
        let load = |seed, window| Nature::new(Chance::new(seed).of(5)).load(window);
        assert_eq!(load(1, 77), load(1, 77));
        assert_ne!(load(1, 77), load(2, 77));
        assert_ne!(load(1, 77), load(1, 78));
    }
}
