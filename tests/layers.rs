//! The layering of the source: a file uses only the layers above its own. The order stands in the crate's
//! documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the table in `src/lib.rs`, from the one that uses nothing to the one that may use all.
fn layers(lib: &str) -> Vec<String> {
    let rows = lib.lines().filter_map(|line| line.strip_prefix("//! | `"));
    rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned()).collect()
}

fn source_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What follows `crate::` wherever it stands in code, in `use` lines and elsewhere.
fn used_layers(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1)).map(|rest| {
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn a_layer_uses_only_those_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
    let layers = layers(&lib);
    assert!(layers.len() >= 8, "the table of layers was not found: {layers:?}");
    let rank: BTreeMap<&str, usize> =
        layers.iter().enumerate().map(|(rank, name)| (name.as_str(), rank)).collect();

    let mut files = Vec::new();
    source_files(&source, &mut files);
    assert!(files.len() >= layers.len());
    for file in files.iter().filter(|file| !file.ends_with("lib.rs")) {
        let relative = file.strip_prefix(&source).unwrap();
        let layer =
            relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        let own =
            *rank.get(layer).unwrap_or_else(|| panic!("{} is in no layer of src/lib.rs", relative.display()));
        let text = fs::read_to_string(file).unwrap();
        for used in used_layers(&text).filter(|used| *used != layer) {
            // A test may name anything that the crate exports; a name that is no layer is such an export.
            let Some(&other) = rank.get(used) else {
                assert!(
                    relative.ends_with("tests.rs"),
                    "{} uses crate::{used}, which is no layer",
                    relative.display()
                );
                continue;
            };
            assert!(other < own, "{} uses `{used}`, which is not above it", relative.display());
        }
    }
}

#[test]
fn the_arithmetic_is_free_of_unsafe() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in ["size.rs", "bins.rs", "stats.rs"] {
        let text = fs::read_to_string(source.join(file)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}
