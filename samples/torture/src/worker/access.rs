// SPDX-License-Identifier: GPL-2.0

//! Loads and stores, reads and writes.

use super::*;

impl Worker<'_> {
    pub(super) fn word(&mut self, dice: &mut Dice, write: bool) -> Done {
        let process = self.process;
        let commons = process.commons();
        let (via, page) = self.choose(&commons, dice);
        self.word_at(via, page, dice, write)
    }

    pub(super) fn word_at(
        &mut self,
        via: Via<'_>,
        page: u32,
        dice: &mut Dice,
        write: bool,
    ) -> Done {
        let at = dice.below(WORDS) as usize * 8;
        let value = dice.next() | 1;
        let before = self.before(page)?;
        let Some((map, offset, may_read, may_write)) = self.resolve(&via) else {
            return SKIPPED;
        };
        let byte = offset_of(page) + at as u64;
        let place = (byte - offset) as usize;
        let (result, allowed) = if write {
            self.log_store(page, at, value);
            (map.store(place, value).map(|()| value), may_write)
        } else {
            (map.load(place), may_read)
        };
        let address = map.address() + place;
        let after = self.after(page, &before);
        if write {
            self.log_stored(result.is_ok(), after);
        }
        note!(
            self,
            "{} {byte:#x} at {address:#x}: {result:x?}",
            if write { "store" } else { "load" }
        );
        if !self.judge(result.err(), allowed, byte, after)? {
            return DONE;
        }
        let word = result.unwrap_or(0).to_le_bytes();
        if write {
            self.wrote(page, at, &word, after);
            self.touch_hole(page);
            if let Via::Map(_) = via {
                self.recent[self.index as usize % RECENT] = page;
            }
            DONE
        } else {
            self.check(page, at, &word, after).map(|()| true)
        }
    }

    /// The entry in the log of a child's stores that comes next; none in a parent.
    pub(super) fn log(&self) -> Option<&'static ChildStore> {
        self.cell
            .child_log
            .get(self.cell.child_stores.load(SeqCst) as usize)
            .filter(|_| self.in_child)
    }

    pub(super) fn log_store(&self, page: u32, at: usize, value: u64) {
        if let Some(log) = self.log() {
            log.page.store(u64::from(page), SeqCst);
            log.offset.store(at as u64, SeqCst);
            log.value.store(value, SeqCst);
            log.state.store(STORE_BEGUN, SeqCst);
        }
    }

    pub(super) fn log_stored(&self, stored: bool, after: After) {
        if let Some(log) = self.log() {
            log.before.store(after.before, SeqCst);
            log.after.store(after.after, SeqCst);
            log.state
                .store(if stored { STORE_DONE } else { STORE_REFUSED }, SeqCst);
            self.cell.child_stores.fetch_add(1, SeqCst);
        }
    }

    /// The part of its bytes that starts at a page: offset in the first page, length.
    pub(super) fn part(&self, page: u32, most: u32, dice: &mut Dice) -> (usize, usize) {
        let pages = self.own_run(page, most) as u64;
        let at = if dice.one_in(3) { 0 } else { dice.below(PAGE) };
        let len = match dice.below(4) {
            0 => PAGE - at,
            1 => dice.range(1, PAGE - at),
            2 => dice.range(1, 64.min(PAGE - at)),
            _ => dice.range(1, pages * PAGE - at),
        };
        (at as usize, len as usize)
    }

    /// Before a part of several pages: all of them know of the same punches, or it isn't exact.
    pub(super) fn before_part(
        &mut self,
        page: u32,
        at: usize,
        len: usize,
    ) -> Result<Before, String> {
        let first = self.before(page)?;
        for next in 1..(at + len).div_ceil(PAGE_BYTES) as u32 {
            self.before(page + next)?;
        }
        Ok(first)
    }

    /// What PART chooses of a page and those behind it, in one of the mappings, and what is to be
    /// written there.
    pub(super) fn stretch<'m>(
        &mut self,
        commons: &'m Map,
        dice: &mut Dice,
        write: bool,
        part: impl FnOnce(&Self, u32, &mut Dice) -> (usize, usize),
    ) -> Result<Option<Stretch<'m>>, String> {
        let (via, page) = self.choose(commons, dice);
        let (at, len) = part(self, page, dice);
        let Some((map, offset, ..)) = self.resolve(&via) else {
            return Ok(None);
        };
        let place = (offset_of(page) - offset) as usize + at;
        let mut data = vec![0; len.min(map.len() - place)];
        if write {
            dice.bytes(&mut data);
        }
        let before = self.before_part(page, at, data.len())?;
        Ok(Some(Stretch {
            via,
            page,
            at,
            place,
            data,
            before,
        }))
    }

    /// Calls f for each page of a part: page, offset in it, range in the part.
    pub(super) fn pages_of(
        page: u32,
        at: usize,
        len: usize,
    ) -> impl Iterator<Item = (u32, usize, usize, usize)> {
        let behind = at + len;
        (0..behind.div_ceil(PAGE_BYTES)).map(move |n| {
            let first = (n * PAGE_BYTES).max(at);
            let last = ((n + 1) * PAGE_BYTES).min(behind);
            (
                page + n as u32,
                first - n * PAGE_BYTES,
                first - at,
                last - at,
            )
        })
    }

    pub(super) fn after_page(&self, page: u32, after: After) -> After {
        let exact = after.exact && self.seen[self.nr(page)] == after.after;
        After { exact, ..after }
    }

    pub(super) fn wrote_part(&mut self, page: u32, at: usize, data: &[u8], after: After) {
        for (page, at, from, to) in Self::pages_of(page, at, data.len()) {
            let after = self.after_page(page, after);
            self.wrote(page, at, &data[from..to], after);
        }
    }

    pub(super) fn check_part(
        &self,
        page: u32,
        at: usize,
        got: &[u8],
        after: After,
    ) -> Result<(), String> {
        for (page, at, from, to) in Self::pages_of(page, at, got.len()) {
            self.check(page, at, &got[from..to], self.after_page(page, after))?;
        }
        Ok(())
    }

    pub(super) fn run_of_bytes(&mut self, dice: &mut Dice, write: bool) -> Done {
        let process = self.process;
        let commons = process.commons();
        let part = |worker: &Self, page, dice: &mut Dice| worker.part(page, 4, dice);
        let Some(mut stretch) = self.stretch(&commons, dice, write, part)? else {
            return SKIPPED;
        };
        let Some((map, _, may_read, may_write)) = self.resolve(&stretch.via) else {
            return SKIPPED;
        };
        let (page, at, place, data) = (stretch.page, stretch.at, stretch.place, &mut stretch.data);
        let len = data.len();
        let ((n, signal), allowed) = if write {
            (map.write(place, data), may_write)
        } else {
            (map.read(place, data), may_read)
        };
        let after = self.after(page, &stretch.before);
        let byte = offset_of(page) + at as u64;
        note!(
            self,
            "{} {byte:#x} {len} bytes at {:#x}: {n}, {signal:?}",
            if write { "write" } else { "read" },
            map.address() + place
        );
        // It may be a word that failed: by its last byte.
        self.judge(signal, allowed, byte + (n + 7).min(len - 1) as u64, after)?;
        if write {
            self.wrote_part(page, at, &data[..n], after);
        } else {
            self.check_part(page, at, &data[..n], after)?;
        }
        DONE
    }

    pub(super) fn file(&mut self, dice: &mut Dice, write: bool) -> Done {
        let page = if dice.one_in(50) {
            *self.own.last().ok_or("no pages")?
        } else {
            self.own_page(dice)
        };
        let (at, len) = self.part(page, 16, dice);
        let byte = offset_of(page) + at as u64;
        let mut data = vec![0; len];
        if write {
            dice.bytes(&mut data);
        }
        let before = self.before_part(page, at, len)?;
        let result = if write {
            self.process.write.write_at(&data, byte)
        } else {
            let file = if dice.one_in(2) {
                &self.process.read
            } else {
                &self.process.write
            };
            file.read_at(&mut data, byte)
        };
        let after = self.after(page, &before);
        note!(
            self,
            "{} {byte:#x} {len} bytes: {result:?}",
            if write { "pwrite" } else { "pread" }
        );
        let n = self.judge_file(result, byte, len, after, write)?;
        if write {
            self.wrote_part(page, at, &data[..n], after);
        } else {
            self.check_part(page, at, &data[..n], after)?;
        }
        DONE
    }

    /// How many bytes a read or write of the file did, if it did what it had to.
    pub(super) fn judge_file(
        &self,
        result: std::io::Result<usize>,
        byte: u64,
        len: usize,
        after: After,
        write: bool,
    ) -> Result<usize, String> {
        let n = match result {
            Ok(n) => n,
            Err(error) if write && errno(&error) == libc::ENOSPC => 0,
            Err(error) if errno(&error) == libc::EINTR => return Ok(0),
            Err(error) => return Err(format!("{byte:#x}: {error}")),
        };
        if n < len {
            // Short: because of the end, or of a signal (which can't be told apart).
            if n == 0 && self.here(byte, after) == Some(true) {
                return Err(format!("{byte:#x}: nothing of {len} bytes"));
            }
        } else if self.here(byte + len as u64 - 1, after) == Some(false) {
            return Err(format!("{byte:#x}: {len} bytes, beyond the end"));
        }
        Ok(n)
    }

    pub(super) fn shared(&mut self, dice: &mut Dice, write: bool) -> Done {
        let n = dice.below(SHARED_WORDS as u64) as usize;
        // Some are hot.
        let n = if dice.one_in(2) { n % 8 } else { n };
        let seq = &self.control.chunks[SHARED_CHUNK].seq;
        let process = self.process;
        let commons = process.commons();
        let place = (shared_word(n) - COMMONS) as usize;
        let before = seq.load(SeqCst);
        let value = if write {
            let number = self.cell.written.fetch_add(1, SeqCst) + 1;
            let value = ((self.me as u64 + 1) << 56) | ((n as u64) << 40) | number;
            commons.store(place, value).map_err(|s| format!("{s:?}"))?;
            value
        } else {
            // Not by pread(), which may copy bytewise: then a word is half of one value, half of another.
            commons.load(place).map_err(|s| format!("{s:?}"))?
        };
        fence(SeqCst);
        let after = seq.load(SeqCst);
        let exact = (before == after && after % 2 == 0).then_some(after);
        note!(
            self,
            "shared word {n}: {value:#x}{}",
            if write { " written" } else { "" }
        );
        let word = &mut self.words[n];
        let wrong = |why: &str| {
            Err(format!(
                "shared word {n} at {:#x}: {value:#x}, {why}",
                shared_word(n)
            ))
        };
        if value == 0 {
            // Zero needs a punch since it was something else.
            if word.last != 0 && exact.is_some() && exact == word.seq {
                return wrong(&format!("nobody punched {:#x}", word.last));
            }
        } else {
            let (writer, place) = ((value >> 56) as usize, (value >> 40) & 0xffff);
            let number = value & 0xff_ffff_ffff;
            if writer == 0 || writer > self.workers || place != n as u64 {
                return wrong("nobody writes that there");
            }
            if number > self.control.cells[writer - 1].written.load(SeqCst) {
                return wrong("not written yet");
            }
            if number < word.floor[writer - 1] {
                return wrong("overwritten before");
            }
            if writer - 1 != self.me {
                self.control.met.fetch_add(1, SeqCst);
            }
        }
        if value != word.last && word.last != 0 {
            word.floor[(word.last >> 56) as usize - 1] = (word.last & 0xff_ffff_ffff) + 1;
        }
        if value != 0 {
            word.floor[(value >> 56) as usize - 1] = value & 0xff_ffff_ffff;
        }
        word.last = value;
        word.seq = exact;
        DONE
    }
}
