// SPDX-License-Identifier: GPL-2.0

//! Calls that reach the bytes of a mapping through its pages, where it has them: O_DIRECT, and
//! process_vm_readv() and process_vm_writev(). Page frames get EFAULT, and nothing is copied.

use super::*;

/// Of these, the disk's blocks.
const SECTOR: usize = 512;

impl Worker<'_> {
    /// Where this worker's part of the disk begins.
    pub(super) fn on_disk(&self) -> u64 {
        (self.me * DISK_PAGES * PAGE_BYTES) as u64
    }

    /// A part of a mapping that consists of sectors: page, offset in it, and length.
    fn sectors(&self, page: u32, dice: &mut Dice) -> (usize, usize) {
        let (at, len) = self.part(page, DISK_PAGES as u32, dice);
        (at / SECTOR * SECTOR, (len / SECTOR * SECTOR).max(SECTOR))
    }

    /// Did a call that copied `len` bytes by pages do what it had to? How many bytes it did.
    pub(super) fn judge_pages(
        &self,
        result: Result<usize, Errno>,
        allowed: bool,
        byte: u64,
        len: usize,
    ) -> Result<usize, String> {
        let frames = !self.process.memory.has_pages();
        match result {
            Err(libc::EFAULT) if frames || !allowed => Ok(0),
            Ok(n) if frames => Err(format!("{byte:#x}: {n} bytes of page frames")),
            Ok(_) if !allowed => Err(format!("{byte:#x}: the protection is not kept")),
            Ok(n) if n != len => Err(format!("{byte:#x}: {n} of {len} bytes")),
            Ok(n) => Ok(n),
            Err(e) => Err(said(&format!("{byte:#x}, {len} bytes"), e)),
        }
    }

    /// From the mapping to the disk, or back.
    pub(super) fn direct(&mut self, dice: &mut Dice, into: bool) -> Done {
        let process = self.process;
        let Some(disk) = &process.disk else {
            return SKIPPED;
        };
        let commons = process.commons();
        let Some(mut stretch) = self.stretch(&commons, dice, into, Self::sectors)? else {
            return SKIPPED;
        };
        let there = self.on_disk();
        if into {
            let from = self.buffer.put(&stretch.data);
            let n = sys::raw_pwrite(disk.as_fd(), from, stretch.data.len(), there as i64);
            n.map_err(|e| said("to the disk", e))?;
        }
        let Some((map, _, may_read, may_write)) = self.resolve(&stretch.via) else {
            return SKIPPED;
        };
        let (page, at, data) = (stretch.page, stretch.at, &mut stretch.data);
        let (target, len) = (map.target(stretch.place), data.len());
        let (result, allowed) = if into {
            let n = sys::raw_pread(disk.as_fd(), target, len, there as i64);
            (n, may_write)
        } else {
            let n = sys::raw_pwrite(disk.as_fd(), target, len, there as i64);
            (n, may_read)
        };
        let after = self.after(page, &stretch.before);
        let byte = offset_of(page) + at as u64;
        note!(
            self,
            "O_DIRECT {} {byte:#x} {len} bytes: {result:?}",
            if into { "into" } else { "from" }
        );
        if self.judge_pages(result, allowed, byte, len)? == 0 {
            return DONE;
        }
        if into {
            self.wrote_part(page, at, data, after);
            return DONE;
        }
        self.from_disk(data)?;
        self.check_part(page, at, data, after)?;
        DONE
    }

    /// The first bytes of this worker's part of the disk.
    pub(super) fn from_disk(&self, data: &mut [u8]) -> Result<(), String> {
        let disk = self.process.disk.as_ref().ok_or("no disk")?;
        let to = self.buffer.target(data.len());
        let n = sys::raw_pread(disk.as_fd(), to, data.len(), self.on_disk() as i64);
        if n != Ok(data.len()) {
            return Err(format!("from the disk: {n:?}"));
        }
        self.buffer.get(data.len(), data);
        Ok(())
    }

    /// Writes a word of that page by process_vm_writev().
    pub(super) fn word_by_pin(
        &mut self,
        commons: &Map,
        page: u32,
        dice: &mut Dice,
    ) -> Result<(), String> {
        let at = dice.below(WORDS) as usize * 8;
        let word = (dice.next() | 1).to_le_bytes();
        let byte = offset_of(page) + at as u64;
        let before = self.before(page)?;
        let result = commons.vm_write((byte - COMMONS) as usize, &word);
        let after = self.after(page, &before);
        self.judge_pages(result, true, byte, word.len())?;
        self.wrote(page, at, &word, after);
        Ok(())
    }

    pub(super) fn process_vm(&mut self, dice: &mut Dice, write: bool) -> Done {
        let process = self.process;
        let commons = process.commons();
        let part = |worker: &Self, page, dice: &mut Dice| worker.part(page, 32, dice);
        let Some(mut stretch) = self.stretch(&commons, dice, write, part)? else {
            return SKIPPED;
        };
        let Some((map, _, may_read, may_write)) = self.resolve(&stretch.via) else {
            return SKIPPED;
        };
        let (page, at, place, data) = (stretch.page, stretch.at, stretch.place, &mut stretch.data);
        let len = data.len();
        let (result, allowed) = if write {
            (map.vm_write(place, data), may_write)
        } else {
            (map.vm_read(place, data), may_read)
        };
        let after = self.after(page, &stretch.before);
        let byte = offset_of(page) + at as u64;
        note!(
            self,
            "process_vm_{} {byte:#x} {len} bytes: {result:?}",
            if write { "writev" } else { "readv" }
        );
        if self.judge_pages(result, allowed, byte, len)? == 0 {
            return DONE;
        }
        if write {
            self.wrote_part(page, at, data, after);
        } else {
            self.check_part(page, at, data, after)?;
        }
        DONE
    }
}
