//! Looks for sequences of allocations in which one call is as expensive as can be, and counts its
//! instructions. See the package's README.

pub mod count;
