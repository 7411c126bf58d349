// SPDX-License-Identifier: GPL-2.0

//! What a scheme is.

use crate::kernel_ext::units::{
    Order,
    PageOffset, //
};
use kernel::prelude::*;

/// Whom the holder of a range keeps out of it.
#[derive(Clone, Copy)]
pub(crate) struct Excludes {
    /// Another holder of the same range, on the same NUMA node.
    pub(crate) faults: bool,
    /// The holder of a range of another size that overlaps.
    pub(crate) sizes: bool,
    /// The holder of the same range on another NUMA node.
    pub(crate) nodes: bool,
}

impl Excludes {
    /// As it should be.
    pub(crate) const ALL: Self = Self {
        faults: true,
        sizes: true,
        nodes: true,
    };

    /// Nobody.
    pub(crate) const NOTHING: Self = Self {
        faults: false,
        sizes: false,
        nodes: false,
    };
}

/// What memory a scheme takes, in bytes, before anything is locked.
pub(crate) struct Footprint {
    /// For each mapping.
    pub(crate) mapping: usize,
    /// Once, for all of them.
    pub(crate) shared: usize,
}

/// A way to lock ranges of pages of a mapping. A value is a mapping, with the tables that all mappings
/// would share.
pub(crate) trait Scheme: Sized + Send + Sync {
    /// By this it is asked for.
    const NAME: &'static str;
    const EXCLUDES: Excludes;

    /// A mapping of which nothing is locked.
    fn new() -> impl PinInit<Self, Error>;

    /// Calls `section` with the range of `order` around `pgoff` locked, or with a smaller one around it
    /// whose order `section` is told. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    fn with<R>(
        &self,
        pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R>;

    fn footprint(&self) -> Footprint;
}
