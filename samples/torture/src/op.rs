// SPDX-License-Identifier: GPL-2.0

//! The kinds of operations, and how often each comes.

use crate::dice::Dice;

macro_rules! kinds {
    ($($kind:ident $name:literal $weight:literal,)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Kind { $($kind,)* }

        pub const ALL: &[Kind] = &[$(Kind::$kind,)*];
        pub const KINDS: usize = ALL.len();
        const NAMES: [&str; KINDS] = [$($name,)*];
        const WEIGHTS: [u64; KINDS] = [$($weight,)*];
    };
}

kinds! {
    Load "load" 360_000,
    Store "store" 320_000,
    LoadShared "load, shared word" 100_000,
    StoreShared "store, shared word" 80_000,
    Read "read bytes, mapped" 30_000,
    Write "write bytes, mapped" 30_000,
    Pread "pread" 60_000,
    Pwrite "pwrite" 60_000,
    Map "mmap, munmap" 8_000,
    Unmap "munmap of a part" 1_500,
    Move "mremap" 2_000,
    Grow "mremap, larger" 1_000,
    Protect "mprotect" 2_500,
    Advise "madvise" 1_000,
    Mm "mlock, mbind, madvise, others" 3_000,
    Walk "/proc/self/smaps, others" 60,
    Prefault "prefault" 1_500,
    Msync "msync" 500,
    Fsync "fsync" 10,
    Punch "punch, own" 1_500,
    PunchAll "punch, everybody's" 60,
    Zero "zero, own" 1_000,
    ZeroAll "zero, everybody's" 20,
    LoadGiant "load, 1 GiB mapping" 2_000,
    StoreGiant "store, 1 GiB area" 300,
    Fork "fork" 100,
    Kill "fork, kill" 60,
    Seal "fork, mseal" 40,
    Dump "fork, core dump" 10,
    Interrupt "signal" 4_000,
    End "behind the end" 1_000,
    Resize "resize" 100,
    ResizeGiant "resize by 1 GiB" 10,
    Commons "replace what threads share" 100,
    Upgrade "parameter upgrade" 60,
    Second "bind another, unbind it" 20,
    DirectOut "O_DIRECT from a mapping" 1_500,
    DirectIn "O_DIRECT into a mapping" 1_500,
    VmRead "process_vm_readv" 2_000,
    VmWrite "process_vm_writev" 2_000,
    Pin "pin" 600,
    PinRace "pins against punches" 60,
}

/// How far apart the operations are that each worker does once, of every kind, at its beginning.
const APART: u64 = 128;

impl Kind {
    /// The kind of the operation `index` of a worker. `pins`: can pages be pinned?
    pub fn of(worker: usize, index: u64, pins: bool, dice: &mut Dice) -> Self {
        if index % APART == APART - 1 && index / APART < KINDS as u64 {
            return ALL[(index / APART) as usize ^ (worker % 2)];
        }
        let weights = if pins { &WITH_PINS } else { &WEIGHTS };
        let mut at = dice.below(sum(weights));
        for (kind, weight) in ALL.iter().zip(weights) {
            let weight = *weight;
            if at < weight {
                return *kind;
            }
            at -= weight;
        }
        Self::Load
    }

    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// Those that need a struct page.
pub const PINS: [Kind; 6] = [
    Kind::DirectOut,
    Kind::DirectIn,
    Kind::VmRead,
    Kind::VmWrite,
    Kind::Pin,
    Kind::PinRace,
];

/// Where pages can be pinned, that is done more often, and so is what waits for pins.
const OFTEN: [(Kind, u64); 7] = [
    (Kind::DirectOut, 12_000),
    (Kind::DirectIn, 12_000),
    (Kind::VmRead, 16_000),
    (Kind::VmWrite, 16_000),
    (Kind::Pin, 40_000),
    (Kind::PinRace, 2_000),
    (Kind::PunchAll, 3_000),
];

const WITH_PINS: [u64; KINDS] = {
    let mut weights = WEIGHTS;
    let mut i = 0;
    while i < OFTEN.len() {
        weights[OFTEN[i].0 as usize] = OFTEN[i].1;
        i += 1;
    }
    weights
};

const _: () = assert!(KINDS % 2 == 0);

const fn sum(of: &[u64]) -> u64 {
    let (mut i, mut n) = (0, 0);
    while i < of.len() {
        n += of[i];
        i += 1;
    }
    n
}
