//! Replay of what real programs asked of their allocator; see `src/bin/record` for the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};

use super::Workload;
use crate::operation::Sequence;
use crate::trace;

/// The traces in a folder as workloads, sorted by name.
pub(super) fn workloads(folder: &Path) -> Result<Vec<Workload>> {
    let files = files(folder)?;
    Ok(files
        .into_iter()
        .map(|file| Workload {
            name: row_name(&file),
            family: "traces",
            has_idle_thread: false,
            generate: Rc::new(move || read(&file)),
        })
        .collect())
}

/// Reads every trace in a folder, sorted by name.
///
/// # Errors
///
/// If the folder or one of the traces cannot be read, or a trace is damaged.
pub fn read_all(folder: &Path) -> Result<Vec<Sequence>> {
    files(folder)?.iter().map(|file| read(file)).collect()
}

/// Reads one trace.
///
/// # Errors
///
/// If the file cannot be read, or is damaged.
pub fn read(file: &Path) -> Result<Sequence> {
    let bytes = fs::read(file).with_context(|| format!("cannot read the trace {}", file.display()))?;
    let operations =
        trace::decode(&bytes).with_context(|| format!("the trace {} is damaged", file.display()))?;
    Ok(Sequence::new(row_name(file), Vec::new(), operations)?)
}

fn row_name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    format!("trace: {}", stem.replace('-', " "))
}

/// The files of the traces in a folder, sorted by name.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list the traces in {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list the traces in {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "trace") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
