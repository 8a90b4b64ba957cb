//! Whole-system tests live in `tests/`. This library is what the program `recorded` and the tests that record
//! it have in common.

pub mod line;
