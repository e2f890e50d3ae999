//! Windows over Kafka, exactly once.
pub mod commit;
mod aggregate;
pub mod window;
