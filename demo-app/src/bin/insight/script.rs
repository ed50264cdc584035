//! A trace as a script: what a program asked of its allocator, for performing it again on another one.
//!
//! Blocks have small numbers instead of addresses, and threads, too. A script of moderate length is kept in memory, 16
//! bytes a step; a longer one is read from its trace each time it is performed.

mod facts;
mod reading;
mod step;

pub(crate) use facts::FinalRefusal;
pub(crate) use step::{Action, Packed, Step};

use crate::progress::Progress;
use crate::trouble::Trouble;
use facts::Finder;
use reading::Reading;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A script is kept in memory if it has no more steps than this: 256 MiB.
pub(crate) const MOST_IN_MEMORY: usize = 16 << 20;

/// How many steps are done between two looks at the progress bar.
const STEPS_BETWEEN_UPDATES: u64 = 1 << 16;

/// What a traced program asked of its allocator.
pub(crate) struct Script {
    path: PathBuf,
    steps: Steps,
    /// How many steps there are: up to the refusal that ended the program, if one did.
    length: u64,
    threads: usize,
    /// How many requests and releases there are.
    pub(crate) events: u64,
    /// The most bytes that were live at one time, as they were asked for. With what the program was refused in the end.
    pub(crate) peak_bytes: u64,
    /// The largest alignment that was asked for, as a power of two.
    pub(crate) most_align_log2: u8,
    /// Releases of blocks of whose beginning the trace does not tell.
    pub(crate) unknown_releases: u64,
    /// Requests that were refused, and after which the program went on.
    pub(crate) refusals: u64,
    /// The refusal behind which the program got no further, or a thread of it.
    pub(crate) end: Option<FinalRefusal>,
    /// Why the recording ended before the program.
    pub(crate) recording_ended: Option<u64>,
    /// Events that the file should have and has not.
    pub(crate) missing: u64,
}

enum Steps {
    InMemory(Vec<Packed>),
    /// So many are read from the file each time.
    InFile,
}

impl Script {
    /// Reads a trace, and keeps its steps if there are no more than `most_in_memory`.
    ///
    /// # Errors
    ///
    /// It cannot be read, is none, has samples only, or has no event.
    pub(crate) fn read(path: &Path, most_in_memory: usize) -> Result<Self, Trouble> {
        let mut progress = Progress::new(format!("reading {}", path.display()));
        let mut reading = Reading::open(path)?;
        let mut steps = Some(Vec::new());
        let mut finder = Finder::default();
        let mut count: u64 = 0;
        while let Some(step) = reading.next()? {
            finder.note(&step, &reading);
            if let Some(kept) = &mut steps {
                kept.push(step.pack());
                if kept.len() > most_in_memory {
                    steps = None;
                }
            }
            count += 1;
            if count % STEPS_BETWEEN_UPDATES == 0 {
                let (whole, done) = reading.progress();
                progress.update(done, whole);
            }
        }
        let (facts, end) = finder.finish();
        if facts.events == 0 {
            return Err(Trouble::NoEvents { path: path.to_owned() });
        }
        let mut script = Self {
            path: path.to_owned(),
            steps: Steps::InFile,
            length: facts.steps,
            threads: reading.threads(),
            events: facts.events,
            peak_bytes: facts.peak_bytes,
            most_align_log2: facts.most_align_log2,
            unknown_releases: reading.unknown_releases(),
            refusals: facts.refusals,
            end,
            recording_ended: reading.ended(),
            missing: reading.missing(),
        };
        if let Some(mut steps) = steps {
            steps.truncate(usize::try_from(script.length).unwrap_or(usize::MAX));
            if let Some(packed) = end.and_then(|end| steps.get_mut(end.step as usize)) {
                *packed = Step { is_required: true, ..packed.unpack() }.pack();
            }
            script.steps = Steps::InMemory(steps);
        }
        Ok(script)
    }

    /// The trace that it was made from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// How many steps are kept in memory.
    pub(crate) fn steps_in_memory(&self) -> usize {
        match &self.steps {
            Steps::InMemory(steps) => steps.len(),
            Steps::InFile => 0,
        }
    }

    /// Calls a function with each step, until it breaks.
    ///
    /// # Errors
    ///
    /// The trace is read again, and that fails.
    pub(crate) fn visit(&self, mut take: impl FnMut(&Packed) -> ControlFlow<()>) -> Result<(), Trouble> {
        match &self.steps {
            Steps::InMemory(steps) => {
                let _ = steps.iter().try_for_each(take);
            }
            Steps::InFile => {
                let mut reading = Reading::open(&self.path)?;
                for number in 0..self.length {
                    let Some(mut step) = reading.next()? else { break };
                    step.is_required = self.end.is_some_and(|end| end.step == number);
                    if take(&step.pack()).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
