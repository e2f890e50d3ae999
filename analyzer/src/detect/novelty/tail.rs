//! The rare end of one kind of oddness: its largest peaks, and how much rarer than those a new one is.
//!
//! In: a residual. Out: decades of rarity, -log10 of the chance that a value is as large, by a generalized Pareto tail
//! fitted by its moments (Hosking and Wallis 1987). Keeps: peaks lie apart (one for each burst), the largest first.

/// Largest peaks kept.
const KEPT: usize = 16;
/// Of them, how many the tail is fitted to: the last one is where the tail begins.
const TOP: usize = 6;
/// Values after which a peak is forgotten.
const EXPIRY: u32 = 6_000;
/// One kind's share at most, in decades.
const CAP: f64 = 8.0;
/// The heaviest tail a fit may have: from a half on it would have no variance to be fitted by.
const HEAVIEST: f64 = 0.45;
/// A tail lighter than this one is taken for exponential.
const LIGHTEST: f64 = 1e-3;

#[derive(Debug, Clone)]
pub(super) struct Tail {
    peaks: [f64; KEPT],
    /// The value it came with, counted.
    born: [u32; KEPT],
    /// Values since the peak of the open burst.
    age: u32,
    /// Values within which a larger one belongs to the same burst.
    gap: u32,
    held: u8,
    /// Rank of the peak whose burst goes on.
    open: Option<u8>,
}

impl Tail {
    pub(super) const fn new(gap: u32) -> Self {
        Self { peaks: [0.0; KEPT], born: [0; KEPT], age: 0, gap, held: 0, open: None }
    }

    /// How rare `x` is, in decades; 0 while there are too few peaks, or among them. `floor`: the least mean excess, against
    /// rounding noise.
    pub(super) fn score(&self, x: f64, now: u32, floor: f64) -> f64 {
        let mut top = [0.0; TOP];
        let mut count = 0;
        for (&peak, &born) in self.peaks.iter().zip(&self.born).take(usize::from(self.held)) {
            if now - born <= EXPIRY {
                top[count] = peak;
                count += 1;
                if count == TOP {
                    break;
                }
            }
        }
        let begin = top[TOP - 1];
        if count < TOP || x <= begin {
            return 0.0;
        }
        let excess = (TOP - 1) as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        for peak in top {
            sum += peak - begin;
            squares += (peak - begin) * (peak - begin);
        }
        let mean = sum / excess;
        let variance = squares / excess - mean * mean;
        let mean = mean.max(floor);
        let shape =
            if variance > 0.0 { (0.5 * (1.0 - mean * mean / variance)).clamp(0.0, HEAVIEST) } else { 0.0 };
        let beyond = if shape > LIGHTEST {
            (1.0 + shape * (x - begin) / (mean * (1.0 - shape))).log10() / shape
        } else {
            (x - begin) / mean / std::f64::consts::LN_10
        };
        let seen = (f64::from(now) + 1.0).min(f64::from(EXPIRY));
        ((seen / TOP as f64).log10() + beyond).min(CAP)
    }

    /// Remembers `x` if it is a peak.
    pub(super) fn learn(&mut self, x: f64, now: u32) {
        self.age = self.age.saturating_add(1);
        if let Some(rank) = self.open {
            if self.age <= self.gap {
                if x > self.peaks[usize::from(rank)] {
                    self.put(usize::from(rank), x, now);
                }
                return;
            }
            self.open = None;
        }
        self.forget(now);
        let held = usize::from(self.held);
        if held < KEPT {
            self.held += 1;
            self.put(held, x, now);
        } else if x > self.peaks[KEPT - 1] {
            self.put(KEPT - 1, x, now);
        }
    }

    /// Takes the place of a peak, and moves up to its rank.
    fn put(&mut self, mut rank: usize, peak: f64, now: u32) {
        while rank > 0 && self.peaks[rank - 1] < peak {
            self.peaks[rank] = self.peaks[rank - 1];
            self.born[rank] = self.born[rank - 1];
            rank -= 1;
        }
        self.peaks[rank] = peak;
        self.born[rank] = now;
        self.open = Some(rank as u8);
        self.age = 0;
    }

    fn forget(&mut self, now: u32) {
        let held = usize::from(self.held);
        let mut kept = 0;
        for rank in 0..held {
            if now - self.born[rank] <= EXPIRY {
                self.peaks[kept] = self.peaks[rank];
                self.born[kept] = self.born[rank];
                kept += 1;
            }
        }
        self.held = kept as u8;
    }
}

crate::snapshot::keep_fields!(Tail { peaks, born, age, gap, held, open });

#[cfg(test)]
mod tests {
    use super::*;

    /// One peak every twenty values: 1, 2, 3 and so on.
    fn tail(peaks: u32) -> Tail {
        let mut tail = Tail::new(10);
        for now in 0..20 * peaks {
            tail.learn(if now % 20 == 0 { f64::from(now / 20 + 1) } else { 0.0 }, now);
        }
        tail
    }

    #[test]
    fn few_peaks_say_nothing_and_what_was_there_is_not_rare() {
        assert_eq!(Tail::new(10).score(1e9, 0, 1e-6), 0.0);
        let tail = tail(30);
        assert_eq!(tail.score(25.0, 600, 1e-6), 0.0, "the sixth largest is 25");
        let (low, high) = (tail.score(25.1, 600, 1e-6), tail.score(40.0, 600, 1e-6));
        assert!(2.0 < low && low < high && high < CAP, "{low} {high}");
        assert_eq!(tail.score(1e9, 600, 1e-6), CAP);
    }

    #[test]
    fn a_burst_is_one_peak() {
        let mut tail = Tail::new(10);
        for now in 0..200 {
            tail.learn(if now % 50 < 5 { f64::from(now % 50 + 1) } else { 0.0 }, now);
        }
        assert_eq!(tail.peaks[..4], [5.0; 4]);
        assert!(tail.peaks[4..].iter().all(|peak| *peak < 5.0));
    }

    #[test]
    fn peaks_are_sorted_and_forgotten() {
        let mut tail = tail(12);
        assert!(tail.peaks.is_sorted_by(|a, b| a >= b), "{:?}", tail.peaks);
        assert!(tail.score(13.0, 240, 1e-6) > 0.0);
        let later = 240 + EXPIRY + 1;
        assert_eq!(tail.score(13.0, later, 1e-6), 0.0);
        // what is there now goes into the burst that was open; the next burst makes room
        (later..later + 12).for_each(|now| tail.learn(0.5, now));
        assert_eq!((tail.held, &tail.peaks[..2]), (2, &[0.5, 0.5][..]));
    }
}
