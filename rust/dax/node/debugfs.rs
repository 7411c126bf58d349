// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs that show the entry table and its locks.

use crate::dax::{
    entries::{
        entry::{
            Entry,
            Kind, //
        },
        table::Event, //
    },
    region::AttributeData, //
};
use crate::kernel_ext::{
    fs::debugfs::{
        File,
        SeqShow, //
    },
    units::PageOffset, //
};
use kernel::fmt;

/// The files of each device, in its directory below the module's.
pub(crate) static FILES: [File<AttributeData>; 3] = [
    File::new::<Entries>(c"entries"),
    File::new::<Events>(c"events"),
    File::new::<Extents>(c"extents"),
];

/// Shows a line for each sequence of equal, adjacent entries: the page offset of the first, their
/// number, and their content.
struct Entries;

impl SeqShow<AttributeData> for Entries {
    fn show(device: &AttributeData, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(live) = device.live() else {
            return Ok(());
        };
        let mut from = PageOffset::new(0);
        while let Some((start, entry, dirty)) = live.entries.peek(from, PageOffset::MAX) {
            let mut count = 1usize;
            let mut behind = entry.behind(start);
            while let Some(next) = behind {
                match live.entries.peek(next, next) {
                    Some((begin, other, mark))
                        if begin == next && mark == dirty && alike(entry, other) =>
                    {
                        count += 1;
                        behind = other.behind(begin);
                    }
                    _ => break,
                }
            }
            writeln!(
                f,
                "{:#x} {count} order {} {}{}{}",
                start.get(),
                entry.order().get(),
                match entry.kind() {
                    Kind::Empty => "empty",
                    Kind::Zero => "zero",
                    Kind::Mapped { .. } => "mapped",
                },
                if entry.is_locked() { " locked" } else { "" },
                if dirty { " dirty" } else { "" },
            )?;
            match behind {
                Some(behind) => from = behind,
                None => break,
            }
        }
        Ok(())
    }
}

/// Whether two entries differ only in their place.
fn alike(left: Entry, right: Entry) -> bool {
    left.order() == right.order()
        && left.is_locked() == right.is_locked()
        && core::mem::discriminant(&left.kind()) == core::mem::discriminant(&right.kind())
}

/// Shows a line for each extent: its page offset in the device, its first page in the region, and
/// its length in pages.
struct Extents;

impl SeqShow<AttributeData> for Extents {
    fn show(device: &AttributeData, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(live) = device.live() else {
            return Ok(());
        };
        for extent in live.layout.read().as_slice() {
            writeln!(
                f,
                "{:#x} {:#x} {:#x}",
                extent.pgoff.get(),
                extent.first.get(),
                extent.pages.get()
            )?;
        }
        Ok(())
    }
}

/// Shows a line for each counter of the entry table.
struct Events;

impl SeqShow<AttributeData> for Events {
    fn show(device: &AttributeData, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(live) = device.live() else {
            return Ok(());
        };
        let events = &live.entries.events;
        for (name, event) in [
            ("grabs", Event::Grab),
            ("created", Event::Create),
            ("waits", Event::Wait),
            ("wakes", Event::Wake),
            ("conflicts", Event::Conflict),
            ("splits", Event::Split),
            ("upgrades", Event::Upgrade),
            ("deletes", Event::Delete),
            ("writebacks", Event::Writeback),
        ] {
            writeln!(f, "{name} {}", events.get(event))?;
        }
        Ok(())
    }
}
