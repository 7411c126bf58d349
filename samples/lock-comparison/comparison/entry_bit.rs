// SPDX-License-Identifier: GPL-2.0

//! A bit in the entry, with hashed wait queues: that of rdax.

use super::scheme::{
    Excludes,
    Footprint,
    Scheme, //
};
use crate::dax::entries::{
    entry::Kind,
    index::Spare,
    table::{
        Access,
        EntryTable,
        GrabError, //
    }, //
};
use crate::kernel_ext::units::{
    Order,
    PageOffset,
    Pages,
    Pfn, //
};
use core::mem::size_of;
use kernel::prelude::*;

/// The index of a device.
#[pin_data]
pub(crate) struct EntryBit {
    #[pin]
    mapping: EntryTable,
}

impl Scheme for EntryBit {
    const NAME: &'static str = "entry-bit";
    const EXCLUDES: Excludes = Excludes::ALL;

    fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // 1 TiB: more than is ever locked.
            mapping <- EntryTable::new(Pages::new(1 << 28)),
        })
    }

    /// As a fault does it: what conflicts with smaller entries falls back to their order, and an
    /// entry that is new is resolved.
    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let mut spare = Spare::new();
        let (mut entry, granted) = loop {
            match self.mapping.grab(pgoff, order, Access::Read, &mut spare) {
                Ok(entry) => break (entry, order),
                Err(GrabError::Conflict) => {
                    if let Ok(entry) =
                        self.mapping
                            .grab(pgoff, Order::PTE, Access::Read, &mut spare)
                    {
                        break (entry, Order::PTE);
                    }
                    spare.fill()?;
                }
                Err(GrabError::NoNode) => spare.fill()?,
            }
        };
        if entry.kind() == Kind::Empty {
            entry.set_kind(Kind::Mapped {
                pfn: Pfn::new(pgoff.align_down(granted).get()),
            });
        }
        Ok(section(granted))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: size_of::<Self>(),
            shared: 0,
        }
    }
}
