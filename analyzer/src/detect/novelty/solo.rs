//! Novelty as the only judge of a series: rarity and jumps, and each thing said once.
//!
//! In: time and value. Out: a score; 1 or more is an alert. What the joined score ([`crate::detect::Joined`]) is measured
//! against, and equal to the reference.

use super::{Novelty, Rarity, jump::Jump};

/// Decades of rarity that are an alert.
const NOVELTY_AT_ONE: f64 = 6.5;
/// Deviations of a jump that are one.
const JUMP_AT_ONE: f64 = 10.0;
/// Values after something was said in which only something so much louder is.
const REFRACTORY: u32 = 90;
const LOUDER: f64 = 1.2;

/// The state of one series.
#[derive(Debug, Clone, Default)]
pub struct Solo {
    novelty: Novelty,
    jump: Jump,
    loudest: f64,
    /// Values since something was said.
    since: u32,
}

impl Solo {
    /// The score of a value that is then learned from, and how rare it is; `None` for one that is not finite.
    pub fn step(&mut self, seconds: f64, value: f64) -> Option<(f64, Rarity)> {
        let rarity = self.novelty.step(seconds, value)?;
        let jump = self.jump.step(value.clamp(-super::LARGEST, super::LARGEST));
        let score = (rarity.sum() / NOVELTY_AT_ONE).max(jump / JUMP_AT_ONE);
        self.since = self.since.saturating_add(1);
        if self.since > REFRACTORY {
            self.loudest = 0.0;
        }
        if score <= self.loudest * LOUDER {
            return Some((0.0, rarity));
        }
        self.loudest = score;
        self.since = 0;
        Some((score, rarity))
    }
}
