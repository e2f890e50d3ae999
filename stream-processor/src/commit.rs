//! What a commit holds besides the offset: where to start reading again, and under which settings.
//!
//! `version, L, append clock and floor before L, settings` as base64 in the offset's metadata. The settings themselves stand
//! there, not only their hash: a successor with others can then finish the replay under the old ones, emit what was
//! open, and go on under its own (`docs/adr/0003-window-settings-in-the-commit.md`).

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use crate::window::WindowSettings;

const VERSION: u8 = 3;
/// Before servers were counted.
const FILTERED: u8 = 2;
/// Before there were filters and backfill.
const PLAIN: u8 = 1;

/// What the last commit of a partition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// H: everything below is accounted for.
    pub high_water: i64,
    /// L: the lowest offset that still contributes to a window above the floor.
    pub low_water: i64,
    /// The append clock before the record at L, milliseconds since 1970.
    pub clock_at_low: i64,
    /// The floor before the record at L: every window that ends at or before it is closed for good. The floor at H (C)
    /// follows from it and the log; C itself, restored at L, would call samples late that a longer window has counted.
    pub floor_at_low: i64,
    /// The settings under which all this is true.
    pub settings: WindowSettings,
}

/// Metadata that is not ours, or of a newer version: reading on would count twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read commit metadata `{0}`: not written by this version")]
pub struct UnknownMetadata(pub String);

impl Committed {
    /// For the offset's metadata.
    pub fn metadata(&self) -> String {
        let s = &self.settings;
        let mut bytes = vec![VERSION];
        for number in
            [self.low_water, self.clock_at_low, self.floor_at_low, s.grace_ms, s.idle_ms, s.lateness_ms]
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&s.max_series.to_le_bytes());
        bytes.push(u8::from(s.backfill));
        bytes.extend_from_slice(&s.filter.to_le_bytes());
        bytes.extend_from_slice(&s.max_servers.to_le_bytes());
        bytes.extend(s.tiers_ms.iter().flat_map(|tier| tier.to_le_bytes()));
        STANDARD_NO_PAD.encode(bytes)
    }

    /// `None` when nothing was committed: a clean start.
    pub fn parse(offset: i64, metadata: &str) -> Result<Self, UnknownMetadata> {
        Self::read(offset, metadata).ok_or_else(|| UnknownMetadata(metadata.to_owned()))
    }

    fn read(high_water: i64, metadata: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(metadata).ok()?;
        let (&version, mut rest) = bytes.split_first()?;
        if !(PLAIN..=VERSION).contains(&version) {
            return None;
        }
        let mut number = || {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(i64::from_le_bytes(*head))
        };
        let (low_water, clock_at_low, floor_at_low) = (number()?, number()?, number()?);
        let (grace_ms, idle_ms, lateness_ms) = (number()?, number()?, number()?);
        let (head, mut tiers) = rest.split_first_chunk::<4>()?;
        let WindowSettings { mut backfill, mut filter, mut max_servers, .. } = WindowSettings::default();
        if version >= FILTERED {
            let (flag, tail) = tiers.split_first_chunk::<1>()?;
            let (number, tail) = tail.split_first_chunk::<8>()?;
            (backfill, filter, tiers) = (flag[0] != 0, u64::from_le_bytes(*number), tail);
        }
        if version >= VERSION {
            let (number, tail) = tiers.split_first_chunk::<4>()?;
            (max_servers, tiers) = (u32::from_le_bytes(*number), tail);
        }
        let (tiers, odd) = tiers.as_chunks::<8>();
        if tiers.is_empty() || !odd.is_empty() || low_water > high_water {
            return None;
        }
        let settings = WindowSettings {
            grace_ms,
            idle_ms,
            lateness_ms,
            max_series: u32::from_le_bytes(*head),
            max_servers,
            backfill,
            filter,
            tiers_ms: tiers.iter().map(|tier| i64::from_le_bytes(*tier)).collect(),
        };
        Some(Self { high_water, low_water, clock_at_low, floor_at_low, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_back_and_stays_small() {
        let committed = Committed {
            high_water: 900,
            low_water: 7,
            clock_at_low: i64::MIN,
            floor_at_low: 1_795_000_000_000,
            settings: WindowSettings { max_servers: 7, ..WindowSettings::default() },
        };
        let metadata = committed.metadata();
        assert!(metadata.len() < 128, "{}", metadata.len());
        assert_eq!(Committed::parse(900, &metadata), Ok(committed));
    }

    /// Up to `max_series`, as all versions have it.
    fn beginning(version: u8) -> Vec<u8> {
        let mut bytes = vec![version];
        for number in [7_i64, 8, 9, 2_000, 15_000, 120_000] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&20_000_u32.to_le_bytes());
        bytes
    }

    #[test]
    fn commits_of_the_versions_before_are_read() {
        let settings = WindowSettings::default();
        let filtered = WindowSettings { backfill: true, filter: 5, ..settings.clone() };
        let more = [&[1][..], &5_u64.to_le_bytes()].concat();
        for (version, more, settings) in [(PLAIN, vec![], settings), (FILTERED, more, filtered)] {
            let mut bytes = [beginning(version), more].concat();
            bytes.extend([10_000_i64, 60_000].iter().flat_map(|tier| tier.to_le_bytes()));
            let expected =
                Committed { high_water: 10, low_water: 7, clock_at_low: 8, floor_at_low: 9, settings };
            assert_eq!(Committed::parse(10, &STANDARD_NO_PAD.encode(bytes)), Ok(expected));
        }
    }

    #[test]
    fn foreign_metadata_is_refused() {
        for text in ["", "hello", "AgAA", "AQ", "AwAA", "BAAA"] {
            assert!(Committed::parse(1, text).is_err(), "{text}");
        }
    }
}
