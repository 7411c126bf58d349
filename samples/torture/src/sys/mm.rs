// SPDX-License-Identifier: GPL-2.0

//! The kernel's own calls on a mapping.

use super::{check, errno, Errno, Map};
use std::{ffi::c_int, ffi::c_void, ptr};

/// What can be asked of the kernel for a part of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Lock,
    LockOnFault,
    Unlock,
    /// Move its pages to a node.
    Mbind,
    Advise(c_int),
    /// The same through a pidfd.
    ProcessAdvise(c_int),
    Mincore,
    /// Missing pages, or writes, are to be handled by user space.
    Userfault(u64),
    /// A protection key that allows everything, and none again.
    Key {
        read: bool,
        write: bool,
    },
}

pub const MADV_COLLAPSE: c_int = 25;
pub const MADV_GUARD_INSTALL: c_int = 102;
/// UFFDIO_REGISTER_MODE_MISSING, and _WP.
pub const MISSING: u64 = 1;
pub const WRITES: u64 = 2;

const UFFD_API: u64 = 0xaa;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const MPOL_PREFERRED: c_int = 1;
const MPOL_MF_MOVE: u32 = 2;

fn call(number: i64, args: [usize; 6]) -> Result<i64, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: Only the functions below call this, with memory that is theirs, or a mapping's.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(errno()),
        n => Ok(n),
    }
}

/// A file descriptor for one call.
struct Fd(c_int);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: Nobody else has it.
        unsafe { libc::close(self.0) };
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
    let fd = Fd(call(
        libc::SYS_userfaultfd,
        [libc::O_CLOEXEC as usize, 0, 0, 0, 0, 0],
    )? as c_int);
    let mut api = [UFFD_API, 0, 0];
    // SAFETY: `api` has the three words of a struct uffdio_api.
    check(unsafe { libc::ioctl(fd.0, UFFDIO_API as _, api.as_mut_ptr()) })?;
    let mut register = [at as u64, len as u64, mode, 0];
    // SAFETY: `register` has the four words of a struct uffdio_register.
    check(unsafe { libc::ioctl(fd.0, UFFDIO_REGISTER as _, register.as_mut_ptr()) })
}

impl Map {
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
                let flags = MPOL_MF_MOVE as usize;
                call(
                    libc::SYS_mbind,
                    [at, len, MPOL_PREFERRED as usize, nodes, 64, flags],
                )
                .map(drop)
            }
            Call::ProcessAdvise(advice) => {
                let pid = std::process::id() as usize;
                let fd = Fd(call(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0])? as c_int);
                let part = [at, len];
                let parts = ptr::from_ref(&part) as usize;
                call(
                    libc::SYS_process_madvise,
                    [fd.0 as usize, parts, 1, advice as usize, 0, 0],
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
