//! `record`: runs ordinary programs and writes what they ask of their allocator into `traces/`.
//!
//! A program's own inputs are made before the recording starts; what it returns is dropped while it still runs.

mod programs;
mod recorder;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

use recorder::Recorder;
use side_by_side::operation::examine;
use side_by_side::trace;

#[global_allocator]
static RECORDER: Recorder = Recorder::new();

/// Records the allocation traces of ordinary programs.
#[derive(Debug, Parser)]
struct Cli {
    /// Folder that receives the traces
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/traces"))]
    out: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    fs::create_dir_all(&cli.out).with_context(|| format!("cannot make the folder {}", cli.out.display()))?;
    for program in programs::all() {
        let operations =
            RECORDER.record(program.prepare()).with_context(|| format!("cannot record {}", program.name))?;
        let extent = examine(operations.iter().copied())
            .with_context(|| format!("the recording of {} is inconsistent", program.name))?;
        let bytes = trace::encode(&operations);
        let file = cli.out.join(format!("{}.trace", program.name));
        fs::write(&file, &bytes).with_context(|| format!("cannot write {}", file.display()))?;
        println!(
            "{:24} {:7} operations, {:6} KiB and {:6} blocks at the peak, {:4} KiB of trace",
            program.name,
            operations.len(),
            extent.peak_bytes / 1024,
            extent.peak_blocks,
            bytes.len() / 1024
        );
    }
    Ok(())
}
