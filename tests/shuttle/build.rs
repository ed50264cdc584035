//! Has the allocator's files use the stand-ins.

fn main() {
    println!("cargo::rustc-cfg=mem_alloc_rust_shuttle");
    println!("cargo::rustc-check-cfg=cfg(mem_alloc_rust_shuttle, docsrs)");
    println!("cargo::rerun-if-changed=build.rs");
}
