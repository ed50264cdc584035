//! The parent's side: starts callgrind and reads its dumps.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bench_common::process::output_within;
use tempfile::TempDir;

use super::drive::{REFUSED, WATCHED, WATCHED_AGAIN};
use super::{Adversary, Call};
use crate::allocators::Allocator;
use crate::latency::Kind;

/// Whether valgrind can be started.
#[must_use]
pub fn is_available() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A child that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// Counts the instructions of every timed call of a sequence.
///
/// `child` is the command that makes this program call [`super::drive`] and print what it returns.
///
/// # Errors
///
/// If callgrind fails, or its dumps do not match the calls that the child reports.
pub fn count(child: &[String], allocator: Allocator, adversary: &Adversary) -> Result<Vec<Call>> {
    let dumps = Dumps::new()?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no", "--dump-line=no"])
        .arg(format!("--toggle-collect={WATCHED}"))
        .arg(format!("--dump-after={WATCHED_AGAIN}"))
        .arg(format!("--callgrind-out-file={}", dumps.base().display()))
        .arg(std::env::current_exe().context("cannot find this program's own file")?)
        .args(child);
    let output = output_within(&mut command, LIMIT).context("cannot start valgrind")?;
    let what = || format!("callgrind on {} with {}", adversary.sequence.name, allocator.name());
    let output = output.with_context(|| format!("{} took longer than {} s", what(), LIMIT.as_secs()))?;
    if !output.status.success() {
        bail!("{} failed: {}", what(), String::from_utf8_lossy(&output.stderr));
    }
    let lines = String::from_utf8(output.stdout).context("the child printed something else than text")?;
    let mut calls = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        let (name, end) =
            line.split_once(' ').with_context(|| format!("{}: strange line {line:?}", what()))?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        calls.push(Call {
            kind: kind.with_context(|| format!("{}: unknown call {name:?}", what()))?,
            refused: end == REFUSED,
            instructions: dumps.instructions(index + 1).with_context(what)?,
        });
    }
    ensure!(!calls.is_empty(), "{} made no calls", what());
    ensure!(
        dumps.instructions(calls.len() + 1).is_err(),
        "{} wrote more dumps than there were calls",
        what()
    );
    Ok(calls)
}

/// The dumps of one run, in a folder that is removed with the value.
struct Dumps {
    folder: TempDir,
}

impl Dumps {
    fn new() -> Result<Self> {
        let folder = TempDir::with_prefix("callgrind-").context("cannot make a folder for dumps")?;
        Ok(Self { folder })
    }

    fn base(&self) -> PathBuf {
        self.folder.path().join("dump")
    }

    /// Instructions in the dump of that number.
    fn instructions(&self, number: usize) -> Result<u64> {
        let file = self.base().with_added_extension(number.to_string());
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read the dump {}", file.display()))?;
        summary(&text).with_context(|| format!("the dump {} has no summary", file.display()))
    }
}

/// The number after `summary:` in a dump.
fn summary(dump: &str) -> Option<u64> {
    let line = dump.lines().find_map(|line| line.strip_prefix("summary:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_a_dump_is_read() {
        assert_eq!(summary("version: 1\nevents: Ir\nsummary: 42\n\nfn=(1)\n"), Some(42));
        assert_eq!(summary("version: 1\n"), None);
    }
}
