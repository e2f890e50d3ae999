//! How often the truth lies in the range that is told.

use super::*;

/// Noise of deviation `size` in which each minute keeps `alike` of the one before.
struct Noise {
    alike: f64,
    size: f64,
    now: f64,
}

impl Noise {
    fn new(alike: f64, size: f64, random: &mut Random) -> Self {
        Self { alike, size, now: size * random.normal() }
    }

    fn next(&mut self, random: &mut Random) -> f64 {
        self.now =
            self.alike * self.now + (1.0 - self.alike * self.alike).sqrt() * self.size * random.normal();
        self.now
    }
}

const SERIES: u64 = 400;
const SLOPE: f64 = 0.05;

/// Of 400 series with noise on a line: how many are told a range, and which part of these holds the time at which the line
/// itself reaches the limit, half again as far away as was seen.
fn coverage(alike: f64, size: f64, minutes: i64) -> (u64, f64) {
    let (mut told, mut right) = (0, 0.0);
    for seed in 0..SERIES {
        let mut random = Random::new(seed);
        let mut noise = Noise::new(alike, size, &mut random);
        let values = (0..=minutes).map(|minute| 20.0 + SLOPE * minute as f64 + noise.next(&mut random));
        let Some(course) = fed(values).course() else { continue };
        let limit = 20.0 + SLOPE * 2.5 * minutes as f64;
        let truth = 90_000 * minutes + 30_000;
        let Some(reach) = course.until(Ask { limit, side: Side::Above, within_ms: i64::MAX }) else {
            continue;
        };
        told += 1;
        if (reach.earliest_ms..=reach.latest_ms).contains(&truth) {
            right += 1.0;
        }
    }
    (told, right / told as f64)
}

#[test]
fn eight_of_ten_ranges_hold_the_truth_at_every_level_of_noise() {
    for size in [0.01, 0.3, 1.0] {
        for minutes in [60, 120, 240, 400] {
            let (told, covered) = coverage(0.0, size, minutes);
            assert!(told >= SERIES * 95 / 100, "{size}, {minutes}: {told}");
            assert!((0.74..0.93).contains(&covered), "{size}, {minutes}: {covered}");
        }
    }
}

#[test]
fn noise_that_wanders_is_allowed_for() {
    // half of it is forgotten after 7 minutes
    for minutes in [60, 120, 240, 400] {
        let (told, covered) = coverage(0.9, 0.3, minutes);
        assert!(told >= SERIES * 8 / 10, "{minutes}: {told}");
        assert!((0.72..0.93).contains(&covered), "{minutes}: {covered}");
    }
    // after 34 minutes: what was seen is then hardly more than one swing of it
    for (minutes, least) in [(60, 0.55), (120, 0.6), (240, 0.65), (400, 0.7)] {
        let (told, covered) = coverage(0.98, 0.3, minutes);
        assert!(told >= SERIES * 7 / 10, "{minutes}: {told}");
        assert!(covered >= least, "{minutes}: {covered}");
    }
}
