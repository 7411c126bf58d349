// SPDX-License-Identifier: GPL-2.0

//! What the processes of a run share: counters, the announcements of punches and resizes, where
//! they meet, and what went wrong first.

use crate::{op::KINDS, shareable, sys};
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

pub const MAX_WORKERS: usize = 32;
pub const CHUNKS: usize = 20;
pub const LOG: usize = 4096;
pub const CHILD_LOG: usize = 64;
pub const SECOND_WORDS: usize = 16;
const TEXT: usize = 2048;

pub const STORE_BEGUN: u64 = 1;
pub const STORE_DONE: u64 = 2;
pub const STORE_REFUSED: u64 = 3;

shareable! {
    /// 2 MiB of the device. Who punches more than its own pages there announces it: `seq` is odd
    /// meanwhile, and `log[seq / 2]` says which bytes, as first << 32 | behind.
    pub struct Chunk {
        pub lock: AtomicU64,
        pub seq: AtomicU64,
        pub log: [AtomicU64; LOG],
        /// As `seq`, of what does not wait for pins: zeroes, and punches of parts of pages.
        pub hasty: AtomicU64,
    }
}

shareable! {
    /// A store of a forked child.
    pub struct ChildStore {
        pub page: AtomicU64,
        pub offset: AtomicU64,
        pub value: AtomicU64,
        /// The chunk's `seq` before and after it.
        pub before: AtomicU64,
        pub after: AtomicU64,
        /// 0, or STORE_...
        pub state: AtomicU64,
    }
}

shareable! {
    pub struct Cell {
        pub ops: AtomicU64,
        /// The operation it is at.
        pub index: AtomicU64,
        pub ticks: AtomicU64,
        pub tid: AtomicU32,
        pub process: AtomicU32,
        /// What it wrote into shared words: a number that only grows.
        pub written: AtomicU64,
        pub child_stores: AtomicU64,
        pub child_log: [ChildStore; CHILD_LOG],
        pub kinds: [AtomicU64; KINDS],
        /// Operations that could not be done (a lock was taken, nothing was mapped).
        pub skipped: [AtomicU64; KINDS],
    }
}

shareable! {
    pub struct Control {
        pub stop: AtomicU32,
        /// 1: somebody is writing `text`, 2: it is there.
        pub failed: AtomicU32,
        pub fail_worker: AtomicU64,
        pub fail_index: AtomicU64,
        pub fail_len: AtomicU64,
        pub fail_text: [AtomicU32; TEXT],

        pub active: AtomicU64,
        pub arrived: AtomicU64,
        pub generation: AtomicU64,
        pub leader: AtomicU64,
        pub checkpoints: AtomicU64,
        /// Pages compared there, which takes long on CXL memory.
        pub compared: AtomicU64,

        pub resize_lock: AtomicU64,
        pub resize_seq: AtomicU64,
        pub end: AtomicU64,

        pub second_lock: AtomicU64,
        pub second: [AtomicU64; SECOND_WORDS],

        /// Kinds of entries that were seen in the index: see coverage.rs.
        pub seen_entries: AtomicU64,
        /// Stores through a mapping into whole pages that had been punched.
        pub holes_written: AtomicU64,
        /// Shared words in which another's value was found.
        pub met: AtomicU64,
        /// Pins that were held while somebody else punched beside or under them.
        pub pins_met: AtomicU64,

        pub cells: [Cell; MAX_WORKERS],
        pub chunks: [Chunk; CHUNKS],
    }
}

/// Takes a lock if nobody has it.
pub fn try_lock(lock: &AtomicU64) -> bool {
    lock.compare_exchange(0, 1, SeqCst, SeqCst).is_ok()
}

pub fn unlock(lock: &AtomicU64) {
    lock.store(0, SeqCst);
}

impl Control {
    pub fn new() -> &'static Self {
        sys::share()
    }

    /// As at the beginning.
    pub fn reset(&self, active: usize, end: u64) {
        for word in [
            &self.arrived,
            &self.generation,
            &self.leader,
            &self.checkpoints,
            &self.compared,
            &self.resize_lock,
            &self.resize_seq,
            &self.second_lock,
            &self.fail_len,
            &self.seen_entries,
            &self.holes_written,
            &self.met,
            &self.pins_met,
        ] {
            word.store(0, SeqCst);
        }
        for word in &self.second {
            word.store(0, SeqCst);
        }
        self.stop.store(0, SeqCst);
        self.failed.store(0, SeqCst);
        self.active.store(active as u64, SeqCst);
        self.end.store(end, SeqCst);
        for chunk in &self.chunks {
            chunk.lock.store(0, SeqCst);
            chunk.seq.store(0, SeqCst);
            chunk.hasty.store(0, SeqCst);
        }
        for cell in &self.cells {
            for word in [&cell.ops, &cell.index, &cell.ticks, &cell.written] {
                word.store(0, SeqCst);
            }
            cell.tid.store(0, SeqCst);
            for n in cell.kinds.iter().chain(&cell.skipped) {
                n.store(0, SeqCst);
            }
        }
    }

    /// Only the first failure counts: the rest follows from it.
    pub fn fail(&self, worker: usize, index: u64, text: &str) {
        if self.failed.compare_exchange(0, 1, SeqCst, SeqCst).is_err() {
            return;
        }
        self.fail_worker.store(worker as u64, SeqCst);
        self.fail_index.store(index, SeqCst);
        let mut n = 0;
        for (to, from) in self.fail_text.iter().zip(text.chars()) {
            to.store(from as u32, SeqCst);
            n += 1;
        }
        self.fail_len.store(n, SeqCst);
        self.failed.store(2, SeqCst);
        self.stop.store(1, SeqCst);
    }

    pub fn failure(&self) -> Option<(usize, u64, String)> {
        while self.failed.load(SeqCst) == 1 {
            thread::sleep(Duration::from_millis(1));
        }
        if self.failed.load(SeqCst) == 0 {
            return None;
        }
        let n = self.fail_len.load(SeqCst) as usize;
        let text = self.fail_text[..n]
            .iter()
            .filter_map(|c| char::from_u32(c.load(SeqCst)))
            .collect();
        let worker = self.fail_worker.load(SeqCst) as usize;
        Some((worker, self.fail_index.load(SeqCst), text))
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(SeqCst) != 0
    }

    /// Waits for all workers that are active. One of them is told to do what one is to do, while
    /// the others wait for [`Self::release`]. None if the run has failed.
    pub fn meet(&self) -> Option<bool> {
        let generation = self.generation.load(SeqCst);
        self.arrived.fetch_add(1, SeqCst);
        loop {
            if self.has_failed() {
                return None;
            }
            if self.generation.load(SeqCst) != generation {
                return Some(false);
            }
            if self.arrived.load(SeqCst) >= self.active.load(SeqCst)
                && self
                    .leader
                    .compare_exchange(generation, generation + 1, SeqCst, SeqCst)
                    .is_ok()
            {
                return Some(true);
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    pub fn release(&self) {
        self.arrived.store(0, SeqCst);
        self.generation.fetch_add(1, SeqCst);
    }

    pub fn leave(&self) {
        self.active.fetch_sub(1, SeqCst);
    }
}
