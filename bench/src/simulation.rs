//! A fleet that does not exist, and what goes wrong in it: how soon is it said, and how often is something said for nothing?
//!
//! ```text
//! plan -> host -> AggregateFrame -> watcher -> alarms -> score
//!  |       `- load: daily cycle, noise, bursts             ^
//!  `- incidents: of which kind, where, when ---------------'
//! ```
//! Invariant: everything is a function of the seed and the extent, so a run can be repeated to the bit.

mod chance;
mod host;
mod incident;
mod load;
mod score;
mod watch;

pub use chance::Chance;
pub use host::Host;
pub use incident::{Extent, Incident, Kind, Plan};
pub use load::{Load, Nature};
pub use score::{Found, Outcome, Score, Sum};
pub use watch::{Alarm, Analyst, Watcher, run};

/// The tier that the analyzer reads.
pub const WINDOW_MS: i64 = 10_000;
pub const WINDOWS_A_DAY: i64 = 86_400_000 / WINDOW_MS;

/// Start of window 0: Monday, 23 November 2026, 00:00 UTC.
const T0: i64 = 1_795_392_000_000;

/// Start of a window, milliseconds since 1970.
pub fn start_of(window: i64) -> i64 {
    T0 + window * WINDOW_MS
}

/// The name of a server of the fleet.
pub fn name(number: u32) -> String {
    format!("sim-{number:05}")
}

/// The number in a server's name.
pub fn number(name: &str) -> Option<u32> {
    name.strip_prefix("sim-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        for wanted in [0, 7, 99_999, 123_456] {
            assert_eq!(number(&name(wanted)), Some(wanted));
        }
        assert_eq!(number("web-1"), None);
        assert_eq!(start_of(WINDOWS_A_DAY) - start_of(0), 86_400_000);
    }
}
