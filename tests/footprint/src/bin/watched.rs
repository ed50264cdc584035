//! The same with every wrapper around it: what is not zero in one of them would take the arena into the file.

use mem_alloc_rust::watch::{Counted, Refusing, Sampled, Traced};
use mem_alloc_rust::{FreeList, Locked};

type Arena = Locked<FreeList<{ 64 << 20 }>>;

#[global_allocator]
static A: Refusing<Counted<Sampled<Traced<Arena>>>> =
    Refusing::new(Counted::new(Sampled::new(Traced::new(Locked::new()))));

fn main() {
    println!("Hello, world!");
}
