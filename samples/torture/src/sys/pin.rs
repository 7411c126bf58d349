// SPDX-License-Identifier: GPL-2.0

//! Calls that reach a mapping by its pages, and pins that last.

use super::{check, count, errno, Errno, Map, PAGE};
use std::{
    ffi::c_void,
    fs::File,
    io::Read,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
};

fn part_of(address: usize, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: address as *mut c_void,
        iov_len: len,
    }
}

impl Map {
    /// process_vm_readv() from this process.
    pub fn vm_read(&self, offset: usize, to: &mut [u8]) -> Result<usize, Errno> {
        let remote = part_of(self.at(offset, to.len()), to.len());
        let local = part_of(to.as_mut_ptr() as usize, to.len());
        // SAFETY: `to` is ours for its length.
        count(unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) })
    }

    /// process_vm_writev() to this process.
    pub fn vm_write(&self, offset: usize, from: &[u8]) -> Result<usize, Errno> {
        let remote = part_of(self.at(offset, from.len()), from.len());
        let local = part_of(from.as_ptr() as usize, from.len());
        // SAFETY: By the invariant of `Map` it writes to a device's memory, which is no Rust object.
        count(unsafe { libc::process_vm_writev(libc::getpid(), &local, 1, &remote, 1, 0) })
    }
}

pub(super) fn owned(fd: i64) -> Result<OwnedFd, Errno> {
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: The kernel made it just now, for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A pipe that holds references to pages.
pub struct Pipe {
    read: File,
    write: OwnedFd,
}

impl Pipe {
    pub fn new() -> Result<Self, Errno> {
        let mut fds = [0; 2];
        // SAFETY: It writes two numbers to `fds`.
        check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
        Ok(Self {
            read: owned(fds[0].into())?.into(),
            write: owned(fds[1].into())?,
        })
    }

    /// vmsplice(): the pages of these bytes are in the pipe then.
    pub fn take(&self, map: &Map, offset: usize, len: usize) -> Result<usize, Errno> {
        let part = part_of(map.at(offset, len), len);
        // SAFETY: No memory is written.
        count(unsafe { libc::vmsplice(self.write.as_raw_fd(), &part, 1, 0) })
    }

    /// What lies in those pages now. They are not in the pipe any more.
    pub fn drain(&mut self, to: &mut [u8]) -> Result<(), Errno> {
        self.read
            .read_exact(to)
            .map_err(|e| e.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Memory of our own, which the kernel reads or writes, too.
///
/// # Invariants
///
/// `len` bytes at `address` are mapped, and no Rust object.
struct Area {
    address: usize,
    len: usize,
}

impl Area {
    /// A mapping of `fd` at `offset`, or without one, zeroes.
    fn new(fd: Option<BorrowedFd<'_>>, offset: i64, len: usize) -> Result<Self, Errno> {
        let anonymous = if fd.is_none() { libc::MAP_ANONYMOUS } else { 0 };
        // SAFETY: Without MAP_FIXED it replaces nothing.
        let p = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | anonymous,
                fd.map_or(-1, |fd| fd.as_raw_fd()),
                offset,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(errno());
        }
        // INVARIANT: Just mapped.
        Ok(Self {
            address: p as usize,
            len,
        })
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset % align_of::<T>() == 0 && offset + size_of::<T>() <= self.len);
        (self.address + offset) as *mut T
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: In the area, which lives as long as `self`, and aligned. The kernel changes it as an
        // atomic.
        unsafe { &*self.at::<AtomicU32>(offset) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: By the invariant; nobody has a pointer into it.
        unsafe { libc::munmap(self.address as *mut c_void, self.len) };
    }
}

/// Where struct io_uring_params, as words, has the offsets of what is in the rings.
mod params {
    pub const WORDS: usize = 30;
    pub const SQ_ENTRIES: usize = 0;
    pub const CQ_ENTRIES: usize = 1;
    pub const SQ_HEAD: usize = 10;
    pub const SQ_TAIL: usize = 11;
    pub const SQ_MASK: usize = 12;
    pub const SQ_ARRAY: usize = 16;
    pub const CQ_HEAD: usize = 20;
    pub const CQ_TAIL: usize = 21;
    pub const CQ_MASK: usize = 22;
    pub const CQES: usize = 25;
}

const OFFSET_SQES: i64 = 0x1000_0000;
const SQE_WORDS: usize = 8;
const CQE_BYTES: usize = 16;
const ENTER_GETEVENTS: u32 = 1;
const REGISTER_BUFFERS: u32 = 0;
const UNREGISTER_BUFFERS: u32 = 1;

/// What an io_uring does with its registered buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Fixed {
    /// From the file to the buffer.
    Read = 4,
    /// From the buffer to the file.
    Write = 5,
}

/// An io_uring with one registered buffer, whose pages it pins.
pub struct Ring {
    fd: OwnedFd,
    at: [u32; params::WORDS],
    rings: Area,
    sqes: Area,
    buffer: (usize, usize),
}

impl Ring {
    pub fn new() -> Result<Self, Errno> {
        let mut at = [0u32; params::WORDS];
        // SAFETY: The kernel reads and writes the bytes of `at`, as many as io_uring_params has.
        let fd = owned(unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, at.as_mut_ptr()) })?;
        let of = |word: usize| at[word] as usize;
        let borrowed = std::os::fd::AsFd::as_fd(&fd);
        let queued = of(params::SQ_ARRAY) + of(params::SQ_ENTRIES) * 4;
        let done = of(params::CQES) + of(params::CQ_ENTRIES) * CQE_BYTES;
        let len = queued.max(done);
        let rings = Area::new(Some(borrowed), 0, len)?;
        let len = of(params::SQ_ENTRIES) * SQE_WORDS * 8;
        let sqes = Area::new(Some(borrowed), OFFSET_SQES, len)?;
        Ok(Self {
            fd,
            at,
            rings,
            sqes,
            buffer: (0, 0),
        })
    }

    fn register_call(&self, code: u32, arg: *const c_void, nr: u32) -> Result<(), Errno> {
        // SAFETY: The kernel reads `nr` iovecs at `arg`; what they name is a device's memory.
        check(unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.fd.as_raw_fd(),
                code,
                arg,
                nr,
            )
        } as i32)
    }

    /// Pins a part of a mapping.
    pub fn register(&mut self, map: &Map, offset: usize, len: usize) -> Result<(), Errno> {
        let part = part_of(map.at(offset, len), len);
        self.register_call(REGISTER_BUFFERS, ptr::from_ref(&part).cast(), 1)?;
        self.buffer = (map.at(offset, len), len);
        Ok(())
    }

    pub fn unregister(&self) -> Result<(), Errno> {
        self.register_call(UNREGISTER_BUFFERS, ptr::null(), 0)
    }

    fn word(&self, of: usize) -> &AtomicU32 {
        self.rings.word(self.at[of] as usize)
    }

    /// Reads or writes all of the buffer, and waits until that is done.
    pub fn transfer(&self, how: Fixed, file: BorrowedFd<'_>, offset: u64) -> Result<usize, Errno> {
        let tail = self.word(params::SQ_TAIL).load(Ordering::Relaxed);
        let index = tail & self.word(params::SQ_MASK).load(Ordering::Relaxed);
        let (address, len) = self.buffer;
        let sqe = [
            how as u64 | (file.as_raw_fd() as u64) << 32,
            offset,
            address as u64,
            len as u64,
            0,
            0,
            0,
            0,
        ];
        let to = self
            .sqes
            .at::<[u64; SQE_WORDS]>(index as usize * size_of_val(&sqe));
        // SAFETY: In the area and aligned; the kernel looks at it after the tail has moved.
        unsafe { to.write_volatile(sqe) };
        let array = self.at[params::SQ_ARRAY] as usize + index as usize * 4;
        self.rings.word(array).store(index, Ordering::Relaxed);
        let next = tail.wrapping_add(1);
        self.word(params::SQ_TAIL).store(next, Ordering::Release);
        let head = self.word(params::CQ_HEAD).load(Ordering::Relaxed);
        while self.word(params::CQ_TAIL).load(Ordering::Acquire) == head {
            let taken = self.word(params::SQ_HEAD).load(Ordering::Acquire);
            // SAFETY: No memory is passed. What the request names is a device's memory.
            let done = check(unsafe {
                libc::syscall(
                    libc::SYS_io_uring_enter,
                    self.fd.as_raw_fd(),
                    next.wrapping_sub(taken),
                    1,
                    ENTER_GETEVENTS,
                    ptr::null::<c_void>(),
                    0,
                )
            } as i32);
            match done {
                Ok(()) | Err(libc::EINTR) => {}
                Err(e) => return Err(e),
            }
        }
        let at = head & self.word(params::CQ_MASK).load(Ordering::Relaxed);
        let cqe = self.at[params::CQES] as usize + at as usize * CQE_BYTES;
        let result = self.rings.word(cqe + 8).load(Ordering::Relaxed) as i32;
        self.word(params::CQ_HEAD)
            .store(head.wrapping_add(1), Ordering::Release);
        usize::try_from(result).map_err(|_| -result)
    }
}

pub(super) const UFFDIO_API: u64 = 0xc018_aa3f;
pub(super) const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_COPY: u64 = 0xc028_aa03;
pub(super) const UFFD_API: u64 = 0xaa;
pub(super) const UFFD_MISSING: u64 = 1;
/// struct uffd_msg.
const MSG_BYTES: usize = 32;

pub(super) fn uffd_call<const N: usize>(
    fd: &OwnedFd,
    number: u64,
    mut arg: [u64; N],
) -> Result<(), Errno> {
    assert!(((number >> 16) & 0x3fff) as usize == size_of_val(&arg));
    // SAFETY: The kernel reads and writes the words of `arg`. What it copies to is an [`Area`].
    check(unsafe { libc::ioctl(fd.as_raw_fd(), number as libc::Ioctl, arg.as_mut_ptr()) })
}

/// A process_vm_writev() that has pinned its target, and waits for what it is to write there: the
/// memory that it copies from is not there yet.
pub struct HeldWrite {
    uffd: OwnedFd,
    source: Area,
    thread: JoinHandle<Result<usize, Errno>>,
}

impl HeldWrite {
    /// Pins up to 16 pages of a mapping.
    pub fn new(map: &Map, offset: usize, len: usize) -> Result<Self, Errno> {
        assert!(len <= 15 * PAGE);
        let source = Area::new(None, 0, len.next_multiple_of(PAGE))?;
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: No memory is passed.
        let uffd = owned(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) })?;
        uffd_call(&uffd, UFFDIO_API, [UFFD_API, 0, 0])?;
        let range = [source.address as u64, source.len as u64, UFFD_MISSING, 0];
        uffd_call(&uffd, UFFDIO_REGISTER, range)?;
        let (from, to) = (source.address, map.at(offset, len));
        let thread = std::thread::spawn(move || {
            let (local, remote) = (part_of(from, len), part_of(to, len));
            // SAFETY: It writes to a device's memory, which it has pinned before it waits.
            count(unsafe { libc::process_vm_writev(libc::getpid(), &local, 1, &remote, 1, 0) })
        });
        let mut poll = libc::pollfd {
            fd: uffd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        loop {
            // SAFETY: One pollfd, which is ours.
            if unsafe { libc::poll(&mut poll, 1, 10) } > 0 {
                let mut message = [0u8; MSG_BYTES];
                // SAFETY: It writes to `message`.
                let n = unsafe { libc::read(poll.fd, message.as_mut_ptr().cast(), MSG_BYTES) };
                if count(n) != Err(libc::EAGAIN) {
                    return count(n).map(|_| Self {
                        uffd,
                        source,
                        thread,
                    });
                }
            }
            if thread.is_finished() {
                let done = thread.join().unwrap_or(Err(libc::EIO));
                return Err(done.err().unwrap_or(libc::EIO));
            }
        }
    }

    /// Lets it write `data`. How many bytes it wrote.
    pub fn release(self, data: &[u8]) -> Result<usize, Errno> {
        let mut whole = vec![0; self.source.len];
        whole[..data.len()].copy_from_slice(data);
        let copy = [
            self.source.address as u64,
            whole.as_ptr() as u64,
            whole.len() as u64,
            0,
            0,
        ];
        uffd_call(&self.uffd, UFFDIO_COPY, copy)?;
        self.thread.join().unwrap_or(Err(libc::EIO))
    }
}
