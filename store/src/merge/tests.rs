//! merge tests
