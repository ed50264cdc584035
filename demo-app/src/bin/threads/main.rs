//! `ThreadCached` beside `Locked`: the same threads and the same work, one allocator after the other.
//!
//! The program itself, its threads and its output are served by the `ThreadCached` that is registered below. `Locked`
//! lies beside it and is called by hand; so is `ThreadCached` where the two are compared, so that they do exactly the
//! same.
//!
//! | file | job |
//! |---|---|
//! | `block` | a block of either allocator, which knows whether somebody else wrote into it; the one file with `unsafe` |
//! | `work` | what the threads do |

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod block;
mod work;

use anstyle::Style;
use clap::{Arg, Command, value_parser};
use mem_alloc_rust::{FreeList, Locked, ThreadCached};
use std::alloc::GlobalAlloc;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use work::{Work, operations_per_second};

/// Each allocator's arena: 16 MiB.
const ARENA: usize = 16 << 20;

/// The one line that a program with threads needs.
#[global_allocator]
static CACHED: ThreadCached<FreeList<ARENA>> = ThreadCached::new();

/// What it is compared with.
static LOCKED: Locked<FreeList<ARENA>> = Locked::new();

const THREADS: [usize; 4] = [1, 2, 4, 8];

fn main() -> ExitCode {
    let milliseconds = Arg::new("milliseconds")
        .long("milliseconds")
        .value_name("N")
        .help("How long each measurement takes")
        .value_parser(value_parser!(u64).range(1..=60_000))
        .default_value("100");
    let matches = Command::new("threads")
        .about("Shows ThreadCached beside Locked with one to eight threads")
        .arg(milliseconds)
        .get_matches();
    let each = Duration::from_millis(*matches.get_one("milliseconds").expect("it has a default"));
    match show(&mut anstream::stdout().lock(), each) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(out: &mut dyn Write, each: Duration) -> io::Result<()> {
    writeln!(out, "Two allocators over 16 MiB each, in million allocations and releases a second.")?;
    for work in Work::ALL {
        let bold = Style::new().bold();
        writeln!(out, "\n{bold}{}{bold:#}\n", work.about())?;
        writeln!(out, "  threads   Locked   ThreadCached")?;
        for threads in THREADS {
            let million = |allocator: &'static (dyn GlobalAlloc + Sync)| {
                operations_per_second(work, allocator, threads, each).map(|rate| rate / 1e6)
            };
            let (locked, cached) = (million(&LOCKED)?, million(&CACHED)?);
            writeln!(out, "  {threads:7}   {locked:6.1}   {cached:12.1}")?;
        }
    }
    parked(out)?;
    let stats = CACHED.stats();
    CACHED.audit().map_err(io::Error::other)?;
    writeln!(
        out,
        "\nAll threads have ended. {} bytes in {} blocks are in use, by std and this program; the rest of the arena is free.",
        stats.live_bytes, stats.live_blocks,
    )
}

/// One thread fills its cache and sleeps; what it keeps does not keep another one from allocating everything.
fn parked(out: &mut dyn Write) -> io::Result<()> {
    const BLOCKS: usize = 5000;
    /// Bytes of a block that cannot be used.
    const BOOKKEEPING: usize = 4;
    let [begun, measured, sleeps, wakes] = [(); 4].map(|()| Barrier::new(2));
    let (free, taken) = thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            measured.wait();
            drop((0..BLOCKS).map(|number| Box::new([number; 4])).collect::<Vec<_>>());
            sleeps.wait();
            wakes.wait();
        });
        begun.wait();
        // So much is free when all caches are empty. Nothing is formatted until the memory is back.
        CACHED.drain();
        let free = CACHED.stats().largest_free_bytes.saturating_sub(BOOKKEEPING);
        measured.wait();
        sleeps.wait();
        let mut everything = Vec::<u8>::new();
        let taken = everything.try_reserve_exact(free).is_ok();
        drop(everything);
        wakes.wait();
        (free, taken)
    });
    if !taken {
        return Err(io::Error::other("a cache kept memory back"));
    }
    let bold = Style::new().bold();
    writeln!(out, "\n{bold}A thread sleeps on a full cache{bold:#}\n")?;
    writeln!(out, "  Another one allocated {free} of the arena's {ARENA} bytes in one block meanwhile.")
}
