//! Runs a program and sees what it cost and what it printed.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use bench_common::comparison::Sample;
use bench_common::process;

use crate::works::{Order, Work};

/// A program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Threads of the programs that have a pool of them, whatever the number of processors.
const THREADS: &str = "4";

/// What one run of a program cost, and what stands for its output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// What it cost.
    pub(crate) sample: Sample,
    /// Hash of what it printed.
    pub(crate) printed: u64,
}

/// Does the work with the program, in `folder`; says how the program failed, if it did.
///
/// # Errors
///
/// If the program cannot be started or waited for.
pub(crate) fn run(
    program: &Path,
    work: &Work,
    folder: &Path,
    output: &Path,
    environment: &[(&str, &Path)],
) -> Result<Result<Run, String>> {
    // A file, not a pipe: nobody has to be awake to read it while the program runs.
    let file = File::create(output).with_context(|| format!("cannot write {}", output.display()))?;
    let mut command = Command::new(program);
    // By the same name, whatever it is built with: the name is among what the program allocates.
    command.arg0(work.program.binary).args(work.arguments).current_dir(folder);
    command.env("RAYON_NUM_THREADS", THREADS).envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
    // That there is something to do before the `exec`, if only nothing, makes the child a copy of
    // this process rather than a guest in its memory: its peak then begins with the few pages that
    // the copy takes.
    //
    // SAFETY: doing nothing is safe after a fork.
    unsafe { command.pre_exec(|| Ok(())) };
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let end = process::wait_within(child, LIMIT).context("cannot wait for the program")?;
    let usage = match end {
        None => return Ok(Err(format!("took longer than {} s", LIMIT.as_secs()))),
        Some((status, _)) if !status.success() => return Ok(Err(status.to_string())),
        Some((_, usage)) => usage,
    };
    let printed = hash(BufReader::new(File::open(output)?), work.order)?;
    let sample = Sample { cpu: usage.cpu, further: [], peak_kib: usage.peak_kib };
    Ok(Ok(Run { sample, printed }))
}

/// A hash of a text: of its lines in their order, or of which lines there are, how often each.
fn hash(mut text: impl BufRead, order: Order) -> io::Result<u64> {
    let mut whole = DefaultHasher::new();
    let (mut sum, mut line) = (0_u64, Vec::new());
    while text.read_until(b'\n', &mut line)? > 0 {
        whole.write(&line);
        let mut hasher = DefaultHasher::new();
        hasher.write(&line);
        sum = sum.wrapping_add(hasher.finish());
        line.clear();
    }
    Ok(match order {
        Order::Fixed => whole.finish(),
        Order::OfThreads => sum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Program;

    const SHELL: Program = Program { package: "sh", binary: "sh", options: &[] };

    fn shell(arguments: &'static [&'static str]) -> Result<Run, String> {
        let work = Work { name: "", program: &SHELL, what: "", arguments, order: Order::Fixed };
        let folder = std::env::temp_dir();
        // The tests run at once, in threads of one process.
        let output = folder.join(format!("real-programs-{:?}", std::thread::current().id()));
        let outcome = run(Path::new("/bin/sh"), &work, &folder, &output, &[]).unwrap();
        std::fs::remove_file(&output).unwrap();
        outcome
    }

    #[test]
    fn what_is_printed_makes_the_difference() {
        let printed = shell(&["-c", "echo a"]).unwrap().printed;
        assert_eq!(shell(&["-c", "echo a >&2; echo a"]).unwrap().printed, printed);
        assert_ne!(shell(&["-c", "echo b"]).unwrap().printed, printed);
        assert_eq!(shell(&["-c", "exit 3"]).unwrap_err(), "exit status: 3");
    }

    #[test]
    fn the_order_of_lines_counts_where_it_is_fixed() {
        let of = |text: &str, order| hash(text.as_bytes(), order).unwrap();
        assert_ne!(of("a\nb\n", Order::Fixed), of("b\na\n", Order::Fixed));
        assert_eq!(of("a\nb\n", Order::OfThreads), of("b\na\n", Order::OfThreads));
        assert_ne!(of("a\nb\n", Order::OfThreads), of("a\nb\nb\n", Order::OfThreads));
        assert_ne!(of("ab\n", Order::OfThreads), of("ba\n", Order::OfThreads));
    }
}
