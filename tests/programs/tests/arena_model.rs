//! Random sequences of what the trait `Allocator` offers, over everything that is one, against a shadow that knows what
//! has to be in every block.

use allocator_api2::alloc::Allocator;
use mem_alloc_rust::{Arena, AuditError, FreeList, Locked, Stats, ThreadCached};
use proptest::collection::vec;
use proptest::prelude::*;
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Sequences per test, unless `PROPTEST_CASES` says another number.
const CASES: u32 = 1500;

/// Operations in a sequence, at most.
const LENGTH: usize = 120;

/// One call of an allocator. A block is named by its rank among those in use, modulo their number.
#[derive(Clone, Copy, Debug)]
enum Call {
    Allocate {
        layout: Layout,
        zeroed: bool,
    },
    Deallocate {
        which: usize,
    },
    /// To `by` bytes more.
    Grow {
        which: usize,
        by: usize,
        align: usize,
        zeroed: bool,
    },
    /// To what is left of that share of 256.
    Shrink {
        which: usize,
        share: usize,
        align: usize,
    },
}

fn alignments() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => (0..=4u32).prop_map(|log2| 1 << log2),
        5 => (5..=12u32).prop_map(|log2| 1 << log2),
        1 => (13..usize::BITS - 1).prop_map(|log2| 1 << log2),
    ]
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1 => Just(0usize), 8 => 1..100usize, 4 => 100..1000usize, 2 => 1000..6000usize]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let layouts = (sizes(), alignments())
        .prop_filter_map("no layout", |(size, align)| Layout::from_size_align(size, align).ok());
    let call = prop_oneof![
        5 => (layouts, any::<bool>()).prop_map(|(layout, zeroed)| Call::Allocate { layout, zeroed }),
        3 => any::<u8>().prop_map(|which| Call::Deallocate { which: which.into() }),
        3 => (any::<u8>(), sizes(), alignments(), any::<bool>())
            .prop_map(|(which, by, align, zeroed)| Call::Grow { which: which.into(), by, align, zeroed }),
        2 => (any::<u8>(), 0..=256usize, alignments())
            .prop_map(|(which, share, align)| Call::Shrink { which: which.into(), share, align }),
    ];
    vec(call, 0..LENGTH)
}

/// A block in use.
#[derive(Clone, Copy, Debug)]
struct Live {
    block: NonNull<u8>,
    layout: Layout,
    /// Decides what is in it.
    seed: u8,
}

impl Live {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the block is in use, has so many bytes, and the shadow alone looks at them. Whoever allocated it has
        // seen all of them written or cleared.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_ptr(), self.layout.size()) }
    }

    /// Writes the block's contents.
    fn fill(&mut self) {
        // SAFETY: the block is in use, and has so many bytes: they need not be initialised yet.
        unsafe { self.block.write_bytes(0, self.layout.size()) };
        let seed = self.seed;
        for (offset, byte) in self.bytes().iter_mut().enumerate() {
            *byte = expected(seed, offset);
        }
    }

    /// Whether the first `len` bytes are what was written there.
    fn is_intact(&mut self, len: usize) -> bool {
        let seed = self.seed;
        self.bytes()[..len].iter().enumerate().all(|(offset, &byte)| byte == expected(seed, offset))
    }
}

fn expected(seed: u8, offset: usize) -> u8 {
    (usize::from(seed).wrapping_mul(41) ^ offset.wrapping_mul(29) ^ (offset >> 8)) as u8
}

/// An allocator and all blocks of it.
struct Shadow<A> {
    allocator: A,
    live: Vec<Live>,
    count: u8,
}

impl<A: Allocator> Shadow<A> {
    fn new(allocator: A) -> Self {
        Self { allocator, live: Vec::new(), count: 0 }
    }

    /// Takes note of what the allocator has given for `layout`: it is as large and as aligned as it should be, and
    /// overlaps nothing.
    fn checked(&mut self, given: NonNull<[u8]>, layout: Layout) -> Result<Live, TestCaseError> {
        let block = given.cast::<u8>();
        let start = block.addr().get();
        prop_assert!(given.len() >= layout.size(), "{} bytes for {layout:?}", given.len());
        prop_assert_eq!(start % layout.align(), 0);
        let end = start + given.len();
        for other in self.live.iter().filter(|other| other.layout.size() > 0 && layout.size() > 0) {
            let there = other.block.addr().get();
            prop_assert!(
                end <= there || there + other.layout.size() <= start,
                "{layout:?} overlaps {other:?}"
            );
        }
        self.count = self.count.wrapping_add(1);
        Ok(Live { block, layout, seed: self.count })
    }

    fn apply(&mut self, call: Call) -> Result<(), TestCaseError> {
        match call {
            Call::Allocate { layout, zeroed } => self.allocate(layout, zeroed),
            _ if self.live.is_empty() => Ok(()),
            Call::Deallocate { which } => self.deallocate(which % self.live.len()),
            Call::Grow { which, by, align, zeroed } => {
                let which = which % self.live.len();
                self.resize(which, self.live[which].layout.size() + by, align, zeroed)
            }
            Call::Shrink { which, share, align } => {
                let which = which % self.live.len();
                self.resize(which, self.live[which].layout.size() * share / 256, align, false)
            }
        }
    }

    fn allocate(&mut self, layout: Layout, zeroed: bool) -> Result<(), TestCaseError> {
        let given = match zeroed {
            true => self.allocator.allocate_zeroed(layout),
            false => self.allocator.allocate(layout),
        };
        let Ok(given) = given else {
            prop_assert!(layout.size() > 0, "no bytes are always to be had");
            return Ok(());
        };
        let mut block = self.checked(given, layout)?;
        if zeroed {
            prop_assert!(block.bytes().iter().all(|&byte| byte == 0), "{layout:?} is not zero");
        }
        block.fill();
        self.live.push(block);
        Ok(())
    }

    fn deallocate(&mut self, which: usize) -> Result<(), TestCaseError> {
        let mut block = self.live.swap_remove(which);
        prop_assert!(block.is_intact(block.layout.size()), "{block:?} was overwritten");
        // SAFETY: the block is in use, and is not any more.
        unsafe { self.allocator.deallocate(block.block, block.layout) };
        Ok(())
    }

    fn resize(
        &mut self,
        which: usize,
        new_size: usize,
        align: usize,
        zeroed: bool,
    ) -> Result<(), TestCaseError> {
        let mut old = self.live[which];
        let Ok(new) = Layout::from_size_align(new_size, align) else { return Ok(()) };
        let old_size = old.layout.size();
        // SAFETY: the block is in use, and the new size is on the side that the call is for. Where it succeeds, the
        // old pointer is not used any more.
        let given = unsafe {
            match () {
                () if new_size < old_size => self.allocator.shrink(old.block, old.layout, new),
                () if zeroed => self.allocator.grow_zeroed(old.block, old.layout, new),
                () => self.allocator.grow(old.block, old.layout, new),
            }
        };
        let Ok(given) = given else {
            prop_assert!(old.is_intact(old_size), "{old:?} was changed, though it was refused");
            return Ok(());
        };
        self.live.swap_remove(which);
        let mut block = Live { seed: old.seed, ..self.checked(given, new)? };
        if zeroed && new_size >= old_size {
            prop_assert!(block.bytes()[old_size..].iter().all(|&byte| byte == 0), "what is new is not zero");
        }
        let kept = Live { layout: Layout::from_size_align(old_size.min(new_size), 1).unwrap(), ..block };
        prop_assert!({ kept }.is_intact(old_size.min(new_size)), "{old:?} was not kept");
        block.fill();
        self.live.push(block);
        Ok(())
    }
}

/// Runs a sequence, and frees what is left. After each call, the allocator is audited.
fn run<A: Allocator>(
    allocator: A,
    calls: &[Call],
    audit: impl Fn(&A) -> Result<(), AuditError>,
) -> Result<(), TestCaseError> {
    let mut shadow = Shadow::new(allocator);
    for &call in calls {
        shadow.apply(call)?;
        audit(&shadow.allocator).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
    while !shadow.live.is_empty() {
        shadow.deallocate(0)?;
    }
    audit(&shadow.allocator).map_err(|error| TestCaseError::fail(error.to_string()))
}

/// Everything was given back: an allocator that moved a block and kept the old one would show it.
fn is_empty(stats: Stats) -> Result<(), TestCaseError> {
    prop_assert_eq!((stats.live_blocks, stats.live_bytes), (0, 0));
    Ok(())
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { CASES };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn borrowed(len in 16..20_000usize, misalignment in 0..16usize, calls in calls()) {
        let mut buffer = vec![MaybeUninit::new(0xDB); misalignment + len];
        let Ok(arena) = Arena::over(&mut buffer[misalignment..]) else { return Ok(()) };
        run(&arena, &calls, |arena| arena.audit())?;
        is_empty(arena.stats())?;
    }

    #[test]
    fn boxed(len in 16..40_000usize, first in calls(), second in calls()) {
        let Ok(mut arena) = Arena::boxed(len) else { return Ok(()) };
        run(&arena, &first, |arena| arena.audit())?;
        is_empty(arena.stats())?;
        let mut leaked = Shadow::new(&arena);
        for &call in &second {
            leaked.apply(call)?;
        }
        arena.reset();
        is_empty(arena.stats())?;
        run(arena, &second, Arena::audit)?;
    }

    #[test]
    fn locked(calls in calls()) {
        let locked = Box::new(Locked::<FreeList<{ 32 << 10 }>>::new());
        run(&*locked, &calls, |locked| locked.audit())?;
        is_empty(locked.stats())?;
    }

    #[test]
    fn cached(calls in calls()) {
        static CACHED: ThreadCached<FreeList<{ 64 << 10 }>> = ThreadCached::new();
        run(&CACHED, &calls, |cached| cached.audit())?;
        CACHED.drain();
        is_empty(CACHED.stats())?;
    }
}
