//! Bytes to values.

#![forbid(unsafe_code)]

use super::{
    CHUNK, CHUNK_HEADER, CHUNK_MAGIC, CallSites, Event, FILE_HEADER, FILE_MAGIC, Module, Note, Record,
    VERSION, flag, kind, note,
};
use core::fmt;

/// What the first chunk says about the whole file.
///
/// ```
/// use mem_alloc_rust::trace::{CallSites, FileHeader};
///
/// let header = FileHeader {
///     process: 4711,
///     pointer_bytes: 8,
///     is_sampled: false,
///     call_sites: CallSites::FramePointers,
///     began: 1_700_000_000_000_000_000,
///     sample_interval: 0,
/// };
/// assert_eq!(FileHeader::decode(&header.encode()), Ok(header));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The process that was traced.
    pub process: u32,
    /// Bytes of a pointer there.
    pub pointer_bytes: u8,
    /// Whether the events are samples: what was in use when they were written down, and who asked for it.
    pub is_sampled: bool,
    /// How call sites were found.
    pub call_sites: CallSites,
    /// When the recording began, in nanoseconds since 1970.
    pub began: u64,
    /// Bytes from one sample to the next, in the mean; 0 if all events are there.
    pub sample_interval: u64,
}

impl FileHeader {
    /// The bytes at the beginning of a file.
    pub fn encode(&self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        let call_sites = match self.call_sites {
            CallSites::None => 0,
            CallSites::FramePointers => 1,
            CallSites::Unwound => 2,
        };
        put(&mut bytes, 0, &FILE_MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &(CHUNK as u32).to_le_bytes());
        put(&mut bytes, 16, &self.process.to_le_bytes());
        put(&mut bytes, 20, &[self.pointer_bytes, u8::from(self.is_sampled), call_sites]);
        put(&mut bytes, 24, &self.began.to_le_bytes());
        put(&mut bytes, 32, &self.sample_interval.to_le_bytes());
        bytes
    }

    /// Reads the bytes at the beginning of a file.
    ///
    /// # Errors
    ///
    /// It is none of this format, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes: &[u8; FILE_HEADER] =
            bytes.first_chunk().ok_or(DecodeError { offset: 0, wrong: Wrong::NotATrace })?;
        if bytes[..8] != FILE_MAGIC {
            return Err(DecodeError { offset: 0, wrong: Wrong::NotATrace });
        }
        let version = u32::from_le_bytes(take(bytes, 8));
        if version != VERSION {
            return Err(DecodeError { offset: 8, wrong: Wrong::Version(version) });
        }
        if u32::from_le_bytes(take(bytes, 12)) as usize != CHUNK {
            return Err(DecodeError { offset: 12, wrong: Wrong::ChunkSize });
        }
        let call_sites = match bytes[22] {
            0 => CallSites::None,
            1 => CallSites::FramePointers,
            2 => CallSites::Unwound,
            _ => return Err(DecodeError { offset: 22, wrong: Wrong::CallSites }),
        };
        Ok(Self {
            process: u32::from_le_bytes(take(bytes, 16)),
            pointer_bytes: bytes[20],
            is_sampled: bytes[21] != 0,
            call_sites,
            began: u64::from_le_bytes(take(bytes, 24)),
            sample_interval: u64::from_le_bytes(take(bytes, 32)),
        })
    }
}

/// What a chunk says about itself.
///
/// ```
/// use mem_alloc_rust::trace::{CHUNK_HEADER, ChunkHeader};
///
/// let header = ChunkHeader { writer: 3, sequence: 41, time: 5_000, thread: 77 };
/// assert_eq!(ChunkHeader::decode(&header.encode()), Ok(Some(header)));
/// assert_eq!(ChunkHeader::decode(&[0; CHUNK_HEADER]), Ok(None), "not begun");
/// // The records of the first chunk are decoded as if they were behind this one.
/// assert_eq!(ChunkHeader::FIRST.sequence, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Whose it is, counted from 0. Chunks of one writer are in the order of time.
    pub writer: u32,
    /// The sequence number before that of its first event.
    pub sequence: u64,
    /// When it was begun, in nanoseconds since the recording began.
    pub time: u64,
    /// The thread that began it, as the system numbers threads.
    pub thread: u32,
}

impl ChunkHeader {
    /// The header of the first chunk, as far as its records need one.
    pub const FIRST: Self = Self { writer: u32::MAX, sequence: 0, time: 0, thread: 0 };

    /// The bytes at the beginning of a chunk.
    pub fn encode(&self) -> [u8; CHUNK_HEADER] {
        let mut bytes = [0; CHUNK_HEADER];
        put(&mut bytes, 0, &CHUNK_MAGIC);
        put(&mut bytes, 4, &self.writer.to_le_bytes());
        put(&mut bytes, 8, &self.sequence.to_le_bytes());
        put(&mut bytes, 16, &self.time.to_le_bytes());
        put(&mut bytes, 24, &self.thread.to_le_bytes());
        bytes
    }

    /// Reads the bytes at the beginning of a chunk; `None` if it was not begun.
    ///
    /// # Errors
    ///
    /// It does not begin as a chunk does.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        // A file that ends in the middle of a header was cut off; nothing in that chunk is lost that was there.
        let Some(bytes) = bytes.first_chunk::<CHUNK_HEADER>() else { return Ok(None) };
        match take::<4>(bytes, 0) {
            [0, 0, 0, 0] => return Ok(None),
            CHUNK_MAGIC => {}
            _ => return Err(DecodeError { offset: 0, wrong: Wrong::Chunk }),
        }
        Ok(Some(Self {
            writer: u32::from_le_bytes(take(bytes, 4)),
            sequence: u64::from_le_bytes(take(bytes, 8)),
            time: u64::from_le_bytes(take(bytes, 16)),
            thread: u32::from_le_bytes(take(bytes, 24)),
        }))
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// What is wrong with a file, and where.
///
/// ```
/// use mem_alloc_rust::trace::{ChunkHeader, DecodeError, Decoder};
///
/// let error: DecodeError = Decoder::new(&ChunkHeader::FIRST).next(&[0x08]).unwrap_err();
/// assert_eq!(error.to_string(), "a record begins with the byte 0x08, which none does");
/// assert_eq!(error.offset, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Distance in bytes from the beginning of what was decoded.
    pub offset: usize,
    wrong: Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    NotATrace,
    Version(u32),
    ChunkSize,
    CallSites,
    Chunk,
    CutOff,
    Kind(u8),
    Number,
    Alignment(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wrong {
            Wrong::NotATrace => f.write_str("the file does not begin as a trace does"),
            Wrong::Version(version) => {
                write!(f, "the trace has version {version}, and {VERSION} is the one that can be read")
            }
            Wrong::ChunkSize => f.write_str("the trace has chunks of another size"),
            Wrong::CallSites => f.write_str("the trace has call sites of an unknown kind"),
            Wrong::Chunk => f.write_str("a chunk does not begin as one does"),
            Wrong::CutOff => f.write_str("a record goes on behind the end of its chunk"),
            Wrong::Kind(first) => write!(f, "a record begins with the byte {first:#04x}, which none does"),
            Wrong::Number => f.write_str("a number has more than 64 bits"),
            Wrong::Alignment(log2) => write!(f, "an alignment is the {log2}th power of two"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Decodes the records of one chunk, one after the other; also of one that is still being written.
///
/// ```
/// use mem_alloc_rust::trace::{ChunkHeader, Decoder, Event, Record};
///
/// let mut decoder = Decoder::new(&ChunkHeader::FIRST);
/// // What was written so far, and what was written then.
/// let (mut records, event) = ([0u8; 4], Event::Release { address: 0x40 });
/// assert_eq!(decoder.next(&records), Ok(None));
/// records[..2].copy_from_slice(&[0x03, 0x20]);
/// assert_eq!(decoder.next(&records), Ok(Some(Record::Event { sequence: 1, event })));
/// assert_eq!(decoder.offset(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    offset: usize,
    sequence: u64,
    address: u64,
    site_address: u64,
    micros: u64,
}

impl Decoder {
    /// For the records behind that header.
    pub fn new(header: &ChunkHeader) -> Self {
        Self { offset: 0, sequence: header.sequence, address: 0, site_address: 0, micros: header.time / 1000 }
    }

    /// How many bytes behind the header were decoded.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The next record among `records`: the same bytes each time, those behind the header, of which there may be more
    /// than the last time. `None` at the end of what was written so far.
    ///
    /// # Errors
    ///
    /// The bytes are none of a record; the next call finds the same.
    pub fn next<'a>(&mut self, records: &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        let Some(&first @ 1..) = records.get(self.offset) else { return Ok(None) };
        let mut ahead = self.clone();
        let mut input = In { bytes: records, offset: self.offset + 1 };
        let record = ahead.record(first, &mut input)?;
        ahead.offset = input.offset;
        *self = ahead;
        Ok(Some(record))
    }

    fn record<'a>(&mut self, first: u8, input: &mut In<'a>) -> Result<Record<'a>, DecodeError> {
        let kind = first & kind::MASK;
        if kind == kind::NOTE {
            return self.note(first, input).map(Record::Note);
        }
        if kind == 0 {
            return Err(DecodeError { offset: self.offset, wrong: Wrong::Kind(first) });
        }
        let others = if first & flag::IS_LATER != 0 { input.number()? } else { 0 };
        self.sequence = self.sequence.wrapping_add(others).wrapping_add(1);
        let align = match first >> flag::ALIGNMENT_SHIFT & flag::ALIGNMENT_FOLLOWS {
            flag::ALIGNMENT_FOLLOWS => input.alignment()?,
            log2 => 1 << log2,
        };
        let has_site = first & flag::HAS_SITE != 0;
        let site = |input: &mut In<'a>| if has_site { input.number() } else { Ok(0) };
        let event = match kind {
            kind::ALLOCATION | kind::ZEROED => Event::Allocation {
                size: input.number()?,
                align,
                address: input.address(&mut self.address)?,
                is_zeroed: kind == kind::ZEROED,
                site: site(input)?,
            },
            kind::RELEASE => Event::Release { address: input.address(&mut self.address)? },
            kind::REALLOCATION => Event::Reallocation {
                new_size: input.number()?,
                align,
                old_address: input.address(&mut self.address)?,
                address: input.address(&mut self.address)?,
                site: site(input)?,
            },
            kind::REFUSED => Event::Refused { size: input.number()?, align, site: site(input)? },
            _ => Event::RefusedReallocation {
                new_size: input.number()?,
                align,
                old_address: input.address(&mut self.address)?,
                site: site(input)?,
            },
        };
        Ok(Record::Event { sequence: self.sequence, event })
    }

    fn note<'a>(&mut self, first: u8, input: &mut In<'a>) -> Result<Note<'a>, DecodeError> {
        Ok(match first >> note::SHIFT {
            note::TIME => {
                self.micros = self.micros.saturating_add(input.number()?);
                Note::Time(self.micros.saturating_mul(1000))
            }
            note::THREAD => Note::Thread(input.number()?),
            note::SITE => Note::Site {
                number: input.number()?,
                caller: input.number()?,
                address: input.address(&mut self.site_address)?,
            },
            note::MODULE => {
                let [bias, start, end] = [input.number()?, input.number()?, input.number()?];
                Note::Module(Module { bias, start, end, path: input.text()? })
            }
            note::PROGRAM => Note::Program(input.text()?),
            note::END => Note::End(input.number()?),
            note::SAMPLE => Note::Sample(input.number()?),
            note::THREAD_END => Note::ThreadEnd(self.sequence.saturating_add(input.number()?)),
            _ => return Err(DecodeError { offset: self.offset, wrong: Wrong::Kind(first) }),
        })
    }
}

/// What fields are read from.
struct In<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> In<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = self.bytes.get(self.offset).ok_or(self.error(Wrong::CutOff))?;
        self.offset += 1;
        Ok(*byte)
    }

    fn error(&self, wrong: Wrong) -> DecodeError {
        DecodeError { offset: self.offset, wrong }
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.error(Wrong::Number))
    }

    fn address(&mut self, before: &mut u64) -> Result<u64, DecodeError> {
        let number = self.number()?;
        let signed = number >> 1;
        let difference = (signed >> 1) as i64 ^ -((signed & 1) as i64);
        let difference = if number & 1 == 0 { difference << 3 } else { difference };
        *before = before.wrapping_add(difference as u64);
        Ok(*before)
    }

    fn alignment(&mut self) -> Result<u64, DecodeError> {
        let log2 = self.byte()?;
        1u64.checked_shl(log2.into()).ok_or(self.error(Wrong::Alignment(log2)))
    }

    fn text(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let end = self.offset.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(self.error(Wrong::CutOff))?;
        let text = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(text)
    }
}
