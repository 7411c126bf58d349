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
        Look,
        Walk,
        MASK,
        XAS_ENOMEM,
        XAS_RESTART, //
    }, //
};
use core::{
    cell::Cell,
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
/// let walk = XaState::new(&array, 0x2ff, 9);
/// let mut spare = Spare::new();
/// // Allocates without the lock, and only if the store needs it.
/// while walk.lock().store(Number(7), &mut spare).is_err() {
///     spare.fill()?;
/// }
///
/// let walk = XaState::new(&array, 0, 0);
/// let mut guard = walk.lock();
/// assert_eq!(guard.find(usize::MAX), Some((0x200, Number(7))));
/// guard.mark(Mark::Mark0, true);
/// assert!(guard.is_marked(Mark::Mark0));
/// assert_eq!(guard.replace(Number(8)), Some(Number(7)));
/// ```
///
/// # Invariants
///
/// `inner` is an initialised `struct xarray` that holds only values made from a `T`. Its lock is that
/// of `moves`, too, which grows whenever a node may have been freed, or an entry may have got another
/// slot.
#[pin_data(PinnedDrop)]
pub(crate) struct XArray<T: Value> {
    #[pin]
    inner: Opaque<bindings::xarray>,
    moves: Cell<u64>,
    _values: PhantomData<T>,
}

// SAFETY: An xarray of plain values is not tied to a thread.
unsafe impl<T: Value> Send for XArray<T> {}
// SAFETY: All access takes the array's own spinlock, also that to `moves`.
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
            moves: Cell::new(0),
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
        let mut guard = XaState::new(self, 0, 0).lock();
        // Each time all in the run of the largest order, which is at most one node below the root, or
        // the root. `xa_destroy()` would free the nodes before `moves` could tell.
        while let Some((index, _)) = guard.find(usize::MAX) {
            guard.set_order(index, MAX_ORDER);
            guard.erase();
            guard.set_order(0, 0);
        }
        // A store that got one node and not the next leaves the first one without entries.
        if !guard.is_empty() {
            guard.set_order(0, MAX_ORDER);
            guard.erase();
        }
    }
}

#[pinned_drop]
impl<T: Value> PinnedDrop for XArray<T> {
    fn drop(self: Pin<&mut Self>) {
        self.clear();
    }
}

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

/// The largest order of a run.
const MAX_ORDER: u32 = usize::BITS - 2;

/// A run of `1 << order` indices, and where a walk to it begins (`XA_STATE_ORDER()`).
///
/// # Invariants
///
/// `start` is aligned to `order`, which is at most [`MAX_ORDER`].
pub(crate) struct XaState<'a, T: Value> {
    xa: &'a XArray<T>,
    start: usize,
    order: u32,
}

impl<'a, T: Value> XaState<'a, T> {
    /// Makes a walk to the run around `index`, which has not begun.
    #[inline(always)]
    pub(crate) fn new(xa: &'a XArray<T>, index: usize, order: u32) -> Self {
        let order = order.min(MAX_ORDER);
        // INVARIANT: Aligned here.
        Self {
            xa,
            start: (index >> order) << order,
            order,
        }
    }

    /// Takes the array's lock (a spinlock).
    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'a, T> {
        let array = self.xa.inner.get();
        // SAFETY: The array is initialised by the invariants of `XArray`.
        unsafe { bindings::xa_lock(array) };
        // INVARIANT: Locked just above. The walk has not begun.
        Guard {
            xa: self.xa,
            start: self.start,
            order: self.order,
            walk: Walk::new(array, self.start, self.order),
            _not_send: NotThreadSafe,
        }
    }
}

/// A look without calls could not tell what is there.
pub(crate) struct Unknown;

/// What [`XArray::moves`] does not reach.
const NEVER: u64 = u64::MAX;

/// The slot that a walk has reached, to go on from there after the lock was dropped.
///
/// It holds nothing: under the next lock, the entry may be elsewhere, and the node may be gone. Then
/// [`XArray::moves`] has grown, and a new walk looks for the entry.
///
/// # Invariants
///
/// Whenever the lock of `xa` is held and its `moves` is `moves`, `node` is a node of `xa`, or null for
/// the array itself, and `offset` is less than the number of its slots.
pub(crate) struct Slot<'a, T: Value> {
    xa: &'a XArray<T>,
    moves: u64,
    node: *mut bindings::xa_node,
    offset: u8,
}

impl<'a, T: Value> Slot<'a, T> {
    /// Takes the array's lock, for a walk to the run of `1 << order` indices around `index`, whose
    /// entry was in this slot. If the entry may have been moved, looks for it, and otherwise goes on
    /// from the slot.
    #[inline(always)]
    pub(crate) fn lock(&self, index: usize, order: u32) -> Guard<'a, T> {
        let XaState { xa, start, order } = XaState::new(self.xa, index, order);
        let array = xa.inner.get();
        // SAFETY: The array is initialised by the invariants of `XArray`.
        unsafe { bindings::xa_lock(array) };
        let walk = if self.is_current() {
            let mut walk = Walk::new(array, start, order);
            (walk.node, walk.offset) = (self.node, self.offset);
            walk
        } else {
            // SAFETY: The array is initialised, and its lock is held.
            unsafe { find_again(array, start, order) }
        };
        // INVARIANT: Locked just above. The walk has reached a node of the array, by the type
        // invariants of `Slot`, or by itself.
        Guard {
            xa,
            start,
            order,
            walk,
            _not_send: NotThreadSafe,
        }
    }
}

impl<T: Value> Slot<'_, T> {
    /// Whether `node` and `offset` still name a slot of the array. The caller holds the lock.
    #[inline(always)]
    fn is_current(&self) -> bool {
        self.xa.moves.get() == self.moves
    }

    /// Takes the array's lock, and stores `value` in place of the entry of the slot, as
    /// [`Guard::replace`] after [`Slot::lock`]. `run` returns index and order of the entry, if they are
    /// needed.
    #[inline(always)]
    pub(crate) fn replace(&self, run: impl FnOnce() -> (usize, u32), value: T) -> Option<T> {
        let array = self.xa.inner.get();
        // SAFETY: The array is initialised by the invariants of `XArray`.
        unsafe { bindings::xa_lock(array) };
        let old = if self.is_current() {
            // SAFETY: The array is one of values made from a `T`, and its lock is held. By the type
            // invariants the slot is one of its own.
            unsafe { xa_node::replace_at(array, self.node, self.offset, encode(value)) }
        } else {
            None
        };
        // SAFETY: Locked above.
        unsafe { bindings::xa_unlock(array) };
        match old {
            Some(old) => decode(old),
            None => {
                let (index, order) = run();
                self.replace_again(index, order, value)
            }
        }
    }

    /// [`Slot::replace`] where the entry is no longer in the slot.
    #[cold]
    #[inline(never)]
    fn replace_again(&self, index: usize, order: u32, value: T) -> Option<T> {
        self.lock(index, order).replace(value)
    }
}

/// `xa_mk_value()`.
#[inline(always)]
fn encode<T: Value>(value: T) -> *mut c_void {
    ptr::without_provenance_mut(value.into_bits() << 1 | 1)
}

/// `xa_is_value()`, `xa_to_value()`. By the invariants of [`XArray`] it holds only values, or NULL
/// where there is no entry.
#[inline(always)]
fn decode<T: Value>(entry: *mut c_void) -> Option<T> {
    (entry.addr() & 1 == 1).then(|| T::from_bits(entry.addr() >> 1))
}

/// The array's lock, held for one walk.
///
/// The common steps are inlined, and hand the walk to the others by value, so that it stays in
/// registers.
///
/// # Invariants
///
/// This task holds the lock of `xa`. `walk` is a walk of `xa`, with the shift and the siblings of
/// `order`, to which `start` is aligned. What it has reached is a node of `xa`.
pub(crate) struct Guard<'a, T: Value> {
    xa: &'a XArray<T>,
    /// The start of the walk's run.
    start: usize,
    order: u32,
    walk: Walk,
    _not_send: NotThreadSafe,
}

impl<'a, T: Value> Guard<'a, T> {
    /// Returns the slot that the walk has reached.
    #[inline(always)]
    pub(crate) fn slot(&self) -> Slot<'a, T> {
        let has_reached = self.walk.node.addr() & 3 == 0;
        // INVARIANT: The lock is held, so no node has been freed since the walk has reached this one.
        // When one is, `moves` grows under the same lock.
        Slot {
            xa: self.xa,
            moves: if has_reached {
                self.xa.moves.get()
            } else {
                NEVER
            },
            node: self.walk.node,
            offset: self.walk.offset,
        }
    }

    /// Same as [`Guard::find_conflict`], if that needs no call. The error says that it does.
    #[inline(always)]
    pub(crate) fn look(&mut self) -> Result<Option<T>, Unknown> {
        // SAFETY: By the type invariants this is a walk of an initialised array of values, which is
        // locked.
        match unsafe { xa_node::look(&mut self.walk) } {
            Look::Entry(entry) => Ok(decode(entry)),
            Look::Empty => Ok(None),
            Look::Unknown => Err(Unknown),
        }
    }

    /// Returns the first entry that lies in the walk's run of indices or covers it.
    #[inline(always)]
    pub(crate) fn find_conflict(&mut self) -> Option<T> {
        self.look().unwrap_or_else(|Unknown| {
            // SAFETY: By the type invariants this is a walk of an initialised array of values, which
            // is locked.
            let (walk, entry) = unsafe { find_conflict_slowly(self.walk) };
            self.walk.follow(walk);
            decode(entry)
        })
    }

    /// Whether the array has no entry.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.xa.is_empty()
    }

    /// Whether an entry of the array has `mark` (`xa_marked()`).
    #[inline(always)]
    pub(crate) fn has_mark(&self, mark: Mark) -> bool {
        // SAFETY: The array is initialised by the invariants of `XArray`, and its lock is held.
        let flags = unsafe { (*self.xa.inner.get()).xa_flags };
        flags & bindings::XA_FLAGS_MARK_0 << mark as u32 != 0
    }

    /// Moves the walk to the run of `1 << order` indices around `index`, without unlocking
    /// (`xas_set_order()`).
    #[inline(always)]
    pub(crate) fn set_order(&mut self, index: usize, order: u32) {
        let run = XaState::new(self.xa, index, order);
        // INVARIANT: The walk has not begun.
        (self.start, self.order) = (run.start, run.order);
        self.walk = Walk::new(self.xa.inner.get(), run.start, run.order);
    }

    /// Returns the next entry that ends after the walk's index and begins at or before `max`, and
    /// an index in it (`xas_find()`).
    #[inline(always)]
    pub(crate) fn find(&mut self, max: usize) -> Option<(usize, T)> {
        // SAFETY: By the type invariants this is a walk of an initialised array, which is locked.
        let (walk, entry) = unsafe { find(self.walk, max) };
        self.walk.follow(walk);
        decode(entry).map(|value| (walk.index, value))
    }

    /// Same as [`Guard::find`], for entries that have `mark` (`xas_find_marked()`).
    #[inline(always)]
    pub(crate) fn find_marked(&mut self, max: usize, mark: Mark) -> Option<(usize, T)> {
        // SAFETY: As in `find()`.
        let entry = match unsafe { xa_node::look_marked(&mut self.walk, max, mark as usize) } {
            Look::Entry(entry) => entry,
            Look::Empty => return None,
            Look::Unknown => {
                // SAFETY: As in `find()`.
                let (walk, entry) = unsafe { find_marked(self.walk, max, mark) };
                self.walk.follow(walk);
                entry
            }
        };
        decode(entry).map(|value| (self.walk.index, value))
    }

    /// Whether the entry that the walk has reached is marked.
    #[inline(always)]
    pub(crate) fn is_marked(&self, mark: Mark) -> bool {
        // SAFETY: As in `find_conflict()`.
        unsafe {
            xa_node::has_mark(&self.walk, mark as usize)
                .unwrap_or_else(|| is_marked_slowly(self.walk, mark))
        }
    }

    /// Marks the entry that the walk has reached, or removes the mark.
    #[inline(always)]
    pub(crate) fn mark(&mut self, mark: Mark, set: bool) {
        // SAFETY: As in `find_conflict()`.
        unsafe {
            if !set || !xa_node::set_mark(&self.walk, mark as usize) {
                mark_slowly(self.walk, mark, set);
            }
        }
    }

    /// Removes the entry at the walk's run of indices, with its marks, and returns it. Needs no
    /// memory.
    #[inline(always)]
    pub(crate) fn erase(&mut self) -> Option<T> {
        let old = if self.walk.index == self.start {
            // SAFETY: As in `find_conflict()`.
            unsafe { xa_node::erase(&mut self.walk) }
        } else {
            None
        };
        decode(old.unwrap_or_else(|| {
            // SAFETY: As in `find_conflict()`.
            let (walk, old) = unsafe { erase_slowly(self.xa, self.walk, self.start, self.order) };
            self.walk.follow(walk);
            old
        }))
    }

    /// Stores `value` in place of the entry that the walk has found, or that is exactly at its run
    /// of indices, and returns the old value. Order and marks stay. Needs no memory.
    #[inline(always)]
    pub(crate) fn replace(&mut self, value: T) -> Option<T> {
        let entry = encode(value);
        // SAFETY: As in `find_conflict()`. A value entry made from a `T` keeps the invariants of
        // `XArray`.
        let old = unsafe { xa_node::replace(&mut self.walk, entry) };
        decode(old.unwrap_or_else(|| {
            // SAFETY: As above.
            let (walk, old) = unsafe { replace_slowly(self.xa, self.walk, entry) };
            self.walk.follow(walk);
            old
        }))
    }

    /// Stores `value` at the walk's run of indices if [`Guard::look`] has seen that nothing is there,
    /// and it needs no node. Returns whether it did.
    #[inline(always)]
    pub(crate) fn fill(&mut self, value: T) -> bool {
        // SAFETY: As in `find_conflict()`. A value entry made from a `T` keeps the invariants of
        // `XArray`.
        unsafe { xa_node::fill(&mut self.walk, encode(value)) }
    }

    /// Stores `value` at the walk's run of indices, in place of all entries there. The value gets
    /// all their marks. Returns the old value, if it has the same order.
    ///
    /// Errors: `ENOMEM` if a node is needed, none can be allocated without sleeping, and `spare`
    /// has none. The caller drops all locks, calls [`Spare::fill`], and starts again.
    #[inline(always)]
    pub(crate) fn store(&mut self, value: T, spare: &mut Spare) -> Result<Option<T>> {
        if self.fill(value) {
            return Ok(None);
        }
        let entry = encode(value);
        // SAFETY: As in `find_conflict()`. A value entry made from a `T` keeps the invariants of
        // `XArray`.
        let (walk, stored) =
            unsafe { store_slowly(self.xa, self.walk, self.start, self.order, entry, spare) };
        self.walk.follow(walk);
        stored.map(decode)
    }
}

impl<T: Value> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: The lock is held by the type invariants.
        unsafe { bindings::xa_unlock(self.xa.inner.get()) };
    }
}

/// Makes a walk to the run of `1 << order` indices from `start`, and looks for its entry.
///
/// # Safety
///
/// `array` is an initialised array, whose lock is held.
#[cold]
#[inline(never)]
unsafe fn find_again(array: *mut bindings::xarray, start: usize, order: u32) -> Walk {
    let walk = Walk::new(array, start, order);
    // SAFETY: By the requirements of this function.
    unsafe { find_conflict_slowly(walk) }.0
}

// The C functions. None is inlined, and each takes the walk by value and returns where it is then,
// because a caller that gives away its address has it in memory all the time.

/// `xas_find_conflict()`.
///
/// # Safety
///
/// `walk` is a walk of an initialised array, whose lock is held.
#[cold]
#[inline(never)]
unsafe fn find_conflict_slowly(mut walk: Walk) -> (Walk, *mut c_void) {
    // SAFETY: By the requirements of this function.
    let entry = walk.with(|raw| unsafe { bindings::xas_find_conflict(raw) });
    (walk, entry)
}

/// `xas_find()`.
///
/// # Safety
///
/// That of [`find_conflict_slowly`].
#[inline(never)]
unsafe fn find(mut walk: Walk, max: usize) -> (Walk, *mut c_void) {
    // In a node of entries, the C function goes to the index, and then to the next one. If that is
    // elsewhere than the walk, which `find_conflict()` has moved, it would take the first index of a
    // node for the last slot, and read past the node.
    //
    // SAFETY: What the walk has reached is a node of the array, by the requirements of this function.
    let is_apart = |node: *mut bindings::xa_node| unsafe { (*node).shift == 0 }
        && walk.index & MASK == 0
        && walk.offset != 0;
    if !walk.node.is_null() && walk.node.addr() & 3 == 0 && is_apart(walk.node) {
        walk.node = XAS_RESTART;
    }
    // SAFETY: By the requirements of this function.
    let entry = walk.with(|raw| unsafe { bindings::xas_find(raw, max) });
    if entry.is_null() && walk.is_in_node() {
        // If it has passed `max`, the C function leaves the walk where it was, perhaps after the last
        // slot of a node.
        walk.node = XAS_RESTART;
    }
    (walk, entry)
}

/// `xas_find_marked()`.
///
/// # Safety
///
/// That of [`find_conflict_slowly`].
#[inline(never)]
unsafe fn find_marked(mut walk: Walk, max: usize, mark: Mark) -> (Walk, *mut c_void) {
    let mark = mark as bindings::xa_mark_t;
    // SAFETY: By the requirements of this function.
    let entry = walk.with(|raw| unsafe { bindings::xas_find_marked(raw, max, mark) });
    (walk, entry)
}

/// `xas_get_mark()`.
///
/// # Safety
///
/// That of [`find_conflict_slowly`].
#[cold]
#[inline(never)]
unsafe fn is_marked_slowly(walk: Walk, mark: Mark) -> bool {
    // SAFETY: By the requirements of this function.
    unsafe { bindings::xas_get_mark(&walk.raw(), mark as bindings::xa_mark_t) }
}

/// `xas_set_mark()`, `xas_clear_mark()`.
///
/// # Safety
///
/// That of [`find_conflict_slowly`].
#[inline(never)]
unsafe fn mark_slowly(walk: Walk, mark: Mark, set: bool) {
    let (raw, mark) = (walk.raw(), mark as bindings::xa_mark_t);
    // SAFETY: By the requirements of this function.
    unsafe {
        match set {
            true => bindings::xas_set_mark(&raw, mark),
            false => bindings::xas_clear_mark(&raw, mark),
        }
    }
}

/// Records that the C code may have freed a node, or moved an entry. The array's lock is held.
fn moved<T: Value>(xa: &XArray<T>) {
    // It takes many years to reach `NEVER`.
    xa.moves.set(xa.moves.get().wrapping_add(1));
}

/// Returns the walk for a store at its run of `1 << order` indices from `start`. From where a search
/// has moved it to, the run would end past its node, or begin in one below.
///
/// # Safety
///
/// That of [`find_conflict_slowly`].
unsafe fn walk_to_run<T: Value>(xa: &XArray<T>, walk: Walk, start: usize, order: u32) -> Walk {
    // If the node of the run is missing, the offset is one in a node above.
    let is_inside = !walk.is_missing() && walk.offset & walk.siblings != 0;
    // SAFETY: By the requirements of this function.
    let is_below = unsafe { walk.is_below() };
    if walk.index != start || is_inside || is_below {
        return Walk::new(xa.inner.get(), start, order);
    }
    walk
}

/// `xas_store()` of NULL at the walk's run of `1 << order` indices from `start`.
///
/// # Safety
///
/// That of [`find_conflict_slowly`]. The walk is one of `xa`.
#[cold]
#[inline(never)]
unsafe fn erase_slowly<T: Value>(
    xa: &XArray<T>,
    walk: Walk,
    start: usize,
    order: u32,
) -> (Walk, *mut c_void) {
    // SAFETY: By the requirements of this function.
    let mut walk = unsafe { walk_to_run(xa, walk, start, order) };
    // SAFETY: By the requirements of this function.
    let old = walk.with(|raw| unsafe { bindings::xas_store(raw, ptr::null_mut()) });
    moved(xa);
    (walk, old)
}

/// `xas_store()` in the slot that the walk has reached.
///
/// # Safety
///
/// That of [`find_conflict_slowly`]. The walk is one of `xa`. `entry` may be stored in it.
#[cold]
#[inline(never)]
unsafe fn replace_slowly<T: Value>(
    xa: &XArray<T>,
    mut walk: Walk,
    entry: *mut c_void,
) -> (Walk, *mut c_void) {
    let (shift, siblings) = (walk.shift, walk.siblings);
    if walk.node.addr() & 3 == 0 {
        // SAFETY: By the requirements of this function, this is a node of a locked array. Null
        // stands for the array's root, whose shift is 0. With another order than the node's, a store
        // would make nodes below the entry.
        walk.shift = match unsafe { walk.node.as_ref() } {
            Some(node) => node.shift,
            None => 0,
        };
    }
    // Its other slots refer to the first, so only that has to change.
    walk.siblings = 0;
    // SAFETY: By the requirements of this function.
    let old = walk.with(|raw| unsafe { bindings::xas_store(raw, entry) });
    (walk.shift, walk.siblings) = (shift, siblings);
    moved(xa);
    (walk, old)
}

/// `xas_store()` at the walk's run of `1 << order` indices from `start`, with the node of `spare` if
/// one is needed.
///
/// # Safety
///
/// That of [`find_conflict_slowly`]. The walk is one of `xa`. `entry` may be stored in it.
#[cold]
#[inline(never)]
unsafe fn store_slowly<T: Value>(
    xa: &XArray<T>,
    walk: Walk,
    start: usize,
    order: u32,
    entry: *mut c_void,
    spare: &mut Spare,
) -> (Walk, Result<*mut c_void>) {
    // SAFETY: By the requirements of this function.
    let mut walk = unsafe { walk_to_run(xa, walk, start, order) };
    // `xas_store()` does much for each slot of a run. Where it has to make the node, it is given the
    // last slot only, since for that it needs the same nodes as for the run. An entry at index 0 would
    // need fewer: it would go into the array itself.
    let alone = walk.siblings != 0 && walk.is_missing();
    let old = walk.with(|raw| {
        if alone {
            raw.xa_index |= usize::from(raw.xa_sibs) << raw.xa_shift;
            raw.xa_sibs = 0;
        }
        // The node is lent for this store.
        raw.xa_alloc = core::mem::replace(&mut spare.node, ptr::null_mut());
        // SAFETY: By the requirements of this function.
        let old = unsafe { bindings::xas_store(raw, entry) };
        // INVARIANT: The walk gives the node back if it was not used.
        spare.node = core::mem::replace(&mut raw.xa_alloc, ptr::null_mut());
        old
    });
    moved(xa);
    if walk.node == XAS_ENOMEM {
        // Where it has ended is an error, not a place, and its index may be the last of the run.
        let begun_anew = Walk::new(xa.inner.get(), start, order);
        return (begun_anew, Err(ENOMEM));
    }
    if alone {
        // SAFETY: The store has made the node, in which nothing else is, and has reached the last slot
        // of the run: its index is not 0, so it is not in the array itself.
        unsafe { xa_node::spread(&mut walk, start, entry) };
    }
    (walk, Ok(old))
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
        let xas = XaState::new(xa, index, order);
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
        let xas = XaState::new(xa, index, order);
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

    /// An entry that is the first in its node, after a look that has found no node.
    #[test]
    fn first_in_a_node() -> Result {
        let cases = [0, 1, 3, 5, 6, 7, 9, 11, 12]
            .into_iter()
            .flat_map(|order| [0, 1, 5, 63].map(|place| (order, place << order)));
        for (order, start) in cases {
            let xa = array()?;
            check_first(&xa, start, order)?;
            // If a slot were counted twice, or not at all, its node would stay.
            assert!(xa.is_empty());
            // In the same node, in one next to it, and in the first of a tall array.
            for other in [0, start + (1 << order), 1 << 12, 1 << 30] {
                if (start..start + (1 << order)).contains(&other) {
                    continue;
                }
                let xa = array()?;
                store(&xa, other, 0, 7)?;
                check_first(&xa, start, order)?;
                assert_eq!(at(&xa, other, 0), Some(7));
                assert_eq!(XaState::new(&xa, other, 0).lock().erase(), Some(7));
                assert!(xa.is_empty());
            }
        }
        Ok(())
    }

    fn check_first(xa: &XArray<usize>, start: usize, order: u32) -> Result {
        let len = 1usize << order;
        let xas = XaState::new(xa, start, order);
        let mut spare = Spare::new();
        loop {
            let mut guard = xas.lock();
            assert_eq!(guard.find_conflict(), None);
            if let Ok(old) = guard.store(42, &mut spare) {
                assert_eq!(old, None);
                // The walk has reached the entry.
                guard.mark(Mark::Mark1, true);
                assert_eq!(guard.replace(43), Some(42));
                break;
            }
            drop(guard);
            spare.fill()?;
        }
        for inside in [start, start + len / 2, start + len - 1] {
            assert_eq!(at(xa, inside, 0), Some(43));
            assert_eq!(find(xa, inside, usize::MAX), Some((inside, 43)));
        }
        assert_eq!(find_marked(xa, start, start), Some((start, 43)));
        // SAFETY: The array is initialised, and not used by others.
        let head = unsafe { (*xa.inner.get()).xa_head };
        if head.addr() & 3 == 2 {
            check_node(head.wrapping_byte_sub(2).cast(), Mark::Mark1);
        }
        assert_eq!(XaState::new(xa, start, order).lock().erase(), Some(43));
        assert_eq!(find(xa, start, start + len - 1), None);
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
            let xas = XaState::new(&xa, 512, 9);
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

    /// A walk that looks for a conflict may end further on in its node. A search then begins at the
    /// walk's index, and not past the node.
    #[test]
    fn find_after_conflict() -> Result {
        let xa = array()?;
        for index in 65..72 {
            store(&xa, index, 0, index)?;
        }
        let xas = XaState::new(&xa, 64, 3);
        let mut guard = xas.lock();
        assert_eq!(guard.find_conflict(), Some(65));
        for index in 65..72 {
            assert_eq!(guard.find(usize::MAX), Some((index, index)));
        }
        assert_eq!(guard.find(usize::MAX), None);
        drop(guard);
        // The same from a slot, with another index.
        let xas = XaState::new(&xa, 69, 0);
        let mut guard = xas.lock();
        assert_eq!(guard.find_conflict(), Some(69));
        let slot = guard.slot();
        drop(guard);
        assert_eq!(slot.lock(64, 0).find(usize::MAX), Some((65, 65)));
        Ok(())
    }

    /// Marks are found in the largest indices, too.
    #[test]
    fn marks_far_out() -> Result {
        let xa = array()?;
        for index in [0, 7] {
            let index = index + (1 << 61);
            store(&xa, index, 0, index >> 1)?;
            mark(&xa, index, 0);
        }
        for from in [0, 5, 64, (1 << 60) + 5] {
            assert_eq!(find_marked(&xa, from, usize::MAX), Some((1 << 61, 1 << 60)));
        }
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
                let xas = XaState::new(&xa, inside, 0);
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
        let xas = XaState::new(&xa, 0, 0);
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
        let (xas, mut spare) = (XaState::new(&xa, 8, 3), Spare::new());
        spare.fill()?;
        {
            let mut guard = xas.lock();
            assert_eq!(guard.find_conflict(), None);
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

    /// An entry of index 0 in an array without nodes.
    #[test]
    fn head() -> Result {
        let xa = array()?;
        let (xas, mut spare) = (XaState::new(&xa, 0, 0), Spare::new());
        for _ in 0..2 {
            let mut guard = xas.lock();
            assert_eq!(guard.find_conflict(), None);
            assert_eq!(guard.store(5, &mut spare)?, None);
            assert!(!guard.has_mark(Mark::Mark1));
            assert_eq!(guard.find_conflict(), Some(5));
            assert!(!guard.is_marked(Mark::Mark1));
            guard.mark(Mark::Mark1, true);
            assert!(guard.is_marked(Mark::Mark1) && guard.has_mark(Mark::Mark1));
            assert!(!guard.is_marked(Mark::Mark0) && !guard.has_mark(Mark::Mark0));
            assert_eq!(guard.replace(6), Some(5));
            assert!(guard.is_marked(Mark::Mark1));
            guard.set_order(0, 0);
            assert_eq!(guard.find_marked(9, Mark::Mark1), Some((0, 6)));
            guard.set_order(1, 0);
            assert_eq!(guard.find_conflict(), None);
            guard.set_order(0, 6);
            assert_eq!(guard.find_conflict(), Some(6));
            guard.set_order(0, 0);
            assert_eq!(guard.find_conflict(), Some(6));
            assert_eq!(guard.erase(), Some(6));
            assert!(guard.is_empty() && !guard.has_mark(Mark::Mark1));
        }
        Ok(())
    }

    /// Returns the slot of an entry.
    fn slot(xa: &XArray<usize>, index: usize, order: u32) -> Slot<'_, usize> {
        let mut guard = XaState::new(xa, index, order).lock();
        guard.find_conflict();
        guard.slot()
    }

    /// An entry of index 0 moves from the array into a node, and back. From its old slot it is found
    /// in the new one.
    #[test]
    fn moved_entry() -> Result {
        let xa = array()?;
        store(&xa, 0, 0, 1)?;
        let in_head = slot(&xa, 0, 0);
        assert!(in_head.is_current());
        assert_eq!(in_head.replace(|| (0, 0), 2), Some(1));
        for index in [63, 4096] {
            store(&xa, index, 0, index)?;
            assert!(!in_head.is_current());
            assert_eq!(in_head.replace(|| (0, 0), 3), Some(2));
            assert_eq!(at(&xa, 0, 0), Some(3));
            in_head.lock(0, 0).mark(Mark::Mark1, true);
            assert_eq!(find_marked(&xa, 0, usize::MAX), Some((0, 3)));
            let in_node = slot(&xa, 0, 0);
            assert_eq!(XaState::new(&xa, index, 0).lock().erase(), Some(index));
            assert!(!in_node.is_current());
            assert_eq!(in_node.replace(|| (0, 0), 2), Some(3));
            assert_eq!(at(&xa, 0, 0), Some(2));
            in_node.lock(0, 0).mark(Mark::Mark1, false);
            assert_eq!(find_marked(&xa, 0, usize::MAX), None);
        }
        assert_eq!(in_head.lock(0, 0).erase(), Some(2));
        assert!(xa.is_empty());
        Ok(())
    }

    /// A slot is used without a walk while its neighbours change; not when its node may be gone.
    #[test]
    fn slots() -> Result {
        for (order, near, far) in [(0, 65, 4096), (3, 72, 4096), (9, 1024, 1 << 15)] {
            let xa = array()?;
            let start = 64usize << order;
            for index in [start, start + near, start + far] {
                store(&xa, index, order, index)?;
            }
            let kept = slot(&xa, start, order);
            let other = slot(&xa, start + near, order);
            assert_eq!(
                other.replace(|| (start + near, order), 7),
                Some(start + near)
            );
            store(&xa, start + (1 << order), order, 8)?;
            let neighbour = slot(&xa, start + (1 << order), order);
            assert_eq!(neighbour.lock(start + (1 << order), order).erase(), Some(8));
            let mut guard = kept.lock(start, order);
            assert_eq!(guard.replace(9), Some(start));
            guard.mark(Mark::Mark1, true);
            drop(guard);
            assert_eq!(find_marked(&xa, 0, usize::MAX), Some((start, 9)));
            assert_eq!(kept.lock(start, order).erase(), Some(9));
            for index in [start, start + (1 << order) - 1] {
                assert_eq!(at(&xa, index, 0), None);
            }
            let gone = slot(&xa, start + far, order);
            xa.clear();
            assert!(xa.is_empty());
            assert!(!gone.is_current() && !kept.is_current());
            assert!(gone.lock(start + far, order).find_conflict().is_none());
        }
        Ok(())
    }

    /// A walk that has reached nothing has no slot.
    #[test]
    fn no_slot() -> Result {
        let xa = array()?;
        store(&xa, 1, 0, 1)?;
        let none = XaState::new(&xa, 1, 0).lock().slot();
        assert!(!none.is_current());
        assert_eq!(none.replace(|| (1, 0), 2), Some(1));
        assert_eq!(at(&xa, 1, 0), Some(2));
        Ok(())
    }

    /// An erase after a search that moved the walk erases at the walk's own run. From where it has
    /// ended, the run would reach into the marks of other slots.
    #[test]
    fn erase_after_a_search() -> Result {
        let xa = array()?;
        for index in [3, 62, 64] {
            store(&xa, index, 0, index)?;
        }
        mark(&xa, 3, 0);
        {
            let mut guard = XaState::new(&xa, 56, 3).lock();
            assert_eq!(guard.find(usize::MAX), Some((62, 62)));
            guard.erase();
        }
        assert_eq!(at(&xa, 62, 0), None);
        assert_eq!(at(&xa, 64, 0), Some(64));
        assert_eq!(find_marked(&xa, 0, usize::MAX), Some((3, 3)));
        Ok(())
    }

    /// An erase after a search that moved the walk does not erase what the search has found.
    #[test]
    fn erase_of_nothing_after_a_search() -> Result {
        let xa = array()?;
        for index in [60, 61, 62] {
            store(&xa, index, 0, index)?;
        }
        {
            let mut guard = XaState::new(&xa, 5, 0).lock();
            assert_eq!(guard.find(usize::MAX), Some((60, 60)));
            assert_eq!(guard.erase(), None);
        }
        for index in [60, 61, 62] {
            assert_eq!(at(&xa, index, 0), Some(index));
        }
        Ok(())
    }

    /// A search that ends without an entry may stop after the last slot of a node. The next one goes
    /// on from the next node.
    #[test]
    fn find_after_a_search_in_vain() -> Result {
        let xa = array()?;
        for index in [64, 8192] {
            store(&xa, index, 0, index)?;
        }
        {
            let mut guard = XaState::new(&xa, 128, 0).lock();
            assert_eq!(guard.find(4095), None);
            assert!(!guard.walk.is_in_node());
            assert_eq!(guard.find(usize::MAX), Some((8192, 8192)));
        }
        let small = array()?;
        for index in [3, 5] {
            store(&small, index, 0, index)?;
        }
        let mut guard = XaState::new(&small, 56, 3).lock();
        assert_eq!(guard.find(63), None);
        assert!(!guard.walk.is_in_node());
        assert_eq!(guard.find_conflict(), None);
        Ok(())
    }

    /// A store and an erase after a search that has found a smaller entry at the first index of the
    /// run are of the whole run.
    #[test]
    fn run_over_what_a_search_has_found() -> Result {
        for erased in [false, true] {
            let (xa, mut spare) = (array()?, Spare::new());
            for index in [512, 520, 1023, 1024, 1 << 12] {
                store(&xa, index, 0, index)?;
            }
            {
                let mut guard = XaState::new(&xa, 512, 9).lock();
                assert_eq!(guard.find_conflict(), Some(512));
                if erased {
                    guard.erase();
                } else {
                    guard.store(7, &mut spare)?;
                }
            }
            for index in [512, 520, 600, 1023] {
                assert_eq!(at(&xa, index, 0), (!erased).then_some(7));
            }
            assert_eq!(at(&xa, 1024, 0), Some(1024));
        }
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
                    assert_eq!((*child).shift + bindings::XA_CHUNK_SHIFT as u8, shift);
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
            let xas = XaState::new(&xa, index, order);
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
            guard.set_order(choice & 4095, 0);
            // SAFETY: This is a walk of an array that is locked.
            let (walk, entry) = unsafe { super::find_marked(guard.walk, index, Mark::Mark1) };
            let expected = decode(entry).map(|value: usize| (walk.index, value));
            assert_eq!(guard.find_marked(index, Mark::Mark1), expected);
            assert!(expected.is_none() || guard.is_marked(Mark::Mark1));
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
            let xas = XaState::new(&xa, index, order);
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

    /// A task that gives up after it got one node of two leaves that one, which goes with the array.
    #[cfg(CONFIG_FAILSLAB)]
    #[test]
    fn node_of_nothing() -> Result {
        let (xa, mut spare) = (array()?, Spare::new());
        spare.fill()?;
        // SAFETY: Only this task accesses the field.
        unsafe { (*bindings::get_current()).fail_nth = 1 };
        let stored = XaState::new(&xa, 64, 0).lock().store(7, &mut spare);
        // SAFETY: As above.
        unsafe { (*bindings::get_current()).fail_nth = 0 };
        assert!(stored == Err(ENOMEM));
        assert!(!xa.is_empty());
        assert_eq!(find(&xa, 0, usize::MAX), None);
        xa.clear();
        assert!(xa.is_empty());
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
