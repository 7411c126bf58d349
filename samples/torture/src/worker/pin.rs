// SPDX-License-Identifier: GPL-2.0

//! Pins that last, while others punch, sync and map the same pages.
//!
//! A punch waits for them: so while a worker holds one, no punch of others zeroes what it holds, and
//! the worker knows each byte, as it was at first and as it has written since. What waits itself is
//! done without a pin, because two workers that wait for each other's would do so for ever.

use super::*;

/// For how many operations at most, and of how many pages.
const OPERATIONS: u64 = 150;
const PIN_PAGES: u32 = 4;

/// Bytes that a worker has pinned.
pub(super) struct Pin {
    page: u32,
    at: usize,
    /// What must be in them.
    bytes: Vec<u8>,
    /// As the announcements were before.
    seq: u64,
    hasty: u64,
    until: u64,
    how: How,
}

enum How {
    /// The registered buffer of the worker's io_uring.
    Buffer,
    /// What is in the worker's pipe.
    Pipe,
    Write(HeldWrite),
}

impl Pin {
    fn first(&self) -> u64 {
        offset_of(self.page) + self.at as u64
    }
}

/// What a call needs, once.
fn made<T>(of: &mut Option<T>, make: fn() -> Result<T, Errno>) -> Result<&mut T, String> {
    match of {
        Some(it) => Ok(it),
        None => Ok(of.insert(make().map_err(|e| said("to make it", e))?)),
    }
}

impl Worker<'_> {
    /// Pins something, or does something with what is pinned.
    pub(super) fn pin(&mut self, dice: &mut Dice) -> Done {
        if self.pin.is_some() {
            return self.use_pin(dice);
        }
        let process = self.process;
        let commons = process.commons();
        let (via, page) = self.choose(&commons, dice);
        let (at, len) = self.part(page, PIN_PAGES, dice);
        let Some((map, offset, ..)) = self.resolve(&via) else {
            return SKIPPED;
        };
        let place = (offset_of(page) - offset) as usize + at;
        let len = len.min(map.len() - place);
        // For the disk.
        let (at, place, len) = (at & !511, place & !511, (len & !511).max(512));
        let chunk = &self.control.chunks[chunk_of(page)];
        let (hasty, seq) = (chunk.hasty.load(SeqCst), chunk.seq.load(SeqCst));
        let byte = offset_of(page) + at as u64;
        let which = dice.below(3);
        let mut ring = self.ring.take();
        let mut pipe = self.pipe.take();
        let Some((map, _, may_read, may_write)) = self.resolve(&via) else {
            return SKIPPED;
        };
        let (allowed, how) = match which {
            0 => {
                let done = made(&mut ring, Ring::new)?.register(map, place, len);
                // It might be written to for as long as it is registered.
                let allowed = may_write && process.memory == Memory::Pages;
                (allowed, done.map(|()| (How::Buffer, len)))
            }
            1 => {
                let n = made(&mut pipe, Pipe::new)?.take(map, place, len);
                (may_read, n.map(|n| (How::Pipe, n)))
            }
            _ => {
                let held = HeldWrite::new(map, place, len);
                (may_write, held.map(|held| (How::Write(held), len)))
            }
        };
        self.ring = ring;
        self.pipe = pipe;
        note!(
            self,
            "pin {byte:#x} {len} bytes by {which}: {:?}",
            how.as_ref().map(|_| ())
        );
        let (how, result) = match how {
            Ok((how, n)) => (Some(how), Ok(n)),
            Err(e) => (None, Err(e)),
        };
        self.judge_pages(result, allowed, byte, len)?;
        let Some(how) = how else {
            return DONE;
        };
        let mut bytes = vec![0; len];
        self.look(byte, &mut bytes)?;
        self.pin = Some(Pin {
            page,
            at,
            bytes,
            seq,
            hasty,
            until: self.index + dice.range(2, OPERATIONS),
            how,
        });
        DONE
    }

    fn look(&self, byte: u64, to: &mut [u8]) -> Result<(), String> {
        match self.process.read.read_exact_at(to, byte) {
            Ok(()) => Ok(()),
            Err(e) => Err(format!("{byte:#x}: {e}")),
        }
    }

    /// The worker has written this. If it has pinned some of it, that is what must be there.
    pub(super) fn wrote_to_pin(&mut self, page: u32, at: usize, data: &[u8]) {
        let Some(pin) = &mut self.pin else {
            return;
        };
        let (first, from) = (pin.first(), offset_of(page) + at as u64);
        for (n, byte) in data.iter().enumerate() {
            let place = (from + n as u64).checked_sub(first);
            let place = place.and_then(|place| usize::try_from(place).ok());
            if let Some(to) = place.and_then(|place| pin.bytes.get_mut(place)) {
                *to = *byte;
            }
        }
    }

    /// Is that, which was found just now, what must be in the pinned bytes? As long as they are
    /// pinned, that does not depend on punches.
    fn check_pin(&self, pin: &Pin, found: &[u8]) -> Result<(), String> {
        fence(SeqCst);
        let hasty = self.control.chunks[chunk_of(pin.page)].hasty.load(SeqCst);
        if hasty != pin.hasty || hasty % 2 != 0 {
            return Ok(());
        }
        match found.iter().zip(&pin.bytes).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(n) => Err(format!(
                "{:#x} is pinned, and has changed: {:02x?}, must be {:02x?}",
                pin.first() + n as u64,
                &found[n..found.len().min(n + 16)],
                &pin.bytes[n..found.len().min(n + 16)]
            )),
        }
    }

    fn use_pin(&mut self, dice: &mut Dice) -> Done {
        let Some(pin) = self.pin.take() else {
            return SKIPPED;
        };
        let (page, at, len) = (pin.page, pin.at, pin.bytes.len());
        let mut data = vec![0; len];
        let before = self.before_part(page, at, len)?;
        match (&pin.how, &self.ring, &self.process.disk) {
            (How::Buffer, Some(ring), Some(disk)) => {
                let there = self.on_disk();
                let way = dice.pick(&[Fixed::Read, Fixed::Write]);
                if way == Fixed::Read {
                    dice.bytes(&mut data);
                    let from = self.buffer.put(&data);
                    let n = sys::raw_pwrite(disk.as_fd(), from, len, there as i64);
                    n.map_err(|e| said("to the disk", e))?;
                }
                let n = ring.transfer(way, disk.as_fd(), there);
                let after = self.after(page, &before);
                note!(
                    self,
                    "pinned {:#x} {len} bytes, {way:?}: {n:?}",
                    pin.first()
                );
                if n != Ok(len) {
                    return Err(format!("{:#x}, {way:?}: {n:?}", pin.first()));
                }
                if way == Fixed::Read {
                    self.pin = Some(pin);
                    self.wrote_part(page, at, &data, after);
                    return DONE;
                }
                self.from_disk(&mut data)?;
                self.check_pin(&pin, &data)?;
                self.check_part(page, at, &data, after)?;
            }
            _ => {
                self.look(pin.first(), &mut data)?;
                let after = self.after(page, &before);
                self.check_pin(&pin, &data)?;
                self.check_part(page, at, &data, after)?;
            }
        }
        self.pin = Some(pin);
        DONE
    }

    /// Gives back what is pinned before an operation that may have to wait, or when its time is over.
    pub(super) fn release_before(&mut self, kind: Kind) -> Result<(), String> {
        let may_wait = matches!(
            kind,
            Kind::Punch
                | Kind::PunchAll
                | Kind::Zero
                | Kind::ZeroAll
                | Kind::Fork
                | Kind::Kill
                | Kind::Second
                | Kind::PinRace
        );
        let is_over = |pin: &Pin| pin.until <= self.index;
        if may_wait || self.pin.as_ref().is_some_and(is_over) {
            self.release()?;
        }
        Ok(())
    }

    /// Gives back what is pinned.
    pub fn release(&mut self) -> Result<(), String> {
        let Some(pin) = self.pin.take() else {
            return Ok(());
        };
        let (page, at, len) = (pin.page, pin.at, pin.bytes.len());
        if self.seq(page).load(SeqCst) != pin.seq {
            self.control.pins_met.fetch_add(1, SeqCst);
        }
        let mut data = vec![0; len];
        self.look(pin.first(), &mut data)?;
        self.check_pin(&pin, &data)?;
        let before = self.before_part(page, at, len)?;
        note!(self, "pinned {:#x} {len} bytes: given back", pin.first());
        match pin.how {
            How::Buffer => {
                let ring = self.ring.as_ref().ok_or("no ring")?;
                return ring.unregister().map_err(|e| said("unregister", e));
            }
            How::Pipe => {
                let pipe = self.pipe.as_mut().ok_or("no pipe")?;
                pipe.drain(&mut data).map_err(|e| said("the pipe", e))?;
                let after = self.after(page, &before);
                self.check_part(page, at, &data, after)
            }
            How::Write(held) => {
                let mut dice = Dice::new(self.seed, self.me, self.index ^ (1 << 62));
                dice.bytes(&mut data);
                let n = held.release(&data);
                let after = self.after(page, &before);
                if n != Ok(len) {
                    return Err(format!("process_vm_writev, held: {n:?} of {len} bytes"));
                }
                self.wrote_part(page, at, &data, after);
                Ok(())
            }
        }
        .map_err(|e| format!("at the end of a pin: {e}"))
    }
}
