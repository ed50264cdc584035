//! Looks for sequences of allocations in which one call is as expensive as can be, and counts its
//! instructions. See the package's README.

pub mod arena;
pub mod bounds;
pub mod count;
pub mod engine;
pub mod findings;
pub mod genome;
pub mod random;
pub mod run;
pub mod search;
