// SPDX-License-Identifier: GPL-2.0

//! The end of the device, and the other device.

use super::*;

impl Worker<'_> {
    pub(super) fn behind_the_end(&mut self, dice: &mut Dice) -> Done {
        let offset = TAIL_END + dice.below(1 << 40);
        let mut byte = [0];
        let read = self.process.read.read_at(&mut byte, offset);
        let write = self.process.write.write_at(&byte, offset);
        let punch = device::punch(&self.process.write, device::PUNCH, offset, 1);
        if !matches!(read, Ok(0)) {
            return Err(format!("read: {read:?}"));
        }
        if !matches!(&write, Err(e) if errno(e) == libc::ENOSPC) {
            return Err(format!("write: {write:?}"));
        }
        if punch != Err(libc::EFBIG) {
            return Err(format!("punch: {punch:?}"));
        }
        DONE
    }

    pub(super) fn resize(&mut self, dice: &mut Dice, area: u64) -> Done {
        // The dax bus changes no size while a driver has the device.
        if device::is_dax(&self.process.device.name) || !try_lock(&self.control.resize_lock) {
            return SKIPPED;
        }
        let whole = dice.one_in(2) || area == GIANT;
        let size = if whole {
            TAIL_END
        } else {
            TAIL + dice.below(1024) * PAGE
        };
        // That the index of an aligned 1 GiB becomes empty.
        let first = (area == GIANT)
            .then_some(GIANT + dice.below(1 << 18) * PAGE * u64::from(dice.one_in(4)));
        let result = first
            .into_iter()
            .chain([size])
            .try_for_each(|size| self.set_size(size));
        unlock(&self.control.resize_lock);
        result?;
        DONE
    }

    /// To be called with `resize_lock` taken.
    pub(super) fn set_size(&self, size: u64) -> Result<(), String> {
        self.control.resize_seq.fetch_add(1, SeqCst);
        let result = self.process.device.set("size", &size.to_string());
        note!(self, "size {size:#x}: {result:?}");
        self.control.end.store(size, SeqCst);
        self.control.resize_seq.fetch_add(1, SeqCst);
        result.map_err(|e| said(&format!("size {size:#x}"), e))
    }

    /// Empties the index of an aligned 1 GiB, so that it can be one page: until it is, or others have
    /// come first too often.
    pub(super) fn resize_giant(&mut self, dice: &mut Dice) -> Done {
        let mut done = false;
        for _ in 0..4 {
            done |= self.resize(dice, GIANT)?;
            // A new mapping: the old one may be cut, or moved.
            self.slots[SLOTS - 1] = None;
            self.giant(dice, true)?;
            if self
                .look_at_entries()?
                .iter()
                .any(|run| run.order == 18 && run.dirty)
            {
                break;
            }
        }
        Ok(done)
    }

    pub(super) fn replace_commons(&mut self, dice: &mut Dice) -> Done {
        let place = match dice.below(3) {
            0 => Some((dice.below(512) * PAGE / self.process.unit * self.process.unit) as usize),
            _ => None,
        };
        let how = MapHow {
            write: true,
            sync: dice.one_in(2),
            place,
        };
        let map = Map::new(self.process.write.as_fd(), COMMONS, COMMONS_LEN, how)
            .map_err(|e| said("mmap", e))?;
        if dice.one_in(3) {
            map.advise(libc::MADV_NOHUGEPAGE)
                .map_err(|e| said("MADV_NOHUGEPAGE", e))?;
        }
        let mut commons = self
            .process
            .commons
            .write()
            .unwrap_or_else(|e| e.into_inner());
        // The old one goes with the lock held: nobody is in it.
        *commons = map;
        DONE
    }

    /// The other namespace: bind it, find what was written there before, write, unbind.
    pub(super) fn second(&mut self, dice: &mut Dice) -> Done {
        if !try_lock(&self.control.second_lock) {
            return SKIPPED;
        }
        let result = self.second_bound(dice);
        unlock(&self.control.second_lock);
        result.map(|()| true)
    }

    pub(super) fn second_bound(&mut self, dice: &mut Dice) -> Result<(), String> {
        let namespace = &self.process.second;
        if !device::is_bound(namespace) {
            device::bind(namespace).map_err(|e| said("bind", e))?;
        }
        let device = Device::of(namespace).ok_or("bound, but it has no device")?;
        let file = device.open(true).map_err(|e| said("open the second", e))?;
        let how = MapHow {
            write: true,
            sync: false,
            place: None,
        };
        let map = Map::new(file.as_fd(), 4 * CHUNK, 4 << 20, how)
            .map_err(|e| said("map the second", e))?;
        for (n, word) in self.control.second.iter().enumerate() {
            let place = n * 40 * PAGE_BYTES;
            let (must, got) = (word.load(SeqCst), map.load(place));
            if must != 0 && got != Ok(must) {
                return Err(format!(
                    "word {n} of the second: {got:x?}, must be {must:#x}"
                ));
            }
            if n < SECOND_WORDS / 2 || dice.one_in(2) {
                let value = dice.next() | 1;
                map.store(place, value)
                    .map_err(|s| format!("{s:?} in the second"))?;
                word.store(value, SeqCst);
            }
        }
        if dice.one_in(3) {
            file.sync_all().map_err(|e| e.to_string())?;
        }
        device::unbind(namespace).map_err(|e| said("unbind", e))?;
        note!(self, "{namespace} bound and unbound");
        if let Ok(value) = map.load(0) {
            return Err(format!("unbound, and still there: {value:#x}"));
        }
        match file.read_at(&mut [0], 0) {
            Err(e) if errno(&e) == libc::ENXIO => Ok(()),
            other => Err(format!("read of what is unbound: {other:?}")),
        }
    }
}
