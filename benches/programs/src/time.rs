//! Processor time.

use std::time::Duration;

/// Processor time that this process has used so far: all its threads, in the program and in the
/// system.
pub(crate) fn of_process() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a variable of this function that the call may write to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "Linux has this clock");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_have_ended_count() {
        let before = of_process();
        let thread = std::thread::spawn(|| {
            let begun = of_process();
            while of_process() - begun < Duration::from_millis(30) {
                std::hint::spin_loop();
            }
        });
        thread.join().unwrap();
        assert!(of_process() - before >= Duration::from_millis(30));
    }
}
