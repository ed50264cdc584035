//! One step of a script, and its 16 bytes.

/// What is to be done, and what is to be known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is to be done.
    pub(crate) action: Action,
    /// It stands for an event of the trace. (What does not is a thread's turn or its end, or a release that the trace
    /// does not tell of.)
    pub(crate) is_event: bool,
    /// The traced program was refused this and got no further, so that here it must be served.
    pub(crate) is_required: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// All that follows is this thread's.
    Thread(u32),
    /// That thread ends, whoever's turn it is. If it was its own, the next step is a turn.
    ThreadEnd(u32),
    /// A block is to be allocated.
    Allocate {
        /// Its number.
        block: u32,
        /// Bytes.
        size: u64,
        /// The alignment's logarithm.
        align_log2: u8,
        /// Whether it has to contain zeroes.
        is_zeroed: bool,
    },
    /// A block is to be given back.
    Release {
        /// Its number.
        block: u32,
    },
    /// A block's size is to be changed.
    Reallocate {
        /// Its number.
        block: u32,
        /// The new size in bytes.
        size: u64,
    },
    /// An allocation that the traced program was refused.
    Refused {
        /// Bytes.
        size: u64,
        /// The alignment's logarithm.
        align_log2: u8,
    },
    /// A change of size that the traced program was refused.
    RefusedReallocation {
        /// The block's number.
        block: u32,
        /// The new size in bytes.
        size: u64,
    },
}

/// A step in 16 bytes, which are the same on all machines: kind, alignment, flags, zero, block, size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Packed(pub(crate) [u8; 16]);

const IS_EVENT: u8 = 1;
const IS_REQUIRED: u8 = 2;

impl Step {
    /// A step that stands for an event, and is nothing more.
    pub(crate) fn event(action: Action) -> Self {
        Self { action, is_event: true, is_required: false }
    }

    /// A step that stands for no event.
    pub(crate) fn no_event(action: Action) -> Self {
        Self { is_event: false, ..Self::event(action) }
    }

    pub(crate) fn pack(&self) -> Packed {
        let (kind, align, block, size) = match self.action {
            Action::Thread(number) => (0, 0, number, 0),
            Action::Allocate { block, size, align_log2, is_zeroed: false } => (1, align_log2, block, size),
            Action::Allocate { block, size, align_log2, is_zeroed: true } => (2, align_log2, block, size),
            Action::Release { block } => (3, 0, block, 0),
            Action::Reallocate { block, size } => (4, 0, block, size),
            Action::Refused { size, align_log2 } => (5, align_log2, 0, size),
            Action::RefusedReallocation { block, size } => (6, 0, block, size),
            Action::ThreadEnd(number) => (7, 0, number, 0),
        };
        let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
        let mut bytes = [0; 16];
        bytes[0] = kind;
        bytes[1] = align;
        bytes[2] = flag(self.is_event, IS_EVENT) | flag(self.is_required, IS_REQUIRED);
        bytes[4..8].copy_from_slice(&block.to_le_bytes());
        bytes[8..].copy_from_slice(&size.to_le_bytes());
        Packed(bytes)
    }
}

impl Packed {
    pub(crate) fn unpack(&self) -> Step {
        let [kind, align_log2, flags, _, b0, b1, b2, b3, size @ ..] = self.0;
        let (block, size) = (u32::from_le_bytes([b0, b1, b2, b3]), u64::from_le_bytes(size));
        let action = match kind {
            0 => Action::Thread(block),
            1 | 2 => Action::Allocate { block, size, align_log2, is_zeroed: kind == 2 },
            3 => Action::Release { block },
            4 => Action::Reallocate { block, size },
            5 => Action::Refused { size, align_log2 },
            6 => Action::RefusedReallocation { block, size },
            _ => Action::ThreadEnd(block),
        };
        Step { action, is_event: flags & IS_EVENT != 0, is_required: flags & IS_REQUIRED != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let (block, size, align_log2) = (u32::MAX - 1, u64::MAX - 2, 63);
        let actions = [
            Action::Thread(7),
            Action::Allocate { block, size, align_log2, is_zeroed: false },
            Action::Allocate { block, size, align_log2, is_zeroed: true },
            Action::Release { block },
            Action::Reallocate { block, size },
            Action::Refused { size, align_log2 },
            Action::RefusedReallocation { block, size },
            Action::ThreadEnd(7),
        ];
        for action in actions {
            for flags in 0..4 {
                let step = Step { action, is_event: flags & 1 != 0, is_required: flags & 2 != 0 };
                assert_eq!(step.pack().unpack(), step);
            }
        }
    }
}
