//! What a child process cost.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// What a process cost, with all its threads, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in the program and in the system.
    pub cpu: Duration,
    /// High-water mark of the resident memory in KiB, as the kernel tells the parent: it begins
    /// with what was resident in the process before its `exec`, a copy of the parent's memory or
    /// the parent's own.
    pub peak_kib: u64,
}

/// Waits for the end of a child process, and returns its status and what it cost.
///
/// # Errors
///
/// If the child cannot be waited for.
pub fn wait(child: Child) -> io::Result<(ExitStatus, Usage)> {
    let mut status: c_int = 0;
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: both pointers are to variables of this function that `wait4` may write to.
    let waited = unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
    if waited == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `wait4` succeeded, so it filled the structure in.
    let usage = unsafe { usage.assume_init() };
    let usage = Usage {
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak_kib: usage.ru_maxrss.unsigned_abs(),
    };
    Ok((ExitStatus::from_raw(status), usage))
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn processor_time_is_taken_from_the_child() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        let (status, usage) = wait(child).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(usage.cpu > Duration::from_millis(20), "{:?}", usage.cpu);
    }

    #[test]
    fn memory_that_the_child_touches_is_counted() {
        let script = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ${#x} >/dev/null";
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (status, usage) = wait(child).unwrap();
        assert!(status.success());
        assert!(usage.peak_kib > 20_000, "{} KiB", usage.peak_kib);
    }
}
