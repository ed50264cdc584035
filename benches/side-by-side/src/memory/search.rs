//! The search for the smallest arena that is enough.

/// How thorough a search is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// Lengths are multiples of this.
    pub(super) step: usize,
    /// Probes right below the result, one step apart.
    pub(super) near: usize,
    /// Probes spread evenly between the lower end and the result.
    pub(super) far: usize,
}

impl Search {
    /// The smallest length from `lower` on for which `completes` holds, as far as probing finds it. `None` if there is
    /// none up to `upper`, or if an attempt yields none because it takes too long.
    ///
    /// Completion is not monotonic: a larger arena may lay blocks out worse. So after bisection, lengths below the
    /// result are probed, near it and across the whole range, and bisection goes on from the smallest that completes.
    pub(super) fn smallest(
        self,
        lower: usize,
        upper: usize,
        mut completes: impl FnMut(usize) -> Option<bool>,
    ) -> Option<usize> {
        let Self { step, near, far } = self;
        let lower = lower.next_multiple_of(step);
        let largest = upper / step * step;
        let mut best = lower;
        while !completes(best)? {
            if best >= largest {
                return None;
            }
            best = (best + best / 4).next_multiple_of(step).min(largest);
        }
        loop {
            best = self.bisect(lower, best, &mut completes)?;
            let near = (1..=near).map(|steps| best.saturating_sub(steps * step));
            let far = (0..far).map(|part| (lower + (best - lower) / far * part) / step * step);
            let mut smaller = None;
            for len in far.chain(near).filter(|&len| (lower..best).contains(&len)) {
                if completes(len)? {
                    smaller = Some(len);
                    break;
                }
            }
            match smaller {
                Some(len) => best = len,
                None => return Some(best),
            }
        }
    }

    /// Bisects between a length that is taken to fail and one that completes.
    fn bisect(
        self,
        lower: usize,
        upper: usize,
        completes: &mut impl FnMut(usize) -> Option<bool>,
    ) -> Option<usize> {
        let (mut fails, mut works) = (lower / self.step, upper / self.step);
        while fails < works {
            let middle = usize::midpoint(fails, works);
            if completes(middle * self.step)? {
                works = middle;
            } else {
                fails = middle + 1;
            }
        }
        Some(works * self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THOROUGH: Search = Search { step: 64, near: 24, far: 16 };

    #[test]
    fn a_threshold_is_found_exactly() {
        for threshold in [1024, 1088, 4096, 9984] {
            let found = THOROUGH.smallest(1024, 10_240, |len| Some(len >= threshold));
            assert_eq!(found, Some(threshold));
        }
    }

    #[test]
    fn an_island_below_the_threshold_is_found() {
        let island = 65_536 - 640;
        let found = THOROUGH.smallest(1024, 1 << 20, |len| Some(len >= 65_536 || len == island));
        assert_eq!(found, Some(island));
    }

    #[test]
    fn a_rough_search_is_right_to_a_step() {
        let search = Search { step: 1000, near: 1, far: 0 };
        assert_eq!(search.smallest(9_500, 100_000, |len| Some(len >= 41_234)), Some(42_000));
    }

    #[test]
    fn what_never_completes_is_none() {
        assert_eq!(THOROUGH.smallest(1024, 10_240, |_| Some(false)), None);
        assert_eq!(THOROUGH.smallest(1024, 10_240, |_| None), None);
    }
}
