// SPDX-License-Identifier: GPL-2.0

//! The nodes of an XArray, read and written directly.
//!
//! What `xas_find_conflict()`, `xas_store()` and `xas_set_mark()` do where nothing unusual is in the
//! way, in one walk and without calls. Each function leaves the array as the C function does, or
//! changes nothing and says so. None makes or frees a node. The array has only value entries, and
//! its lock is held, so no retry entries are met.
//!
//! C source: `lib/xarray.c`

use crate::kernel_ext::bindings::{
    self,
    xa_node,
    xa_state, //
};
use core::{
    mem::offset_of,
    ptr, //
};
use kernel::prelude::*;

/// `XA_CHUNK_SIZE`.
const SLOTS: usize = 1 << bindings::XA_CHUNK_SHIFT;
/// `XA_CHUNK_MASK`.
const MASK: usize = SLOTS - 1;

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

/// Returns the node that a walk has reached. `None` if it is at the root or has not begun.
fn reached(xas: &xa_state) -> Option<*mut xa_node> {
    let node = xas.xa_node;
    (!node.is_null() && node.addr() & 3 == 0).then_some(node)
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

/// Looks for an entry at the run of `xas`, whose index is the run's first. Unless the result is
/// [`Look::Unknown`], the walk has reached the entry, or the node from which a store goes on.
///
/// # Safety
///
/// `xas` is a walk of an initialised array of value entries, whose lock is held.
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn look(xas: &mut xa_state) -> Look {
    // SAFETY: The array is initialised by the requirements of this function.
    let head = unsafe { (*xas.xa).xa_head };
    if !is_node(head) {
        return Look::Unknown;
    }
    let mut node = to_node(head);
    // SAFETY: The head is a node, which stays while the lock is held.
    let mut shift = unsafe { (*node).shift };
    if xas.xa_index.wrapping_shr(shift.into()) > MASK {
        return Look::Unknown;
    }
    loop {
        if shift < xas.xa_shift {
            return Look::Unknown;
        }
        let mut offset = xas.xa_index.wrapping_shr(shift.into()) & MASK;
        // SAFETY: `node` is a node of the array, and stays while the lock is held.
        let mut entry = unsafe { *slot(node, offset) };
        if is_sibling(entry) {
            offset = entry.addr() >> 2;
            // SAFETY: As for `entry`.
            entry = unsafe { *slot(node, offset) };
        }
        if is_value(entry) {
            xas.xa_node = node;
            xas.xa_offset = offset as u8;
            return Look::Entry(entry);
        }
        if entry.is_null() {
            // SAFETY: `node` is a node of the array.
            if shift == xas.xa_shift && !unsafe { are_empty(node, offset, xas.xa_sibs) } {
                return Look::Unknown;
            }
            xas.xa_node = node;
            xas.xa_offset = offset as u8;
            return Look::Empty;
        }
        if shift == xas.xa_shift || !is_node(entry) {
            return Look::Unknown;
        }
        node = to_node(entry);
        // SAFETY: The entry is a node, which stays while the lock is held.
        shift = unsafe { (*node).shift };
    }
}

/// Whether the slot at `offset` and the `siblings` after it are empty.
///
/// # Safety
///
/// `node` is a node of an array whose lock is held.
#[inline(always)]
unsafe fn are_empty(node: *mut xa_node, offset: usize, siblings: u8) -> bool {
    // SAFETY: By the requirements of this function.
    (0..=usize::from(siblings)).all(|i| unsafe { (*slot(node, offset + i)).is_null() })
}

/// Stores `entry`, a value, at the run of `xas`, if [`look`] has found it empty and it needs no node.
/// Returns whether it did. The walk was not moved since then.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn fill(xas: &mut xa_state, entry: *mut c_void) -> bool {
    let Some(node) = reached(xas) else {
        return false;
    };
    let (offset, siblings) = (usize::from(xas.xa_offset), xas.xa_sibs);
    // SAFETY: The walk has reached the node, which stays while the lock is held. The run lies in it:
    // its shift is that of the run, and the run begins at a multiple of its length.
    unsafe {
        if (*node).shift != xas.xa_shift
            || offset & usize::from(siblings) != 0
            || !are_empty(node, offset, siblings)
        {
            return false;
        }
        *slot(node, offset) = entry;
        for i in 1..=usize::from(siblings) {
            *slot(node, offset + i) = sibling(offset);
        }
        // At most the number of slots.
        (*node).count = (*node).count.wrapping_add(siblings).wrapping_add(1);
        (*node).nr_values = (*node).nr_values.wrapping_add(siblings).wrapping_add(1);
    }
    true
}

/// Stores `entry`, a value, in place of the value that the walk has reached, and returns that. Marks
/// stay. `None` if the walk has not reached a value in a node.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn replace(
    xas: &mut xa_state,
    entry: *mut c_void,
) -> Option<*mut c_void> {
    let node = reached(xas)?;
    let slot = slot(node, xas.xa_offset.into());
    // SAFETY: The walk has reached the node, which stays while the lock is held.
    unsafe {
        let old = *slot;
        if !is_value(old) {
            return None;
        }
        *slot = entry;
        Some(old)
    }
}

/// Removes the value that the walk has reached, if that is at the run of `xas`, and returns it with
/// its marks removed. `None` if `xas_store()` has to do it, because something changes above the node.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn erase(xas: &mut xa_state) -> Option<*mut c_void> {
    let node = reached(xas)?;
    let (offset, siblings) = (usize::from(xas.xa_offset), xas.xa_sibs);
    let bit = 1usize.wrapping_shl(xas.xa_offset.into());
    // SAFETY: The walk has reached the node, which stays while the lock is held. The run lies in it:
    // its shift is that of the run, and the run begins at a multiple of its length.
    unsafe {
        let old = *slot(node, offset);
        let here = (*node).shift == xas.xa_shift && offset & usize::from(siblings) == 0;
        let last = usize::from(siblings);
        // Neither larger nor smaller than the run.
        let whole = (last == 0 || *slot(node, offset + last) == sibling(offset))
            && (offset + last == MASK || *slot(node, offset + last + 1) != sibling(offset));
        if !here || !whole || !is_value(old) || (*node).count <= siblings + 1 {
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

/// Returns whether the entry that the walk has reached has `mark`. `None` if it is not in a node.
///
/// # Safety
///
/// Those of [`look`].
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn has_mark(xas: &xa_state, mark: usize) -> Option<bool> {
    let node = reached(xas)?;
    // SAFETY: The walk has reached the node, which stays while the lock is held.
    let word = unsafe { *marks(node, mark) };
    Some(word & 1usize.wrapping_shl(xas.xa_offset.into()) != 0)
}

/// Marks the entry that the walk has reached. Returns whether it did: not if it is not in a node.
///
/// # Safety
///
/// Those of [`look`]. `mark` is one of three.
#[inline(always)]
pub(in crate::kernel_ext) unsafe fn set_mark(xas: &xa_state, mark: usize) -> bool {
    let Some(mut node) = reached(xas) else {
        return false;
    };
    let mut offset = xas.xa_offset;
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
        (*xas.xa).xa_flags |= bindings::XA_FLAGS_MARK_0 << mark;
    }
    true
}

/// Returns the word of marks of `node`.
fn marks(node: *mut xa_node, mark: usize) -> *mut usize {
    let marks = node.wrapping_byte_add(offset_of!(xa_node, __bindgen_anon_2));
    marks.cast::<usize>().wrapping_add(mark)
}
