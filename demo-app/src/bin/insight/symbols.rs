//! Return addresses become functions, files and lines, by what the program's files say about them.
//!
//! Nothing of the program has to run; its files have to be those that it ran from.

use crate::analysis::Module;
use addr2line::Loader;
use rustc_hash::FxHashMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

/// Where Debian and others keep what they took out of files: by the build's identity.
const DEBUG_FOLDER: &str = "/usr/lib/debug/.build-id";

/// What the names of std's functions begin with, those of the crates in it included.
const OF_STD: [&str; 9] = [
    "alloc::",
    "core::",
    "std::",
    "hashbrown::",
    "addr2line::",
    "gimli::",
    "miniz_oxide::",
    "rustc_demangle::",
    "__rust",
];

/// Whose code a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// The program's.
    Own,
    /// A crate's that the program depends on.
    Dependency,
    /// Rust's libraries'.
    Std,
    /// The system's, or nothing is known about it.
    Unknown,
}

/// A function that was called, and the line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Frame {
    /// Which text is its name.
    function: u32,
    /// Which text is the file's path; 0 if it is not known.
    file: u32,
    /// 0 if it is not known.
    line: u32,
    origin: Origin,
}

/// The functions of a process. Each address is looked up once.
pub(crate) struct Symbols {
    modules: Vec<Loaded>,
    texts: Texts,
    frames: Vec<Frame>,
    frame_numbers: FxHashMap<Frame, u32>,
    /// The frames of all addresses that were looked up, one after the other, each one's innermost first.
    stacks: Vec<u32>,
    known: FxHashMap<u64, Range<u32>>,
}

/// A file whose code is part of the process.
struct Loaded {
    module: Module,
    /// Its path's last part.
    name: String,
    file: Option<Files>,
    complaint: Option<Complaint>,
    /// How many addresses in it were looked up, and how many of those have a line.
    looked_up: u64,
    with_line: u64,
}

/// The file of a module, and the one in which what was taken out of it is kept.
struct Files {
    file: Loader,
    debug: Option<Loader>,
}

/// Why the functions of a module have no names, or may have wrong ones.
enum Complaint {
    Unreadable(String),
    Changed,
}

impl Symbols {
    /// Of a process with those files, which began to be recorded then, in nanoseconds since 1970. A file is read when
    /// the first address in it is looked up.
    pub(crate) fn new(modules: &[Module], began: u64) -> Self {
        let mut modules: Vec<Loaded> = modules.iter().map(|module| Loaded::new(module, began)).collect();
        modules.sort_by_key(|loaded| loaded.module.start);
        Self {
            modules,
            texts: Texts::new(),
            frames: Vec::new(),
            frame_numbers: FxHashMap::default(),
            stacks: Vec::new(),
            known: FxHashMap::default(),
        }
    }

    /// The frames of a return address, the innermost one first: as places for [`Self::frame_number`].
    pub(crate) fn frames_of(&mut self, return_address: u64) -> Range<usize> {
        let known = match self.known.get(&return_address) {
            Some(known) => known.clone(),
            None => {
                let start = self.stacks.len() as u32;
                self.look_up(return_address);
                let known = start..self.stacks.len() as u32;
                self.known.insert(return_address, known.clone());
                known
            }
        };
        known.start as usize..known.end as usize
    }

    /// The frame at a place.
    pub(crate) fn frame_number(&self, place: usize) -> u32 {
        self.stacks[place]
    }

    /// A frame's function.
    pub(crate) fn function(&self, frame: u32) -> &str {
        self.texts.get(self.frames[frame as usize].function)
    }

    /// A frame's file, if it is known.
    pub(crate) fn file(&self, frame: u32) -> Option<&str> {
        Some(self.texts.get(self.frames[frame as usize].file)).filter(|file| !file.is_empty())
    }

    /// A frame's line, or 0 if it is not known.
    pub(crate) fn line(&self, frame: u32) -> u32 {
        self.frames[frame as usize].line
    }

    /// Whose code a frame is.
    pub(crate) fn origin(&self, frame: u32) -> Origin {
        self.frames[frame as usize].origin
    }

    /// How many frames there are.
    pub(crate) fn len(&self) -> u32 {
        self.frames.len() as u32
    }

    /// What is missing, a sentence each.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.modules.iter().filter(|loaded| loaded.looked_up > 0).filter_map(Loaded::missing).collect()
    }

    fn look_up(&mut self, return_address: u64) {
        if return_address == 0 {
            self.push("an unknown function", None, 0, Origin::Unknown);
            return;
        }
        // The call ends where the next instruction begins: one before is still in it.
        let address = return_address.wrapping_sub(1);
        let behind = self.modules.partition_point(|loaded| loaded.module.start <= address);
        let loaded = behind.checked_sub(1).map(|number| &mut self.modules[number]);
        let Some(loaded) = loaded.filter(|loaded| address < loaded.module.end) else {
            self.push(&format!("{return_address:#x}"), None, 0, Origin::Unknown);
            return;
        };
        loaded.looked_up += 1;
        let is_systems = loaded.is_systems();
        let in_file = address.wrapping_sub(loaded.module.bias);
        let found = loaded.files().map(|files| files.frames(in_file)).unwrap_or_default();
        loaded.with_line += u64::from(found.iter().any(|found| found.line != 0));
        if found.is_empty() {
            let name = format!("{}+{:#x}", loaded.name, return_address.wrapping_sub(loaded.module.bias));
            self.push(&name, None, 0, Origin::Unknown);
        }
        for found in found {
            let name = found.function.as_deref().unwrap_or("an unnamed function");
            let origin = if is_systems { Origin::Unknown } else { origin(name, found.file.as_deref()) };
            self.push(name, found.file.as_deref().map(shortened), found.line, origin);
        }
    }

    fn push(&mut self, function: &str, file: Option<&str>, line: u32, origin: Origin) {
        let function = self.texts.number(function);
        let file = self.texts.number(file.unwrap_or_default());
        let frame = Frame { function, file, line, origin };
        let frames = &mut self.frames;
        let number = *self.frame_numbers.entry(frame).or_insert_with(|| {
            frames.push(frame);
            frames.len() as u32 - 1
        });
        self.stacks.push(number);
    }

    /// Symbols of addresses whose functions are given, the innermost one first.
    #[cfg(test)]
    pub(crate) fn of_names(functions: &[(u64, &[&str])]) -> Self {
        let mut symbols = Self::new(&[], 0);
        for (address, names) in functions {
            let start = symbols.stacks.len() as u32;
            names.iter().for_each(|name| symbols.push(name, None, 0, origin(name, None)));
            symbols.known.insert(*address, start..symbols.stacks.len() as u32);
        }
        symbols
    }
}

/// A function that was found.
struct Found {
    function: Option<String>,
    file: Option<String>,
    line: u32,
}

impl Loaded {
    fn new(module: &Module, began: u64) -> Self {
        let name = module.path.file_name().unwrap_or(module.path.as_os_str()).to_string_lossy().into_owned();
        let changed = fs::metadata(&module.path).and_then(|metadata| metadata.modified());
        let is_changed =
            began != 0 && changed.is_ok_and(|changed| changed > UNIX_EPOCH + Duration::from_nanos(began));
        let complaint = is_changed.then_some(Complaint::Changed);
        Self { module: module.clone(), name, file: None, complaint, looked_up: 0, with_line: 0 }
    }

    /// The module's file, which is read now if it was not.
    fn files(&mut self) -> Option<&Files> {
        if self.file.is_none() && !matches!(self.complaint, Some(Complaint::Unreadable(_))) {
            match Loader::new(&self.module.path) {
                Ok(file) => {
                    let debug = debug_file(&self.module.path).and_then(|path| Loader::new(path).ok());
                    self.file = Some(Files { file, debug });
                }
                Err(error) => self.complaint = Some(Complaint::Unreadable(error.to_string())),
            }
        }
        self.file.as_ref()
    }

    /// Whether it came with the system: nobody can build it otherwise.
    fn is_systems(&self) -> bool {
        let path = &self.module.path;
        ["/lib", "/lib64", "/usr/lib"].iter().any(|folder| path.starts_with(folder)) || !path.is_absolute()
    }

    fn missing(&self) -> Option<String> {
        let path = self.module.path.display();
        let is_systems = self.is_systems();
        match &self.complaint {
            Some(Complaint::Unreadable(error)) if !is_systems => Some(format!(
                "{path} cannot be read ({error}), so that its functions are addresses here: keep the program where it ran."
            )),
            Some(Complaint::Changed) => Some(format!(
                "{path} was changed after the recording began, so that functions and lines may be wrong: record again."
            )),
            None if self.with_line == 0 && !is_systems => Some(format!(
                "{path} does not say which lines its functions are from: build it with `debug = 1` in its profile, and record again."
            )),
            _ => None,
        }
    }
}

impl Files {
    /// The functions at an address of the file, the innermost one first.
    fn frames(&self, address: u64) -> Vec<Found> {
        for loader in self.debug.iter().chain([&self.file]) {
            let found = frames_in(loader, address);
            if !found.is_empty() {
                return found;
            }
        }
        let symbol = self.debug.iter().chain([&self.file]).find_map(|loader| loader.find_symbol(address));
        symbol
            .map(|symbol| Found { function: Some(demangled(symbol)), file: None, line: 0 })
            .into_iter()
            .collect()
    }
}

fn frames_in(loader: &Loader, address: u64) -> Vec<Found> {
    let mut found = Vec::new();
    let Ok(mut frames) = loader.find_frames(address) else { return found };
    while let Ok(Some(frame)) = frames.next() {
        let function = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let function = match function {
            Some(name) => Some(demangled(&name)),
            // Only lines are known of it: a name may be in the symbol table.
            None => loader.find_symbol(address).map(demangled),
        };
        let location = frame.location;
        found.push(Found {
            function,
            file: location.as_ref().and_then(|location| location.file).map(str::to_owned),
            line: location.and_then(|location| location.line).unwrap_or(0),
        });
    }
    found
}

/// The file in which what was taken out of another is kept.
fn debug_file(path: &Path) -> Option<PathBuf> {
    use object::Object;
    let cache = object::ReadCache::new(fs::File::open(path).ok()?);
    let object = object::File::parse(&cache).ok()?;
    let beside = object.gnu_debuglink().ok().flatten().and_then(|(name, _)| {
        let name = std::str::from_utf8(name).ok()?;
        let folder = path.parent()?;
        [folder.join(name), folder.join(".debug").join(name)]
            .into_iter()
            .find(|found| found.is_file() && found != path)
    });
    beside.or_else(|| {
        let identity = object.build_id().ok()??;
        let (first, rest) = identity.split_first()?;
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Path::new(DEBUG_FOLDER).join(format!("{first:02x}/{rest}.debug")))
            .filter(|found| found.is_file())
    })
}

/// A function's name as it stands in the source, without the hash that the compiler adds.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// Whose code a function of that name, from that file, is.
fn origin(function: &str, file: Option<&str>) -> Origin {
    if let Some(file) = file {
        if file.starts_with("/rustc/")
            || file.starts_with("/rust/deps/")
            || file.contains("/rustlib/src/rust/library/")
        {
            return Origin::Std;
        }
        if file.contains("/registry/src/") || file.contains("/git/checkouts/") {
            return Origin::Dependency;
        }
        return Origin::Own;
    }
    let path = function.trim_start_matches(['<', '&', '(', '[', '*']);
    if OF_STD.iter().any(|name| path.starts_with(name)) {
        return Origin::Std;
    }
    // Rust's functions are in a module, if they have no file.
    if path.contains("::") { Origin::Own } else { Origin::Unknown }
}

/// A path without what tells nothing: the compiler's hash, and where a registry's crates lie.
fn shortened(path: &str) -> &str {
    if let Some((_, rest)) = path.split_once("/library/").filter(|_| path.starts_with("/rustc/")) {
        return &path[path.len() - rest.len() - "library/".len()..];
    }
    if let Some(rest) = path.strip_prefix("/rust/deps/") {
        return rest;
    }
    let registry = path.split_once("/registry/src/").and_then(|(_, rest)| rest.split_once('/'));
    registry.map_or(path, |(_, rest)| rest)
}

/// Texts by number, each one once. The one with number 0 is empty.
struct Texts {
    texts: Vec<Rc<str>>,
    numbers: FxHashMap<Rc<str>, u32>,
}

impl Texts {
    fn new() -> Self {
        let mut texts = Self { texts: Vec::new(), numbers: FxHashMap::default() };
        texts.number("");
        texts
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Rc<str> = text.into();
        let number = self.texts.len() as u32;
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    fn get(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[inline(never)]
    fn outer(n: usize) -> Vec<u8> {
        std::hint::black_box(middle(n))
    }

    #[inline(always)]
    fn middle(n: usize) -> Vec<u8> {
        let text = std::hint::black_box(vec![7; n]);
        std::hint::black_box(text)
    }

    /// The file of this test, as the system has mapped it.
    fn this_module() -> Module {
        let path = std::env::current_exe().unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let of_file: Vec<(u64, u64)> = maps
            .lines()
            .filter(|line| line.ends_with(path.to_str().unwrap()))
            .map(|line| {
                let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap())
            })
            .collect();
        // Rust's programs are position independent: the first address of the file is 0.
        Module { bias: of_file[0].0, start: of_file[0].0, end: of_file.last().unwrap().1, path }
    }

    fn described(symbols: &mut Symbols, address: u64) -> Vec<(String, String, u32)> {
        let frames: Vec<u32> = symbols.frames_of(address).map(|place| symbols.frame_number(place)).collect();
        let describe = |frame: u32| {
            (
                symbols.function(frame).to_owned(),
                symbols.file(frame).unwrap_or_default().to_owned(),
                symbols.line(frame),
            )
        };
        frames.into_iter().map(describe).collect()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn functions_that_were_inlined_are_found_with_their_lines() {
        let mut symbols = Symbols::new(&[this_module()], 0);
        let start = outer as *const () as u64;
        std::hint::black_box(outer(10));
        let mut found = Vec::new();
        for address in start + 1..start + 200 {
            let frames = described(&mut symbols, address);
            if frames.last().is_some_and(|frame| frame.0.ends_with("::outer")) && frames.len() > 1 {
                found.push(frames);
            }
        }
        let names = |frames: &[(String, String, u32)]| {
            frames.iter().any(|frame| frame.0.ends_with("::tests::middle"))
        };
        let frames = found.iter().find(|frames| names(frames)).unwrap_or_else(|| panic!("{found:?}"));
        let (_, file, line) = frames.last().unwrap();
        assert!(file.ends_with("insight/symbols.rs"), "{file}");
        let source = include_str!("symbols.rs").lines().nth(*line as usize - 1).unwrap();
        assert!(source.contains("middle(n)") || source.contains("fn outer"), "{source}");
        assert!(symbols.missing().is_empty(), "{:?}", symbols.missing());
    }

    #[test]
    fn what_is_not_known_is_an_offset_and_a_sentence() {
        let module =
            |start, path: &str| Module { bias: 0x1000, start, end: start + 0x1000, path: path.into() };
        let here = std::env::current_exe().unwrap();
        let mut symbols = Symbols::new(
            &[
                module(0x10_0000, "/nowhere/app"),
                module(0x20_0000, here.to_str().unwrap()),
                module(0x30_0000, "[vdso]"),
            ],
            1,
        );
        assert_eq!(described(&mut symbols, 0x10_0020)[0].0, "app+0xff020");
        assert_eq!(described(&mut symbols, 0x50_0000)[0].0, "0x500000");
        assert_eq!(described(&mut symbols, 0)[0].0, "an unknown function");
        assert_eq!(described(&mut symbols, 0x30_0010)[0].0, "[vdso]+0x2ff010");
        described(&mut symbols, 0x20_0020);
        let missing = symbols.missing();
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(missing[0].starts_with("/nowhere/app cannot be read ("), "{missing:?}");
        assert!(missing[1].contains("was changed after the recording began"), "{missing:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_without_lines_has_the_names_of_its_symbols() {
        let module = this_module();
        let stripped = std::env::temp_dir().join(format!("insight-{}-stripped", std::process::id()));
        let strip =
            Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(&module.path).status();
        assert!(strip.unwrap().success());
        let mut symbols = Symbols::new(&[Module { path: stripped.clone(), ..module }], 0);
        let frames = described(&mut symbols, outer as *const () as u64 + 1);
        assert!(frames[0].0.ends_with("symbols::tests::outer"), "{frames:?}");
        assert_eq!((&*frames[0].1, frames[0].2), ("", 0));
        let missing = symbols.missing();
        assert!(
            missing[0].ends_with("build it with `debug = 1` in its profile, and record again."),
            "{missing:?}"
        );
        fs::remove_file(stripped).unwrap();
    }

    #[test]
    fn paths_are_shown_as_far_as_they_tell_something() {
        assert_eq!(
            shortened("/rustc/59807616e1/library/alloc/src/vec/mod.rs"),
            "library/alloc/src/vec/mod.rs"
        );
        let crate_file = "/home/me/.cargo/registry/src/index.crates.io-1949/serde-1.0.2/src/lib.rs";
        assert_eq!(shortened(crate_file), "serde-1.0.2/src/lib.rs");
        assert_eq!(shortened("/rust/deps/hashbrown-0.16.1/src/raw.rs"), "hashbrown-0.16.1/src/raw.rs");
        assert_eq!(shortened("src/main.rs"), "src/main.rs");
        assert_eq!(origin("<serde::X as Y>::z", Some(crate_file)), Origin::Dependency);
        assert_eq!(origin("<alloc::vec::Vec<T>>::push", None), Origin::Std);
        assert_eq!(origin("app::main", None), Origin::Own);
        assert_eq!(origin("__libc_start_main", None), Origin::Unknown);
    }
}
