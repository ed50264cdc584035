//! What a [`ThreadCached`] over [`Growing`] memory can be asked and told.

use super::ThreadCached;
use super::drain::Afterwards;
use crate::source::Growing;

impl<const CAP: usize, const HUGE_PAGES: bool> ThreadCached<Growing<CAP, HUGE_PAGES>> {
    /// Sets the cap, in bytes; see [`Locked::set_cap`](crate::Locked::set_cap). What caches have goes back first if the
    /// cap is lowered.
    ///
    /// ```
    /// use mem_alloc_rust::{Growing, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();
    ///
    /// fn main() {
    ///     A.set_cap(16 << 20);
    ///     assert!(Vec::<u8>::new().try_reserve(20 << 20).is_err());
    /// }
    /// ```
    pub fn set_cap(&self, bytes: usize) {
        let mut heap = self.heap();
        if bytes < self.cap() {
            heap = self.drain_into(heap, Afterwards::Asleep);
            self.pressure.note_all_asleep();
        }
        self.locked.source.set_cap(&mut heap, bytes);
    }

    /// The cap, in bytes; see [`Locked::cap`](crate::Locked::cap).
    ///
    /// ```
    /// use mem_alloc_rust::{Growing, ThreadCached};
    ///
    /// static A: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();
    /// assert_eq!(A.cap(), 1 << 30);
    /// ```
    pub fn cap(&self) -> usize {
        self.locked.cap()
    }

    /// Bytes that the allocator has from the system; see [`Locked::committed_bytes`](crate::Locked::committed_bytes).
    ///
    /// ```
    /// use mem_alloc_rust::{Growing, ThreadCached};
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<Growing<{ 1 << 30 }>> = ThreadCached::new();
    ///
    /// fn main() {
    ///     let large = vec![1u8; 100 << 20];
    ///     assert!((100 << 20..110 << 20).contains(&A.committed_bytes()));
    ///     assert_eq!(large.len(), 100 << 20);
    /// }
    /// ```
    pub fn committed_bytes(&self) -> usize {
        let heap = self.heap();
        self.locked.source.committed_bytes(&heap)
    }
}
