//! The program with every call recorded by dhat, in memory.

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> std::process::ExitCode {
    let _profiler =
        dhat::Profiler::builder().file_name(std::env::temp_dir().join("watching-dhat.json")).build();
    programs::run()
}
