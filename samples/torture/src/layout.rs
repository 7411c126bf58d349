// SPDX-License-Identifier: GPL-2.0

//! Which bytes of the device are used for what, and whose they are.
//!
//! ```text
//! 2 MiB      shared words
//! 4 MiB      arena, 16 chunks: 4 KiB pages, every other one another worker's; in some
//!            chunks runs of them
//! 1 GiB      giant: a page here and there in an aligned 1 GiB
//! 2 GiB      tail, 2 chunks: as the arena, but it comes and goes with the device's size
//! ```

pub const PAGE: u64 = 4096;
pub const CHUNK: u64 = 2 << 20;
pub const GIB: u64 = 1 << 30;
const CHUNK_PAGES: u64 = CHUNK / PAGE;

pub const SHARED: u64 = CHUNK;
pub const SHARED_CHUNK: usize = 19;
/// Words, some in each of its first pages.
pub const SHARED_WORDS: usize = 256;

pub const ARENA: u64 = 2 * CHUNK;
pub const ARENA_END: u64 = ARENA + 16 * CHUNK;
pub const GIANT: u64 = GIB;
pub const GIANT_END: u64 = 2 * GIB;
pub const TAIL: u64 = GIANT_END;
pub const TAIL_END: u64 = TAIL + 2 * CHUNK;

pub const ARENA_PAGES: u32 = 16 * 512;
pub const TAIL_PAGES: u32 = 2 * 512;
pub const GIANT_PAGES: u32 = 256;
pub const PAGES: u32 = ARENA_PAGES + TAIL_PAGES + GIANT_PAGES;
const GIANT_STEP: u64 = 1021;
/// The chunk of the giant's pages: nobody announces anything there.
const GIANT_CHUNK: usize = 18;

/// The first byte of a page of the model.
pub fn offset_of(page: u32) -> u64 {
    let n = u64::from(page);
    if page < ARENA_PAGES {
        ARENA + n * PAGE
    } else if page < ARENA_PAGES + TAIL_PAGES {
        TAIL + (n - u64::from(ARENA_PAGES)) * PAGE
    } else {
        GIANT + (n - u64::from(ARENA_PAGES + TAIL_PAGES)) * GIANT_STEP * PAGE
    }
}

/// The page of the model that has this byte, or of several the next one up to `behind`.
pub fn page_at(offset: u64, behind: u64) -> Option<u32> {
    let page = if offset < ARENA {
        0
    } else if offset < ARENA_END {
        ((offset - ARENA) / PAGE) as u32
    } else if offset < GIANT {
        return None;
    } else if offset < GIANT_END {
        let n = (offset - GIANT).div_ceil(GIANT_STEP * PAGE) as u32;
        if n >= GIANT_PAGES {
            return None;
        }
        ARENA_PAGES + TAIL_PAGES + n
    } else if offset < TAIL_END {
        ARENA_PAGES + ((offset - TAIL) / PAGE) as u32
    } else {
        return None;
    };
    (offset_of(page) < behind).then_some(page)
}

pub fn is_giant(page: u32) -> bool {
    page >= ARENA_PAGES + TAIL_PAGES
}

pub fn chunk_of(page: u32) -> usize {
    if is_giant(page) {
        GIANT_CHUNK
    } else {
        (u64::from(page) / CHUNK_PAGES) as usize
    }
}

/// The offset of a page in its chunk.
pub fn in_chunk(page: u32) -> u64 {
    u64::from(page) % CHUNK_PAGES * PAGE
}

pub fn owner_of(page: u32, workers: usize) -> usize {
    let chunk = chunk_of(page);
    // How many pages lie together, as an exponent.
    let run = if is_giant(page) {
        0
    } else {
        [0, 0, 1, 4, 9][chunk % 5]
    };
    ((page >> run) as usize + chunk) % workers
}

/// Shared word `n`.
pub fn shared_word(n: usize) -> u64 {
    SHARED + (n as u64 / 4) * PAGE + (n as u64 % 4) * 1000
}
