//! What a trace tells, as values.

#![forbid(unsafe_code)]

/// One thing that a program asked of its allocator.
///
/// Addresses are those of the traced program; sizes are in bytes, as they were asked for. A call site is the number of
/// one that a [`Note::Site`] defines, or 0 if it was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block was allocated.
    Allocation {
        /// Bytes asked for.
        size: u64,
        /// The alignment, a power of two.
        align: u64,
        /// Where the block lies; not 0.
        address: u64,
        /// Whether it had to contain zeroes.
        is_zeroed: bool,
        /// Who asked for it.
        site: u64,
    },
    /// A block was given back.
    Release {
        /// Where it lay.
        address: u64,
    },
    /// A block became longer or shorter, and may have moved.
    Reallocation {
        /// Bytes asked for.
        new_size: u64,
        /// The alignment, a power of two, which stays.
        align: u64,
        /// Where the block lay.
        old_address: u64,
        /// Where it lies now; not 0.
        address: u64,
        /// Who asked for it.
        site: u64,
    },
    /// The allocator had no block.
    Refused {
        /// Bytes asked for.
        size: u64,
        /// The alignment, a power of two.
        align: u64,
        /// Who asked for it.
        site: u64,
    },
    /// A block could not become longer, and stayed as it was.
    RefusedReallocation {
        /// Bytes asked for.
        new_size: u64,
        /// The alignment, a power of two.
        align: u64,
        /// Where the block lies.
        old_address: u64,
        /// Who asked for it.
        site: u64,
    },
}

/// What stands between the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// The time, in nanoseconds since the recording began. Written now and then: an event happened at the time of the
    /// note before it in its chunk, or later.
    Time(u64),
    /// The events that follow in this chunk are this thread's, as the system numbers threads.
    Thread(u64),
    /// A call site: a return address, and the call site from which that function was called. All of them together are
    /// a tree.
    Site {
        /// Its number, from 1 on.
        number: u64,
        /// The number of the one that called it; 0 if it is the outermost.
        caller: u64,
        /// The return address: of the instruction behind the call.
        address: u64,
    },
    /// A file whose code is part of the process.
    Module(Module<'a>),
    /// The command line, with spaces between its parts.
    Program(&'a [u8]),
    /// The recording ended before the program, for a reason: 1 the disk is full, 2 there was no memory for one more thread's
    /// writer, 3 there are too many call sites, 4 the program closed the file.
    End(u64),
    /// The allocation that follows in this chunk is one of a sample, and stands for so many bytes.
    Sample(u64),
}

/// A file whose code is part of the process: the program itself, or a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module<'a> {
    /// What is to be subtracted from an address to get the one in the file.
    pub bias: u64,
    /// The first address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// The file's path; bytes, as the system has them.
    pub path: &'a [u8],
}

/// An event with its place in the order of all, or a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// An event.
    Event {
        /// Its number in the order of all events of the file; the first one is 1.
        sequence: u64,
        /// What happened.
        event: Event,
    },
    /// A note.
    Note(Note<'a>),
}

/// How the call sites of a trace were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallSites {
    /// They were not.
    #[default]
    None,
    /// By the frame pointers, which the program has if it was compiled with `-C force-frame-pointers=yes`.
    FramePointers,
    /// By the unwinder's tables, which programs have.
    Unwound,
}
