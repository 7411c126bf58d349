// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/xarray.rs`.
//!
//! It insists on what the XArray does not check: nothing is stored into a part of an entry, and what
//! is erased is there.

use super::sync::{
    atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    },
    Mutex,
    MutexGuard, //
};
use kernel::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::{
    Deref,
    DerefMut, //
};

pub(crate) trait Value: Copy {
    fn into_bits(self) -> usize;
    fn from_bits(bits: usize) -> Self;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Mark0,
    Mark1,
}

#[derive(Clone, Copy)]
struct Stored {
    order: u32,
    bits: usize,
    marks: [bool; 2],
}

impl Stored {
    fn last(&self, start: usize) -> usize {
        start + ((1 << self.order) - 1)
    }
}

#[derive(Default)]
struct Slots {
    /// By their first index.
    entries: BTreeMap<usize, Stored>,
    /// A store that got one node and not the next has left the first one, without entries.
    node_of_nothing: bool,
}

impl Deref for Slots {
    type Target = BTreeMap<usize, Stored>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl DerefMut for Slots {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.entries
    }
}

pub(crate) struct XArray<T> {
    slots: Mutex<Slots>,
    /// The number of entries, for those who look without the lock.
    len: AtomicUsize,
    nodes: Nodes,
    _values: PhantomData<fn(T)>,
}

/// What a look and a new entry find of the nodes. The callers of [`Guard::look`] have a way for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Nodes {
    /// A look cannot tell what is there. Each new entry lacks memory without a spare node.
    Unknown,
    /// A look can tell. Each new entry lacks memory without a spare node.
    Missing,
    /// A look can tell, and no entry lacks memory.
    AtHand,
}

std::thread_local! {
    static NODES: Cell<Nodes> = const { Cell::new(Nodes::Unknown) };
}

/// Calls `make`, which makes arrays that find nodes so.
pub(crate) fn with<R>(nodes: Nodes, make: impl FnOnce() -> R) -> R {
    NODES.set(nodes);
    let made = make();
    NODES.set(Nodes::Unknown);
    made
}

impl<T: Value> XArray<T> {
    pub(crate) fn new() -> impl PinInit<Self> {
        Ok::<_, core::convert::Infallible>(Self {
            slots: Mutex::new(Slots::default()),
            len: AtomicUsize::new(0),
            nodes: NODES.get(),
            _values: PhantomData,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Relaxed) == 0
    }

    pub(crate) fn clear(&self) {
        *self.slots.lock().unwrap() = Slots::default();
        self.len.store(0, Relaxed);
    }
}

/// The first entry of `slots` that ends at or behind `first` and begins at or before `last`.
fn first_in(slots: &Slots, first: usize, last: usize) -> Option<(usize, Stored)> {
    let (&start, &slot) = slots
        .range(..=first)
        .next_back()
        .filter(|(&start, slot)| slot.last(start) >= first)
        .or_else(|| slots.range(first..=last.max(first)).next())?;
    (start <= last).then_some((start, slot))
}

std::thread_local! {
    static WALKS: Cell<usize> = const { Cell::new(0) };
}

/// How many walks from the root this thread has made so far.
pub(crate) fn walks() -> usize {
    WALKS.get()
}

pub(crate) struct XaState<'a, T> {
    xa: &'a XArray<T>,
    index: usize,
    order: u32,
}

/// The kernel gives a node or not; here [`Nodes`] says whether each new entry lacks one.
pub(crate) struct Spare {
    nodes: usize,
}

impl Spare {
    pub(crate) const fn new() -> Self {
        Self { nodes: 0 }
    }

    /// One that never runs out.
    pub(crate) const fn endless() -> Self {
        Self { nodes: usize::MAX }
    }

    pub(crate) fn fill(&mut self) -> Result {
        self.nodes = self.nodes.max(1);
        Ok(())
    }
}

impl<'a, T: Value> XaState<'a, T> {
    pub(crate) fn new(xa: &'a XArray<T>, index: usize, order: u32) -> Self {
        Self {
            xa,
            index: index >> order << order,
            order,
        }
    }

    pub(crate) fn lock(&self) -> Guard<'a, T> {
        Guard {
            slots: self.xa.slots.lock().unwrap(),
            xa: self.xa,
            restart: true,
            index: self.index,
            order: self.order,
        }
    }
}

pub(crate) struct Unknown;

/// The entry that a walk has reached. Who comes back to it relies on that it is as it was, which the
/// XArray does not check.
pub(crate) struct Slot<'a, T> {
    xa: &'a XArray<T>,
    entry: (usize, u32, usize),
}

impl<'a, T: Value> Slot<'a, T> {
    pub(crate) fn lock(&self, index: usize, order: u32) -> Guard<'a, T> {
        let slots = self.xa.slots.lock().unwrap();
        let bits = slots.get(&index).filter(|slot| slot.order == order);
        let entry = bits.map(|slot| (index, order, slot.bits));
        assert_eq!(entry, Some(self.entry), "another entry");
        Guard {
            slots,
            xa: self.xa,
            restart: false,
            index,
            order,
        }
    }

    pub(crate) fn replace(&self, run: impl FnOnce() -> (usize, u32), value: T) -> Option<T> {
        let (index, order) = run();
        self.lock(index, order).replace(value)
    }
}

pub(crate) struct Guard<'a, T> {
    slots: MutexGuard<'a, Slots>,
    xa: &'a XArray<T>,
    /// `XAS_RESTART`: the next step begins at the root.
    restart: bool,
    index: usize,
    order: u32,
}

impl<'a, T: Value> Guard<'a, T> {
    pub(crate) fn slot(&self) -> Slot<'a, T> {
        let (start, slot) = self
            .first_in(self.index, self.last())
            .expect("slot of no entry");
        Slot {
            xa: self.xa,
            entry: (start, slot.order, slot.bits),
        }
    }

    fn first_in(&self, first: usize, last: usize) -> Option<(usize, Stored)> {
        first_in(&self.slots, first, last)
    }

    /// A step of the walk: where it is at the root, it is a walk.
    fn step(&mut self) {
        if core::mem::take(&mut self.restart) {
            WALKS.set(WALKS.get() + 1);
        }
    }

    fn last(&self) -> usize {
        self.index + ((1 << self.order) - 1)
    }

    pub(crate) fn look(&mut self) -> Result<Option<T>, Unknown> {
        match self.xa.nodes {
            Nodes::Unknown => Err(Unknown),
            Nodes::Missing | Nodes::AtHand => Ok(self.find_conflict()),
        }
    }

    pub(crate) fn fill(&mut self, value: T) -> bool {
        self.xa.nodes == Nodes::AtHand && matches!(self.store(value, &mut Spare::new()), Ok(None))
    }

    pub(crate) fn find_conflict(&mut self) -> Option<T> {
        self.step();
        let (_, slot) = self.first_in(self.index, self.last())?;
        Some(T::from_bits(slot.bits))
    }

    pub(crate) fn find(&mut self, max: usize) -> Option<(usize, T)> {
        self.step();
        let (start, slot) = self.first_in(self.index, max)?;
        self.index = self.index.max(start);
        Some((self.index, T::from_bits(slot.bits)))
    }

    pub(crate) fn find_marked(&mut self, max: usize, mark: Mark) -> Option<(usize, T)> {
        self.step();
        loop {
            let (start, slot) = self.first_in(self.index, max)?;
            self.index = self.index.max(start);
            if slot.marks[mark as usize] {
                return Some((self.index, T::from_bits(slot.bits)));
            }
            self.index = slot.last(start) + 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && !self.slots.node_of_nothing
    }

    pub(crate) fn has_mark(&self, mark: Mark) -> bool {
        self.slots.values().any(|slot| slot.marks[mark as usize])
    }

    pub(crate) fn set_order(&mut self, index: usize, order: u32) {
        self.index = index >> order << order;
        self.order = order;
        self.restart = true;
    }

    pub(crate) fn is_marked(&self, mark: Mark) -> bool {
        self.first_in(self.index, self.index)
            .is_some_and(|(_, slot)| slot.marks[mark as usize])
    }

    pub(crate) fn mark(&mut self, mark: Mark, set: bool) {
        let index = self.index;
        let (start, _) = self.first_in(index, index).expect("mark of no entry");
        self.slots.get_mut(&start).unwrap().marks[mark as usize] = set;
    }

    pub(crate) fn store(&mut self, value: T, spare: &mut Spare) -> Result<Option<T>> {
        self.step();
        let (index, order, last) = (self.index, self.order, self.last());
        let first = self.first_in(index, last);
        if let Some((start, slot)) = first {
            assert!(
                slot.order <= order,
                "store into a part of the entry at {start}"
            );
        }
        let same = first.is_some_and(|(start, slot)| (start, slot.order) == (index, order));
        if !same && self.xa.nodes != Nodes::AtHand {
            let Some(left) = spare.nodes.checked_sub(1) else {
                self.slots.node_of_nothing = true;
                return Err(ENOMEM);
            };
            spare.nodes = left;
        }
        let old: Vec<_> = self
            .slots
            .range(index..=last)
            .map(|(&key, _)| key)
            .collect();
        let mut marks = [false; 2];
        for key in old {
            let removed = self
                .slots
                .remove(&key)
                .map_or([false; 2], |slot| slot.marks);
            marks = core::array::from_fn(|mark| marks[mark] | removed[mark]);
        }
        let slot = Stored {
            order,
            bits: value.into_bits(),
            marks,
        };
        self.slots.insert(index, slot);
        self.xa.len.store(self.slots.len(), Relaxed);
        Ok(first.map(|(_, slot)| T::from_bits(slot.bits)))
    }

    pub(crate) fn replace(&mut self, value: T) -> Option<T> {
        self.step();
        let index = self.index;
        let (start, _) = self
            .first_in(index, index)
            .expect("replacement of no entry");
        let slot = self.slots.get_mut(&start)?;
        Some(T::from_bits(core::mem::replace(
            &mut slot.bits,
            value.into_bits(),
        )))
    }

    pub(crate) fn erase(&mut self) -> Option<T> {
        self.step();
        let slot = self.slots.remove(&self.index)?;
        self.slots.node_of_nothing &= !self.slots.is_empty();
        self.xa.len.store(self.slots.len(), Relaxed);
        assert_eq!(slot.order, self.order, "erase of a part of an entry");
        Some(T::from_bits(slot.bits))
    }
}
