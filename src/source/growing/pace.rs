//! How much may be given back to the system now.
//!
//! What was given back and is wanted again costs the program a page fault for each page, many times what giving it
//! back costs. So that a program which frees and allocates in turn does not pay each time, giving back is an allowance
//! that grows with time, as a token bucket does. A program that has not given back for a second gives all of a peak
//! back as it falls; one that frees and allocates all it has many times a second does that once.

use crate::mapping;

/// In a second as much may be given back as there is, and no more than so many bytes. With pages of 4 KiB and two
/// microseconds for a fault, as it takes in a virtual machine, those cost an eighth of one processor's time at most.
const BYTES_IN_SECOND: usize = 256 << 20;
const MILLISECONDS_LOG2: u32 = 10;

/// The allowance; all zero bytes in the beginning, when as much may be given back as there is.
pub(super) struct Pace {
    bytes: usize,
    /// What was given back beyond the allowance.
    debt: usize,
    at: u64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { bytes: 0, debt: 0, at: 0 }
    }

    /// Takes so many bytes off the allowance, if it has them. It never grows beyond `most`, which is what there is.
    pub(super) fn allows(&mut self, bytes: usize, most: usize) -> bool {
        self.allows_at(mapping::milliseconds(), bytes, most)
    }

    /// Whether the allowance has so many bytes, none of which are taken off.
    pub(super) fn has(&mut self, bytes: usize, most: usize) -> bool {
        self.has_at(mapping::milliseconds(), bytes, most)
    }

    /// Takes off so many bytes that were given back, and later what it has not got of them, but no more than `most`.
    pub(super) fn charge(&mut self, bytes: usize, most: usize) {
        let owed = bytes.saturating_sub(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.debt = self.debt.saturating_add(owed).min(most);
    }

    fn allows_at(&mut self, now: u64, bytes: usize, most: usize) -> bool {
        let is_allowed = self.has_at(now, bytes, most);
        if is_allowed {
            self.charge(bytes, most);
        }
        is_allowed
    }

    fn has_at(&mut self, now: u64, bytes: usize, most: usize) -> bool {
        let elapsed = usize::try_from(now.saturating_sub(self.at)).unwrap_or(usize::MAX);
        self.at = self.at.max(now);
        let in_millisecond = most.min(BYTES_IN_SECOND) >> MILLISECONDS_LOG2;
        let earned = elapsed.saturating_mul(in_millisecond);
        let paid = earned.min(self.debt);
        self.debt -= paid;
        self.bytes = self.bytes.saturating_add(earned - paid).min(most);
        bytes <= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_given_back_at_once_and_what_follows_at_a_pace() {
        for (peak, in_millisecond) in [(1 << 30, 256 << 10), (16 << 20, 16 << 10)] {
            let mut pace = Pace::new();
            assert!(pace.allows_at(100_000, peak, peak));
            assert!(!pace.allows_at(100_001, peak, peak));
            assert!(pace.allows_at(100_001, in_millisecond, peak));
            assert!(!pace.allows_at(100_001, 1, peak));
            assert!(pace.allows_at(200_000, peak, peak));
            assert!(!pace.allows_at(200_000, 1, peak), "no more than there is");
            assert!(!pace.allows_at(90_000, 1, peak), "a clock that goes back earns nothing");
        }
    }

    #[test]
    fn what_is_given_back_beyond_the_allowance_is_owed() {
        const PEAK: usize = 1 << 30;
        const IN_MILLISECOND: usize = 256 << 10;
        let mut pace = Pace::new();
        assert!(pace.has_at(100_000, PEAK, PEAK));
        pace.charge(PEAK + 10 * IN_MILLISECOND, PEAK);
        assert!(!pace.has_at(100_010, 1, PEAK));
        assert!(
            pace.has_at(100_011, IN_MILLISECOND, PEAK) && !pace.has_at(100_011, IN_MILLISECOND + 1, PEAK)
        );
        // No more than there is.
        pace.charge(usize::MAX, PEAK);
        assert!(!pace.has_at(100_011 + 4096, 1, PEAK) && pace.has_at(100_012 + 4096, IN_MILLISECOND, PEAK));
    }
}
