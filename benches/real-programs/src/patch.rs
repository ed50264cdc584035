//! What is changed in the copy of a program: its manifest, and one line of its code.

use std::path::Path;

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, Table, value};

/// The line that a program adopts an allocator with, the same for all.
pub(crate) const LINE: &str =
    "#[global_allocator] static ALLOCATOR: chosen_allocator::Allocator = chosen_allocator::Allocator;";

/// The package that the line is about.
pub(crate) const CHOSEN_ALLOCATOR: &str = "chosen_allocator";

/// The code with the line at its end.
pub(crate) fn with_line(code: &str) -> String {
    format!("{}\n\n{LINE}\n", code.trim_end())
}

/// The manifest of a program that can be built where its copy lies, with the package that [`LINE`]
/// needs among its dependencies. What only tests need is left out, since the lock file does not
/// know it.
///
/// # Errors
///
/// If the manifest cannot be read.
pub(crate) fn manifest(text: &str, allocators: &Path) -> Result<String> {
    let mut manifest: DocumentMut = text.parse()?;
    manifest.remove("dev-dependencies");
    if let Some(targets) = manifest.get_mut("target").and_then(Item::as_table_like_mut) {
        for (_, target) in targets.iter_mut() {
            if let Some(target) = target.as_table_like_mut() {
                target.remove("dev-dependencies");
            }
        }
    }
    // Otherwise cargo would take the copy for a member of a workspace in a folder above.
    manifest["workspace"] = Item::Table(Table::new());
    let path = allocators.to_str().context("the path of this package is no text")?;
    let mut dependency = Table::new();
    dependency["path"] = value(path);
    if !manifest.contains_key("dependencies") {
        manifest["dependencies"] = Item::Table(Table::new());
    }
    manifest["dependencies"][CHOSEN_ALLOCATOR] = Item::Table(dependency);
    Ok(manifest.to_string())
}

/// The path of the program's main file, relative to its manifest.
///
/// # Errors
///
/// If the manifest cannot be read.
pub(crate) fn main_file(manifest: &str, binary: &str) -> Result<String> {
    let manifest: DocumentMut = manifest.parse()?;
    let named = |table: &&Table| table.get("name").and_then(Item::as_str) == Some(binary);
    let path = manifest
        .get("bin")
        .and_then(Item::as_array_of_tables)
        .and_then(|binaries| binaries.iter().find(named))
        .and_then(|table| table.get("path"))
        .and_then(Item::as_str);
    Ok(path.unwrap_or("src/main.rs").to_owned())
}

/// The version that a manifest pins a dependency to.
///
/// # Errors
///
/// If the manifest cannot be read, or has no such dependency or one that is not pinned.
pub(crate) fn pinned_version(manifest: &str, package: &str) -> Result<String> {
    let manifest: DocumentMut = manifest.parse()?;
    let dependency = manifest.get("dependencies").and_then(|dependencies| dependencies.get(package));
    let version = dependency.and_then(|item| item.as_str().or_else(|| item.get("version")?.as_str()));
    let pinned = version.and_then(|version| version.strip_prefix('='));
    Ok(pinned.with_context(|| format!("{package} is not pinned to a version"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
[package]
name = "grep"

[[bin]]
name = "other"
path = "src/other.rs"

[[bin]]
name = "g"
path = "core/main.rs"

[dependencies.a]
version = "1"

[dev-dependencies.b]
version = "1"

[target."cfg(unix)".dependencies.c]
version = "1"

[target."cfg(unix)".dev-dependencies.d]
version = "1"

[profile.release]
panic = "abort"
"#;

    #[test]
    fn the_line_comes_last() {
        let code = with_line("fn main() {}\n");
        assert_eq!(code, format!("fn main() {{}}\n\n{LINE}\n"));
    }

    #[test]
    fn the_copy_depends_on_the_allocator_and_on_nothing_that_only_tests_need() {
        let text = manifest(MANIFEST, Path::new("/some/allocators")).unwrap();
        let patched: DocumentMut = text.parse().unwrap();
        assert_eq!(patched["dependencies"]["chosen_allocator"]["path"].as_str(), Some("/some/allocators"));
        assert_eq!(patched["dependencies"]["a"]["version"].as_str(), Some("1"));
        assert_eq!(patched["target"]["cfg(unix)"]["dependencies"]["c"]["version"].as_str(), Some("1"));
        assert_eq!(patched["profile"]["release"]["panic"].as_str(), Some("abort"));
        assert!(patched.contains_key("workspace"));
        assert!(!text.contains("dev-dependencies"));
    }

    #[test]
    fn a_program_without_dependencies_gets_one() {
        let text = manifest("[package]\nname = \"a\"\n", Path::new("/some/allocators")).unwrap();
        let patched: DocumentMut = text.parse().unwrap();
        assert!(patched["dependencies"]["chosen_allocator"].is_table());
    }

    #[test]
    fn the_main_file_is_where_the_manifest_says_or_where_cargo_looks() {
        assert_eq!(main_file(MANIFEST, "g").unwrap(), "core/main.rs");
        assert_eq!(main_file("[package]\nname = \"a\"\n", "a").unwrap(), "src/main.rs");
    }

    #[test]
    fn a_version_has_to_be_pinned() {
        let manifest = "[dependencies]\na = \"=1.2.3\"\nb = { version = \"=4.5.6\" }\nc = \"1\"\n";
        assert_eq!(pinned_version(manifest, "a").unwrap(), "1.2.3");
        assert_eq!(pinned_version(manifest, "b").unwrap(), "4.5.6");
        assert!(pinned_version(manifest, "c").is_err());
        assert!(pinned_version(manifest, "d").is_err());
    }
}
