//! Exact division by a number that is known beforehand: which slot of a run begins at a place, if one does.

/// How multiples of a number, an odd one times a power of two, are divided by it, and told from others: by multiplying
/// with the odd one's inverse modulo `2^32`, and rotating by the power's exponent.
///
/// Of a multiple this is the quotient. Of any other it is more than `2^32` over the number, and so is it of the few
/// that are less than none, as `u32` has them. (Granlund and Montgomery, *Division by invariant integers using
/// multiplication*, 1994, section 9.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Divisor {
    pub(super) inverse: u32,
    pub(super) exponent: u8,
}

impl Divisor {
    /// Of a number that is not zero.
    pub(super) fn new(number: u32) -> Self {
        let exponent = number.trailing_zeros();
        let odd = number >> exponent;
        // An odd number is its own inverse modulo eight. Each step doubles the bits that are right. (Newton.)
        let mut inverse = odd;
        for _ in 0..4 {
            inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
        }
        Self { inverse, exponent: exponent as u8 }
    }

    /// The quotient, if it is a multiple and the quotient less than a limit, which is at most `2^32` over the number.
    #[inline(always)]
    pub(super) fn divide(self, dividend: u32, limit: u32) -> Option<u32> {
        let quotient = dividend.wrapping_mul(self.inverse).rotate_right(self.exponent.into());
        (quotient < limit).then_some(quotient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::SlotSize;

    #[test]
    fn multiples_are_divided_and_nothing_else_is() {
        for slot in SlotSize::all() {
            let granules = slot.granules();
            let divisor = Divisor::new(granules);
            // Of what is longer than any page, some of it in front of the first slot.
            let (slots, before) = (4096 / granules, 512);
            for distance in 0..(slots + 9) * granules + before {
                let in_page = distance.wrapping_sub(before);
                let quotient = (in_page % granules == 0).then_some(in_page / granules);
                assert_eq!(divisor.divide(in_page, slots), quotient.filter(|&number| number < slots));
            }
        }
    }
}
