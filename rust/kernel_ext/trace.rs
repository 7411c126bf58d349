// SPDX-License-Identifier: GPL-2.0

//! The module's trace events: a nop each, unless it is enabled.
//!
//! C header: `rust/helpers/trace.h`. `Documentation/tracing.rst` describes events and fields.
//!
//! `minor` is a function, so that the number of the device is only looked up for an enabled event.
//! It is the N of `rdaxN`, or [`on_dax_bus`]. Any context.

#[cfg(CONFIG_TRACEPOINTS)]
use crate::kernel_ext::jump_label::static_branch_unlikely;
use crate::kernel_ext::{
    bindings,
    mm::fault::{
        FaultResult,
        VmFault, //
    }, //
};
use core::ops::{
    Range,
    RangeInclusive, //
};
use kernel::{
    device::Device,
    macros::paste,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// Whether an event is enabled.
///
/// # Safety
///
/// `TRACE_EVENT()` in `rust/helpers/trace.h` must define it.
macro_rules! is_enabled {
    ($event:ident) => {{
        #[cfg(CONFIG_TRACEPOINTS)]
        paste! {
            static_branch_unlikely!(
                bindings::[<__tracepoint_ $event>],
                bindings::tracepoint,
                key
            )
        }
        #[cfg(not(CONFIG_TRACEPOINTS))]
        false
    }};
}

/// Emits an event if it is enabled. The arguments are evaluated only then.
///
/// # Safety
///
/// That of [`is_enabled`]. Pointers among the arguments must be valid for reads.
macro_rules! emit {
    ($event:ident($($argument:expr),* $(,)?)) => {
        if is_enabled!($event) {
            #[cfg(CONFIG_TRACEPOINTS)]
            paste! {
                bindings::[<rust_do_trace_ $event>]($($argument),*)
            };
            #[cfg(not(CONFIG_TRACEPOINTS))]
            {
                $(let _ = $argument;)*
            }
        }
    };
}

/// Returns the number that stands for `dax<region>.<id>` in events: no other device's.
pub(crate) const fn on_dax_bus(region: u32, id: u32) -> usize {
    1 << 63 | (region as usize & 0x7fff_ffff) << 32 | id as usize
}

/// Returns the negative errno of a result, or 0.
fn errno<T>(result: &Result<T>) -> c_int {
    result.as_ref().err().map_or(0, |error| error.to_errno())
}

impl FaultResult {
    fn in_event(self) -> bindings::rdax_fault {
        match self {
            Self::Mapped => bindings::rdax_fault_RDAX_FAULT_MAPPED,
            Self::Raced => bindings::rdax_fault_RDAX_FAULT_RACED,
            Self::Fallback => bindings::rdax_fault_RDAX_FAULT_FALLBACK,
            Self::Oom => bindings::rdax_fault_RDAX_FAULT_OOM,
            Self::Sigbus => bindings::rdax_fault_RDAX_FAULT_SIGBUS,
            Self::Hwpoison => bindings::rdax_fault_RDAX_FAULT_HWPOISON,
        }
    }
}

/// `rdax_fault`: a fault ended with `result`.
#[inline(always)]
pub(crate) fn fault(minor: impl FnOnce() -> usize, vmf: &VmFault<'_>, result: FaultResult) {
    // SAFETY: The event is defined. The fault is being handled, and its VMA is locked, by the
    // invariants of `VmFault`.
    unsafe {
        emit!(rdax_fault(
            minor(),
            vmf.as_raw(),
            vmf.level().order().get(),
            result.in_event()
        ))
    }
}

/// Declares functions that emit an event about the entry of `order` at the page offset `pgoff`.
macro_rules! entry_events {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(minor: impl FnOnce() -> usize, pgoff: usize, order: u32) {
            // SAFETY: The event is defined, and takes integers only.
            paste! { unsafe { emit!([<rdax_ $name>](minor(), pgoff, order)) } }
        }
    )*};
}

entry_events! {
    /// `rdax_entry_create`: an entry was made where none was.
    entry_create;
    /// `rdax_entry_upgrade`: an entry has replaced all smaller ones of its run.
    entry_upgrade;
    /// `rdax_entry_delete`: an entry was deleted, other than by a split or a write-back.
    entry_delete;
    /// `rdax_entry_writeback`: a dirty entry was written back, and removed.
    entry_writeback;
    /// `rdax_entry_conflict`: no entry was made, because part of its run has a smaller one.
    entry_conflict;
}

/// `rdax_entry_split`: the entry of `order` at `pgoff` gives way to one of the smaller `to_order`
/// at `to_pgoff`.
#[inline(always)]
pub(crate) fn entry_split(
    minor: impl FnOnce() -> usize,
    pgoff: usize,
    order: u32,
    to_pgoff: usize,
    to_order: u32,
) {
    // SAFETY: The event is defined, and takes integers only.
    unsafe { emit!(rdax_entry_split(minor(), pgoff, order, to_pgoff, to_order)) }
}

/// A wait for an entry lock.
pub(crate) struct Wait(Option<Instant<Monotonic>>);

impl Wait {
    /// Begins a wait. Looks at the clock only if the event is enabled.
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        // SAFETY: The event is defined.
        let enabled = unsafe { is_enabled!(rdax_entry_wait) };
        Self(enabled.then(Instant::now))
    }

    /// `rdax_entry_wait`: the wait for the entry of `order` at `pgoff` is over. No event if it was
    /// enabled only meanwhile.
    #[inline(always)]
    pub(crate) fn end(self, minor: impl FnOnce() -> usize, pgoff: usize, order: u32) {
        let Some(begun) = self.0 else {
            return;
        };
        // SAFETY: The event is defined, and takes integers only.
        unsafe {
            emit!(rdax_entry_wait(
                minor(),
                pgoff,
                order,
                begun.elapsed().as_nanos().unsigned_abs()
            ))
        }
    }
}

/// What a sync has written back so far. Stays empty while the event is disabled.
pub(crate) struct Written {
    runs: usize,
    bytes: u64,
    behind: usize,
}

impl Written {
    pub(crate) const fn new() -> Self {
        Self {
            runs: 0,
            bytes: 0,
            behind: usize::MAX,
        }
    }

    /// Adds a run of pages, which are past those before.
    #[inline(always)]
    pub(crate) fn add(&mut self, run: Range<usize>) {
        // SAFETY: The event is defined.
        if unsafe { is_enabled!(rdax_sync) } {
            self.runs += usize::from(run.start != self.behind);
            self.bytes += (run.len() as u64) << bindings::PAGE_SHIFT;
            self.behind = run.end;
        }
    }

    /// `rdax_sync`: a sync of the pages in which `bytes` lie ended.
    #[inline(always)]
    pub(crate) fn end(
        self,
        minor: impl FnOnce() -> usize,
        bytes: RangeInclusive<u64>,
        result: &Result,
    ) {
        // SAFETY: The event is defined, and takes integers only.
        unsafe {
            emit!(rdax_sync(
                minor(),
                (bytes.start() >> bindings::PAGE_SHIFT) as usize,
                (bytes.end() >> bindings::PAGE_SHIFT) as usize + 1,
                self.runs,
                self.bytes,
                errno(result)
            ))
        }
    }
}

/// `rdax_punch`: a punch of `length` bytes at byte `offset` ended.
#[inline(always)]
pub(crate) fn punch(minor: impl FnOnce() -> usize, offset: u64, length: u64, result: &Result) {
    // SAFETY: The event is defined, and takes integers only.
    unsafe { emit!(rdax_punch(minor(), offset, length, errno(result))) }
}

/// `rdax_zero`: `length` bytes at byte `offset` were zeroed (`RDAX_IOC_ZERO`), or not.
#[inline(always)]
pub(crate) fn zero(minor: impl FnOnce() -> usize, offset: u64, length: u64, result: &Result) {
    // SAFETY: The event is defined, and takes integers only.
    unsafe { emit!(rdax_zero(minor(), offset, length, errno(result))) }
}

/// `rdax_bad_block`: the bad `length` bytes at byte `offset` were unmapped.
#[inline(always)]
pub(crate) fn bad_block(minor: impl FnOnce() -> usize, offset: u64, length: u64) {
    // SAFETY: The event is defined, and takes integers only.
    unsafe { emit!(rdax_bad_block(minor(), offset, length)) }
}

/// `rdax_resize`: a change of the size from `from` to `to` bytes ended.
#[inline(always)]
pub(crate) fn resize(minor: impl FnOnce() -> usize, from: u64, to: u64, result: &Result) {
    // SAFETY: The event is defined, and takes integers only.
    unsafe { emit!(rdax_resize(minor(), from, to, errno(result))) }
}

/// `rdax_bind`: a namespace was bound, with media of `size` bytes.
#[inline(always)]
pub(crate) fn bind(namespace: &Device, size: u64, align: u64) {
    // SAFETY: The event is defined. The reference is valid for the duration of the call.
    unsafe {
        emit!(rdax_bind(
            core::ptr::from_ref(namespace).cast(),
            size,
            align
        ))
    }
}

/// `rdax_unbind`: a namespace is being unbound, and its devices are gone.
#[inline(always)]
pub(crate) fn unbind(namespace: &Device) {
    // SAFETY: The event is defined. The reference is valid for the duration of the call.
    unsafe { emit!(rdax_unbind(core::ptr::from_ref(namespace).cast())) }
}
