//! A call site in a few words: who is responsible, in which file and line, and who called that.

use crate::analysis::{Module, is_of_allocator, is_outermost};
use crate::call_sites::CallSites;
use crate::symbols::{Origin, Symbols};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A call site, as people know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// The functions, the one first that is responsible: the innermost of the program itself; where there is none, of a
    /// dependency; or just the innermost. (The page of a report has the same rule.) None if nothing is known.
    pub(crate) stack: Vec<String>,
    /// File and line of the first, as far as they are known.
    pub(crate) place: String,
}

impl Named {
    /// So many functions of the stack in a line, the first with its place.
    pub(crate) fn line(&self, functions: usize) -> String {
        line(&self.stack, &self.place, functions)
    }
}

/// So many functions of a stack in a line, the first with its place.
pub(crate) fn line(stack: &[String], place: &str, functions: usize) -> String {
    let Some((first, callers)) = stack.split_first() else { return "call site not recorded".to_owned() };
    let mut line = first.clone();
    if !place.is_empty() {
        line = format!("{line} ({place})");
    }
    for caller in callers.iter().take(functions.saturating_sub(1)) {
        line = format!("{line} ← {caller}");
    }
    line
}

/// The names of call sites. Each is looked up once.
pub(crate) struct Names {
    symbols: Symbols,
    known: FxHashMap<u64, Rc<Named>>,
}

impl Names {
    /// Of a process with those files, which began to be recorded then; see [`Symbols::new`].
    pub(crate) fn new(modules: &[Module], began: u64) -> Self {
        Self { symbols: Symbols::new(modules, began), known: FxHashMap::default() }
    }

    /// Why functions have no names, if they have none.
    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The name of a call site.
    pub(crate) fn of(&mut self, call_sites: &CallSites, site: u64) -> Rc<Named> {
        if let Some(known) = self.known.get(&site) {
            return known.clone();
        }
        let named = Rc::new(self.look_up(call_sites, site));
        self.known.insert(site, named.clone());
        named
    }

    fn look_up(&mut self, call_sites: &CallSites, site: u64) -> Named {
        // From the innermost on; what was found so far is left out if it turns out to be within the allocator.
        let mut frames = Vec::new();
        'stack: for address in call_sites.addresses(site) {
            for place in self.symbols.frames_of(address) {
                let frame = self.symbols.frame_number(place);
                let function = self.symbols.function(frame);
                if is_outermost(function) {
                    break 'stack;
                }
                if is_of_allocator(function) {
                    frames.clear();
                } else {
                    frames.push(frame);
                }
            }
        }
        let of = |origin| frames.iter().position(|&frame| self.symbols.origin(frame) == origin);
        let responsible = of(Origin::Own).or_else(|| of(Origin::Dependency)).unwrap_or(0);
        let frames = &frames[responsible..];
        let place = frames.first().map(|&frame| self.place(frame)).unwrap_or_default();
        Named { stack: frames.iter().map(|&frame| self.symbols.function(frame).to_owned()).collect(), place }
    }

    /// File and line, with as much of the path as files are known by.
    fn place(&self, frame: u32) -> String {
        let Some(file) = self.symbols.file(frame) else { return String::new() };
        let known_by = file.rfind("/src/").map_or(file, |source| {
            let folder = file[..source].rfind('/').map_or(0, |slash| slash + 1);
            &file[folder..]
        });
        match self.symbols.line(frame) {
            0 => known_by.to_owned(),
            line => format!("{known_by}:{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace_file::Entry;

    #[test]
    fn the_innermost_function_of_the_program_is_responsible() {
        let functions: &[(u64, &[&str])] = &[
            (0x10, &["std::sys::backtrace::__rust_begin_short_backtrace::<fn(), ()>", "std::rt::lang_start"]),
            (0x20, &["app::main"]),
            (0x30, &["alloc::vec::Vec<T>::push", "app::parse"]),
            (0x40, &["__rustc::__rust_alloc", "alloc::raw_vec::finish_grow"]),
            (0x50, &["alloc::vec::Vec<T>::push"]),
        ];
        let mut names = Names { symbols: Symbols::of_names(functions), known: FxHashMap::default() };
        let mut sites = CallSites::default();
        for (number, caller, address) in
            [(1, 0, 0x10), (2, 1, 0x20), (3, 2, 0x30), (4, 3, 0x40), (5, 0, 0x50)]
        {
            sites.note(&Entry::Site { number, caller, address });
        }
        assert_eq!(names.of(&sites, 4).stack, ["app::parse", "app::main"]);
        assert_eq!(names.of(&sites, 4).line(1), "app::parse");
        assert_eq!(names.of(&sites, 4).line(9), "app::parse ← app::main");
        // Where the program has none.
        assert_eq!(names.of(&sites, 5).stack, ["alloc::vec::Vec<T>::push"]);
        assert_eq!(names.of(&sites, 1).stack, [""; 0]);
        assert_eq!(names.of(&sites, 0).line(9), "call site not recorded");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_place_is_the_file_as_it_is_known_and_the_line() {
        let path = std::env::current_exe().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let of_file: Vec<(u64, u64)> = maps
            .lines()
            .filter(|line| line.ends_with(path.to_str().unwrap()))
            .map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap())
            .map(|(start, end)| (number(start), number(end)))
            .collect();
        let (bias, end) = (of_file[0].0, of_file.last().unwrap().1);
        let mut names = Names::new(&[Module { bias, start: bias, end, path }], 0);
        let mut sites = CallSites::default();
        let here = a_place_is_the_file_as_it_is_known_and_the_line as *const () as u64;
        sites.note(&Entry::Site { number: 1, caller: 0, address: here + 1 });
        let named = names.of(&sites, 1);
        assert!(named.place.starts_with("demo-app/src/bin/insight/names.rs:"), "{named:?}");
        assert!(named.line(1).contains("a_place_is_the_file_as_it_is_known_and_the_line"), "{named:?}");
    }
}
