//! The program with mimalloc.

programs::main!(mimalloc::MiMalloc = mimalloc::MiMalloc);
