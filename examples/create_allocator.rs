//! An allocator called by hand, over the crate's own arena of 1 MiB. Prints `Value: 42`.

use core::alloc::Layout;
use mem_alloc_rust::create_allocator;

fn main() {
    let mut allocator = create_allocator();
    // SAFETY: no other allocator owned the arena before, and the block is used only between `alloc` and
    // `dealloc`.
    unsafe {
        allocator.init();
        let layout = Layout::new::<i32>();
        let ptr = allocator.alloc(layout);
        if !ptr.is_null() {
            *(ptr as *mut i32) = 42;
            println!("Value: {}", *(ptr as *mut i32));
            allocator.dealloc(ptr);
        }
    }
}
