//! What the sink writes: ids, partitions, rows, events and source offsets. Everything that belongs to one batch goes
//! through one transaction that the caller opens and commits.

mod bulk;
pub mod catalog;
pub mod events;
pub mod histograms;
pub mod offsets;
pub mod pack;
pub mod packed;
pub mod partitions;
pub mod samples;
