//! What the model, the exhaustive test, the field's bugs and the fuzzer share: one operation language, and a
//! [`Shadow`] that runs it against a heap and knows every byte that is live.
//!
//! | file | job |
//! |---|---|
//! | `operation` | the language: allocate, free, resize |
//! | `memory` | a region between two red zones, at an address whose low bits are chosen |
//! | `live_block` | a block in use and the bytes that have to be in it |
//! | `census` | the heap's blocks and figures against the blocks that are live |
//! | `fit` | whether a refused request would have fitted |
//! | `shadow` | runs operations and asks all of the above after each |

mod census;
mod fit;
pub(crate) mod live_block;
pub(crate) mod memory;
pub(crate) mod operation;
pub(crate) mod shadow;

/// Bytes of the unit in which blocks are measured, of the header in front of each, and of the smallest block:
/// what the documentation promises, and deliberately not what the source code says.
const GRANULE: usize = 8;
const HEADER: usize = 4;
const MIN_BLOCK: usize = 16;
