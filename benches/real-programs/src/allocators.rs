//! The allocators: each is a feature of the package in `allocators`.

/// A program's global allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocator {
    /// Its name in tables, which is also that of the feature.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) how: &'static str,
    /// Whether a C or C++ compiler has to build it.
    pub(crate) is_c: bool,
}

/// The unmodified programs.
pub(crate) const SYSTEM: &str = "system";

/// In the order of the tables.
pub(crate) const ALL: [Allocator; 9] = [
    rust("locked", "`mem_alloc_rust::Locked<FreeList>`"),
    rust("thread_cached", "`mem_alloc_rust::ThreadCached<FreeList>`"),
    rust("growing", "`mem_alloc_rust::ThreadCached<Growing>`"),
    rust("talc", "`talc::TalcLock` in a spin lock over a static arena"),
    rust(SYSTEM, "the program as it is published, with the allocator of the C library"),
    c("mimalloc", "`mimalloc::MiMalloc`, default features"),
    c("jemalloc", "`tikv_jemallocator::Jemalloc`, default features"),
    c("snmalloc", "`snmalloc_rs::SnMalloc`, default features"),
    rust("rusty_alloc", "`rusty_alloc_api::RustyAlloc`, default features"),
];

const fn rust(name: &'static str, how: &'static str) -> Allocator {
    Allocator { name, how, is_c: false }
}

const fn c(name: &'static str, how: &'static str) -> Allocator {
    Allocator { name, how, is_c: true }
}
