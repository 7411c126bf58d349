// SPDX-License-Identifier: GPL-2.0

//! The index of a device: its entries by page offset.
//!
//! The index has a part for each aligned 1 GiB of the device. Once a part had an entry of less than
//! 1 GiB, it has an XArray for each 16 MiB, a *stripe*. So tasks in different places neither contend
//! for an `xa_lock` nor write a cache line that the others use. An entry of 1 GiB is in an XArray of
//! its own. A part has either that or smaller entries:
//!
//! - A task that makes the first entry of a stripe sets the stripe's bit in `used`, and then looks
//!   for an entry of 1 GiB.
//! - A task that makes an entry of 1 GiB stores it, and then looks at `used`. For each bit it looks
//!   whether the stripe has an entry, under the lock of the stripe.
//!
//! Each has a full memory barrier between its two steps, so at least one of them sees the other
//! (`Documentation/litmus-tests/`). If both do, the task with the entry of 1 GiB gives way.
//!
//! `used` and `dirty` also tell a search where to look. A bit may be set although its stripe has
//! nothing: only a search clears it. So a task that makes and removes the only entry of a stripe
//! again and again does not write this word each time.

use crate::dax::entries::entry::Entry;
use crate::kernel_ext::{
    bits::Bits,
    units::{
        Order,
        PageOffset,
        Pages, //
    },
    xarray::{
        self,
        Guard,
        Mark,
        Slot,
        Unknown,
        XArray,
        XaState, //
    }, //
};
use core::pin::Pin;
use kernel::{
    prelude::*,
    sync::SetOnce, //
};
use pin_init::pin_init_array_from_fn;

/// The number of pages of a stripe, as a shift: 16 MiB. On the host a part has two stripes.
const STRIPE_SHIFT: u32 = if cfg!(test) { 17 } else { 12 };
/// The number of stripes of a part.
const STRIPES: usize = 1 << (Order::PUD.get() - STRIPE_SHIFT);

/// Marks a dirty entry.
const DIRTY: Mark = Mark::Mark0;
/// Marks a hole.
const HOLE: Mark = Mark::Mark1;

/// Which entries a search finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Dirty,
    Hole,
}

/// The entries of 16 MiB, on a cache line of their own.
#[pin_data]
#[repr(align(64))]
struct Stripe {
    #[pin]
    array: XArray<Entry>,
}

/// The stripes of a part.
#[pin_data]
struct Stripes {
    #[pin]
    stripes: [Stripe; STRIPES],
}

impl Stripes {
    /// Makes them without entries, charged to the control group of this task. Sleeps. Errors:
    /// `ENOMEM`.
    fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                stripes <- pin_init_array_from_fn(|_| pin_init!(Stripe { array <- XArray::new() })),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }
}

/// The entries of an aligned 1 GiB, on a cache line of its own.
#[pin_data]
#[repr(align(64))]
struct Part {
    /// The entry of 1 GiB, at index 0.
    #[pin]
    whole: XArray<Entry>,
    /// The smaller entries. Made for the first of them.
    stripes: SetOnce<Pin<KBox<Stripes>>>,
    /// The stripes that may have entries. A bit's lock is that of its stripe.
    used: Bits,
    /// The stripes that may have dirty entries. A bit's lock is that of its stripe.
    dirty: Bits,
}

impl Part {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            whole <- XArray::new(),
            stripes: SetOnce::new(),
            used: Bits::new(),
            dirty: Bits::new(),
        })
    }

    #[inline(always)]
    fn stripe(&self, stripe: u32) -> Option<&XArray<Entry>> {
        // The mask tells the compiler that it is less than `STRIPES`.
        let stripes = self.stripes.as_ref()?;
        Some(&stripes.stripes[stripe as usize & (STRIPES - 1)].array)
    }

    /// Returns the first stripe from `stripe` that a search has to look at.
    fn next_stripe(&self, stripe: u32, which: Which) -> Option<u32> {
        let bits = match which {
            Which::Dirty => self.dirty.get(),
            Which::All | Which::Hole => self.used.get(),
        };
        let rest = bits & u64::MAX.wrapping_shl(stripe);
        (rest != 0).then(|| rest.trailing_zeros())
    }
}

/// The number of parts that are allocated together.
const PARTS: usize = 16;

/// The entries of 16 GiB.
#[pin_data]
struct Parts {
    #[pin]
    parts: [Part; PARTS],
}

/// Memory for an entry that none can be allocated for without sleeping.
///
/// It is allocated where the task holds no lock. What was not used is freed when this is dropped.
pub(crate) struct Spare {
    node: xarray::Spare,
    stripes: Option<Pin<KBox<Stripes>>>,
    /// Stripes were missing, not a node.
    needs_stripes: bool,
}

impl Spare {
    /// Makes one without memory.
    pub(crate) const fn new() -> Self {
        Self::with(xarray::Spare::new())
    }

    /// Makes one with that node.
    pub(crate) const fn with(node: xarray::Spare) -> Self {
        Self {
            node,
            stripes: None,
            needs_stripes: false,
        }
    }

    /// Allocates what the last step lacked, charged to the control group of this task. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn fill(&mut self) -> Result {
        if !core::mem::take(&mut self.needs_stripes) {
            return self.node.fill();
        }
        if self.stripes.is_none() {
            self.stripes = Some(Stripes::new()?);
        }
        Ok(())
    }
}

/// The index needs memory.
pub(crate) struct NoMemory;

/// The entries of a device.
pub(crate) struct Index {
    parts: KVVec<Pin<KBox<Parts>>>,
}

const fn part_of(pgoff: PageOffset) -> usize {
    pgoff.get() >> Order::PUD.get()
}

/// Returns the index in a stripe.
const fn index_of(pgoff: PageOffset) -> usize {
    pgoff.get() & ((1 << STRIPE_SHIFT) - 1)
}

/// Returns the index of the entry of `order` at `start` in its XArray, and its order there.
fn run_of(start: PageOffset, order: Order) -> (usize, u32) {
    match order {
        Order::PUD => (0, 0),
        _ => (index_of(start), order.get()),
    }
}

const fn stripe_of(pgoff: PageOffset) -> u32 {
    ((pgoff.get() >> STRIPE_SHIFT) & (STRIPES - 1)) as u32
}

impl Index {
    /// Makes an empty index for the first `pages` pages. Sleeps. Errors: `ENOMEM`.
    pub(crate) fn new(pages: Pages) -> Result<Self> {
        let number = pages.get().div_ceil(PARTS << Order::PUD.get());
        let mut parts = KVVec::with_capacity(number, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..number {
            let more = pin_init!(Parts {
                parts <- pin_init_array_from_fn(|_| Part::new()),
            });
            parts.push(
                KBox::pin_init(more, GFP_KERNEL_ACCOUNT)?,
                GFP_KERNEL_ACCOUNT,
            )?;
        }
        Ok(Self { parts })
    }

    #[inline(always)]
    fn part(&self, pgoff: PageOffset) -> Option<&Part> {
        let part = part_of(pgoff);
        Some(&self.parts.get(part / PARTS)?.parts[part % PARTS])
    }

    /// Returns the place of the entries of `order` around `pgoff`, where one can be made. Makes what
    /// it lacks if `spare` has that.
    #[inline(always)]
    pub(crate) fn make_place(
        &self,
        pgoff: PageOffset,
        order: Order,
        spare: &mut Spare,
    ) -> Result<Place<'_>, NoMemory> {
        match self.place(pgoff, order) {
            Some(place) => Ok(place),
            None => self.make_stripes(pgoff, order, spare),
        }
    }

    #[cold]
    fn make_stripes(
        &self,
        pgoff: PageOffset,
        order: Order,
        spare: &mut Spare,
    ) -> Result<Place<'_>, NoMemory> {
        spare.needs_stripes = true;
        if let (Some(part), Some(stripes)) = (self.part(pgoff), spare.stripes.take()) {
            // If another task was faster, these are dropped.
            part.stripes.populate(stripes);
        }
        let place = self.place(pgoff, order).ok_or(NoMemory)?;
        spare.needs_stripes = false;
        Ok(place)
    }

    /// Returns the place of the entries of `order` around `pgoff`. `None` if there was never an
    /// entry near it.
    #[inline(always)]
    pub(crate) fn place(&self, pgoff: PageOffset, order: Order) -> Option<Place<'_>> {
        let part = self.part(pgoff)?;
        if order == Order::PUD {
            return Some(Place::whole(part, pgoff));
        }
        let stripe = stripe_of(pgoff);
        let first = PageOffset::new(pgoff.get() >> STRIPE_SHIFT << STRIPE_SHIFT);
        Some(Place {
            part,
            stripe: Some(stripe),
            first,
            xas: XaState::new(part.stripe(stripe)?, index_of(pgoff), order.get()),
        })
    }

    /// Of the entries that `which` names, takes the first that ends after page offset `from` and
    /// begins at or before `last`. Returns what `then` makes of the lock, a page of the entry, and
    /// the entry. If `then` returns `None`, searches again.
    ///
    /// An entry that another task adds meanwhile before the result may be missed.
    pub(crate) fn next<'a, R>(
        &'a self,
        from: PageOffset,
        last: PageOffset,
        which: Which,
        mut then: impl FnMut(Locked<'a>, PageOffset, Entry) -> Option<R>,
    ) -> Option<R> {
        let mut at = from;
        // The part whose entry of 1 GiB is not one of them.
        let mut looked = None;
        loop {
            let place = self.next_place(at, last, which, looked)?;
            at = at.max(place.first);
            let end = place.end();
            let mut locked = place.lock();
            if locked.forget(which) {
                at = end;
                continue;
            }
            locked.set_order(at, Order::PTE);
            match locked.find(last, which) {
                Some((pgoff, entry)) => match then(locked, pgoff, entry) {
                    None => (),
                    done => return done,
                },
                // There may be smaller ones: it was removed, or a fault is about to remove it
                // because of them.
                None if locked.stripe.is_none() => looked = Some(locked.first),
                None => at = end,
            }
        }
    }

    /// Returns the first place that a search from `at` to `last` has to look at.
    ///
    /// The entry of 1 GiB that begins at `looked` was looked at already.
    fn next_place(
        &self,
        mut at: PageOffset,
        last: PageOffset,
        which: Which,
        looked: Option<PageOffset>,
    ) -> Option<Place<'_>> {
        while at <= last {
            let part = self.part(at)?;
            if looked != Some(at.align_down(Order::PUD)) && !part.whole.is_empty() {
                return Some(Place::whole(part, at));
            }
            if let Some(stripe) = part.next_stripe(stripe_of(at), which) {
                let within = Pages::new((stripe as usize) << STRIPE_SHIFT);
                let pgoff = at.align_down(Order::PUD) + within;
                return self.place(pgoff, Order::PTE).filter(|_| pgoff <= last);
            }
            at = at.align_down(Order::PUD) + Order::PUD.pages();
        }
        None
    }

    /// Removes all entries.
    pub(crate) fn clear(&self) {
        for part in self.parts.iter().flat_map(|parts| &parts.parts) {
            part.whole.clear();
            let mut from = Some(0);
            while let Some(stripe) = from.and_then(|from| part.next_stripe(from, Which::All)) {
                if let Some(array) = part.stripe(stripe) {
                    array.clear();
                }
                from = Some(stripe + 1).filter(|&next| next < STRIPES as u32);
            }
        }
    }
}

/// Where the entries of some pages are: a stripe, or the entry of 1 GiB. Not locked.
pub(crate) struct Place<'a> {
    part: &'a Part,
    /// `None` for the entry of 1 GiB.
    stripe: Option<u32>,
    /// The first page, which has the index 0.
    first: PageOffset,
    xas: XaState<'a, Entry>,
}

impl<'a> Place<'a> {
    fn whole(part: &'a Part, pgoff: PageOffset) -> Self {
        Self {
            part,
            stripe: None,
            first: pgoff.align_down(Order::PUD),
            xas: XaState::new(&part.whole, 0, 0),
        }
    }

    /// Returns the page after the last.
    fn end(&self) -> PageOffset {
        let shift = self.stripe.map_or(Order::PUD.get(), |_| STRIPE_SHIFT);
        self.first + Pages::new(1 << shift)
    }

    /// Takes the `xa_lock`.
    #[inline(always)]
    pub(crate) fn lock(&self) -> Locked<'a> {
        self.locked(self.xas.lock())
    }

    /// Same as [`Place::lock`], and goes on with the entry of `order` at `start`, which was found
    /// there, in this place.
    pub(crate) fn lock_found(
        &self,
        found: &Found<'a>,
        start: PageOffset,
        order: Order,
    ) -> Locked<'a> {
        self.locked(found.lock(start, order))
    }

    #[inline(always)]
    fn locked(&self, guard: Guard<'a, Entry>) -> Locked<'a> {
        Locked {
            guard,
            part: self.part,
            stripe: self.stripe,
            first: self.first,
        }
    }
}

/// A [`Place`] with its `xa_lock` held. No task holds two of them.
pub(crate) struct Locked<'a> {
    guard: Guard<'a, Entry>,
    part: &'a Part,
    stripe: Option<u32>,
    first: PageOffset,
}

/// Where a [`Locked`] has found an entry, so that the next step with it needs no walk.
pub(crate) struct Found<'a>(Slot<'a, Entry>);

impl<'a> Found<'a> {
    #[inline(always)]
    fn lock(&self, start: PageOffset, order: Order) -> Guard<'a, Entry> {
        let (index, order) = run_of(start, order);
        self.0.lock(index, order)
    }

    /// Stores `entry` in place of that of its order at `start`, which was found here, and returns
    /// that. Marks stay. Takes the `xa_lock`.
    #[inline(always)]
    pub(crate) fn replace(&self, start: PageOffset, entry: Entry) -> Option<Entry> {
        self.0.replace(|| run_of(start, entry.order()), entry)
    }

    /// Removes the entry of `order` at `start`, which was found here, and returns it. Takes the
    /// `xa_lock`.
    pub(crate) fn erase(&self, start: PageOffset, order: Order) -> Option<Entry> {
        self.lock(start, order).erase()
    }
}

impl<'a> Locked<'a> {
    /// Returns where the walk has found an entry, or has stored one.
    #[inline(always)]
    pub(crate) fn found(&self) -> Found<'a> {
        Found(self.guard.slot())
    }

    /// Returns the first entry that lies in the run of this place or covers it.
    #[inline(always)]
    pub(crate) fn find_conflict(&mut self) -> Option<Entry> {
        self.guard.find_conflict()
    }

    /// Same as [`Locked::find_conflict`], if that needs no call. The error says that it does.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<Option<Entry>, Unknown> {
        self.guard.look()
    }

    /// Whether an entry may be made where [`Locked::find_conflict`] has found none. Not if the part
    /// has an entry of 1 GiB, which covers this stripe.
    #[inline(always)]
    pub(crate) fn claim(&mut self) -> bool {
        match self.stripe {
            Some(stripe) => {
                // A full barrier if the bit was clear. If it was set, a task that makes an entry of
                // 1 GiB takes the lock of this stripe after this task, and sees the new entry.
                self.part.used.set(stripe);
                self.part.whole.is_empty()
            }
            None => true,
        }
    }

    /// Whether there may be smaller entries, after an entry of 1 GiB was stored under this lock.
    #[inline(always)]
    pub(crate) fn may_have_smaller(&self) -> bool {
        // Pairs with the barrier of `claim()`.
        self.part.used.get_after_barrier() != 0
    }

    /// Returns the entry that ends after the walk's first page and begins at or before `last`, and a
    /// page of it.
    #[inline(always)]
    pub(crate) fn find(&mut self, last: PageOffset, which: Which) -> Option<(PageOffset, Entry)> {
        if self.stripe.is_none() {
            let entry = self.guard.find_conflict()?;
            let found = match which {
                Which::All => true,
                Which::Dirty => self.is_dirty(),
                Which::Hole => false,
            };
            return found.then_some((self.first, entry));
        }
        let last = last.checked_sub(self.first)?.get();
        let (index, entry) = match which {
            Which::All => self.guard.find(last),
            Which::Dirty => self.guard.find_marked(last, DIRTY),
            Which::Hole => self.guard.find_marked(last, HOLE),
        }?;
        Some((self.first + Pages::new(index), entry))
    }

    /// Moves the walk to the run of `order` around `pgoff`, which is in this place.
    #[inline(always)]
    pub(crate) fn set_order(&mut self, pgoff: PageOffset, order: Order) {
        if self.stripe.is_some() {
            let index = pgoff.checked_sub(self.first).unwrap_or(Pages::ZERO);
            self.guard.set_order(index.get(), order.get());
        }
    }

    /// Stores `entry` in the run of the walk, in place of all entries there. It is dirty if one of
    /// them was.
    #[inline(always)]
    pub(crate) fn store(&mut self, entry: Entry, spare: &mut Spare) -> Result<(), NoMemory> {
        self.guard
            .store(entry, &mut spare.node)
            .map(|_| ())
            .map_err(|_| NoMemory)
    }

    /// Stores `entry` in the run of the walk if [`Locked::look`] has seen that nothing is there, and it
    /// needs no node. Returns whether it did.
    #[inline(always)]
    pub(crate) fn fill(&mut self, entry: Entry) -> bool {
        self.guard.fill(entry)
    }

    /// Stores `entry` in place of the one that the walk has found, and returns that. Marks stay.
    #[inline(always)]
    pub(crate) fn replace(&mut self, entry: Entry) -> Option<Entry> {
        self.guard.replace(entry)
    }

    /// Removes the entry of the walk's run, and returns it.
    #[inline(always)]
    pub(crate) fn erase(&mut self) -> Option<Entry> {
        self.guard.erase()
    }

    /// Whether the entry that the walk has reached is dirty.
    #[inline(always)]
    pub(crate) fn is_dirty(&self) -> bool {
        self.guard.is_marked(DIRTY)
    }

    /// Marks the entry that the walk has reached as dirty.
    #[inline(always)]
    pub(crate) fn set_dirty(&mut self) {
        self.guard.mark(DIRTY, true);
        if let Some(stripe) = self.stripe {
            self.part.dirty.set(stripe);
        }
    }

    /// Marks the entry that the walk has reached as dirty, as a hole, or as neither.
    #[inline(always)]
    pub(crate) fn set_marks(&mut self, dirty: bool, hole: bool) {
        match dirty {
            true => self.set_dirty(),
            false => self.guard.mark(DIRTY, false),
        }
        self.guard.mark(HOLE, hole);
    }

    /// Clears the bit of this stripe that a search for `which` looks at, if there is nothing in all
    /// of it. Returns whether it did.
    fn forget(&mut self, which: Which) -> bool {
        match (self.stripe, which) {
            (Some(stripe), Which::All) if self.guard.is_empty() => self.part.used.clear(stripe),
            (Some(stripe), Which::Dirty) if !self.guard.has_mark(DIRTY) => {
                self.part.dirty.clear(stripe);
            }
            _ => return false,
        }
        true
    }
}

/// Whether the aligned 1 GiB around `pgoff` has an entry smaller than that.
///
/// The caller has stored an entry of 1 GiB, so that none is made from now on.
pub(crate) fn has_smaller(index: &Index, pgoff: PageOffset) -> bool {
    let first = pgoff.align_down(Order::PUD);
    let Some(part) = index.part(first) else {
        return false;
    };
    // Pairs with the barrier of `claim()`: the entry was stored before.
    if part.used.get_after_barrier() == 0 {
        return false;
    }
    let mut from = 0;
    while let Some(stripe) = part.next_stripe(from, Which::All) {
        let within = Pages::new((stripe as usize) << STRIPE_SHIFT);
        let Some(place) = index.place(first + within, Order::PTE) else {
            return false;
        };
        let mut locked = place.lock();
        // Not `is_empty()`: a store that got one node and not the next leaves the first one.
        if locked.guard.find(usize::MAX).is_some() {
            return true;
        }
        locked.forget(Which::All);
        from = stripe + 1;
        if from as usize == STRIPES {
            break;
        }
    }
    false
}
