// SPDX-License-Identifier: GPL-2.0

//! A worker: the bytes that it owns, as they must be, and its operations on them.
//!
//! Who punches (or zeroes) bytes of others announces it before and after, in the chunk's `seq`. An
//! access between two equal even values of it is *exact*: it came before or after each punch, and
//! the model knows which. A byte written while a punch was under way is what was written or zero;
//! which of them is looked up when the punch is over (`settle`), and holds from then on.

use crate::{
    coverage,
    device::{self, Device, Memory, Run},
    dice::{mix, Dice},
    layout::*,
    op::{Kind, KINDS},
    shared::{
        try_lock, unlock, Cell, ChildStore, Chunk, Control, CHILD_LOG, LOG, MAX_WORKERS,
        SECOND_WORDS, STORE_BEGUN, STORE_DONE, STORE_REFUSED,
    },
    sys::{
        self,
        pin::{Fixed, HeldWrite, Pipe, Ring},
        Ended, Errno, Guarded, Map, MapHow, Signal,
    },
};
use std::{
    collections::HashMap,
    fs::File,
    io::Error,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::{
        atomic::{fence, AtomicU64, Ordering::SeqCst},
        RwLock, RwLockReadGuard,
    },
    thread,
    time::{Duration, Instant},
};

const SLOTS: usize = 6;
const PAGE_BYTES: usize = PAGE as usize;
const WORDS: u64 = PAGE / 8;
/// Operations after which a worker turns to another chunk for most of its accesses.
const HOT: u64 = 8192;
const HOT_PAGES: u64 = 16;
const RECENT: usize = 16;
/// Of the disk, those that are a worker's.
const DISK_PAGES: usize = 16;

/// What the threads of a process share: a mapping of the shared words and the arena.
pub struct Process {
    pub device: Device,
    pub second: String,
    pub write: File,
    pub read: File,
    pub commons: RwLock<Map>,
    pub tids: Vec<usize>,
    memory: Memory,
    /// What mappings are multiples of.
    unit: u64,
    disk: Option<File>,
}

const COMMONS: u64 = SHARED;
const COMMONS_LEN: usize = (ARENA_END - SHARED) as usize;

impl Process {
    pub fn new(device: Device, second: String, tids: Vec<usize>) -> Result<Self, String> {
        let write = device.open(true).map_err(|e| said("open", e))?;
        let read = device.open(false).map_err(|e| said("open", e))?;
        let how = MapHow {
            write: true,
            sync: false,
            place: None,
        };
        let map =
            Map::new(write.as_fd(), COMMONS, COMMONS_LEN, how).map_err(|e| said("mmap", e))?;
        let unit = if device::is_dax(&device.name) {
            device.number("align").ok_or("no align")?
        } else {
            PAGE
        };
        Ok(Self {
            memory: device.memory(),
            unit,
            disk: device::ram_disk(),
            device,
            second,
            write,
            read,
            commons: RwLock::new(map),
            tids,
        })
    }

    fn commons(&self) -> RwLockReadGuard<'_, Map> {
        self.commons.read().unwrap_or_else(|e| e.into_inner())
    }
}

fn said(what: &str, errno: Errno) -> String {
    format!("{what}: {}", Error::from_raw_os_error(errno))
}

fn errno(error: &Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// A mapping of a worker's own.
struct Slot {
    map: Map,
    offset: u64,
    read: bool,
    write: bool,
    /// May it become writable?
    may_write: bool,
}

impl Slot {
    fn end(&self) -> u64 {
        self.offset + self.map.len() as u64
    }
}

/// Bytes of a page that were written while a punch was under way.
struct Pending {
    first: usize,
    behind: usize,
    before: u64,
    after: u64,
}

/// The announcements as they were before an access.
struct Before {
    seq: u64,
    resizes: u64,
}

/// And what can be said of it afterwards.
#[derive(Clone, Copy)]
struct After {
    before: u64,
    after: u64,
    exact: bool,
    resizes: Option<u64>,
}

/// A model of what lies at one shared word.
#[derive(Clone, Default)]
struct Word {
    last: u64,
    /// The chunk's `seq` when `last` was seen exactly.
    seq: Option<u64>,
    /// The smallest number of each worker that may still be found.
    floor: Vec<u64>,
}

pub struct Worker<'a> {
    process: &'a Process,
    control: &'static Control,
    cell: &'static Cell,
    seed: u64,
    me: usize,
    workers: usize,
    /// Its pages, those of each chunk, and where each page of the model is among the first.
    own: Vec<u32>,
    by_chunk: Vec<Vec<u32>>,
    local: Vec<u32>,
    bytes: Vec<[u8; PAGE_BYTES]>,
    seen: Vec<u64>,
    hole: Vec<bool>,
    pending: HashMap<u32, Vec<Pending>>,
    words: Vec<Word>,
    slots: [Option<Slot>; SLOTS],
    /// Pages that it stored into last through what threads share.
    recent: [u32; RECENT],
    /// What it has pinned, and what it needs to do so.
    pin: Option<pin::Pin>,
    ring: Option<Ring>,
    pipe: Option<Pipe>,
    /// What it reads from the disk, and writes to it.
    buffer: Guarded,
    index: u64,
    in_child: bool,
    pub verbose: bool,
}

type Done = Result<bool, String>;
/// Done, but for what could not be done now.
const SKIPPED: Done = Ok(false);
const DONE: Done = Ok(true);

enum Via<'m> {
    Slot(usize),
    Map(&'m Map),
}

/// Bytes of a worker's own pages, in one of the mappings.
struct Stretch<'m> {
    via: Via<'m>,
    page: u32,
    /// Where they begin: in the page, in the mapping.
    at: usize,
    place: usize,
    data: Vec<u8>,
    before: Before,
}

macro_rules! note {
    ($worker:expr, $($text:tt)*) => {
        if $worker.verbose {
            eprintln!("#   worker {} op {}: {}", $worker.me, $worker.index, format!($($text)*));
        }
    };
}

mod access;
mod checkpoint;
mod choice;
mod direct;
mod end;
mod mapping;
mod mm;
mod model;
mod pin;
mod pin_race;
mod process;
mod sync;

use process::Child;

impl<'a> Worker<'a> {
    pub fn new(
        process: &'a Process,
        control: &'static Control,
        seed: u64,
        me: usize,
        workers: usize,
    ) -> Self {
        let own: Vec<u32> = (0..PAGES)
            .filter(|page| owner_of(*page, workers) == me)
            .collect();
        let mut by_chunk = vec![Vec::new(); SHARED_CHUNK];
        let mut local = vec![u32::MAX; PAGES as usize];
        for (n, page) in own.iter().enumerate() {
            by_chunk[chunk_of(*page)].push(*page);
            local[*page as usize] = n as u32;
        }
        Self {
            process,
            control,
            cell: &control.cells[me],
            seed,
            me,
            workers,
            bytes: vec![[0; PAGE_BYTES]; own.len()],
            seen: vec![0; own.len()],
            hole: vec![false; own.len()],
            own,
            by_chunk,
            local,
            pending: HashMap::new(),
            words: vec![
                Word {
                    floor: vec![0; workers],
                    ..Word::default()
                };
                SHARED_WORDS
            ],
            slots: [const { None }; SLOTS],
            recent: [u32::MAX; RECENT],
            pin: None,
            ring: None,
            pipe: None,
            buffer: Guarded::new(DISK_PAGES),
            index: 0,
            in_child: false,
            verbose: false,
        }
    }

    /// Does one operation; what it is follows from seed, worker and index.
    pub fn run(&mut self, index: u64) -> Result<(), String> {
        self.index = index;
        self.cell.index.store(index, SeqCst);
        let mut dice = Dice::new(self.seed, self.me, index);
        let pins = self.process.memory.has_pages();
        let kind = Kind::of(self.me, index, pins, &mut dice);
        self.release_before(kind)?;
        let done = self
            .operate(kind, &mut dice)
            .map_err(|e| format!("{}: {e}", kind.name()))?;
        let counter = if done {
            &self.cell.kinds
        } else {
            &self.cell.skipped
        };
        counter[kind as usize].fetch_add(1, SeqCst);
        self.cell.ops.fetch_add(1, SeqCst);
        Ok(())
    }

    fn operate(&mut self, kind: Kind, dice: &mut Dice) -> Done {
        match kind {
            Kind::Load | Kind::Store => self.word(dice, kind == Kind::Store),
            Kind::LoadShared | Kind::StoreShared => self.shared(dice, kind == Kind::StoreShared),
            Kind::Read | Kind::Write => self.run_of_bytes(dice, kind == Kind::Write),
            Kind::Pread | Kind::Pwrite => self.file(dice, kind == Kind::Pwrite),
            Kind::Map => self.map(dice, None),
            Kind::LoadGiant => self.giant(dice, false),
            Kind::StoreGiant => self.giant(dice, true),
            Kind::Unmap => self.unmap_part(dice),
            Kind::Move => self.relocate(dice),
            Kind::Grow => self.grow(dice),
            Kind::Protect => self.protect(dice),
            Kind::Advise => self.advise(dice),
            Kind::Mm => self.ask_mm(dice),
            Kind::Walk => self.walk(dice),
            Kind::Prefault => self.prefault(dice),
            Kind::Msync => self.msync(dice),
            Kind::Fsync => self.fsync(dice),
            Kind::Punch => self.punch_own(dice, device::PUNCH),
            Kind::Zero => self.punch_own(dice, device::ZERO),
            Kind::PunchAll => self.punch_all(dice, device::PUNCH),
            Kind::ZeroAll => self.punch_all(dice, device::ZERO),
            Kind::Fork => self.fork(dice, Child::Ends),
            Kind::Kill => self.fork(dice, Child::IsKilled),
            Kind::Seal => self.fork(dice, Child::Seals),
            Kind::Dump => self.fork(dice, Child::DumpsCore),
            Kind::Interrupt => self.interrupt(dice),
            Kind::End => self.behind_the_end(dice),
            Kind::Resize => self.resize(dice, TAIL),
            Kind::ResizeGiant => self.resize_giant(dice),
            Kind::Commons => self.replace_commons(dice),
            Kind::Upgrade => {
                let value = if dice.one_in(2) { "N" } else { "Y" };
                device::set_parameter("upgrade", value)?;
                DONE
            }
            Kind::Second => self.second(dice),
            Kind::DirectOut | Kind::DirectIn => self.direct(dice, kind == Kind::DirectIn),
            Kind::VmRead | Kind::VmWrite => self.process_vm(dice, kind == Kind::VmWrite),
            Kind::Pin => self.pin(dice),
            Kind::PinRace => self.pin_race(dice),
        }
    }
}

const _: () = assert!(KINDS < 64);
// Each worker has its part of either half of the disk.
const _: () = assert!((MAX_WORKERS * DISK_PAGES) as u64 * PAGE <= device::DISK_BYTES / 2);
