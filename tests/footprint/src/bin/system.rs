//! The program to compare with: the system's allocator.

fn main() {
    println!("Hello, world!");
}
