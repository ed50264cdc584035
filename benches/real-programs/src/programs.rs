//! The programs: where they come from, and how they are built.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::allocators::{Allocator, SYSTEM};
use crate::folders::{Folders, up_to_date};
use crate::patch::{self, CHOSEN_ALLOCATOR, LINE};

/// A published program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The package; `sources/Cargo.toml` has its version.
    pub(crate) package: &'static str,
    /// The name of the program itself.
    pub(crate) binary: &'static str,
    /// Options for cargo, where those for all do not fit.
    pub(crate) options: &'static [&'static str],
}

/// How all programs are built, whatever their own release profiles say of it: they then share what
/// they have built in common, and no allocator is optimised less than another (snmalloc takes debug
/// information for a wish for an unoptimised build).
const PROFILE: [&str; 5] = [
    "profile.release.codegen-units=16",
    "profile.release.debug=false",
    "profile.release.lto=false",
    "profile.release.panic='unwind'",
    "profile.release.strip=false",
];

/// Downloads the sources of the programs and of what they depend on, unless that has been done.
///
/// # Errors
///
/// If cargo fails.
pub(crate) fn download(folders: &Folders) -> Result<()> {
    let lock = folders.pins.join("Cargo.lock");
    let lock = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    up_to_date(&folders.sources, &lock, || {
        let status = cargo()
            .args(["vendor", "--quiet", "--locked", "--versioned-dirs", "--manifest-path"])
            .arg(folders.pins.join("Cargo.toml"))
            .arg(&folders.sources)
            // It tells how to build with what it made; that is not what it is for here.
            .stdout(Stdio::null())
            .status()
            .context("cannot run cargo")?;
        ensure!(status.success(), "cargo vendor: {status}");
        Ok(())
    })
}

impl Program {
    /// The file of the program with this allocator.
    pub(crate) fn file(&self, folders: &Folders, allocator: &Allocator) -> PathBuf {
        folders.binaries.join(self.package).join(allocator.name)
    }

    /// Builds the program with the allocator, as far as it is not up to date.
    ///
    /// # Errors
    ///
    /// If the sources cannot be copied, or cargo fails.
    pub(crate) fn build(&self, folders: &Folders, allocator: &Allocator) -> Result<()> {
        self.build_with(folders, allocator, None)
    }

    /// The same with an arena of so many bytes, for an allocator that is built with a size.
    ///
    /// # Errors
    ///
    /// As above.
    pub(crate) fn build_with(
        &self,
        folders: &Folders,
        allocator: &Allocator,
        arena: Option<u64>,
    ) -> Result<()> {
        let copy = self.copy(folders, allocator.name != SYSTEM)?;
        let mut build = cargo();
        build.current_dir(&copy).env("CARGO_TARGET_DIR", &folders.builds);
        if let Some(arena) = arena {
            build.env("MEM_ALLOC_RUST_BENCH_ARENA", arena.to_string());
        }
        build.args(["build", "--quiet", "--release", "--bin", self.binary]).args(self.options);
        for setting in PROFILE {
            build.args(["--config", setting]);
        }
        if allocator.name != SYSTEM {
            build.args(["--features", &format!("{CHOSEN_ALLOCATOR}/{}", allocator.name)]);
        }
        // Nobody here can do anything about the warnings.
        let cargo = build.output().context("cannot run cargo")?;
        ensure!(
            cargo.status.success(),
            "cannot build {} with {}: {}\n{}",
            self.package,
            allocator.name,
            cargo.status,
            String::from_utf8_lossy(&cargo.stderr)
        );
        let file = self.file(folders, allocator);
        fs::create_dir_all(file.parent().context("a file lies in a folder")?)?;
        fs::copy(folders.builds.join("release").join(self.binary), &file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }

    /// The folder with a copy of the program's sources, with the line in its main file or without.
    fn copy(&self, folders: &Folders, with_line: bool) -> Result<PathBuf> {
        let pins = fs::read_to_string(folders.pins.join("Cargo.toml"))?;
        let lock = fs::read_to_string(folders.pins.join("Cargo.lock"))?;
        let version = patch::pinned_version(&pins, self.package)?;
        let original = folders.sources.join(format!("{}-{version}", self.package));
        let copies = folders.copies.join(self.package);
        let [unmodified, adopting] = ["unmodified", "with-line"].map(|name| copies.join(name));
        let made_of = format!("{version}\n{}\n{LINE}\n{lock}", folders.allocators.display());
        up_to_date(&copies, &made_of, || {
            copy_folder(&original, &unmodified)?;
            let published = fs::read_to_string(original.join("Cargo.toml"))?;
            fs::write(unmodified.join("Cargo.toml"), patch::manifest(&published, &folders.allocators)?)?;
            fs::write(unmodified.join("Cargo.lock"), &lock)?;
            // Takes out of the lock file what belongs to the other programs.
            let mut update = cargo();
            let status =
                update.args(["update", "--quiet", "--workspace"]).current_dir(&unmodified).status()?;
            ensure!(status.success(), "cargo update for {}: {status}", self.package);
            copy_folder(&unmodified, &adopting)?;
            let main = adopting.join(patch::main_file(&published, self.binary)?);
            let code =
                fs::read_to_string(&main).with_context(|| format!("cannot read {}", main.display()))?;
            fs::write(&main, patch::with_line(&code))?;
            // Cargo takes both for the same package, and would run its build script again, and
            // build the program anew, whenever the files of one are younger than those of the
            // other.
            let now = SystemTime::now();
            [&unmodified, &adopting].into_iter().try_for_each(|copy| set_modified(copy, now))
        })?;
        Ok(if with_line { adopting } else { unmodified })
    }
}

/// The cargo that this program was started by, if it was.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Sets the time of the last modification of every file in a folder.
fn set_modified(folder: &Path, time: SystemTime) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_modified(&entry.path(), time)?;
        } else {
            File::options().append(true).open(entry.path())?.set_modified(time)?;
        }
    }
    Ok(())
}

/// Copies a folder with what is in it.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_copied_with_what_is_in_them_and_can_be_given_one_age() {
        let parent = std::env::temp_dir().join(format!("real-programs-copy-{}", std::process::id()));
        let (from, to) = (parent.join("from"), parent.join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/c"), "text").unwrap();
        copy_folder(&from, &to).unwrap();
        set_modified(&to, SystemTime::UNIX_EPOCH).unwrap();
        let copy = to.join("a/b/c");
        assert_eq!(fs::read_to_string(&copy).unwrap(), "text");
        assert_eq!(fs::metadata(&copy).unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH);
        fs::remove_dir_all(&parent).unwrap();
    }
}
