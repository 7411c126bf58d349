// SPDX-License-Identifier: GPL-2.0

//! System calls, accesses that survive a signal, shared memory: all that is `unsafe`.

#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    io::Error,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

pub mod kcov;
pub mod mm;
pub mod pin;

/// An errno.
pub type Errno = i32;

const PAGE: usize = 4096;

// Accesses that may fault. What faults between rdax_access and rdax_access_end goes on at
// rdax_access_fixup, which says how much was left, and by which signal it ended.
std::arch::global_asm!(
    ".globl rdax_access, rdax_access_end, rdax_access_fixup, rdax_load, rdax_store, rdax_copy",
    "rdax_access:",
    // rdax_load(to, from): 8 bytes
    "rdax_load:",
    "lea r9, [rdi + 8]",
    "mov rax, [rsi]",
    "mov [rdi], rax",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
    // rdax_store(to, value): 8 bytes
    "rdax_store:",
    "lea r9, [rdi + 8]",
    "mov [rdi], rsi",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
    // rdax_copy(to, from, len): words, then bytes
    "rdax_copy:",
    "lea r9, [rdi + rdx]",
    "mov rcx, rdx",
    "shr rcx, 3",
    "rep movsq",
    "mov rcx, rdx",
    "and rcx, 7",
    "rep movsb",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
    "rdax_access_end:",
    // rdi is precise when a string instruction faults; rdx is set by the handler.
    "rdax_access_fixup:",
    "mov rax, r9",
    "sub rax, rdi",
    "ret",
);

#[repr(C)]
struct Left {
    bytes: usize,
    signal: usize,
}

extern "C" {
    fn rdax_access();
    fn rdax_access_end();
    fn rdax_access_fixup();
    fn rdax_load(to: *mut u64, from: *const u64) -> Left;
    fn rdax_store(to: *mut u64, value: u64) -> Left;
    fn rdax_copy(to: *mut u8, from: *const u8, len: usize) -> Left;
}

/// Which signal an access raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    Bus,
    Segv,
}

extern "C" fn on_fault(signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: The kernel hands a SA_SIGINFO handler a ucontext_t, which is ours until we return.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as usize;
    if (rdax_access as usize..rdax_access_end as usize).contains(&at) {
        registers[libc::REG_RIP as usize] = rdax_access_fixup as usize as i64;
        registers[libc::REG_RDX as usize] = i64::from(signal);
    } else {
        // Not ours: once more, and then it ends the process.
        // SAFETY: signal() with the default disposition may be called in a handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

static TICKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_tick(_signal: c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// How often this process was interrupted by [`interrupt`].
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Accesses by [`Map`] survive their signals from now on, and [`interrupt`] only interrupts.
pub fn handle_signals() {
    for (signal, handler, flags) in [
        (
            libc::SIGBUS,
            on_fault as usize,
            libc::SA_SIGINFO | libc::SA_NODEFER,
        ),
        (
            libc::SIGSEGV,
            on_fault as usize,
            libc::SA_SIGINFO | libc::SA_NODEFER,
        ),
        (libc::SIGUSR1, on_tick as usize, 0),
    ] {
        // SAFETY: All zeroes is a sigaction; the handlers have the signature that the flags ask
        // for and call nothing that a handler may not call.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

fn errno() -> Errno {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn check(ret: c_int) -> Result<(), Errno> {
    if ret < 0 {
        return Err(errno());
    }
    Ok(())
}

fn left(len: usize, left: Left) -> (usize, Option<Signal>) {
    let signal = match left.signal as c_int {
        0 => None,
        libc::SIGBUS => Some(Signal::Bus),
        _ => Some(Signal::Segv),
    };
    (len - left.bytes, signal)
}

/// Whether MAP_SYNC is never asked for: volatile memory can't keep what it promises.
pub static WITHOUT_MAP_SYNC: AtomicBool = AtomicBool::new(false);

/// How to map.
#[derive(Clone, Copy, Debug)]
pub struct MapHow {
    pub write: bool,
    /// MAP_SYNC, with MAP_SHARED_VALIDATE.
    pub sync: bool,
    /// At an address that is this modulo 1 GiB (or 2 MiB, for less than that); else the kernel
    /// chooses.
    pub place: Option<usize>,
}

/// A mapping of the device.
///
/// # Invariants
///
/// `len` bytes from `address` on are a mapping of a device, or inaccessible, and nobody else's.
#[derive(Debug)]
pub struct Map {
    address: usize,
    len: usize,
}

/// Takes `len` bytes of address space that is `place` modulo `modulo`, inaccessible.
fn reserve(len: usize, place: usize, modulo: usize) -> Result<Map, Errno> {
    let all = len + modulo;
    // SAFETY: Without MAP_FIXED this replaces nothing.
    let p = unsafe {
        libc::mmap(
            ptr::null_mut(),
            all,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        return Err(errno());
    }
    let begin = p as usize;
    let head = place.wrapping_sub(begin) % modulo;
    let address = begin + head;
    for (from, to) in [(begin, address), (address + len, begin + all)] {
        if from < to {
            // SAFETY: A part of what was mapped just now; nobody uses it.
            unsafe { libc::munmap(from as *mut c_void, to - from) };
        }
    }
    // INVARIANT: What is left of it.
    Ok(Map { address, len })
}

impl Map {
    /// Maps `len` bytes at `offset`.
    pub fn new(fd: BorrowedFd<'_>, offset: u64, len: usize, how: MapHow) -> Result<Self, Errno> {
        let prot = libc::PROT_READ | if how.write { libc::PROT_WRITE } else { 0 };
        let mut flags = if how.sync && !WITHOUT_MAP_SYNC.load(Ordering::SeqCst) {
            libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC
        } else {
            libc::MAP_SHARED
        };
        let mut at = None;
        if let Some(place) = how.place {
            let modulo = if len < 1 << 30 { 2 << 20 } else { 1 << 30 };
            at = Some(reserve(len, place, modulo)?);
            flags |= libc::MAP_FIXED;
        }
        let address = at.as_ref().map_or(0, |map| map.address);
        // SAFETY: With MAP_FIXED it replaces the reservation, which is ours alone.
        let p = unsafe {
            libc::mmap(
                address as *mut c_void,
                len,
                prot,
                flags,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        // A reservation is replaced; or when mmap() fails, it may be gone, and others may be there.
        std::mem::forget(at);
        if p == libc::MAP_FAILED {
            return Err(errno());
        }
        // INVARIANT: Just mapped.
        Ok(Self {
            address: p as usize,
            len,
        })
    }

    pub fn address(&self) -> usize {
        self.address
    }

    pub fn len(&self) -> usize {
        self.len
    }

    fn at(&self, offset: usize, len: usize) -> usize {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "outside of the mapping"
        );
        self.address + offset
    }

    /// Reads a word.
    pub fn load(&self, offset: usize) -> Result<u64, Signal> {
        let mut word = 0u64;
        let from = self.at(offset, 8) as *const u64;
        // SAFETY: `word` is ours. By the invariant `from` is the device's memory, which is no
        // Rust object, or raises a signal, which on_fault() handles.
        match left(8, unsafe { rdax_load(&mut word, from) }).1 {
            None => Ok(word),
            Some(signal) => Err(signal),
        }
    }

    /// Writes a word, in one store.
    pub fn store(&self, offset: usize, value: u64) -> Result<(), Signal> {
        let to = self.at(offset, 8) as *mut u64;
        // SAFETY: As in load().
        match left(8, unsafe { rdax_store(to, value) }).1 {
            None => Ok(()),
            Some(signal) => Err(signal),
        }
    }

    /// Reads bytes; how many, and why not more.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> (usize, Option<Signal>) {
        let from = self.at(offset, to.len()) as *const u8;
        // SAFETY: As in load(); `to` is ours for its length.
        left(to.len(), unsafe {
            rdax_copy(to.as_mut_ptr(), from, to.len())
        })
    }

    /// Writes bytes; how many, and why not more.
    pub fn write(&self, offset: usize, from: &[u8]) -> (usize, Option<Signal>) {
        let to = self.at(offset, from.len()) as *mut u8;
        // SAFETY: As in load(); `from` is ours for its length.
        left(from.len(), unsafe {
            rdax_copy(to, from.as_ptr(), from.len())
        })
    }

    pub fn protect(&self, read: bool, write: bool) -> Result<(), Errno> {
        let mut prot = 0;
        if read {
            prot |= libc::PROT_READ;
        }
        if write {
            prot |= libc::PROT_WRITE;
        }
        // SAFETY: By the invariant nobody else's memory is concerned.
        check(unsafe { libc::mprotect(self.address as *mut c_void, self.len, prot) })
    }

    pub fn advise(&self, advice: c_int) -> Result<(), Errno> {
        // SAFETY: As in protect().
        check(unsafe { libc::madvise(self.address as *mut c_void, self.len, advice) })
    }

    pub fn sync(&self, offset: usize, len: usize, wait: bool) -> Result<(), Errno> {
        let flags = if wait { libc::MS_SYNC } else { libc::MS_ASYNC };
        // SAFETY: It changes no memory.
        check(unsafe { libc::msync(self.at(offset, len) as *mut c_void, len, flags) })
    }

    /// Moves it to an address that is `place` modulo 2 MiB (or 1 GiB).
    pub fn relocate(&mut self, place: usize) -> Result<(), Errno> {
        let modulo = if self.len < 1 << 30 { 2 << 20 } else { 1 << 30 };
        let to = reserve(self.len, place, modulo)?;
        // SAFETY: Both ranges are ours alone; the second is replaced.
        let p = unsafe {
            libc::mremap(
                self.address as *mut c_void,
                self.len,
                self.len,
                libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                to.address as *mut c_void,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(errno());
        }
        // INVARIANT: The mapping is there now, and nothing is where it was.
        self.address = to.address;
        std::mem::forget(to);
        Ok(())
    }

    /// Tries to make it larger: it stays as it is if that fails.
    pub fn grow(&mut self, more: usize) -> Result<(), Errno> {
        // SAFETY: If it succeeds the old range is gone and the new one is ours.
        let p = unsafe {
            libc::mremap(
                self.address as *mut c_void,
                self.len,
                self.len + more,
                libc::MREMAP_MAYMOVE,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(errno());
        }
        // INVARIANT: As mremap() says.
        self.address = p as usize;
        self.len += more;
        Ok(())
    }

    /// Takes away `len` bytes at its beginning (a multiple of the page size, less than all).
    pub fn cut_head(&mut self, len: usize) -> Result<(), Errno> {
        assert!(len < self.len && len % PAGE == 0);
        // SAFETY: A part of what is ours.
        check(unsafe { libc::munmap(self.address as *mut c_void, len) })?;
        // INVARIANT: What is left.
        self.address += len;
        self.len -= len;
        Ok(())
    }

    /// Leaves only the first `len` bytes.
    pub fn cut_tail(&mut self, len: usize) -> Result<(), Errno> {
        assert!(0 < len && len < self.len && len % PAGE == 0);
        // SAFETY: A part of what is ours.
        check(unsafe { libc::munmap((self.address + len) as *mut c_void, self.len - len) })?;
        // INVARIANT: What is left.
        self.len = len;
        Ok(())
    }

    /// Takes `hole` bytes at `at` away; what is behind is another mapping.
    pub fn cut_hole(&mut self, at: usize, hole: usize) -> Result<Map, Errno> {
        assert!(0 < at && hole > 0 && at + hole < self.len && (at | hole) % PAGE == 0);
        // SAFETY: A part of what is ours.
        check(unsafe { libc::munmap((self.address + at) as *mut c_void, hole) })?;
        // INVARIANT: The two parts that are left.
        let rest = Map {
            address: self.address + at + hole,
            len: self.len - at - hole,
        };
        self.len = at;
        Ok(rest)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: By the invariant it is ours, and nobody has a pointer into it.
        unsafe { libc::munmap(self.address as *mut c_void, self.len) };
    }
}

/// What may lie in memory of zeroes that other processes change.
///
/// # Safety
///
/// It consists of atomics only, for which zero is a value.
pub unsafe trait Shareable {}

// SAFETY: An atomic.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: An atomic.
unsafe impl Shareable for AtomicU32 {}
// SAFETY: An array of them.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// Says that a structure of nothing but [`Shareable`] fields is one.
#[macro_export]
macro_rules! shareable {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        pub struct $name { $($(#[$fmeta])* pub $field: $type,)* }
        const _: () = {
            const fn all<T: $crate::sys::Shareable>() {}
            $(all::<$type>();)*
        };
        // SAFETY: All fields are, as was just checked.
        #[allow(unsafe_code)]
        unsafe impl $crate::sys::Shareable for $name {}
    };
}

/// Memory that is shared with all processes forked after this, for ever.
pub fn share<T: Shareable>() -> &'static T {
    // SAFETY: Without MAP_FIXED this replaces nothing.
    let p = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert!(
        p != libc::MAP_FAILED,
        "no memory: {}",
        Error::last_os_error()
    );
    // SAFETY: Zeroes, which is a T; page-aligned; never unmapped; changed by atomics only.
    unsafe { &*p.cast::<T>() }
}

/// The ioctl of rdax with this argument, whose size is in the number.
pub fn ioctl<T>(fd: BorrowedFd<'_>, number: u64, arg: &mut T) -> Result<(), Errno> {
    assert!(((number >> 16) & 0x3fff) as usize == size_of::<T>());
    // SAFETY: The kernel reads and writes as many bytes as the number says: those of `arg`, which
    // is plain data.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), number as libc::Ioctl, ptr::from_mut(arg)) })
}

/// Forks. The child gets 0.
///
/// Only the calling thread goes on in it. It must end by [`exit_now`], and use no lock that another
/// thread may hold.
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: glibc's own locks are taken care of by fork(); the rest is said above.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(errno());
    }
    if pid == 0 {
        // SAFETY: Only asks for a signal when the parent thread ends.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    }
    Ok(pid)
}

pub fn exit_now(status: i32) -> ! {
    // SAFETY: Ends the process and runs nothing.
    unsafe { libc::_exit(status) }
}

/// Lets the kernel dump what a process has mapped of DAX devices, and no other memory, into [`core_of`] it.
pub fn prepare_core_dumps() -> std::io::Result<()> {
    std::fs::write("/proc/sys/kernel/core_pattern", "/tmp/torture.core.%p")?;
    // DAX, private and shared.
    std::fs::write("/proc/self/coredump_filter", "0x180")
}

pub fn core_of(pid: i32) -> String {
    format!("/tmp/torture.core.{pid}")
}

/// Ends this process with a core dump of at most 64 MiB.
pub fn dump_core() -> ! {
    let limit = libc::rlimit {
        rlim_cur: 64 << 20,
        rlim_max: 64 << 20,
    };
    // SAFETY: The limit is read only; SIGABRT has no handler.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &limit);
        libc::abort()
    }
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Exit(i32),
    Killed(i32),
}

/// Has it ended? Waits for it if `wait`.
pub fn wait(pid: i32, wait: bool) -> Option<Ended> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours.
        let got = unsafe { libc::waitpid(pid, &mut status, if wait { 0 } else { libc::WNOHANG }) };
        if got == pid {
            break;
        }
        if got == 0 {
            return None;
        }
        if errno() != libc::EINTR {
            return Some(Ended::Exit(-errno()));
        }
    }
    Some(if libc::WIFSIGNALED(status) {
        Ended::Killed(libc::WTERMSIG(status))
    } else {
        Ended::Exit(libc::WEXITSTATUS(status))
    })
}

pub fn kill(pid: i32) {
    // SAFETY: Only a signal, to a child of ours that was not waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// The calling thread, for [`interrupt`].
pub fn thread_id() -> i32 {
    // SAFETY: No arguments, no memory.
    unsafe { libc::gettid() }
}

/// Interrupts a thread of this process.
pub fn interrupt(tid: i32) {
    // SAFETY: A signal with a handler, to a thread of this process or to none.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
}

/// delete_module(), which does not wait.
pub fn unload(module: &str) -> Result<(), Errno> {
    let name = std::ffi::CString::new(module).map_err(|_| libc::EINVAL)?;
    // SAFETY: `name` is a string that outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    check(ret as c_int)
}

/// finit_module().
pub fn load(fd: BorrowedFd<'_>, parameters: &str) -> Result<(), Errno> {
    let text = std::ffi::CString::new(parameters).map_err(|_| libc::EINVAL)?;
    // SAFETY: `text` is a string that outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_finit_module, fd.as_raw_fd(), text.as_ptr(), 0) };
    check(ret as c_int)
}

/// An address that a system call may be given: of memory that is nobody's, or of none.
#[derive(Clone, Copy, Debug)]
pub struct Target(usize);

impl Target {
    pub const NULL: Self = Self(0);
    pub const KERNEL: Self = Self(0xffff_8880_0000_1000);
    pub const NON_CANONICAL: Self = Self(0x8000_0000_0000_0000);

    pub fn address(self) -> u64 {
        self.0 as u64
    }
}

/// Some pages of memory for system calls, with an inaccessible page behind.
///
/// # Invariants
///
/// `len` bytes at `address` are accessible, and no Rust object; the page behind is reserved.
pub struct Guarded {
    address: usize,
    len: usize,
}

impl Guarded {
    pub fn new(pages: usize) -> Self {
        let len = pages * PAGE;
        // SAFETY: Without MAP_FIXED it replaces nothing; mprotect() takes a part of it.
        let address = unsafe {
            let p = libc::mmap(
                ptr::null_mut(),
                len + PAGE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert!(p != libc::MAP_FAILED, "no memory");
            assert!(
                libc::mprotect(p, len, libc::PROT_READ | libc::PROT_WRITE) == 0,
                "no memory"
            );
            p as usize
        };
        // INVARIANT: Never unmapped.
        Self { address, len }
    }

    /// `before` bytes before the inaccessible page.
    pub fn target(&self, before: usize) -> Target {
        assert!(before <= self.len);
        Target(self.address + self.len - before)
    }

    /// Puts bytes so that they end there.
    pub fn put(&self, from: &[u8]) -> Target {
        let to = self.target(from.len());
        // SAFETY: By the invariant; `from` is another's.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.0 as *mut u8, from.len()) };
        to
    }

    /// The last bytes.
    pub fn get(&self, before: usize, to: &mut [u8]) {
        assert!(to.len() <= before);
        // SAFETY: By the invariant; `to` is another's.
        unsafe {
            ptr::copy_nonoverlapping(
                self.target(before).0 as *const u8,
                to.as_mut_ptr(),
                to.len(),
            );
        }
    }
}

/// Any ioctl with any argument.
pub fn raw_ioctl(fd: BorrowedFd<'_>, number: u64, arg: Target) -> Result<(), Errno> {
    // SAFETY: What it writes it writes to memory that is nobody's.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), number as libc::Ioctl, arg.0) })
}

fn count(ret: isize) -> Result<usize, Errno> {
    usize::try_from(ret).map_err(|_| errno())
}

pub fn raw_pread(fd: BorrowedFd<'_>, to: Target, len: usize, offset: i64) -> Result<usize, Errno> {
    // SAFETY: It writes to memory that is nobody's, and stops where that ends.
    count(unsafe { libc::pread(fd.as_raw_fd(), to.0 as *mut c_void, len, offset) })
}

pub fn raw_pwrite(
    fd: BorrowedFd<'_>,
    from: Target,
    len: usize,
    offset: i64,
) -> Result<usize, Errno> {
    // SAFETY: It writes no memory of ours.
    count(unsafe { libc::pwrite(fd.as_raw_fd(), from.0 as *const c_void, len, offset) })
}

/// mmap() with any arguments but an address.
pub fn raw_mmap(
    fd: BorrowedFd<'_>,
    len: usize,
    prot: c_int,
    flags: c_int,
    offset: i64,
) -> Result<Map, Errno> {
    assert!(flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE) == 0);
    // SAFETY: Without MAP_FIXED it replaces nothing.
    let p = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, fd.as_raw_fd(), offset) };
    if p == libc::MAP_FAILED {
        return Err(errno());
    }
    // INVARIANT: Just mapped.
    Ok(Map {
        address: p as usize,
        len,
    })
}

impl Map {
    pub fn target(&self, offset: usize) -> Target {
        Target(self.address + offset)
    }
}

/// Calls that a device without blocks or a size of its own refuses; the errno of each.
pub fn refused_calls(fd: BorrowedFd<'_>, offset: i64, len: i64) -> [(&'static str, Errno); 3] {
    let of = |ret: c_int| if ret < 0 { errno() } else { 0 };
    let fd = fd.as_raw_fd();
    // SAFETY: No memory is passed.
    unsafe {
        [
            ("ftruncate", of(libc::ftruncate(fd, offset))),
            (
                "fallocate",
                of(libc::fallocate(
                    fd,
                    libc::FALLOC_FL_PUNCH_HOLE | 1,
                    offset,
                    len,
                )),
            ),
            (
                "sync_file_range",
                of(libc::sync_file_range(fd, offset, len, 7)),
            ),
        ]
    }
}

/// From now on this process is nobody.
pub fn become_nobody() -> Result<(), Errno> {
    // SAFETY: No memory is passed but an empty list.
    unsafe {
        check(libc::setgroups(0, ptr::null()))?;
        check(libc::setgid(65534))?;
        check(libc::setuid(65534))
    }
}
