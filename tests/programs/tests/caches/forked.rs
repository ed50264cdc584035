//! What a forked child comes to.
//!
//! Between `fork` and its end the child calls the allocator under test and the system, and nothing that could
//! wait for a lock which another thread of its parent had. What is called by way of nix is a system call
//! and no more.

use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, alarm, dup2_stderr, fork, pipe};
use std::fs::File;
use std::io::Read;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By that code: zero if it got through.
    Exit(i32),
    /// By that signal. `SIGALRM` is for a child that hangs.
    Signal(Signal),
}

/// The end of a child that got through and had nothing to say.
pub const WELL: (End, String) = (End::Exit(0), String::new());

/// The end of a child that was told what it did wrong.
pub const ABORTED: End = End::Signal(Signal::SIGABRT);

/// Runs something in a forked child, and returns how that ended and what it wrote to stderr.
pub fn fate_of_a_child(what: impl FnOnce()) -> (End, String) {
    let (reader, writer) = pipe().expect("there is a pipe");
    // SAFETY: what the child does is up to the test, which is about that; it leaves by `_exit` or a signal.
    match unsafe { fork() }.expect("a child can be forked") {
        ForkResult::Child => {
            // A hang is a failure: no handler is set, so the alarm ends the child.
            alarm::set(20);
            let is_redirected = dup2_stderr(writer).is_ok();
            if is_redirected {
                what();
            }
            // SAFETY: leaving at once is always allowed.
            unsafe { libc::_exit(i32::from(!is_redirected)) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut text = Vec::new();
            File::from(reader).read_to_end(&mut text).expect("a pipe can be read");
            let end = match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, code)) => End::Exit(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => End::Signal(signal),
                other => panic!("the child is not waited for: {other:?}"),
            };
            (end, String::from_utf8_lossy(&text).into_owned())
        }
    }
}
