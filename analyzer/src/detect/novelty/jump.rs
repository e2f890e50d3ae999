//! A jump such as the series seldom made: the step from one value to the next, in deviations of such steps.
//!
//! In: values. Out: deviations, or 0 for a jump that is nothing special among the largest so far. Keeps: the largest jumps,
//! one for each burst, in half a kilobyte.

use super::WARMUP;

/// Largest jumps kept.
const KEPT: usize = 128;
/// One of the values that may jump as far: the rank that a jump is held against grows by one for so many.
const EACH: u32 = 500;
/// The least such rank.
const LEAST_RANK: u32 = 4;
/// A jump has to be so much larger than the one of that rank.
const ABOVE: f64 = 1.5;
/// Values within which a larger jump belongs to the same burst.
const GAP: u32 = 10;
/// Deviations at most.
const CAP: f64 = 50.0;

#[derive(Debug, Clone)]
pub(super) struct Jump {
    sum: f64,
    squares: f64,
    before: f64,
    /// Largest first.
    peaks: [f32; KEPT],
    t: u32,
    /// Values since the peak of the open burst.
    age: u32,
    held: u8,
    open: Option<u8>,
}

impl Default for Jump {
    fn default() -> Self {
        Self { sum: 0.0, squares: 0.0, before: 0.0, peaks: [0.0; KEPT], t: 0, age: 0, held: 0, open: None }
    }
}

impl Jump {
    /// Judges the step to `x` and then learns from it.
    pub(super) fn step(&mut self, x: f64) -> f64 {
        let t = self.t;
        self.t = t.saturating_add(1);
        let jump = (x - self.before).abs();
        self.before = x;
        if t == 0 {
            return 0.0;
        }
        let deviations = if t >= WARMUP && self.stands_out(jump, t) { self.deviations(jump, t) } else { 0.0 };
        self.sum += jump;
        self.squares += jump * jump;
        self.learn(jump as f32);
        deviations
    }

    fn deviations(&self, jump: f64, t: u32) -> f64 {
        let count = f64::from(t);
        let mean = self.sum / count;
        let deviation = (self.squares / count - mean * mean).max(0.0).sqrt();
        ((jump - mean).abs() / (deviation + 1e-9 + 1e-6 * mean)).min(CAP)
    }

    fn stands_out(&self, jump: f64, t: u32) -> bool {
        let rank = (t.saturating_add(1) / EACH).clamp(LEAST_RANK, KEPT as u32) as usize;
        usize::from(self.held) >= rank && jump > ABOVE * f64::from(self.peaks[rank - 1])
    }

    fn learn(&mut self, jump: f32) {
        self.age = self.age.saturating_add(1);
        if let Some(rank) = self.open {
            if self.age <= GAP {
                if jump > self.peaks[usize::from(rank)] {
                    self.put(usize::from(rank), jump);
                }
                return;
            }
            self.open = None;
        }
        let held = usize::from(self.held);
        if held < KEPT {
            self.held += 1;
            self.put(held, jump);
        } else if jump > self.peaks[KEPT - 1] {
            self.put(KEPT - 1, jump);
        }
    }

    /// Takes the place of a peak, and moves up to its rank.
    fn put(&mut self, mut rank: usize, peak: f32) {
        while rank > 0 && self.peaks[rank - 1] < peak {
            self.peaks[rank] = self.peaks[rank - 1];
            rank -= 1;
        }
        self.peaks[rank] = peak;
        self.open = Some(rank as u8);
        self.age = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_counts_when_it_is_far_larger_than_those_before() {
        let mut jump = Jump::default();
        for t in 0..1_000_u32 {
            let x = f64::from(t % 5) + if t >= 700 { 40.0 } else { 0.0 };
            let said = jump.step(x);
            assert_eq!(said > 0.0, t == 700, "{t}: {said}");
        }
        assert!(jump.peaks.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn a_jump_that_is_usual_here_is_none() {
        let mut jump = Jump::default();
        for t in 0..2_000_u32 {
            let said = jump.step(if t % 100 == 0 { 40.0 } else { 0.0 });
            assert!(said == 0.0 || t < 400, "{t}: {said}");
        }
    }
}
