//! What is told of a limit that comes nearer, and what is not.

use super::*;
use crate::rules::{Hold, Pace, Transition};

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// One alert on a series, with one value a minute.
struct Watch {
    ask: Ask,
    trend: Trend,
    outlook: Outlook,
    hold: Hold,
    /// Minutes at which it fired, the time to the limit that was said, and when it resolved.
    said: Vec<(i64, Reach, Option<i64>)>,
    minute: i64,
}

impl Watch {
    fn new(limit: f64, side: Side, within: i64) -> Self {
        let ask = Ask { limit, side, within_ms: within * MINUTE };
        let (trend, outlook, hold) = (Trend::default(), Outlook::default(), Hold::default());
        Self { ask, trend, outlook, hold, said: Vec::new(), minute: 0 }
    }

    fn take(&mut self, value: f64) {
        let at = T0 + self.minute * MINUTE;
        if let Some(mean) = self.trend.step(at, value) {
            let minute =
                Minute { end_ms: at, mean, noise: self.trend.noise(), firing: self.hold.is_firing() };
            self.outlook.step(self.ask, self.trend.course().as_ref(), minute);
        }
        let pace = Pace { hold_ms: 15 * MINUTE, keep_ms: 15 * MINUTE };
        match self.hold.step(self.outlook.holds(), at, at + MINUTE, pace) {
            Some(Transition::Fire { .. }) => {
                let reach = self.trend.course().and_then(|course| course.until(self.ask));
                self.said.push((self.minute, reach.unwrap(), None));
            }
            Some(Transition::Resolve { .. }) => self.said.last_mut().unwrap().2 = Some(self.minute),
            None => {}
        }
        self.minute += 1;
    }

    fn feed(&mut self, minutes: i64, value: impl Fn(f64) -> f64, noise: f64, random: &mut Random) {
        let begin = self.minute;
        for minute in begin..begin + minutes {
            self.take(value((minute - begin) as f64) + noise * random.normal());
        }
    }
}

#[test]
fn a_disk_that_fills_up_is_foretold_once_with_a_range() {
    for (seed, noise) in [(1, 0.0), (2, 0.01), (3, 0.3)] {
        let mut random = Random::new(seed);
        let mut watch = Watch::new(100.0, Side::Above, DAY);
        watch.feed(10 * HOUR, |_| 50.0, noise, &mut random);
        watch.feed(6 * HOUR, |minute| 50.0 + 0.05 * minute, noise, &mut random);
        assert_eq!(watch.said.len(), 1, "{noise}: {:?}", watch.said);
        let (minute, reach, over) = watch.said[0];
        assert!(minute < 15 * HOUR && over.is_none(), "{noise}: {:?}", watch.said);
        let truth = (600 + 1_000 - minute) * MINUTE;
        assert!(reach.earliest_ms <= reach.likely_ms && reach.likely_ms <= reach.latest_ms);
        assert!((reach.likely_ms - truth).abs() < truth / 5, "{noise}: {reach:?}, {truth}");
        // it goes on until it is full and while it is
        watch.feed(640, |minute| 68.0 + 0.05 * minute, noise, &mut random);
        watch.feed(3 * HOUR, |_| 100.0, noise, &mut random);
        assert_eq!(watch.said, [(minute, reach, None)], "{noise}");
    }
}

#[test]
fn the_faster_it_goes_the_sooner_it_is_told() {
    let mut random = Random::new(4);
    let mut watch = Watch::new(0.0, Side::Below, DAY);
    watch.feed(10 * HOUR, |_| 60e9, 1e6, &mut random);
    watch.feed(40, |minute| 60e9 - 1e9 * minute, 1e6, &mut random);
    let (minute, reach, _) = watch.said[0];
    assert!(minute <= 600 + 30, "{:?}", watch.said);
    assert!((reach.likely_ms - (660 - minute) * MINUTE).abs() < 2 * MINUTE, "{:?}", watch.said);
}

#[test]
fn flat_noise_raises_nothing_in_a_million_values() {
    for (seed, alike, base) in [(5, 0.0, 90.0), (6, 0.9, 90.0)] {
        let mut random = Random::new(seed);
        let mut watch = Watch::new(100.0, Side::Above, DAY);
        let mut noise = 0.0;
        for _ in 0..500_000 {
            noise = alike * noise + f64::sqrt(1.0 - alike * alike) * random.normal();
            watch.take(base + noise);
        }
        assert!(watch.said.is_empty(), "{alike}: {:?}", watch.said);
    }
}

#[test]
fn what_is_constant_or_full_already_raises_nothing() {
    for value in [0.0, 100.0, 99.999, 104.0] {
        let mut watch = Watch::new(100.0, Side::Above, DAY);
        watch.feed(2 * DAY, |_| value, 0.0, &mut Random::new(7));
        assert!(watch.said.is_empty(), "{value}: {:?}", watch.said);
    }
}

#[test]
fn one_step_is_no_trend() {
    let mut random = Random::new(8);
    let mut watch = Watch::new(100.0, Side::Above, DAY);
    for level in [40.0, 70.0, 60.0, 85.0] {
        watch.feed(8 * HOUR, |_| level, 0.05, &mut random);
    }
    assert!(watch.said.is_empty(), "{:?}", watch.said);
}

#[test]
fn a_disk_that_is_tidied_up_is_over_at_once() {
    let mut random = Random::new(9);
    let mut watch = Watch::new(100.0, Side::Above, DAY);
    watch.feed(10 * HOUR, |_| 50.0, 0.02, &mut random);
    watch.feed(10 * HOUR, |minute| 50.0 + 0.05 * minute, 0.02, &mut random);
    watch.feed(5 * HOUR, |_| 30.0, 0.02, &mut random);
    assert_eq!(watch.said.len(), 1, "{:?}", watch.said);
    let over = watch.said[0].2.unwrap();
    assert!((1_200..1_225).contains(&over), "three minutes to be sure and fifteen to keep: {over}");
}

#[test]
fn a_disk_that_stops_filling_up_is_over_when_that_is_clear() {
    let mut random = Random::new(10);
    let mut watch = Watch::new(100.0, Side::Above, DAY);
    watch.feed(10 * HOUR, |_| 50.0, 0.02, &mut random);
    watch.feed(10 * HOUR, |minute| 50.0 + 0.05 * minute, 0.02, &mut random);
    watch.feed(10 * HOUR, |_| 80.0, 0.02, &mut random);
    assert_eq!(watch.said.len(), 1, "{:?}", watch.said);
    let over = watch.said[0].2.unwrap();
    assert!((1_215..1_500).contains(&over), "{over}");
}

#[test]
fn a_log_that_is_rotated_is_told_of_twice_at_most() {
    let mut random = Random::new(11);
    for (period, top) in [(6 * HOUR, 80.0), (DAY, 60.0)] {
        let mut watch = Watch::new(100.0, Side::Above, DAY);
        let tooth = |minute: f64| 10.0 + (top - 10.0) * minute / period as f64;
        for _ in 0..10 * DAY / period {
            watch.feed(period, tooth, 0.1, &mut random);
        }
        assert!((1..=2).contains(&watch.said.len()), "{period}: {:?}", watch.said);
        assert!(watch.said.iter().all(|said| said.2.is_some()), "{period}: {:?}", watch.said);
        // but once it is not rotated
        let before = watch.said.len();
        watch.feed(2 * period, tooth, 0.1, &mut random);
        assert_eq!(watch.said.len(), before + 1, "{period}: {:?}", watch.said);
    }
}

#[test]
fn a_daily_cycle_is_told_of_once_at_most() {
    let mut random = Random::new(12);
    let day = |minute: f64| 55.0 - 15.0 * (std::f64::consts::TAU * minute / DAY as f64).cos();
    let mut disk = Watch::new(100.0, Side::Above, DAY);
    disk.feed(14 * DAY, day, 0.5, &mut random);
    assert!(disk.said.len() <= 1, "{:?}", disk.said);
    let day = |minute: f64| 60.0 - 20.0 * (std::f64::consts::TAU * minute / DAY as f64).cos();
    let mut memory = Watch::new(98.0, Side::Above, 2 * HOUR);
    memory.feed(14 * DAY, day, 1.0, &mut random);
    assert!(memory.said.is_empty(), "{:?}", memory.said);
}

/// The line misses most of it, so that its noise seems large: it is a turn nevertheless.
#[test]
fn a_steep_cycle_that_is_seldom_seen_is_told_of_twice_at_most() {
    let mut random = Random::new(14);
    let mut watch = Watch::new(100.0, Side::Above, DAY);
    while watch.minute < 14 * DAY {
        let phase = std::f64::consts::TAU * watch.minute as f64 / DAY as f64;
        watch.take(50.0 + 25.0 * (2.5 * phase.sin()).clamp(-1.0, 1.0) + random.normal());
        watch.minute += 4;
    }
    assert!(watch.said.len() <= 2, "{:?}", watch.said);
}

#[test]
fn what_is_not_known_changes_nothing() {
    let mut random = Random::new(13);
    let mut watch = Watch::new(100.0, Side::Above, DAY);
    watch.feed(10 * HOUR, |minute| 50.0 + 0.05 * minute, 0.02, &mut random);
    assert_eq!((watch.said.len(), watch.said[0].2), (1, None));
    // nothing comes for three hours, and it goes on where it would be: the picture is new, the alert is not
    watch.minute += 3 * HOUR;
    watch.feed(3 * HOUR, |minute| 89.0 + 0.05 * minute, 0.02, &mut random);
    assert_eq!((watch.said.len(), watch.said[0].2), (1, None));
}
