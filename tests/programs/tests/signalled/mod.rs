//! Programs that are told to report on themselves while they allocate.
//!
//! Each is a child of a test program, which is not one of the usual test harness: a child's main thread has to be its
//! only one.

use at_end::SetAtEnd;
use extent::is_full;
use libtest_mimic::{Arguments, Trial};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

#[path = "../process/mod.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod process;

#[path = "../at_end/mod.rs"]
mod at_end;
#[path = "../../../extent/mod.rs"]
mod extent;

/// A program, by its allocator.
pub struct Program {
    /// Has the allocator report when that signal comes.
    pub report_on: fn(libc::c_int, OwnedFd) -> io::Result<()>,
    /// Asserts something that takes a look at all blocks.
    pub look: fn(),
    /// Checks the allocator in the end.
    pub audit: fn(),
    /// Where the reports of one of its parts go.
    pub file: &'static str,
}

impl Program {
    /// Plays the part that this process has, if it is a child, and else runs the children.
    pub fn main(&'static self) {
        if let Some(role) = process::role() {
            match role.as_str() {
                "many threads" => many_threads(|to| (self.report_on)(libc::SIGUSR1, to), self.look),
                "one thread" => one_thread(|to| (self.report_on)(libc::SIGALRM, to), self.look),
                other => panic!("no such role: {other}"),
            }
            return (self.audit)();
        }
        let mut trials = vec![Trial::test("every_signal_gets_its_report_while_threads_allocate", || {
            run("many threads", &[]);
            Ok(())
        })];
        // Only where a signal can be sent again: elsewhere a report does without the blocks, if need be.
        if cfg!(target_os = "linux") {
            trials.push(Trial::test("every_signal_gets_its_report_wherever_it_interrupts", || {
                run("one thread", &[(FILE, self.file)]);
                assert_all_are_in(&std::fs::read_to_string(self.file).unwrap());
                Ok(())
            }));
        }
        libtest_mimic::run(&Arguments::from_args(), trials).exit();
    }
}

/// Runs a child that must have nothing to complain of.
fn run(role: &str, environment: &[(&str, &str)]) {
    let child = process::run_child(role, &[], environment).success();
    assert_eq!(process::stderr(&child), "");
}

/// The variable that names the file of the reports.
const FILE: &str = "MEM_ALLOC_RUST_REPORTS";

/// How many signals each program gets.
fn signals() -> usize {
    if is_full() { 300 } else { 40 }
}

/// Asserts that a report is complete: all its figures, and its picture.
fn assert_complete(lines: &[String], number: usize) {
    let text = lines.join("\n");
    assert!(lines[0].starts_with(&format!("mem_alloc_rust: report {number} of process ")), "{text}");
    for figure in ["\narena ", "\nlive ", "\nfree ", "\nlargest ", "size from"] {
        assert!(text.contains(figure), "{figure}: {text}");
    }
    let is_row = |line: &&String| line.trim_start().starts_with(['·', '▂', '▄', '▆', '░', '▒', '▓', '█']);
    let rows: Vec<_> = lines.iter().filter(is_row).collect();
    assert!(rows.len() == 4 && rows.iter().all(|row| row.trim_start().chars().count() == 64), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
    assert_eq!(*lines.last().unwrap(), format!("mem_alloc_rust: end of report {number}"));
}

/// Allocates and releases.
fn exercise(rounds: usize) {
    let mut kept = std::collections::VecDeque::new();
    for round in 0..rounds {
        kept.push_back(vec![round as u8; 1 + round * 37 % 3000]);
        if kept.len() > 50 {
            let oldest = kept.pop_front().unwrap();
            assert!(oldest[1..] == oldest[..oldest.len() - 1]);
        }
    }
}

/// Sends signals to a program whose threads allocate all the time, and look at all blocks now and then. Each has to be
/// answered by a whole report before the next one is sent.
fn many_threads(report_to: impl Fn(OwnedFd) -> io::Result<()>, look: fn()) {
    let (reports, to) = UnixStream::pair().unwrap();
    report_to(to.into()).unwrap();
    let stop = AtomicBool::new(false);
    // More blocks than are counted in a moment, so that the lock is held for long.
    let many: Vec<_> = (0..20_000).map(|n| Box::new([n; 3])).collect();
    thread::scope(|scope| {
        let _end = SetAtEnd(&stop);
        let (begun, threads) = mpsc::channel();
        for number in 0..4 {
            let (stop, begun) = (&stop, begun.clone());
            scope.spawn(move || {
                // SAFETY: the call has no conditions.
                begun.send(unsafe { libc::pthread_self() }).unwrap();
                while !stop.load(Relaxed) {
                    exercise(500);
                    if number == 0 {
                        look();
                    }
                }
            });
        }
        drop(begun);
        let threads: Vec<_> = threads.iter().take(4).collect();
        let mut lines = BufReader::new(reports).lines().map(Result::unwrap);
        for number in 1..=signals() {
            // SAFETY: the signal has a handler, and the threads run.
            unsafe {
                match number % 5 {
                    4 => libc::kill(libc::getpid(), libc::SIGUSR1),
                    other => libc::pthread_kill(threads[other], libc::SIGUSR1),
                };
            }
            let end = format!("mem_alloc_rust: end of report {number}");
            let mut report = Vec::new();
            while report.last() != Some(&end) {
                report.push(lines.next().unwrap());
            }
            assert_complete(&report, number);
        }
    });
    drop(many);
}

fn len(file: &File) -> i64 {
    // SAFETY: all zero bytes are a valid value of the C structure, which has room.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(file.as_raw_fd(), &raw mut status), 0);
        status.st_size
    }
}

/// The same with the program's only thread, which a timer interrupts wherever it is, and mostly in the allocator. The
/// reports go to a file.
fn one_thread(report_to: impl Fn(OwnedFd) -> io::Result<()>, look: fn()) {
    let file = File::create(std::env::var(FILE).unwrap()).unwrap();
    report_to(file.try_clone().unwrap().into()).unwrap();
    let many: Vec<_> = (0..20_000).map(|n| Box::new([n; 3])).collect();
    for number in 1..=signals() {
        let before = len(&file);
        let tv_usec = 50 + (number * 37 % 500) as libc::suseconds_t;
        let timer = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
            it_value: libc::timeval { tv_sec: 0, tv_usec },
        };
        // SAFETY: the timer is initialised, and nobody asks for the one before.
        assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
        while len(&file) == before {
            if number % 2 == 0 { look() } else { exercise(20) }
        }
    }
    drop(many);
}

/// Asserts that a file has all reports, one behind the other.
fn assert_all_are_in(file: &str) {
    let lines: Vec<String> = file.lines().map(str::to_owned).collect();
    let ends_report = |line: &String| line.starts_with("mem_alloc_rust: end of report");
    let reports: Vec<_> = lines.split_inclusive(ends_report).collect();
    assert_eq!(reports.len(), signals());
    reports.iter().enumerate().for_each(|(number, report)| assert_complete(report, number + 1));
}
