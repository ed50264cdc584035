//! The heap without threads: by hand, over regions, in random sequences, and in every short one.
//!
//! One program, because each of their own is built and linked for a second, and because what searches for long
//! fills all processors together.
//!
//! (`tests/region.rs` stands alone: it is quick, and is about the lock as well.)

mod density;
mod exhaustive;
#[path = "../extent/mod.rs"]
mod extent;
mod field_bugs;
mod model;
mod random_sequences;
mod regions;
mod regions_model;
#[path = "../support/mod.rs"]
mod support;
