//! The program with the C library's allocator.

programs::main!(std::alloc::System = std::alloc::System);
