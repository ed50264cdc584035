//! Running out: the allocator says no, `try_reserve` passes it on, and the program goes on.

use crate::stage::Stage;
use crate::trouble::Trouble;

/// More than the arena has.
const TOO_LARGE: usize = 2 << 20;

/// What a block has in front of its contents; together they are a multiple of 8.
const HEADER: usize = 4;

/// What the arena is filled with.
const PAGE: usize = 4096;

/// What the pages are filled with.
const FILLER: u8 = 0xA5;

/// More pages than the arena can have.
const MAX_PAGES: usize = 512;

/// Asks for too much, for exactly what there is, and for small pieces until one is refused.
pub(crate) fn run(stage: &mut Stage<'_>) -> Result<(), Trouble<'static>> {
    match page(TOO_LARGE) {
        Ok(_) => return Err(Trouble::Disagreement),
        Err(refusal) => {
            stage.say(&format!("2 MiB at once: refused (\"{refusal}\"), and the program goes on"))?
        }
    }

    let room = crate::A.stats().largest_free_bytes - HEADER;
    let (all, more) = (page(room).is_ok(), page(room + 1).is_ok());
    stage.check("all that is free in one piece is granted", all, "one byte more is not", !more)?;

    let mut pages: Vec<Vec<u8>> = Vec::new();
    pages.try_reserve_exact(MAX_PAGES).map_err(|_| Trouble::Refused)?;
    let room = crate::A.stats().largest_free_bytes;
    while let Ok(page) = page(PAGE) {
        pages.push(page);
    }
    stage.snapshot();
    let filled = pages.len();
    let intact = pages.iter().filter(|page| page.iter().all(|&byte| byte == FILLER)).count();
    drop(pages);

    // Others may come from smaller free blocks.
    let least = room / (PAGE + HEADER).next_multiple_of(8);
    stage.say(&format!("pages of 4 KiB until one was refused: {filled}"))?;
    stage.check("the largest free block held no more than these", least <= filled, "as it should", true)?;
    stage.check("pages that kept their contents", intact, "that is all of them", filled)?;

    let half = crate::A.stats().arena_bytes / 2;
    let granted = page(half).map_or(0, |page| page.len());
    stage.check("bytes in one piece after all pages were dropped", granted, "half of the arena", half)
}

/// A page of `bytes` bytes, or the allocator's refusal.
fn page(bytes: usize) -> Result<Vec<u8>, std::collections::TryReserveError> {
    let mut page = Vec::new();
    page.try_reserve_exact(bytes)?;
    page.resize(bytes, FILLER);
    Ok(page)
}
