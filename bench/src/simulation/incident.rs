//! What goes wrong: of which kind, on which servers, when.
//!
//! In: a seed and the size of the fleet. Out: a plan with as many incidents of each kind. Invariant: a server is in one
//! incident at most, so an alert belongs to one incident or to none.

use std::{ops::Range, sync::Arc};

use super::{Chance, Load};
use crate::Result;

const MINUTE: i64 = 6;
const HOUR: i64 = 60 * MINUTE;
/// Calm time that the plan leaves at the end, so that every incident's aftermath is seen.
const TAIL: i64 = 30 * MINUTE;

// streams of the plan's chance
const ORDER: u64 = 1;
const START: u64 = 2;
const LENGTH: u64 = 3;
const SIZE: u64 = 4;
const SHAKE: u64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The processors are busy for some minutes.
    Spike,
    /// Traffic and processors go to another level and stay there for hours.
    LevelShift,
    /// Memory grows until there is none left.
    Leak,
    /// What measures processors and network says the same again and again.
    FlatLine,
    /// The server says nothing.
    Silence,
    /// The same mean, much more scatter.
    NoiseBurst,
    /// Processors and traffic grow for hours, by less than a day's swing.
    SlowDrift,
    /// Many servers wait for what they share, and do less.
    Correlated,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Spike,
        Self::LevelShift,
        Self::Leak,
        Self::FlatLine,
        Self::Silence,
        Self::NoiseBurst,
        Self::SlowDrift,
        Self::Correlated,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::LevelShift => "level shift",
            Self::Leak => "leak",
            Self::FlatLine => "flat line",
            Self::Silence => "silence",
            Self::NoiseBurst => "noise burst",
            Self::SlowDrift => "slow drift",
            Self::Correlated => "correlated",
        }
    }

    /// How many windows it takes.
    fn lengths(self) -> Range<i64> {
        match self {
            Self::Spike => 2 * MINUTE..5 * MINUTE,
            Self::LevelShift => 3 * HOUR..6 * HOUR,
            Self::Leak => 2 * HOUR..4 * HOUR,
            Self::FlatLine => HOUR..2 * HOUR,
            Self::Silence => 15 * MINUTE..30 * MINUTE,
            Self::NoiseBurst => 20 * MINUTE..40 * MINUTE,
            Self::SlowDrift => 5 * HOUR..8 * HOUR,
            Self::Correlated => 10 * MINUTE..20 * MINUTE,
        }
    }
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub kind: Kind,
    pub servers: Vec<u32>,
    /// The windows in which it is on.
    pub windows: Range<i64>,
    /// How strong: 0.7 to 1.3.
    size: f64,
    chance: Chance,
}

impl Incident {
    pub fn is_on(&self, window: i64) -> bool {
        self.windows.contains(&window)
    }

    /// The window at which sensors are stuck.
    pub fn stuck_at(&self, window: i64) -> Option<i64> {
        (self.kind == Kind::FlatLine && self.is_on(window)).then_some(self.windows.start)
    }

    pub fn silences(&self, window: i64) -> bool {
        self.kind == Kind::Silence && self.is_on(window)
    }

    /// What a server's load becomes.
    pub fn change(&self, window: i64, load: &mut Load) {
        if !self.is_on(window) {
            return;
        }
        let length = self.windows.end - self.windows.start;
        let progress = (window - self.windows.start + 1) as f64 / length as f64;
        let shake = |place: i64| self.chance.of(SHAKE).normal(window * 4 + place) * self.size;
        match self.kind {
            Kind::Spike => load.cpu = (load.cpu + 0.5 * self.size).min(0.99),
            Kind::LevelShift => {
                load.cpu = (load.cpu + 0.15 * self.size).min(0.99);
                load.network *= 1.0 + self.size;
                load.writes *= 1.0 + 0.5 * self.size;
            }
            Kind::Leak => load.memory += (0.975 - load.memory) * progress,
            Kind::FlatLine | Kind::Silence => {}
            Kind::NoiseBurst => {
                load.cpu = (load.cpu + 0.12 * shake(0)).clamp(0.005, 0.99);
                load.network *= (1.0 + 0.5 * shake(1)).max(0.05);
                load.writes *= (1.0 + 0.6 * shake(2)).max(0.05);
            }
            Kind::SlowDrift => {
                load.cpu = (load.cpu + 0.2 * self.size * progress).min(0.99);
                load.network *= 1.0 + 0.6 * self.size * progress;
            }
            Kind::Correlated => {
                load.waiting += 0.3 * self.size;
                load.writes *= 0.2;
                load.network *= 0.4;
                load.cpu *= 0.5;
            }
        }
    }
}

/// The shape of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub servers: u32,
    pub windows: i64,
    /// Windows at the beginning in which nothing goes wrong.
    pub calm: i64,
    /// Incidents of each kind.
    pub each: u32,
    /// Servers of a correlated one.
    pub together: u32,
}

/// What happens in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub extent: Extent,
    pub incidents: Vec<Arc<Incident>>,
}

impl Plan {
    /// Fails when the fleet is too small, or the time too short, for what is to happen.
    pub fn new(seed: u64, extent: Extent) -> Result<Self> {
        let chance = Chance::new(seed);
        let mut order: Vec<u32> = (0..extent.servers).collect();
        order.sort_by_key(|&server| chance.of(ORDER).bits(i64::from(server)));
        let mut incidents = Vec::new();
        for kind in Kind::ALL {
            for _ in 0..extent.each {
                let number = incidents.len() as i64;
                let wanted = if kind == Kind::Correlated { extent.together as usize } else { 1 };
                let left = order.len().checked_sub(wanted).ok_or("fewer servers than the incidents need")?;
                let lengths = kind.lengths();
                let within = |stream: u64, range: Range<i64>| {
                    chance.of(stream).between(number, range.start as f64, range.end as f64) as i64
                };
                let length = within(LENGTH, lengths);
                let latest = extent.windows - TAIL - length;
                if latest <= extent.calm {
                    return Err(format!("too short a time for a {}", kind.name()).into());
                }
                let start = within(START, extent.calm..latest);
                incidents.push(Arc::new(Incident {
                    kind,
                    servers: order.split_off(left),
                    windows: start..start + length,
                    size: chance.of(SIZE).between(number, 0.7, 1.3),
                    chance: chance.of(SIZE).of(number.cast_unsigned()),
                }));
            }
        }
        Ok(Self { seed, extent, incidents })
    }

    /// The incident that a server is in.
    pub fn incident_of(&self, server: u32) -> Option<&Arc<Incident>> {
        self.incidents.iter().find(|incident| incident.servers.contains(&server))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    pub(crate) const EXTENT: Extent =
        Extent { servers: 30, windows: 12 * HOUR, calm: 2 * HOUR, each: 1, together: 20 };

    #[test]
    fn a_plan_has_all_kinds_and_no_server_twice() {
        let extent = Extent { servers: 200, windows: 48 * HOUR, calm: 12 * HOUR, each: 5, together: 20 };
        let plan = Plan::new(3, extent).unwrap();
        assert_eq!(plan.incidents.len(), 40);
        let mut seen = BTreeSet::new();
        for incident in &plan.incidents {
            assert!(incident.windows.start >= extent.calm && incident.windows.end <= extent.windows - TAIL);
            assert_eq!(incident.servers.len(), if incident.kind == Kind::Correlated { 20 } else { 1 });
            assert!(incident.servers.iter().all(|server| seen.insert(*server)));
        }
        for kind in Kind::ALL {
            assert_eq!(plan.incidents.iter().filter(|incident| incident.kind == kind).count(), 5);
        }
        assert_eq!(plan, Plan::new(3, extent).unwrap());
        assert_ne!(plan, Plan::new(4, extent).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let few = Plan::new(1, Extent { servers: 10, ..EXTENT }).unwrap_err().to_string();
        assert!(few.contains("fewer servers"), "{few}");
        let short = Plan::new(1, Extent { windows: 3 * HOUR, ..EXTENT }).unwrap_err().to_string();
        assert!(short.contains("too short"), "{short}");
    }
}
