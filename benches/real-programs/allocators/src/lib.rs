//! The type and the value of a `#[global_allocator]`, chosen by a feature.
//!
//! A program adopts it with one line, which is the same for every allocator:
//!
//! ```ignore
//! #[global_allocator] static ALLOCATOR: chosen_allocator::Allocator = chosen_allocator::Allocator;
//! ```

#[cfg(feature = "jemalloc")]
pub use tikv_jemallocator::Jemalloc as Allocator;

#[cfg(feature = "mimalloc")]
pub use mimalloc::MiMalloc as Allocator;

#[cfg(feature = "rusty_alloc")]
pub use rusty_alloc_api::RustyAlloc as Allocator;

#[cfg(feature = "snmalloc")]
pub use snmalloc_rs::SnMalloc as Allocator;

#[cfg(feature = "in_a_static")]
mod in_a_static;

#[cfg(feature = "in_a_static")]
pub use in_a_static::Allocator;
