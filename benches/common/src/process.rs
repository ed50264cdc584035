//! Child processes: none takes longer than it may, and what it cost is known.

use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

pub use process_control::Output;
use process_control::{ChildExt, Control};

/// Runs a command to its end, and returns what it printed. A process that takes longer than that is
/// killed: there is no output then.
///
/// # Errors
///
/// If it cannot be started or waited for.
pub fn output_within(command: &mut Command, limit: Duration) -> io::Result<Option<Output>> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end_within(command.spawn()?, limit)
}

/// Waits for the end of a child process, and returns what it printed, as far as it was piped and not
/// taken. A process that takes longer than that is killed: there is no output then.
///
/// # Errors
///
/// If it cannot be waited for.
pub fn end_within(child: Child, limit: Duration) -> io::Result<Option<Output>> {
    child.controlled_with_output().time_limit(limit).terminate_for_timeout().wait()
}

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

/// Waits for the end of a child process, and returns its status and what it cost. A process that
/// takes longer than that is killed: there is neither then.
///
/// Nothing of this process runs meanwhile; the kernel keeps the time.
///
/// # Errors
///
/// If the child cannot be waited for.
#[cfg(target_os = "linux")]
pub fn wait_within(mut child: Child, limit: Duration) -> io::Result<Option<(ExitStatus, Usage)>> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use wait4::Wait4;

    let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    // The handle of a process can be read from when it has ended.
    let has_ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))? > 0;
    if !has_ended {
        child.kill()?;
    }
    let end = child.wait4()?;
    let usage = Usage { cpu: end.rusage.utime + end.rusage.stime, peak_kib: end.rusage.maxrss >> 10 };
    Ok(has_ended.then_some((end.status, usage)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn processor_time_is_taken_from_the_child() {
        let mut child = shell("while :; do :; done").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        let (status, usage) = wait_within(child, LONG).unwrap().unwrap();
        assert_eq!(status.signal(), Some(9));
        assert!(usage.cpu > Duration::from_millis(20), "{:?}", usage.cpu);
    }

    #[test]
    fn memory_that_the_child_touches_is_counted() {
        let script = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ${#x} >/dev/null";
        let (status, usage) = wait_within(shell(script).spawn().unwrap(), LONG).unwrap().unwrap();
        assert!(status.success());
        assert!(usage.peak_kib > 20_000, "{} KiB", usage.peak_kib);
    }

    #[test]
    fn a_child_that_takes_too_long_is_killed() {
        let begun = Instant::now();
        let limit = Duration::from_millis(50);
        assert_eq!(wait_within(shell("exec sleep 60").spawn().unwrap(), limit).unwrap(), None);
        assert!(output_within(&mut shell("exec sleep 60"), limit).unwrap().is_none());
        assert!(begun.elapsed() < LONG / 2);
    }

    #[test]
    fn more_output_than_a_pipe_holds_is_read() {
        let script = "head -c 1000000 /dev/zero; echo complaint >&2; exit 3";
        let output = output_within(&mut shell(script), LONG).unwrap().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3.into()), 1_000_000));
        assert_eq!(output.stderr, b"complaint\n");
    }
}
