//! The folder for results.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes files into a folder, which is made if need be.
///
/// # Errors
///
/// If one of them cannot be written.
pub fn write(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (name, text) in files {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
