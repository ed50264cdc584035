//! Reports of a running program: to a file, and when a signal comes.

use super::Locked;
use crate::report::{self, Look, Seen};
use crate::source::Source;
use crate::stats::Stats;
use lock_api::RawMutex;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

impl<S: Source, R: RawMutex> Locked<S, R> {
    /// Writes figures and a picture of the arena to a file, a pipe or a terminal, in about 40 lines of at most 80
    /// columns. Does not allocate. The lock is held while all is counted, in time in proportion to the number of
    /// blocks, and not while it is written.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    /// use std::os::unix::net::UnixStream;
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// fn main() -> std::io::Result<()> {
    ///     let _some = vec![1u8; 500_000];
    ///     let (reader, writer) = UnixStream::pair()?;
    ///     A.report_to(&writer)?;
    ///     drop(writer);
    ///     let report = std::io::read_to_string(reader)?;
    ///     assert!(report.starts_with("arena ") && report.contains("███████"), "{report}");
    ///     // What can be written to, and what cannot:
    ///     A.report_to(std::io::stderr())?;
    ///     assert!(A.report_to(std::fs::File::open("/dev/null")?).is_err(), "it is open for reading only");
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
}

impl<S: Source> Locked<S> {
    /// Has a signal, `SIGUSR1` for example, write what [`report_to`](Self::report_to) does, in a program that runs,
    /// whatever it is doing. For one allocator of a process.
    ///
    /// Each signal gets a report, between a line that begins with `mem_alloc_rust: report` and one with its end. (A
    /// signal that comes while one of the same number has not been delivered yet is one with that, as all are.) The
    /// handler waits for nobody but who reads stderr. If it has interrupted the allocator, or another thread is at it,
    /// it has the signal sent again in a millisecond, by a timer, a thousand times at most; then the report is what is
    /// known without the lock. On systems other than Linux that is so at once.
    ///
    /// The handler takes the place of one that there may be. It is called on the stack for signals, if the thread has
    /// one, as those of std have. System calls that it interrupts go on, but for those that no signal lets go on: a
    /// `sleep`, a `poll` or a socket's `read` with a time limit, for example, returns `EINTR`. Std's `sleep` sleeps on.
    /// The signals that are sent again interrupt, too. A child that was forked reports on itself, to the same file.
    ///
    /// ```
    /// use mem_alloc_rust::{FreeList, Locked};
    /// use std::io::{BufRead, BufReader};
    /// use std::os::unix::net::UnixStream;
    ///
    /// #[global_allocator]
    /// static A: Locked<FreeList> = Locked::new();
    ///
    /// fn main() -> std::io::Result<()> {
    ///     // To a file, or with `io::stderr().as_fd().try_clone_to_owned()?` to stderr.
    ///     let (reader, writer) = UnixStream::pair()?;
    ///     A.report_on_signal(libc::SIGUSR1, writer)?;
    ///     // SAFETY: the signal has a handler.
    ///     unsafe { libc::raise(libc::SIGUSR1) };
    ///     let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    ///     assert!(lines.next().is_some_and(|line| line.starts_with("mem_alloc_rust: report 1 of process")));
    ///     assert!(lines.any(|line| line.starts_with("live  ")));
    ///     assert!(lines.any(|line| line == "mem_alloc_rust: end of report 1"));
    ///     let again = A.report_on_signal(libc::SIGUSR2, UnixStream::pair()?.1);
    ///     assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if a signal reports on an allocator of this process already, and what the system says if the
    /// signal cannot have a handler.
    pub fn report_on_signal(&'static self, signal: i32, to: impl Into<OwnedFd>) -> io::Result<()> {
        // The lock can be tried after it was taken once.
        drop(self.heap_out_of_line());
        report::install(self, signal, to.into())
    }
}

impl<S: Source, R: RawMutex> Look for Locked<S, R> {
    fn look(&self, seen: &mut Seen) {
        let heap = self.heap_out_of_line();
        self.count(&heap, &mut seen.stats);
        heap.map(&mut seen.map);
    }

    fn try_look(&self, seen: &mut Seen) -> bool {
        let Some(heap) = self.try_heap() else { return false };
        seen.stats = Stats::NOTHING;
        self.count(&heap, &mut seen.stats);
        heap.map(&mut seen.map);
        true
    }

    fn figures(&self) -> (usize, usize) {
        (self.live_bytes(), self.peak_bytes())
    }
}
