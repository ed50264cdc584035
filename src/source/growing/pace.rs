//! How much may be given back to the system now.
//!
//! What was given back and is wanted again costs the program a page fault for each page, many times what giving it
//! back costs. So that a program which frees and allocates in turn does not pay each time, giving back is an allowance
//! that grows with time, as a token bucket does. A program that has not given back for a while gives all of a peak back
//! as it falls; one that does so all the time, a bounded share.

use crate::mapping;

/// Bytes that may be given back in a second. With pages of 4 KiB and two microseconds for a fault, as it takes in a
/// virtual machine, they cost an eighth of one processor's time at most.
const BYTES_IN_SECOND: usize = 256 << 20;
const BYTES_IN_MILLISECOND: usize = BYTES_IN_SECOND >> 10;

/// The allowance; all zero bytes in the beginning, when as much may be given back as there is.
pub(super) struct Pace {
    bytes: usize,
    at: u64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { bytes: 0, at: 0 }
    }

    /// Takes so many bytes off the allowance, if it has them. It never grows beyond `most`, or what a second gives.
    pub(super) fn allows(&mut self, bytes: usize, most: usize) -> bool {
        self.allows_at(mapping::milliseconds(), bytes, most)
    }

    fn allows_at(&mut self, now: u64, bytes: usize, most: usize) -> bool {
        let elapsed = usize::try_from(now.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.at = self.at.max(now);
        self.bytes = self
            .bytes
            .saturating_add(elapsed.saturating_mul(BYTES_IN_MILLISECOND))
            .min(most.max(BYTES_IN_SECOND));
        let is_allowed = bytes <= self.bytes;
        if is_allowed {
            self.bytes -= bytes;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_given_back_at_once_and_what_follows_at_a_pace() {
        let mut pace = Pace::new();
        let peak = 1 << 30;
        assert!(pace.allows_at(100_000, peak, peak));
        assert!(!pace.allows_at(100_001, peak, peak));
        assert!(pace.allows_at(100_001, BYTES_IN_MILLISECOND, peak));
        assert!(!pace.allows_at(100_001, 1, peak));
        assert!(pace.allows_at(110_000, peak, peak));
        assert!(!pace.allows_at(90_000, 1, peak), "a clock that goes back earns nothing");
    }
}
