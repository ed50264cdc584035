use super::*;
use crate::synthetic::Synthetic;
use mem_alloc_rust::trace::{Event, Note};

fn steps(script: &Script) -> Vec<Step> {
    let mut steps = Vec::new();
    script
        .visit(|step| {
            steps.push(step.unpack());
            ControlFlow::Continue(())
        })
        .unwrap();
    steps
}

fn allocate(block: u32, size: u64) -> Step {
    Step::event(Action::Allocate { block, size, align_log2: 3, is_zeroed: false })
}

fn turn(thread: u32) -> Step {
    Step::no_event(Action::Thread(thread))
}

fn end(thread: u32) -> Step {
    Step::no_event(Action::ThreadEnd(thread))
}

/// Two threads, of which the second one ends first; a block is released that is not known, another one is overwritten.
fn two_threads(name: &str) -> PathBuf {
    let mut trace = Synthetic::new();
    trace.allocation(70, 1, 0x1000, 100, 0);
    trace.allocation(80, 2, 0x2000, 50, 0);
    trace.event(
        80,
        3,
        &Event::Reallocation { new_size: 70, align: 8, old_address: 0x2000, address: 0x3000, site: 0 },
    );
    trace.release(70, 4, 0x9000);
    trace.allocation(70, 5, 0x1000, 30, 0);
    trace.release(70, 6, 0x3000);
    // While the first thread works, and in the end.
    trace.note(80, &Note::ThreadEnd(4));
    trace.note(70, &Note::ThreadEnd(6));
    trace.write(name)
}

#[test]
fn a_trace_becomes_steps() {
    let path = two_threads("steps");
    let expected = [
        turn(0),
        allocate(0, 100),
        turn(1),
        allocate(1, 50),
        Step::event(Action::Reallocate { block: 1, size: 70 }),
        turn(0),
        end(1),
        Step::no_event(Action::Release { block: 0 }),
        allocate(0, 30),
        Step::event(Action::Release { block: 1 }),
        end(0),
    ];
    // In memory, and read from the file each time.
    for most in [100, 0] {
        let script = Script::read(&path, most).unwrap();
        assert_eq!(steps(&script), expected);
        assert_eq!((script.events, script.peak_bytes, script.threads()), (5, 170, 2));
        assert_eq!((script.unknown_releases, script.refusals, script.end), (1, 0, None));
        assert_eq!(script.steps_in_memory(), if most > 0 { expected.len() } else { 0 });
    }
}

#[test]
fn a_visit_can_be_broken_off() {
    let path = two_threads("broken_off");
    for most in [100, 0] {
        let mut count = 0;
        let script = Script::read(&path, most).unwrap();
        script
            .visit(|_| {
                count += 1;
                if count == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(count, 4);
    }
}

/// A program that is refused 5000 bytes at its fourth event; `then` are the addresses of what it allocates afterwards.
fn refused(name: &str, then: impl Iterator<Item = u64>) -> Script {
    let mut trace = Synthetic::new();
    trace.allocation(7, 1, 0x1000, 100, 0);
    trace.allocation(7, 2, 0x2000, 200, 0);
    trace.release(7, 3, 0x1000);
    trace.event(7, 4, &Event::Refused { size: 5000, align: 8, site: 0 });
    for (sequence, address) in (5..).zip(then) {
        trace.allocation(7, sequence, address, 10_000, 0);
    }
    Script::read(&trace.write(name), 1000).unwrap()
}

#[test]
fn a_program_that_was_refused_memory_and_ended_must_be_served_that_here() {
    let script = refused("last_words", std::iter::once(0x1000));
    assert_eq!(script.end.map(|end| (end.event, end.bytes)), Some((4, 5000)));
    // What was live, and what was asked for; not what came then.
    assert_eq!((script.events, script.peak_bytes, script.refusals), (4, 5200, 0));
    let steps = steps(&script);
    assert_eq!(steps.len(), 5);
    assert!(steps[4].is_required && steps[..4].iter().all(|step| !step.is_required));
}

#[test]
fn what_the_system_serves_for_a_backtrace_is_no_sign_of_life() {
    let far_away = (0..1000).map(|n| (1 << 40) + n * 0x10000);
    assert_eq!(refused("backtrace", far_away).end.map(|end| end.event), Some(4));
}

#[test]
fn a_program_that_goes_on_after_a_refusal_need_not_be_served_that() {
    let script = refused("goes_on", (0..100).map(|n| 0x1000 + n * 8));
    assert_eq!((script.end, script.refusals, script.events), (None, 1, 104));
    assert_eq!(steps(&script)[4].action, Action::Refused { size: 5000, align_log2: 3 });
}

#[test]
fn where_other_threads_go_on_all_of_the_trace_counts_and_what_was_refused() {
    let mut trace = Synthetic::new();
    trace.allocation(7, 1, 0x1000, 100, 0);
    trace.allocation(8, 2, 0x9000, 200, 0);
    trace.event(7, 3, &Event::Refused { size: 5000, align: 8, site: 0 });
    for sequence in 4..104 {
        trace.allocation(8, sequence, 0x1000 + sequence * 8, 10_000, 0);
    }
    let script = Script::read(&trace.write("others_go_on"), 1000).unwrap();
    let end = script.end.unwrap();
    assert_eq!((end.event, end.bytes, end.others_went_on), (3, 5000, true));
    assert_eq!((script.events, script.peak_bytes, script.refusals), (103, 1_000_300, 0));
    let required = steps(&script).iter().filter(|step| step.is_required).count();
    assert_eq!(required, 1);
}

#[test]
fn events_that_are_missing_are_counted_but_for_one_of_each_thread() {
    let mut trace = Synthetic::new();
    trace.allocation(7, 1, 0x1000, 100, 0);
    trace.allocation(8, 2, 0x2000, 100, 0);
    trace.allocation(7, 5, 0x3000, 100, 0);
    assert_eq!(Script::read(&trace.write("two_are_missing"), 100).unwrap().missing, 0);
    trace.allocation(7, 100, 0x4000, 100, 0);
    assert_eq!(Script::read(&trace.write("many_are_missing"), 100).unwrap().missing, 94);
}

#[test]
fn a_refused_change_of_size_counts_the_block_once() {
    let mut trace = Synthetic::new();
    trace.allocation(7, 1, 0x1000, 100, 0);
    trace.allocation(7, 2, 0x2000, 40, 0);
    let event = Event::RefusedReallocation { new_size: 300, align: 8, old_address: 0x1000, site: 0 };
    trace.event(7, 3, &event);
    let script = Script::read(&trace.write("refused_resize"), 1000).unwrap();
    assert_eq!(script.peak_bytes, 340);
    assert_eq!(steps(&script)[3].action, Action::RefusedReallocation { block: 0, size: 300 });
}

#[test]
fn a_trace_without_events_is_no_script() {
    let path = Synthetic::new().write("no_events");
    let trouble = Script::read(&path, 1000).err().unwrap().to_string();
    assert!(trouble.ends_with("the trace tells of no allocation and no release"), "{trouble}");
}
