//! How large does a program's arena have to be? Records the works, asks the tool `insight`, builds the programs with
//! what it answers, and sees whether that is so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Error, Result, ensure};
use bench_common::Table;
use bench_common::cli::progress;

use crate::allocators::{self, Allocator, SYSTEM};
use crate::child;
use crate::folders::Folders;
use crate::works::Work;

/// How often a program is run with an arena.
const RUNS: usize = 10;

/// The arenas that a program is run with, as parts per hundred of what is said to be the smallest; the recommended one
/// follows.
const SHARES: [u64; 3] = [100, 98, 97];

const TRACED: Allocator = Allocator { name: "traced", how: "", is_c: false };
const SIZED: [(Allocator, &str); 2] = [
    (Allocator { name: "sized_locked", how: "", is_c: false }, "Locked"),
    (Allocator { name: "sized_thread_cached", how: "", is_c: false }, "ThreadCached"),
];

/// What `insight size` says about one allocator, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    smallest: u64,
    recommended: u64,
}

/// Examines the works, and prints and writes a table.
///
/// # Errors
///
/// If something cannot be built, run or read.
pub(crate) fn check(
    folders: &Folders,
    works: &[Work],
    recordings: u8,
    command: &str,
    out: Option<&PathBuf>,
) -> Result<ExitCode> {
    let insight = build_insight()?;
    let traces = folders.target.join("traces");
    fs::create_dir_all(&traces)?;
    let system = allocators::ALL.iter().find(|allocator| allocator.name == SYSTEM);
    let system = system.context("the system is listed")?;
    let bar = progress("sizes");
    bar.set_length((works.len() * SIZED.len() * (SHARES.len() + 1)) as u64);
    let mut rows = Vec::new();
    for work in works {
        bar.set_message(format!("{}: recording", work.name));
        work.program.build(folders, system)?;
        let expected = run(folders, work, system, &[])?.map_err(Error::msg)?;
        work.program.build(folders, &TRACED)?;
        let mut recorded = Vec::new();
        for number in 0..recordings {
            let trace = traces.join(format!("{}-{number}.trace", work.name));
            let printed = run(folders, work, &TRACED, &[("MEM_ALLOC_RUST_TRACE", &trace)])?;
            ensure!(printed == Ok(expected), "{}, recorded, prints something else", work.name);
            recorded.push(trace);
        }
        bar.set_message(format!("{}: insight", work.name));
        let (told, answers) = ask(&insight, &recorded)?;
        for ((allocator, name), answer) in SIZED.iter().zip(answers) {
            let shares = SHARES.map(|share| (format!("{share} %"), answer.smallest * share / 100 / 8 * 8));
            let arenas = shares.into_iter().chain([("recommended".to_owned(), answer.recommended)]);
            let mut cells = vec![work.name.to_owned(), (*name).to_owned(), told.clone()];
            for (share, arena) in arenas {
                bar.set_message(format!("{}, {name}, {share}", work.name));
                work.program.build_with(folders, allocator, Some(arena))?;
                let mut completed = 0;
                for _ in 0..RUNS {
                    completed += usize::from(run(folders, work, allocator, &[])? == Ok(expected));
                }
                cells.push(format!("{arena}: {completed}"));
                bar.inc(1);
            }
            rows.push(cells);
        }
    }
    bar.finish_and_clear();
    let header = ["work", "allocator", "live at the peak", "smallest", "2 % less", "3 % less", "recommended"];
    let table = Table {
        caption: format!("Bytes of the arena, and how many of {RUNS} runs complete in it."),
        header: header.map(str::to_owned).to_vec(),
        rows,
    };
    println!("{}", table.terminal());
    if let Some(folder) = out {
        let introduction = format!(
            "# How large an arena has to be\n\nMade by `{command}`.\n\nEach work was recorded {recordings} times with \
             `Traced` around the system's allocator. `insight size` was asked for the smallest arena that completes all of the \
             recordings, and for the one to take; the program was built with an arena of so many bytes, and of less, and run \
             {RUNS} times with each.\n\n"
        );
        fs::create_dir_all(folder)?;
        fs::write(folder.join("sizes.md"), introduction + &table.markdown())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the tool, and returns its path.
fn build_insight() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "demo-app", "--bin", "insight"])
        .current_dir(&root)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cannot build insight: {status}");
    Ok(root.join("target/release/insight"))
}

/// Runs a work, and returns what stands for its output, or how it failed.
fn run(
    folders: &Folders,
    work: &Work,
    allocator: &Allocator,
    environment: &[(&str, &Path)],
) -> Result<Result<u64, String>> {
    let file = work.program.file(folders, allocator);
    let run = child::run(&file, work, &folders.target, &folders.output, environment)?;
    Ok(run.map(|run| run.printed))
}

/// Asks the tool: how much was live at the peak, as it says it, and the answer for each allocator.
fn ask(insight: &Path, traces: &[PathBuf]) -> Result<(String, [Answer; 2])> {
    let output = Command::new(insight).arg("size").args(traces).output().context("cannot run insight")?;
    ensure!(output.status.success(), "insight: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("insight prints text")?;
    answers(&text).with_context(|| format!("insight printed {text:?}"))
}

/// What the tool's text says.
fn answers(text: &str) -> Option<(String, [Answer; 2])> {
    let row = |name: &str| -> Option<Vec<u64>> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let cells = line[name.len()..].split_whitespace();
        cells.map(|cell| cell.replace(',', "").parse().ok()).collect()
    };
    let (smallest, recommended) = (row("smallest arena")?, row("recommended arena")?);
    let live = text.lines().next()?.split(", ").last()?.split(' ').next()?.to_owned();
    let answer = |column: usize| {
        Some(Answer { smallest: *smallest.get(column)?, recommended: *recommended.get(column)? })
    };
    Some((live, [answer(0)?, answer(1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_answers_are_read() {
        let text = "index.trace: 84,579 events on 1 thread, 869,914 bytes live at the peak\n\n\
                    \x20                                Locked               ThreadCached\n\
                    smallest arena                  894,976                 912,384         \n\
                    \x20 asked for at the peak         869,914   97.2 %        869,914   95.3 %\n\
                    recommended arena               940,032                 958,464         \n";
        let answer = |smallest, recommended| Answer { smallest, recommended };
        let expected = [answer(894_976, 940_032), answer(912_384, 958_464)];
        assert_eq!(answers(text), Some(("869,914".to_owned(), expected)));
        assert_eq!(answers("nothing"), None);
    }
}
