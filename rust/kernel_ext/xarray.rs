// SPDX-License-Identifier: GPL-2.0

//! XArray of value entries of any order.
//!
//! [`kernel::xarray::XArray`] stores pointers, of order 0 only. This one stores integers, each at
//! an aligned run of `1 << order` indices. Like `xa_state`, it allows several steps in one walk,
//! and allocates memory outside the lock only if a step needed it.
//!
//! C header: [`include/linux/xarray.h`](srctree/include/linux/xarray.h)

use crate::kernel_ext::{
    bindings,
    xa_node::{
        self,
        Look, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    prelude::*,
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

/// What an [`XArray`] can hold: 63 bits (`xa_mk_value()`).
pub(crate) trait Value: Copy {
    /// Returns the bits; the topmost must be clear.
    fn into_bits(self) -> usize;
    /// Returns the value that these bits came from.
    fn from_bits(bits: usize) -> Self;
}

/// A mark on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `XA_MARK_0`.
    Mark0 = 0,
    /// `XA_MARK_1`.
    Mark1 = 1,
}

/// An XArray of value entries.
///
/// # Examples
///
/// ```ignore
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// struct Number(u32);
///
/// impl Value for Number {
///     fn into_bits(self) -> usize {
///         self.0 as usize
///     }
///
///     fn from_bits(bits: usize) -> Self {
///         Number(bits as u32)
///     }
/// }
///
/// let array = KBox::pin_init(XArray::new(), GFP_KERNEL)?;
/// // All 512 indices around 0x2ff: those from 0x200 to 0x3ff.
/// let mut walk = XaState::new(&array, 0x2ff, 9);
/// let mut spare = Spare::new();
/// // Allocates without the lock, and only if the store needs it.
/// while walk.lock().store(Number(7), &mut spare).is_err() {
///     spare.fill()?;
/// }
///
/// let mut walk = XaState::new(&array, 0, 0);
/// let mut guard = walk.lock();
/// assert_eq!(guard.find(usize::MAX), Some((0x200, Number(7))));
/// guard.mark(Mark::Mark0, true);
/// assert!(guard.is_marked(Mark::Mark0));
/// assert_eq!(guard.replace(Number(8)), Some(Number(7)));
/// ```
///
/// # Invariants
///
/// `inner` is an initialised `struct xarray` that holds only values made from a `T`.
#[pin_data(PinnedDrop)]
pub(crate) struct XArray<T: Value> {
    #[pin]
    inner: Opaque<bindings::xarray>,
    _values: PhantomData<T>,
}

// SAFETY: An xarray of plain values is not tied to a thread.
unsafe impl<T: Value> Send for XArray<T> {}
// SAFETY: All access takes the array's own spinlock.
unsafe impl<T: Value> Sync for XArray<T> {}

impl<T: Value> XArray<T> {
    /// Makes an empty array. It is never used from an interrupt, so plain `xa_lock()` is enough.
    /// Its memory is charged to the control group of the task that stores.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here, and empty.
            inner <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes, and pinned.
                unsafe { bindings::xa_init_flags(slot, bindings::XA_FLAGS_ACCOUNT) }
            }),
            _values: PhantomData,
        })
    }

    /// Whether there is no entry. Lockless: an entry that is being stored may be missed.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: `inner` is initialised by the type invariants. The head is one word, which the C
        // side also reads without the lock (`xa_empty()`).
        unsafe { ptr::read_volatile(&raw const (*self.inner.get()).xa_head).is_null() }
    }

    /// Removes all entries and frees their memory. Takes the lock itself.
    pub(crate) fn clear(&self) {
        // SAFETY: `inner` is initialised by the type invariants.
        unsafe { bindings::xa_destroy(self.inner.get()) };
    }
}

#[pinned_drop]
impl<T: Value> PinnedDrop for XArray<T> {
    fn drop(self: Pin<&mut Self>) {
        self.clear();
    }
}

/// `XAS_RESTART`: the walk begins at the root.
const XAS_RESTART: *mut bindings::xa_node = core::ptr::without_provenance_mut(3);
/// `XA_ERROR(-ENOMEM)`.
const XAS_ENOMEM: *mut bindings::xa_node =
    core::ptr::without_provenance_mut(((-(bindings::ENOMEM as isize)) as usize) << 2 | 2);
/// `XA_CHUNK_SHIFT`.
const CHUNK_SHIFT: u32 = bindings::XA_CHUNK_SHIFT;

/// A node for a store that gets none without sleeping.
///
/// It is allocated where the task holds no lock, and can be used in any array. An unused node is
/// freed when this is dropped.
///
/// # Invariants
///
/// `node` is null, or a node that this owns.
pub(crate) struct Spare {
    node: *mut bindings::xa_node,
}

impl Spare {
    /// Makes one without a node.
    pub(crate) const fn new() -> Self {
        // INVARIANT: `node` is null.
        Self {
            node: core::ptr::null_mut(),
        }
    }

    /// Allocates a node if there is none (`xas_nomem()`), charged to the control group of this
    /// task. Sleeps.
    ///
    /// Errors: `ENOMEM`.
    pub(crate) fn fill(&mut self) -> Result {
        if !self.node.is_null() {
            return Ok(());
        }
        // Only its flags are read.
        let mut xa: bindings::xarray = pin_init::zeroed();
        xa.xa_flags = bindings::XA_FLAGS_ACCOUNT;
        let mut raw: bindings::xa_state = pin_init::zeroed();
        raw.xa = &raw mut xa;
        raw.xa_node = XAS_ENOMEM;
        // SAFETY: `raw` is a walk that has ended for lack of memory, and its array is valid here.
        if !unsafe { bindings::xas_nomem(&raw mut raw, bindings::GFP_KERNEL) } {
            return Err(ENOMEM);
        }
        // INVARIANT: `raw` had the only pointer to the node.
        self.node = raw.xa_alloc;
        Ok(())
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if self.node.is_null() {
            return;
        }
        let mut raw: bindings::xa_state = pin_init::zeroed();
        raw.xa_alloc = self.node;
        raw.xa_node = XAS_RESTART;
        // SAFETY: By the type invariants `raw` owns the node. It has no error, so `xas_nomem()`
        // only frees the node.
        unsafe { bindings::xas_nomem(&raw mut raw, 0) };
    }
}

/// A walk to the run of `1 << order` indices around `index` (`XA_STATE_ORDER()`).
///
/// # Invariants
///
/// `raw` is a valid `xa_state` for `xa`, with the shift and the siblings of `order`, to which
/// `start` is aligned. While the lock is not held, `raw.xa_node` is `XAS_RESTART`, so that no node
/// pointer outlives the lock. It has a spare node only during a store.
pub(crate) struct XaState<'a, T: Value> {
    raw: bindings::xa_state,
    /// The start of the walk's run.
    start: usize,
    order: u32,
    xa: &'a XArray<T>,
}

impl<'a, T: Value> XaState<'a, T> {
    /// Makes a walk, which has not begun. `order` is at most 62.
    #[inline(always)]
    pub(crate) fn new(xa: &'a XArray<T>, index: usize, order: u32) -> Self {
        let mut raw: bindings::xa_state = pin_init::zeroed();
        raw.xa = xa.inner.get();
        // INVARIANT: Initialised as by `XA_STATE_ORDER()`.
        let mut this = Self {
            raw,
            start: 0,
            order: 0,
            xa,
        };
        this.set_order(index, order);
        this
    }

    /// `xas_set_order()`.
    #[inline(always)]
    fn set_order(&mut self, index: usize, order: u32) {
        let order = order.min(usize::BITS - 2);
        (self.start, self.order) = ((index >> order) << order, order);
        self.raw.xa_index = self.start;
        self.set_shift();
        self.raw.xa_node = XAS_RESTART;
    }

    fn set_shift(&mut self) {
        self.raw.xa_shift = (self.order - self.order % CHUNK_SHIFT) as u8;
        self.raw.xa_sibs = ((1u32 << (self.order % CHUNK_SHIFT)) - 1) as u8;
    }

    /// Takes the array's lock (a spinlock).
    #[inline(always)]
    pub(crate) fn lock(&mut self) -> Guard<'_, 'a, T> {
        // SAFETY: The array is initialised by the invariants of `XArray`.
        unsafe { bindings::xa_lock(self.xa.inner.get()) };
        // INVARIANT: Locked just above.
        Guard {
            state: self,
            _not_send: NotThreadSafe,
        }
    }
}

/// `xa_mk_value()`.
fn encode<T: Value>(value: T) -> *mut c_void {
    ptr::without_provenance_mut(value.into_bits() << 1 | 1)
}

/// `xa_is_value()`, `xa_to_value()`. By the invariants of [`XArray`] it holds only values, or NULL
/// where there is no entry.
fn decode<T: Value>(entry: *mut c_void) -> Option<T> {
    (entry.addr() & 1 == 1).then(|| T::from_bits(entry.addr() >> 1))
}

/// The array's lock, held for one walk.
///
/// # Invariants
///
/// This task holds the lock of `state.xa`.
pub(crate) struct Guard<'s, 'a, T: Value> {
    state: &'s mut XaState<'a, T>,
    _not_send: NotThreadSafe,
}

impl<T: Value> Guard<'_, '_, T> {
    /// Returns the first entry that lies in the walk's run of indices or covers it.
    #[inline(always)]
    pub(crate) fn find_conflict(&mut self) -> Option<T> {
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        match unsafe { xa_node::look(&mut self.state.raw) } {
            Look::Entry(entry) => decode(entry),
            Look::Empty => None,
            Look::Unknown => self.find_conflict_slowly(),
        }
    }

    #[cold]
    fn find_conflict_slowly(&mut self) -> Option<T> {
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        decode(unsafe { bindings::xas_find_conflict(&raw mut self.state.raw) })
    }

    /// Whether the array has no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.xa.is_empty()
    }

    /// Whether an entry of the array has `mark` (`xa_marked()`).
    pub(crate) fn has_mark(&self, mark: Mark) -> bool {
        // SAFETY: The array is initialised by the invariants of `XArray`, and its lock is held.
        let flags = unsafe { (*self.state.xa.inner.get()).xa_flags };
        flags & bindings::XA_FLAGS_MARK_0 << mark as u32 != 0
    }

    /// Moves the walk to the run of `1 << order` indices around `index`, without unlocking.
    pub(crate) fn set_order(&mut self, index: usize, order: u32) {
        self.state.set_order(index, order);
    }

    /// Returns the next entry that ends after the walk's index and begins at or before `max`, and
    /// an index in it (`xas_find()`).
    pub(crate) fn find(&mut self, max: usize) -> Option<(usize, T)> {
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        let entry = unsafe { bindings::xas_find(&raw mut self.state.raw, max) };
        decode(entry).map(|value| (self.state.raw.xa_index, value))
    }

    /// Same as [`Guard::find`], for entries that have `mark` (`xas_find_marked()`).
    pub(crate) fn find_marked(&mut self, max: usize, mark: Mark) -> Option<(usize, T)> {
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        let entry = unsafe {
            bindings::xas_find_marked(&raw mut self.state.raw, max, mark as bindings::xa_mark_t)
        };
        decode(entry).map(|value| (self.state.raw.xa_index, value))
    }

    /// Whether the entry that the walk has reached is marked.
    #[inline(always)]
    pub(crate) fn is_marked(&self, mark: Mark) -> bool {
        let raw = &self.state.raw;
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        unsafe {
            xa_node::has_mark(raw, mark as usize)
                .unwrap_or_else(|| bindings::xas_get_mark(raw, mark as bindings::xa_mark_t))
        }
    }

    /// Marks the entry that the walk has reached, or removes the mark.
    #[inline(always)]
    pub(crate) fn mark(&mut self, mark: Mark, set: bool) {
        let raw = &self.state.raw;
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        unsafe {
            if !set {
                bindings::xas_clear_mark(raw, mark as bindings::xa_mark_t);
            } else if !xa_node::set_mark(raw, mark as usize) {
                bindings::xas_set_mark(raw, mark as bindings::xa_mark_t);
            }
        }
    }

    /// Removes the entry at the walk's run of indices, with its marks, and returns it. Needs no
    /// memory.
    pub(crate) fn erase(&mut self) -> Option<T> {
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held.
        let old = unsafe {
            xa_node::erase(&mut self.state.raw)
                .unwrap_or_else(|| bindings::xas_store(&raw mut self.state.raw, ptr::null_mut()))
        };
        decode(old)
    }

    /// Stores `value` in place of the entry that the walk has found, or that is exactly at its run
    /// of indices, and returns the old value. Order and marks stay. Needs no memory.
    #[inline(always)]
    pub(crate) fn replace(&mut self, value: T) -> Option<T> {
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held. A value entry
        // made from a `T` keeps the invariants of `XArray`.
        if let Some(old) = unsafe { xa_node::replace(&mut self.state.raw, encode(value)) } {
            return decode(old);
        }
        self.replace_slowly(value)
    }

    #[cold]
    fn replace_slowly(&mut self, value: T) -> Option<T> {
        let node = self.state.raw.xa_node;
        if node.addr() & 3 == 0 {
            // SAFETY: By the type invariants the lock is held, so this is a node of the array. Null
            // stands for the array's root, whose shift is 0. With another order than the node's, a
            // store would make nodes below the entry.
            self.state.raw.xa_shift = match unsafe { node.as_ref() } {
                Some(node) => node.shift,
                None => 0,
            };
        }
        // Its other slots refer to the first, so only that has to change.
        self.state.raw.xa_sibs = 0;
        let old = self.put(value).ok().flatten();
        // INVARIANT: The shift and the siblings are those of `order` again.
        self.state.set_shift();
        old
    }

    /// Stores `value` at the walk's run of indices, in place of all entries there. The value gets
    /// all their marks. Returns the old value, if it has the same order.
    ///
    /// Errors: `ENOMEM` if a node is needed, none can be allocated without sleeping, and `spare`
    /// has none. The caller drops all locks, calls [`Spare::fill`], and starts again.
    #[inline(always)]
    pub(crate) fn store(&mut self, value: T, spare: &mut Spare) -> Result<Option<T>> {
        let is_moved = self.state.raw.xa_index != self.state.start;
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held. A value entry
        // made from a `T` keeps the invariants of `XArray`.
        if !is_moved && unsafe { xa_node::fill(&mut self.state.raw, encode(value)) } {
            return Ok(None);
        }
        self.store_slowly(value, spare)
    }

    #[cold]
    fn store_slowly(&mut self, value: T, spare: &mut Spare) -> Result<Option<T>> {
        let raw = &self.state.raw;
        if raw.xa_index != self.state.start || raw.xa_offset & raw.xa_sibs != 0 {
            // A search may have moved the walk. From there the run would end past its node.
            self.state.set_order(self.state.start, self.state.order);
        }
        // INVARIANT: The node is lent for this store.
        self.state.raw.xa_alloc = core::mem::replace(&mut spare.node, core::ptr::null_mut());
        let stored = self.put(value);
        // INVARIANT: The walk gives the node back if it was not used.
        spare.node = core::mem::replace(&mut self.state.raw.xa_alloc, core::ptr::null_mut());
        stored
    }

    fn put(&mut self, value: T) -> Result<Option<T>> {
        let entry = encode(value);
        // SAFETY: `raw` is valid by the invariants of `XaState`, and the lock is held. A value
        // entry made from a `T` keeps the invariants of `XArray`.
        let old = unsafe { bindings::xas_store(&raw mut self.state.raw, entry) };
        if self.state.raw.xa_node == XAS_ENOMEM {
            return Err(ENOMEM);
        }
        Ok(decode(old))
    }
}

impl<T: Value> Drop for Guard<'_, '_, T> {
    fn drop(&mut self) {
        // INVARIANT: `xas_reset()`, so that no node pointer outlives the lock. It also clears an
        // error.
        self.state.raw.xa_node = XAS_RESTART;
        // SAFETY: The lock is held by the type invariants.
        unsafe { bindings::xa_unlock(self.state.xa.inner.get()) };
    }
}

#[kunit_tests(rdax_xarray)]
mod tests {
    use super::*;

    impl Value for usize {
        fn into_bits(self) -> usize {
            self
        }

        fn from_bits(bits: usize) -> Self {
            bits
        }
    }

    fn array() -> Result<Pin<KBox<XArray<usize>>>> {
        KBox::pin_init(XArray::new(), GFP_KERNEL)
    }

    fn store(xa: &XArray<usize>, index: usize, order: u32, value: usize) -> Result<Option<usize>> {
        let mut xas = XaState::new(xa, index, order);
        let mut spare = Spare::new();
        loop {
            if let Ok(old) = xas.lock().store(value, &mut spare) {
                return Ok(old);
            }
            spare.fill()?;
        }
    }

    fn at(xa: &XArray<usize>, index: usize, order: u32) -> Option<usize> {
        XaState::new(xa, index, order).lock().find_conflict()
    }

    fn find(xa: &XArray<usize>, from: usize, max: usize) -> Option<(usize, usize)> {
        XaState::new(xa, from, 0).lock().find(max)
    }

    fn find_marked(xa: &XArray<usize>, from: usize, max: usize) -> Option<(usize, usize)> {
        XaState::new(xa, from, 0)
            .lock()
            .find_marked(max, Mark::Mark1)
    }

    fn mark(xa: &XArray<usize>, index: usize, order: u32) {
        let mut xas = XaState::new(xa, index, order);
        let mut guard = xas.lock();
        guard.find_conflict();
        guard.mark(Mark::Mark1, true);
    }

    /// An entry of any order is found from all of its run, and only from there.
    #[test]
    fn orders() -> Result {
        for order in [0, 1, 5, 6, 7, 9, 11, 12, 18] {
            let xa = array()?;
            let len = 1usize << order;
            let start = 5 * len;
            // Aligned by the walk.
            assert_eq!(store(&xa, start + len / 2, order, 42)?, None);
            for inside in [start, start + len / 2, start + len - 1] {
                assert_eq!(at(&xa, inside, 0), Some(42));
                assert_eq!(find(&xa, inside, usize::MAX), Some((inside, 42)));
            }
            for outside in [0, start - 1, start + len, 6 * len] {
                assert_eq!(at(&xa, outside, 0), None);
            }
            assert_eq!(find(&xa, 0, start - 1), None);
            assert_eq!(find(&xa, 0, start), Some((start, 42)));
            assert_eq!(find(&xa, start + len, usize::MAX), None);
            assert_eq!(XaState::new(&xa, start, order).lock().erase(), Some(42));
            assert_eq!(find(&xa, 0, usize::MAX), None);
        }
        Ok(())
    }

    /// The topmost index, and the largest value.
    #[test]
    fn edges() -> Result {
        let xa = array()?;
        let value = usize::MAX >> 1;
        assert_eq!(store(&xa, usize::MAX, 0, value)?, None);
        assert_eq!(store(&xa, 0, 0, 0)?, None);
        assert_eq!(at(&xa, 0, 0), Some(0));
        assert_eq!(find(&xa, 1, usize::MAX), Some((usize::MAX, value)));
        xa.clear();
        assert_eq!(find(&xa, 0, usize::MAX), None);
        Ok(())
    }

    /// A larger entry replaces all smaller ones in its run, and has their marks.
    #[test]
    fn multi_index() -> Result {
        for marked in [false, true] {
            let xa = array()?;
            for index in [511, 512, 600, 1023, 1024] {
                assert_eq!(store(&xa, index, 0, index)?, None);
            }
            mark(&xa, 511, 0);
            if marked {
                mark(&xa, 600, 0);
            }
            assert_eq!(at(&xa, 700, 9), Some(512));
            // The old values are not returned, because the walk ends at the node above them.
            assert_eq!(store(&xa, 700, 9, 42)?, None);
            for index in [512, 600, 700, 1023] {
                assert_eq!(at(&xa, index, 0), Some(42));
            }
            assert_eq!(at(&xa, 511, 0), Some(511));
            assert_eq!(at(&xa, 1024, 0), Some(1024));
            assert_eq!(find_marked(&xa, 512, 1023), marked.then_some((512, 42)));
            assert_eq!(find_marked(&xa, 0, usize::MAX), Some((511, 511)));
            // An entry of the same order is replaced in place.
            assert_eq!(store(&xa, 512, 9, 43)?, Some(42));
            assert_eq!(find_marked(&xa, 512, 1023).is_some(), marked);
        }
        Ok(())
    }

    /// Marks belong to the entry, are found from anywhere before it, and are removed with it.
    #[test]
    fn marks() -> Result {
        let xa = array()?;
        for (index, order) in [(0, 0), (512, 9), (1024, 4), (1 << 18, 18)] {
            store(&xa, index, order, index)?;
        }
        assert_eq!(find_marked(&xa, 0, usize::MAX), None);
        for (index, order) in [(512, 9), (1 << 18, 18)] {
            mark(&xa, index, order);
        }
        assert_eq!(find_marked(&xa, 0, usize::MAX), Some((512, 512)));
        assert_eq!(find_marked(&xa, 0, 511), None);
        // A search from within the entry finds it, too.
        let found = find_marked(&xa, 1000, usize::MAX);
        assert_eq!(
            found.map(|(index, value)| (index >> 9, value)),
            Some((1, 512))
        );
        assert_eq!(find_marked(&xa, 1024, usize::MAX), Some((1 << 18, 1 << 18)));
        {
            let mut xas = XaState::new(&xa, 512, 9);
            let mut guard = xas.lock();
            assert_eq!(guard.find_conflict(), Some(512));
            assert!(guard.is_marked(Mark::Mark1));
            assert!(!guard.is_marked(Mark::Mark0));
            guard.mark(Mark::Mark1, false);
            assert!(!guard.is_marked(Mark::Mark1));
        }
        assert_eq!(find_marked(&xa, 0, 1 << 17), None);
        assert!(XaState::new(&xa, 1 << 18, 18).lock().erase().is_some());
        store(&xa, 1 << 18, 18, 1)?;
        assert_eq!(find_marked(&xa, 0, usize::MAX), None);
        // A walk from within an entry marks the whole entry.
        mark(&xa, 1000, 0);
        assert_eq!(find_marked(&xa, 0, usize::MAX), Some((512, 512)));
        Ok(())
    }

    /// A walk that found an entry from within replaces the whole entry, without a new walk.
    #[test]
    fn replace() -> Result {
        for order in [0, 3, 6, 9, 10, 18] {
            let xa = array()?;
            let start = 3usize << order;
            let inside = start + (1 << order) / 3;
            store(&xa, start, order, 1)?;
            mark(&xa, start, order);
            {
                let mut xas = XaState::new(&xa, inside, 0);
                let mut guard = xas.lock();
                assert_eq!(guard.find(usize::MAX), Some((inside, 1)));
                assert_eq!(guard.replace(2), Some(1));
                assert!(guard.is_marked(Mark::Mark1));
                guard.mark(Mark::Mark1, false);
            }
            assert_eq!(find_marked(&xa, 0, usize::MAX), None);
            for index in [start, inside, start + (1 << order) - 1] {
                assert_eq!(at(&xa, index, 0), Some(2));
            }
            assert_eq!(at(&xa, start - 1, 0), None);
            assert_eq!(at(&xa, start + (1 << order), 0), None);
        }
        Ok(())
    }

    /// One walk does many steps under one lock, and again after an unlock.
    #[test]
    fn steps() -> Result {
        let xa = array()?;
        for index in [3, 64, 4096] {
            store(&xa, index, 0, index)?;
        }
        let mut xas = XaState::new(&xa, 0, 0);
        for _ in 0..2 {
            let mut guard = xas.lock();
            guard.set_order(0, 0);
            let mut sum = 0;
            while let Some((index, value)) = guard.find(usize::MAX) {
                assert_eq!(index, value);
                sum += value;
                guard.set_order(index + 1, 0);
            }
            assert_eq!(sum, 3 + 64 + 4096);
        }
        Ok(())
    }

    /// A store after a search that moved the walk still stores at the walk's own run.
    #[test]
    fn store_after_a_search() -> Result {
        let xa = array()?;
        store(&xa, 62, 0, 1)?;
        store(&xa, 70, 0, 2)?;
        let (mut xas, mut spare) = (XaState::new(&xa, 8, 3), Spare::new());
        spare.fill()?;
        {
            let mut guard = xas.lock();
            assert_eq!(guard.find(usize::MAX), Some((62, 1)));
            assert_eq!(guard.store(3, &mut spare)?, None);
        }
        for index in [8, 15] {
            assert_eq!(at(&xa, index, 0), Some(3));
        }
        for index in [7, 16, 61, 63, 64, 69, 71] {
            assert_eq!(at(&xa, index, 0), None);
        }
        assert_eq!(at(&xa, 62, 0), Some(1));
        assert_eq!(at(&xa, 70, 0), Some(2));
        Ok(())
    }

    /// Checks that what `node` says of itself is what `xas_*()` would have made of its slots, and
    /// returns whether one of them has the mark.
    fn check_node(node: *mut bindings::xa_node, mark: Mark) -> bool {
        // SAFETY: The array is not used by others, so its nodes stay.
        let (slots, shift, word) = unsafe {
            let node = &*node;
            (
                node.slots,
                node.shift,
                node.__bindgen_anon_2.marks[mark as usize][0],
            )
        };
        let (mut count, mut values, mut marks) = (0, 0, 0usize);
        for (offset, entry) in slots.iter().enumerate() {
            let addr = entry.addr();
            count += u8::from(addr != 0);
            if addr & 1 == 1 {
                values += 1;
                marks |= word & 1 << offset;
            } else if addr & 3 == 2 && addr > 4096 {
                let child = entry.wrapping_byte_sub(2).cast::<bindings::xa_node>();
                // SAFETY: As for `node`.
                unsafe {
                    assert_eq!((*child).parent, node);
                    assert_eq!(usize::from((*child).offset), offset);
                    assert_eq!((*child).shift + CHUNK_SHIFT as u8, shift);
                }
                marks |= usize::from(check_node(child, mark)) << offset;
            } else if addr != 0 {
                // A sibling of a value, which counts as one.
                let of = slots.get(addr >> 2).map_or(0, |of| of.addr());
                assert!(addr & 3 == 2 && addr >> 2 < offset && of & 1 == 1);
                values += 1;
            }
        }
        // SAFETY: As above.
        unsafe {
            assert_eq!(((*node).count, (*node).nr_values), (count, values));
        }
        assert_eq!(word, marks);
        word != 0
    }

    /// After any steps, the nodes are as `xas_*()` would have left them.
    #[test]
    fn nodes() -> Result {
        let xa = array()?;
        let mut random = 1usize;
        for _ in 0..3000 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let (choice, index) = (random >> 33, random >> 40 & 4095);
            let order = [0, 0, 0, 1, 3, 6, 9].get(choice % 7).copied().unwrap_or(0);
            // What is stored says what run it is stored at.
            let run = index >> order << order << 4 | order as usize;
            let mut spare = Spare::new();
            let mut xas = XaState::new(&xa, index, order);
            let mut guard = xas.lock();
            match (guard.find_conflict(), choice / 7 % 4) {
                (None, _) => {
                    let stored = guard.store(run, &mut spare);
                    if stored.is_ok() && choice / 7 % 2 == 0 {
                        guard.mark(Mark::Mark1, true);
                        assert!(guard.is_marked(Mark::Mark1));
                    }
                }
                (Some(value), 0) => assert_eq!(guard.replace(value), Some(value)),
                (Some(_), 1) => guard.mark(Mark::Mark1, true),
                (Some(_), 2) => guard.mark(Mark::Mark1, false),
                (Some(value), _) if value == run => assert_eq!(guard.erase(), Some(run)),
                (Some(_), _) => (),
            }
            drop(guard);
            // SAFETY: The array is initialised, and not used by others.
            let head = unsafe { (*xa.inner.get()).xa_head };
            if head.addr() & 3 == 2 {
                let node = head.wrapping_byte_sub(2).cast();
                let marked = check_node(node, Mark::Mark1);
                assert_eq!(XaState::new(&xa, 0, 0).lock().has_mark(Mark::Mark1), marked);
            }
        }
        Ok(())
    }

    /// A store that gets no node returns an error and changes nothing. It works when it is given a
    /// node.
    #[cfg(CONFIG_FAILSLAB)]
    #[test]
    fn nomem() -> Result {
        let xa = array()?;
        store(&xa, 1, 0, 1)?;
        for (index, order) in [(64, 0), (4096, 0), (1 << 20, 9)] {
            let mut xas = XaState::new(&xa, index, order);
            let mut spare = Spare::new();
            let mut lacked = 0;
            loop {
                // The first allocation from here fails. Each round gets one node further.
                //
                // SAFETY: Only this task accesses the field.
                unsafe { (*bindings::get_current()).fail_nth = 1 };
                let stored = xas.lock().store(7, &mut spare);
                // SAFETY: Only this task accesses the field.
                unsafe { (*bindings::get_current()).fail_nth = 0 };
                if stored == Ok(None) {
                    break;
                }
                assert!(stored == Err(ENOMEM));
                assert_eq!(at(&xa, index, order), None);
                assert_eq!(at(&xa, 1, 0), Some(1));
                spare.fill()?;
                lacked += 1;
                assert!(lacked < 10);
            }
            assert!(lacked > 0);
            assert_eq!(at(&xa, index, order), Some(7));
            assert_eq!(XaState::new(&xa, index, order).lock().erase(), Some(7));
        }
        Ok(())
    }

    /// A spare node is used if needed, and otherwise freed with its owner (kmemleak reports it if
    /// not).
    #[test]
    fn spare_node() -> Result {
        let xa = array()?;
        let mut spare = Spare::new();
        spare.fill()?;
        let node = spare.node;
        spare.fill()?;
        assert!(spare.node == node);
        // Index 0 of an empty array needs no node.
        assert_eq!(XaState::new(&xa, 0, 0).lock().store(1, &mut spare)?, None);
        assert!(spare.node == node);
        assert_eq!(XaState::new(&xa, 9, 0).lock().store(1, &mut spare)?, None);
        assert!(spare.node.is_null());
        spare.fill()?;
        assert!(!spare.node.is_null());
        Ok(())
    }
}
