//! The file format of recorded traces.
//!
//! ```text
//! magic    "SBSTRACE"                       8 bytes
//! version  1                                1 byte
//! count    number of operations             varint
//! then per operation
//!   tag    kind (2 bits) | align_log2 << 2  1 byte     kinds: allocate, allocate zeroed, reallocate, free
//!   slot   difference to the last slot      varint, zigzag
//!   size   unless it is a free              varint
//! ```
//!
//! A varint holds seven bits per byte, lowest first; the top bit says that more follow.

use std::fmt;

use crate::operation::{Inconsistency, MAX_ALIGN_LOG2, Operation, examine};

const MAGIC: &[u8; 8] = b"SBSTRACE";
const VERSION: u8 = 1;

const ALLOCATE: u8 = 0;
const ALLOCATE_ZEROED: u8 = 1;
const REALLOCATE: u8 = 2;
const FREE: u8 = 3;

/// Why bytes are not a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceError {
    /// The file does not begin as a trace does.
    NotATrace,
    /// The file is of a version that this program does not know.
    UnknownVersion(u8),
    /// The file ends in the middle of something.
    Truncated,
    /// A number does not fit where it belongs.
    NumberTooLarge {
        /// Where in the file it stands.
        offset: usize,
    },
    /// An alignment is beyond what sequences may ask for.
    AlignmentTooLarge {
        /// Its binary logarithm.
        align_log2: u8,
    },
    /// Something follows the last operation.
    TrailingBytes(usize),
    /// The operations contradict each other.
    Inconsistent(Inconsistency),
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATrace => f.write_str("it does not begin with the mark of a trace"),
            Self::UnknownVersion(version) => {
                write!(f, "it has version {version}, but only {VERSION} is known")
            }
            Self::Truncated => f.write_str("it ends too early"),
            Self::NumberTooLarge { offset } => {
                write!(f, "the number at byte {offset} is too large")
            }
            Self::AlignmentTooLarge { align_log2 } => {
                write!(f, "it asks for an alignment of 2^{align_log2}")
            }
            Self::TrailingBytes(count) => write!(f, "{count} bytes follow its end"),
            Self::Inconsistent(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for TraceError {}

/// Writes operations as a trace.
#[must_use]
pub fn encode(operations: &[Operation]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    put_varint(&mut bytes, operations.len() as u64);
    let mut last_slot = 0_i64;
    for &operation in operations {
        let (kind, align_log2, size) = match operation {
            Operation::Allocate { size, align_log2, zeroed: false, .. } => (ALLOCATE, align_log2, Some(size)),
            Operation::Allocate { size, align_log2, .. } => (ALLOCATE_ZEROED, align_log2, Some(size)),
            Operation::Reallocate { size, .. } => (REALLOCATE, 0, Some(size)),
            Operation::Free { .. } => (FREE, 0, None),
        };
        bytes.push(kind | align_log2 << 2);
        let slot = i64::from(operation.slot());
        put_varint(&mut bytes, zigzag(slot - last_slot));
        last_slot = slot;
        if let Some(size) = size {
            put_varint(&mut bytes, u64::from(size));
        }
    }
    bytes
}

/// Reads a trace and checks that its operations make sense.
///
/// # Errors
///
/// Says what is wrong with the bytes, or which operation contradicts the earlier ones.
pub fn decode(bytes: &[u8]) -> Result<Vec<Operation>, TraceError> {
    let body = bytes.strip_prefix(MAGIC).ok_or(TraceError::NotATrace)?;
    let (&version, _) = body.split_first().ok_or(TraceError::Truncated)?;
    if version != VERSION {
        return Err(TraceError::UnknownVersion(version));
    }
    let mut reader = Reader { bytes, offset: MAGIC.len() + 1 };
    let count = reader.number()?;
    let mut operations = Vec::new();
    let mut last_slot = 0_i64;
    for _ in 0..count {
        let operation = reader.operation(last_slot)?;
        last_slot = i64::from(operation.slot());
        operations.push(operation);
    }
    if reader.offset < bytes.len() {
        return Err(TraceError::TrailingBytes(bytes.len() - reader.offset));
    }
    examine(operations.iter().copied()).map_err(TraceError::Inconsistent)?;
    Ok(operations)
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, TraceError> {
        let byte = *self.bytes.get(self.offset).ok_or(TraceError::Truncated)?;
        self.offset += 1;
        Ok(byte)
    }

    /// A varint of at most 35 bits; nothing in a trace needs more than 33.
    fn number(&mut self) -> Result<u64, TraceError> {
        let offset = self.offset;
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(TraceError::NumberTooLarge { offset })
    }

    fn size(&mut self) -> Result<u32, TraceError> {
        let offset = self.offset;
        let number = self.number()?;
        u32::try_from(number).map_err(|_| TraceError::NumberTooLarge { offset })
    }

    fn operation(&mut self, last_slot: i64) -> Result<Operation, TraceError> {
        /// More slots than any trace has; keeps a damaged file from asking for gigabytes.
        const MOST_SLOTS: u32 = 1 << 24;
        let tag = self.byte()?;
        let align_log2 = tag >> 2;
        if align_log2 > MAX_ALIGN_LOG2 {
            return Err(TraceError::AlignmentTooLarge { align_log2 });
        }
        let offset = self.offset;
        let slot = last_slot + unzigzag(self.number()?);
        let slot = u32::try_from(slot)
            .ok()
            .filter(|&slot| slot < MOST_SLOTS)
            .ok_or(TraceError::NumberTooLarge { offset })?;
        Ok(match tag & 0b11 {
            FREE => Operation::Free { slot },
            REALLOCATE => Operation::Reallocate { slot, size: self.size()? },
            kind => {
                Operation::Allocate { slot, size: self.size()?, align_log2, zeroed: kind == ALLOCATE_ZEROED }
            }
        })
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Operation> {
        vec![
            Operation::allocate(0, 300),
            Operation::Allocate { slot: 9, size: 1 << 30, align_log2: 12, zeroed: true },
            Operation::Reallocate { slot: 0, size: 1 },
            Operation::Free { slot: 9 },
        ]
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        assert_eq!(decode(&encode(&[])), Ok(Vec::new()));
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = encode(&sample());
        for len in 0..bytes.len() {
            let expected = if len < 8 { TraceError::NotATrace } else { TraceError::Truncated };
            assert_eq!(decode(&bytes[..len]), Err(expected), "{len}");
        }
    }

    #[test]
    fn damage_is_named() {
        let good = encode(&sample());
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            decode(&bytes).unwrap_err().to_string()
        };
        assert_eq!(with(&|bytes| bytes[0] = b'X'), "it does not begin with the mark of a trace");
        assert_eq!(with(&|bytes| bytes[8] = 7), "it has version 7, but only 1 is known");
        assert_eq!(with(&|bytes| bytes.push(0)), "1 bytes follow its end");
        assert_eq!(with(&|bytes| bytes[10] = 0xFC), "it asks for an alignment of 2^63");
    }

    #[test]
    fn contradictions_are_refused() {
        let bytes = encode(&[Operation::Free { slot: 0 }]);
        let error = decode(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "operation 0: touches a slot that holds no live block");
    }
}
