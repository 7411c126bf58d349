// SPDX-License-Identifier: GPL-2.0

//! What must hold where all workers meet.

use super::*;

impl Worker<'_> {
    /// Everything that it owns is as it must be.
    pub fn verify(&mut self) -> Result<(), String> {
        let end = self.control.end.load(SeqCst);
        let mut found = [0; PAGE_BYTES];
        for page in self.own.clone() {
            let before = self.before(page)?;
            if offset_of(page) >= end {
                continue;
            }
            let got = self.process.read.read_at(&mut found, offset_of(page));
            let after = self.after(page, &before);
            if !matches!(got, Ok(PAGE_BYTES)) {
                if self.here(offset_of(page), after) == Some(true) {
                    return Err(format!("{:#x}: {got:?}", offset_of(page)));
                }
                continue;
            }
            self.check(page, 0, &found, after)
                .map_err(|e| format!("at a checkpoint: {e}"))?;
            self.control.compared.fetch_add(1, SeqCst);
        }
        Ok(())
    }

    /// The index as it is, for the coverage.
    pub(super) fn look_at_entries(&self) -> Result<Vec<Run>, String> {
        let entries = self.process.device.entries()?;
        for run in &entries {
            self.control
                .seen_entries
                .fetch_or(coverage::bit(run), SeqCst);
        }
        Ok(entries)
    }

    /// What must hold of the index when nobody does anything: no lock is held; a sync writes back
    /// each dirty entry, and then none is.
    pub fn inspect(&mut self) -> Result<(), String> {
        let device = &self.process.device;
        let entries = self.look_at_entries()?;
        if let Some(run) = entries.iter().find(|run| run.locked) {
            return Err(format!("nobody is there, and an entry is locked: {run:?}"));
        }
        let dirty: u64 = entries
            .iter()
            .filter(|run| run.dirty)
            .map(|run| run.count)
            .sum();
        let before = device.number("entries/writebacks");
        self.process.write.sync_all().map_err(|e| e.to_string())?;
        let done = device
            .number("entries/writebacks")
            .zip(before)
            .map(|(now, then)| now - then);
        // What pins may have written comes on top.
        let pinned = self.process.memory == Memory::Tracked;
        if !done.is_some_and(|done| done == dirty || (pinned && done > dirty)) {
            return Err(format!(
                "{dirty} dirty entries, and fsync() wrote {done:?} back"
            ));
        }
        if self.process.memory == Memory::Pages {
            return self.inspect_pages(dirty);
        }
        if let Some(run) = device.entries()?.iter().find(|run| run.dirty) {
            return Err(format!("dirty after fsync(): {run:?}"));
        }
        if pinned {
            self.sync_writes_back(0)?;
        }
        Ok(())
    }

    fn sync_writes_back(&self, must: u64) -> Result<(), String> {
        let device = &self.process.device;
        let before = device.number("entries/writebacks");
        self.process.write.sync_all().map_err(|e| e.to_string())?;
        let now = device.number("entries/writebacks");
        match now.zip(before).map(|(now, then)| now - then) {
            Some(done) if done == must => Ok(()),
            done => Err(format!("a second fsync() wrote {done:?} back, not {must}")),
        }
    }

    /// Pages may be written at any time, so what was mapped for writing stays dirty.
    fn inspect_pages(&self, dirty: u64) -> Result<(), String> {
        let entries = self.process.device.entries()?;
        let now: u64 = entries
            .iter()
            .filter(|run| run.dirty)
            .map(|run| run.count)
            .sum();
        if now != dirty {
            return Err(format!("{dirty} dirty entries, and after fsync() {now}"));
        }
        self.sync_writes_back(dirty)
    }

    /// After that, whatever is stored through a mapping that was there before makes its entry dirty.
    pub fn store_again(&mut self) -> Result<(), String> {
        let process = self.process;
        let commons = process.commons();
        let mut dice = Dice::new(self.seed, self.me, self.index ^ (1 << 63));
        let recent: Vec<u32> = self
            .recent
            .iter()
            .copied()
            .filter(|page| *page < PAGES)
            .collect();
        for page in &recent {
            if process.memory.has_pages() && dice.one_in(2) {
                self.word_by_pin(&commons, *page, &mut dice)?;
            } else {
                self.word_at(Via::Map(&commons), *page, &mut dice, true)?;
            }
        }
        let entries = process.device.entries()?;
        for page in recent {
            let pgoff = offset_of(page) / PAGE;
            match entries.iter().find(|run| run.has(pgoff)) {
                Some(run) if run.dirty => {}
                run => {
                    return Err(format!(
                        "page {pgoff:#x} was stored into after an fsync(), and is not dirty: {run:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
