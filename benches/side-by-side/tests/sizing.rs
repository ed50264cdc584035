//! What the README says of sizing an arena: the peak that a program had in an ample one, and a third more, is enough.

use std::path::Path;
use std::time::{Duration, Instant};

use mem_alloc_rust::Locked;
use side_by_side::execute::{Blocks, End};
use side_by_side::operation::Sequence;
use side_by_side::region::Region;
use side_by_side::workloads::recorded_traces;

/// Replays a trace in the first `len` bytes of a region: whether it completes, and the peak that the heap counts.
fn replay(trace: &Sequence, region: &mut Region, len: usize) -> (bool, usize) {
    let span = region.span(len);
    let allocator = Locked::<mem_alloc_rust::Region>::new();
    // SAFETY: the span is this allocator's as long as it lives.
    unsafe { allocator.init(span.start.as_ptr(), len) }.unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut blocks = Blocks::new(trace.extent.slots);
    // SAFETY: a trace is consistent, and performed in order on one allocator.
    let progress = unsafe { blocks.run(&allocator, &trace.timed, deadline) };
    (matches!(progress.end, End::Completed), allocator.stats().peak_bytes)
}

#[test]
fn the_peak_and_a_third_more_complete_every_trace_and_a_twelfth_all_but_two() {
    let traces = recorded_traces(&Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")).unwrap();
    assert_eq!(traces.len(), 10);
    let mut refused = Vec::new();
    for trace in &traces {
        let mut region = Region::new(4 * trace.extent.peak_bytes).unwrap();
        let ample = region.len();
        let (is_completed, peak) = replay(trace, &mut region, ample);
        assert!(is_completed, "{}: an arena of {ample} bytes is not ample", trace.name);
        assert!(replay(trace, &mut region, peak + peak / 3).0, "{}: peak {peak}", trace.name);
        if !replay(trace, &mut region, peak + peak / 12).0 {
            refused.push(trace.name.as_str());
        }
    }
    // Whether the first of these completes with a twelfth more changes with little else.
    let expected = ["trace: markdown to html", "trace: regex"];
    assert!(refused.iter().all(|name| expected.contains(name)), "{refused:?}");
}
