// SPDX-License-Identifier: GPL-2.0

//! A range lock for each mapping.

use super::scheme::{
    Excludes,
    Footprint,
    Scheme, //
};
use crate::kernel_ext::{
    range_lock::RangeLock,
    units::{
        Order,
        PageOffset,
        Pages, //
    }, //
};
use core::mem::size_of;
use kernel::prelude::*;

/// "dax: range lock", Aug 2015 (thread 001).
#[pin_data]
pub(crate) struct Range {
    #[pin]
    lock: RangeLock,
}

impl Scheme for Range {
    const NAME: &'static str = "range";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            lock <- RangeLock::new(),
        })
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let start = pgoff.align_down(order);
        let last = start + (order.pages() - Pages::ONE);
        let locked = || section(order);
        Ok(self.lock.with(start.get(), last.get(), locked))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: size_of::<Self>(),
            shared: 0,
        }
    }
}
