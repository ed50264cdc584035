//! The program with snmalloc.

programs::main!(snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc);
