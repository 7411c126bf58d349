// SPDX-License-Identifier: GPL-2.0

use crate::dax::signature::{find, Anchor, Signature, LONGEST, SIGNATURES};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// More than any signature's distance from the start and the end.
const SIZE: u64 = 300 << 30;

/// Media that has zeroes but for a few pieces.
#[derive(Default)]
struct Media(BTreeMap<u64, u8>);

impl Media {
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            self.0.insert(offset + i as u64, byte);
        }
    }

    fn find(&self, size: u64) -> Option<(&'static str, u64)> {
        let found = find(size, |offset, buf| {
            assert!(offset + buf.len() as u64 <= size);
            for (at, byte) in (offset..).zip(buf.iter_mut()) {
                *byte = self.0.get(&at).copied().unwrap_or(0);
            }
            Ok::<_, ()>(())
        });
        found.unwrap().map(|found| (found.name, found.offset))
    }
}

/// With this at one of its places, and what it needs besides.
fn media_with(signature: &Signature, place: u64) -> Media {
    let mut media = Media::default();
    if let Some((also, magic)) = signature.also {
        media.put(also, magic);
    }
    media.put(place, signature.magic);
    media
}

/// The place that is written down elsewhere than in the table: a name, the offset from the start (or, when
/// negative, from the end), the bytes.
const KNOWN: &[(&str, i64, &[u8])] = &[
    (
        "MD RAID 0.90",
        -0x10000,
        b"\xfc\x4e\x2b\xa9\0\0\0\0\x5a\0\0\0",
    ),
    ("MD RAID 1.0", -0x2000, b"\xfc\x4e\x2b\xa9\x01\0\0\0"),
    ("GPT (backup)", -512, b"EFI PART\0\0\x01\0"),
    ("GPT (backup)", -4096, b"EFI PART\0\0\x01\0"),
    (
        "ZFS",
        0x4000,
        b"\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\x24\0\0\0\x20\0\0\0\x07version\0",
    ),
    (
        "ZFS",
        -0x40000 + 0x4000,
        b"\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\x24\0\0\0\x20\0\0\0\x07version\0",
    ),
    (
        "ZFS",
        -0x80000 + 0x20000 + 5 * 4096,
        b"\x0c\xb1\xba\0\0\0\0\0",
    ),
    ("DRBD", -4096 + 60, b"\x83\x74\x02\x6d"),
    ("NILFS2 (copy)", -4096, b"\x02\0\0\0\0\0\x34\x34"),
    (
        "bcachefs (copy)",
        -(1 << 20) + 0x18,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9",
    ),
    ("HFS+ (copy)", -0x400, b"H+\0\x04"),
    ("DDF RAID", -512, b"\xde\x11\xde\x11"),
    ("LVM2", 0x600, b"LABELONE\x03"),
    ("Btrfs (copy)", 0x4000040, b"_BHRfS_M"),
    ("Btrfs (copy)", 0x40_0000_0040, b"_BHRfS_M"),
    (
        "bcachefs (copy)",
        0x200018,
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9",
    ),
];

#[test]
fn each_is_found_where_others_put_it() {
    for &(name, offset, bytes) in KNOWN {
        let mut media = Media::default();
        let at = if offset < 0 {
            SIZE.wrapping_add_signed(offset)
        } else {
            offset as u64
        };
        media.put(at, bytes);
        assert_eq!(
            media.find(SIZE).map(|(name, _)| name),
            Some(name),
            "at {offset:#x}"
        );
    }
}

#[test]
fn each_is_found_where_it_stands() {
    for signature in SIGNATURES {
        for place in signature.places_in(SIZE) {
            let mut media = media_with(signature, place);
            let found = media.find(SIZE).map(|(_, offset)| offset);
            assert!(found.is_some(), "{signature:?} at {place:#x}");
            // Not when one bit is another, nor one byte further.
            *media.0.get_mut(&place).unwrap() ^= 1;
            assert_eq!(media.find(SIZE), None, "{signature:?}");
            media = media_with(signature, place + 1);
            media.0.remove(&place);
            assert_ne!(
                media.find(SIZE).map(|(_, at)| at),
                Some(place),
                "{signature:?}"
            );
        }
    }
}

#[test]
fn one_that_ends_where_the_media_ends() {
    for signature in SIGNATURES
        .iter()
        .filter(|signature| matches!(signature.anchor, Anchor::Start) && signature.also.is_none())
    {
        let place = signature.places_in(SIZE).last().unwrap();
        let end = place + signature.magic.len() as u64;
        let media = media_with(signature, place);
        let found = media.find(end).map(|(_, offset)| offset);
        assert_eq!(found, Some(place), "{signature:?}");
        assert_eq!(media.find(end - 1), None, "{signature:?}");
    }
}

#[test]
fn two_bytes_alone_mean_nothing() {
    for signature in SIGNATURES
        .iter()
        .filter(|signature| signature.also.is_some())
    {
        let place = signature.places_in(SIZE).next().unwrap();
        let mut media = Media::default();
        media.put(place, signature.magic);
        assert_eq!(media.find(SIZE), None, "{signature:?}");
    }
    // Those that stand alone, as they always did.
    let short: Vec<_> = SIGNATURES
        .iter()
        .filter(|signature| signature.magic.len() < 4 && signature.also.is_none())
        .map(|signature| signature.name)
        .collect();
    assert_eq!(short, ["MBR, FAT, NTFS or exFAT", "ext2, ext3 or ext4"]);
}

#[test]
fn none_is_too_long() {
    for signature in SIGNATURES {
        assert!(signature.magic.len() <= LONGEST);
        assert!(signature.also.map_or(0, |(_, magic)| magic.len()) <= LONGEST);
    }
}

#[test]
fn nothing_in_nothing() {
    assert_eq!(Media::default().find(SIZE), None);
    let ones = find(2 << 20, |_, buf| {
        buf.fill(0xff);
        Ok::<_, ()>(())
    });
    assert!(ones.unwrap().is_none());
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let places: usize = SIGNATURES
        .iter()
        .map(|signature| signature.places_in(SIZE).count())
        .sum();
    let mut reads = 0;
    let found = find(SIZE, |_, _| {
        reads += 1;
        if reads == places {
            Err("bad block")
        } else {
            Ok(())
        }
    });
    assert_eq!(found.unwrap_err(), "bad block");
}

proptest! {
    /// Of any size, each place that is looked at is in the namespace, and what stands at the tail is found.
    #[test]
    fn tails(size in 1u64..1 << 40, which in 0..SIGNATURES.len()) {
        let signature = &SIGNATURES[which];
        for place in signature.places_in(size) {
            prop_assert!(place + signature.magic.len() as u64 <= size);
        }
        let Anchor::End(align) = signature.anchor else {
            prop_assert!(Media::default().find(size).is_none());
            return Ok(());
        };
        let Some(place) = (size - size % align).checked_sub(signature.offset) else {
            return Ok(());
        };
        if place + signature.magic.len() as u64 <= size {
            prop_assert!(media_with(signature, place).find(size).is_some());
        }
    }
}
