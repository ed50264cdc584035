//! The same with an arena of 512 MiB.

#[global_allocator]
static A: mem_alloc_rust::Locked<mem_alloc_rust::FreeList<{ 512 << 20 }>> = mem_alloc_rust::Locked::new();

fn main() {
    println!("Hello, world!");
}
