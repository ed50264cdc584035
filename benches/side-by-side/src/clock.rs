//! A clock that is fine enough for a single call.

use std::time::Instant;

use bench_common::statistics::undisturbed_mean;

/// Reads the processor's time-stamp counter where there is one, and knows what reading costs and how long a tick is.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Ticks that pass between two readings with nothing in between, on average.
    overhead: f64,
    /// Length of a tick.
    nanoseconds_per_tick: f64,
    /// Fewest ticks by which the clock moves.
    step: u32,
}

impl Clock {
    /// Calibrates the clock; takes about 50 ms.
    #[must_use]
    pub fn calibrate() -> Self {
        const READINGS: usize = 10_000;
        const MILLISECONDS: u128 = 50;
        let mut readings: Vec<u32> = (0..READINGS).map(|_| Self::time(|| ()).1).collect();
        let overhead = undisturbed_mean(&mut readings);
        let differences = readings.windows(2).map(|pair| pair[1] - pair[0]);
        let step = differences.filter(|&difference| difference > 0).min().unwrap_or(1);
        let (wall, start) = (Instant::now(), source::start());
        while wall.elapsed().as_millis() < MILLISECONDS {
            std::hint::spin_loop();
        }
        let ticks = source::stop().wrapping_sub(start);
        let nanoseconds_per_tick = wall.elapsed().as_nanos() as f64 / ticks as f64;
        Self { overhead, nanoseconds_per_tick, step }
    }

    /// Runs the call and returns the ticks it took, reading the clock included.
    #[inline(always)]
    pub fn time<T>(call: impl FnOnce() -> T) -> (T, u32) {
        let start = source::start();
        let result = call();
        let ticks = source::stop().wrapping_sub(start);
        (result, u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// The length of so many ticks in nanoseconds, without the cost of reading the clock.
    #[must_use]
    pub fn nanoseconds(&self, ticks: f64) -> f64 {
        (ticks - self.overhead).max(0.0) * self.nanoseconds_per_tick
    }

    /// The steps in which the clock moves, in nanoseconds: some processors and virtual machines have coarse ones.
    #[must_use]
    pub fn step_nanoseconds(&self) -> f64 {
        f64::from(self.step) * self.nanoseconds_per_tick
    }

    /// What is read, for the description of the method.
    #[must_use]
    pub const fn description() -> &'static str {
        source::DESCRIPTION
    }
}

#[cfg(target_arch = "x86_64")]
mod source {
    use std::arch::x86_64::{__rdtscp, _mm_lfence, _rdtsc};

    pub(super) const DESCRIPTION: &str = "the time-stamp counter, fenced";

    #[inline(always)]
    pub(super) fn start() -> u64 {
        // SAFETY: every x86-64 processor has these instructions.
        unsafe {
            _mm_lfence();
            let ticks = _rdtsc();
            _mm_lfence();
            ticks
        }
    }

    #[inline(always)]
    pub(super) fn stop() -> u64 {
        let mut processor = 0;
        // SAFETY: every x86-64 processor that runs this has these instructions.
        unsafe {
            let ticks = __rdtscp(&raw mut processor);
            _mm_lfence();
            ticks
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod source {
    use std::sync::LazyLock;
    use std::time::Instant;

    pub(super) const DESCRIPTION: &str = "the system's monotonic clock";

    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(super) fn start() -> u64 {
        ORIGIN.elapsed().as_nanos() as u64
    }

    pub(super) fn stop() -> u64 {
        start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_takes_as_long_as_the_wall_clock_says() {
        let clock = Clock::calibrate();
        let wall = Instant::now();
        let ((), ticks) = Clock::time(|| {
            while wall.elapsed().as_millis() < 20 {
                std::hint::spin_loop();
            }
        });
        let measured = clock.nanoseconds(f64::from(ticks));
        // A descheduled test takes longer, never shorter.
        assert!((19e6..5e9).contains(&measured), "{measured}");
    }
}
