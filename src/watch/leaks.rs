//! A leak check: what is live at its end that was not at its beginning.

use super::{probe, table, threads};
use core::fmt;
use core::marker::PhantomData;

/// Looks for blocks that are allocated from now on and not released, by this thread or by all.
///
/// A block belongs to the thread that allocated it, whoever releases it. One that was there before is none of the
/// check's, also if it is resized. While a check lasts, all threads' calls of the allocator take longer: each is looked
/// up in a table of 131,072 blocks.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, LeakCheck};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let check = LeakCheck::new();
///     let text = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
///     assert_eq!(text.len(), 388);
///     drop(text);
///     check.assert_none();
///
///     std::mem::forget([Box::new(1u8), Box::new(2u8)]);
///     let leaks = check.leaks();
///     assert_eq!((leaks.blocks, leaks.bytes), (2, 2));
/// }
/// ```
#[must_use = "what is allocated before a check begins is none of its"]
#[derive(Debug)]
pub struct LeakCheck {
    /// The number of the first block of the check's.
    first: usize,
    /// The thread whose blocks are looked at, as the address of its slot, and the number of its last one before.
    thread: Option<(usize, usize)>,
    overflowed_before: usize,
    /// What this thread allocated is told by this thread.
    not_send: PhantomData<*mut ()>,
}

impl LeakCheck {
    /// Begins to look at what the calling thread allocates: what other threads do at the same time, as those of other
    /// tests, does not matter. (On systems other than Unix, it does.)
    ///
    /// # Panics
    ///
    /// If the program's global allocator is not [`Counted`](super::Counted): nothing would be found.
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it begins something")]
    pub fn new() -> Self {
        let slot = probe::counted_slot("LeakCheck");
        Self::begin(Some((core::ptr::from_ref(slot).addr(), table::number_on(slot))))
    }

    /// Begins to look at what all threads allocate.
    ///
    /// ```
    /// use mem_alloc_rust::watch::{Counted, LeakCheck};
    /// use std::alloc::System;
    ///
    /// #[global_allocator]
    /// static A: Counted<System> = Counted::new(System);
    ///
    /// fn main() {
    ///     let check = LeakCheck::of_process();
    ///     std::thread::spawn(|| std::mem::forget(vec![1u8; 1000])).join().unwrap();
    ///     assert!(check.leaks().list().iter().any(|block| block.bytes == 1000));
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// As for [`new`](Self::new).
    #[track_caller]
    pub fn of_process() -> Self {
        probe::counted_slot("LeakCheck");
        Self::begin(None)
    }

    fn begin(thread: Option<(usize, usize)>) -> Self {
        let overflowed_before = table::overflowed();
        Self { first: table::begin(), thread, overflowed_before, not_send: PhantomData }
    }

    /// What was allocated since the check began and is live now. Does not allocate.
    pub fn leaks(&self) -> Leaks {
        let overflowed = table::overflowed().wrapping_sub(self.overflowed_before);
        let mut leaks = Leaks { overflowed, ..Leaks::default() };
        for entry in table::entries().filter(|entry| entry.number >= self.first) {
            let allocation = match self.thread {
                None => entry.number - self.first + 1,
                Some((thread, last)) if entry.thread == thread => entry.number_on_thread.wrapping_sub(last),
                Some(_) => continue,
            };
            leaks.add(LeakedBlock { address: entry.address, bytes: entry.bytes, allocation });
        }
        leaks
    }

    /// Asserts that there are none now. The check goes on.
    ///
    /// ```should_panic
    /// # use mem_alloc_rust::watch::{Counted, LeakCheck};
    /// # #[global_allocator]
    /// # static A: Counted<std::alloc::System> = Counted::new(std::alloc::System);
    /// # fn main() {
    /// let check = LeakCheck::new();
    /// std::mem::forget(vec![0u8; 24]);
    /// // 1 block was left behind, of 24 bytes in all:
    /// //   allocation 1: 24 bytes at 0x5581e82c1ba0
    /// check.assert_none();
    /// assert!(false, "it panics before");
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If there are some, or more blocks were live at one time than can be told apart; the message lists them.
    #[track_caller]
    pub fn assert_none(&self) {
        let leaks = self.leaks();
        assert!(leaks.blocks == 0 && leaks.overflowed == 0, "{leaks}");
    }
}

impl Drop for LeakCheck {
    fn drop(&mut self) {
        table::end();
        if let Some(slot) = threads::own() {
            slot.settle();
        }
    }
}

/// How many blocks are listed one by one.
const LISTED: usize = 32;

/// What a [`LeakCheck`] found.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, LeakCheck, Leaks};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let check = LeakCheck::new();
///     let (_first, second) = (Box::new([0u8; 100]), Box::new(7u64));
///     let leaks: Leaks = check.leaks();
///     assert_eq!((leaks.blocks, leaks.bytes, leaks.overflowed), (2, 108, 0));
///     assert_eq!(leaks.list()[1].address, &raw const *second as usize);
///     assert!(leaks.to_string().starts_with("2 blocks were left behind, of 108 bytes in all:\n  allocation 1: 100 bytes at 0x"));
/// }
/// ```
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct Leaks {
    /// Blocks that were allocated since the check began and are live, without those of `overflowed`.
    pub blocks: usize,
    /// Bytes that were asked for with them.
    pub bytes: usize,
    /// Blocks of any thread that were allocated or resized while the table of blocks had no room: some may be live.
    pub overflowed: usize,
    /// The first ones, by the order in which they were allocated.
    list: [LeakedBlock; LISTED],
}

impl Leaks {
    /// The first 32 of them, in the order in which they were allocated.
    pub fn list(&self) -> &[LeakedBlock] {
        &self.list[..self.blocks.min(LISTED)]
    }

    fn add(&mut self, block: LeakedBlock) {
        let len = self.list().len();
        self.blocks += 1;
        self.bytes += block.bytes;
        let place = self.list[..len].partition_point(|other| other.allocation < block.allocation);
        if place < LISTED {
            self.list.copy_within(place..len.min(LISTED - 1), place + 1);
            self.list[place] = block;
        }
    }
}

impl fmt::Debug for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaks")
            .field("blocks", &self.blocks)
            .field("bytes", &self.bytes)
            .field("overflowed", &self.overflowed)
            .field("list", &self.list())
            .finish()
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks, bytes, overflowed, .. } = *self;
        match blocks {
            0 => f.write_str("no block was left behind")?,
            1 => write!(f, "1 block was left behind, of {bytes} bytes in all:")?,
            _ => write!(f, "{blocks} blocks were left behind, of {bytes} bytes in all:")?,
        }
        for LeakedBlock { address, bytes, allocation } in self.list() {
            write!(f, "\n  allocation {allocation}: {bytes} bytes at {address:#x}")?;
        }
        if blocks > LISTED {
            write!(f, "\n  and {} more", blocks - LISTED)?;
        }
        if overflowed > 0 {
            write!(
                f,
                "\n{overflowed} more were live at the same time than can be told apart, and may be live"
            )?;
        }
        Ok(())
    }
}

/// A block that was left behind.
///
/// ```
/// use mem_alloc_rust::watch::{Counted, LeakCheck, LeakedBlock};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static A: Counted<System> = Counted::new(System);
///
/// fn main() {
///     let check = LeakCheck::new();
///     drop(Box::new(1));
///     let left: &'static mut [u8; 5] = Box::leak(Box::new([0; 5]));
///     let LeakedBlock { address, bytes, allocation, .. } = check.leaks().list()[0];
///     assert_eq!((address, bytes, allocation), (left.as_ptr() as usize, 5, 2));
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeakedBlock {
    /// Where it lies.
    pub address: usize,
    /// How many bytes were asked for, at first or by the last `realloc`.
    pub bytes: usize,
    /// Which call of `alloc` and `alloc_zeroed` on its thread it was since the check began, the first one being 1; if
    /// the check is of the process, on all threads. A test that does the same each time leaves the same behind, so that
    /// a debugger can stop there.
    pub allocation: usize,
}
