//! Values to bytes.

#![forbid(unsafe_code)]

use super::{Event, Module, Note, flag, kind, note};

/// The most bytes of a record that is an event, or a note without a text.
///
/// ```
/// use mem_alloc_rust::trace::{ChunkHeader, Encoder, Event, MAX_EVENT};
///
/// let mut record = [0; MAX_EVENT];
/// let release = Event::Release { address: u64::MAX };
/// assert!(Encoder::new(&ChunkHeader::FIRST).event(1 << 60, &release, &mut record) < MAX_EVENT);
/// ```
pub const MAX_EVENT: usize = 64;

/// Encodes the records of one chunk, one after the other. Does not allocate.
///
/// ```
/// use mem_alloc_rust::trace::{ChunkHeader, Decoder, Encoder, Event, MAX_EVENT, Record};
///
/// let header = ChunkHeader { writer: 0, sequence: 0, time: 0, thread: 1 };
/// let mut encoder = Encoder::new(&header);
/// let event = Event::Allocation { size: 24, align: 8, address: 0x1000, is_zeroed: false, site: 0 };
/// let mut bytes = [0; MAX_EVENT];
/// let len = encoder.event(1, &event, &mut bytes);
/// assert_eq!(bytes[..len], [0x31, 24, 0x80, 0x10]);
///
/// let mut decoder = Decoder::new(&header);
/// assert_eq!(decoder.next(&bytes), Ok(Some(Record::Event { sequence: 1, event })));
/// assert_eq!(decoder.next(&bytes), Ok(None));
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    sequence: u64,
    address: u64,
    site_address: u64,
    micros: u64,
}

impl Encoder {
    /// For the records behind that header.
    pub fn new(header: &super::ChunkHeader) -> Self {
        Self { sequence: header.sequence, address: 0, site_address: 0, micros: header.time / 1000 }
    }

    /// Writes an event, and returns how many bytes that took. Sequence numbers ascend.
    #[inline]
    pub fn event(&mut self, sequence: u64, event: &Event, bytes: &mut [u8; MAX_EVENT]) -> usize {
        let mut out = Out { bytes, len: 1 };
        let others = sequence.wrapping_sub(self.sequence).wrapping_sub(1);
        self.sequence = sequence;
        let mut first = 0;
        if others != 0 {
            first = flag::IS_LATER;
            out.number(others);
        }
        let site = match *event {
            Event::Allocation { size, align, address, is_zeroed, site } => {
                first |= if is_zeroed { kind::ZEROED } else { kind::ALLOCATION };
                first |= out.alignment(align);
                out.number(size);
                out.address(&mut self.address, address);
                site
            }
            Event::Release { address } => {
                first |= kind::RELEASE;
                out.address(&mut self.address, address);
                0
            }
            Event::Reallocation { new_size, align, old_address, address, site } => {
                first |= kind::REALLOCATION;
                first |= out.alignment(align);
                out.number(new_size);
                out.address(&mut self.address, old_address);
                out.address(&mut self.address, address);
                site
            }
            Event::Refused { size, align, site } => {
                first |= kind::REFUSED;
                first |= out.alignment(align);
                out.number(size);
                site
            }
            Event::RefusedReallocation { new_size, align, old_address, site } => {
                first |= kind::REFUSED_REALLOCATION;
                first |= out.alignment(align);
                out.number(new_size);
                out.address(&mut self.address, old_address);
                site
            }
        };
        if site != 0 {
            first |= flag::HAS_SITE;
            out.number(site);
        }
        out.bytes[0] = first;
        out.len
    }

    /// Writes a note, and returns how many bytes that took; `None` if there is no room for its text.
    ///
    /// ```
    /// use mem_alloc_rust::trace::{ChunkHeader, Encoder, Note};
    ///
    /// let (mut encoder, mut bytes) = (Encoder::new(&ChunkHeader::FIRST), [0; 100]);
    /// assert_eq!(encoder.note(&Note::Program(b"ls -l"), &mut bytes), Some(7));
    /// assert_eq!(bytes[2..7], *b"ls -l");
    /// assert_eq!(encoder.note(&Note::Program(&[b'x'; 200]), &mut bytes), None);
    /// ```
    pub fn note(&mut self, what: &Note<'_>, bytes: &mut [u8]) -> Option<usize> {
        let first = |sub: u8| kind::NOTE | sub << note::SHIFT;
        let text: &[u8] = match what {
            Note::Module(module) => module.path,
            Note::Program(line) => line,
            _ => &[],
        };
        if bytes.len() < MAX_EVENT + text.len() {
            return None;
        }
        let mut out = Out { bytes, len: 1 };
        let sub = match *what {
            Note::Time(time) => {
                let micros = time / 1000;
                out.number(micros.saturating_sub(self.micros));
                self.micros = self.micros.max(micros);
                note::TIME
            }
            Note::Thread(thread) => {
                out.number(thread);
                note::THREAD
            }
            Note::Site { number, caller, address } => {
                out.number(number);
                out.number(caller);
                out.address(&mut self.site_address, address);
                note::SITE
            }
            Note::Module(Module { bias, start, end, path }) => {
                for number in [bias, start, end, path.len() as u64] {
                    out.number(number);
                }
                note::MODULE
            }
            Note::Program(line) => {
                out.number(line.len() as u64);
                note::PROGRAM
            }
            Note::End(reason) => {
                out.number(reason);
                note::END
            }
            Note::Sample(weight) => {
                out.number(weight);
                note::SAMPLE
            }
            Note::ThreadEnd(last) => {
                out.number(last.saturating_sub(self.sequence));
                note::THREAD_END
            }
        };
        out.bytes[0] = first(sub);
        let end = out.len + text.len();
        out.bytes[out.len..end].copy_from_slice(text);
        Some(end)
    }
}

/// Where fields are written to.
struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    #[inline]
    fn byte(&mut self, byte: u8) {
        // There is room for every field: `MAX_EVENT` is more than the sum of all that a record can have.
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    #[inline]
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// The difference to the address before, which becomes this one.
    #[inline]
    fn address(&mut self, before: &mut u64, address: u64) {
        let difference = address.wrapping_sub(*before) as i64;
        *before = address;
        if difference & 7 == 0 {
            self.number(sign_lowest(difference >> 3) << 1);
        } else {
            // Two bits are lost of a difference of more than half of the address space; there is no such space.
            self.number(sign_lowest(difference) << 1 | 1);
        }
    }

    /// The alignment's bits of the first byte.
    #[inline]
    fn alignment(&mut self, align: u64) -> u8 {
        let log2 = align.trailing_zeros() as u8;
        let bits = log2.min(flag::ALIGNMENT_FOLLOWS);
        if bits == flag::ALIGNMENT_FOLLOWS {
            self.byte(log2);
        }
        bits << flag::ALIGNMENT_SHIFT
    }
}

/// A signed number with its sign in the lowest bit, so that small ones are short.
fn sign_lowest(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}
