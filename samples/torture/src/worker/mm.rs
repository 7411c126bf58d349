// SPDX-License-Identifier: GPL-2.0

//! The kernel's own calls on mappings, and its files about them. None of them may change a byte.

use super::*;
use crate::sys::mm::{Call, MADV_COLLAPSE, MADV_GUARD_INSTALL, UFFD_MODES};
use std::{fs, io::ErrorKind, sync::OnceLock};

/// Advice that changes no byte.
const ADVICE: [i32; 14] = [
    libc::MADV_WILLNEED,
    libc::MADV_PAGEOUT,
    libc::MADV_FREE,
    libc::MADV_POPULATE_READ,
    libc::MADV_POPULATE_WRITE,
    MADV_COLLAPSE,
    libc::MADV_MERGEABLE,
    libc::MADV_UNMERGEABLE,
    libc::MADV_DONTDUMP,
    libc::MADV_DODUMP,
    libc::MADV_WIPEONFORK,
    libc::MADV_DOFORK,
    // Of a regular file it would punch a hole.
    libc::MADV_REMOVE,
    libc::MADV_SOFT_OFFLINE,
];

/// The largest part of a mapping that a call is made for, in units of the device's alignment.
const MOST: u64 = 1500;

/// Whether mbind() ends. Before Linux 7.3 it does not, where a leaf of 2 MiB maps page frames
/// (Documentation/kernel-bugs.rst).
fn mbind_ends() -> bool {
    static ENDS: OnceLock<bool> = OnceLock::new();
    *ENDS.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release
            .split(['.', '-'])
            .map(|n| n.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(7), Some(3))
    })
}

/// Whether the call splits the VMA if it is made for a part of a mapping. Special VMAs are never merged
/// again, and mremap() refuses more than one.
fn splits(what: Call) -> bool {
    match what {
        Call::Advise(advice) => matches!(
            advice,
            libc::MADV_MERGEABLE
                | libc::MADV_UNMERGEABLE
                | libc::MADV_DONTDUMP
                | libc::MADV_DODUMP
                | libc::MADV_WIPEONFORK
                | libc::MADV_DOFORK
        ),
        Call::ProcessAdvise(_) | Call::Mincore => false,
        _ => true,
    }
}

/// Whether the kernel may refuse it for this reason.
fn may_be(what: Call, error: i32) -> bool {
    match (what, error) {
        // No page to lock or to read ahead; no protection key.
        (_, libc::EAGAIN | libc::ENOMEM | libc::ENOSPC) => true,
        (Call::Advise(libc::MADV_REMOVE), libc::ENODEV | libc::EACCES) => true,
        // No memory that the kernel could replace.
        (Call::Advise(libc::MADV_SOFT_OFFLINE), libc::EIO) => true,
        // Not where page frames are mapped; nor behind the end.
        (Call::Advise(_), libc::EINVAL | libc::EFAULT | libc::EBUSY) => true,
        (Call::ProcessAdvise(_) | Call::Userfault(_), libc::EINVAL) => true,
        // A CPU or a kernel without protection keys.
        (Call::Key { .. }, libc::EINVAL | libc::EACCES | libc::ENOSYS) => true,
        // The pages of a device cannot be moved.
        (Call::Mbind, libc::EIO) => true,
        _ => false,
    }
}

impl Worker<'_> {
    pub(super) fn ask_mm(&mut self, dice: &mut Dice) -> Done {
        let Some(n) = self.some_slot(dice) else {
            return SKIPPED;
        };
        let Some(slot) = &self.slots[n] else {
            return SKIPPED;
        };
        let what = match dice.below(20) {
            0 => Call::Lock,
            1 => Call::LockOnFault,
            2..4 => Call::Unlock,
            4 if mbind_ends() => Call::Mbind,
            5 => Call::Mincore,
            6 => Call::Userfault(dice.pick(&UFFD_MODES)),
            7..9 => Call::Key {
                read: slot.read,
                write: slot.write,
            },
            9 => Call::ProcessAdvise(dice.pick(&[
                libc::MADV_COLD,
                libc::MADV_PAGEOUT,
                libc::MADV_WILLNEED,
                MADV_COLLAPSE,
            ])),
            10 => Call::Advise(MADV_GUARD_INSTALL),
            _ => Call::Advise(dice.pick(&ADVICE)),
        };
        let unit = self.process.unit;
        let units = slot.map.len() as u64 / unit;
        // Some calls fault in all pages, which takes too long for a large mapping.
        let (first, count) = match splits(what) {
            true if units > MOST => return SKIPPED,
            true => (0, units),
            false => {
                let first = dice.below(units);
                (first, dice.range(1, (units - first).min(MOST)))
            }
        };
        let result = slot
            .map
            .ask(what, (first * unit) as usize, (count * unit) as usize);
        note!(self, "slot {n}: {what:?} {first} {count}: {result:?}");
        match result {
            Ok(()) if what == Call::Advise(MADV_GUARD_INSTALL) => {
                Err("guard pages in a device's mapping".into())
            }
            Ok(()) => DONE,
            Err(error) if may_be(what, error) => DONE,
            Err(error) => Err(said(&format!("{what:?}"), error)),
        }
    }

    /// Walks through the page tables of the process, by a file of /proc.
    pub(super) fn walk(&mut self, dice: &mut Dice) -> Done {
        let result = match dice.below(6) {
            0 => fs::read("/proc/self/numa_maps").map(drop),
            1 => fs::read("/proc/self/smaps").map(drop),
            2 => fs::read("/proc/self/smaps_rollup").map(drop),
            n => {
                // Forget what was accessed; what of files was; what was written.
                let which = ["1", "3", "4"][n as usize - 3];
                fs::write("/proc/self/clear_refs", which)
            }
        };
        match result {
            // A kernel without soft-dirty.
            Err(e) if e.kind() == ErrorKind::InvalidInput => DONE,
            other => other.map(|()| true).map_err(|e| e.to_string()),
        }
    }
}
