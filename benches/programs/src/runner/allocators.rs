//! The allocators: each is a program of its own in `src/bin`.

/// A program's global allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocator {
    /// Its name in tables, which is also that of the program.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) how: &'static str,
}

/// The one that the targets are set for.
pub(crate) const THREAD_CACHED: &str = "thread_cached";

/// The one that peak memory is compared with.
pub(crate) const SYSTEM: &str = "system";

/// Every allocator of this build, in the order of the tables.
pub(crate) const ALL: &[Allocator] = &[
    Allocator { name: "locked", how: "`mem_alloc_rust::Locked<FreeList>`" },
    Allocator { name: THREAD_CACHED, how: "`mem_alloc_rust::ThreadCached<FreeList>`" },
    Allocator { name: "growing", how: "`mem_alloc_rust::ThreadCached<Growing>`" },
    Allocator { name: "talc", how: "`talc::TalcLock` in a spin lock over a static arena" },
    Allocator { name: SYSTEM, how: "`std::alloc::System`: the allocator of the C library" },
    #[cfg(feature = "c-peers")]
    Allocator { name: "mimalloc", how: "`mimalloc::MiMalloc`, default features" },
    #[cfg(feature = "c-peers")]
    Allocator { name: "jemalloc", how: "`tikv_jemallocator::Jemalloc`, default features" },
    #[cfg(feature = "c-peers")]
    Allocator { name: "snmalloc", how: "`snmalloc_rs::SnMalloc`, default features" },
    Allocator { name: "rusty_alloc", how: "`rusty_alloc_api::RustyAlloc`, default features" },
];
