// SPDX-License-Identifier: GPL-2.0

//! Attributes in sysfs: `Documentation/ABI/testing/sysfs-class-rdax` says what they promise.

use super::{
    counter::Counter,
    device::{
        Device,
        Live, //
    },
    mapping::Events,
    order::Order, //
};
use crate::kernel_ext::{
    badblocks,
    sysfs::{
        Attribute,
        Attributes,
        Group,
        Groups,
        Show, //
    },
};
use core::fmt::Write;
use kernel::{
    fmt,
    str::Formatter, //
};

/// An attribute of the device that shows one value: for all to read, as a number, unless it says
/// otherwise.
macro_rules! attribute {
    ($static:ident, $name:literal, |$device:ident| $value:expr) => {
        attribute!($static, $name, 0o444, "{}", |$device| $value);
    };
    ($static:ident, $name:literal, $mode:literal, $format:literal, |$device:ident| $value:expr) => {
        static $static: Attribute<Device> = {
            struct Attr;

            impl Show<Device> for Attr {
                fn show($device: &Device, out: &mut Formatter<'_>) -> fmt::Result {
                    out.write_fmt(format_args!(concat!($format, "\n"), $value))
                }
            }

            Attribute::new::<Attr>($name, $mode)
        };
    };
}

/// A value that is there while the device is alive. Attributes are removed before it dies.
fn live<T>(device: &Device, value: impl FnOnce(&Live) -> T) -> Result<T, fmt::Error> {
    device.live().map(|live| value(&live)).ok_or(fmt::Error)
}

/// A counter of the index.
fn event(device: &Device, counter: impl FnOnce(&Events) -> &Counter) -> Result<u64, fmt::Error> {
    live(device, |live| counter(&live.mapping.events).get())
}

attribute!(SIZE, c"size", |dev| live(dev, |live| live.range.size())?);
attribute!(ALIGN, c"align", |dev| dev.align().bytes());
// A physical address: for root only.
attribute!(RESOURCE, c"resource", 0o400, "{:#x}", |dev| live(
    dev,
    |live| live.range.start()
)?);
attribute!(NUMA_NODE, c"numa_node", |dev| dev.numa_node());

/// As libnvdimm lists them: the first block of a run and their number, in blocks of 512 bytes.
struct BadBlocks;

/// The longest line of it: two numbers of 64 bits.
const BAD_LINE: usize = 2 * 21;

impl Show<Device> for BadBlocks {
    fn show(device: &Device, out: &mut Formatter<'_>) -> fmt::Result {
        let live = device.live().ok_or(fmt::Error)?;
        let mut from = 0;
        while let Some(bad) = live.media().bad().first_in(from..live.range.size()) {
            let count = (bad.end - bad.start) / badblocks::BLOCK;
            // As many as a page holds.
            if out.bytes_written() + BAD_LINE > Order::PTE.bytes() {
                break;
            }
            writeln!(out, "{} {count}", bad.start / badblocks::BLOCK)?;
            from = bad.end;
        }
        Ok(())
    }
}

static BADBLOCKS: Attribute<Device> = Attribute::new::<BadBlocks>(c"badblocks", 0o444);

static DEVICE_ATTRS: Attributes<Device, 6> = Attributes::new([
    Some(&SIZE),
    Some(&ALIGN),
    Some(&RESOURCE),
    Some(&NUMA_NODE),
    Some(&BADBLOCKS),
    None,
]);

attribute!(PTE_MAPPED, c"pte_mapped", |dev| dev.faults.pte.mapped.get());
attribute!(PTE_SIGBUS, c"pte_sigbus", |dev| dev.faults.pte.sigbus.get());
attribute!(PMD_MAPPED, c"pmd_mapped", |dev| dev.faults.pmd.mapped.get());
attribute!(PMD_FALLBACK, c"pmd_fallback", |dev| dev
    .faults
    .pmd
    .fallback
    .get());
attribute!(PMD_SIGBUS, c"pmd_sigbus", |dev| dev.faults.pmd.sigbus.get());
attribute!(PUD_MAPPED, c"pud_mapped", |dev| dev.faults.pud.mapped.get());
attribute!(PUD_FALLBACK, c"pud_fallback", |dev| dev
    .faults
    .pud
    .fallback
    .get());
attribute!(PUD_SIGBUS, c"pud_sigbus", |dev| dev.faults.pud.sigbus.get());
attribute!(RACED, c"raced", |dev| dev.faults.raced.get());
attribute!(OOM, c"oom", |dev| dev.faults.oom.get());
attribute!(HWPOISON, c"hwpoison", |dev| dev.faults.hwpoison.get());

static FAULT_ATTRS: Attributes<Device, 12> = Attributes::new([
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

attribute!(CREATED, c"created", |dev| event(dev, |events| &events
    .created)?);
attribute!(WAITS, c"waits", |dev| event(dev, |events| &events.waits)?);
attribute!(WAKES, c"wakes", |dev| event(dev, |events| &events.wakes)?);
attribute!(WRITEBACKS, c"writebacks", |dev| event(dev, |events| {
    &events.writebacks
})?);

static ENTRY_ATTRS: Attributes<Device, 5> = Attributes::new([
    Some(&CREATED),
    Some(&WAITS),
    Some(&WAKES),
    Some(&WRITEBACKS),
    None,
]);

static DEVICE: Group<Device> = Group::new(None, &DEVICE_ATTRS);
static FAULTS: Group<Device> = Group::new(Some(c"faults"), &FAULT_ATTRS);
static ENTRIES: Group<Device> = Group::new(Some(c"entries"), &ENTRY_ATTRS);

/// All attributes of a device.
pub(crate) static GROUPS: Groups<Device, 4> =
    Groups::new([Some(&DEVICE), Some(&FAULTS), Some(&ENTRIES), None]);
