//! One program, to be built with any global allocator: see [`main!`] and the files in `src/bin`.
//!
//! The program performs one of the [`workloads`], whose name is its only argument, several times,
//! and prints a checksum of the results, the most memory that it had, and the processor time of
//! each run. Asked for [`waves`], it makes those instead.

mod checksum;
mod program;
pub mod waves;
pub mod workloads;

pub use checksum::Checksum;
pub use program::{NoReport, RUNS, Report, run};

/// Bytes of the arena of those allocators that serve a program from one: more than twice what any
/// workload needs. It lies in `.bss`, where pages that are never used take no memory; the compiler,
/// however, holds its initial value several times.
pub const ARENA: usize = 128 << 20;

/// Makes a program whose global allocator is the given one.
///
/// ```
/// programs::main!(std::alloc::System = std::alloc::System);
/// ```
#[macro_export]
macro_rules! main {
    ($allocator:ty = $value:expr) => {
        #[global_allocator]
        static ALLOCATOR: $allocator = $value;

        fn main() -> std::process::ExitCode {
            $crate::run()
        }
    };
}
