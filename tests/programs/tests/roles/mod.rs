//! Tests that play their part in a process of their own, where they are the only thread that does anything.

#[path = "../process/mod.rs"]
mod process;

use assert_cmd::assert::Assert;

/// The child that played this test's part, with that environment, and has ended; nothing, if this process is it.
pub fn child(test: &str, environment: &[(&str, &str)], play: fn()) -> Option<Assert> {
    if process::plays(test, play) {
        return None;
    }
    Some(process::run_test(test, environment))
}

/// Plays the part in a child, and asserts that all of it went well there.
#[track_caller]
pub fn alone(test: &str, play: fn()) {
    if let Some(child) = child(test, &[], play) {
        child.success();
    }
}

/// What a child wrote to stderr that had to abort.
#[track_caller]
pub fn aborted(child: &Assert) -> &str {
    process::assert_aborted(child);
    process::stderr(child)
}

/// What a child wrote to stderr that had to go well.
#[track_caller]
pub fn succeeded(child: Assert) -> String {
    process::stderr(&child.success()).to_owned()
}
