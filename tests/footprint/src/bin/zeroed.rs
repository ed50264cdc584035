//! Asks for zeroed memory, and for memory that it clears itself, over and over. If the calls for the former alone were
//! inlined, rustc 1.95 would crash here: it makes a call for zeroed memory of a call for memory and what clears it, and
//! has deleted the function by then.

#![allow(
    clippy::slow_vector_initialization,
    clippy::same_item_push,
    reason = "that is what is to be compiled"
)]

#[global_allocator]
static A: mem_alloc_rust::Locked<mem_alloc_rust::FreeList> = mem_alloc_rust::Locked::new();

mod zeroed {
    #[inline(never)]
    pub(crate) fn flags(set: &[usize]) -> Vec<bool> {
        let mut flags = vec![false; set.iter().max().unwrap() + 1];
        set.iter().for_each(|&at| flags[at] = true);
        flags
    }
}

mod zeroed_in_turn {
    #[inline(never)]
    pub(crate) fn rows(count: usize) -> Vec<Vec<bool>> {
        (0..count).map(|length| vec![false; length]).collect()
    }
}

mod cleared_by_resize {
    #[inline(never)]
    pub(crate) fn bytes(count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::with_capacity(count);
        bytes.resize(count, 0);
        bytes
    }
}

mod cleared_by_push {
    #[inline(never)]
    pub(crate) fn words(count: usize) -> Box<[u64]> {
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            words.push(0u64);
        }
        words.into_boxed_slice()
    }
}

mod cleared_by_extend {
    pub(crate) fn flags(count: usize) -> Vec<bool> {
        let mut flags = Vec::with_capacity(count);
        flags.extend(std::iter::repeat_n(false, count));
        flags
    }
}

fn main() {
    let count = std::env::args().count() * 10;
    println!("{:?}", zeroed::flags(&[count, 2, 3]));
    println!("{:?}", cleared_by_resize::bytes(count));
    println!("{:?}", cleared_by_push::words(count));
    println!("{:?}", zeroed_in_turn::rows(count));
    println!("{:?}", cleared_by_extend::flags(count));
    println!("{:?}", vec![0u8; count]);
}
