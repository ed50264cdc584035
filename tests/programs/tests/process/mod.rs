//! Runs this test program again as a child process that does one thing and, mostly, must die of it.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use std::time::Duration;

/// The variable that names what a child process has to do.
pub const ROLE: &str = "MEM_ALLOC_RUST_ROLE";

/// How long a child may take before it counts as hanging, and is killed. Far more than any of them needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the process has to do, if it is a child.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs this program with the given arguments as a child with a role, and waits for its end.
pub fn run_child(role: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Assert {
    let program = std::env::current_exe().expect("a test program knows its own path");
    Command::new(program)
        .args(arguments)
        .env(ROLE, role)
        .env_remove("RUST_BACKTRACE")
        .envs(environment.iter().copied())
        .timeout(PATIENCE)
        .assert()
}

/// Plays a part if this process is the child that has it, and returns whether it is.
#[allow(dead_code, reason = "not in every program a test is played by a child")]
pub fn plays(part: &str, play: impl FnOnce()) -> bool {
    let is_child = role().as_deref() == Some(part);
    if is_child {
        play();
    }
    is_child
}

/// What a program of the usual test harness is called with to run one of its tests.
#[allow(dead_code, reason = "as above")]
pub fn arguments(test: &str) -> [&str; 4] {
    [test, "--exact", "--nocapture", "--test-threads=1"]
}

/// Runs this program as a child that plays the part of one of its tests.
#[allow(dead_code, reason = "as above")]
pub fn run_test(test: &str, environment: &[(&str, &str)]) -> Assert {
    run_child(test, &arguments(test), environment)
}

/// Asserts that the child aborted.
#[cfg(unix)]
#[track_caller]
pub fn assert_aborted(child: &Assert) {
    use std::os::unix::process::ExitStatusExt;

    let output = child.get_output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "the child has to abort: {stderr}");
}

/// What the child wrote to stderr.
pub fn stderr(child: &Assert) -> &str {
    std::str::from_utf8(&child.get_output().stderr).expect("stderr is UTF-8")
}
