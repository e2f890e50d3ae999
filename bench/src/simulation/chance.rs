//! Numbers that look random and depend on seed, stream and step alone: no state, so any window of any server can be
//! computed by itself.

/// A source of numbers; each of its streams is another source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    key: u64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { key: mix(seed) }
    }

    /// The source of its own that a stream is.
    #[must_use]
    pub fn of(self, stream: u64) -> Self {
        Self { key: mix(self.key ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15)) }
    }

    pub fn bits(self, step: i64) -> u64 {
        mix(self.key ^ step.cast_unsigned().wrapping_mul(0xC2B2_AE3D_27D4_EB4F))
    }

    /// In [0, 1), all alike.
    pub fn uniform(self, step: i64) -> f64 {
        (self.bits(step) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(self, step: i64, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform(step)
    }

    /// Mean 0, deviation 1, never beyond 3.5: the sum of four uniform ones.
    pub fn normal(self, step: i64) -> f64 {
        let bits = self.bits(step);
        let sum: u64 = (0..4).map(|place| (bits >> (16 * place)) & 0xffff).sum();
        (sum as f64 / 65_536.0 - 2.0) * 3.0_f64.sqrt()
    }

    /// Smooth, in [-1, 1]: values `period` steps apart, joined.
    pub fn wander(self, step: i64, period: i64) -> f64 {
        let (knot, part) = (step.div_euclid(period), step.rem_euclid(period) as f64 / period as f64);
        let blend = part * part * (3.0 - 2.0 * part);
        let value = |knot| 2.0 * self.uniform(knot) - 1.0;
        value(knot) * (1.0 - blend) + value(knot + 1) * blend
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(bits: u64) -> u64 {
    let mut z = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: i64 = 20_000;

    fn moments(draw: impl Fn(i64) -> f64) -> (f64, f64) {
        let mean = (0..N).map(&draw).sum::<f64>() / N as f64;
        let square = (0..N).map(|step| (draw(step) - mean).powi(2)).sum::<f64>() / N as f64;
        (mean, square.sqrt())
    }

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        let chance = Chance::new(7).of(3);
        let (mean, deviation) = moments(|step| chance.uniform(step));
        assert!((mean - 0.5).abs() < 0.01 && (deviation - 0.2887).abs() < 0.01, "{mean} {deviation}");
        let (mean, deviation) = moments(|step| chance.normal(step));
        assert!(mean.abs() < 0.03 && (deviation - 1.0).abs() < 0.03, "{mean} {deviation}");
    }

    #[test]
    fn streams_and_seeds_differ_and_repeat() {
        let draw =
            |seed, stream| (0..50).map(|step| Chance::new(seed).of(stream).bits(step)).collect::<Vec<_>>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn a_wandering_number_has_no_jumps() {
        let chance = Chance::new(1);
        for step in -500..500 {
            let (a, b) = (chance.wander(step, 100), chance.wander(step + 1, 100));
            assert!(a.abs() <= 1.0 && (a - b).abs() < 0.04, "{a} {b}");
        }
    }
}
