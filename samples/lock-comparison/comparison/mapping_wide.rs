// SPDX-License-Identifier: GPL-2.0

//! One lock for the whole mapping.

use super::scheme::{
    Excludes,
    Footprint,
    Scheme, //
};
use crate::{
    kernel_ext::rwsem::RwSemaphore,
    kernel_ext::units::{
        Order,
        PageOffset, //
    }, //
};
use core::mem::size_of;
use kernel::{
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::Mutex, //
};

/// `i_mmap_mutex`, as it was until 3.19.
#[pin_data]
pub(crate) struct MappingMutex {
    #[pin]
    lock: Mutex<()>,
}

impl Scheme for MappingMutex {
    const NAME: &'static str = "mapping-mutex";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            lock <- new_mutex!(()),
        })
    }

    fn with<R>(
        &self,
        _pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let _guard = self.lock.lock();
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: size_of::<Self>(),
            shared: 0,
        }
    }
}

/// `i_mmap_rwsem` taken for write by each fault (843172978bb9, "dax: fix race between simultaneous
/// faults", 4.3-rc).
#[pin_data]
pub(crate) struct MappingWrite {
    #[pin]
    lock: RwSemaphore<()>,
}

impl Scheme for MappingWrite {
    const NAME: &'static str = "mapping-write";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            lock <- RwSemaphore::new((), c"MappingWrite", static_lock_class!()),
        })
    }

    fn with<R>(
        &self,
        _pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let _guard = self.lock.write();
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: size_of::<Self>(),
            shared: 0,
        }
    }
}

/// A semaphore that faults take shared and truncation alone: XFS_MMAPLOCK then, `invalidate_lock`
/// since 5.15, the layout lock of rdax. It keeps faults out of a truncation, and not out of each other.
#[pin_data]
pub(crate) struct MappingRead {
    #[pin]
    lock: RwSemaphore<()>,
}

impl Scheme for MappingRead {
    const NAME: &'static str = "mapping-read";
    const EXCLUDES: Excludes = Excludes::NOTHING;

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            lock <- RwSemaphore::new((), c"MappingRead", static_lock_class!()),
        })
    }

    fn with<R>(
        &self,
        _pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let _guard = self.lock.read();
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: size_of::<Self>(),
            shared: 0,
        }
    }
}
