//! What the benchmarks measure with: for streams a log that looks like a live one, and an independent sum of what came out;
//! for the analyzer a fleet in which known things go wrong.
//!
//! ```text
//! preload:  fleet -> frame -> <topic>                prints what every contender's windows have to add up to
//! verify:   <topic of windows> -> count, sum         for the three formats that the contenders write
//! judge:    simulation -> analyzer's core            prints what a value and a series cost
//! rehearse: simulation -> analyzer's core -> score   prints what was found, how soon, and what was false
//! ```
//! Invariant: the values of `fleet` are multiples of 1/4 and small, so a sum is exact in whatever order it is taken; those of
//! `simulation` are a function of its seed.

pub mod cost;
pub mod fill;
pub mod fleet;
pub mod frame;
pub mod simulation;

/// Errors of a tool: said once, by `main`.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
