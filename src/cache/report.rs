//! Reports of a running program: to a file, and when a signal comes.

use super::slot::Slot;
use super::{ThreadCached, barrier, home};
use crate::heap::Heap;
use crate::report::{self, Look, Seen};
use crate::source::Source;
use crate::stats::Stats;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

impl<S: Source> ThreadCached<S> {
    /// Writes figures and a picture of the arena to a file; see [`Locked::report_to`](crate::Locked::report_to).
    /// Nothing is drained.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    /// use std::os::unix::net::UnixStream;
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() -> std::io::Result<()> {
    ///     drop((0..1000).map(|n| Box::new(n)).collect::<Vec<_>>());
    ///     let (reader, writer) = UnixStream::pair()?;
    ///     A.report_to(writer)?;
    ///     let report = std::io::read_to_string(reader)?;
    ///     assert!(report.contains("\ncached ") && report.ends_with("····\n"), "{report}");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// What the system says if not all could be written.
    pub fn report_to(&self, to: impl AsFd) -> io::Result<()> {
        report::write(self, to.as_fd())
    }

    /// Has a signal report on the running program; see [`Locked::report_on_signal`](crate::Locked::report_on_signal).
    /// It is also sent again if the handler has interrupted its thread in its cache.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, ThreadCached};
    /// use std::os::unix::net::UnixStream;
    ///
    /// #[global_allocator]
    /// static A: ThreadCached<FreeList> = ThreadCached::new();
    ///
    /// fn main() -> std::io::Result<()> {
    ///     let (reader, writer) = UnixStream::pair()?;
    ///     A.report_on_signal(libc::SIGUSR1, writer)?;
    ///     // SAFETY: the signal has a handler.
    ///     unsafe { libc::raise(libc::SIGUSR1) };
    ///     let first = std::io::BufRead::lines(std::io::BufReader::new(reader)).next().unwrap()?;
    ///     assert!(first.starts_with("mem_alloc_rust: report 1"), "{first}");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Locked::report_on_signal`](crate::Locked::report_on_signal).
    pub fn report_on_signal(&'static self, signal: i32, to: impl Into<OwnedFd>) -> io::Result<()> {
        // The lock can be tried after it was taken once.
        drop(self.heap());
        report::install(self, signal, to.into())
    }

    /// Keeps all owners out of their caches, unless one of them stays in its cache. To be called with the lock.
    fn try_close_all(&self) -> bool {
        if self.occupied().next().is_none() {
            return true;
        }
        self.occupied().for_each(Slot::close);
        barrier::everywhere();
        let are_outside = self.occupied().all(Slot::wait_briefly);
        if !are_outside {
            self.open_all();
        }
        are_outside
    }

    /// Counts and draws all there is.
    ///
    /// # Safety
    ///
    /// - The caller has the heap's lock and has closed the gates, and no owner is inside.
    unsafe fn see(&self, heap: &Heap, seen: &mut Seen) {
        self.locked.count(heap, &mut seen.stats);
        // SAFETY: the caller's contract.
        unsafe { self.tell_cached_apart(heap, &mut seen.stats) };
        heap.map(&mut seen.map);
    }
}

impl<S: Source> Look for ThreadCached<S> {
    fn look(&self, seen: &mut Seen) {
        // SAFETY: the gates are closed.
        self.with_closed_gates(|heap| unsafe { self.see(heap, seen) });
    }

    fn try_look(&self, seen: &mut Seen) -> bool {
        let own = home::slot();
        if own.belongs_to(self.identity()) && own.is_entered() {
            return false;
        }
        let Some(heap) = self.locked.try_heap() else { return false };
        if !self.try_close_all() {
            return false;
        }
        seen.stats = Stats::NOTHING;
        // SAFETY: this thread has the lock and has closed the gates, and no owner is inside.
        unsafe { self.see(&heap, seen) };
        self.open_all();
        true
    }

    fn figures(&self) -> (usize, usize) {
        (self.live_bytes(), self.peak_bytes())
    }
}
