//! What the stream benchmark measures with: a log that looks like a live one, and an independent sum of what came out.
//!
//! ```text
//! preload: fleet -> frame -> <topic>          prints what every contender's windows have to add up to
//! verify:  <topic of windows> -> count, sum   for the three formats that the contenders write
//! ```
//! Invariant: values are multiples of 1/4 and small, so a sum is exact in whatever order it is taken.

pub mod fill;
pub mod fleet;
pub mod frame;

/// Errors of a tool: said once, by `main`.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
