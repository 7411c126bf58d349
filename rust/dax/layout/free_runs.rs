// SPDX-License-Identifier: GPL-2.0

//! Which pages of a region belong to no device.

use crate::dax::{
    layout::extents::Run,
    order::Order, //
};
use kernel::prelude::*;

/// The free pages of a region.
///
/// # Invariants
///
/// The runs are in the order of the pages; none is empty, and between two there is a page that is not
/// free.
pub(crate) struct FreeRuns {
    /// The page frame of the region's first page.
    base: usize,
    free: KVec<Run>,
    /// So many calls of [`FreeRuns::give`] are to come, for which there is room.
    promised: usize,
}

impl FreeRuns {
    /// All of the `pages` pages from the page frame `base` on. Errors: `ENOMEM`.
    pub(crate) fn new(base: usize, pages: usize) -> Result<Self> {
        let mut free = KVec::new();
        if pages != 0 {
            free.push(Run { first: 0, pages }, GFP_KERNEL)?;
        }
        Ok(Self {
            base,
            free,
            promised: 0,
        })
    }

    /// The number of free pages.
    pub(crate) fn available(&self) -> usize {
        self.free.iter().map(|run| run.pages).sum()
    }

    /// Takes `pages` pages, a multiple of `align`, for the page offset `pgoff` of a device whose last page
    /// is before the page `near` of the region, in as few runs as it can.
    ///
    /// Errors: `ENOSPC` when there are not so many, `ENOMEM`; nothing is taken then.
    pub(crate) fn take_all(
        &mut self,
        pages: usize,
        align: Order,
        pgoff: usize,
        near: Option<usize>,
    ) -> Result<KVec<Run>> {
        let mut runs: KVec<Run> = KVec::new();
        let mut taken = 0;
        while taken < pages {
            let near = runs.last().map(|run| run.first + run.pages).or(near);
            let run = runs
                .reserve(1, GFP_KERNEL)
                .map_err(Error::from)
                .and_then(|()| self.take(pages - taken, align, pgoff + taken, near));
            match run {
                Ok(run) => {
                    taken += run.pages;
                    let _ = runs.push_within_capacity(run);
                }
                Err(error) => {
                    self.give_back(&runs);
                    return Err(error);
                }
            }
        }
        Ok(runs)
    }

    /// Takes a run of at most `pages` pages, that and its page frames a multiple of `align`, for the page
    /// offset `pgoff` of a device: the pages from `near` on, if they are free; else the first run that
    /// has so many; else the longest.
    ///
    /// Where it may choose, it chooses so that 2 MiB pages of the device are some of the media.
    ///
    /// Errors: `ENOSPC` when there is none; `ENOMEM`.
    fn take(
        &mut self,
        pages: usize,
        align: Order,
        pgoff: usize,
        near: Option<usize>,
    ) -> Result<Run> {
        let base = self.base;
        // What can be had of a free run.
        let fit = |run: &Run, modulus: usize| {
            let skip = pgoff.wrapping_sub(base + run.first) & (modulus - 1);
            let left = run.pages.checked_sub(skip)?;
            let pages = align.align_down(left.min(pages));
            (pages != 0).then_some(Run {
                first: run.first + skip,
                pages,
            })
        };
        let congruent = if pages < Order::PMD.pages() {
            align.pages()
        } else {
            align.pages().max(Order::PMD.pages())
        };
        // Page offsets are multiples of the alignment, and so is then what is congruent to them.
        let whole = |modulus| {
            self.free
                .iter()
                .filter_map(move |run| fit(run, modulus))
                .find(move |run| run.pages == align.align_down(pages))
        };
        let next = near.and_then(|near| {
            let run = self.free.iter().find(|run| run.first == near)?;
            fit(run, align.pages())
        });
        let longest = || {
            let runs = self.free.iter().filter_map(|run| fit(run, align.pages()));
            runs.max_by_key(|run| run.pages)
        };
        let found = next
            .or_else(|| whole(congruent))
            .or_else(|| whole(align.pages()))
            .or_else(longest)
            .ok_or(ENOSPC)?;
        self.remove(found)?;
        Ok(found)
    }

    /// Takes exactly the pages of `wanted`.
    ///
    /// Errors: `EBUSY` when one of them is not free, `ENOMEM`; nothing is taken then.
    pub(crate) fn take_run(&mut self, wanted: Run) -> Result {
        // Free pages that follow each other are in one run, by the type invariants.
        let free = self.free.iter().any(|run| {
            let skip = wanted.first.checked_sub(run.first);
            let left = skip.and_then(|skip| run.pages.checked_sub(skip));
            left.is_some_and(|left| wanted.pages <= left)
        });
        if !free {
            return Err(EBUSY);
        }
        self.remove(wanted)
    }

    /// Takes `taken`, which lies in one free run.
    fn remove(&mut self, taken: Run) -> Result {
        // Two pieces may be left of one, and it may come back.
        self.free.reserve(self.promised + 2, GFP_KERNEL)?;
        let index = self.free.partition_point(|run| run.first <= taken.first);
        let Some(index) = index.checked_sub(1) else {
            return Err(ENOSPC);
        };
        let Some(run) = self.free.get_mut(index) else {
            return Err(ENOSPC);
        };
        let before = taken.first - run.first;
        let behind = Run {
            first: taken.first + taken.pages,
            pages: run.pages - before - taken.pages,
        };
        // INVARIANT: What was taken lies between the two.
        match (before, behind.pages) {
            (0, 0) => {
                let _ = self.free.remove(index);
            }
            (0, _) => *run = behind,
            (_, 0) => run.pages = before,
            _ => {
                run.pages = before;
                // Reserved above.
                let _ = self.free.insert_within_capacity(index + 1, behind);
            }
        }
        Ok(())
    }

    /// Makes sure that `runs` calls of [`FreeRuns::give`] need no memory. Errors: `ENOMEM`.
    pub(crate) fn promise(&mut self, runs: usize) -> Result {
        self.free.reserve(self.promised + runs, GFP_KERNEL)?;
        self.promised += runs;
        Ok(())
    }

    /// Takes a promise of `runs` calls back.
    pub(crate) fn unpromise(&mut self, runs: usize) {
        self.promised = self.promised.saturating_sub(runs);
    }

    /// Gives back a run, or a part of one, as was [promised](FreeRuns::promise).
    pub(crate) fn give(&mut self, given: Run) {
        self.promised = self.promised.saturating_sub(1);
        self.insert(given);
    }

    /// Gives back what [`FreeRuns::take_all`] or [`FreeRuns::take_run`] has just given, with no other call in
    /// between.
    pub(crate) fn give_back(&mut self, runs: &[Run]) {
        for run in runs {
            self.insert(*run);
        }
    }

    fn insert(&mut self, given: Run) {
        let index = self.free.partition_point(|run| run.first < given.first);
        let end = given.first + given.pages;
        let joins_next = self.free.get(index).is_some_and(|run| run.first == end);
        let previous = index.checked_sub(1).filter(|&previous| {
            let run = self.free.get(previous);
            run.is_some_and(|run| run.first + run.pages == given.first)
        });
        // INVARIANT: What touches is joined.
        let next_pages = match joins_next {
            true => self.free.get(index).map_or(0, |run| run.pages),
            false => 0,
        };
        match (previous, joins_next) {
            (Some(previous), _) => {
                if let Some(run) = self.free.get_mut(previous) {
                    run.pages += given.pages + next_pages;
                }
                if joins_next {
                    let _ = self.free.remove(index);
                }
            }
            (None, true) => {
                if let Some(run) = self.free.get_mut(index) {
                    *run = Run {
                        first: given.first,
                        pages: given.pages + next_pages,
                    };
                }
            }
            (None, false) => {
                if self.free.insert_within_capacity(index, given).is_err() {
                    kernel::pr_warn_once!("no room to note free pages\n");
                }
            }
        }
    }
}
