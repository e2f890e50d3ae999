//! Tables, keys and what is asked of them: on a real PostgreSQL and Redis. One program, so that one of each serves all tests.

#![expect(clippy::expect_used, reason = "a failed step ends the test")]

mod histograms;
mod hot;
mod packing;
mod people;
mod postgres;
mod reduce;
mod triage;
