//! What was in use over time.

use super::walk::Moment;

/// At most so many points.
const POINTS: u64 = 1200;

/// What was in use at the moment of an interval at which most was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) moment: Moment,
    /// Bytes of the pages that had something in them.
    pub(crate) footprint: u64,
}

/// Collects a point for each interval of events.
pub(crate) struct Series {
    events: u64,
    points: Vec<Point>,
    /// The interval of the last point.
    interval: u64,
}

impl Series {
    /// For so many events in all.
    pub(crate) fn new(events: u64) -> Self {
        Self { events: events.max(1), points: Vec::new(), interval: u64::MAX }
    }

    pub(crate) fn add(&mut self, now: &Moment, footprint: u64) {
        let intervals = POINTS.min(self.events);
        let interval = (now.ordinal - 1) * intervals / self.events;
        let point = Point { moment: *now, footprint };
        match self.points.last_mut() {
            Some(last) if self.interval == interval => {
                // The last moment of all is the end, and it has a point of its own.
                if now.live_bytes >= last.moment.live_bytes {
                    *last = point;
                }
            }
            _ => {
                self.interval = interval;
                self.points.push(point);
            }
        }
        if now.ordinal == self.events && self.points.last() != Some(&point) {
            self.points.push(point);
        }
    }

    pub(crate) fn finish(self) -> Vec<Point> {
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(live: &[u64]) -> Vec<(u64, u64, u64)> {
        let mut series = Series::new(live.len() as u64);
        for (before, &live_bytes) in live.iter().enumerate() {
            let moment = Moment { ordinal: before as u64 + 1, live_bytes, ..Moment::default() };
            series.add(&moment, 2 * live_bytes);
        }
        series
            .finish()
            .iter()
            .map(|point| (point.moment.ordinal, point.moment.live_bytes, point.footprint))
            .collect()
    }

    #[test]
    fn few_events_have_a_point_each() {
        assert_eq!(points(&[5, 9, 4]), [(1, 5, 10), (2, 9, 18), (3, 4, 8)]);
    }

    #[test]
    fn of_many_events_the_highest_of_each_interval_has_a_point_and_the_last() {
        // Four events to an interval; the second one of each is the highest.
        let live: Vec<u64> = (0..4800).map(|n| if n % 4 == 1 { 1000 + n } else { n % 7 }).collect();
        let points = points(&live);
        assert_eq!(points.len(), 1201);
        assert_eq!(points[0], (2, 1001, 2002));
        assert_eq!(points[1199], (4798, 1000 + 4797, 2 * (1000 + 4797)));
        assert_eq!(points[1200], (4800, 4799 % 7, 2 * (4799 % 7)));
    }
}
