//! The program with jemalloc.

programs::main!(tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc);
