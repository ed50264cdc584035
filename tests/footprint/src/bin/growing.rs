//! The same with growing memory.

#[global_allocator]
static A: mem_alloc_rust::Locked<mem_alloc_rust::Growing> = mem_alloc_rust::Locked::new();

fn main() {
    println!("Hello, world!");
}
