//! A replay on the allocator with caches, in a process of its own.
//!
//! One allocator of a process has caches, and it has one arena. So each replay is done by a child: this program again,
//! which gets the steps on stdin and writes the outcome to stdout.

use super::outcome::Outcome;
use super::player::Player;
use super::{Plan, arena, turns};
use crate::script::{Packed, Script};
use crate::trouble::Trouble;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::process::{Command, Stdio};

/// The subcommand by which the tool calls itself. It is not for people.
pub(crate) const PROCESS: &str = "replay-steps";

/// Bytes that go through the pipe at one time.
const BUFFER: usize = 64 << 10;

/// Performs a script in a child.
///
/// # Errors
///
/// The child cannot be started or breaks down, or the trace cannot be read again.
pub(super) fn replay(script: &Script, plan: Plan) -> Result<Outcome, Trouble> {
    let failed = |error: io::Error| Trouble::Child { what: error.to_string() };
    let program = std::env::current_exe().map_err(failed)?;
    let numbers = [plan.arena, plan.place, plan.beforehand, plan.events, plan.cells as u64];
    let mut child = Command::new(program)
        .arg(PROCESS)
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut written = Ok(());
    if let Some(stdin) = child.stdin.take() {
        let mut stdin = BufWriter::with_capacity(BUFFER, stdin);
        script.visit(|step| match stdin.write_all(&step.0) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                written = Err(error);
                ControlFlow::Break(())
            }
        })?;
        written = written.and_then(|()| stdin.flush());
        // (Dropping what could not be written would write it again.)
        drop(stdin.into_parts());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let what = said.trim();
        let what = if what.is_empty() { output.status.to_string() } else { what.to_owned() };
        return Err(Trouble::Child { what });
    }
    match written {
        // It does not read on when it knows the outcome.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(failed(error)),
        _ => {}
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Trouble::Child { what: error.to_string() })
}

/// The child's side.
///
/// # Errors
///
/// There is no memory for the arena, or stdin and stdout do not work.
pub(crate) fn serve(plan: Plan) -> Result<(), Trouble> {
    let (allocator, start) = arena::thread_cached(plan.arena, plan.place)?;
    let mut steps = BufReader::with_capacity(BUFFER, io::stdin());
    let outcome = turns::perform(Player::on(allocator, start, plan.beforehand), plan, || {
        let mut packed = Packed([0; 16]);
        match steps.read_exact(&mut packed.0) {
            Ok(()) => Ok(Some(packed.unpack())),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Trouble::Child { what: error.to_string() }),
        }
    })?;
    let text = serde_json::to_vec(&outcome).map_err(|error| Trouble::Child { what: error.to_string() })?;
    io::stdout().write_all(&text).map_err(Trouble::Output)
}
