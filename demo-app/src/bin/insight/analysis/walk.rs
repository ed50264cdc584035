//! Events become changes of blocks: what is released is known with its size, and how long it lived.

use crate::overwritten::Overwritten;
use crate::progress::Progress;
use crate::trace_file::{Entry, TraceFile};
use crate::trouble::Trouble;
use mem_alloc_rust::trace::Event;
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};

/// The most call sites that are told apart; a number above it is taken for none. Less than what an ill-formed file
/// could make the tool fill its memory with.
const MOST_SITES: u64 = 1 << 24;

/// How often a bar moves, in events.
const EVENTS_PER_STEP: u64 = 1 << 16;

/// When something happened, and what was in use then, the change included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// How many events there were, this one included.
    pub(crate) ordinal: u64,
    /// Nanoseconds since the recording began.
    pub(crate) time: u64,
    /// The thread, counted from 0 in the order in which they came; the last number stands for all that came later.
    pub(crate) thread: u16,
    /// How many events of this thread there were; modulo 2³².
    pub(crate) step: u32,
    /// Bytes that were asked for and not released.
    pub(crate) live_bytes: u64,
    /// Blocks that were asked for and not released.
    pub(crate) live_blocks: u64,
}

/// Memory that a program has, or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) address: u64,
    /// Bytes that were asked for.
    pub(crate) size: u64,
    /// How many bytes it stands for: as many as it has, if it is none of a sample.
    pub(crate) bytes: u64,
    /// How many blocks it stands for.
    pub(crate) blocks: u64,
    /// Who asked for this size; 0 if that is not known.
    pub(crate) site: u32,
    /// The thread that asked for the block at first, as in [`Moment`].
    pub(crate) thread: u16,
    /// When it was asked for at first, as in [`Moment`].
    pub(crate) born: u64,
    pub(crate) born_time: u64,
    pub(crate) born_step: u32,
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Allocated(&'a Block),
    Released(&'a Block),
    /// The block may have moved.
    Resized {
        old: &'a Block,
        new: &'a Block,
    },
    /// The release was not recorded, since there is another block at that address now. The change that follows
    /// belongs to the same event.
    Lost(&'a Block),
    Refused {
        size: u64,
    },
    /// Something happened to a block that was there before the recording.
    Unknown,
}

/// Whoever wants to know about changes.
pub(crate) trait Observer {
    /// Is called for each change, in order.
    fn observe(&mut self, now: &Moment, change: &Change<'_>);
}

/// A call site: see [`Entry::Site`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Site {
    /// The number of the one that called it; 0 if it is the outermost.
    pub(crate) caller: u32,
    /// The return address; 0 if nothing is known about it.
    pub(crate) address: u64,
}

/// A file whose code is part of the process: see [`Entry::Module`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) bias: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) path: PathBuf,
}

/// What a trace tells beside its events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// By number; what is there for 0 has no meaning.
    pub(crate) sites: Vec<Site>,
    pub(crate) modules: Vec<Module>,
    pub(crate) program: Option<String>,
    /// Why the recording ended before the program.
    pub(crate) end: Option<u64>,
    /// How many threads there were.
    pub(crate) threads: usize,
}

/// Reads a trace from its beginning to its end, and tells the observer.
///
/// # Errors
///
/// The trace cannot be read.
pub(crate) fn walk(
    path: &Path,
    what: &'static str,
    observer: &mut impl Observer,
) -> Result<Surroundings, Trouble> {
    let mut progress = Progress::new("opening");
    let mut trace = TraceFile::open(path)?;
    progress.say(what);
    let mut walk = Walk {
        around: Surroundings { sites: vec![Site::default()], ..Surroundings::default() },
        ..Walk::default()
    };
    while let Some(entry) = trace.next()? {
        match entry {
            Entry::Event { sequence, thread, time, event, weight } => {
                walk.event((sequence, thread, time), &event, weight, observer);
                if walk.now.ordinal % EVENTS_PER_STEP == 0 {
                    let (whole, done) = trace.progress();
                    progress.update(done, whole);
                }
            }
            Entry::Site { number, caller, address } => walk.site(number, caller, address),
            Entry::Module { bias, start, end, path } => {
                walk.around.modules.push(Module { bias, start, end, path });
            }
            Entry::Program(line) => walk.around.program = Some(line),
            Entry::End(reason) => walk.around.end = Some(reason),
            Entry::ThreadEnd(_) => {}
        }
    }
    walk.around.threads = walk.threads.len();
    Ok(walk.around)
}

#[derive(Default)]
struct Walk {
    around: Surroundings,
    now: Moment,
    live: FxHashMap<u64, Live>,
    overwritten: Overwritten,
    /// What blocks stand for, by address, if the trace is one of samples.
    weights: FxHashMap<u64, u64>,
    /// The numbers of threads, by what the system calls them.
    threads: FxHashMap<u64, usize>,
    steps: Vec<u32>,
    /// The thread of the event before, as the system calls it, and its number.
    last_thread: Option<(u64, usize)>,
}

/// What has to be known of a block while it is live. Millions are at once; so it is small.
struct Live {
    size: u64,
    born_time: u64,
    /// The event's number above, the thread's in the lowest 16 bits.
    born_and_thread: u64,
    site: u32,
    born_step: u32,
}

impl Walk {
    fn site(&mut self, number: u64, caller: u64, address: u64) {
        if number >= MOST_SITES || caller >= MOST_SITES {
            return;
        }
        let sites = &mut self.around.sites;
        if number as usize >= sites.len() {
            sites.resize(number as usize + 1, Site::default());
        }
        sites[number as usize] = Site { caller: caller as u32, address };
    }

    fn thread(&mut self, thread: u64) -> usize {
        if let Some((last, number)) = self.last_thread {
            if last == thread {
                return number;
            }
        }
        let next = self.threads.len();
        let number = *self.threads.entry(thread).or_insert(next);
        self.steps.resize(self.threads.len(), 0);
        self.last_thread = Some((thread, number));
        number
    }

    fn event(
        &mut self,
        (sequence, system_thread, time): (u64, u64, u64),
        event: &Event,
        weight: Option<u64>,
        observer: &mut impl Observer,
    ) {
        let thread = self.thread(system_thread);
        self.steps[thread] = self.steps[thread].wrapping_add(1);
        self.now.ordinal += 1;
        // Another thread's clock may have been written down a little earlier.
        self.now.time = self.now.time.max(time);
        self.now.thread = u16::try_from(thread).unwrap_or(u16::MAX);
        self.now.step = self.steps[thread];
        match *event {
            Event::Allocation { size, address, site, .. } => {
                let block = self.block(address, size, site, weight);
                self.put(&block, sequence, system_thread, observer);
                observer.observe(&self.now, &Change::Allocated(&block));
            }
            Event::Release { address } => match self.remove(address) {
                Some(block) => observer.observe(&self.now, &Change::Released(&block)),
                None => observer.observe(&self.now, &Change::Unknown),
            },
            Event::Reallocation { new_size, old_address, address, site, .. } => {
                let fresh = self.block(address, new_size, site, weight);
                let is_late = self.overwritten.is_late(old_address, sequence, system_thread);
                let Some(old) = (if is_late { None } else { self.remove(old_address) }) else {
                    self.put(&fresh, sequence, system_thread, observer);
                    observer.observe(&self.now, &Change::Allocated(&fresh));
                    return;
                };
                let new = Block {
                    site: if fresh.site == 0 { old.site } else { fresh.site },
                    thread: old.thread,
                    born: old.born,
                    born_time: old.born_time,
                    born_step: old.born_step,
                    ..fresh
                };
                self.put(&new, sequence, system_thread, observer);
                observer.observe(&self.now, &Change::Resized { old: &old, new: &new });
            }
            Event::Refused { size, .. } | Event::RefusedReallocation { new_size: size, .. } => {
                observer.observe(&self.now, &Change::Refused { size });
            }
        }
    }

    /// A block that is asked for now.
    fn block(&self, address: u64, size: u64, site: u64, weight: Option<u64>) -> Block {
        let site = if site < self.around.sites.len() as u64 { site as u32 } else { 0 };
        let bytes = weight.unwrap_or(size);
        Block {
            address,
            size,
            bytes,
            blocks: stands_for(bytes, size),
            site,
            thread: self.now.thread,
            born: self.now.ordinal,
            born_time: self.now.time,
            born_step: self.now.step,
        }
    }

    /// Puts a block of a thread where it lies, by the event of that number.
    fn put(&mut self, block: &Block, sequence: u64, thread: u64, observer: &mut impl Observer) {
        let lost = self.remove(block.address);
        self.overwritten.note(block.address, sequence, thread, lost.is_some());
        if let Some(lost) = &lost {
            observer.observe(&self.now, &Change::Lost(lost));
        }
        if block.bytes != block.size {
            self.weights.insert(block.address, block.bytes);
        }
        let live = Live {
            size: block.size,
            born_time: block.born_time,
            born_and_thread: block.born << 16 | u64::from(block.thread),
            site: block.site,
            born_step: block.born_step,
        };
        self.live.insert(block.address, live);
        self.now.live_bytes += block.bytes;
        self.now.live_blocks += block.blocks;
    }

    fn remove(&mut self, address: u64) -> Option<Block> {
        let live = self.live.remove(&address)?;
        let weight = if self.weights.is_empty() { None } else { self.weights.remove(&address) };
        let bytes = weight.unwrap_or(live.size);
        let block = Block {
            address,
            size: live.size,
            bytes,
            blocks: stands_for(bytes, live.size),
            site: live.site,
            thread: live.born_and_thread as u16,
            born: live.born_and_thread >> 16,
            born_time: live.born_time,
            born_step: live.born_step,
        };
        self.now.live_bytes -= block.bytes;
        self.now.live_blocks -= block.blocks;
        Some(block)
    }
}

/// How many blocks of that size are as many bytes.
fn stands_for(bytes: u64, size: u64) -> u64 {
    if bytes == size || size == 0 { 1 } else { ((bytes + size / 2) / size).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Synthetic;
    use mem_alloc_rust::trace::Note;

    /// The changes, in words.
    #[derive(Default)]
    struct Words(Vec<String>);

    impl Observer for Words {
        fn observe(&mut self, now: &Moment, change: &Change<'_>) {
            let what = match change {
                Change::Allocated(block) => {
                    format!("{} at {:#x} by {}", block.size, block.address, block.site)
                }
                Change::Released(block) => format!("{} gone, born {}", block.size, block.born),
                Change::Resized { old, new } => format!("{} to {}, born {}", old.size, new.size, new.born),
                Change::Lost(block) => format!("{} lost", block.size),
                Change::Refused { size } => format!("{size} refused"),
                Change::Unknown => "unknown".to_owned(),
            };
            let Moment { ordinal, thread, step, live_bytes, live_blocks, .. } = now;
            self.0.push(format!(
                "{ordinal}: {what}; thread {thread}, step {step}: {live_blocks} of {live_bytes}"
            ));
        }
    }

    fn words(file: &Synthetic, name: &str) -> (Vec<String>, Surroundings) {
        let mut words = Words::default();
        let around = walk(&file.write(name), "", &mut words).unwrap();
        (words.0, around)
    }

    #[test]
    fn events_become_changes_of_blocks() {
        let mut file = Synthetic::new();
        file.note(7, &Note::Site { number: 3, caller: 0, address: 0x4000 });
        file.allocation(7, 1, 0x1000, 100, 3);
        file.allocation(8, 2, 0x2000, 50, 9);
        file.reallocation(7, 3, (0x1000, 0x3000), 200, 0);
        file.allocation(7, 4, 0x2000, 60, 0);
        file.refused(8, 5, 1 << 20);
        file.release(8, 6, 0x3000);
        file.release(8, 7, 0x9000);
        let (words, around) = words(&file, "changes");
        let expected = [
            "1: 100 at 0x1000 by 3; thread 0, step 1: 1 of 100",
            // The call site 9 was never defined.
            "2: 50 at 0x2000 by 0; thread 1, step 1: 2 of 150",
            "3: 100 to 200, born 1; thread 0, step 2: 2 of 250",
            "4: 50 lost; thread 0, step 3: 1 of 200",
            "4: 60 at 0x2000 by 0; thread 0, step 3: 2 of 260",
            "5: 1048576 refused; thread 1, step 2: 2 of 260",
            "6: 200 gone, born 1; thread 1, step 3: 1 of 60",
            "7: unknown; thread 1, step 4: 1 of 60",
        ];
        assert_eq!(words, expected);
        assert_eq!(around.threads, 2);
        assert_eq!(around.sites[3], Site { caller: 0, address: 0x4000 });
    }

    #[test]
    fn a_block_whose_place_is_taken_before_it_is_told_that_it_moved_takes_no_others() {
        let mut file = Synthetic::new();
        file.allocation(7, 1, 0x1000, 100, 0);
        file.allocation(8, 2, 0x1000, 50, 0);
        file.reallocation(7, 3, (0x1000, 0x3000), 200, 0);
        file.release(8, 4, 0x1000);
        file.release(7, 5, 0x3000);
        let (words, _) = words(&file, "late");
        let expected = [
            "1: 100 at 0x1000 by 0; thread 0, step 1: 1 of 100",
            "2: 100 lost; thread 1, step 1: 0 of 0",
            "2: 50 at 0x1000 by 0; thread 1, step 1: 1 of 50",
            "3: 200 at 0x3000 by 0; thread 0, step 2: 2 of 250",
            "4: 50 gone, born 2; thread 1, step 2: 1 of 200",
            "5: 200 gone, born 3; thread 0, step 3: 0 of 0",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn a_sample_counts_for_what_it_stands_for() {
        let mut file = Synthetic::new();
        file.note(0, &Note::Sample(1000));
        file.allocation(0, 1, 0x1000, 300, 0);
        file.allocation(0, 2, 0x2000, 10, 0);
        file.release(0, 3, 0x1000);
        let (words, _) = words(&file, "samples");
        assert_eq!(words[0], "1: 300 at 0x1000 by 0; thread 0, step 1: 3 of 1000");
        assert_eq!(words[1], "2: 10 at 0x2000 by 0; thread 0, step 2: 4 of 1010");
        assert_eq!(words[2], "3: 300 gone, born 1; thread 0, step 3: 1 of 10");
    }
}
