// SPDX-License-Identifier: GPL-2.0

//! The module, its devices, their files in sysfs and debugfs, the ioctls.

use crate::sys::{self, Errno};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Error, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
    process::{Command, ExitStatus},
};

const DRIVER: &str = "/sys/bus/nd/drivers/rdax";
const DAX_DRIVER: &str = "/sys/bus/dax/drivers/rdax";
const DAX_DEVICES: &str = "/sys/bus/dax/devices";
const MODULE: &str = "/sys/module/rdax";
const CLASS: &str = "/sys/class/dax";

fn errno(error: &Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// One write() to a file that is there.
pub fn write_text(path: impl AsRef<Path>, text: &str) -> Result<(), Errno> {
    let mut file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|e| errno(&e))?;
    let n = file.write(text.as_bytes()).map_err(|e| errno(&e))?;
    if n == text.len() {
        Ok(())
    } else {
        Err(libc::EIO)
    }
}

pub fn is_loaded() -> bool {
    Path::new(MODULE).exists()
}

/// Loads the module, with these parameters.
pub fn insmod(parameters: &str) -> Result<(), Errno> {
    let path = std::env::var("RDAX_KO").unwrap_or_else(|_| "rdax.ko".into());
    let file = File::open(path).map_err(|e| errno(&e))?;
    sys::load(file.as_fd(), parameters)
}

pub fn load_module(force: &str) -> Result<(), String> {
    if is_loaded() {
        return set_parameter("force", force);
    }
    insmod(&format!("force={force}"))
        .map_err(|e| format!("$RDAX_KO can't be loaded: {}", Error::from_raw_os_error(e)))
}

pub fn set_parameter(name: &str, value: &str) -> Result<(), String> {
    write_text(format!("{MODULE}/parameters/{name}"), value)
        .map_err(|e| format!("parameter {name}: {}", Error::from_raw_os_error(e)))
}

/// Whether it is the name of a device of the dax bus, not of a namespace.
pub fn is_dax(name: &str) -> bool {
    name.starts_with("dax")
}

/// Of these names, those that the parameter `force` takes: namespaces.
pub fn forced(names: &[&str]) -> String {
    let namespaces: Vec<&str> = names.iter().copied().filter(|name| !is_dax(name)).collect();
    namespaces.join(",")
}

/// Makes the one range of a device of the dax bus, which no driver has, so long and so aligned.
pub fn divide_dax(name: &str, size: u64, align: u64) -> Result<(), Errno> {
    write_text(format!("{DAX_DEVICES}/{name}/size"), &size.to_string())?;
    write_text(format!("{DAX_DEVICES}/{name}/align"), &align.to_string())
}

fn driver_of(name: &str) -> &'static str {
    if is_dax(name) {
        DAX_DRIVER
    } else {
        DRIVER
    }
}

pub fn is_bound(name: &str) -> bool {
    Path::new(driver_of(name)).join(name).exists()
}

/// The same word to `bind` and `unbind`. A driver of the dax bus is told the name before.
pub fn bind(name: &str) -> Result<(), Errno> {
    if is_dax(name) {
        write_text(format!("{DAX_DRIVER}/new_id"), name)?;
        if is_bound(name) {
            return Ok(());
        }
    }
    write_text(format!("{}/bind", driver_of(name)), name)
}

pub fn unbind(name: &str) -> Result<(), Errno> {
    write_text(format!("{}/unbind", driver_of(name)), name)
}

/// What the memory of a device is for others: see Documentation/vm.rst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Page frames, which nobody can pin.
    Frames,
    Pages,
    /// Pages, whose writes are tracked: nobody can pin them for long.
    Tracked,
}

impl Memory {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "frames" => Some(Self::Frames),
            "pages" => Some(Self::Pages),
            "tracked" => Some(Self::Tracked),
            _ => None,
        }
    }

    pub fn has_pages(self) -> bool {
        self != Self::Frames
    }
}

/// A device of a namespace.
#[derive(Clone, Debug)]
pub struct Device {
    pub name: String,
}

impl Device {
    /// The first device of a bound namespace; or the bound device of the dax bus itself.
    pub fn of(namespace: &str) -> Option<Self> {
        if is_dax(namespace) {
            return is_bound(namespace).then(|| Self {
                name: namespace.into(),
            });
        }
        let mut names: Vec<String> = fs::read_dir(CLASS)
            .ok()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let to = fs::read_link(entry.path().join("device")).ok()?;
                let name = entry.file_name().into_string().ok()?;
                (to.file_name()? == namespace && name.starts_with("rdax")).then_some(name)
            })
            .collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        Some(Self {
            name: names.into_iter().next()?,
        })
    }

    pub fn node(&self) -> String {
        format!("/dev/{}", self.name)
    }

    pub fn open(&self, write: bool) -> Result<File, Errno> {
        OpenOptions::new()
            .read(true)
            .write(write)
            .open(self.node())
            .map_err(|e| errno(&e))
    }

    /// Its directory in sysfs.
    fn attributes(&self) -> String {
        let parent = if is_dax(&self.name) {
            DAX_DEVICES
        } else {
            CLASS
        };
        format!("{parent}/{}", self.name)
    }

    pub fn set(&self, attribute: &str, value: &str) -> Result<(), Errno> {
        write_text(format!("{}/{attribute}", self.attributes()), value)
    }

    pub fn number(&self, attribute: &str) -> Option<u64> {
        fs::read_to_string(format!("{}/{attribute}", self.attributes()))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    pub fn memory(&self) -> Memory {
        fs::read_to_string(format!("{}/rdax/memory", self.attributes()))
            .ok()
            .and_then(|text| Memory::parse(text.trim()))
            .unwrap_or(Memory::Frames)
    }

    /// All counters: faults/*, entries/*, and debugfs' events.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for directory in ["faults", "entries"] {
            let Ok(files) = fs::read_dir(format!("{}/{directory}", self.attributes())) else {
                continue;
            };
            for file in files.flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                if let Some(n) = self.number(&format!("{directory}/{name}")) {
                    all.insert(name, n);
                }
            }
        }
        for line in self.debug("events").lines() {
            if let Some((name, n)) = line.split_once(' ') {
                all.insert(name.into(), n.trim().parse().unwrap_or(0));
            }
        }
        all
    }

    fn debug(&self, file: &str) -> String {
        fs::read_to_string(format!("/sys/kernel/debug/rdax/{}/{file}", self.name))
            .unwrap_or_default()
    }

    /// The index: runs of entries.
    pub fn entries(&self) -> Result<Vec<Run>, String> {
        self.debug("entries")
            .lines()
            .map(|line| Run::parse(line).ok_or(format!("what is this in `entries`: {line}")))
            .collect()
    }
}

/// A line of debugfs' `entries`.
#[derive(Clone, Debug)]
pub struct Run {
    pub first: u64,
    pub count: u64,
    pub order: u32,
    pub kind: String,
    pub locked: bool,
    pub dirty: bool,
}

impl Run {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let first = words.next()?.strip_prefix("0x")?;
        let first = u64::from_str_radix(first, 16).ok()?;
        let count = words.next()?.parse().ok()?;
        words.next().filter(|word| *word == "order")?;
        let order = words.next()?.parse().ok()?;
        let kind = words.next()?.to_owned();
        let rest: Vec<_> = words.collect();
        Some(Self {
            first,
            count,
            order,
            kind,
            locked: rest.contains(&"locked"),
            dirty: rest.contains(&"dirty"),
        })
    }

    /// Does it have that page of the device?
    pub fn has(&self, pgoff: u64) -> bool {
        (self.first..self.first + (self.count << self.order)).contains(&pgoff)
    }
}

/// struct rdax_range of rust/uapi/rdax.h.
#[repr(C)]
pub struct Range {
    pub size: u32,
    pub flags: u32,
    pub offset: u64,
    pub length: u64,
}

/// struct rdax_prefault.
#[repr(C)]
pub struct Prefault {
    pub size: u32,
    pub flags: u32,
    pub address: u64,
    pub length: u64,
    pub done: u64,
}

/// How long the disk in RAM is, at least.
pub const DISK_BYTES: u64 = 4 << 20;

/// Opens a disk in RAM, past the page cache. Returns `None` if the kernel has no such disk.
pub fn ram_disk() -> Option<File> {
    const PATH: &str = "/dev/ram0";
    if !Path::new(PATH).exists() {
        let done = Command::new("modprobe")
            .args([
                "-q",
                "brd",
                "rd_nr=1",
                &format!("rd_size={}", DISK_BYTES >> 10),
            ])
            .status();
        done.ok().filter(ExitStatus::success)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(PATH)
        .ok()
}

pub const PUNCH: u64 = 0x4018_da01;
pub const ZERO: u64 = 0x4018_da02;
pub const PREFAULT: u64 = 0xc020_da03;

pub fn punch(file: &File, number: u64, offset: u64, length: u64) -> Result<(), Errno> {
    let mut range = Range {
        size: size_of::<Range>() as u32,
        flags: 0,
        offset,
        length,
    };
    sys::ioctl(file.as_fd(), number, &mut range)
}

/// How many bytes are mapped now, and why not more.
pub fn prefault(file: &File, address: u64, length: u64, write: bool) -> (u64, Result<(), Errno>) {
    let mut call = Prefault {
        size: size_of::<Prefault>() as u32,
        flags: u32::from(write),
        address,
        length,
        done: 0,
    };
    let result = sys::ioctl(file.as_fd(), PREFAULT, &mut call);
    (call.done, result)
}
