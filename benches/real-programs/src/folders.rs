//! Where things lie, and which of them are up to date.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folders of this package. All that is made lies in `target`.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// The package `chosen_allocator`, on which the programs' copies depend.
    pub(crate) allocators: PathBuf,
    /// The manifest that pins the programs.
    pub(crate) pins: PathBuf,
    /// All that is made; the programs run here.
    pub(crate) target: PathBuf,
    /// The sources of the programs and of all that they depend on.
    pub(crate) sources: PathBuf,
    /// Copies of the programs' sources, as published and with the line.
    pub(crate) copies: PathBuf,
    /// Where cargo builds them.
    pub(crate) builds: PathBuf,
    /// The programs, a folder each, with a file for each allocator.
    pub(crate) binaries: PathBuf,
    /// What the programs work on.
    pub(crate) inputs: PathBuf,
    /// What the program that ran last printed.
    pub(crate) output: PathBuf,
}

impl Folders {
    /// The folders of the package that lies here.
    pub(crate) fn of(package: &Path) -> Self {
        let target = package.join("target");
        Self {
            allocators: package.join("allocators"),
            pins: package.join("sources"),
            sources: target.join("sources"),
            copies: target.join("copies"),
            builds: target.join("builds"),
            binaries: target.join("binaries"),
            inputs: target.join("inputs"),
            output: target.join("output"),
            target,
        }
    }
}

/// Makes a folder, unless it was made of the same before: what it was made of is kept in a file
/// beside it, which is written last.
///
/// # Errors
///
/// If `make` fails, or the files cannot be written.
pub(crate) fn up_to_date(folder: &Path, made_of: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let mark = PathBuf::from(format!("{}.made-of", folder.display()));
    if fs::read_to_string(&mark).is_ok_and(|text| text == made_of) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    make()?;
    fs::write(&mark, made_of).with_context(|| format!("cannot write {}", mark.display()))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_folder_is_made_again_when_it_would_be_made_of_something_else_or_was_not_finished() {
        let parent = std::env::temp_dir().join(format!("real-programs-folders-{}", std::process::id()));
        let folder = parent.join("made");
        let mut times_made = 0;
        for made_of in ["a", "a", "b", "b"] {
            up_to_date(&folder, made_of, || {
                times_made += 1;
                Ok(fs::write(folder.join(made_of), "")?)
            })
            .unwrap();
        }
        assert!(!folder.join("a").exists() && folder.join("b").exists());
        assert!(up_to_date(&folder, "c", || bail!("half-made")).is_err());
        up_to_date(&folder, "c", || {
            times_made += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(times_made, 3);
        fs::remove_dir_all(&parent).unwrap();
    }
}
