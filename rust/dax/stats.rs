// SPDX-License-Identifier: GPL-2.0

//! The faults of a device, counted.

use crate::kernel_ext::{
    mm::fault::{
        FaultResult,
        Level, //
    },
    percpu::{
        Counters,
        Event, //
    }, //
};
use kernel::prelude::*;

/// A fault at a level, with its result.
#[derive(Clone, Copy)]
struct Fault(Level, FaultResult);

impl Event for Fault {
    const NUMBER: usize = Level::NUMBER * FaultResult::NUMBER;

    fn index(self) -> usize {
        self.0 as usize * FaultResult::NUMBER + self.1 as usize
    }
}

/// The faults of a device, by level and result.
pub(crate) struct Faults(Counters<Fault>);

impl Faults {
    /// Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Counters::new()?))
    }

    /// Counts one fault.
    pub(crate) fn count(&self, level: Level, result: FaultResult) {
        self.0.inc(Fault(level, result));
    }

    /// Returns the number of faults at `level` with that result.
    pub(crate) fn get(&self, level: Level, result: FaultResult) -> u64 {
        self.0.get(Fault(level, result))
    }

    /// Returns the number of faults at all levels with that result.
    pub(crate) fn total(&self, result: FaultResult) -> u64 {
        let levels = [Level::Pte, Level::Pmd, Level::Pud];
        levels.map(|level| self.get(level, result)).iter().sum()
    }
}
