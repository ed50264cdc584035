//! Programs over a `Locked` that are told to report on themselves while they allocate.
//!
//! Each is a child of this program, which is not one of the usual test harness: a child's main thread has to be its
//! only one.

#[cfg(unix)]
#[expect(dead_code, reason = "other tests use more of it")]
mod process;
#[cfg(unix)]
mod signalled;

#[cfg(unix)]
mod programs {
    use super::{process, signalled};
    use mem_alloc_rust::{FreeList, Locked};

    #[global_allocator]
    static A: Locked<FreeList<{ 4 << 20 }>> = Locked::new();

    fn look() {
        assert!(A.stats().live_blocks > 20_000);
    }

    pub fn play(role: &str) {
        match role {
            "many threads" => signalled::many_threads(|to| A.report_on_signal(libc::SIGUSR1, to), look),
            "one thread" => signalled::one_thread(|to| A.report_on_signal(libc::SIGALRM, to), look),
            other => panic!("no such role: {other}"),
        }
        A.audit().unwrap();
    }

    fn run(role: &str, environment: &[(&str, &str)]) {
        let child = process::run_child(role, &[], environment).success();
        assert_eq!(process::stderr(&child), "");
    }

    pub fn every_signal_gets_its_report_while_threads_allocate() {
        run("many threads", &[]);
    }

    pub fn every_signal_gets_its_report_wherever_it_interrupts() {
        let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/signalled_locked");
        run("one thread", &[(signalled::FILE, file)]);
        signalled::assert_all_are_in(&std::fs::read_to_string(file).unwrap());
    }
}

#[cfg(unix)]
fn main() {
    use libtest_mimic::{Arguments, Trial};

    if let Some(role) = process::role() {
        return programs::play(&role);
    }
    let mut trials = vec![Trial::test("every_signal_gets_its_report_while_threads_allocate", || {
        programs::every_signal_gets_its_report_while_threads_allocate();
        Ok(())
    })];
    // Only where a signal can be sent again: elsewhere a report does without the blocks, if need be.
    if cfg!(target_os = "linux") {
        trials.push(Trial::test("every_signal_gets_its_report_wherever_it_interrupts", || {
            programs::every_signal_gets_its_report_wherever_it_interrupts();
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

#[cfg(not(unix))]
fn main() {}
