// SPDX-License-Identifier: GPL-2.0

//! Faults: accesses through a mapping of the whole device, and calls about that mapping.

use super::{part, Fuzz, SIZE};
use crate::{
    dice::Dice,
    layout::PAGE,
    sys::{Errno, Map, MapHow},
};
use std::{
    fs::{File, OpenOptions},
    os::{fd::AsFd, unix::fs::FileExt},
};

const WORD: usize = size_of::<u64>();

/// A mapping of the whole device, at an address that is `place` modulo 2 MiB.
pub(super) fn map_whole(file: &File, sync: bool, place: usize) -> Result<Map, Errno> {
    let how = MapHow {
        write: true,
        sync,
        place: Some(place),
    };
    Map::new(file.as_fd(), 0, SIZE as usize, how)
}

/// Where a mapping lies: whether leaves of 2 MiB fit in.
fn place(dice: &mut Dice) -> usize {
    dice.pick(&[0, 0, PAGE as usize, 1 << 20])
}

pub(super) fn ended<T>(result: std::io::Result<T>) -> Result<(), Errno> {
    result
        .map(|_| ())
        .map_err(|e| e.raw_os_error().unwrap_or(libc::EIO))
}

impl Fuzz {
    pub(super) fn access(&mut self, dice: &mut Dice) -> Result<(), String> {
        let map = self.whole.take().ok_or("no mapping")?;
        let (map, result) = self.access_through(map, dice);
        self.whole = map;
        result
    }

    fn access_through(
        &mut self,
        mut map: Map,
        dice: &mut Dice,
    ) -> (Option<Map>, Result<(), String>) {
        let (offset, len) = part(dice, SIZE);
        let (offset, len) = (offset as usize, len as usize);
        let result = match dice.below(18) {
            16 | 17 if self.root => self.debugger(&map, offset, len, dice),
            0..3 => self.load(&map, offset / WORD * WORD),
            3..6 => self.store(&map, offset / WORD * WORD, dice.next()),
            6 | 7 => self.read_bytes(&map, offset, len),
            8 | 9 => self.write_bytes(&map, offset, len, dice),
            10 | 11 => self.sync(&map, offset, len, dice),
            12 => self.about(&map, dice),
            13 => {
                self.call = "mremap".into();
                let result = map.relocate(place(dice));
                self.judge(result, &[]).map(|_| ())
            }
            _ => {
                // What is there stays in the index, without leaves.
                drop(map);
                self.call = "mmap-whole".into();
                let made = map_whole(&self.write, dice.one_in(4), place(dice));
                return match made {
                    Ok(map) => (Some(map), self.judge(Ok(()), &[]).map(|_| ())),
                    Err(e) => (None, self.judge(Err(e), &[]).map(|_| ())),
                };
            }
        };
        (Some(map), result)
    }

    fn load(&mut self, map: &Map, at: usize) -> Result<(), String> {
        self.call = format!("load {at:#x}");
        let got = map.load(at).map_err(|signal| format!("{signal:?}"))?;
        if got.to_le_bytes() != self.bytes[at..at + WORD] {
            return Err(format!("{got:#x}"));
        }
        self.count(Ok(()));
        Ok(())
    }

    fn store(&mut self, map: &Map, at: usize, value: u64) -> Result<(), String> {
        self.call = format!("store {at:#x}");
        map.store(at, value)
            .map_err(|signal| format!("{signal:?}"))?;
        self.bytes[at..at + WORD].copy_from_slice(&value.to_le_bytes());
        self.count(Ok(()));
        Ok(())
    }

    fn read_bytes(&mut self, map: &Map, at: usize, len: usize) -> Result<(), String> {
        self.call = format!("read-mapping {at:#x} {len:#x}");
        let mut got = vec![0; len];
        let done = map.read(at, &mut got);
        if done != (len, None) {
            return Err(format!("{done:?}"));
        }
        if got != self.bytes[at..at + len] {
            return Err("wrong bytes".into());
        }
        self.count(Ok(()));
        Ok(())
    }

    fn write_bytes(
        &mut self,
        map: &Map,
        at: usize,
        len: usize,
        dice: &mut Dice,
    ) -> Result<(), String> {
        self.call = format!("write-mapping {at:#x} {len:#x}");
        dice.bytes(&mut self.bytes[at..at + len]);
        let done = map.write(at, &self.bytes[at..at + len]);
        if done != (len, None) {
            return Err(format!("{done:?}"));
        }
        self.count(Ok(()));
        Ok(())
    }

    fn sync(&mut self, map: &Map, at: usize, len: usize, dice: &mut Dice) -> Result<(), String> {
        let page = at - at % PAGE as usize;
        let (kind, result) = match dice.below(4) {
            0 => ("fsync", ended(self.write.sync_all())),
            1 => ("fdatasync", ended(self.read.sync_data())),
            n => ("msync", map.sync(page, at + len - page, n == 2)),
        };
        self.call = format!("{kind} {at:#x} {len:#x}");
        self.judge(result, &[]).map(|_| ())
    }

    /// As a debugger does it: through a file, without a fault.
    fn debugger(
        &mut self,
        map: &Map,
        at: usize,
        len: usize,
        dice: &mut Dice,
    ) -> Result<(), String> {
        let memory = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/self/mem")
            .map_err(|e| e.to_string())?;
        let address = (map.address() + at) as u64;
        let bytes = &mut self.bytes[at..at + len];
        let result = if dice.one_in(2) {
            self.call = format!("debugger-write {at:#x} {len:#x}");
            dice.bytes(bytes);
            memory.write_all_at(bytes, address)
        } else {
            self.call = format!("debugger-read {at:#x} {len:#x}");
            let mut got = vec![0; len];
            let result = memory.read_exact_at(&mut got, address);
            if result.is_ok() && got != *bytes {
                return Err("wrong bytes".into());
            }
            result
        };
        self.judge(ended(result), &[]).map(|_| ())
    }

    /// Calls that mm answers; whether it does so is its own affair, the bytes stay.
    fn about(&mut self, map: &Map, dice: &mut Dice) -> Result<(), String> {
        let result = if dice.one_in(3) {
            self.call = "mprotect".into();
            map.protect(true, false)
                .and_then(|()| map.protect(true, true))
        } else {
            // Nothing that would take the mapping's bytes.
            let advice = dice.pick(&[
                libc::MADV_DONTNEED,
                libc::MADV_WILLNEED,
                libc::MADV_HUGEPAGE,
                libc::MADV_NOHUGEPAGE,
                libc::MADV_COLD,
                libc::MADV_PAGEOUT,
                libc::MADV_POPULATE_READ,
                libc::MADV_POPULATE_WRITE,
            ]);
            self.call = format!("madvise {advice}");
            map.advise(advice)
        };
        self.count(result);
        Ok(())
    }

    /// What the driver says of itself.
    pub(super) fn files(&mut self) -> Result<(), String> {
        self.call = "files".into();
        if self.device.counters().is_empty() {
            return Err("no counters".into());
        }
        for run in self.device.entries()? {
            if run.locked {
                return Err(format!("{run:?}, and nobody else is here"));
            }
        }
        self.count(Ok(()));
        Ok(())
    }
}
