//! Processor time. Reading it allocates nothing.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this thread has used; being descheduled does not count.
#[must_use]
pub fn of_thread() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

/// Processor time that all threads of this process have used together, in the program and in the
/// system.
#[must_use]
pub fn of_process() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("no clock of processor time is negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_costs_no_processor_time() {
        let before = of_thread();
        std::thread::sleep(Duration::from_millis(50));
        assert!(of_thread() - before < Duration::from_millis(25));
    }

    #[test]
    fn threads_that_have_ended_count_for_the_process() {
        let before = of_process();
        let thread = std::thread::spawn(|| {
            let begun = of_thread();
            while of_thread() - begun < Duration::from_millis(30) {
                std::hint::spin_loop();
            }
        });
        thread.join().unwrap();
        assert!(of_process() - before >= Duration::from_millis(30));
    }
}
