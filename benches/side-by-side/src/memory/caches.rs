//! What this project's caches cost in memory: the smallest arena with them over the smallest one
//! without.
//!
//! Only the first static of a process has caches, so every attempt has a process of its own
//! ([`attempt`] is the child's side).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use super::search::Search;
use super::turns;
#[cfg(unix)]
use crate::allocators::thread_cached;
use crate::allocators::{Allocator, Ours};
use crate::own_process::{self, Failure};
use crate::region::Region;
use crate::workloads::read_trace;

/// Numbers of threads that replay a trace at the same time.
pub const THREADS: [usize; 2] = [1, 8];
/// Operations before the next thread has its turn.
pub const TURN: usize = turns::OPERATIONS;
/// What a child exits with if the arena was too small; other errors have other numbers.
pub const REFUSED: u8 = 3;

/// The search gives up at this multiple of the peak.
const LARGEST_FACTOR: usize = 4;
/// The search is right to the peak over this: better than one percent.
const RESOLUTION: usize = 256;
/// An attempt may take so long; most take some milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of the smallest arenas that complete a trace, plus the bookkeeping of the heap outside of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smallest {
    /// Without caches.
    pub locked: usize,
    /// With caches.
    pub cached: usize,
}

impl Smallest {
    /// What the caches cost.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.cached as f64 / self.locked as f64
    }
}

/// What one trace needs.
#[derive(Clone, Debug)]
pub struct CachesRow {
    /// Name of the trace.
    pub trace: String,
    /// Most bytes that all threads together have live at one time, one per number of threads.
    pub peaks: [usize; THREADS.len()],
    /// One per number of threads; none if no arena that was tried is enough.
    pub smallest: [Option<Smallest>; THREADS.len()],
}

/// Who is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Locked,
    Cached,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Cached => "cached",
        }
    }
}

/// Searches for every trace and every number of threads.
///
/// `child` is the command that makes this program call [`attempt`] and exit with [`REFUSED`] if it
/// returns false; it is given the file of the trace and the other arguments of [`attempt`].
///
/// # Errors
///
/// If a trace cannot be read, or a child breaks down.
pub fn run(
    files: &[PathBuf],
    child: impl Fn(&Path, &str, usize, usize) -> Vec<OsString>,
    progress: &ProgressBar,
) -> Result<Vec<CachesRow>> {
    let bookkeeping = Allocator::Ours.bookkeeping().unwrap_or(0);
    progress.set_length((files.len() * THREADS.len()) as u64);
    let mut rows = Vec::new();
    for file in files {
        let trace = read_trace(file)?;
        progress.set_message(trace.name.clone());
        let peaks = THREADS.map(|threads| turns::peak_bytes(&trace, threads));
        let mut smallest = [None; THREADS.len()];
        for (index, (threads, peak)) in std::iter::zip(THREADS, peaks).enumerate() {
            progress.inc(1);
            let mut trouble = Ok(());
            let mut search = |kind: Kind| {
                let step = (peak / RESOLUTION).next_multiple_of(64);
                Search { step, near: 3, far: 4 }.smallest(peak, LARGEST_FACTOR * peak, |arena| {
                    let answer = ask(&child(file, kind.name(), arena, threads));
                    answer.map_err(|error| trouble = Err(error)).ok()
                })
            };
            let (locked, cached) = (search(Kind::Locked), search(Kind::Cached));
            trouble.with_context(|| format!("{} with {threads} threads", trace.name))?;
            smallest[index] = locked.zip(cached).map(|(locked, cached)| Smallest {
                locked: locked + bookkeeping,
                cached: cached + bookkeeping,
            });
        }
        rows.push(CachesRow { trace: trace.name, peaks, smallest });
    }
    Ok(rows)
}

/// Starts a child; true if it completes the trace, false if it is refused memory.
fn ask(arguments: &[OsString]) -> Result<bool> {
    match own_process::run(arguments, LIMIT)? {
        Ok(_) => Ok(true),
        Err(Failure::Ended { code: Some(code), .. }) if code == i64::from(REFUSED) => Ok(false),
        Err(failure) => bail!("{failure}"),
    }
}

/// The child's side: whether an arena of so many bytes is enough for so many threads.
///
/// # Errors
///
/// If the trace cannot be read, or there is no such allocator.
pub fn attempt(file: &Path, kind: &str, arena: usize, threads: usize) -> Result<bool> {
    let trace = read_trace(file)?;
    let mut region = Region::untouched(arena)?;
    match kind {
        "locked" => {
            let span = region.span(arena);
            let locked = Ours::new();
            // SAFETY: the span is exclusively borrowed, and outlives the allocator.
            let is_ready = unsafe { locked.init(span.start.as_ptr(), span.len) }.is_ok();
            Ok(is_ready && turns::replay(&locked, &trace, threads))
        }
        #[cfg(unix)]
        "cached" => {
            // For ever, since a static gets it.
            let span = Box::leak(Box::new(region)).span(arena);
            let allocator = thread_cached::over(span);
            Ok(allocator.is_some_and(|allocator| turns::replay(allocator, &trace, threads)))
        }
        _ => bail!("nothing is called {kind:?} here"),
    }
}

/// Bytes of the allocator's own value, all caches' included; `None` where there are no caches.
#[must_use]
pub const fn size_with_caches() -> Option<usize> {
    #[cfg(unix)]
    return Some(thread_cached::SIZE);
    #[cfg(not(unix))]
    return None;
}
