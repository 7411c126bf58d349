// SPDX-License-Identifier: GPL-2.0

//! What is asked for: `measure=throughput scheme=range threads=4 contention=full ...`

use crate::kernel_ext::units::{
    Order,
    PageOffset, //
};
use kernel::prelude::*;

/// The longest line that is taken.
pub(crate) const MAX_LEN: usize = 512;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// The time of uncontended pairs of lock and unlock: at pages that were never locked, and again.
    Pairs,
    /// The memory of the locks, and what locked pages leave behind.
    Memory,
    /// The time of the work in and outside of the critical section.
    Work,
    /// Pairs by several threads, for a given time or of a given number.
    Throughput,
}

/// How much the threads want the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contention {
    /// Each has 4 MiB of its own.
    None,
    /// All choose among 8 pages, in 4 ranges of 2 MiB.
    Some,
    /// All want the same page; if there are ranges of 2 MiB, a page of the same.
    Full,
}

/// A measurement.
pub(crate) struct Request {
    pub(crate) measure: Measure,
    /// The name of the scheme.
    pub(crate) scheme: [u8; 32],
    /// The order of the ranges (`Pairs`, `Memory`).
    pub(crate) order: Order,
    /// How many ranges (`Pairs`, `Memory`), rounds of work (`Work`), or pairs of each thread where no
    /// time is given (`Throughput`).
    pub(crate) count: usize,
    pub(crate) threads: usize,
    /// The node whose CPUs they run on; on all CPUs if that is none.
    pub(crate) node: Option<usize>,
    /// For how long, if that is not 0.
    pub(crate) millis: u32,
    pub(crate) contention: Contention,
    /// Of 100 ranges, how many are of 2 MiB.
    pub(crate) huge: u32,
    /// The order of the ranges that are locked once before the threads start.
    pub(crate) populate: Option<Order>,
    /// Rounds of work in the critical section.
    pub(crate) inside: u32,
    /// Rounds of work after each.
    pub(crate) outside: u32,
    /// Microseconds to sleep in the critical section, so that others run meanwhile.
    pub(crate) nap: u32,
    /// Whether to look for two holders of one page, and for streaks. That costs time.
    pub(crate) check: bool,
}

impl Request {
    /// Errors: `EINVAL`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        let mut this = Self {
            measure: Measure::Throughput,
            scheme: [0; 32],
            order: Order::PTE,
            count: 1,
            threads: 1,
            node: None,
            millis: 0,
            contention: Contention::None,
            huge: 0,
            populate: None,
            inside: 0,
            outside: 0,
            nap: 0,
            check: false,
        };
        for word in text.split_ascii_whitespace() {
            let (key, value) = word.split_once('=').ok_or(EINVAL)?;
            match key {
                "measure" => {
                    this.measure = match value {
                        "pairs" => Measure::Pairs,
                        "memory" => Measure::Memory,
                        "work" => Measure::Work,
                        "throughput" => Measure::Throughput,
                        _ => return Err(EINVAL),
                    }
                }
                "scheme" => {
                    let name = this.scheme.get_mut(..value.len()).ok_or(EINVAL)?;
                    name.copy_from_slice(value.as_bytes());
                }
                "order" => this.order = order(value)?.ok_or(EINVAL)?,
                "count" => this.count = number(value, 1, 1 << 24)?,
                "threads" => this.threads = number(value, 1, 256)?,
                "node" => this.node = Some(number(value, 0, usize::MAX)?),
                "millis" => this.millis = number(value, 0, 10_000)?,
                "contention" => {
                    this.contention = match value {
                        "none" => Contention::None,
                        "some" => Contention::Some,
                        "full" => Contention::Full,
                        _ => return Err(EINVAL),
                    }
                }
                "huge" => this.huge = number(value, 0, 100)?,
                "populate" => this.populate = order(value)?,
                "inside" => this.inside = number(value, 0, 1 << 20)?,
                "outside" => this.outside = number(value, 0, 1 << 20)?,
                "nap" => this.nap = number(value, 0, 10_000)?,
                "check" => this.check = number(value, 0u8, 1)? == 1,
                _ => return Err(EINVAL),
            }
        }
        Ok(this)
    }

    /// The name of the scheme that is asked for.
    pub(crate) fn scheme(&self) -> &[u8] {
        let mut parts = self.scheme.split(|&byte| byte == 0);
        parts.next().unwrap_or_default()
    }
}

/// What is written to `step`.
pub(crate) enum Step<'a> {
    /// `scheme=range`: a mapping of which nothing is locked takes the place of the last one.
    Begin { scheme: &'a str },
    /// `page=5 warm-up=0`: lock this page and unlock it.
    Lock { pgoff: PageOffset, warm_up: bool },
}

impl<'a> Step<'a> {
    /// Errors: `EINVAL`.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self> {
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        let (mut page, mut warm_up) = (None, false);
        for word in text.split_ascii_whitespace() {
            match word.split_once('=').ok_or(EINVAL)? {
                ("scheme", scheme) => return Ok(Self::Begin { scheme }),
                // below 1 TiB, as the schemes expect
                ("page", value) => page = Some(number(value, 0, (1 << 28) - 1)?),
                ("warm-up", value) => warm_up = number(value, 0u8, 1)? == 1,
                _ => return Err(EINVAL),
            }
        }
        Ok(Self::Lock {
            pgoff: PageOffset::new(page.ok_or(EINVAL)?),
            warm_up,
        })
    }
}

fn number<T: core::str::FromStr + PartialOrd>(text: &str, least: T, most: T) -> Result<T> {
    let number = text.parse().map_err(|_| EINVAL)?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(EINVAL)
    }
}

fn order(text: &str) -> Result<Option<Order>> {
    match text {
        "none" => Ok(None),
        "4k" => Ok(Some(Order::PTE)),
        "2m" => Ok(Some(Order::PMD)),
        _ => Err(EINVAL),
    }
}
