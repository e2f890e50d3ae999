//! From records to rows and Redis, with everything that can go wrong in between: on a real PostgreSQL and Redis, and with Kafka in front.

#![expect(clippy::expect_used, reason = "a failed step ends the test")]

mod again;
mod faults;
mod fixture;
mod histograms;
mod log;
mod packing;
mod records;
mod run;
