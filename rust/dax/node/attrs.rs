// SPDX-License-Identifier: GPL-2.0

//! Attributes in sysfs. `Documentation/ABI/testing/sysfs-class-rdax` describes them.

use crate::dax::{
    device::{
        log,
        Device,
        Live, //
    },
    entries::table::Event,
    mode::Reason,
    ops::poison,
    params,
    region::{
        AttributeData,
        Bound,
        Region, //
    }, //
};
use crate::kernel_ext::{
    fs::{
        cdev,
        sysfs::{
            Attribute,
            Attributes,
            Group,
            Groups,
            Show,
            Store, //
        }, //
    },
    media::badblocks,
    mm::fault::{
        FaultResult::{
            self,
            Fallback,
            Hwpoison,
            Mapped,
            Oom,
            Raced,
            Sigbus, //
        },
        Level::{
            self,
            Pmd,
            Pte,
            Pud, //
        }, //
    },
    task,
    units::{
        DeviceOffset,
        Order,
        Pages, //
    }, //
};
use core::fmt::Write;
use kernel::{
    fmt,
    prelude::*,
    str::{
        BStr,
        Formatter, //
    }, //
};

/// Declares an attribute that shows one value: readable by all and a number, unless stated
/// otherwise. It may be written if it names a [`Store`].
macro_rules! attribute {
    ($static:ident, $name:literal, |$device:ident| $value:expr) => {
        attribute!($static, $name, 0o444, "{}", |$device| $value);
    };
    ($static:ident, $name:literal, $mode:literal, $format:literal, |$device:ident| $value:expr) => {
        attribute!($static: AttributeData, $name, $mode, $format, [], |$device| $value);
    };
    ($static:ident, $name:literal, $mode:literal, $format:literal, $store:ty,
     |$device:ident| $value:expr) => {
        attribute!($static: AttributeData, $name, $mode, $format, [.writable::<$store>()],
                   |$device| $value);
    };
    ($static:ident: $data:ty, $name:literal, $mode:literal, $format:literal, [$($writable:tt)*],
     |$device:ident| $value:expr) => {
        static $static: Attribute<$data> = {
            struct Attr;

            impl Show<$data> for Attr {
                fn show($device: &$data, out: &mut Formatter<'_>) -> fmt::Result {
                    out.write_fmt(format_args!(concat!($format, "\n"), $value))
                }
            }

            Attribute::new::<Attr>($name, $mode)$($writable)*
        };
    };
}

/// Returns a value that needs the live guard. Attributes are removed before the device dies.
fn live<T>(device: &Device, value: impl FnOnce(&Live) -> T) -> Result<T, fmt::Error> {
    device.live().map(|live| value(&live)).ok_or(fmt::Error)
}

/// Returns how often an event of the entry table was counted.
fn event(device: &Device, event: Event) -> Result<u64, fmt::Error> {
    live(device, |live| live.entries.events.get(event))
}

/// Returns the number of faults at `level` with that result.
fn faults(device: &Device, level: Level, result: FaultResult) -> u64 {
    device.faults.get(level, result)
}

/// The owner of an attribute, for the log.
trait Owner {
    /// What was written to.
    fn owner(&self) -> Written<'_>;
    /// Whether a refusal may be logged now.
    fn allows(&self) -> bool;
}

/// What an attribute was written of.
enum Written<'a> {
    Device(&'a Device),
    Region(&'a Region),
}

impl Owner for AttributeData {
    fn owner(&self) -> Written<'_> {
        Written::Device(self)
    }

    fn allows(&self) -> bool {
        self.refused_writes
            .allows(fmt!("{}: refused writes", **self))
    }
}

impl Owner for Bound {
    fn owner(&self) -> Written<'_> {
        Written::Region(&self.region)
    }

    fn allows(&self) -> bool {
        let limit = &self.region.refused_writes;
        match self.region.live() {
            Some(live) => limit.allows(fmt!("{}: refused writes", live.name())),
            None => limit.allows(fmt!("refused writes")),
        }
    }
}

/// Logs why a write to an attribute was refused, and which task wrote.
fn refused(
    owner: &impl Owner,
    what: &str,
    text: &[u8],
    reason: impl fmt::Display,
    error: Error,
) -> Error {
    if owner.allows() {
        let text = BStr::from_bytes(text);
        let (task, pid) = (task::Name::current(), current!().pid());
        match owner.owner() {
            Written::Device(device) => log!(
                dev_info,
                pr_info,
                device,
                "{device}: {task} ({pid}): {what} {text} refused: {reason}\n"
            ),
            Written::Region(region) => log!(
                dev_info,
                pr_info,
                region,
                "{task} ({pid}): {what} {text} refused: {reason}\n"
            ),
        }
    }
    error
}

/// The longest line: two numbers of 64 bits, in bytes.
const LINE: usize = 2 * 21;

struct Size;

impl Store<AttributeData> for Size {
    fn store(device: &AttributeData, text: &[u8]) -> Result {
        let size = params::number(text)
            .ok_or_else(|| refused(device, "size", text, "not a number of bytes", EINVAL))?;
        device.region()?.resize(device, size).inspect_err(|&error| {
            let reason = match error {
                EINVAL => "not a multiple of align",
                ENOSPC => "the region has less free space",
                ENXIO => "the device is gone",
                ENOMEM => "out of memory",
                _ => return,
            };
            refused(device, "size", text, reason, error);
        })
    }
}

struct Align;

impl Store<AttributeData> for Align {
    fn store(device: &AttributeData, text: &[u8]) -> Result {
        let align = params::align(text)
            .ok_or_else(|| refused(device, "align", text, "it must be 4K, 2M or 1G", EINVAL))?;
        device
            .region()?
            .set_align(device, align)
            .inspect_err(|&error| {
                let reason = match error {
                    EINVAL => "the device's size or its place in the region is no multiple of it",
                    EBUSY => "the device is in use",
                    ENXIO => "the device is gone",
                    _ => return,
                };
                refused(device, "align", text, reason, error);
            })
    }
}

/// The device's extents in bytes of the region: offset and length of each.
struct Extents;

impl Show<AttributeData> for Extents {
    fn show(device: &AttributeData, out: &mut Formatter<'_>) -> fmt::Result {
        let live = device.live().ok_or(fmt::Error)?;
        let layout = live.layout.read();
        for extent in layout.as_slice() {
            // A page holds no more.
            if out.bytes_written() + LINE > Order::PTE.bytes() {
                break;
            }
            writeln!(
                out,
                "{} {}",
                extent.first.byte().get(),
                extent.pages.bytes()
            )?;
        }
        Ok(())
    }
}

impl Store<AttributeData> for Extents {
    fn store(device: &AttributeData, text: &[u8]) -> Result {
        let (offset, len) = params::extent(text).ok_or_else(|| {
            refused(
                device,
                "extents",
                text,
                "not an offset and a length",
                EINVAL,
            )
        })?;
        device
            .region()?
            .append(device, offset, len)
            .inspect_err(|&error| {
                let reason = match error {
                    EINVAL => "empty, beyond the region, or not a multiple of align",
                    EBUSY => "not all of it is free",
                    ENXIO => "the device is gone",
                    ENOMEM => "out of memory",
                    _ => return,
                };
                refused(device, "extents", text, reason, error);
            })
    }
}

static EXTENTS: Attribute<AttributeData> =
    Attribute::new::<Extents>(c"extents", 0o644).writable::<Extents>();

/// The same of a device that its bus divides.
static FIXED_EXTENTS: Attribute<AttributeData> = Attribute::new::<Extents>(c"extents", 0o444);

attribute!(SIZE, c"size", 0o644, "{}", Size, |dev| live(dev, |live| {
    live.layout.read().size()
})?);
attribute!(ALIGN, c"align", 0o644, "{}", Align, |dev| dev
    .align()
    .bytes());
attribute!(AVAILABLE, c"available_size", |dev| dev
    .region()
    .map_err(|_| fmt::Error)?
    .available());
// A physical address, so only root may read it. A device without pages shows all ones, as
// `dev_dax_resource()` does.
attribute!(RESOURCE, c"resource", 0o400, "{:#x}", |dev| live(
    dev,
    |live| live.layout.read().start().unwrap_or(u64::MAX)
)?);
attribute!(NUMA_NODE, c"numa_node", |dev| dev.geometry().numa_node);

/// In libnvdimm's format: the first block of a run and the number of blocks, in blocks of 512
/// bytes.
struct BadBlocks;

impl Show<AttributeData> for BadBlocks {
    fn show(device: &AttributeData, out: &mut Formatter<'_>) -> fmt::Result {
        let live = device.live().ok_or(fmt::Error)?;
        let layout = live.layout.read();
        let mut from = DeviceOffset::new(0);
        while let Some(bad) = poison::first_bad(&live, &layout, from) {
            let count = (bad.end - bad.start) / badblocks::BLOCK;
            // A page holds no more.
            if out.bytes_written() + LINE > Order::PTE.bytes() {
                break;
            }
            writeln!(out, "{} {count}", bad.start.get() / badblocks::BLOCK)?;
            from = bad.end;
        }
        Ok(())
    }
}

static BADBLOCKS: Attribute<AttributeData> = Attribute::new::<BadBlocks>(c"badblocks", 0o444);

static DEVICE_ATTRS: Attributes<AttributeData, 8> = Attributes::new([
    Some(&SIZE),
    Some(&EXTENTS),
    Some(&ALIGN),
    Some(&AVAILABLE),
    Some(&RESOURCE),
    Some(&NUMA_NODE),
    Some(&BADBLOCKS),
    None,
]);

/// Whether reads always map pages writable.
struct MapWritable;

impl Store<AttributeData> for MapWritable {
    fn store(device: &AttributeData, text: &[u8]) -> Result {
        match text {
            b"0" => device.end_map_writable(Reason::Always),
            b"1" => device.begin_map_writable(Reason::Always)?,
            _ => {
                let reason = "only 0 or 1 may be written";
                return Err(refused(device, "map_writable", text, reason, EINVAL));
            }
        }
        Ok(())
    }
}

attribute!(
    MAP_WRITABLE,
    c"map_writable",
    0o644,
    "{}",
    MapWritable,
    |dev| u32::from(dev.mode.get().is_set_for(Reason::Always))
);
attribute!(MAPS_WRITABLE, c"maps_writable", |dev| u32::from(
    dev.mode.get().maps_writable()
));
attribute!(PTE_MAPPED, c"pte_mapped", |dev| faults(dev, Pte, Mapped));
attribute!(PTE_SIGBUS, c"pte_sigbus", |dev| faults(dev, Pte, Sigbus));
attribute!(PMD_MAPPED, c"pmd_mapped", |dev| faults(dev, Pmd, Mapped));
attribute!(PMD_FALLBACK, c"pmd_fallback", |dev| faults(
    dev, Pmd, Fallback
));
attribute!(PMD_SIGBUS, c"pmd_sigbus", |dev| faults(dev, Pmd, Sigbus));
attribute!(PUD_MAPPED, c"pud_mapped", |dev| faults(dev, Pud, Mapped));
attribute!(PUD_FALLBACK, c"pud_fallback", |dev| faults(
    dev, Pud, Fallback
));
attribute!(PUD_SIGBUS, c"pud_sigbus", |dev| faults(dev, Pud, Sigbus));
attribute!(RACED, c"raced", |dev| dev.faults.total(Raced));
attribute!(OOM, c"oom", |dev| dev.faults.total(Oom));
attribute!(HWPOISON, c"hwpoison", |dev| dev.faults.total(Hwpoison));

static FAULT_ATTRS: Attributes<AttributeData, 14> = Attributes::new([
    Some(&MAP_WRITABLE),
    Some(&MAPS_WRITABLE),
    Some(&PTE_MAPPED),
    Some(&PTE_SIGBUS),
    Some(&PMD_MAPPED),
    Some(&PMD_FALLBACK),
    Some(&PMD_SIGBUS),
    Some(&PUD_MAPPED),
    Some(&PUD_FALLBACK),
    Some(&PUD_SIGBUS),
    Some(&RACED),
    Some(&OOM),
    Some(&HWPOISON),
    None,
]);

attribute!(CREATED, c"created", |dev| event(dev, Event::Create)?);
attribute!(WAITS, c"waits", |dev| event(dev, Event::Wait)?);
attribute!(WAKES, c"wakes", |dev| event(dev, Event::Wake)?);
attribute!(WRITEBACKS, c"writebacks", |dev| event(
    dev,
    Event::Writeback
)?);

static ENTRY_ATTRS: Attributes<AttributeData, 5> = Attributes::new([
    Some(&CREATED),
    Some(&WAITS),
    Some(&WAKES),
    Some(&WRITEBACKS),
    None,
]);

static DEVICE: Group<AttributeData> = Group::new(None, &DEVICE_ATTRS);
static FAULTS: Group<AttributeData> = Group::new(Some(c"faults"), &FAULT_ATTRS);
static ENTRIES: Group<AttributeData> = Group::new(Some(c"entries"), &ENTRY_ATTRS);

/// All attributes of a device.
pub(crate) static GROUPS: Groups<AttributeData, 4> =
    Groups::new([Some(&DEVICE), Some(&FAULTS), Some(&ENTRIES), None]);

/// What faults map.
struct Memory;

impl Store<AttributeData> for Memory {
    fn store(device: &AttributeData, text: &[u8]) -> Result {
        let tracked = match text {
            b"pages" => false,
            b"tracked" => true,
            _ => {
                let reason = "only pages or tracked may be written";
                return Err(refused(device, "memory", text, reason, EINVAL));
            }
        };
        device.set_tracked(tracked).inspect_err(|&error| {
            let reason = match error {
                EBUSY => "the device is in use",
                _ => "the device was bound without pages",
            };
            refused(device, "memory", text, reason, error);
        })
    }
}

attribute!(MEMORY, c"memory", 0o644, "{}", Memory, |dev| {
    let mode = dev.mode.get();
    match (mode.has_pages(), mode.is_tracked()) {
        (false, _) => "frames",
        (true, false) => "pages",
        (true, true) => "tracked",
    }
});

/// The device's own attributes that a bus does not have.
static BUS_ATTRS: Attributes<AttributeData, 4> =
    Attributes::new([Some(&FIXED_EXTENTS), Some(&BADBLOCKS), Some(&MEMORY), None]);

static BUS: Group<AttributeData> = Group::new(Some(c"rdax"), &BUS_ATTRS);

/// The attributes of a device that its bus has made, in directories of their own: the bus has
/// attributes of the same names.
pub(crate) static BUS_GROUPS: Groups<AttributeData, 4> =
    Groups::new([Some(&BUS), Some(&FAULTS), Some(&ENTRIES), None]);

/// Why [`Region::create`] failed for a given number.
pub(crate) struct NotMade {
    pub(crate) error: Error,
    pub(crate) number: Option<usize>,
}

impl fmt::Display for NotMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.error, self.number) {
            (EEXIST, _) => write!(f, "there is a device of that name"),
            (ENOSPC, Some(_)) => {
                write!(
                    f,
                    "there is no such number, the largest is {}",
                    cdev::MINORS - 1
                )
            }
            (ENOSPC, None) => write!(f, "all {} numbers are taken", cdev::MINORS),
            (ENFILE, _) => write!(f, "too many files are open in the system"),
            (ENOMEM, _) => write!(f, "out of memory"),
            (ENXIO, _) => write!(f, "the namespace is being unbound"),
            (error, _) => write!(f, "{error:?}"),
        }
    }
}

struct Create;

impl Store<Bound> for Create {
    fn store(bound: &Bound, text: &[u8]) -> Result {
        let number = match text {
            b"1" => None,
            name => Some(params::minor(name).ok_or_else(|| {
                let reason = "only 1 or the name of a device may be written";
                refused(bound, "create", text, reason, EINVAL)
            })?),
        };
        let created = bound
            .region
            .create(Pages::ZERO, number)
            .inspect_err(|&error| {
                refused(bound, "create", text, NotMade { error, number }, error);
            });
        created.map(|_| ())
    }
}

struct Delete;

impl Store<Bound> for Delete {
    fn store(bound: &Bound, text: &[u8]) -> Result {
        let minor = params::minor(text).ok_or(ENXIO);
        minor
            .and_then(|minor| bound.region.delete(minor))
            .inspect_err(|&error| {
                let reason = match error {
                    ENXIO => "no device of this region",
                    EBUSY => "the device is in use",
                    ENOMEM => "out of memory",
                    _ => return,
                };
                refused(bound, "delete", text, reason, error);
            })
    }
}

/// Shows the name of the device that was made last, or an empty line if it is gone.
struct Youngest;

impl Show<Bound> for Youngest {
    fn show(bound: &Bound, out: &mut Formatter<'_>) -> fmt::Result {
        match bound.region.youngest() {
            Some(minor) => writeln!(out, "rdax{minor}"),
            None => writeln!(out),
        }
    }
}

attribute!(REGION_SIZE: Bound, c"size", 0o444, "{}", [], |bound| bound.region
    .geometry
    .span
    .size());
attribute!(REGION_ALIGN: Bound, c"align", 0o444, "{}", [], |bound| bound.region
    .geometry
    .align
    .bytes());
attribute!(REGION_AVAILABLE: Bound, c"available_size", 0o444, "{}", [], |bound| bound.region
    .available());
static CREATE: Attribute<Bound> = Attribute::new::<Youngest>(c"create", 0o644).writable::<Create>();
static DELETE: Attribute<Bound> = Attribute::write_only::<Delete>(c"delete", 0o200);

static REGION_ATTRS: Attributes<Bound, 6> = Attributes::new([
    Some(&REGION_SIZE),
    Some(&REGION_ALIGN),
    Some(&REGION_AVAILABLE),
    Some(&CREATE),
    Some(&DELETE),
    None,
]);

static REGION: Group<Bound> = Group::new(Some(c"rdax_region"), &REGION_ATTRS);

/// The attributes of a bound namespace.
pub(crate) static REGION_GROUPS: Groups<Bound, 2> = Groups::new([Some(&REGION), None]);
