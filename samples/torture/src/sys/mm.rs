// SPDX-License-Identifier: GPL-2.0

//! The kernel's own calls on a mapping.

use super::{
    check, errno,
    pin::{owned, uffd_call, UFFDIO_API, UFFDIO_REGISTER, UFFD_API, UFFD_MISSING},
    Errno, Map,
};
use std::{
    ffi::{c_int, c_void},
    os::fd::AsRawFd,
    ptr,
};

/// What can be asked of the kernel for a part of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Lock,
    LockOnFault,
    Unlock,
    /// Moves its pages to node 0.
    Mbind,
    Advise(c_int),
    /// The same through a pidfd.
    ProcessAdvise(c_int),
    Mincore,
    /// Registers it with userfaultfd, in one of [`UFFD_MODES`].
    Userfault(u64),
    /// Sets a protection key that allows everything, and removes it.
    Key {
        read: bool,
        write: bool,
    },
}

pub const MADV_COLLAPSE: c_int = 25;
pub const MADV_GUARD_INSTALL: c_int = 102;
/// UFFDIO_REGISTER_MODE_MISSING and _WP.
pub const UFFD_MODES: [u64; 2] = [UFFD_MISSING, 2];

const MPOL_PREFERRED: c_int = 1;
/// MPOL_MF_STRICT and MPOL_MF_MOVE. Without the first, the walk skips special mappings.
const MPOL_FLAGS: usize = 1 | 2;

fn call(number: i64, args: [usize; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: Only the functions below call this, with memory that is theirs, or a mapping's.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(errno()),
        n => Ok(n),
    }
}

fn protection(read: bool, write: bool) -> usize {
    let mut prot = 0;
    if read {
        prot |= libc::PROT_READ;
    }
    if write {
        prot |= libc::PROT_WRITE;
    }
    prot as usize
}

fn userfault(at: usize, len: usize, mode: u64) -> Result<(), Errno> {
    let flags = libc::O_CLOEXEC as usize;
    let fd = owned(call(libc::SYS_userfaultfd, [flags, 0, 0, 0, 0, 0])?)?;
    uffd_call(&fd, UFFDIO_API, [UFFD_API, 0, 0])?;
    uffd_call(&fd, UFFDIO_REGISTER, [at as u64, len as u64, mode, 0])
}

impl Map {
    /// Nothing can unmap or change the mapping from now on but the end of the process.
    pub fn seal(&self) -> Result<(), Errno> {
        call(
            libc::SYS_mseal,
            [self.at(0, self.len()), self.len(), 0, 0, 0, 0],
        )
        .map(drop)
    }

    /// What a seal refuses. Not to be called without one.
    pub fn against_a_seal(&self) -> [(&'static str, Result<(), Errno>); 3] {
        let (at, len) = (self.at(0, self.len()), self.len());
        let refused = |number, args| call(number, args).map(drop);
        [
            ("munmap", refused(libc::SYS_munmap, [at, len, 0, 0, 0, 0])),
            (
                "mprotect",
                refused(libc::SYS_mprotect, [at, len, 0, 0, 0, 0]),
            ),
            // To the double size, in place or elsewhere.
            (
                "mremap",
                refused(libc::SYS_mremap, [at, len, 2 * len, 1, 0, 0]),
            ),
        ]
    }

    /// Does it for `len` bytes from byte `offset`. A range that is not of whole pages is refused.
    pub fn ask(&self, what: Call, offset: usize, len: usize) -> Result<(), Errno> {
        let at = self.at(offset, len);
        let address = at as *mut c_void;
        // SAFETY: By the invariant of `Map` nobody else's memory is concerned, and none of it is lost.
        match what {
            Call::Lock => check(unsafe { libc::mlock(address, len) }),
            Call::LockOnFault => check(unsafe { libc::mlock2(address, len, 1) }),
            Call::Unlock => check(unsafe { libc::munlock(address, len) }),
            Call::Advise(advice) => check(unsafe { libc::madvise(address, len, advice) }),
            Call::Mbind => {
                let node = 1usize;
                let nodes = ptr::from_ref(&node) as usize;
                call(
                    libc::SYS_mbind,
                    [at, len, MPOL_PREFERRED as usize, nodes, 64, MPOL_FLAGS],
                )
                .map(drop)
            }
            Call::ProcessAdvise(advice) => {
                let pid = std::process::id() as usize;
                let fd = owned(call(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0])?)?;
                let part = [at, len];
                let parts = ptr::from_ref(&part) as usize;
                call(
                    libc::SYS_process_madvise,
                    [fd.as_raw_fd() as usize, parts, 1, advice as usize, 0, 0],
                )
                .map(drop)
            }
            Call::Mincore => {
                let mut pages = vec![0u8; len.div_ceil(super::PAGE as usize)];
                check(unsafe { libc::mincore(address, len, pages.as_mut_ptr()) })
            }
            Call::Userfault(mode) => userfault(at, len, mode),
            Call::Key { read, write } => {
                let prot = protection(read, write);
                let key = call(libc::SYS_pkey_alloc, [0; 6])? as usize;
                let protect = |key| call(libc::SYS_pkey_mprotect, [at, len, prot, key, 0, 0]);
                let result = protect(key).and(protect(0));
                call(libc::SYS_pkey_free, [key, 0, 0, 0, 0, 0])?;
                result.map(drop)
            }
        }
    }
}
