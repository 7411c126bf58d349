// SPDX-License-Identifier: GPL-2.0

//! KCOV: which code this thread's calls and faults reach in the kernel.

use super::{check, errno, Errno};
use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd,
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};

const PATH: &str = "/sys/kernel/debug/kcov";
/// _IOR('c', 1, unsigned long), _IO('c', 100)
const INIT_TRACE: u64 = 0x8008_6301;
const ENABLE: u64 = 0x6364;
const TRACE_PC: u64 = 0;

/// Addresses that fit in.
const WORDS: usize = 1 << 19;

/// The trace of the thread that made it, for as long as that lives.
pub struct Kcov {
    area: &'static [AtomicU64],
    _file: File,
}

impl Kcov {
    pub fn enable() -> Result<Self, Errno> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(PATH)
            .map_err(|e| e.raw_os_error().unwrap_or(libc::EIO))?;
        let fd = file.as_raw_fd();
        // SAFETY: A number, no memory.
        check(unsafe { libc::ioctl(fd, INIT_TRACE as libc::Ioctl, WORDS) })?;
        // SAFETY: Without MAP_FIXED it replaces nothing.
        let p = unsafe {
            libc::mmap(
                ptr::null_mut(),
                WORDS * size_of::<u64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(errno());
        }
        // SAFETY: WORDS words, page-aligned, of zeroes, and never unmapped. The kernel writes them
        // while this thread is in it.
        let area = unsafe { slice::from_raw_parts(p.cast::<AtomicU64>(), WORDS) };
        // SAFETY: A number, no memory.
        check(unsafe { libc::ioctl(fd, ENABLE as libc::Ioctl, TRACE_PC) })?;
        Ok(Self { area, _file: file })
    }

    /// Forgets what was reached.
    pub fn clear(&self) {
        self.area[0].store(0, Ordering::Relaxed);
    }

    /// The addresses that were reached since, in their order; some, if they are too many.
    pub fn reached(&self) -> impl Iterator<Item = u64> + '_ {
        let n = self.area[0].load(Ordering::Relaxed) as usize;
        self.area[1..]
            .iter()
            .take(n)
            .map(|word| word.load(Ordering::Relaxed))
    }
}
