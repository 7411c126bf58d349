// SPDX-License-Identifier: GPL-2.0

//! A table of mutexes for each NUMA node ("one small enhancement perhaps", thread 000).

use super::{
    hashed::Table,
    scheme::{
        Excludes,
        Footprint,
        Scheme, //
    },
};
use crate::kernel_ext::{
    topology,
    units::{
        Order,
        PageOffset, //
    }, //
};
use kernel::prelude::*;

/// The memory of a mapping is taken to lie on the nodes in turn, 1 GiB on each.
const STRIPE: Order = Order::PUD;

fn tables() -> Result<KVec<Table>> {
    let mut tables = KVec::new();
    for _ in 0..topology::nodes() {
        tables.push(Table::new()?, GFP_KERNEL)?;
    }
    Ok(tables)
}

fn bytes(tables: &KVec<Table>) -> usize {
    tables.iter().map(Table::bytes).sum()
}

/// The table of the node of the CPU that asks, as proposed: a range has as many locks as there are
/// nodes, and so none.
pub(crate) struct NumaCpu(KVec<Table>);

impl Scheme for NumaCpu {
    const NAME: &'static str = "numa-cpu";
    const EXCLUDES: Excludes = Excludes {
        faults: true,
        sizes: false,
        nodes: false,
    };

    fn new() -> impl PinInit<Self, Error> {
        tables().map(Self)
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let mapping = core::ptr::from_ref(self).addr();
        let table = self.0.get(topology::current_node()).ok_or(EINVAL)?;
        let _guard = table.lock(mapping, pgoff.align_down(order))?;
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: 0,
            shared: bytes(&self.0),
        }
    }
}

/// The table of the node where the memory lies: something that all who ask for a range agree on.
pub(crate) struct NumaMemory(KVec<Table>);

impl Scheme for NumaMemory {
    const NAME: &'static str = "numa-memory";
    const EXCLUDES: Excludes = Excludes {
        faults: true,
        sizes: false,
        nodes: true,
    };

    fn new() -> impl PinInit<Self, Error> {
        tables().map(Self)
    }

    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        let mapping = core::ptr::from_ref(self).addr();
        let node = pgoff.get() / STRIPE.pages().get() % self.0.len().max(1);
        let table = self.0.get(node).ok_or(EINVAL)?;
        let _guard = table.lock(mapping, pgoff.align_down(order))?;
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: 0,
            shared: bytes(&self.0),
        }
    }
}
