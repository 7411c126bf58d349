// SPDX-License-Identifier: GPL-2.0

//! Where the mappings of an inode may have PUD leaves.
//!
//! The kernel's rmap walk (`mapping_wrprotect_range()`) does not know PUD leaves: it takes the
//! media under one for a page table (`page_vma_mapped_walk()`, as of Linux 7.3). And unmapping a
//! part of a PUD leaf needs the mmap lock (`zap_pud_range()`). So an inode records for each aligned
//! 1 GiB whether a leaf was set there. Tasks that set one and tasks that walk exclude each other
//! without waiting.

use crate::kernel_ext::units::{
    Order,
    PageOffset,
    Pages, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    }, //
};

/// A leaf may be there.
const PRESENT: u64 = 1 << 63;
/// How often a leaf was set there, modulo a power of two.
const GENERATION: u64 = 1 << 48;
/// Counts the tasks that are setting a leaf. A task sets one at a time, and there are fewer than
/// 2^22 tasks.
const INSERTING: u64 = 1 << 24;
/// Counts the tasks that walk, where no leaf may be.
const WALKING: u64 = 1;

const fn inserting(state: u64) -> u64 {
    state & (GENERATION - INSERTING)
}

const fn walking(state: u64) -> u64 {
    state & (INSERTING - WALKING)
}

/// The state of each aligned 1 GiB of an inode.
///
/// # Invariants
///
/// `PRESENT` is set where the mappings have a PUD leaf, or a task is setting one. It is clear while
/// a task walks.
pub(in crate::kernel_ext) struct Puds {
    states: KVec<Atomic<u64>>,
}

impl Puds {
    /// Makes the states for `pages` pages, past which there are no leaves. Sleeps. Errors:
    /// `ENOMEM`.
    pub(in crate::kernel_ext) fn new(pages: Pages) -> Result<Self> {
        let leaves = pages.get() >> Order::PUD.get();
        let mut states = KVec::with_capacity(leaves, GFP_KERNEL)?;
        for _ in 0..leaves {
            states.push(Atomic::new(0), GFP_KERNEL)?;
        }
        // INVARIANT: Nothing is mapped yet.
        Ok(Self { states })
    }

    fn state(&self, pgoff: PageOffset) -> Option<&Atomic<u64>> {
        self.states.get(pgoff.get() >> Order::PUD.get())
    }

    fn is_present(&self, pgoff: PageOffset) -> bool {
        self.state(pgoff)
            .is_some_and(|state| state.load(Relaxed) & PRESENT != 0)
    }

    /// Announces that a leaf will be set around `pgoff`. `None` if a task walks there.
    pub(in crate::kernel_ext) fn insert(&self, pgoff: PageOffset) -> Option<Inserting<'_>> {
        let state = self.state(pgoff)?;
        let mut old = state.load(Relaxed);
        loop {
            if walking(old) != 0 {
                return None;
            }
            // The generation wraps into the topmost bit, which is set anyway.
            let new = old.wrapping_add(GENERATION + INSERTING) | PRESENT;
            // Full: orders setting the leaf after this, and pairs with `walk()` and `unmap()`.
            match state.cmpxchg(old, new, Full) {
                Ok(_) => return Some(Inserting(state)),
                Err(now) => old = now,
            }
        }
    }

    /// Announces that `pages` pages at `pgoff` will be walked. `None` if a leaf may map one of
    /// them.
    pub(in crate::kernel_ext) fn walk(
        &self,
        pgoff: PageOffset,
        pages: Pages,
    ) -> Option<Walking<'_>> {
        let last = pgoff.checked_add(pages.checked_sub(Pages::ONE)?)?;
        if pgoff.align_down(Order::PUD) != last.align_down(Order::PUD) {
            return None;
        }
        let Some(state) = self.state(pgoff) else {
            return Some(Walking(None));
        };
        let mut old = state.load(Relaxed);
        loop {
            if old & PRESENT != 0 {
                return None;
            }
            // Full: orders the walk after this. If there was a leaf, `unmap()` has removed it.
            match state.cmpxchg(old, old + WALKING, Full) {
                Ok(_) => return Some(Walking(Some(state))),
                Err(now) => old = now,
            }
        }
    }

    /// Unmaps the pages `pgoff..end`, and whole leaves, by calling `zap` with an offset and a
    /// number of pages.
    pub(in crate::kernel_ext) fn unmap(
        &self,
        pgoff: PageOffset,
        end: PageOffset,
        zap: impl FnOnce(PageOffset, Pages),
    ) {
        let (mut first, mut behind) = (pgoff, end);
        if self.is_present(first) {
            first = first.align_down(Order::PUD);
        }
        if end.before().is_some_and(|last| self.is_present(last)) {
            behind = end.align_up(Order::PUD).unwrap_or(end);
        }
        let whole = first.is_aligned(Order::PUD) && behind - first == Order::PUD.pages();
        let state = self.state(first).filter(|_| whole);
        let old = state.map_or(0, |state| state.load(Relaxed));
        zap(first, behind - first);
        if let Some(state) = state.filter(|_| old & PRESENT != 0 && inserting(old) == 0) {
            // No leaf was set meanwhile, or the generation differs. Full: after the removal.
            let _ = state.cmpxchg(old, old & !PRESENT, Full);
        }
    }
}

/// A PUD leaf is being set.
#[must_use = "the leaf is taken to be there when this is dropped"]
pub(in crate::kernel_ext) struct Inserting<'a>(&'a Atomic<u64>);

impl Drop for Inserting<'_> {
    fn drop(&mut self) {
        let _ = self.0.fetch_sub(INSERTING, Full);
    }
}

/// No PUD leaf is set while this exists.
#[must_use = "leaves may come when this is dropped"]
pub(in crate::kernel_ext) struct Walking<'a>(Option<&'a Atomic<u64>>);

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.0 {
            let _ = state.fetch_sub(WALKING, Full);
        }
    }
}

#[kunit_tests(rdax_puds)]
mod tests {
    use super::*;

    /// The number of pages of a leaf.
    const PAGES: usize = Order::PUD.pages().get();

    fn puds(leaves: usize) -> Result<Puds> {
        Puds::new(Pages::new(leaves * PAGES))
    }

    fn insert(puds: &Puds, pgoff: usize) -> Option<Inserting<'_>> {
        puds.insert(PageOffset::new(pgoff))
    }

    fn walk(puds: &Puds, pgoff: usize, pages: usize) -> Option<Walking<'_>> {
        puds.walk(PageOffset::new(pgoff), Pages::new(pages))
    }

    fn unmap_during(
        puds: &Puds,
        pgoff: usize,
        pages: usize,
        meanwhile: impl FnOnce(),
    ) -> (usize, usize) {
        let mut zapped = (0, 0);
        let first = PageOffset::new(pgoff);
        puds.unmap(first, first + Pages::new(pages), |first, pages| {
            meanwhile();
            zapped = (first.get(), pages.get());
        });
        zapped
    }

    fn unmap(puds: &Puds, pgoff: usize, pages: usize) -> (usize, usize) {
        unmap_during(puds, pgoff, pages, || ())
    }

    /// While a task walks no leaf is set, and where a leaf may be no task walks.
    #[test]
    fn exclusion() -> Result {
        let puds = puds(3)?;
        let walking = walk(&puds, PAGES + 5, 1);
        assert!(walking.is_some());
        assert!(walk(&puds, PAGES, 512).is_some());
        assert!(insert(&puds, PAGES).is_none());
        // Another 1 GiB.
        let inserting = insert(&puds, 2 * PAGES);
        assert!(inserting.is_some());
        assert!(walk(&puds, 2 * PAGES + 7, 1).is_none());
        drop(walking);
        assert!(insert(&puds, PAGES).is_some());
        drop(inserting);
        // The leaf stays after the task that set it is done.
        assert!(walk(&puds, 2 * PAGES + 7, 1).is_none());
        assert!(walk(&puds, PAGES, 1).is_none());
        assert!(walk(&puds, 0, 1).is_some());
        // A range across two, and an empty range.
        assert!(walk(&puds, PAGES - 1, 2).is_none());
        assert!(walk(&puds, 0, 0).is_none());
        // There is no leaf past the end.
        assert!(insert(&puds, 3 * PAGES).is_none());
        assert!(walk(&puds, 3 * PAGES, 1).is_some());
        Ok(())
    }

    /// Leaves are removed as a whole. One is known to be gone only if all of it was unmapped and no
    /// other was set meanwhile.
    #[test]
    fn removal() -> Result {
        let puds = puds(3)?;
        assert_eq!(unmap(&puds, PAGES + 5, 1), (PAGES + 5, 1));
        drop(insert(&puds, PAGES));
        assert_eq!(unmap(&puds, PAGES + 5, 1), (PAGES, PAGES));
        assert!(walk(&puds, PAGES, 1).is_some());
        drop(insert(&puds, PAGES));
        assert_eq!(unmap(&puds, PAGES - 1, 2), (PAGES - 1, PAGES + 1));
        // Not known to be gone, which is safe.
        assert!(walk(&puds, PAGES, 1).is_none());

        // Another leaf is set while one is removed, and is still there afterwards.
        unmap_during(&puds, PAGES, PAGES, || drop(insert(&puds, PAGES)));
        assert!(walk(&puds, PAGES, 1).is_none());
        // Another leaf is being set.
        let inserting = insert(&puds, PAGES);
        assert_eq!(unmap(&puds, PAGES, PAGES), (PAGES, PAGES));
        drop(inserting);
        assert!(walk(&puds, PAGES, 1).is_none());
        assert_eq!(unmap(&puds, PAGES, PAGES), (PAGES, PAGES));
        assert!(walk(&puds, PAGES, 1).is_some());
        Ok(())
    }

    /// The same, after the generation has wrapped.
    #[test]
    fn generations() -> Result {
        let puds = puds(1)?;
        for _ in 0..(1 << 16) + 3 {
            drop(insert(&puds, 0));
        }
        assert!(walk(&puds, 0, 1).is_none());
        assert_eq!(unmap(&puds, 0, PAGES), (0, PAGES));
        let walking = walk(&puds, 0, 1);
        assert!(walking.is_some());
        assert!(insert(&puds, 0).is_none());
        Ok(())
    }
}
