// SPDX-License-Identifier: GPL-2.0

//! Bad input: arguments at random, mostly at the edges of what is allowed, as root and as nobody.
//!
//! For each call a small model says for which reasons it may be refused: with none it must succeed,
//! with some it must be refused for one of them. The bytes of the device, and of the device next
//! to it in the region, are those of the model all the time.

use crate::{
    device::{self, Device, PREFAULT, PUNCH, ZERO},
    dice::Dice,
    layout::PAGE,
    sys::{self, Ended, Errno, Guarded, Map, MapHow, Target},
    Options,
};
use libc::{
    E2BIG, EACCES, EBADF, EBUSY, EFAULT, EFBIG, EINVAL, ENODEV, ENOMEM, ENOSPC, ENOTTY, ENXIO,
    EOPNOTSUPP, EOVERFLOW,
};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Error,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileExt,
    },
    path::PathBuf,
};

mod access;
mod device_ends;
mod guided;

const SIZE: u64 = 6 << 20;
const NEIGHBOUR: u64 = 4 << 20;
/// Calls between two looks at all bytes.
const LOOK: u64 = 1000;

struct Fuzz {
    seed: u64,
    root: bool,
    namespace: String,
    region: PathBuf,
    device: Device,
    write: File,
    read: File,
    neighbour: File,
    bytes: Vec<u8>,
    beside: Vec<u8>,
    buffer: Guarded,
    /// Writable, read-only, inaccessible mappings of the first bytes.
    maps: [Map; 3],
    /// A mapping of all, writable; `None` only while another takes its place.
    whole: Option<Map>,
    said: BTreeMap<String, u64>,
    call: String,
}

const MAPPED: u64 = 1 << 20;

fn said(what: &str, errno: Errno) -> String {
    format!("{what}: {}", Error::from_raw_os_error(errno))
}

fn name(result: Result<(), Errno>) -> String {
    match result {
        Ok(()) => "success".into(),
        Err(errno) => Error::from_raw_os_error(errno).to_string(),
    }
}

/// A number at an edge, or near one, or any.
fn edge(dice: &mut Dice) -> u64 {
    let base = dice.pick(&[
        0,
        PAGE,
        2 * PAGE,
        2 << 20,
        SIZE,
        SIZE - PAGE,
        SIZE / 2,
        SIZE + (2 << 20),
        1 << 30,
        1 << 31,
        1 << 32,
        1 << 44,
        1 << 52,
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ]);
    match dice.below(6) {
        0 => base.wrapping_add(1),
        1 => base.wrapping_sub(1),
        2 => base.wrapping_sub(PAGE),
        3 => dice.below(SIZE),
        _ => base,
    }
}

/// What an edge often is not: something that succeeds.
fn part(dice: &mut Dice, whole: u64) -> (u64, u64) {
    let offset = dice.below(whole);
    let len = dice.range(1, (whole - offset).min(20_000));
    (offset, len)
}

impl Fuzz {
    fn fd(&self, write: bool) -> BorrowedFd<'_> {
        if write {
            self.write.as_fd()
        } else {
            self.read.as_fd()
        }
    }

    /// Counts how a call ended. Its kind is the first word of `call`.
    fn count(&mut self, result: Result<(), Errno>) {
        let kind = self.call.split(' ').next().unwrap_or_default();
        *self
            .said
            .entry(format!("{kind}: {}", name(result)))
            .or_default() += 1;
    }

    /// Was that right, given the reasons against it?
    fn judge(&mut self, result: Result<(), Errno>, reasons: &[Errno]) -> Result<bool, String> {
        self.count(result);
        let right = match result {
            Ok(()) => reasons.is_empty(),
            Err(errno) => reasons.contains(&errno),
        };
        if right {
            return Ok(result.is_ok());
        }
        let may: Vec<_> = reasons.iter().map(|e| name(Err(*e))).collect();
        Err(format!(
            "{}, may be: {}",
            name(result),
            if may.is_empty() {
                "success".into()
            } else {
                may.join(", ")
            }
        ))
    }

    /// A structure with its size, and what may be wrong with that.
    fn structure(
        &self,
        fields: &[u64],
        flags: u32,
        known: u32,
        dice: &mut Dice,
    ) -> (Vec<u8>, Vec<Errno>) {
        let right = 8 + 8 * fields.len();
        let size = match dice.below(4) {
            0 => dice.pick(&[
                0,
                1,
                4,
                8,
                right as u32 - 1,
                right as u32 + 1,
                right as u32 + 8,
                64,
                4096,
                4097,
                1 << 31,
                u32::MAX,
            ]),
            _ => right as u32,
        };
        let mut bytes = vec![0; (size as usize).clamp(right, 4096)];
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes[4..8].copy_from_slice(&flags.to_le_bytes());
        for (n, field) in fields.iter().enumerate() {
            bytes[8 + 8 * n..16 + 8 * n].copy_from_slice(&field.to_le_bytes());
        }
        let mut reasons = Vec::new();
        if (size as usize) < right {
            reasons.push(EINVAL);
        }
        if size as usize > 4096 {
            reasons.push(E2BIG);
        }
        if bytes.len() > right && dice.one_in(2) {
            let at = dice.range(right as u64, bytes.len() as u64 - 1) as usize;
            bytes[at] = 1;
            reasons.push(E2BIG);
        }
        if flags & !known != 0 {
            reasons.push(EINVAL);
        }
        (bytes, reasons)
    }

    /// Where the structure is: rarely nowhere.
    fn place(&self, bytes: &[u8], reasons: &mut Vec<Errno>, dice: &mut Dice) -> Target {
        if dice.one_in(12) {
            reasons.clear();
            reasons.push(EFAULT);
            return match dice.below(5) {
                0 => Target::NULL,
                1 => Target::KERNEL,
                2 => Target::NON_CANONICAL,
                // Its end is inaccessible, which may not matter when something else is wrong.
                3 => {
                    self.buffer.put(&bytes[..7]);
                    reasons.extend([EINVAL, E2BIG]);
                    self.buffer.target(7)
                }
                _ => self.buffer.target(0),
            };
        }
        self.buffer.put(bytes)
    }

    fn range(&mut self, dice: &mut Dice) -> Result<(), String> {
        let number = if dice.one_in(2) { PUNCH } else { ZERO };
        let (offset, len) = if dice.one_in(2) {
            part(dice, SIZE)
        } else {
            (edge(dice), edge(dice))
        };
        let flags = if dice.one_in(8) {
            1 << dice.below(32)
        } else {
            0
        };
        let (bytes, mut reasons) = self.structure(&[offset, len], flags, 0, dice);
        if len == 0 {
            reasons.push(EINVAL);
        }
        match offset.checked_add(len) {
            None => reasons.extend([EINVAL, EFBIG]),
            Some(end) if end > SIZE => reasons.extend(
                [EFBIG, EINVAL]
                    .into_iter()
                    .take(1 + usize::from(end >> 63 != 0)),
            ),
            _ => {}
        }
        let arg = self.place(&bytes, &mut reasons, dice);
        let write = !dice.one_in(6);
        if !write {
            reasons.push(EBADF);
        }
        self.call =
            format!("ioctl-range {number:#x} {offset:#x} {len:#x} flags {flags:#x} at {arg:x?}");
        let result = sys::raw_ioctl(self.fd(write), number, arg);
        if self.judge(result, &reasons)? {
            self.bytes[offset as usize..(offset + len) as usize].fill(0);
        }
        Ok(())
    }

    fn prefault(&mut self, dice: &mut Dice) -> Result<(), String> {
        let which = dice.below(6);
        let inside = dice.one_in(2);
        let pages = MAPPED / PAGE;
        let first = dice.below(pages);
        let (at, len) = if inside {
            (first * PAGE, dice.range(1, pages - first) * PAGE)
        } else {
            (first * PAGE + dice.pick(&[0, 0, 1, 8]), edge(dice))
        };
        let address = match which {
            0..4 => self.maps[which.min(2) as usize]
                .target(0)
                .address()
                .wrapping_add(at),
            4 => self.buffer.target(PAGE as usize).address(),
            _ => edge(dice),
        };
        let flags = dice.pick(&[0, 0, 1, 1, 2, 1 << 31]);
        let (bytes, mut reasons) = self.structure(&[address, len, 0], flags, 1, dice);
        let end = address.checked_add(len);
        if len == 0 || (address | len) % PAGE != 0 || end.is_none() {
            reasons.push(EINVAL);
        }
        match which {
            0..4 if inside && address % PAGE == 0 => match which {
                1 if flags & 1 != 0 => reasons.push(EACCES),
                2 | 3 => reasons.push(EACCES),
                _ => {}
            },
            // It is not all ours: where it stops depends on what lies there.
            _ => reasons.extend([ENOMEM, EINVAL, EACCES, EFAULT]),
        }
        let all_good = reasons.is_empty();
        let arg = self.place(&bytes, &mut reasons, dice);
        self.call = format!(
            "ioctl-prefault {address:#x} {len:#x} flags {flags:#x}, mapping {which}, at {arg:x?}"
        );
        let result = sys::raw_ioctl(self.fd(dice.one_in(2)), PREFAULT, arg);
        if result.is_ok()
            && !inside
            && which < 4
            && end.is_some_and(|end| {
                end <= self.maps[which.min(2) as usize].target(0).address() + MAPPED
            })
        {
            // An edge that was inside after all.
            self.count(Ok(()));
            return Ok(());
        }
        if self.judge(result, &reasons)? && all_good {
            let mut done = [0; 8];
            self.buffer.get(bytes.len() - 24, &mut done);
            if u64::from_le_bytes(done) != len {
                return Err(format!("done {:#x}", u64::from_le_bytes(done)));
            }
        }
        Ok(())
    }

    fn other_ioctl(&mut self, dice: &mut Dice) -> Result<(), String> {
        // Numbers that the kernel itself knows have other letters.
        let number = match dice.below(3) {
            0 => 0xda00 | dice.below(256) | (dice.below(1 << 16) << 16),
            1 => PUNCH ^ (1 << dice.below(32)),
            _ => PREFAULT ^ (1 << dice.below(32)),
        };
        if [PUNCH, ZERO, PREFAULT].contains(&number) || (number >> 8) & 0xff != 0xda {
            return Ok(());
        }
        self.call = format!("ioctl-other {number:#x}");
        let result = sys::raw_ioctl(self.fd(true), number, self.buffer.put(&[0xff; 64]));
        self.judge(result, &[ENOTTY]).map(|_| ())
    }

    fn mmap(&mut self, dice: &mut Dice) -> Result<(), String> {
        let (offset, len) = if dice.one_in(2) {
            let first = dice.below(SIZE / PAGE);
            (first * PAGE, dice.range(1, SIZE / PAGE - first) * PAGE)
        } else {
            (edge(dice), edge(dice))
        };
        let write = !dice.one_in(4);
        let kind = dice.pick(&[
            libc::MAP_SHARED,
            libc::MAP_SHARED,
            libc::MAP_SHARED_VALIDATE,
            libc::MAP_PRIVATE,
            0,
        ]);
        let more = dice.pick(&[
            0,
            0,
            0,
            libc::MAP_SYNC,
            libc::MAP_POPULATE,
            libc::MAP_NORESERVE,
            libc::MAP_NONBLOCK,
            libc::MAP_HUGETLB,
            1 << 21,
            1 << 23,
            1 << 25,
        ]);
        let prot = dice.pick(&[1, 3, 3, 2, 0, 7, 5]);
        let mut reasons = Vec::new();
        if len == 0
            || offset % PAGE != 0
            || kind == 0
            || kind == libc::MAP_PRIVATE
            || more == libc::MAP_HUGETLB
        {
            reasons.push(EINVAL);
        }
        let end = len
            .checked_next_multiple_of(PAGE)
            .and_then(|len| offset.checked_add(len));
        if end.is_none_or(|end| end > SIZE) {
            reasons.extend([EINVAL, EOVERFLOW]);
        }
        // What is private and writable is accounted for first.
        if len > 1 << 46 || kind == libc::MAP_PRIVATE {
            reasons.push(ENOMEM);
        }
        if kind == libc::MAP_SHARED_VALIDATE && more >= 1 << 21 {
            reasons.push(EOPNOTSUPP);
        }
        if prot & 2 != 0 && !write && kind != libc::MAP_PRIVATE {
            reasons.push(EACCES);
        }
        self.call = format!(
            "mmap {offset:#x} {len:#x} prot {prot} flags {:#x}",
            kind | more
        );
        let result = sys::raw_mmap(
            self.fd(write),
            len as usize,
            prot,
            kind | more,
            offset as i64,
        );
        let map = match result {
            Ok(map) => {
                self.judge(Ok(()), &reasons)?;
                map
            }
            Err(e) => return self.judge(Err(e), &reasons).map(|_| ()),
        };
        // The bytes are the right ones, up to the last.
        for at in [0, len / 2, len - 1] {
            let at = (at / 8 * 8).min(len.div_ceil(PAGE) * PAGE - 8) as usize;
            let byte = offset as usize + at;
            // The rest of the last page is the device's, too.
            let Some(must) = self.bytes.get(byte..byte + 8) else {
                continue;
            };
            if at + 8 > len as usize {
                continue;
            }
            let must = u64::from_le_bytes(must.try_into().unwrap_or_default());
            match map.load(at) {
                Ok(got) if prot == 0 || got != must => {
                    return Err(format!("{at:#x}: {got:#x}, must be {must:#x}"))
                }
                Err(signal) if prot != 0 => return Err(format!("{at:#x}: {signal:?}")),
                _ => {}
            }
            let value = dice.next();
            if map.store(at, value).is_ok() {
                if prot & 2 == 0 {
                    return Err(format!("{at:#x}: written"));
                }
                self.bytes[byte..byte + 8].copy_from_slice(&value.to_le_bytes());
            } else if prot & 2 != 0 {
                return Err(format!("{at:#x}: not written"));
            }
        }
        Ok(())
    }

    fn read_write(&mut self, dice: &mut Dice) -> Result<(), String> {
        let write = dice.one_in(2);
        let (offset, len) = if dice.one_in(2) {
            part(dice, SIZE)
        } else {
            (edge(dice), edge(dice))
        };
        // The buffer ends at the inaccessible page: what is longer is cut there.
        let room = 5 * PAGE;
        let have = if dice.one_in(6) {
            dice.below(len.min(room) + 1)
        } else {
            len.min(room)
        };
        let target = match dice.below(16) {
            0 => Target::NULL,
            1 => Target::KERNEL,
            _ => self.buffer.target(have as usize),
        };
        let valid = ![0, Target::KERNEL.address()].contains(&target.address());
        let mut data = vec![0; have as usize];
        if valid && write {
            dice.bytes(&mut data);
            self.buffer.put(&data);
        }
        let on = dice.one_in(8);
        let left = SIZE.saturating_sub(offset);
        let most = len.min(left).min(if valid { have } else { 0 });
        self.call = format!(
            "{} {offset:#x} {len:#x}, {have} accessible, at {target:x?}",
            if write { "pwrite" } else { "pread" }
        );
        let mut reasons = Vec::new();
        if (offset as i64) < 0
            || (len as i64) < 0
            || offset.checked_add(len).is_none_or(|end| end >> 63 != 0)
        {
            reasons.push(EINVAL);
            // The kernel looks at the range before it looks at the end.
            reasons.extend([EOVERFLOW, EFAULT]);
        }
        if write && left == 0 && len != 0 {
            reasons.push(ENOSPC);
        }
        if write && on {
            reasons.push(EBADF);
        }
        if most == 0 && len != 0 && (left != 0 || write) {
            reasons.push(EFAULT);
        }
        let result = if write {
            sys::raw_pwrite(self.fd(!on), target, len as usize, offset as i64)
        } else {
            sys::raw_pread(self.fd(!on), target, len as usize, offset as i64)
        };
        // access_ok() refuses what reaches into the kernel's half, whatever the length.
        if !valid
            || target
                .address()
                .checked_add(len)
                .is_none_or(|end| end >> 47 != 0)
        {
            reasons.push(EFAULT);
        }
        let n = match result {
            Err(e) => return self.judge(Err(e), &reasons).map(|_| ()),
            Ok(n) if n as u64 > most => return Err(format!("{n} bytes, at most {most}")),
            Ok(0) if most > 0 => return Err(format!("0 bytes of {most}")),
            Ok(n) => n,
        };
        self.count(Ok(()));
        let at = offset as usize;
        if n == 0 {
            return Ok(());
        }
        if write {
            self.bytes[at..at + n].copy_from_slice(&data[..n]);
        } else {
            let mut got = vec![0; n];
            self.buffer.get(have as usize, &mut got);
            if got != self.bytes[at..at + n] {
                return Err("wrong bytes".into());
            }
        }
        Ok(())
    }

    fn refused(&mut self, dice: &mut Dice) -> Result<(), String> {
        let (offset, len) = (edge(dice) as i64, edge(dice) as i64);
        self.call = format!("refused {offset:#x} {len:#x}");
        for (what, errno) in sys::refused_calls(self.fd(true), offset, len) {
            *self
                .said
                .entry(format!(
                    "{what}: {}",
                    name(if errno == 0 { Ok(()) } else { Err(errno) })
                ))
                .or_default() += 1;
            if errno == 0 {
                return Err(format!("{what} succeeds"));
            }
        }
        Ok(())
    }

    fn text(dice: &mut Dice) -> String {
        let garbage = [
            "\n",
            "-1",
            "abc",
            "12x",
            "1K1",
            "99999999999999999999999",
            "1 2",
            "K",
            "0x",
            "%s%n",
            "1\u{0}2",
            "Ω",
        ];
        match dice.below(8) {
            0 => "A".repeat(dice.range(1, 4095) as usize),
            _ => dice.pick(&garbage).into(),
        }
    }

    fn sysfs(&mut self, dice: &mut Dice) -> Result<(), String> {
        let class = PathBuf::from(format!("/sys/class/dax/{}", self.device.name));
        match dice.below(10) {
            8 => self.files(),
            9 if dice.one_in(8) => self.unbind(),
            0 | 1 => self.size(&class, dice),
            2 => {
                let (text, reasons): (_, &[_]) = match dice.below(5) {
                    // It is open: only what it is already may be written.
                    0 => ("2M".to_owned(), &[EBUSY, EINVAL]),
                    1 => ("1073741824".into(), &[EBUSY, EINVAL]),
                    2 => ("12288".into(), &[EINVAL]),
                    3 => ("0".into(), &[EINVAL]),
                    _ => (Self::text(dice), &[EINVAL]),
                };
                self.put(class.join("align"), &text, reasons)
            }
            3 => {
                if dice.one_in(3) {
                    return self.spare(dice);
                }
                let text = dice.pick(&["0", "2", "-1", "1 1", "yes", "11", ""]);
                let text = if text.is_empty() {
                    Self::text(dice)
                } else {
                    text.into()
                };
                self.put(self.region.join("create"), &text, &[EINVAL])
            }
            4 => {
                let text = if dice.one_in(2) {
                    Self::text(dice)
                } else {
                    format!("rdax{}", edge(dice).max(16))
                };
                self.put(self.region.join("delete"), &text, &[ENXIO])?;
                let own = self.device.name.clone();
                self.put(self.region.join("delete"), &own, &[EBUSY])
            }
            5 => {
                let text = if dice.one_in(2) {
                    Self::text(dice)
                } else {
                    "namespace99.0".into()
                };
                let file = dice.pick(&["bind", "unbind"]);
                self.put(
                    format!("/sys/bus/nd/drivers/rdax/{file}").into(),
                    &text,
                    &[ENODEV],
                )
            }
            6 => {
                // It is looked at when a namespace is bound.
                let text = match dice.below(3) {
                    0 => dice
                        .pick(&["4K", "2M", "1G", "4096", "8K", "0", "3M"])
                        .into(),
                    _ => Self::text(dice),
                };
                let path = "/sys/module/rdax/parameters/align";
                let result = device::write_text(path, &text);
                self.call = "sysfs-parameter-align".into();
                if result.is_err() {
                    self.judge(result, &[EINVAL, ENOSPC])?;
                }
                self.put("/sys/module/rdax/parameters/align".into(), "4K", &[])
            }
            _ => {
                let (text, reasons): (String, &[_]) = match dice.below(3) {
                    0 => (dice.pick(&["Y", "N", "1", "0"]).into(), &[]),
                    _ => (dice.pick(&["\n", "?", "2", "%"]).into(), &[EINVAL]),
                };
                self.put("/sys/module/rdax/parameters/upgrade".into(), &text, reasons)
            }
        }
    }

    fn put(&mut self, path: PathBuf, text: &str, reasons: &[Errno]) -> Result<(), String> {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let shown: String = text.chars().take(40).collect();
        self.call = format!("sysfs-{file} {:?}", shown);
        let result = device::write_text(path, text);
        self.judge(result, reasons).map(|_| ())
    }

    fn size(&mut self, class: &std::path::Path, dice: &mut Dice) -> Result<(), String> {
        let path = class.join("size");
        if dice.one_in(2) {
            return self.put(path, &Self::text(dice), &[EINVAL]);
        }
        let free = self
            .device
            .number("available_size")
            .ok_or("available_size")?;
        let (value, suffix) = if dice.one_in(2) {
            (dice.below(3000) * PAGE, "")
        } else {
            (edge(dice), "")
        };
        let (value, text) = match dice.below(4) {
            0 => (dice.below(16) << 20, None),
            _ => (value, Some(format!("{value}{suffix}"))),
        };
        let text = text.unwrap_or_else(|| format!("{}M", value >> 20));
        let mut reasons = Vec::new();
        if value % PAGE != 0 {
            reasons.push(EINVAL);
        }
        if value > SIZE + free {
            reasons.extend([ENOSPC, EINVAL]);
        }
        self.put(path.clone(), &text, &reasons)?;
        let size = self.device.number("size").ok_or("size")?;
        let expected = if reasons.is_empty() { value } else { SIZE };
        if size != expected {
            return Err(format!("size {size:#x} after that, must be {expected:#x}"));
        }
        // As before: what was never cut off is as it was.
        self.put(path, &SIZE.to_string(), &[])?;
        let kept = value.min(SIZE) as usize;
        if reasons.is_empty() && kept < self.bytes.len() {
            self.write
                .read_exact_at(&mut self.bytes[kept..], kept as u64)
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// What an ordinary user may not do at all.
    fn forbidden(&mut self, dice: &mut Dice) -> Result<(), String> {
        let class = format!("/sys/class/dax/{}", self.device.name);
        let region = self.region.display().to_string();
        let path = dice
            .pick(
                &[
                    &self.device.node(),
                    &format!("{class}/size"),
                    &format!("{class}/align"),
                    &format!("{region}/create"),
                    &format!("{region}/delete"),
                    "/sys/bus/nd/drivers/rdax/bind",
                    "/sys/bus/nd/drivers/rdax/unbind",
                    "/sys/module/rdax/parameters/force",
                    "/sys/module/rdax/parameters/align",
                    "/sys/module/rdax/parameters/upgrade",
                    "/sys/kernel/debug/rdax/rdax0/entries",
                ]
                .map(|s: &str| s),
            )
            .to_owned();
        self.call = format!("open-as-nobody {path}");
        let result = OpenOptions::new().write(true).open(&path);
        let result = result
            .map(|_| ())
            .map_err(|e| e.raw_os_error().unwrap_or(0));
        self.judge(result, &[EACCES]).map(|_| ())
    }

    /// Everything is as the model says.
    fn look(&mut self) -> Result<(), String> {
        self.call = "look".into();
        let mut found = vec![0; SIZE as usize];
        self.read
            .read_exact_at(&mut found, 0)
            .map_err(|e| e.to_string())?;
        if let Some(at) = (0..found.len()).find(|at| found[*at] != self.bytes[*at]) {
            return Err(format!(
                "byte {at:#x} is {:#x}, must be {:#x}",
                found[at], self.bytes[at]
            ));
        }
        let mut found = vec![0; NEIGHBOUR as usize];
        self.neighbour
            .read_exact_at(&mut found, 0)
            .map_err(|e| e.to_string())?;
        if found != self.beside {
            return Err("the device beside it has changed".into());
        }
        Ok(())
    }

    fn one(&mut self, dice: &mut Dice) -> Result<(), String> {
        match dice.below(28) {
            20.. => self.access(dice),
            0..5 => self.range(dice),
            5..8 => self.prefault(dice),
            8 => self.other_ioctl(dice),
            9..12 => self.mmap(dice),
            12..18 => self.read_write(dice),
            18 => self.refused(dice),
            _ if self.root => self.sysfs(dice),
            _ => self.forbidden(dice),
        }
    }

    fn run(&mut self, calls: u64) -> Result<(), String> {
        let who = usize::from(!self.root);
        for n in 0..calls {
            let mut dice = Dice::new(self.seed, who, n);
            self.one(&mut dice)
                .map_err(|e| format!("call {n}: {}: {e}", self.call))?;
            if n % LOOK == LOOK - 1 {
                self.look().map_err(|e| format!("up to call {n}: {e}"))?;
            }
        }
        self.look()
    }
}

/// The module with parameters at random: it loads, whatever they are, and can be unloaded.
fn parameters(seed: u64, force: &str) -> Result<u64, String> {
    let mut loaded = 0;
    for n in 0..24 {
        let mut dice = Dice::new(seed, 2, n);
        let name = dice.pick(&["bind", "force", "align", "upgrade", "nothing"]);
        let value = match dice.below(4) {
            0 => "namespace99.0".repeat(dice.range(1, 200) as usize),
            1 => ",".repeat(dice.range(1, 40) as usize),
            2 => "2M".into(),
            _ => Fuzz::text(&mut dice).replace(['\n', '\0', ' '], "_"),
        };
        device::insmod(&format!("{name}={value}"))
            .map_err(|e| said(&format!("insmod {name}={value}"), e))?;
        loaded += 1;
        sys::unload("rdax").map_err(|e| said(&format!("rmmod after {name}={value}"), e))?;
    }
    device::load_module(force)?;
    Ok(loaded)
}

/// Binds the namespace and makes two devices with known bytes.
fn prepare(namespace: &str, seed: u64) -> Result<Fuzz, String> {
    device::bind(namespace).map_err(|e| said("bind", e))?;
    let device = Device::of(namespace).ok_or("bound, but there is no device")?;
    let region = PathBuf::from(format!("/sys/bus/nd/devices/{namespace}/rdax_region"));
    device
        .set("size", &SIZE.to_string())
        .map_err(|e| said("size", e))?;
    device::write_text(region.join("create"), "1").map_err(|e| said("create", e))?;
    let made = fs::read_to_string(region.join("create")).map_err(|e| e.to_string())?;
    let beside = Device {
        name: made.trim().into(),
    };
    beside
        .set("size", &NEIGHBOUR.to_string())
        .map_err(|e| said("size", e))?;
    let write = device.open(true).map_err(|e| said("open", e))?;
    let read = device.open(false).map_err(|e| said("open", e))?;
    let neighbour = beside.open(true).map_err(|e| said("open", e))?;
    let mut dice = Dice::new(seed, 3, 0);
    let mut fill = |file: &File, len: u64| {
        let mut bytes = vec![0; len as usize];
        dice.bytes(&mut bytes);
        file.write_all_at(&bytes, 0)
            .map(|()| bytes)
            .map_err(|e| e.to_string())
    };
    let bytes = fill(&write, SIZE)?;
    let beside = fill(&neighbour, NEIGHBOUR)?;
    let map = |write_it| {
        let how = MapHow {
            write: write_it,
            sync: false,
            place: None,
        };
        Map::new(write.as_fd(), 0, MAPPED as usize, how).map_err(|e| said("mmap", e))
    };
    let maps = [map(true)?, map(false)?, map(true)?];
    maps[2]
        .protect(false, false)
        .map_err(|e| said("mprotect", e))?;
    let whole = access::map_whole(&write, false, 0).map_err(|e| said("mmap", e))?;
    sys::handle_signals();
    Ok(Fuzz {
        seed,
        root: true,
        namespace: namespace.into(),
        region,
        device,
        write,
        read,
        neighbour,
        bytes,
        beside,
        buffer: Guarded::new(5),
        maps,
        whole: Some(whole),
        said: BTreeMap::new(),
        call: String::new(),
    })
}

pub fn fuzz(options: &Options, calls: u64) -> Result<bool, String> {
    let namespace = &options.device;
    let force = format!("{namespace},{}", options.second);
    if device::is_loaded() {
        for name in [namespace, &options.second] {
            if device::is_bound(name) {
                device::unbind(name).map_err(|e| said("unbind", e))?;
            }
        }
        sys::unload("rdax").map_err(|e| said("rmmod", e))?;
    }
    if let Some(directory) = &options.guided {
        device::load_module(&force)?;
        return guided::guided(options, directory);
    }
    println!("# fuzz: --seed {} --calls {calls}", options.seed);
    match parameters(options.seed, &force) {
        Ok(loaded) => println!("# parameters: 24, loaded with {loaded} of them"),
        Err(text) => {
            println!("# FAILED: {text}");
            return Ok(false);
        }
    }
    let mut fuzz = prepare(namespace, options.seed)?;
    let as_root = fuzz.run(calls);
    report("root", &fuzz, &as_root);
    if as_root.is_err() {
        return Ok(false);
    }
    let pid = sys::fork().map_err(|e| said("fork", e))?;
    if pid == 0 {
        let result = sys::become_nobody()
            .map_err(|e| said("become nobody", e))
            .and_then(|()| {
                fuzz.root = false;
                fuzz.said.clear();
                fuzz.run(calls)
            });
        report("nobody", &fuzz, &result);
        sys::exit_now(i32::from(result.is_err()));
    }
    Ok(sys::wait(pid, true) == Some(Ended::Exit(0)))
}

fn report(who: &str, fuzz: &Fuzz, result: &Result<(), String>) {
    let row: Vec<_> = fuzz
        .said
        .iter()
        .map(|(what, n)| format!("{what} {n}"))
        .collect();
    println!("# as {who}: {}", row.join("; "));
    if let Err(text) = result {
        println!("# FAILED as {who}: {text}");
    }
}
