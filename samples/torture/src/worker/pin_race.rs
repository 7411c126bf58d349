// SPDX-License-Identifier: GPL-2.0

//! One page, which a thread pins and gives back all the time, by get_user_pages_fast() most of all,
//! while the worker stores into it, syncs it, maps it anew and punches it.
//!
//! Stores and punches take turns, so it is known which of them a value that the thread finds may
//! come from.

use super::*;
use std::{hint::spin_loop, sync::OnceLock};

const ROUNDS: u64 = 6;
/// How long the thread holds a page between two looks.
const HELD: u32 = 200;
/// Where the worker's word is, where it is once more, and bytes that only the thread writes: zeroes, so nobody need know
/// when it does.
const WORD: usize = 1024;
const AGAIN: usize = 2048;
const TAIL_AT: usize = PAGE_BYTES - 512;

/// What the worker has begun and what it has done, by numbers: an odd one is a store of it, an even
/// one a punch.
#[derive(Default)]
struct Turns {
    begun: AtomicU64,
    ended: AtomicU64,
    over: AtomicU64,
}

impl Turns {
    /// May that be found by who began to look after `ended` and was done before `begun`? Zero may
    /// be, if others have `punched`.
    fn explain(word: u64, ended: u64, begun: u64, punched: bool) -> bool {
        let may_be_zero = ended % 2 == 0 || begun > ended || punched;
        (word == 0 && may_be_zero) || (word % 2 == 1 && (ended..=begun).contains(&word))
    }
}

fn word_at(page: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().unwrap_or([0xff; 8]))
}

/// Has somebody announced something since then, or was at it?
fn changed(now: &AtomicU64, then: u64) -> bool {
    then % 2 != 0 || now.load(SeqCst) != then
}

/// How the thread reaches the page.
#[derive(Clone, Copy, Debug)]
enum Way {
    Splice,
    DirectOut,
    DirectIn,
    VmRead,
}

/// The thread.
struct Racer<'a> {
    map: &'a Map,
    place: usize,
    way: Way,
    disk: Option<&'a File>,
    there: i64,
    buffer: &'a Guarded,
    turns: &'a Turns,
    chunk: &'a Chunk,
    /// As its announcements were at first.
    seq: u64,
    hasty: u64,
    /// What the word was, and has become, while it was pinned.
    changed: OnceLock<(u64, u64)>,
}

impl Racer<'_> {
    fn run(&self) -> Result<u64, String> {
        let mut pipe = Pipe::new().map_err(|e| said("pipe", e))?;
        let mut page = [0u8; PAGE_BYTES];
        if let Some(disk) = self.disk {
            let from = self.buffer.put(&page);
            sys::raw_pwrite(disk.as_fd(), from, PAGE_BYTES, self.there)
                .map_err(|e| said("to the disk", e))?;
        }
        let mut n = 0;
        while self.turns.over.load(SeqCst) == 0 {
            let ended = self.turns.ended.load(SeqCst);
            let got = self.once(&mut pipe, &mut page);
            if let Some((first, now)) = self.changed.get() {
                return Err(format!("{first} was pinned, and {now} was there after it"));
            }
            fence(SeqCst);
            let begun = self.turns.begun.load(SeqCst);
            let punched = changed(&self.chunk.seq, self.seq);
            if got.map_err(|e| said(&format!("{:?}", self.way), e))? {
                let word = word_at(&page, WORD);
                if !Turns::explain(word, ended, begun, punched) {
                    return Err(format!(
                        "{:?} found {word}, between turns {ended} and {begun}",
                        self.way
                    ));
                }
            }
            n += 1;
            // A punch needs a moment without a pin.
            if n % 4 == 0 {
                thread::sleep(Duration::from_micros(500));
            }
        }
        Ok(n)
    }

    /// As long as the page is in the pipe, no punch ends. It is read from there in two parts, which
    /// needs no fault: if the first has a store that was over, so has the second.
    fn held(&self, pipe: &mut Pipe, page: &mut [u8]) -> Result<(), Errno> {
        let ended = self.turns.ended.load(SeqCst);
        let (before, behind) = page.split_at_mut(WORD + 8);
        pipe.drain(before)?;
        for _ in 0..HELD {
            spin_loop();
        }
        pipe.drain(behind)?;
        fence(SeqCst);
        let alone = !changed(&self.chunk.hasty, self.hasty);
        let (first, again) = (word_at(page, WORD), word_at(page, AGAIN));
        if alone && ended % 2 == 1 && first == ended && again != first {
            let _ = self.changed.set((first, again));
        }
        Ok(())
    }

    /// Whether `page` is what was found there.
    fn once(&self, pipe: &mut Pipe, page: &mut [u8]) -> Result<bool, Errno> {
        let whole = |n: usize| {
            if n == PAGE_BYTES {
                Ok(())
            } else {
                Err(libc::EIO)
            }
        };
        match (self.way, self.disk) {
            (Way::DirectOut, Some(disk)) => {
                let from = self.map.target(self.place);
                whole(sys::raw_pwrite(disk.as_fd(), from, PAGE_BYTES, self.there)?)?;
                let to = self.buffer.target(PAGE_BYTES);
                whole(sys::raw_pread(disk.as_fd(), to, PAGE_BYTES, self.there)?)?;
                self.buffer.get(PAGE_BYTES, page);
                Ok(true)
            }
            (Way::DirectIn, Some(disk)) => {
                let to = self.map.target(self.place + TAIL_AT);
                match sys::raw_pread(disk.as_fd(), to, 512, self.there)? {
                    512 => Ok(false),
                    _ => Err(libc::EIO),
                }
            }
            (Way::Splice, _) => {
                whole(pipe.take(self.map, self.place, PAGE_BYTES)?)?;
                self.held(pipe, page)?;
                Ok(true)
            }
            _ => {
                whole(self.map.vm_read(self.place, page)?)?;
                Ok(true)
            }
        }
    }
}

impl Worker<'_> {
    pub(super) fn pin_race(&mut self, dice: &mut Dice) -> Done {
        let process = self.process;
        let page = self.own_arena_page(dice);
        let unit = process.unit.max(if dice.one_in(2) { CHUNK } else { PAGE });
        let offset = offset_of(page) / unit * unit;
        // Not one that others use: who replaces it would wait for the pins of all.
        let map = |small: bool| {
            let how = MapHow {
                write: true,
                sync: false,
                place: Some(0),
            };
            let map = Map::new(process.write.as_fd(), offset, unit as usize, how)
                .map_err(|e| said("mmap", e))?;
            if small {
                map.advise(libc::MADV_NOHUGEPAGE)
                    .map_err(|e| said("MADV_NOHUGEPAGE", e))?;
            }
            Ok::<_, String>(map)
        };
        let (maps, place) = (
            [map(dice.one_in(2))?, map(dice.one_in(2))?],
            (offset_of(page) - offset) as usize,
        );
        let ways = [
            Way::Splice,
            Way::Splice,
            Way::DirectOut,
            Way::DirectIn,
            Way::VmRead,
        ];
        let way = dice.pick(&ways);
        if !process.memory.has_pages() {
            let n = maps[0].vm_read(place, &mut [0; 8]);
            self.judge_pages(n, true, offset_of(page), 8)?;
            return DONE;
        }
        let turns = Turns::default();
        let buffer = Guarded::new(1);
        let chunk = &self.control.chunks[chunk_of(page)];
        let racer = Racer {
            map: &maps[0],
            place,
            way,
            disk: process.disk.as_ref(),
            there: (self.on_disk() + (device::DISK_BYTES / 2)) as i64,
            buffer: &buffer,
            turns: &turns,
            seq: chunk.seq.load(SeqCst),
            hasty: chunk.hasty.load(SeqCst),
            chunk,
            changed: OnceLock::new(),
        };
        self.punch_part(page, 0, PAGE_BYTES, device::PUNCH)?;
        let (result, found) = thread::scope(|scope| {
            let thread = scope.spawn(|| racer.run());
            let result = self.take_turns(page, &maps[1], place, &turns, dice);
            turns.over.store(1, SeqCst);
            (result, thread.join())
        });
        let found = found.map_err(|_| "the thread has panicked")?;
        note!(self, "{way:?} beside {ROUNDS} rounds: {found:?}");
        result?;
        found?;
        self.punch_part(page, 0, PAGE_BYTES, device::PUNCH)
    }

    fn take_turns(
        &mut self,
        page: u32,
        map: &Map,
        place: usize,
        turns: &Turns,
        dice: &mut Dice,
    ) -> Result<(), String> {
        for turn in 1..=2 * ROUNDS {
            if self.control.has_failed() {
                break;
            }
            turns.begun.store(turn, SeqCst);
            if turn % 2 == 1 {
                let before = self.before(page)?;
                for at in [WORD, AGAIN] {
                    map.store(place + at, turn)
                        .map_err(|s| format!("{s:?} at a store"))?;
                    let after = self.after(page, &before);
                    self.wrote(page, at, &turn.to_le_bytes(), after);
                }
            } else {
                self.punch_part(page, 0, PAGE_BYTES, device::PUNCH)?;
            }
            fence(SeqCst);
            turns.ended.store(turn, SeqCst);
            match dice.below(5) {
                0 => map
                    .sync(place, PAGE_BYTES, true)
                    .map_err(|e| said("msync", e))?,
                1 => map
                    .advise(libc::MADV_DONTNEED)
                    .map_err(|e| said("DONTNEED", e))?,
                // It may be mapped by one that is larger.
                2 => drop(map.load(place)),
                3 => thread::sleep(Duration::from_micros(dice.below(500))),
                _ => {}
            }
            self.cell.ops.fetch_add(1, SeqCst);
        }
        Ok(())
    }
}
