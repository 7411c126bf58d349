// SPDX-License-Identifier: GPL-2.0

//! Forks, and signals.

use super::*;

/// What a child does beside its loads and stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Ends,
    /// While it stores.
    IsKilled,
    /// Its mappings, before: nothing but its end unmaps them then.
    Seals,
    /// In the end: the kernel reads what it dumps through the child's mappings.
    DumpsCore,
}

impl Worker<'_> {
    pub(super) fn fork(&mut self, dice: &mut Dice, how: Child) -> Done {
        if how == Child::DumpsCore {
            sys::prepare_core_dumps().map_err(|e| e.to_string())?;
        }
        for store in &self.cell.child_log {
            store.state.store(0, SeqCst);
        }
        self.cell.child_stores.store(0, SeqCst);
        let process = self.process;
        // The child can't take it: the lock may look taken there for ever.
        let commons = process.commons();
        let pid = sys::fork().map_err(|e| said("fork", e))?;
        if pid == 0 {
            self.in_child = true;
            let sealed = match how {
                Child::Seals => self.seal(),
                _ => Ok(()),
            };
            let result = sealed.and_then(|()| self.child(&commons, dice, how));
            if let Err(text) = &result {
                self.control
                    .fail(self.me, self.index, &format!("in a child: {text}"));
            } else if how == Child::DumpsCore {
                sys::dump_core();
            }
            sys::exit_now(i32::from(result.is_err()));
        }
        drop(commons);
        if how == Child::IsKilled {
            let target = dice.below(CHILD_LOG as u64);
            let begun = Instant::now();
            while self.cell.child_stores.load(SeqCst) < target
                && begun.elapsed() < Duration::from_secs(10)
                && !self.control.has_failed()
            {
                thread::yield_now();
            }
            sys::kill(pid);
        }
        let ended = sys::wait(pid, true);
        note!(
            self,
            "child: {ended:?}, {} stores",
            self.cell.child_stores.load(SeqCst)
        );
        match ended {
            Some(Ended::Exit(0)) if how != Child::DumpsCore => {}
            Some(Ended::Killed(libc::SIGKILL)) if how == Child::IsKilled => {}
            Some(Ended::Killed(libc::SIGABRT)) if how == Child::DumpsCore => {
                std::fs::remove_file(sys::core_of(pid))
                    .map_err(|e| format!("no core dump: {e}"))?;
            }
            other => return Err(format!("the child ended with {other:?}")),
        }
        for store in &self.cell.child_log {
            let (page, at) = (
                store.page.load(SeqCst) as u32,
                store.offset.load(SeqCst) as usize,
            );
            let value = store.value.load(SeqCst);
            match store.state.load(SeqCst) {
                STORE_DONE => {
                    let (before, after) = (store.before.load(SeqCst), store.after.load(SeqCst));
                    let exact =
                        before == after && self.seen[self.nr(page)] == after && after % 2 == 0;
                    let after = After {
                        before,
                        after,
                        exact,
                        resizes: None,
                    };
                    self.wrote(page, at, &value.to_le_bytes(), after);
                }
                STORE_BEGUN => self.find_out(page, at, value)?,
                _ => {}
            }
        }
        DONE
    }

    /// A child was killed when it was about to write this: was it?
    pub(super) fn find_out(&mut self, page: u32, at: usize, value: u64) -> Result<(), String> {
        let byte = offset_of(page) + at as u64;
        while !self.control.has_failed() {
            let before = self.before(page)?;
            let mut word = [0; 8];
            let got = self.process.read.read_at(&mut word, byte);
            let got = got.map_err(|e| e.to_string())?;
            let after = self.after(page, &before);
            if got < word.len() && try_lock(&self.control.resize_lock) {
                // The device is too short for it now.
                let result = self.set_size(TAIL_END);
                unlock(&self.control.resize_lock);
                result?;
            } else if !after.exact || got < word.len() {
                thread::yield_now();
            } else {
                let n = self.nr(page);
                let old = &self.bytes[n][at..at + 8];
                if word != value.to_le_bytes() && word != *old {
                    return Err(format!(
                        "{byte:#x}: {word:02x?}, neither {value:#x} nor {old:02x?}"
                    ));
                }
                self.bytes[n][at..at + 8].copy_from_slice(&word);
                break;
            }
        }
        Ok(())
    }

    pub(super) fn child(
        &mut self,
        commons: &Map,
        dice: &mut Dice,
        how: Child,
    ) -> Result<(), String> {
        let stores = if how == Child::IsKilled {
            CHILD_LOG as u64
        } else {
            dice.range(1, 8)
        };
        for _ in 0..stores {
            if dice.one_in(2) {
                let (via, page) = self.choose(commons, dice);
                self.word_at(via, page, dice, false)?;
            }
            let (via, page) = self.choose(commons, dice);
            self.word_at(via, page, dice, true)?;
        }
        if how == Child::IsKilled {
            loop {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn seal(&self) -> Result<(), String> {
        for slot in self.slots.iter().flatten() {
            slot.map.seal().map_err(|e| said("mseal", e))?;
            for (call, result) in slot.map.against_a_seal() {
                if result != Err(libc::EPERM) {
                    return Err(format!("{call} of a sealed mapping: {result:?}"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn interrupt(&mut self, dice: &mut Dice) -> Done {
        let other = dice.pick(&self.process.tids);
        match self.control.cells[other].tid.load(SeqCst) {
            0 => SKIPPED,
            tid => {
                sys::interrupt(tid as i32);
                DONE
            }
        }
    }
}
