//! The program with rusty_alloc.

programs::main!(rusty_alloc_api::RustyAlloc = rusty_alloc_api::RustyAlloc);
