// SPDX-License-Identifier: GPL-2.0

//! Memory errors in page frames that have no `struct page`.
//!
//! C header: [`include/linux/memory-failure.h`](srctree/include/linux/memory-failure.h)

use crate::kernel_ext::{
    bindings,
    error::eopnotsupp,
    fs::file_operations::FileOperations,
    mm::vm_operations::VmVTable,
    units::{
        PageOffset,
        Pfn, //
    }, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::Opaque,
    workqueue::Work, //
};

/// What a device does about broken memory.
pub(crate) trait MemoryFailureOperations: FileOperations {
    /// Records that the frame `pfn` is broken, and returns its page offset in the device.
    ///
    /// With page frames, atomic context, with `i_mmap_rwsem` held, so it cannot unmap. With pages,
    /// process context, with the mutex of the pages held.
    ///
    /// Errors: `ENOENT` if it is not a frame of the device.
    fn broken(this: ArcBorrow<'_, Self>, pfn: Pfn) -> Result<PageOffset>;

    /// Returns the work that [`MemoryFailureOperations::broken`] leaves to process context. It has
    /// finished when the frames are no longer registered.
    fn work(&self) -> &Work<Self>;
}

/// Frames of a device, registered with `memory_failure()`.
///
/// With [`MemoryFailureOperations::broken`] it finds the tasks that map a broken frame, and sends
/// them SIGBUS. It unmaps nothing, and ignores a frame that is not mapped.
///
/// # Invariants
///
/// `inner` is registered, if this kernel handles memory failures. Its `mapping` is that of
/// `device`'s inode.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: MemoryFailureOperations> {
    #[pin]
    inner: Opaque<bindings::pfn_address_space>,
    device: Arc<T>,
}

// SAFETY: May be unregistered from any thread; the device is `Send` and `Sync` by `FileOperations`.
unsafe impl<T: MemoryFailureOperations> Send for Registration<T> {}
// SAFETY: There is no method on `&self`.
unsafe impl<T: MemoryFailureOperations> Sync for Registration<T> {}

impl<T: MemoryFailureOperations> Registration<T> {
    /// Registers the frames `first..=last`. Sleeps.
    ///
    /// Errors: `EBUSY` if one of them is registered; `EINVAL` if there is no frame: such a range could
    /// not be unregistered.
    pub(crate) fn new(device: Arc<T>, first: Pfn, last: Pfn) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Registered here, or construction fails. `T` is the device's own.
            inner <- Opaque::try_ffi_init(|slot: *mut bindings::pfn_address_space| {
                if first.get() > last.get() {
                    return Err(EINVAL);
                }
                // SAFETY: `slot` is valid for writes, and pinned until `drop()` unregisters it; the
                // mapping lives as long as `device`.
                unsafe {
                    slot.write(pin_init::zeroed());
                    (*slot).node.start = first.get();
                    (*slot).node.last = last.get();
                    (*slot).mapping = device.inode().mapping();
                    (*slot).pfn_to_vma_pgoff = Some(Self::pfn_to_vma_pgoff);
                    match to_result(bindings::register_pfn_address_space(slot)) {
                        // Without CONFIG_MEMORY_FAILURE there are no callbacks.
                        Err(error) if error == eopnotsupp() => Ok(()),
                        result => result,
                    }
                }
            }),
            device,
        })
    }

    /// # Safety
    ///
    /// `vma` is a VMA of the inode of a registration, with `i_mmap_rwsem` held; `pgoff` is valid for
    /// writes.
    unsafe extern "C" fn pfn_to_vma_pgoff(
        vma: *mut bindings::vm_area_struct,
        pfn: c_ulong,
        pgoff: *mut c_ulong,
    ) -> c_int {
        // SAFETY: The VMA is valid by the requirements of this function.
        if !unsafe { VmVTable::<T>::is_of(vma) } {
            // Files of another type have the same inode.
            return ENOENT.to_errno();
        }
        // SAFETY: The VMA is one of a file of `cdev`'s for a `T`, so the private data points to a `T`
        // in an `Arc`; it stays while the VMA is in the mapping.
        let device = unsafe { ArcBorrow::from_raw((*(*vma).vm_file).private_data.cast::<T>()) };
        // SAFETY: The VMA is valid by the requirements of this function.
        let (first, bounds) =
            unsafe { ((*vma).vm_pgoff, (*vma).__bindgen_anon_1.__bindgen_anon_1) };
        let pages = (bounds.vm_end - bounds.vm_start) >> bindings::PAGE_SHIFT;
        from_result(|| {
            let found = T::broken(device, Pfn::new(pfn))?.get();
            if found < first || found - first >= pages {
                return Err(ENOENT);
            }
            // SAFETY: `pgoff` is valid for writes by the requirements of this function.
            unsafe { pgoff.write(found) };
            Ok(0)
        })
    }
}

#[pinned_drop]
impl<T: MemoryFailureOperations> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariants. The C function waits for running callbacks.
        unsafe { bindings::unregister_pfn_address_space(self.inner.get()) };
        // SAFETY: The work is initialised, and lives as long as `device`. It is not queued again,
        // because no callback is left.
        unsafe { bindings::flush_work(Work::raw_get(self.device.work())) };
    }
}
