// SPDX-License-Identifier: GPL-2.0

//! The pages of a region that belong to no device.

use crate::dax::layout::extents::Run;
use crate::kernel_ext::units::{
    Order,
    PageOffset,
    Pages,
    Pfn,
    RegionPage, //
};
use kernel::prelude::*;

/// The free pages of a region.
///
/// # Invariants
///
/// The runs are sorted by page. None is empty, and between two runs there is a page that is not
/// free.
pub(crate) struct FreeRuns {
    /// The page frame of the region's first page.
    base: Pfn,
    free: KVec<Run>,
    /// The number of future calls of [`FreeRuns::give`] for which room is reserved.
    promised: usize,
}

impl FreeRuns {
    /// Makes the list of a region without devices: all `pages` pages from the page frame `base`.
    /// Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new(base: Pfn, pages: Pages) -> Result<Self> {
        let mut free = KVec::new();
        if !pages.is_zero() {
            let first = RegionPage::new(0);
            free.push(Run { first, pages }, GFP_KERNEL)?;
        }
        Ok(Self {
            base,
            free,
            promised: 0,
        })
    }

    /// Returns the number of free pages.
    pub(crate) fn available(&self) -> Pages {
        self.free.iter().map(|run| run.pages).sum()
    }

    /// Takes `pages` pages, a multiple of `align`, in as few runs as possible. They are for the
    /// page offset `pgoff` of a device whose last page lies before the region's page `near`.
    ///
    /// Sleeps. Errors: `ENOSPC` if there are not enough, `ENOMEM`. Nothing is taken then.
    pub(crate) fn take_all(
        &mut self,
        pages: Pages,
        align: Order,
        pgoff: PageOffset,
        near: Option<RegionPage>,
    ) -> Result<KVec<Run>> {
        let mut runs: KVec<Run> = KVec::new();
        let mut taken = Pages::ZERO;
        while taken < pages {
            let near = runs.last().map(Run::behind).or(near);
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

    /// Takes a run of at most `pages` pages for the page offset `pgoff` of a device. Its length and
    /// its page frames are multiples of `align`. Preferred are the pages from `near`, then the
    /// first run of that length, then the longest run.
    ///
    /// Among several places, one is chosen where 2 MiB pages of the device are 2 MiB pages of the
    /// media.
    ///
    /// Errors: `ENOSPC` if there is none, `ENOMEM`.
    fn take(
        &mut self,
        pages: Pages,
        align: Order,
        pgoff: PageOffset,
        near: Option<RegionPage>,
    ) -> Result<Run> {
        let base = self.base;
        // The part of a free run that can be taken.
        let fit = |run: &Run, modulus: Order| {
            let first = base + run.first.pages_before();
            let skip = pgoff.get().wrapping_sub(first.get()) & (modulus.pages().get() - 1);
            let skip = Pages::new(skip);
            let left = run.pages.checked_sub(skip)?;
            let pages = left.min(pages).align_down(align);
            (!pages.is_zero()).then_some(Run {
                first: run.first + skip,
                pages,
            })
        };
        let congruent = if pages < Order::PMD.pages() {
            align
        } else {
            align.max(Order::PMD)
        };
        // Page offsets are multiples of the alignment, so pages congruent to them are, too.
        let whole = |modulus| {
            self.free
                .iter()
                .filter_map(move |run| fit(run, modulus))
                .find(move |run| run.pages == pages.align_down(align))
        };
        let next = near.and_then(|near| {
            let run = self.free.iter().find(|run| run.first == near)?;
            fit(run, align)
        });
        let longest = || {
            let runs = self.free.iter().filter_map(|run| fit(run, align));
            runs.max_by_key(|run| run.pages)
        };
        let found = next
            .or_else(|| whole(congruent))
            .or_else(|| whole(align))
            .or_else(longest)
            .ok_or(ENOSPC)?;
        self.remove(found)?;
        Ok(found)
    }

    /// Takes exactly the pages of `wanted`.
    ///
    /// Sleeps. Errors: `EBUSY` if one of them is not free, `ENOMEM`. Nothing is taken then.
    pub(crate) fn take_run(&mut self, wanted: Run) -> Result {
        // By the type invariants, consecutive free pages are in one run.
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

    /// Takes `taken`, which lies in one free run. Errors: `ENOMEM`.
    fn remove(&mut self, taken: Run) -> Result {
        // One run may become two, and `taken` may be given back.
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
            first: taken.behind(),
            pages: run.pages - before - taken.pages,
        };
        // INVARIANT: The pages that were taken lie between the two.
        match (before.get(), behind.pages.get()) {
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

    /// Reserves room for `runs` calls of [`FreeRuns::give`]. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn promise(&mut self, runs: usize) -> Result {
        self.free.reserve(self.promised + runs, GFP_KERNEL)?;
        self.promised += runs;
        Ok(())
    }

    /// Drops the reservation for `runs` calls.
    pub(crate) fn unpromise(&mut self, runs: usize) {
        self.promised = self.promised.saturating_sub(runs);
    }

    /// Gives back a run, or a part of one, as [promised](FreeRuns::promise). Needs no memory.
    pub(crate) fn give(&mut self, given: Run) {
        self.promised = self.promised.saturating_sub(1);
        self.insert(given);
    }

    /// Gives back what the latest call, of [`FreeRuns::take_all`] or [`FreeRuns::take_run`], has
    /// taken.
    pub(crate) fn give_back(&mut self, runs: &[Run]) {
        for run in runs {
            self.insert(*run);
        }
    }

    fn insert(&mut self, given: Run) {
        let index = self.free.partition_point(|run| run.first < given.first);
        let end = given.behind();
        let joins_next = self.free.get(index).is_some_and(|run| run.first == end);
        let previous = index.checked_sub(1).filter(|&previous| {
            let run = self.free.get(previous);
            run.is_some_and(|run| run.behind() == given.first)
        });
        // INVARIANT: Adjacent runs are joined.
        let next_pages = match joins_next {
            true => self.free.get(index).map_or(Pages::ZERO, |run| run.pages),
            false => Pages::ZERO,
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
                    kernel::pr_warn_once!("the list of free pages is full: some cannot be allocated until the region is bound again, please report this bug\n");
                }
            }
        }
    }
}
