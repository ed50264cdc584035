//! The same with regions that are handed over at run time, of which there are none yet: the system's allocator serves.

static A: mem_alloc_rust::Locked<mem_alloc_rust::Regions<63>> = mem_alloc_rust::Locked::new();

fn main() {
    // SAFETY: a region at null is refused.
    assert!(unsafe { A.add_region(core::ptr::null_mut(), 1) }.is_err());
    println!("Hello, world!");
}
