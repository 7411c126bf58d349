// SPDX-License-Identifier: GPL-2.0

//! One lock and unlock at a time, in the task that asks for it.
//!
//! For the lines of the cache that move between CPUs: tasks on several CPUs take turns, and QEMU's
//! plugin records what each of them uses between the lock and the unlock.

use super::{
    request::Step,
    scheme::Scheme, //
};
use crate::kernel_ext::{
    marks,
    units::{
        Order,
        PageOffset, //
    }, //
};
use core::hint::black_box;
use kernel::prelude::*;

/// A mapping whose scheme is only known at run time.
pub(crate) trait Steps: Send {
    /// Locks and unlocks 4 KiB.
    ///
    /// Errors: `ENOMEM`.
    fn step(&self, pgoff: PageOffset, warm_up: bool) -> Result;
}

/// A mapping on cache lines of its own, so that no line moves because of what lies beside it.
#[pin_data]
#[repr(align(64))]
struct Apart<S: Scheme> {
    #[pin]
    scheme: S,
}

struct Mapping<S: Scheme>(Pin<KBox<Apart<S>>>);

impl<S: Scheme> Steps for Mapping<S> {
    fn step(&self, pgoff: PageOffset, warm_up: bool) -> Result {
        let scheme = &self.0.scheme;
        marks::recorded(warm_up, || {
            scheme.with(pgoff, Order::PTE, |_| {
                black_box(());
            })
        })
    }
}

/// A mapping of which nothing is locked. Errors: `ENOMEM`.
pub(crate) fn begin<S: Scheme + 'static>() -> Result<KBox<dyn Steps>> {
    let apart = KBox::pin_init(try_pin_init!(Apart { scheme <- S::new() }), GFP_KERNEL)?;
    Ok(KBox::new(Mapping(apart), GFP_KERNEL)?)
}

/// Does what is asked for.
///
/// Errors: `ENOENT` if there is no such scheme, `ENODEV` if there is no mapping yet; `ENOMEM`.
pub(crate) fn run(mapping: &mut Option<KBox<dyn Steps>>, step: &Step<'_>) -> Result {
    match *step {
        Step::Begin { scheme } => {
            *mapping = None;
            *mapping = Some(super::measure::named(scheme.as_bytes())?.begin()?);
            Ok(())
        }
        Step::Lock { pgoff, warm_up } => mapping.as_ref().ok_or(ENODEV)?.step(pgoff, warm_up),
    }
}
