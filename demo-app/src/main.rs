//! A std program that lives in 1 MiB: every allocation, from before `main` to after the last thread, is served by
//! `mem_alloc_rust`.
//!
//! Adopting the allocator is the one static below. The rest is ordinary Rust; only `heap_view`, `std_keeps`,
//! `text_file` and the workload `exhaust` ask the allocator for its figures.
//!
//! | file | job |
//! |---|---|
//! | `trouble` | everything that can go wrong, one sentence each |
//! | `heap_view` | figures and pictures of the arena |
//! | `stage` | where a workload shows its answers, and what its heap looked like |
//! | `std_keeps` | what std allocates once and never gives back |
//! | `text_file` | reading a file that may be larger than the arena |
//! | `workloads` | the workloads, one file each |
//! | `cli` | the command line |

#![forbid(unsafe_code)]

mod cli;
mod heap_view;
mod stage;
mod std_keeps;
mod text_file;
mod trouble;
mod workloads;

use cli::Request;
use mem_alloc_rust::{FreeList, Locked};
use stage::Stage;
use std::path::Path;
use std::process::ExitCode;
use std_keeps::StdKeeps;
use trouble::Trouble;
use workloads::{Run, Workload};

/// The one line that a program needs: from here on every `Vec`, `String`, `Box` and `Rc` lives in a static arena of 1
/// MiB.
#[global_allocator]
static A: Locked<FreeList> = Locked::new();

fn main() -> ExitCode {
    // The demo says itself what it was refused.
    mem_alloc_rust::set_refusal_hook(|_| {});
    let std_keeps = StdKeeps::provoke(A.stats());
    let outcome = match cli::parse() {
        Ok(Request::Page(page)) => page.print().map_err(Trouble::Output),
        Ok(Request::List) => cli::list(&mut std::io::stdout().lock()),
        Ok(Request::Run { workloads, file }) => {
            // Reported right here: the sentence may name the file.
            match demonstrate(workloads, file.as_deref()) {
                Ok(()) => drop(file),
                Err(trouble) => return trouble.report(),
            }
            std_keeps.compare(&mut Stage::new(&mut anstream::stdout().lock()))
        }
        Err(trouble) => Err(trouble),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.report(),
    }
}

/// Runs the workloads one after the other; `file` is for the one that reads a text.
fn demonstrate<'f>(workloads: &[Workload], file: Option<&'f Path>) -> Result<(), Trouble<'f>> {
    let mut out = anstream::stdout().lock();
    let mut stage = Stage::new(&mut out);
    stage.introduce()?;
    for workload in workloads {
        let before = A.stats();
        stage.heading(workload.name, workload.about)?;
        match workload.run {
            Run::Plain(run) => run(&mut stage)?,
            Run::OverText(run) => run(&mut stage, file)?,
        }
        stage.heap_during_and_after(&before, &A.stats())?;
    }
    Ok(())
}
