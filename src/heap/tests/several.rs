//! Blocks that are taken several at once.

use super::*;

impl Bench {
    fn several(&mut self, bytes: usize, count: u32) -> Vec<*mut u8> {
        let mut blocks = Vec::new();
        self.heap.alloc_several(bytes, 8, count, |block| blocks.push(block.as_ptr()));
        self.heap.audit().unwrap();
        blocks
    }
}

#[test]
fn several_blocks_lie_end_to_end_and_can_be_freed_one_by_one() {
    for bytes in [0, 12, 13, 100, 700] {
        let mut bench = Bench::new(64 << 10);
        let blocks = bench.several(bytes, 10);
        let size = BlockSize::for_payload(bytes).unwrap().bytes();
        assert!(blocks.len() == 10 && blocks.is_sorted(), "{bytes}");
        assert!(blocks.windows(2).all(|pair| pair[1].addr() - pair[0].addr() == size), "{bytes}");
        for which in [3, 0, 9, 4, 1, 2, 8, 5, 7, 6] {
            bench.free(blocks[which]);
        }
        assert_eq!(bench.heap.stats().free_blocks, 1);
    }
}

#[test]
fn a_hole_of_just_the_right_size_is_used_up() {
    let mut bench = Bench::new(64 << 10);
    let size = BlockSize::for_payload(100).unwrap().bytes();
    for spare in [0, GRANULE] {
        // A hole for two blocks, and a granule that is too small for one.
        let hole = bench.alloc(2 * size + spare - HEADER);
        bench.alloc(8);
        bench.free(hole);
        let blocks = bench.several(100, 2);
        assert_eq!(blocks[0], hole);
        bench.free(blocks[1]);
        bench.free(blocks[0]);
        assert_eq!(bench.alloc(2 * size + spare - HEADER), hole, "nothing was lost");
    }
}

#[test]
fn where_memory_is_short_there_is_one_if_there_is_room_for_one() {
    let mut bench = Bench::new(64 << 10);
    assert!(bench.several(100, 0).is_empty());
    let hole = bench.alloc(100);
    bench.alloc(8);
    bench.fill();
    assert!(bench.several(100, 5).is_empty());
    bench.free(hole);
    assert_eq!(bench.several(100, 5), [hole]);
}
