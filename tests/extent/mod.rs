//! How much of what takes long is tested: the part that fits into a minute, or all of it.

/// The variable that asks for all of it.
pub const EXTENT: &str = "MEM_ALLOC_RUST_EXHAUSTIVE";

/// Whether all of it is asked for. A value that is not known must not pass for that.
pub fn is_full() -> bool {
    match std::env::var_os(EXTENT) {
        None => false,
        Some(value) if value == "full" => true,
        Some(value) => panic!("{EXTENT} is {value:?}: it can be `full`, or unset"),
    }
}
