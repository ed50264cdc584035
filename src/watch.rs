#![doc = include_str!("../docs/watching.md")]

mod counted;
mod counter;
mod counts;
mod each_refusal;
#[cfg(all(feature = "std", unix))]
mod environment;
mod exempt;
mod expected;
mod forbid;
#[cfg(feature = "std")]
mod leaks;
mod limit;
mod measure;
mod policy;
mod probe;
mod refusing;
mod schedule;
mod slot;
#[cfg(feature = "std")]
mod table;
mod threads;
mod totals;

#[cfg(all(feature = "std", unix))]
pub use crate::recorder::{Sampled, Traced};
pub use counted::Counted;
pub use counts::Counts;
pub use each_refusal::for_each_refusal;
pub use forbid::{
    Consequence, ForbidGuard, Forbidden, PermitGuard, forbid, forbid_allocations, permit_allocations,
    without_allocations,
};
#[cfg(feature = "std")]
pub use leaks::{LeakCheck, LeakedBlock, Leaks};
pub use limit::limit;
pub use measure::measure;
pub use policy::Policy;
pub use refusing::{RefuseGuard, Refusing, refuse_on_this_thread};

/// What the macros expand to.
#[doc(hidden)]
pub mod macros {
    pub use super::expected::Expected;
    pub use super::measure::Measuring;
}
