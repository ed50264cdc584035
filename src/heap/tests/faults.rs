//! Wrong pointers and overwritten memory.

use super::*;

#[test]
fn a_second_free_is_a_fault_wherever_the_block_went() {
    let layouts: [&[usize]; 4] = [&[1], &[0, 1], &[2, 1], &[0, 2, 1]];
    for freed in layouts {
        let mut bench = Bench::new(4096);
        let blocks = [bench.alloc(44), bench.alloc(44), bench.alloc(44), bench.alloc(44)];
        for &which in freed {
            bench.free(blocks[which]);
        }
        for &which in freed {
            let fault = bench.try_free(blocks[which]).unwrap_err();
            let address = blocks[which].addr();
            assert!(
                matches!(fault, Fault::AlreadyFree { address: found, .. } if found == address),
                "{freed:?} {fault}"
            );
        }
    }
    let mut bench = Bench::new(4096);
    let (first, last) = (bench.alloc(44), bench.alloc(44));
    bench.free(last);
    assert_eq!(
        bench.try_free(last),
        Err(Fault::AlreadyFree { action: Action::Free, address: last.addr(), bytes: 44 }),
        "melted into the top"
    );
    bench.free(first);
    assert!(matches!(bench.try_free(last), Err(Fault::AlreadyFree { .. })));
    assert!(matches!(bench.try_free(first), Err(Fault::AlreadyFree { .. })));
}

#[test]
fn wrong_pointers_are_faults() {
    let mut bench = Bench::new(4096);
    let block = bench.alloc(100);
    let (start, end) = bench.heap.bounds();
    let wrong = |bench: &mut Bench, address: usize| {
        bench.try_free(core::ptr::without_provenance_mut(address)).unwrap_err()
    };
    for outside in [0, 8, start - 4, start - 8, end, end + 4, usize::MAX & !7, usize::MAX] {
        assert!(matches!(wrong(&mut bench, outside), Fault::OutsideArena { .. }), "{outside:#x}");
    }
    for misaligned in [1, 2, 4, 7] {
        assert!(matches!(wrong(&mut bench, block.addr() + misaligned), Fault::Misaligned { .. }));
    }
    assert!(matches!(wrong(&mut bench, block.addr() + 8), Fault::NotABlock { .. }));
    assert!(matches!(wrong(&mut bench, block.addr() + 1000), Fault::NeverAllocated { .. }));
    bench.free(block);
}

#[test]
fn a_write_past_the_end_of_a_block_is_said_to_be_one() {
    for behind_is_last in [false, true] {
        let mut bench = Bench::new(4096);
        let (culprit, victim) = (bench.alloc(100), bench.alloc(44));
        if !behind_is_last {
            bench.alloc(44);
        }
        // SAFETY: the bytes lie in the arena; writing past the end is what shall be found.
        unsafe { culprit.write_bytes(b'A', 120) };
        // SAFETY: the block is in use.
        let fault = unsafe { bench.heap.dealloc(victim) }.unwrap_err();
        let address = victim.addr();
        assert_eq!(
            fault,
            Fault::Overwritten {
                action: Action::Free,
                address,
                left: Some((culprit.addr(), 100)),
                or_behind: false
            }
        );
        let offset = bench.heap.audit().unwrap_err().offset;
        assert!(offset < 4096, "{offset}");
    }
}

#[test]
fn a_write_past_the_end_is_found_when_the_block_in_front_is_given_back_first_or_resized() {
    // What reads as the header of a free block, of one with a free block in front, of both, of a run, and of a block in
    // use: all of them are too large or too small.
    for filler in *b"AeBfCgDh@\0" {
        for is_behind_free in [false, true] {
            for resize_to in [None, Some(200), Some(40), Some(5000)] {
                let mut bench = Bench::new(1 << 14);
                let (first, culprit, behind) = (bench.alloc(44), bench.alloc(100), bench.alloc(100));
                bench.alloc(44);
                if is_behind_free {
                    bench.free(behind);
                }
                // SAFETY: the bytes lie in the arena; writing past the end is what shall be found.
                unsafe { culprit.write_bytes(filler, 120) };
                let layout = Layout::new::<[u8; 100]>();
                // SAFETY: the block is in use.
                let (action, fault) = unsafe {
                    match resize_to {
                        None => (Action::Free, bench.heap.dealloc(culprit).unwrap_err()),
                        Some(to) => (Action::Realloc, bench.heap.realloc(culprit, layout, to).unwrap_err()),
                    }
                };
                let (address, left) = (culprit.addr(), Some((first.addr(), 44)));
                assert_eq!(fault, Fault::Overwritten { action, address, left, or_behind: true });
            }
        }
    }
}

#[test]
fn an_audit_names_a_place_in_the_arena_whatever_was_overwritten() {
    for filler in [0x4141_4141_4141_4141, u64::MAX, 0x0000_0001_0000_0001, 0] {
        for word in 0..64 {
            let mut bench = Bench::new(512);
            let blocks: std::vec::Vec<_> = [44, 44, 44, 100, 12, 44].map(|bytes| bench.alloc(bytes)).into();
            for which in [0, 2, 3] {
                bench.free(blocks[which]);
            }
            bench.memory[word] = filler;
            if let Err(error) = bench.heap.audit() {
                assert!(error.offset <= 512, "word {word}: {error}");
            }
        }
    }
}

#[test]
fn an_audit_finds_what_was_overwritten() {
    // The hole's header, its links, its footer with the next header, and the last block's header.
    for word in [0, 1, 6, 12] {
        let mut bench = Bench::new(512);
        let (hole, _, _) = (bench.alloc(44), bench.alloc(44), bench.alloc(44));
        bench.free(hole);
        let before = bench.memory[word];
        bench.memory[word] = 0x0123_4567_89ab_cdef;
        assert!(bench.heap.audit().is_err(), "word {word}");
        bench.memory[word] = before;
        bench.heap.audit().unwrap();
    }
}

#[test]
fn a_link_over_the_header_of_a_freed_block_does_not_make_it_live() {
    // B melts into the hole in front of it, of which a later request takes so much that the rest starts
    // one granule before B: its back link lies where B's header was.
    for padding in 0..40 {
        let mut bench = Bench::new(1 << 14);
        bench.alloc(padding * 8);
        let (left, gone) = (bench.alloc(36), bench.alloc(28));
        bench.alloc(8);
        let other = bench.alloc(36);
        bench.alloc(8);
        bench.free(left);
        bench.free(gone);
        bench.alloc(28);
        assert!(matches!(bench.try_free(gone), Err(Fault::AlreadyFree { .. })), "padding {padding}");
        bench.free(other);
        assert!(matches!(bench.try_free(gone), Err(Fault::AlreadyFree { .. })), "padding {padding}");
    }
}

#[test]
fn the_old_address_of_a_block_that_slid_down_is_free() {
    let mut bench = Bench::new(4096);
    let (front, block) = (bench.alloc(108), bench.alloc(44));
    bench.alloc(8);
    bench.fill();
    bench.free(front);
    assert_eq!(bench.realloc(block, 44, 140), front);
    // What lies there now is in use, and could be its contents as well.
    assert!(matches!(bench.try_free(block), Err(Fault::NotABlock { may_have_been_freed: true, .. })));
}

#[test]
fn contents_of_a_block_in_use_are_never_called_a_double_free() {
    let mut bench = Bench::new(8192);
    let block = bench.alloc(2000);
    bench.alloc(44);
    for numbers in [0, 1, 2, 7, 0x0101_0101] {
        // Odd and even ones, which read as headers of free blocks and of live ones.
        for at in 0..500 {
            // SAFETY: the block is in use, and has 2000 bytes.
            unsafe { block.cast::<u32>().add(at).write(numbers + at as u32 * 2) };
        }
        for at in (8..2000).step_by(8) {
            let inside = block.wrapping_add(at);
            // (Some read as live blocks that end where one could; that is for who calls with such a pointer.)
            if bench.heap.live_block(inside).is_none() {
                let fault = bench.try_free(inside).unwrap_err();
                assert!(matches!(fault, Fault::NotABlock { .. }), "{fault}");
            }
        }
    }
}

#[test]
fn a_header_with_one_wrong_byte_is_never_called_a_double_free() {
    for byte in 0..=255 {
        let mut bench = Bench::new(4096);
        let (culprit, victim) = (bench.alloc(100), bench.alloc(44));
        bench.alloc(44);
        // SAFETY: the byte lies in the arena; writing past the end is what shall be found.
        unsafe { culprit.add(100).write(byte) };
        if bench.heap.live_block(victim).is_none() {
            // SAFETY: the block is in use.
            let fault = unsafe { bench.heap.dealloc(victim) }.unwrap_err();
            let culprit = Some((culprit.addr(), 100));
            assert!(matches!(fault, Fault::Overwritten { left, .. } if left == culprit), "{byte}: {fault}");
        }
    }
}

#[test]
fn a_pointer_into_a_block_whose_bytes_look_like_a_header_is_told_by_the_neighbours() {
    let mut bench = Bench::new(4096);
    let block = bench.alloc(400);
    bench.alloc(400);
    bench.fill();
    // A word in the middle of the block that says: used, 200 bytes, the block to the left is free.
    // SAFETY: the word lies in the block.
    unsafe { block.add(100).cast::<u32>().write(200 | 2) };
    assert!(matches!(bench.try_free(block.wrapping_add(104)), Err(Fault::NotABlock { .. })));
    // SAFETY: as above.
    unsafe { block.add(100).cast::<u32>().write(100_000) };
    assert!(matches!(bench.try_free(block.wrapping_add(104)), Err(Fault::NotABlock { .. })));
}
