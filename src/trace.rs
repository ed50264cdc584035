//! Traces: every allocation, release and `realloc` of a program, in a file.
//!
//! This is the file's format, with what [encodes](Encoder) and [decodes](Decoder) it. `demo-app` has the tool that
//! reads such files: how large the arena has to be, who holds the memory, and so on.
//!
//! # The format, version 1
//!
//! A file is a row of *chunks* of [`CHUNK`] bytes. The first one is about the recording; each other one belongs to one
//! *writer*, which is a thread, or several that were there one after the other. Whatever was not written is zero, so
//! that a program that was killed, or whose disk became full, leaves a file whose chunks can be read as far as they go.
//! All numbers are little-endian.
//!
//! ```text
//! the first chunk                                  any other chunk
//!  0  8 bytes  "MARTRACE"                           0  4 bytes  "MARC"; zero: not begun
//!  8  u32      version                              4  u32      writer, counted from 0
//! 12  u32      bytes of a chunk                     8  u64      sequence number before the first event's
//! 16  u32      process                             16  u64      nanoseconds since the recording began
//! 20  u8       bytes of a pointer                  24  u32      thread, as the system numbers it
//! 21  u8       0: all events, 1: samples           28  u32      zero
//! 22  u8       call sites: 0 none,                 32  records, until one that begins with a zero byte
//!              1 by frame pointers, 2 unwound
//! 23  u8       zero
//! 24  u64      when it began, in nanoseconds since 1970
//! 32  u64      bytes from one sample to the next, in the mean; or zero
//! 40           zero
//! 64  records, until one that begins with a zero byte
//! ```
//!
//! A record is a byte that says what follows, and the fields. A number is written in groups of seven bits, the lowest
//! first, with the eighth bit set in all but the last (LEB128). An address is the difference to the one before in the
//! same chunk (the first one: to zero), as a number: for a multiple of 8 an eighth of it with the sign in the lowest
//! bit, times two; for any other the difference with the sign in the lowest bit, times two, plus one.
//!
//! The lowest three bits of the first byte are the kind:
//!
//! | kind | what | fields |
//! |---|---|---|
//! | 1 | allocation | size, address |
//! | 2 | the same, of zeroes | size, address |
//! | 3 | release | address |
//! | 4 | `realloc` | new size, old address, new address |
//! | 5 | a note | see below |
//! | 6 | an allocation that was refused | size |
//! | 7 | a `realloc` that was refused | new size, old address |
//!
//! All kinds but 5 are events, and have three flags:
//!
//! - Bit 3: between this event and the one before in the chunk lie others, in other chunks. Their number follows the
//!   first byte. So each event of a file has a sequence number of its own, in the order in which they happened: an
//!   allocation counts when it is done, a release when it begins. A `realloc` counts when it is done; where it has
//!   moved, another thread may have the old place already, so that an allocation there comes first in the file.
//! - Bits 4 to 6: the alignment's logarithm; 7: it is seven or more, and follows as a byte. Zero for releases.
//! - Bit 7: the [call site](Event::Allocation::site) follows all other fields.
//!
//! A note has its own kind in bits 3 to 7:
//!
//! | note | what | fields |
//! |---|---|---|
//! | 0 | the time | microseconds since the one before; the first one in a chunk: since the chunk's |
//! | 1 | another thread has the writer from here on | its number |
//! | 2 | a call site | its number, the number of the one that called it or 0, the return address (as other addresses, but as difference to the one before of a call site) |
//! | 3 | a module | what was added to its addresses when it was loaded, its first address and the one behind its last as numbers, bytes of its path, the path |
//! | 4 | the program | bytes of its command line, the command line |
//! | 5 | in the first chunk: the recording ended before the program | why: 1 the disk is full, 2 no memory for one more thread's, 3 too many call sites, 4 the program closed the file |
//! | 6 | the next allocation is a sample | how many bytes it stands for |
//! | 7 | the thread that has the writer ends | events of all chunks since the one before in this chunk |
//!
//! A call site is defined before it is used in the order of sequence numbers, but maybe in another chunk.

//!
//! # Reading a file
//!
//! ```
//! use mem_alloc_rust::trace::{
//!     CHUNK, CHUNK_HEADER, ChunkHeader, DecodeError, Decoder, Event, FILE_HEADER, FileHeader, Note, Record, VERSION,
//! };
//!
//! /// What of a file's events is a release.
//! fn releases(file: &[u8]) -> Result<usize, DecodeError> {
//!     FileHeader::decode(file)?;
//!     let mut releases = 0;
//!     for chunk in file[CHUNK..].chunks(CHUNK) {
//!         let Some(header) = ChunkHeader::decode(chunk)? else { continue };
//!         let mut decoder = Decoder::new(&header);
//!         while let Some(record) = decoder.next(&chunk[CHUNK_HEADER..])? {
//!             releases += usize::from(matches!(record, Record::Event { event: Event::Release { .. }, .. }));
//!         }
//!     }
//!     Ok(releases)
//! }
//!
//! # use mem_alloc_rust::trace::{CallSites, Encoder, MAX_EVENT};
//! # let mut file = vec![0; 2 * CHUNK];
//! # let header = FileHeader {
//! #     process: 1, pointer_bytes: 8, is_sampled: false, call_sites: CallSites::None, began: 0, sample_interval: 0,
//! # };
//! # file[..FILE_HEADER].copy_from_slice(&header.encode());
//! # let chunk = ChunkHeader { writer: 0, sequence: 0, time: 0, thread: 1 };
//! # file[CHUNK..CHUNK + CHUNK_HEADER].copy_from_slice(&chunk.encode());
//! # let mut encoder = Encoder::new(&chunk);
//! # let mut record = [0; MAX_EVENT];
//! # let len = encoder.event(1, &Event::Release { address: 64 }, &mut record);
//! # file[CHUNK + CHUNK_HEADER..][..len].copy_from_slice(&record[..len]);
//! # assert_eq!(VERSION, 1);
//! assert_eq!(releases(&file), Ok(1));
//! let error = releases(b"none of a trace").unwrap_err();
//! assert_eq!((error.offset, error.to_string()), (0, "the file does not begin as a trace does".to_owned()));
//! ```

mod decode;
mod encode;
mod event;

pub use decode::{ChunkHeader, DecodeError, Decoder, FileHeader};
pub use encode::{Encoder, MAX_EVENT};
pub use event::{CallSites, Event, Module, Note, Record};

/// Bytes of a chunk of a file.
///
/// ```
/// use mem_alloc_rust::trace::{CHUNK, CHUNK_HEADER, FILE_HEADER, MAX_EVENT, VERSION};
///
/// assert_eq!((VERSION, CHUNK, FILE_HEADER, CHUNK_HEADER), (1, 65_536, 64, 32));
/// assert!(MAX_EVENT < CHUNK);
/// ```
pub const CHUNK: usize = 64 << 10;

/// Bytes of the first chunk in front of its records.
///
/// ```
/// assert_eq!(mem_alloc_rust::trace::FILE_HEADER, 64);
/// ```
pub const FILE_HEADER: usize = 64;

/// Bytes of any other chunk in front of its records.
///
/// ```
/// assert_eq!(mem_alloc_rust::trace::CHUNK_HEADER, 32);
/// ```
pub const CHUNK_HEADER: usize = 32;

/// The version of the format that this crate writes, and reads.
///
/// ```
/// assert_eq!(mem_alloc_rust::trace::VERSION, 1);
/// ```
pub const VERSION: u32 = 1;

const FILE_MAGIC: [u8; 8] = *b"MARTRACE";
const CHUNK_MAGIC: [u8; 4] = *b"MARC";

/// What the lowest three bits of a record's first byte say.
mod kind {
    pub(super) const ALLOCATION: u8 = 1;
    pub(super) const ZEROED: u8 = 2;
    pub(super) const RELEASE: u8 = 3;
    pub(super) const REALLOCATION: u8 = 4;
    pub(super) const NOTE: u8 = 5;
    pub(super) const REFUSED: u8 = 6;
    pub(super) const REFUSED_REALLOCATION: u8 = 7;
    pub(super) const MASK: u8 = 7;
}

/// What the other bits of an event's first byte say.
mod flag {
    pub(super) const IS_LATER: u8 = 1 << 3;
    pub(super) const ALIGNMENT_SHIFT: u32 = 4;
    pub(super) const ALIGNMENT_FOLLOWS: u8 = 7;
    pub(super) const HAS_SITE: u8 = 1 << 7;
}

/// What the other bits of a note's first byte say.
mod note {
    pub(super) const SHIFT: u32 = 3;
    pub(super) const TIME: u8 = 0;
    pub(super) const THREAD: u8 = 1;
    pub(super) const SITE: u8 = 2;
    pub(super) const MODULE: u8 = 3;
    pub(super) const PROGRAM: u8 = 4;
    pub(super) const END: u8 = 5;
    pub(super) const SAMPLE: u8 = 6;
    pub(super) const THREAD_END: u8 = 7;
}

#[cfg(test)]
mod tests;
