// SPDX-License-Identifier: GPL-2.0

//! What other software leaves at known places of the media.
//!
//! A namespace with one of these signatures holds, or held, data. The list has what libblkid knows
//! (util-linux, `libblkid/src/{superblocks,partitions}`), `include/uapi/linux/magic.h`,
//! `drivers/nvdimm/{btt,pfn}.h`, and what persistent memory libraries write. Some signatures are at
//! the tail, where a copy survives when the head is overwritten.
//!
//! Not in the list:
//!
//! - What libblkid recognizes by a checksum, or by the plausibility of many fields, because its
//!   magic number is too short: Silicon, VIA and JMicron RAID, CoreStorage, Atari partitions.
//! - DASD labels.
//! - What lies at places that only the first superblock tells: backups of ext4 and XFS.

/// What a signature's offset is counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    /// The first byte of the namespace.
    Start,
    /// The last multiple of this many bytes in the namespace. The offset is counted backwards.
    End(u64),
}

/// Some bytes at a known place.
#[derive(Debug)]
pub(crate) struct Signature {
    /// What it belongs to, for a message.
    pub(crate) name: &'static str,
    /// What `offset` is counted from.
    pub(crate) anchor: Anchor,
    /// Its place, in bytes from the anchor.
    pub(crate) offset: u64,
    /// Its bytes; at most [`LONGEST`].
    pub(crate) magic: &'static [u8],
    /// Bytes that must also be at another place, counted from the same anchor. For a magic number
    /// of two bytes, which arbitrary data matches too easily.
    pub(crate) also: Option<(u64, &'static [u8])>,
    /// The number of places where it may be, and their distance in bytes.
    pub(crate) places: (u64, u64),
}

/// A signature that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// What it belongs to, for a message.
    pub(crate) name: &'static str,
    /// Its place, in bytes from the start of the namespace.
    pub(crate) offset: u64,
}

/// The length of the longest signature, in bytes.
pub(crate) const LONGEST: usize = 16;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn at(offset: u64, name: &'static str, magic: &'static [u8]) -> Signature {
    assert!(magic.len() <= LONGEST);
    Signature {
        name,
        anchor: Anchor::Start,
        offset,
        magic,
        also: None,
        places: (1, 0),
    }
}

impl Signature {
    /// Requires other bytes, too: `also` is an offset and the bytes there.
    const fn and(mut self, also: (u64, &'static [u8])) -> Self {
        assert!(also.1.len() <= LONGEST);
        self.also = Some(also);
        self
    }

    /// Makes it a signature at the tail: the offset is counted backwards from the last multiple of
    /// `align`.
    const fn counted_back(mut self, align: u64) -> Self {
        self.anchor = Anchor::End(align);
        self
    }

    /// Makes it a signature at `count` places, `stride` bytes apart.
    const fn repeated(mut self, count: u64, stride: u64) -> Self {
        self.places = (count, stride);
        self
    }

    /// Returns the place of `offset` of this signature in `size` bytes. `None` if they have no such
    /// place.
    fn place(&self, size: u64, offset: u64, len: usize) -> Option<u64> {
        let place = match self.anchor {
            Anchor::Start => offset,
            Anchor::End(align) => (size - size.checked_rem(align)?).checked_sub(offset)?,
        };
        (place.checked_add(len as u64)? <= size).then_some(place)
    }

    /// Returns the places where it may be in `size` bytes.
    pub(crate) fn places_in(&self, size: u64) -> impl Iterator<Item = u64> + '_ {
        let (count, stride) = self.places;
        (0..count).filter_map(move |i| {
            let first = self.place(size, self.offset, self.magic.len())?;
            let place = first.checked_add(i * stride)?;
            (place.checked_add(self.magic.len() as u64)? <= size).then_some(place)
        })
    }
}

/// The start of a ZFS label's list of names and values: `version` is the first name.
const ZFS_NAME: &[u8] = b"\0\0\0\x07version\0";
/// The place of that list in a label, in bytes.
const ZFS_LIST: u64 = 16 * KIB + 20;
/// The size of a label in bytes. ZFS writes two at the start, and two at the end.
const ZFS_LABEL: u64 = 256 * KIB;
/// The place of the uberblocks in a label, their number, and the smallest distance between two.
const ZFS_UBERBLOCKS: (u64, u64, u64) = (128 * KIB, 128, KIB);
/// The start of an uberblock, in each byte order.
const ZFS_MAGIC: &[u8] = b"\x0c\xb1\xba\0\0\0\0\0";
const ZFS_MAGIC_BE: &[u8] = b"\0\0\0\0\0\xba\xb1\x0c";

const fn zfs_list(label: u64) -> Signature {
    at(label + ZFS_LIST, "ZFS", ZFS_NAME)
}

const fn zfs_uberblocks(label: u64, magic: &'static [u8]) -> Signature {
    let (offset, count, stride) = ZFS_UBERBLOCKS;
    at(label + offset, "ZFS", magic).repeated(count, stride)
}

/// The known signatures.
pub(crate) const SIGNATURES: &[Signature] = &[
    // libnvdimm's own
    at(0, "btt info block", b"BTT_ARENA_INFO\0"),
    at(4096, "btt info block", b"BTT_ARENA_INFO\0"),
    at(4096, "pfn (fsdax) info block", b"NVDIMM_PFN_INFO\0"),
    at(4096, "dax (devdax) info block", b"NVDIMM_DAX_INFO\0"),
    // partition tables; an MBR is also the mark of FAT, NTFS and exFAT
    at(510, "MBR, FAT, NTFS or exFAT", b"\x55\xaa"),
    at(512, "GPT", b"EFI PART"),
    at(4096, "GPT", b"EFI PART"),
    at(512, "GPT (backup)", b"EFI PART").counted_back(1),
    at(4096, "GPT (backup)", b"EFI PART").counted_back(1),
    at(512, "Mac partition table", b"PM\0\0").and((0, b"ER")),
    at(64, "BSD disklabel", b"\x57\x45\x56\x82"),
    at(512, "BSD disklabel", b"\x57\x45\x56\x82"),
    at(0, "SGI disklabel", b"\x0b\xe5\xa9\x41"),
    at(0xbc, "Sun disklabel", b"\x60\x0d\xde\xee").and((508, b"\xda\xbe")),
    at(0, "AIX label", b"\xc9\xc2\xd4\xc1"),
    // file systems
    at(0x438, "ext2, ext3 or ext4", b"\x53\xef"),
    at(0, "XFS", b"XFSB"),
    // the head of a record, in some sector of the first 256 KiB
    at(0, "XFS log", b"\xfe\xed\xba\xbe").repeated(512, 512),
    at(0x10040, "Btrfs", b"_BHRfS_M"),
    at(64 * MIB + 64, "Btrfs (copy)", b"_BHRfS_M"),
    at(256 * GIB + 64, "Btrfs (copy)", b"_BHRfS_M"),
    at(0x400, "F2FS", b"\x10\x20\xf5\xf2").repeated(2, 4096),
    at(0x400, "EROFS", b"\xe2\xe1\xf5\xe0"),
    // with the revision, 2.0, before it
    at(0x400, "NILFS2", b"\x02\0\0\0\0\0\x34\x34"),
    at(4096, "NILFS2 (copy)", b"\x02\0\0\0\0\0\x34\x34").counted_back(4096),
    at(
        0x1018,
        "bcachefs or bcache",
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca",
    ),
    at(0x1018, "bcachefs", b"\xc6\x85\x73\xf6\x66\xce\x90\xa9"),
    at(
        2 * MIB + 0x18,
        "bcachefs (copy)",
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9",
    ),
    at(
        MIB - 0x18,
        "bcachefs (copy)",
        b"\xc6\x85\x73\xf6\x66\xce\x90\xa9",
    )
    .counted_back(1),
    at(0, "SquashFS", b"hsqs"),
    at(0, "SquashFS", b"sqsh"),
    at(0, "cramfs", b"\x45\x3d\xcd\x28"),
    at(0, "cramfs", b"\x28\xcd\x3d\x45"),
    at(0, "romfs", b"-rom1fs-"),
    at(0x8000, "JFS", b"JFS1"),
    at(0x8001, "ISO 9660", b"CD001"),
    at(0x8009, "High Sierra", b"CDROM"),
    at(0x8001, "UDF", b"BEA01"),
    at(0x8001, "UDF", b"NSR02"),
    at(0x8001, "UDF", b"NSR03"),
    at(0x10034, "ReiserFS", b"ReIsEr"),
    at(0x2034, "ReiserFS", b"ReIsErFs"),
    at(0x2014, "ReiserFS", b"ReIsErFs"),
    at(0x10000, "Reiser4", b"ReIsEr4"),
    at(0x10000, "GFS2", b"\x01\x16\x19\x70"),
    at(KIB, "OCFS2", b"OCFSV2"),
    at(2 * KIB, "OCFS2", b"OCFSV2"),
    at(4 * KIB, "OCFS2", b"OCFSV2"),
    at(8 * KIB, "OCFS2", b"OCFSV2"),
    at(8 * KIB, "OCFS", b"OracleCFS"),
    at(32, "Oracle ASM", b"ORCLDISK"),
    zfs_list(0),
    zfs_list(ZFS_LABEL),
    at(2 * ZFS_LABEL - ZFS_LIST, "ZFS", ZFS_NAME).counted_back(ZFS_LABEL),
    at(ZFS_LABEL - ZFS_LIST, "ZFS", ZFS_NAME).counted_back(ZFS_LABEL),
    zfs_uberblocks(0, ZFS_MAGIC),
    zfs_uberblocks(0, ZFS_MAGIC_BE),
    zfs_uberblocks(ZFS_LABEL, ZFS_MAGIC),
    zfs_uberblocks(ZFS_LABEL, ZFS_MAGIC_BE),
    at(2 * ZFS_LABEL - ZFS_UBERBLOCKS.0, "ZFS", ZFS_MAGIC)
        .counted_back(ZFS_LABEL)
        .repeated(ZFS_UBERBLOCKS.1, ZFS_UBERBLOCKS.2),
    at(ZFS_LABEL - ZFS_UBERBLOCKS.0, "ZFS", ZFS_MAGIC)
        .counted_back(ZFS_LABEL)
        .repeated(ZFS_UBERBLOCKS.1, ZFS_UBERBLOCKS.2),
    at(0x400, "HFS+", b"H+\0\x04"),
    at(0x400, "HFSX", b"HX\0\x05"),
    at(0x400, "HFS+ (copy)", b"H+\0\x04").counted_back(512),
    at(0x400, "HFSX (copy)", b"HX\0\x05").counted_back(512),
    // with the first block of its bitmap
    at(0x400, "HFS", b"BD").and((0x40e, b"\0\x03")),
    at(3, "NTFS", b"NTFS    "),
    at(512 - 3, "NTFS (copy)", b"NTFS    ").counted_back(512),
    at(3, "exFAT", b"EXFAT   "),
    at(0x52, "FAT", b"FAT32   "),
    at(0x36, "FAT", b"FAT16   "),
    at(0x36, "FAT", b"FAT12   "),
    at(3, "BitLocker", b"-FVE-FS-"),
    at(0, "ReFS", b"\0\0\0ReFS\0"),
    at(32, "APFS", b"NXSB"),
    at(0x20, "BeFS", b"BFS1").repeated(2, 512),
    at(0x20, "BeFS", b"1SFB").repeated(2, 512),
    at(0, "BFS", b"\xce\xfa\xad\x1b"),
    at(0x3f8, "System V", b"\x20\x7e\x18\xfd"),
    at(0x3f8, "System V", b"\xfd\x18\x7e\x20"),
    at(9 * KIB + 0x3f8, "System V", b"\x20\x7e\x18\xfd"),
    at(9 * KIB + 0x3f8, "System V", b"\xfd\x18\x7e\x20"),
    at(15 * KIB + 0x3f8, "System V", b"\x20\x7e\x18\xfd"),
    at(15 * KIB + 0x3f8, "System V", b"\xfd\x18\x7e\x20"),
    at(18 * KIB + 0x3f8, "System V", b"\x20\x7e\x18\xfd"),
    at(18 * KIB + 0x3f8, "System V", b"\xfd\x18\x7e\x20"),
    // three bytes, as libblkid checks; the fourth byte of the number is 0
    at(2 * KIB, "Xenix", b"\x44\x55\x2b\0"),
    at(2 * KIB - 1, "Xenix", b"\0\x2b\x55\x44"),
    // with the largest size of a file before it
    at(0x40c, "Minix", b"\0\x1c\x08\x10\x7f\x13"),
    at(0x40c, "Minix", b"\0\x1c\x08\x10\x8f\x13"),
    at(0x40c, "Minix", b"\xff\xff\xff\x7f\x68\x24"),
    at(0x40c, "Minix", b"\xff\xff\xff\x7f\x78\x24"),
    at(0x418, "Minix", b"\x5a\x4d").and((0x410, b"\xff\xff\xff\x7f")),
    at(8 * KIB + 0x55c, "UFS", b"\x54\x19\x01\0"),
    at(8 * KIB + 0x55c, "UFS", b"\0\x01\x19\x54"),
    at(8 * KIB + 0x55c, "UFS2", b"\x19\x01\x54\x19"),
    at(64 * KIB + 0x55c, "UFS2", b"\x19\x01\x54\x19"),
    at(64 * KIB + 0x55c, "UFS2", b"\x19\x54\x01\x19"),
    at(0x55c, "UFS", b"\x54\x19\x01\0"),
    at(0x55c, "UFS2", b"\x19\x01\x54\x19"),
    at(256 * KIB + 0x55c, "UFS2", b"\x19\x01\x54\x19"),
    at(0x2000, "HPFS", b"\x49\xe8\x95\xf9"),
    at(0x400, "VxFS", b"\xf5\xfc\x01\xa5"),
    at(0x2000, "VxFS", b"\xa5\x01\xfc\xf5"),
    at(0x1000, "NSS", b"SPB5"),
    at(2 * MIB, "VMFS", b"\x5e\xf1\xab\x2f"),
    at(MIB, "VMFS volume", b"\x0d\xd0\x01\xc0"),
    at(0x10004, "scoutfs", b"\x8b\x42\x3c\x10"),
    at(0, "zonefs", b"SFOZ"),
    at(0, "EXFS", b"EXFS"),
    at(0, "UBI", b"UBI#"),
    at(0, "UBIFS", b"\x31\x18\x10\x06"),
    at(0, "Ceph BlueStore", b"bluestore block "),
    at(0, "mpool", b"mpoolDev"),
    // layers below them
    at(0, "LUKS", b"LUKS\xba\xbe"),
    at(0x4000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x8000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x10000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x20000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x40000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x80000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x100000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x200000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    at(0x400000, "LUKS2 (copy)", b"SKUL\xba\xbe"),
    // in one of the first four sectors
    at(0x018, "LVM2", b"LVM2 001").repeated(4, 512),
    at(0, "LVM2", b"LABELONE").repeated(4, 512),
    at(0, "LVM1", b"HM\x01\0\0\0\0\0\0\x04\0\0"),
    at(0, "LVM1", b"HM\x02\0\0\0\0\0\0\x04\0\0"),
    at(0, "dm-snapshot", b"SnAp\x01\0\0\0"),
    at(0, "dm-verity", b"verity\0\0"),
    at(0, "dm-integrity", b"integrt\0"),
    at(0, "VDO", b"dmvdo001"),
    at(0x204, "Stratis", b"!Stra0tis\x86\xff\x02^\x41rh"),
    at(0x1204, "Stratis", b"!Stra0tis\x86\xff\x02^\x41rh"),
    at(0, "MD RAID 1.1", b"\xfc\x4e\x2b\xa9"),
    at(4096, "MD RAID 1.2", b"\xfc\x4e\x2b\xa9"),
    at(8 * KIB, "MD RAID 1.0", b"\xfc\x4e\x2b\xa9").counted_back(4096),
    at(64 * KIB, "MD RAID 0.90", b"\xfc\x4e\x2b\xa9").counted_back(64 * KIB),
    at(64 * KIB, "MD RAID 0.90", b"\xa9\x2b\x4e\xfc").counted_back(64 * KIB),
    at(4096 - 60, "DRBD", b"\x83\x74\x02\x6b").counted_back(4096),
    at(4096 - 60, "DRBD", b"\x83\x74\x02\x6c").counted_back(4096),
    at(4096 - 60, "DRBD", b"\x83\x74\x02\x6d").counted_back(4096),
    at(0, "drbdmanage", b"$DRBDmgr=q"),
    at(0, "DRBD proxy", b"DRBDdlh*"),
    at(512, "DDF RAID", b"\xde\x11\xde\x11").counted_back(512),
    at(257 * 512, "DDF RAID", b"\xde\x11\xde\x11").counted_back(512),
    at(2 * 512, "Intel RAID", b"Intel Raid ISM C").counted_back(512),
    at(2 * 512, "NVIDIA RAID", b"NVIDIA  ").counted_back(512),
    at(512, "LSI RAID", b"$XIDE$").counted_back(512),
    at(512, "Adaptec RAID", b"\x37\xfc\x4d\x1e").counted_back(512),
    at(11 * 512, "HighPoint RAID", b"\xf3\x16\x78\x5a").counted_back(512),
    at(4640, "HighPoint RAID", b"\xf0\x16\x78\x5a"),
    at(63 * 512, "Promise RAID", b"Promise Technolo").counted_back(512),
    // swap and hibernation, by the size of a page
    at(4096 - 10, "swap", b"SWAPSPACE2"),
    at(4096 - 10, "swap", b"SWAP-SPACE"),
    at(8 * KIB - 10, "swap", b"SWAPSPACE2"),
    at(16 * KIB - 10, "swap", b"SWAPSPACE2"),
    at(32 * KIB - 10, "swap", b"SWAPSPACE2"),
    at(64 * KIB - 10, "swap", b"SWAPSPACE2"),
    at(4096 - 10, "hibernation image", b"S1SUSPEND"),
    at(4096 - 10, "hibernation image", b"S2SUSPEND"),
    at(4096 - 10, "hibernation image", b"ULSUSPEND"),
    at(4096 - 10, "hibernation image", b"LINHIB0001"),
    // persistent memory
    at(0, "PMDK pool", b"PMEMPOOL"),
    at(0, "PMDK pool", b"PMEMOBJ\0"),
    at(0, "PMDK pool", b"PMEMBLK\0"),
    at(0, "PMDK pool", b"PMEMLOG\0"),
    at(0, "famfs", b"\xff\x82\xb2\x87\0\0\0\0"),
];

/// Searches for a signature in a namespace of `size` bytes, with `read` (an offset in bytes, and a
/// buffer to fill).
///
/// Errors: those of `read`.
pub(crate) fn find<E>(
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<Found>, E> {
    let mut stands = |place: u64, magic: &[u8]| {
        let mut buf = [0; LONGEST];
        let Some(buf) = buf.get_mut(..magic.len()) else {
            return Ok(false);
        };
        read(place, buf)?;
        Ok(*buf == *magic)
    };
    for signature in SIGNATURES {
        for offset in signature.places_in(size) {
            if !stands(offset, signature.magic)? {
                continue;
            }
            if let Some((also, magic)) = signature.also {
                match signature.place(size, also, magic.len()) {
                    Some(place) if stands(place, magic)? => (),
                    _ => continue,
                }
            }
            return Ok(Some(Found {
                name: signature.name,
                offset,
            }));
        }
    }
    Ok(None)
}
