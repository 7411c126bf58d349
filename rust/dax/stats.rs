// SPDX-License-Identifier: GPL-2.0

//! Counters.

use crate::dax::counter::Counter;
use crate::kernel_ext::mm::fault::{
    FaultResult,
    Level, //
};

/// Faults at one level, by result.
pub(crate) struct LevelFaults {
    pub(crate) mapped: Counter,
    pub(crate) fallback: Counter,
    pub(crate) sigbus: Counter,
}

impl LevelFaults {
    const fn new() -> Self {
        Self {
            mapped: Counter::new(),
            fallback: Counter::new(),
            sigbus: Counter::new(),
        }
    }
}

/// The faults of a device, by level and result.
pub(crate) struct Faults {
    pub(crate) pte: LevelFaults,
    pub(crate) pmd: LevelFaults,
    pub(crate) pud: LevelFaults,
    pub(crate) raced: Counter,
    pub(crate) oom: Counter,
    pub(crate) hwpoison: Counter,
}

impl Faults {
    pub(crate) const fn new() -> Self {
        Self {
            pte: LevelFaults::new(),
            pmd: LevelFaults::new(),
            pud: LevelFaults::new(),
            raced: Counter::new(),
            oom: Counter::new(),
            hwpoison: Counter::new(),
        }
    }

    /// Counts one fault.
    pub(crate) fn count(&self, level: Level, result: FaultResult) {
        let faults = match level {
            Level::Pte => &self.pte,
            Level::Pmd => &self.pmd,
            Level::Pud => &self.pud,
        };
        match result {
            FaultResult::Mapped => &faults.mapped,
            FaultResult::Fallback => &faults.fallback,
            FaultResult::Sigbus => &faults.sigbus,
            FaultResult::Raced => &self.raced,
            FaultResult::Oom => &self.oom,
            FaultResult::Hwpoison => &self.hwpoison,
        }
        .inc();
    }
}
