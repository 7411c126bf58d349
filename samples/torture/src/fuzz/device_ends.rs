// SPDX-License-Identifier: GPL-2.0

//! A device that comes and goes, and what its files and mappings say afterwards.

use super::{access::ended, prepare, Fuzz};
use crate::{
    device::{self, Device, PUNCH},
    dice::Dice,
    layout::PAGE,
    sys::{Map, MapHow, Signal},
};
use libc::{EINVAL, ENOSPC, ENXIO};
use std::{
    fs,
    os::{fd::AsFd, unix::fs::FileExt},
};

impl Fuzz {
    /// Another device of the region, of some size and alignment, is made, used and deleted.
    pub(super) fn spare(&mut self, dice: &mut Dice) -> Result<(), String> {
        self.put(self.region.join("create"), "1", &[])?;
        let made = fs::read_to_string(self.region.join("create")).map_err(|e| e.to_string())?;
        let spare = Device {
            name: made.trim().into(),
        };
        let class = format!("/sys/class/dax/{}", spare.name);
        let align = dice.pick(&[PAGE, PAGE, 2 << 20]);
        let size = align * dice.below(4);
        // Whether the region's own alignment allows that is not known here.
        self.call = "sysfs-align-of-spare".into();
        let result = device::write_text(format!("{class}/align"), &align.to_string());
        if result.is_ok() || self.judge(result, &[EINVAL, ENOSPC])? {
            self.put(format!("{class}/size").into(), &size.to_string(), &[])?;
        }
        let size = spare.number("size").ok_or("size")?;
        if size != 0 {
            self.used(&spare, size, dice)?;
            self.put(format!("{class}/size").into(), "0", &[])?;
        }
        self.put(self.region.join("delete"), &spare.name, &[])
    }

    fn used(&mut self, spare: &Device, size: u64, dice: &mut Dice) -> Result<(), String> {
        self.call = format!("spare {size:#x}");
        let file = spare.open(true).map_err(|e| format!("open: {e}"))?;
        let how = MapHow {
            write: true,
            sync: false,
            place: Some(0),
        };
        let map = Map::new(file.as_fd(), 0, size as usize, how).map_err(|e| format!("{e}"))?;
        let at = (dice.below(size / 8) * 8) as usize;
        let value = dice.next();
        map.store(at, value)
            .map_err(|signal| format!("{signal:?}"))?;
        let mut word = [0; 8];
        file.read_exact_at(&mut word, at as u64)
            .map_err(|e| e.to_string())?;
        if u64::from_le_bytes(word) != value {
            return Err(format!("{word:x?}, must be {value:#x}"));
        }
        self.count(Ok(()));
        Ok(())
    }

    /// Unbinds the namespace under files and mappings, and begins anew.
    pub(super) fn unbind(&mut self) -> Result<(), String> {
        self.call = "unbind".into();
        let result = device::unbind(&self.namespace);
        self.judge(result, &[])?;
        let map = self.whole.take().ok_or("no mapping")?;
        for result in [map.load(0).map(|_| ()), map.store(8, 1)] {
            if result != Err(Signal::Bus) {
                return Err(format!("an access afterwards: {result:?}"));
            }
        }
        let mut word = [0; 8];
        for result in [
            ended(self.read.read_at(&mut word, 0)),
            ended(self.write.write_at(&word, 0)),
            ended(self.write.sync_all()),
            device::punch(&self.write, PUNCH, 0, PAGE),
            super::access::map_whole(&self.write, false, 0).map(|_| ()),
        ] {
            self.call = "unbound".into();
            self.judge(result, &[ENXIO])?;
        }
        drop(map);
        let said = std::mem::take(&mut self.said);
        let call = std::mem::take(&mut self.call);
        *self = prepare(&self.namespace, self.seed)?;
        (self.said, self.call) = (said, call);
        Ok(())
    }
}
