//! The same with the default arena of 1 MiB.

#[global_allocator]
static A: mem_alloc_rust::Locked<mem_alloc_rust::FreeList> = mem_alloc_rust::Locked::new();

fn main() {
    println!("Hello, world!");
}
