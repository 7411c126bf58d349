// SPDX-License-Identifier: GPL-2.0

//! The nodes of an XArray, read and written directly.
//!
//! What `xas_find_conflict()`, `xas_store()` and `xas_set_mark()` do where nothing unusual is in the
//! way, in one walk and without calls. Each function leaves the array as the C function does, or
//! changes nothing and says so. None makes or frees a node, or gives an entry another slot, except for
//! [`spread`], which ends a store that `xas_store()` has begun. The array has only value entries, and
//! its lock is held, so no retry entries are met.
//!
//! C source: `lib/xarray.c`

use crate::kernel_ext::bindings::{
    self,
    xa_node,
    xa_state,
    xarray, //
};
use core::{
    mem::offset_of,
    ptr, //
};
use kernel::prelude::*;

/// `XA_CHUNK_SIZE`.
const SLOTS: usize = 1 << bindings::XA_CHUNK_SHIFT;
/// `XA_CHUNK_MASK`.
pub(in crate::kernel_ext) const MASK: usize = SLOTS - 1;

/// `XA_MAX_MARKS`.
const MARKS: usize = 3;

// A word of marks has a bit for each slot.
const _: () = assert!(SLOTS <= usize::BITS as usize);

/// `xa_is_value()`.
fn is_value(entry: *mut c_void) -> bool {
    entry.addr() & 1 == 1
}

/// `xa_is_internal()`.
fn is_internal(entry: *mut c_void) -> bool {
    entry.addr() & 3 == 2
}

/// `xa_is_node()`.
fn is_node(entry: *mut c_void) -> bool {
    is_internal(entry) && entry.addr() > 4096
}

/// `xa_is_sibling()`.
fn is_sibling(entry: *mut c_void) -> bool {
    is_internal(entry) && entry.addr() < sibling(MASK).addr()
}

/// `xa_mk_sibling()`.
fn sibling(offset: usize) -> *mut c_void {
    ptr::without_provenance_mut(offset << 2 | 2)
}

/// `xa_to_node()`.
fn to_node(entry: *mut c_void) -> *mut xa_node {
    entry.wrapping_byte_sub(2).cast()
}

/// `XAS_RESTART`: the walk begins at the root.
pub(in crate::kernel_ext) const XAS_RESTART: *mut xa_node = ptr::without_provenance_mut(3);
/// `XA_ERROR(-ENOMEM)`.
pub(in crate::kernel_ext) const XAS_ENOMEM: *mut xa_node =
    ptr::without_provenance_mut(((-(bindings::ENOMEM as isize)) as usize) << 2 | 2);

/// Where a walk is: what a `struct xa_state` has, but by value, so that it need not be in memory.
///
/// Plain numbers and pointers, without a rule: what reads through them has the rules.
#[derive(Clone, Copy)]
pub(in crate::kernel_ext) struct Walk {
    xa: *mut xarray,
    /// The first index of the run, or the one that a search has moved to.
    pub(in crate::kernel_ext) index: usize,
    /// The node that was reached, or one of `XAS_*`.
    pub(in crate::kernel_ext) node: *mut xa_node,
    /// The slot that was reached.
    pub(in crate::kernel_ext) offset: u8,
    pub(in crate::kernel_ext) shift: u8,
    /// The number of slots of the run, but one.
    pub(in crate::kernel_ext) siblings: u8,
    /// The slots of the run, from the one that was reached, were seen empty since then.
    is_empty: bool,
    /// The node with these slots was seen to be missing since then.
    is_missing: bool,
}

impl Walk {
    /// Makes one for `1 << order` indices from `index`, which has not begun (`XA_STATE_ORDER()`).
    #[inline(always)]
    pub(in crate::kernel_ext) fn new(xa: *mut xarray, index: usize, order: u32) -> Self {
        Self {
            xa,
            index,
            node: XAS_RESTART,
            offset: 0,
            shift: (order - order % bindings::XA_CHUNK_SHIFT) as u8,
            siblings: ((1u32 << (order % bindings::XA_CHUNK_SHIFT)) - 1) as u8,
            is_empty: false,
            is_missing: false,
        }
    }

    /// Calls a C function with the walk, which may move it.
    #[inline(always)]
    pub(in crate::kernel_ext) fn with<R>(&mut self, call: impl FnOnce(&mut xa_state) -> R) -> R {
        let mut raw = self.raw();
        let result = call(&mut raw);
        (self.index, self.node, self.offset) = (raw.xa_index, raw.xa_node, raw.xa_offset);
        (self.is_empty, self.is_missing) = (false, false);
        result
    }

    /// Goes to where `other` is, a walk of the same array with the same order. What depends on the
    /// order stays, so that it is still a constant if it was one.
    #[inline(always)]
    pub(in crate::kernel_ext) fn follow(&mut self, other: Self) {
        (self.index, self.node, self.offset) = (other.index, other.node, other.offset);
        (self.is_empty, self.is_missing) = (other.is_empty, other.is_missing);
    }

    /// Returns the walk for a C function that does not move it.
    #[inline(always)]
    pub(in crate::kernel_ext) fn raw(&self) -> xa_state {
        let mut raw: xa_state = pin_init::zeroed();
        raw.xa = self.xa;
        raw.xa_index = self.index;
        raw.xa_shift = self.shift;
        raw.xa_sibs = self.siblings;
        raw.xa_offset = self.offset;
        raw.xa_node = self.node;
        raw
    }

    /// Whether it has reached the entry that is in the array itself, and not in a node: index 0.
    #[inline(always)]
    fn is_at_head(&self) -> bool {
        self.node.is_null()
    }

    /// Whether nothing is in the run, and its node was seen to be missing. The slot that was reached is
    /// one of a node above then.
    #[inline(always)]
    pub(in crate::kernel_ext) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Whether it has reached a node.
    pub(in crate::kernel_ext) fn is_in_node(&self) -> bool {
        self.reached().is_some()
    }

    /// Whether it has reached a node below that of its run.
    ///
    /// # Safety
    ///
    /// Those of [`look`].
    pub(in crate::kernel_ext) unsafe fn is_below(&self) -> bool {
        let Some(node) = self.reached() else {
            return false;
        };
        // SAFETY: The walk has reached the node, which stays while the lock is held.
        let shift = unsafe { (*node).shift };
        shift < self.shift
    }

    /// Returns the node that it has reached. `None` if it is at the head or has not begun.
    #[inline(always)]
    fn reached(&self) -> Option<*mut xa_node> {
        let node = self.node;
        (!node.is_null() && node.addr() & 3 == 0).then_some(node)
    }
}

/// Returns a slot of `node`.
fn slot(node: *mut xa_node, offset: usize) -> *mut *mut c_void {
    let slots = node.wrapping_byte_add(offset_of!(xa_node, slots));
    slots.cast::<*mut c_void>().wrapping_add(offset & MASK)
}

/// What [`look`] has found.
pub(in crate::kernel_ext) enum Look {
    /// The entry that lies in the run or covers it.
    Entry(*mut c_void),
    /// No entry.
    Empty,
    /// Neither is certain. `xas_find_conflict()` has to look.
    Unknown,
}

/// Looks for an entry at the run of `walk`, whose index is the run's first. Unless the result is
/// [`Look::Unknown`], the walk has reached the entry, or the node from which a store goes on.
///
/// # Safety
///
/// `walk` is one of an initialised array of value entries, whose lock is held.
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn look(walk: &mut Walk) -> Look {
    // SAFETY: The array is initialised by the requirements of this function.
    let head = unsafe { (*walk.xa).xa_head };
    if !is_node(head) {
        return look_at_head(walk, head);
    }
    let mut node = to_node(head);
    // SAFETY: The head is a node, which stays while the lock is held.
    let mut shift = unsafe { (*node).shift };
    if walk.index.wrapping_shr(shift.into()) > MASK || shift < walk.shift {
        return Look::Unknown;
    }
    walk.is_empty = false;
    walk.is_missing = false;
    loop {
        let mut offset = walk.index.wrapping_shr(shift.into()) & MASK;
        // SAFETY: `node` is a node of the array, and stays while the lock is held.
        let mut entry = unsafe { *slot(node, offset) };
        if is_internal(entry) {
            if is_node(entry) {
                if shift == walk.shift {
                    return Look::Unknown;
                }
                node = to_node(entry);
                shift = shift.wrapping_sub(bindings::XA_CHUNK_SHIFT as u8);
                continue;
            }
            if !is_sibling(entry) {
                return Look::Unknown;
            }
            offset = entry.addr() >> 2;
            // SAFETY: As for `entry`.
            entry = unsafe { *slot(node, offset) };
        }
        if is_value(entry) {
            walk.node = node;
            walk.offset = offset as u8;
            return Look::Entry(entry);
        }
        if entry.is_null() {
            if shift == walk.shift {
                let aligned = offset & usize::from(walk.siblings) == 0;
                // SAFETY: `node` is a node of the array, and has the slots of an aligned run.
                walk.is_empty = aligned && unsafe { are_empty(node, offset, walk.siblings) };
                if !walk.is_empty {
                    return Look::Unknown;
                }
            } else {
                walk.is_missing = true;
            }
            walk.node = node;
            walk.offset = offset as u8;
            return Look::Empty;
        }
        return Look::Unknown;
    }
}

/// [`look`] in an array without nodes, where only index 0 can have an entry.
#[inline(always)]
fn look_at_head(walk: &mut Walk, head: *mut c_void) -> Look {
    walk.is_missing = head.is_null();
    if head.is_null() && (walk.index != 0 || walk.shift != 0 || walk.siblings != 0) {
        // A store begins at the root.
        walk.node = XAS_RESTART;
        walk.is_empty = false;
        return Look::Empty;
    }
    if walk.index != 0 || walk.shift != 0 || walk.siblings != 0 {
        return Look::Unknown;
    }
    walk.node = ptr::null_mut();
    walk.offset = 0;
    walk.is_empty = head.is_null();
    match head.is_null() {
        true => Look::Empty,
        false => Look::Entry(head),
    }
}

/// Looks for the first entry with `mark` that ends after the walk's index and begins at or before
/// `max` (`xas_find_marked()`). Moves the walk there if it has found one.
///
/// # Safety
///
/// Those of [`look`]. `mark` is one of three.
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn look_marked(walk: &mut Walk, max: usize, mark: usize) -> Look {
    // SAFETY: The array is initialised by the requirements of this function.
    let head = unsafe { (*walk.xa).xa_head };
    // A walk that has begun searches past where it is.
    if walk.node != XAS_RESTART || !is_node(head) {
        return Look::Unknown;
    }
    let (mut node, mut index) = (to_node(head), walk.index);
    // SAFETY: The head is a node, which stays while the lock is held.
    let mut shift = unsafe { (*node).shift };
    if index.wrapping_shr(shift.into()) > MASK {
        return Look::Unknown;
    }
    loop {
        let from = index.wrapping_shr(shift.into()) & MASK;
        // SAFETY: `node` is a node of the array, and stays while the lock is held.
        let (word, at) = unsafe { (*marks(node, mark), *slot(node, from)) };
        let rest = word & usize::MAX.wrapping_shl(from as u32);
        // The entry of a sibling has its mark further back.
        if rest == 0 || is_sibling(at) {
            return Look::Unknown;
        }
        let offset = rest.trailing_zeros() as usize;
        if offset != from {
            let above = shift.wrapping_add(bindings::XA_CHUNK_SHIFT as u8).into();
            // The root of the largest array has no bits above.
            let rest = index.checked_shr(above).unwrap_or(0);
            let node_index = rest.checked_shl(above).unwrap_or(0);
            index = node_index | offset.wrapping_shl(shift.into());
        }
        if index > max {
            return Look::Empty;
        }
        // SAFETY: As above.
        let entry = unsafe { *slot(node, offset) };
        if is_node(entry) {
            node = to_node(entry);
            shift = shift.wrapping_sub(bindings::XA_CHUNK_SHIFT as u8);
            continue;
        }
        if !is_value(entry) {
            return Look::Unknown;
        }
        (walk.index, walk.node, walk.offset) = (index, node, offset as u8);
        (walk.is_empty, walk.is_missing) = (false, false);
        return Look::Entry(entry);
    }
}

/// Whether the slot at `offset` and the `siblings` after it are empty.
///
/// # Safety
///
/// `node` is a node of an array whose lock is held, and has these slots.
#[inline(always)]
unsafe fn are_empty(node: *mut xa_node, offset: usize, siblings: u8) -> bool {
    let (mut slot, mut all) = (slot(node, offset), 0);
    for _ in 0..usize::from(siblings) + 1 {
        // SAFETY: By the requirements of this function, all these slots are in the node.
        all |= unsafe { *slot }.addr();
        slot = slot.wrapping_add(1);
    }
    all == 0
}

/// Stores `entry`, a value, at the run of `walk`, if [`look`] has found it empty and it needs no node.
/// Returns whether it did.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn fill(walk: &mut Walk, entry: *mut c_void) -> bool {
    if !core::mem::take(&mut walk.is_empty) {
        return false;
    }
    if walk.is_at_head() {
        // SAFETY: By the requirements of this function. `look()` has seen that the head is empty.
        // Others read it without the lock.
        unsafe { ptr::write_volatile(&raw mut (*walk.xa).xa_head, entry) };
        return true;
    }
    // Where a run was seen to be empty, a node was reached.
    let node = walk.node;
    // SAFETY: The walk has reached the node, which stays while the lock is held. `look()` has seen
    // that all slots of the run are in it, and empty.
    unsafe {
        put(node, walk.offset.into(), walk.siblings, entry);
        count(node, walk.siblings.wrapping_add(1));
    }
    true
}

/// Adds to the values that `node` counts.
///
/// # Safety
///
/// `node` is one of an array whose lock is held, with room for so many.
#[inline(always)]
unsafe fn count(node: *mut xa_node, values: u8) {
    // SAFETY: By the requirements of this function. At most the number of slots.
    unsafe {
        (*node).count = (*node).count.wrapping_add(values);
        (*node).nr_values = (*node).nr_values.wrapping_add(values);
    }
}

/// Stores `entry` in the slot of `node` at `offset`, and its siblings in the slots after it.
///
/// # Safety
///
/// `node` is one of an array whose lock is held, and has these slots.
#[inline(always)]
unsafe fn put(node: *mut xa_node, offset: usize, siblings: u8, entry: *mut c_void) {
    let mut slot = slot(node, offset);
    // SAFETY: By the requirements of this function.
    unsafe {
        *slot = entry;
        for _ in 0..siblings {
            slot = slot.wrapping_add(1);
            *slot = sibling(offset);
        }
    }
}

/// Makes the entry that the walk has reached, `entry` in the last slot of the run from index `start`, one
/// of the whole run, and moves the walk to its first slot.
///
/// # Safety
///
/// Those of [`look`]. The walk has reached a node. The other slots of the run are in it, and empty, and
/// the entry has no marks.
pub(in crate::kernel_ext) unsafe fn spread(walk: &mut Walk, start: usize, entry: *mut c_void) {
    walk.index = start;
    walk.offset = walk.offset.wrapping_sub(walk.siblings);
    // SAFETY: By the requirements of this function.
    unsafe {
        put(walk.node, walk.offset.into(), walk.siblings, entry);
        count(walk.node, walk.siblings);
    }
}

/// Stores `entry`, a value, in place of the value that the walk has reached, and returns that. Marks
/// stay. `None` if the walk has not reached a value in a node.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn replace(
    walk: &mut Walk,
    entry: *mut c_void,
) -> Option<*mut c_void> {
    if !walk.is_at_head() && walk.reached().is_none() {
        return None;
    }
    // SAFETY: By the requirements of this function. The walk has reached the node, which stays while
    // the lock is held, or the head.
    unsafe { replace_at(walk.xa, walk.node, walk.offset, entry) }
}

/// Stores `entry`, a value, in place of the value in the slot of `node` at `offset`, or of `xa` itself
/// if `node` is null, and returns that. Marks stay. `None` if there is no value.
///
/// # Safety
///
/// `xa` is an initialised array of value entries, whose lock is held. `node` is null or a node of it.
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn replace_at(
    xa: *mut xarray,
    node: *mut xa_node,
    offset: u8,
    entry: *mut c_void,
) -> Option<*mut c_void> {
    let slot = if node.is_null() {
        // SAFETY: The array is initialised by the requirements of this function.
        unsafe { &raw mut (*xa).xa_head }
    } else {
        slot(node, offset.into())
    };
    // SAFETY: The slot is in the array or in one of its nodes, and `slot()` masks the offset.
    unsafe {
        let old = *slot;
        if !is_value(old) {
            return None;
        }
        ptr::write_volatile(slot, entry);
        Some(old)
    }
}

/// Removes the value that the walk has reached, if that is at the run of `walk`, and returns it with
/// its marks removed. `None` if `xas_store()` has to do it, because something changes above the node.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn erase(walk: &mut Walk) -> Option<*mut c_void> {
    if walk.is_at_head() && (walk.index, walk.shift, walk.siblings) == (0, 0, 0) {
        // SAFETY: The array is initialised by the requirements of this function, and locked.
        unsafe { return erase_head(walk.xa) };
    }
    let node = walk.reached()?;
    let (offset, siblings) = (usize::from(walk.offset), walk.siblings);
    let bit = 1usize.wrapping_shl(walk.offset.into());
    // SAFETY: The walk has reached the node, which stays while the lock is held. The run lies in it:
    // its shift is that of the run, and the run begins at a multiple of its length.
    unsafe {
        let old = *slot(node, offset);
        let here = (*node).shift == walk.shift && offset & usize::from(siblings) == 0;
        let last = usize::from(siblings);
        // Neither larger nor smaller than the run.
        let whole = (last == 0 || *slot(node, offset + last) == sibling(offset))
            && (offset + last == MASK || *slot(node, offset + last + 1) != sibling(offset));
        // A root with one entry left may be replaced by it.
        let kept = u8::from((*node).parent.is_null());
        if !here || !whole || !is_value(old) || (*node).count <= siblings + 1 + kept {
            return None;
        }
        if (0..MARKS).any(|mark| *marks(node, mark) == bit) {
            return None;
        }
        for mark in 0..MARKS {
            *marks(node, mark) &= !bit;
        }
        for i in 0..=last {
            *slot(node, offset + i) = ptr::null_mut();
        }
        (*node).count = (*node).count.wrapping_sub(siblings).wrapping_sub(1);
        (*node).nr_values = (*node).nr_values.wrapping_sub(siblings).wrapping_sub(1);
        Some(old)
    }
}

/// [`erase`] for an entry that is not in a node.
///
/// # Safety
///
/// `xa` is an initialised array of value entries, whose lock is held.
#[inline(always)]
unsafe fn erase_head(xa: *mut xarray) -> Option<*mut c_void> {
    // SAFETY: By the requirements of this function.
    unsafe {
        let old = (*xa).xa_head;
        if !is_value(old) {
            return None;
        }
        ptr::write_volatile(&raw mut (*xa).xa_head, ptr::null_mut());
        for mark in 0..MARKS {
            (*xa).xa_flags &= !flag(mark);
        }
        Some(old)
    }
}

/// Returns whether the entry that the walk has reached has `mark`. `None` if the walk has not
/// reached one.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn has_mark(walk: &Walk, mark: usize) -> Option<bool> {
    if walk.is_at_head() {
        // SAFETY: The array is initialised by the requirements of this function, and locked.
        return Some(unsafe { (*walk.xa).xa_flags } & flag(mark) != 0);
    }
    let node = walk.reached()?;
    // SAFETY: The walk has reached the node, which stays while the lock is held.
    let word = unsafe { *marks(node, mark) };
    Some(word & 1usize.wrapping_shl(walk.offset.into()) != 0)
}

/// Marks the entry that the walk has reached. Returns whether it did: not if it has reached none.
///
/// # Safety
///
/// Those of [`look`]. `mark` is one of three.
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn set_mark(walk: &Walk, mark: usize) -> bool {
    let (mut node, mut offset) = (walk.node, walk.offset);
    if !walk.is_at_head() && walk.reached().is_none() {
        return false;
    }
    // SAFETY: The walk has reached the node, which stays while the lock is held, as the nodes above
    // it and the array do.
    unsafe {
        while !node.is_null() {
            let (word, bit) = (marks(node, mark), 1usize.wrapping_shl(offset.into()));
            if *word & bit != 0 {
                // So it is in all nodes above. Nothing is written then.
                return true;
            }
            *word |= bit;
            offset = (*node).offset;
            node = (*node).parent;
        }
        (*walk.xa).xa_flags |= flag(mark);
    }
    true
}

/// `XA_FLAGS_MARK()`.
fn flag(mark: usize) -> bindings::gfp_t {
    bindings::XA_FLAGS_MARK_0 << mark
}

/// Returns the word of marks of `node`.
fn marks(node: *mut xa_node, mark: usize) -> *mut usize {
    let marks = node.wrapping_byte_add(offset_of!(xa_node, __bindgen_anon_2));
    marks.cast::<usize>().wrapping_add(mark)
}
