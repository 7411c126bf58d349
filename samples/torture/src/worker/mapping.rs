// SPDX-License-Identifier: GPL-2.0

//! Mappings: made, cut, moved, protected, prefaulted.

use super::*;

impl Worker<'_> {
    /// Maps something in a slot, in place of what was there.
    pub(super) fn map(&mut self, dice: &mut Dice, giant: Option<usize>) -> Done {
        let n = giant.unwrap_or_else(|| dice.below(SLOTS as u64 - 1) as usize);
        self.slots[n] = None;
        let page = if dice.one_in(20) {
            *self.own.last().ok_or("no pages")?
        } else {
            self.own_page(dice)
        };
        let byte = offset_of(page);
        let (low, high) = match byte {
            GIANT_END.. => (TAIL, TAIL_END),
            GIANT.. => (GIANT, GIANT_END),
            _ => (SHARED, ARENA_END),
        };
        let (offset, len) = if giant.is_some() {
            (GIANT, GIB)
        } else {
            match dice.below(16) {
                0..4 => (byte, PAGE),
                4..9 => {
                    let first = byte.saturating_sub(dice.below(32) * PAGE).max(low);
                    (first, (dice.range(2, 64) * PAGE).min(high - first))
                }
                9..12 => (byte / CHUNK * CHUNK, CHUNK),
                12..15 => {
                    let first = byte.saturating_sub(dice.below(700) * PAGE).max(low);
                    (first, (dice.range(300, 1500) * PAGE).min(high - first))
                }
                _ => (low, (high - low).min(ARENA_END - SHARED)),
            }
        };
        let unit = self.process.unit;
        let end = (offset + len).next_multiple_of(unit);
        let offset = offset / unit * unit;
        let len = end - offset;
        let may_write = !dice.one_in(4);
        let read_only = !may_write && dice.one_in(2);
        let place = match dice.below(4) {
            0 => Some((offset % CHUNK) as usize),
            1 => Some((dice.below(512) * PAGE / unit * unit) as usize),
            _ => None,
        };
        let how = MapHow {
            write: may_write,
            sync: dice.one_in(4),
            place,
        };
        let small = giant.is_none() && dice.one_in(4);
        let before = Before {
            seq: 0,
            resizes: self.control.resize_seq.load(SeqCst),
        };
        let file = if read_only {
            &self.process.read
        } else {
            &self.process.write
        };
        let result = Map::new(file.as_fd(), offset, len as usize, how);
        let after = self.after(page, &before);
        note!(
            self,
            "slot {n}: mmap {offset:#x} {len:#x} {how:x?}: {result:x?}"
        );
        let map = match (result, self.here(offset + len - 1, after)) {
            (Ok(_), Some(false)) => return Err(format!("{offset:#x}: mapped behind the end")),
            (Err(libc::EINVAL), Some(false) | None) => return DONE,
            (Err(e), _) => return Err(said(&format!("{offset:#x}, {len:#x}"), e)),
            (Ok(map), _) => map,
        };
        if small {
            map.advise(libc::MADV_NOHUGEPAGE)
                .map_err(|e| said("MADV_NOHUGEPAGE", e))?;
        }
        let may_write = may_write || !read_only;
        self.slots[n] = Some(Slot {
            map,
            offset,
            read: true,
            write: how.write,
            may_write,
        });
        DONE
    }

    pub(super) fn giant(&mut self, dice: &mut Dice, write: bool) -> Done {
        let slot = SLOTS - 1;
        if self.slots[slot].is_none() || dice.one_in(200) {
            self.map(dice, Some(slot))?;
        }
        let Some(s) = &self.slots[slot] else {
            return SKIPPED;
        };
        let Some(page) = self.own_page_in(s.offset, s.end(), dice) else {
            // Only a part of it is left.
            self.slots[slot] = None;
            return SKIPPED;
        };
        // While there is a smaller entry, it gets none of 1 GiB.
        if write && dice.one_in(4) {
            self.fsync(dice)?;
        }
        self.word_at(Via::Slot(slot), page, dice, write)
    }

    pub(super) fn some_slot(&self, dice: &mut Dice) -> Option<usize> {
        let first = dice.below(SLOTS as u64) as usize;
        (0..SLOTS)
            .map(|n| (first + n) % SLOTS)
            .find(|n| self.slots[*n].is_some())
    }

    pub(super) fn unmap_part(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let Some(slot) = &mut self.slots[n] else {
            return SKIPPED;
        };
        let unit = self.process.unit;
        let pages = slot.map.len() as u64 / unit;
        if pages < 3 {
            self.slots[n] = None;
            return DONE;
        }
        let (at, kind) = (dice.range(1, pages - 2), dice.below(4));
        note!(
            self,
            "slot {n}: munmap, way {kind}, at page {at} of {pages}"
        );
        let Some(slot) = &mut self.slots[n] else {
            return SKIPPED;
        };
        let bytes = (at * unit) as usize;
        match kind {
            0 => {
                slot.map.cut_head(bytes).map_err(|e| said("munmap", e))?;
                slot.offset += at * unit;
            }
            1 => slot.map.cut_tail(bytes).map_err(|e| said("munmap", e))?,
            _ => {
                let hole = dice.range(1, pages - at - 1);
                let rest = slot.map.cut_hole(bytes, (hole * unit) as usize);
                let map = rest.map_err(|e| said("munmap", e))?;
                let other = Slot {
                    map,
                    offset: slot.offset + (at + hole) * unit,
                    ..*slot
                };
                if let Some(free) = (0..SLOTS - 1).find(|n| self.slots[*n].is_none()) {
                    self.slots[free] = Some(other);
                }
            }
        }
        DONE
    }

    pub(super) fn relocate(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let Some(slot) = &mut self.slots[n] else {
            return SKIPPED;
        };
        let modulo = if slot.map.len() < 1 << 30 { CHUNK } else { GIB };
        let place = if dice.one_in(2) {
            slot.offset % modulo
        } else {
            dice.below(512) * PAGE / self.process.unit * self.process.unit
        };
        let was = slot.map.address();
        slot.map
            .relocate(place as usize)
            .map_err(|e| said("mremap", e))?;
        let is = slot.map.address();
        note!(self, "slot {n}: moved from {was:#x} to {is:#x}");
        DONE
    }

    pub(super) fn grow(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let Some(slot) = &mut self.slots[n] else {
            return SKIPPED;
        };
        match slot.map.grow((dice.range(1, 64) * PAGE) as usize) {
            Err(libc::EFAULT) => DONE,
            Err(e) => Err(said("mremap to more", e)),
            Ok(()) => Err("mremap made it larger".into()),
        }
    }

    pub(super) fn protect(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let (read, write) = dice.pick(&[(true, true), (true, true), (true, false), (false, false)]);
        let Some(slot) = &mut self.slots[n] else {
            return SKIPPED;
        };
        let result = slot.map.protect(read, write);
        match (result, slot.may_write || !write) {
            (Ok(()), true) => {
                slot.read = read;
                slot.write = write;
                note!(self, "slot {n}: read {read}, write {write}");
                DONE
            }
            (Err(libc::EACCES), false) => DONE,
            (Ok(()), false) => Err("writable, of a file opened for reading".into()),
            (Err(e), _) => Err(said("mprotect", e)),
        }
    }

    pub(super) fn advise(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let advice = dice.pick(&[
            libc::MADV_NOHUGEPAGE,
            libc::MADV_HUGEPAGE,
            libc::MADV_RANDOM,
            libc::MADV_SEQUENTIAL,
            libc::MADV_DONTNEED,
            libc::MADV_COLD,
        ]);
        let Some(slot) = &self.slots[n] else {
            return SKIPPED;
        };
        let result = slot.map.advise(advice);
        note!(self, "slot {n}: madvise {advice}: {result:?}");
        match (advice, result) {
            (_, Ok(())) => DONE,
            // VM_PFNMAP: nothing to take away.
            (libc::MADV_DONTNEED | libc::MADV_COLD, Err(libc::EINVAL)) => DONE,
            // Once NOHUGEPAGE, that is refused where the kernel never uses any by itself.
            (libc::MADV_HUGEPAGE, Err(libc::EINVAL)) => DONE,
            (_, Err(e)) => Err(said(&format!("madvise {advice}"), e)),
        }
    }

    pub(super) fn prefault(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let Some(slot) = &self.slots[n] else {
            return SKIPPED;
        };
        let pages = slot.map.len() as u64 / PAGE;
        let first = dice.below(pages);
        let most = if dice.one_in(16) { 600 } else { 16 };
        let count = dice.range(1, (pages - first).min(most));
        let write = dice.one_in(2);
        let before = Before {
            seq: 0,
            resizes: self.control.resize_seq.load(SeqCst),
        };
        let address = slot.map.address() as u64 + first * PAGE;
        let (done, result) = device::prefault(&self.process.write, address, count * PAGE, write);
        let after = self.after(self.own[0], &before);
        let allowed = if write { slot.write } else { slot.read };
        let end = slot.offset + (first + count) * PAGE;
        note!(
            self,
            "slot {n}: prefault {first} {count} {write}: {done:#x} {result:?}"
        );
        match result {
            // The kernel's own madvise() does it.
            Err(libc::EOPNOTSUPP) if self.process.memory.has_pages() => DONE,
            Ok(()) if done != count * PAGE => Err(format!("{done:#x} of {:#x}", count * PAGE)),
            Ok(()) if !allowed => Err("the protection is not kept".into()),
            Ok(()) if self.here(end - 1, after) == Some(false) => {
                Err("mapped behind the end".into())
            }
            Ok(()) => DONE,
            Err(libc::EACCES) if !allowed => DONE,
            Err(libc::EFAULT) if self.here(end - 1, after) != Some(true) => DONE,
            Err(e) => Err(said(&format!("{:#x}", end - count * PAGE), e)),
        }
    }
}
