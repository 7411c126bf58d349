// SPDX-License-Identifier: GPL-2.0

//! What the devices of a region have in common.

use crate::dax::layout::span::Span;
use crate::kernel_ext::{
    sync::atomic::read_once,
    units::{
        Order,
        Pages, //
    }, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The geometry of a region.
pub(crate) struct Geometry {
    /// Where its media lies.
    pub(crate) span: Span,
    /// The number of its pages: all of `span`, if that has no gaps.
    pub(crate) pages: Pages,
    /// The alignment of new devices.
    pub(crate) align: Order,
    /// The nearest NUMA node; -1 if unknown.
    pub(crate) numa_node: i32,
    /// Whether `MAP_SYNC` is supported.
    pub(crate) synchronous: bool,
    /// Whether writes are refused.
    read_only: Atomic<bool>,
}

impl Geometry {
    pub(crate) fn new(
        span: Span,
        pages: Pages,
        align: Order,
        numa_node: i32,
        synchronous: bool,
        read_only: bool,
    ) -> Self {
        Self {
            span,
            pages,
            align,
            numa_node,
            synchronous,
            read_only: Atomic::new(read_only),
        }
    }

    /// Whether writes are refused.
    ///
    /// The caller holds a live guard of the device. This pairs with the wait in
    /// `Region::set_read_only()`: a call or fault that begins after that wait sees the new value.
    pub(crate) fn is_read_only(&self) -> bool {
        read_once(&self.read_only)
    }

    /// Sets whether later calls and faults refuse writes. `Region::set_read_only()` waits for the
    /// others.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Relaxed);
    }
}
