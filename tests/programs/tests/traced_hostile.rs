//! Programs that a trace meets in the field: they close what they did not open, start without the standard streams, and
//! allocate before `main`, on tiny stacks, or in libraries that came later.
//!
//! Each case is a process of its own: it is traced from its first allocation on.

#![cfg(unix)]

#[allow(dead_code, reason = "not every test asks everything")]
mod process;
#[allow(dead_code, reason = "not every test asks everything")]
#[path = "traced/trace.rs"]
mod trace;

use mem_alloc_rust::trace::{Event, Note};
use mem_alloc_rust::watch::Traced;
use std::alloc::System;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::PathBuf;
use trace::Trace;

#[global_allocator]
static A: Traced<System> = Traced::new(System);

/// A size that nothing else in the process asks for.
const MARK: usize = 54_321;

/// What a C library's or a Rust crate's constructor does: std has not seen to the standard streams yet.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn allocate() {
        drop(black_box(vec![1u8; MARK - 1]));
    }
    allocate
};

/// A test's own trace, which is removed in the end.
struct TraceFile(PathBuf);

impl TraceFile {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("hostile-{}-{test}.trace", std::process::id())))
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Plays a test's part if this process is its child, and returns nothing then; else what the child left.
fn trace_of(test: &str, call_sites: &str, play: impl FnOnce()) -> Option<Trace> {
    if process::plays(test, play) {
        return None;
    }
    let file = TraceFile::new(test);
    let environment =
        [("MEM_ALLOC_RUST_TRACE", file.0.to_str().unwrap()), ("MEM_ALLOC_RUST_TRACE_CALL_SITES", call_sites)];
    process::run_test(test, &environment).success();
    Some(Trace::read(&file.0))
}

fn allocate_and_release(blocks: usize) {
    (0..blocks).for_each(|n| drop(black_box(vec![1u8; n % 100 + 1])));
}

/// Has every descriptor of this process that is none of the standard streams be a file of its own instead, as those of
/// a daemon come to be that closes what it does not know.
fn replace_descriptors() -> Vec<File> {
    let path = std::env::temp_dir().join(format!("hostile-{}.data", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let found: Vec<i32> =
        folder.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // SAFETY: this process uses none of them for anything else. (The folder's own is not open any more.)
    let replace = |descriptor| unsafe {
        libc::close(descriptor);
        assert_eq!(libc::dup2(file.as_raw_fd(), descriptor), descriptor);
        File::from_raw_fd(descriptor)
    };
    found
        .into_iter()
        .filter(|&descriptor| descriptor > 2 && descriptor != file.as_raw_fd())
        .map(replace)
        .collect()
}

/// How many of the files are closed in a child that is forked now.
fn closed_in_a_child(files: &[File]) -> i32 {
    // SAFETY: asking for flags has no conditions.
    let is_closed = |file: &&File| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) } < 0;
    // SAFETY: the child makes system calls only, and ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe { libc::_exit(files.iter().filter(is_closed).count() as i32) };
    }
    let mut status = 0;
    // SAFETY: the status has room.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status));
    libc::WEXITSTATUS(status)
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_closes_the_trace_keeps_its_own_files() {
    let test = "a_program_that_closes_the_trace_keeps_its_own_files";
    let trace = trace_of(test, "none", || {
        allocate_and_release(1_000);
        let mut files = replace_descriptors();
        assert_eq!(closed_in_a_child(&files), 0, "a child closes nothing but the trace");
        // More than the chunk that is mapped has room for.
        allocate_and_release(100_000);
        let mut content = Vec::new();
        files[0].read_to_end(&mut content).unwrap();
        assert_eq!(content.len(), 0, "bytes that somebody else wrote to the program's file");
    });
    let Some(trace) = trace else { return };
    assert!(trace.notes.contains(&Note::End(4)), "the program closed the file");
    assert!(trace.events.len() > 2_000, "{}", trace.events.len());
    trace.assert_consistent();
}

#[test]
#[cfg(target_os = "linux")]
fn a_program_that_is_started_without_standard_streams_does_not_write_to_its_trace() {
    let test = "a_program_that_is_started_without_standard_streams_does_not_write_to_its_trace";
    let play = || {
        print!("this is no trace");
        eprint!("nor is this");
        drop(black_box(vec![1u8; MARK]));
    };
    if process::plays(test, play) {
        return;
    }
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let file = TraceFile::new(test);
        let status = std::process::Command::new("sh")
            .args(["-c", &format!("exec \"$@\" {closed}"), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(process::arguments(test))
            .env(process::ROLE, test)
            .env("MEM_ALLOC_RUST_TRACE", &file.0)
            .status();
        assert!(status.unwrap().success());
        let trace = Trace::read(&file.0);
        trace.assert_consistent();
        let sizes = || {
            trace.events.iter().filter_map(|entry| match entry.event {
                Event::Allocation { size, .. } => Some(size as usize),
                _ => None,
            })
        };
        assert_eq!(sizes().next(), Some(MARK - 1), "what comes before `main` is the first");
        assert!(sizes().any(|size| size == MARK));
    }
}

#[test]
fn a_recording_that_cannot_begin_is_told() {
    let test = "a_recording_that_cannot_begin_is_told";
    if process::plays(test, || {}) {
        return;
    }
    // The file cannot have a byte; the table of call sites has no room.
    for (limit, call_sites) in [("-f 0", "none"), ("-v 30000", "unwind")] {
        let file = TraceFile::new(test);
        let child = std::process::Command::new("sh")
            .args(["-c", &format!("ulimit {limit} && exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(process::arguments(test))
            .env(process::ROLE, test)
            .env("MEM_ALLOC_RUST_TRACE", &file.0)
            .env("MEM_ALLOC_RUST_TRACE_CALL_SITES", call_sites)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{limit}: the program goes on: {stderr}");
        assert!(stderr.contains("nothing is recorded"), "{limit}: {stderr}");
    }
}

#[test]
fn what_is_no_file_is_not_recorded_into_nor_beside() {
    let test = "what_is_no_file_is_not_recorded_into_nor_beside";
    if process::plays(test, || {}) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("no-file-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("trace")).unwrap();
    for no_file in [folder.join("trace"), PathBuf::from("/dev/null")] {
        let child = process::run_test(test, &[("MEM_ALLOC_RUST_TRACE", no_file.to_str().unwrap())]).success();
        let stderr = process::stderr(&child);
        assert!(stderr.contains("nothing is recorded"), "{}: {stderr}", no_file.display());
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing lies beside it");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn call_sites_are_found_on_the_smallest_stacks() {
    extern "C" fn work(_: *mut libc::c_void) -> *mut libc::c_void {
        allocate_and_release(30_000);
        drop(black_box(vec![1u8; MARK]));
        std::ptr::null_mut()
    }
    let test = "call_sites_are_found_on_the_smallest_stacks";
    let trace = trace_of(test, "unwind", || {
        // SAFETY: the attributes are initialised first and given up last; the thread is waited for.
        unsafe {
            let mut attributes = std::mem::zeroed();
            assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
            assert_eq!(libc::pthread_attr_setstacksize(&raw mut attributes, libc::PTHREAD_STACK_MIN), 0);
            let mut thread = 0;
            let created =
                libc::pthread_create(&raw mut thread, &raw const attributes, work, std::ptr::null_mut());
            assert_eq!(created, 0);
            assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
            libc::pthread_attr_destroy(&raw mut attributes);
        }
    });
    let Some(trace) = trace else { return };
    trace.assert_consistent();
    let site = trace.events.iter().find_map(|entry| match entry.event {
        Event::Allocation { size, site, .. } if size == MARK as u64 => Some(site),
        _ => None,
    });
    assert!(trace.path_to(site.unwrap()).len() >= 2);
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_library_that_comes_later_is_one_of_the_modules() {
    let test = "a_library_that_comes_later_is_one_of_the_modules";
    let trace = trace_of(test, "unwind", || {
        // One that every glibc has, and no program of today needs.
        // SAFETY: its initialisation does nothing.
        let library = unsafe { libc::dlopen(c"libanl.so.1".as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null());
        drop(black_box(vec![1u8; MARK]));
    });
    let Some(trace) = trace else { return };
    trace.assert_consistent();
    let is_told = trace.notes.iter().any(|note| match note {
        Note::Module(module) => module.path.ends_with(b"libanl.so.1"),
        _ => false,
    });
    assert!(is_told, "its code may be in the path of any call site");
}
