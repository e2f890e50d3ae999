//! From records to rows and Redis, with everything that can go wrong in between: on a real PostgreSQL and Redis.

mod faults;
mod fixture;
mod log;
mod records;
