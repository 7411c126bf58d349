// SPDX-License-Identifier: GPL-2.0

//! No lock at all.

use super::scheme::{
    Excludes,
    Footprint,
    Scheme, //
};
use crate::kernel_ext::units::{
    Order,
    PageOffset, //
};
use kernel::prelude::*;

/// "If you remove the serialisation, what do you get in terms of performance and correctness?"
/// (thread 001)
pub(crate) struct Unlocked;

impl Scheme for Unlocked {
    const NAME: &'static str = "none";
    const EXCLUDES: Excludes = Excludes::NOTHING;

    fn new() -> impl PinInit<Self, Error> {
        Ok(Self)
    }

    fn with<R>(
        &self,
        _pgoff: PageOffset,
        order: Order,
        section: impl FnOnce(Order) -> R,
    ) -> Result<R> {
        Ok(section(order))
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            mapping: 0,
            shared: 0,
        }
    }
}
