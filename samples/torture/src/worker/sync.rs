// SPDX-License-Identifier: GPL-2.0

//! Syncs and punches.

use super::*;

impl Worker<'_> {
    pub(super) fn msync(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let Some(slot) = &self.slots[n] else {
            return SKIPPED;
        };
        let pages = slot.map.len() as u64 / PAGE;
        let first = dice.below(pages);
        let count = dice.range(1, 64.min(pages - first));
        let result = slot.map.sync(
            (first * PAGE) as usize,
            (count * PAGE) as usize,
            !dice.one_in(8),
        );
        note!(self, "slot {n}: msync {first} {count}: {result:?}");
        result.map_err(|e| said("msync", e))?;
        DONE
    }

    pub(super) fn fsync(&mut self, dice: &mut Dice) -> Done {
        let file = if dice.one_in(2) {
            &self.process.read
        } else {
            &self.process.write
        };
        let result = if dice.one_in(2) {
            file.sync_all()
        } else {
            file.sync_data()
        };
        note!(self, "fsync: {result:?}");
        result.map_err(|e| e.to_string())?;
        DONE
    }

    pub(super) fn punch_own(&mut self, dice: &mut Dice, number: u64) -> Done {
        let page = self.own_page(dice);
        let page = if page < ARENA_PAGES {
            page
        } else {
            self.own_arena_page(dice)
        };
        let (at, len) = if dice.one_in(2) {
            (
                0,
                (self.own_run(page, 1 << dice.below(10)) as u64 * PAGE) as usize,
            )
        } else {
            self.part(page, 16, dice)
        };
        self.punch_part(page, at, len, number)
    }

    /// A signal ends it while it waits for pins. Then it is done again.
    fn punch(&self, number: u64, offset: u64, length: u64) -> Result<(), Errno> {
        loop {
            match device::punch(&self.process.write, number, offset, length) {
                Err(libc::EINTR) if self.process.memory.has_pages() => {}
                result => return result,
            }
        }
    }

    pub(super) fn punch_part(&mut self, page: u32, at: usize, len: usize, number: u64) -> Done {
        let byte = offset_of(page) + at as u64;
        let before = self.before_part(page, at, len)?;
        let result = self.punch(number, byte, len as u64);
        let after = self.after(page, &before);
        note!(self, "ioctl {number:#x} {byte:#x} {len}: {result:?}");
        result.map_err(|e| said(&format!("{byte:#x}, {len:#x}"), e))?;
        self.wrote_part(page, at, &vec![0; len], after);
        if number == device::PUNCH {
            for (page, _, from, to) in Self::pages_of(page, at, len) {
                let n = self.nr(page);
                self.hole[n] |= to - from == PAGE_BYTES;
            }
            if len as u64 >= CHUNK {
                self.look_at_entries()?;
            }
        }
        DONE
    }

    pub(super) fn punch_all(&mut self, dice: &mut Dice, number: u64) -> Done {
        let total = ARENA_END - SHARED;
        let (offset, len) = match dice.below(4) {
            0 => (SHARED + dice.below(total / CHUNK) * CHUNK, CHUNK),
            1 => (SHARED, CHUNK),
            2 => (
                SHARED + dice.below(total / PAGE) * PAGE,
                dice.range(1, 700) * PAGE,
            ),
            _ => (SHARED + dice.below(total), dice.range(1, 3 << 20)),
        };
        let behind = (offset + len).min(ARENA_END);
        // Does it zero pages that are pinned?
        let hasty = number == device::ZERO || (offset | behind) % PAGE != 0;
        let chunks = offset / CHUNK..behind.div_ceil(CHUNK);
        let of = |chunk: u64| {
            let n = if chunk == 1 {
                SHARED_CHUNK
            } else {
                chunk as usize - 2
            };
            &self.control.chunks[n]
        };
        let mut taken = 0;
        while taken < chunks.end - chunks.start && try_lock(&of(chunks.start + taken).lock) {
            taken += 1;
        }
        let all = taken == chunks.end - chunks.start;
        if all {
            for chunk in chunks.clone() {
                let first = offset.max(chunk * CHUNK) - chunk * CHUNK;
                let last = behind.min((chunk + 1) * CHUNK) - chunk * CHUNK;
                let seq = of(chunk).seq.load(SeqCst);
                of(chunk).log[(seq / 2) as usize % LOG].store((first << 32) | last, SeqCst);
                of(chunk).seq.store(seq + 1, SeqCst);
                of(chunk).hasty.fetch_add(u64::from(hasty), SeqCst);
            }
            let result = self.punch(number, offset, behind - offset);
            note!(
                self,
                "ioctl {number:#x} {offset:#x} {:#x}: {result:?}",
                behind - offset
            );
            if result.is_ok() {
                for chunk in chunks.clone() {
                    of(chunk).hasty.fetch_add(u64::from(hasty), SeqCst);
                    of(chunk).seq.fetch_add(1, SeqCst);
                }
            }
            result.map_err(|e| said(&format!("{offset:#x}"), e))?;
            if number == device::PUNCH {
                self.look_at_entries()?;
            }
        }
        for chunk in chunks.start..chunks.start + taken {
            unlock(&of(chunk).lock);
        }
        Ok(all)
    }
}
