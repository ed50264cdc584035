//! The program with the C library's allocator, which heaptrack watches.

programs::main!(std::alloc::System = std::alloc::System);
