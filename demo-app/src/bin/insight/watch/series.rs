//! A figure over time, in a bounded number of points however long that is.

/// The most points that are kept: more than any terminal has columns.
const MOST: usize = 512;

/// The most that a figure was in each of equally long stretches of time. When there are too many of those, each two
/// become one.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Nanoseconds of a stretch.
    stretch: u64,
    points: Vec<u64>,
    last: u64,
}

impl Series {
    /// No time has gone by.
    pub(super) fn new() -> Self {
        Self { stretch: 1_000_000, points: Vec::new(), last: 0 }
    }

    /// The figure has this value at that time, and until it has another.
    pub(super) fn note(&mut self, time: u64, value: u64) {
        while time / self.stretch >= MOST as u64 {
            self.points = self.points.chunks(2).map(|pair| pair.iter().copied().max().unwrap_or(0)).collect();
            self.stretch *= 2;
        }
        let place = (time / self.stretch) as usize;
        if self.points.len() <= place {
            self.points.resize(place + 1, self.last);
        }
        // (Clocks of different threads may be a little apart.)
        self.points[place] = self.points[place].max(value);
        self.last = value;
    }

    /// As many points as there are columns, the last of which is now.
    pub(super) fn columns(&self, columns: usize) -> Vec<u64> {
        let count = self.points.len();
        if count == 0 || columns == 0 {
            return Vec::new();
        }
        let start = |column: usize| column * count / columns;
        let most = |column| {
            let (from, to) = (start(column), start(column + 1));
            self.points[from..to.max(from + 1)].iter().copied().max().unwrap_or(0)
        };
        (0..columns).map(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_the_most_of_its_stretch_and_lasts() {
        let mut series = Series::new();
        series.note(100_000, 5);
        series.note(200_000, 3);
        series.note(3_000_000, 7);
        assert_eq!(series.points, [5, 3, 3, 7]);
        assert_eq!(series.columns(2), [5, 7]);
        assert_eq!(series.columns(8), [5, 5, 3, 3, 3, 3, 7, 7]);
        assert!(Series::new().columns(10).is_empty());
    }

    #[test]
    fn there_are_never_too_many() {
        let mut series = Series::new();
        (0..100_000u64).for_each(|n| series.note(n * 1_000_000, n));
        assert!(series.points.len() <= MOST && series.points.len() > MOST / 4);
        assert!(series.points.is_sorted());
        assert_eq!(series.points.last(), Some(&99_999));
    }
}
