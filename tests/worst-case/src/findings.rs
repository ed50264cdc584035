//! The expensive sequences that are known: files of genomes.

use crate::genome::Genome;
use crate::search::Finding;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where they are kept.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("findings")
}

/// Reads a genome from a file.
///
/// # Errors
///
/// If there is no such file, or no genome in it.
pub fn read(file: &Path) -> Result<Genome> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse().with_context(|| format!("{} has no genome", file.display()))
}

/// All files of a folder by name, with their genomes.
///
/// # Errors
///
/// If one of them cannot be read.
pub fn read_all(folder: &Path) -> Result<Vec<(String, Genome)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, read(&file)?))
        })
        .collect()
}

/// Writes a finding to a file that is named after its kind and the search's seed.
///
/// # Errors
///
/// If it cannot be written.
pub fn write(folder: &Path, finding: &Finding, seed: u64) -> Result<PathBuf> {
    let file = folder.join(format!("{}-{seed}.txt", finding.goal.name()));
    let what = finding.worst.of(finding.goal).map(|call| call.to_string()).unwrap_or_default();
    let text = format!("# Found with seed {seed}, for {}: {what}.\n{}", finding.goal.name(), finding.genome);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_that_is_kept_can_be_read() {
        assert!(!read_all(&folder()).unwrap().is_empty());
    }
}
