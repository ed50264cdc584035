//! Programs over a `Locked` that are told to report on themselves while they allocate.

#[cfg(unix)]
mod signalled;

#[cfg(unix)]
mod program {
    use super::signalled::Program;
    use mem_alloc_rust::{FreeList, Locked};

    #[global_allocator]
    static A: Locked<FreeList<{ 4 << 20 }>> = Locked::new();

    pub static PROGRAM: Program = Program {
        report_on: |signal, to| A.report_on_signal(signal, to),
        look: || assert!(A.stats().live_blocks > 20_000),
        audit: || A.audit().unwrap(),
        file: concat!(env!("CARGO_TARGET_TMPDIR"), "/signalled_locked"),
    };
}

fn main() {
    #[cfg(unix)]
    program::PROGRAM.main();
}
