//! What a trace tells, as values.

#![forbid(unsafe_code)]

/// One thing that a program asked of its allocator.
///
/// These are all that there are: a reader that does not know one would not know what is in use, so that one more makes
/// another version of the format.
///
/// Addresses are those of the traced program; sizes are in bytes, as they were asked for. A call site is the number of
/// one that a [`Note::Site`] defines, or 0 if it was not recorded.
///
/// ```
/// use mem_alloc_rust::trace::Event;
///
/// /// Bytes that were asked for.
/// fn requested(event: &Event) -> u64 {
///     match *event {
///         Event::Allocation { size, .. } | Event::Refused { size, .. } => size,
///         Event::Reallocation { new_size, .. } | Event::RefusedReallocation { new_size, .. } => new_size,
///         Event::Release { .. } => 0,
///     }
/// }
///
/// assert_eq!(requested(&Event::Refused { size: 24, align: 8, site: 0 }), 24);
/// ```
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
    /// A block became longer or shorter, and may have moved. It counts when it is done: another thread may have got its
    /// old place just before, so that there an allocation comes first.
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
///
/// ```
/// use mem_alloc_rust::trace::{ChunkHeader, Decoder, Note, Record};
///
/// // The second thread has number 77 from here on.
/// let mut decoder = Decoder::new(&ChunkHeader::FIRST);
/// assert_eq!(decoder.next(&[0x0D, 77]), Ok(Some(Record::Note(Note::Thread(77)))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The recording ended before the program, for a reason: 1 the disk is full, 2 there was no memory for one more
    /// thread's writer, 3 there are too many call sites, 4 the program closed the file.
    End(u64),
    /// The allocation that follows in this chunk is one of a sample, and stands for so many bytes.
    Sample(u64),
    /// The thread whose events come before in this chunk ended, behind the event of that number. (Destructors of the
    /// thread's that are called later may allocate: then it is told to begin and to end once more.)
    ThreadEnd(u64),
}

/// A file whose code is part of the process: the program itself, or a library.
///
/// ```
/// use mem_alloc_rust::trace::Module;
///
/// let module = Module { bias: 0x5000, start: 0x6000, end: 0x9000, path: b"/usr/bin/true" };
/// let (address, is_in) = (0x6123, |address| (module.start..module.end).contains(&address));
/// assert!(is_in(address));
/// assert_eq!(address - module.bias, 0x1123, "what the symbols of the file are about");
/// ```
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
///
/// ```
/// use mem_alloc_rust::trace::{ChunkHeader, Decoder, Record};
///
/// let mut decoder = Decoder::new(&ChunkHeader::FIRST);
/// // Between the two releases there are five events of other threads.
/// let records = [0x03, 0x20, 0x0B, 5, 0x20, 0];
/// assert!(matches!(decoder.next(&records), Ok(Some(Record::Event { sequence: 1, .. }))));
/// assert!(matches!(decoder.next(&records), Ok(Some(Record::Event { sequence: 7, .. }))));
/// ```
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
///
/// ```
/// assert_eq!(mem_alloc_rust::trace::CallSites::default(), mem_alloc_rust::trace::CallSites::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallSites {
    /// They were not.
    #[default]
    None,
    /// By the frame pointers, which the program has if it was compiled with `-C force-frame-pointers=yes`.
    FramePointers,
    /// By the unwinder's tables, which programs have.
    Unwound,
}
