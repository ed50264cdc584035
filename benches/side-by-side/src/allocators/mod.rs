//! The allocators under test: one table, and one way to run a piece of code with any of them.
//!
//! A measurement is a [`Visitor`]: it is compiled once per allocator, so nobody pays for a virtual
//! call.

mod arena;
mod loop_alone;
#[cfg(unix)]
pub(crate) mod thread_cached;
mod under_lock;
mod whole_span;

use std::alloc::GlobalAlloc;

use anyhow::Context as _;
pub use arena::{ArenaAllocator, TooSmall};
use arena::{PicoAlloc, Talc};
use loop_alone::LoopAlone;
use under_lock::{
    BuddyAlloc, BuddySystem, DlMalloc, GoodMemory, LinkedList, SpinLocked, TwoLevelSegregatedFit,
};

use crate::region::Span;

/// What kind of memory an allocator works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No allocator: what the measuring loop itself costs.
    Loop,
    /// Serves everything from one span of memory that was handed to it.
    Arena,
    /// Takes memory from the system whenever it likes.
    General,
}

/// A piece of code that is run with an allocator.
pub trait Visitor {
    /// What it returns.
    type Output;

    /// Runs the code. `Sync`, because a program's threads share its allocator.
    fn visit<A: GlobalAlloc + Sync>(self, allocator: &A) -> Self::Output;
}

/// This project's allocator over a region given at run time, as it is shipped.
pub type Ours = mem_alloc_rust::Locked<mem_alloc_rust::Region>;

macro_rules! table {
    (
        in a span: { $($spanned:ident($class:ident, $type:ty) $spanned_name:literal $spanned_how:literal;)* }
        general: { $($(#[$gate:meta])? $general:ident($value:expr) $name:literal $how:literal;)* }
    ) => {
        /// An allocator under test.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Allocator {
            $(#[doc = $spanned_how] $spanned,)*
            $($(#[$gate])? #[doc = $how] $general,)*
        }

        impl Allocator {
            /// Every allocator of this build, in the order of the tables.
            pub const ALL: &'static [Self] = &[
                $(Self::$spanned,)*
                $($(#[$gate])? Self::$general,)*
            ];

            /// The name in tables.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$spanned => $spanned_name,)*
                    $($(#[$gate])? Self::$general => $name,)*
                }
            }

            /// How it is built and locked here.
            #[must_use]
            pub const fn how(self) -> &'static str {
                match self {
                    $(Self::$spanned => $spanned_how,)*
                    $($(#[$gate])? Self::$general => $how,)*
                }
            }

            /// The class it competes in.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$spanned => Class::$class,)*
                    $($(#[$gate])? Self::$general => Class::General,)*
                }
            }

            /// Bytes that it keeps outside its arena: its own value, lock included. `None` for the
            /// general class.
            #[must_use]
            pub const fn bookkeeping(self) -> Option<usize> {
                match self {
                    $(Self::$spanned => Some(size_of::<$type>()),)*
                    $($(#[$gate])? Self::$general => None,)*
                }
            }

            /// Runs `visitor` with a fresh instance over `span`. The general class ignores the
            /// span.
            ///
            /// # Errors
            ///
            /// If the span cannot even hold what the allocator needs for itself.
            pub fn visit<V: Visitor>(self, span: Span<'_>, visitor: V) -> Result<V::Output, TooSmall> {
                match self {
                    $(Self::$spanned => in_span::<$type, V>(span, visitor),)*
                    $($(#[$gate])? Self::$general => Ok(visitor.visit(&$value)),)*
                }
            }
        }
    };
}

table! {
    in a span: {
        LoopAlone(Loop, LoopAlone) "(loop alone)"
            "gives out addresses from a touched window of 64 KiB and remembers nothing";
        Ours(Arena, Ours) "mem_alloc_rust"
            "`Locked<Region>` as shipped, default features";
        Talc(Arena, Talc) "talc"
            "`TalcLock` with `Manual` source and default bins, spin lock through `lock_api`";
        Rlsf(Arena, SpinLocked<TwoLevelSegregatedFit>) "rlsf"
            "`Tlsf` with 25 × 16 lists (blocks up to 1 GiB), spin lock";
        DlMalloc(Arena, SpinLocked<DlMalloc>) "dlmalloc"
            "`Dlmalloc` over a source that hands the whole arena over at once, spin lock";
        PicoAlloc(Arena, PicoAlloc) "picoalloc"
            "`Allocator` in the spin lock that it ships with, which alone implements `GlobalAlloc`";
        GoodMemory(Arena, SpinLocked<GoodMemory>) "good_memory"
            "`good_memory_allocator::Allocator` with default bins, spin lock";
        BuddyAlloc(Arena, SpinLocked<BuddyAlloc>) "buddy-alloc"
            "`NonThreadsafeAlloc`, 1/32 of the arena for its 64-byte blocks and leaves of 16 bytes as in its README; \
             alignments above 16, which it ignores, by asking for more; spin lock";
        BuddySystem(Arena, SpinLocked<BuddySystem>) "buddy_system"
            "`buddy_system_allocator::Heap<32>`, spin lock; O(n) release";
        LinkedList(Arena, SpinLocked<LinkedList>) "linked_list"
            "`linked_list_allocator::Heap`, spin lock; O(n) first fit";
    }
    general: {
        #[cfg(unix)]
        ThreadCached(*thread_cached::over_a_large_arena()) "thread_cached"
            "`ThreadCached<Region>` over 1 GiB, a static of this project";
        #[cfg(unix)]
        Growing(thread_cached::GROWING) "growing"
            "`ThreadCached<Growing>`, a static of this project";
        System(std::alloc::System) "system"
            "`std::alloc::System`: the allocator of the C library";
        #[cfg(feature = "c-peers")]
        MiMalloc(mimalloc::MiMalloc) "mimalloc"
            "`mimalloc::MiMalloc`, default features";
        #[cfg(feature = "c-peers")]
        Jemalloc(tikv_jemallocator::Jemalloc) "jemalloc"
            "`tikv_jemallocator::Jemalloc`, default features";
        #[cfg(feature = "c-peers")]
        SnMalloc(snmalloc_rs::SnMalloc) "snmalloc"
            "`snmalloc_rs::SnMalloc`, default features";
        RustyAlloc(rusty_alloc_api::RustyAlloc) "rusty_alloc"
            "`rusty_alloc_api::RustyAlloc`, default features";
    }
}

impl Allocator {
    /// Whether it is limited to an arena.
    #[must_use]
    pub fn is_arena(self) -> bool {
        self.class() == Class::Arena
    }

    /// Whether it has a bound, or can be given one.
    #[must_use]
    pub fn can_be_bounded(self) -> bool {
        self.is_arena() || Some(self) == Self::thread_cached()
    }

    /// As [`Allocator::visit`], with the span as a bound for this project's caches, too: to be
    /// called once in a process.
    ///
    /// # Errors
    ///
    /// As for [`Allocator::visit`].
    pub fn visit_bounded<V: Visitor>(self, span: Span<'static>, visitor: V) -> Result<V::Output, TooSmall> {
        match self {
            #[cfg(unix)]
            Self::ThreadCached => Ok(visitor.visit(thread_cached::over(span).ok_or(TooSmall)?)),
            _ => self.visit(span, visitor),
        }
    }

    /// Whether it is one of this project's own, and hence no peer of theirs.
    #[must_use]
    pub fn is_own(self) -> bool {
        match self {
            Self::Ours => true,
            #[cfg(unix)]
            Self::ThreadCached | Self::Growing => true,
            _ => false,
        }
    }

    /// This project's own over an arena that has a cache for each thread, where the platform has it.
    #[must_use]
    pub fn thread_cached() -> Option<Self> {
        Self::ALL.iter().copied().find(|allocator| allocator.is_own() && !allocator.is_arena())
    }

    /// The allocator of that name.
    ///
    /// # Errors
    ///
    /// If this build has none.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.iter().copied().find(|allocator| allocator.name() == name);
        found.with_context(|| format!("no allocator is called {name:?}"))
    }

    /// Whether its blocks hold what was written to them; the loop alone only pretends.
    #[must_use]
    pub fn keeps_contents(self) -> bool {
        self.class() != Class::Loop
    }
}

/// Builds an allocator in a place that it never leaves, and runs the visitor with it.
fn in_span<A: ArenaAllocator + Sync, V: Visitor>(span: Span<'_>, visitor: V) -> Result<V::Output, TooSmall> {
    let mut place = Box::<A>::new_uninit();
    // SAFETY: the span outlives this function and is exclusively borrowed; the box keeps the value
    // where it is.
    unsafe { A::place(&mut place, span.start, span.len) }?;
    // SAFETY: `place` succeeded, so it initialised the value.
    let allocator = unsafe { place.assume_init() };
    Ok(visitor.visit(&*allocator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (index, allocator) in Allocator::ALL.iter().enumerate() {
            let earlier = &Allocator::ALL[..index];
            assert!(earlier.iter().all(|other| other.name() != allocator.name()));
        }
    }

    #[test]
    fn only_the_general_class_has_no_bookkeeping_of_its_own() {
        for allocator in Allocator::ALL {
            let general = allocator.class() == Class::General;
            assert_eq!(allocator.bookkeeping().is_none(), general);
        }
    }
}
