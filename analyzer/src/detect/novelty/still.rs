//! Novelty of a series that may never move: until it does, only what can't be told afterwards is kept.
//!
//! In: time and value. Out: rarities. Keeps: what is said and what is known are those of a [`Novelty`] that was there from the
//! first value on, to the bit; a series that never moved takes 220 bytes in place of three kilobytes.

use super::{
    LARGEST, Novelty, Rarity,
    seasons::{Now, Seasons, visit},
};
use crate::snapshot::Keep;

#[derive(Debug, Clone, Default)]
pub(crate) enum Sleeper {
    /// Nothing came yet.
    #[default]
    New,
    Still(Box<Still>),
    Awake(Box<Novelty>),
}

/// Values that were all the same.
#[derive(Debug, Clone)]
pub(crate) struct Still {
    value: f64,
    /// How many.
    t: u32,
    /// In which hours they came.
    day: [u8; 24],
    week: [u8; 168],
    now: Now,
}

impl Sleeper {
    /// Judges a value and then learns from it; `None` for one that is not finite.
    pub(crate) fn step(&mut self, seconds: f64, value: f64) -> Option<Rarity> {
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(-LARGEST, LARGEST);
        match self {
            Self::Awake(novelty) => novelty.step_by_week(seconds, value),
            Self::New => {
                let mut still = Still { value, t: 0, day: [0; 24], week: [0; 168], now: Now::default() };
                still.pass(seconds);
                *self = Self::Still(Box::new(still));
                Some(Rarity::default())
            }
            // by the bits: a zero below zero is a step of nothing, and yet another sign
            Self::Still(still) if still.value.to_bits() == value.to_bits() => {
                still.pass(seconds);
                Some(Rarity::default())
            }
            Self::Still(still) => {
                let mut novelty = Box::new(still.wake());
                let rarity = novelty.step_by_week(seconds, value);
                *self = Self::Awake(novelty);
                rarity
            }
        }
    }

    /// What it holds besides itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::New => 0,
            Self::Still(_) => size_of::<Still>(),
            Self::Awake(_) => size_of::<Novelty>(),
        }
    }
}

impl Still {
    fn pass(&mut self, seconds: f64) {
        self.t = self.t.saturating_add(1);
        self.now.is(seconds, &self.week);
        visit(&mut self.day, seconds);
        visit(&mut self.week, seconds);
    }

    /// What would be known by now: of values that are all the same every residual is nothing.
    fn wake(&self) -> Novelty {
        let mut novelty = Novelty {
            first: self.value,
            t: self.t,
            day: Seasons::of_nothing(self.day),
            week: Seasons::of_nothing(self.week),
            now: self.now.clone(),
            ..Novelty::default()
        };
        for now in 0..self.t {
            novelty.past.push(0.0);
            // the first value has no residuals
            if now > 0 {
                novelty.tails.iter_mut().for_each(|tail| tail.learn(0.0, now));
            }
        }
        novelty
    }
}

crate::snapshot::keep_fields!(Still { value, t, day, week, now });

impl Keep for Sleeper {
    fn keep(&self, out: &mut Vec<u8>) {
        match self {
            Self::New => 0_u8.keep(out),
            Self::Still(still) => {
                1_u8.keep(out);
                still.keep(out);
            }
            Self::Awake(novelty) => {
                2_u8.keep(out);
                novelty.keep(out);
            }
        }
    }

    fn recall(from: &mut &[u8]) -> Option<Self> {
        match u8::recall(from)? {
            0 => Some(Self::New),
            1 => Keep::recall(from).map(Self::Still),
            2 => Keep::recall(from).map(Self::Awake),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_never_moves_takes_little() {
        let mut sleeper = Sleeper::default();
        for t in 0..10_000_u32 {
            assert_eq!(sleeper.step(f64::from(t) * 300.0, 0.1), Some(Rarity::default()));
        }
        assert!(sleeper.heap_bytes() <= 224, "{}", sleeper.heap_bytes());
        sleeper.step(3e6, 0.2);
        assert_eq!(sleeper.heap_bytes(), size_of::<Novelty>());
    }

    proptest! {
        #[test]
        fn it_is_as_if_it_had_never_slept(
            value in prop_oneof![Just(0.0), Just(-0.0), -1e200..1e200_f64],
            still in 1..7_000_u32,
            moved in proptest::collection::vec(prop_oneof![-9.0..9.0_f64, Just(0.0), Just(-0.0), any::<f64>()], 1..200),
            step in prop_oneof![Just(300.0), -700.0..9e4_f64],
        ) {
            let (mut sleeper, mut awake) = (Sleeper::default(), Novelty::default());
            let values = std::iter::repeat_n(value, still as usize).chain(moved);
            for (t, value) in (0_u32..).zip(values) {
                let seconds = 1.6e9 + f64::from(t) * step;
                prop_assert_eq!(sleeper.step(seconds, value), awake.step_by_week(seconds, value));
            }
            if let Sleeper::Awake(novelty) = &sleeper {
                prop_assert_eq!(format!("{novelty:?}"), format!("{awake:?}"));
            }
        }
    }
}
