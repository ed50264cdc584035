//! Runs this test program again as a child process that does one thing and, mostly, must die of it.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The variable that names what a child process has to do.
pub const ROLE: &str = "MEM_ALLOC_RUST_ROLE";

/// How long a child may take before it counts as hanging. Far more than any of them needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the process has to do, if it is a child.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs this program with the given arguments as a child with a role, and waits for its end.
pub fn run_child(role: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let program = std::env::current_exe().expect("a test program knows its own path");
    let mut child = Command::new(program)
        .args(arguments)
        .env(ROLE, role)
        .env_remove("RUST_BACKTRACE")
        .envs(environment.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a test program can be started again");
    let start = Instant::now();
    while child.try_wait().expect("a child can be waited for").is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().expect("a child can be killed");
            panic!("the child that was to {role:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("a child's output can be read")
}
