// SPDX-License-Identifier: GPL-2.0

//! The bytes of a worker, and what can be said of an access to them.

use super::*;

impl Worker<'_> {
    pub(super) fn nr(&self, page: u32) -> usize {
        self.local[page as usize] as usize
    }

    pub(super) fn seq(&self, page: u32) -> &'static AtomicU64 {
        &self.control.chunks[chunk_of(page)].seq
    }

    pub(super) fn before(&mut self, page: u32) -> Result<Before, String> {
        let seq = self.seq(page).load(SeqCst);
        if self.seen[self.nr(page)] != seq {
            self.settle(page, seq & !1)?;
        }
        Ok(Before {
            seq,
            resizes: self.control.resize_seq.load(SeqCst),
        })
    }

    pub(super) fn after(&self, page: u32, before: &Before) -> After {
        // A store is visible before what comes next is read.
        fence(SeqCst);
        let seq = self.seq(page).load(SeqCst);
        let resizes = self.control.resize_seq.load(SeqCst);
        After {
            before: before.seq,
            after: seq,
            exact: seq == before.seq && seq % 2 == 0 && self.seen[self.nr(page)] == seq,
            resizes: (resizes == before.resizes && resizes % 2 == 0).then_some(resizes),
        }
    }

    /// Was that byte in the device during the access? None if that changed meanwhile.
    pub(super) fn here(&self, offset: u64, after: After) -> Option<bool> {
        let end = self.control.end.load(SeqCst);
        // The end may have moved since: then nobody knows.
        let resizes = self.control.resize_seq.load(SeqCst);
        (after.resizes? == resizes).then_some(offset < end)
    }

    /// Takes notice of the punches that are over.
    pub(super) fn settle(&mut self, page: u32, until: u64) -> Result<(), String> {
        let n = self.nr(page);
        let (from, base) = (self.seen[n], in_chunk(page));
        if from >= until {
            return Ok(());
        }
        let chunk = &self.control.chunks[chunk_of(page)];
        if (until - from) / 2 >= LOG as u64 {
            return Err("the oracle's log of punches is too small".into());
        }
        let nothing = Vec::new();
        let pending = self.pending.get(&page).unwrap_or(&nothing);
        let mut open = [false; PAGE_BYTES];
        let mut is_open = false;
        for punch in from / 2..until / 2 {
            let range = chunk.log[punch as usize % LOG].load(SeqCst);
            let (first, behind) = (range >> 32, range & 0xffff_ffff);
            let first = first.max(base);
            let behind = behind.min(base + PAGE);
            if first >= behind {
                continue;
            }
            let (first, behind) = ((first - base) as usize, (behind - base) as usize);
            if pending.is_empty() {
                self.bytes[n][first..behind].fill(0);
                continue;
            }
            for (byte, open) in open.iter_mut().enumerate().take(behind).skip(first) {
                let written = pending
                    .iter()
                    .rev()
                    .find(|p| (p.first..p.behind).contains(&byte));
                match written {
                    Some(p) if p.before >= 2 * punch + 2 => {}
                    Some(p) if p.after > 2 * punch => {
                        *open = true;
                        is_open = true;
                    }
                    _ => {
                        self.bytes[n][byte] = 0;
                        *open = false;
                    }
                }
            }
        }
        if is_open {
            let mut found = [0; PAGE_BYTES];
            let got = self.process.read.read_at(&mut found, offset_of(page));
            fence(SeqCst);
            if !matches!(got, Ok(PAGE_BYTES)) || chunk.seq.load(SeqCst) != until {
                // Not now.
                return Ok(());
            }
            for byte in (0..PAGE_BYTES).filter(|byte| open[*byte]) {
                if found[byte] != 0 && found[byte] != self.bytes[n][byte] {
                    return Err(format!(
                        "byte {:#x}, written while it was punched: {:#x}, neither 0 nor {:#x}",
                        offset_of(page) + byte as u64,
                        found[byte],
                        self.bytes[n][byte]
                    ));
                }
                self.bytes[n][byte] = found[byte];
            }
        }
        self.seen[n] = until;
        if let Some(pending) = self.pending.get_mut(&page) {
            pending.retain(|p| p.after > until);
            if pending.is_empty() {
                self.pending.remove(&page);
            }
        }
        Ok(())
    }

    pub(super) fn wrote(&mut self, page: u32, at: usize, data: &[u8], after: After) {
        let n = self.nr(page);
        self.bytes[n][at..at + data.len()].copy_from_slice(data);
        self.wrote_to_pin(page, at, data);
        if !after.exact && !data.is_empty() {
            self.pending.entry(page).or_default().push(Pending {
                first: at,
                behind: at + data.len(),
                before: after.before,
                after: after.after,
            });
        }
    }

    pub(super) fn check(
        &self,
        page: u32,
        at: usize,
        got: &[u8],
        after: After,
    ) -> Result<(), String> {
        let must = &self.bytes[self.nr(page)][at..at + got.len()];
        if got == must {
            return Ok(());
        }
        let wrong = |(got, must): (&u8, &u8)| got != must && (after.exact || *got != 0);
        let Some(first) = got.iter().zip(must).position(wrong) else {
            return Ok(());
        };
        let count = got.iter().zip(must).filter(|pair| wrong(*pair)).count();
        Err(format!(
            "{count} of {} bytes are wrong, the first at {:#x}: {:02x?}, must be {:02x?}{}",
            got.len(),
            offset_of(page) + (at + first) as u64,
            &got[first..got.len().min(first + 16)],
            &must[first..got.len().min(first + 16)],
            if after.exact { "" } else { " or 0" },
        ))
    }
}
