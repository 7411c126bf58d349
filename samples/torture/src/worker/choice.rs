// SPDX-License-Identifier: GPL-2.0

//! What an operation works on, and whether it did what it had to.

use super::*;

impl Worker<'_> {
    /// A page of its own: mostly one of a few of one chunk, which are others after a while.
    pub(super) fn own_page(&self, dice: &mut Dice) -> u32 {
        let hot = mix(self.seed ^ (self.index / HOT * 31) ^ ((self.me as u64) << 32));
        let any = dice.one_in(30);
        let chunk = if any { dice.next() } else { hot } % 18;
        let pages = &self.by_chunk[chunk as usize];
        if pages.is_empty() {
            return self.own_arena_page(dice);
        }
        let at = if any {
            dice.below(1 << 20)
        } else {
            (hot >> 32) + dice.below(HOT_PAGES)
        };
        pages[(at % pages.len() as u64) as usize]
    }

    pub(super) fn own_arena_page(&self, dice: &mut Dice) -> u32 {
        let behind = self.own.partition_point(|page| *page < ARENA_PAGES);
        self.own[dice.below(behind as u64) as usize]
    }

    /// A page of its own in a part of the device.
    pub(super) fn own_page_in(&self, offset: u64, end: u64, dice: &mut Dice) -> Option<u32> {
        let from = offset + dice.below((end - offset) / PAGE) * PAGE;
        let first = page_at(from, end).or_else(|| page_at(offset, end))?;
        let mine = |page: &u32| {
            self.local[*page as usize] != u32::MAX && (offset..end).contains(&offset_of(*page))
        };
        let near = first..PAGES.min(first + 2 * self.workers as u32);
        near.clone().find(mine).or_else(|| {
            (first.saturating_sub(2 * self.workers as u32)..first)
                .rev()
                .find(mine)
        })
    }

    /// How many pages from this one on are its own and lie together.
    pub(super) fn own_run(&self, page: u32, most: u32) -> u32 {
        let chunk = chunk_of(page);
        if is_giant(page) {
            return 1;
        }
        (page..PAGES.min(page + most))
            .take_while(|p| self.local[*p as usize] != u32::MAX && chunk_of(*p) == chunk)
            .count() as u32
    }

    /// A mapping, and a page in it.
    pub(super) fn choose<'m>(&self, commons: &'m Map, dice: &mut Dice) -> (Via<'m>, u32) {
        if !dice.one_in(3) {
            let slot = dice.below(SLOTS as u64) as usize;
            if let Some(s) = &self.slots[slot] {
                let hot = self.own_page(dice);
                if (s.offset..s.end()).contains(&offset_of(hot)) {
                    return (Via::Slot(slot), hot);
                }
                if let Some(page) = self.own_page_in(s.offset, s.end(), dice) {
                    return (Via::Slot(slot), page);
                }
            }
        }
        let page = self.own_page(dice);
        let page = if page < ARENA_PAGES {
            page
        } else {
            self.own_arena_page(dice)
        };
        (Via::Map(commons), page)
    }

    pub(super) fn resolve<'m>(&'m self, via: &Via<'m>) -> Option<(&'m Map, u64, bool, bool)> {
        match via {
            Via::Map(map) => Some((map, COMMONS, true, true)),
            Via::Slot(n) => {
                let slot = self.slots[*n].as_ref()?;
                Some((&slot.map, slot.offset, slot.read, slot.write))
            }
        }
    }

    /// Did an access do what it had to? Ok(false) if it rightly did not succeed.
    pub(super) fn judge(
        &self,
        signal: Option<Signal>,
        allowed: bool,
        offset: u64,
        after: After,
    ) -> Result<bool, String> {
        let here = self.here(offset, after);
        match signal {
            None if !allowed => Err(format!("{offset:#x}: the protection is not kept")),
            None if here == Some(false) => Err(format!("{offset:#x}: reached behind the end")),
            None => Ok(true),
            Some(Signal::Segv) if allowed => Err(format!("{offset:#x}: SIGSEGV")),
            Some(Signal::Bus) if here == Some(true) => {
                Err(format!("{offset:#x}: SIGBUS in the device"))
            }
            Some(_) => Ok(false),
        }
    }

    pub(super) fn touch_hole(&mut self, page: u32) {
        let n = self.nr(page);
        if std::mem::take(&mut self.hole[n]) {
            self.control.holes_written.fetch_add(1, SeqCst);
        }
    }
}
