// SPDX-License-Identifier: GPL-2.0

//! What others leave at the head of the media they use.
//!
//! A namespace with one of these holds, or held, somebody's data. The list is of what is met on
//! block devices and pmem, by the magic numbers of `include/uapi/linux/magic.h`, of libblkid, and
//! of `drivers/nvdimm/{btt,pfn}.h`.

/// Some bytes at a place that mean something.
#[derive(Debug)]
pub(crate) struct Signature {
    /// What it is of, for a message.
    pub(crate) name: &'static str,
    /// Where it stands, in bytes from the start of the namespace.
    pub(crate) offset: u64,
    /// What stands there; at most [`LONGEST`] bytes.
    pub(crate) magic: &'static [u8],
}

/// The length of the longest signature, in bytes.
pub(crate) const LONGEST: usize = 16;

const fn at(offset: u64, name: &'static str, magic: &'static [u8]) -> Signature {
    assert!(magic.len() <= LONGEST);
    Signature {
        name,
        offset,
        magic,
    }
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
    // file systems
    at(0x438, "ext2, ext3 or ext4", b"\x53\xef"),
    at(0, "XFS", b"XFSB"),
    at(0x10040, "Btrfs", b"_BHRfS_M"),
    at(0x400, "F2FS", b"\x10\x20\xf5\xf2"),
    at(0x400, "EROFS", b"\xe2\xe1\xf5\xe0"),
    at(0x406, "NILFS2", b"\x34\x34"),
    at(
        0x1018,
        "bcachefs or bcache",
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca",
    ),
    at(0x1018, "bcachefs", b"\xc6\x85\x73\xf6\x66\xce\x90\xa9"),
    at(0, "SquashFS", b"hsqs"),
    at(0x8000, "JFS", b"JFS1"),
    at(0x8001, "ISO 9660", b"CD001"),
    at(0x10034, "ReiserFS", b"ReIsEr"),
    at(0x10000, "GFS2", b"\x01\x16\x19\x70"),
    // layers below them
    at(0, "LUKS", b"LUKS\xba\xbe"),
    at(0x018, "LVM2", b"LVM2 001"),
    at(0x218, "LVM2", b"LVM2 001"),
    at(0x418, "LVM2", b"LVM2 001"),
    at(0x618, "LVM2", b"LVM2 001"),
    at(0, "MD RAID 1.1", b"\xfc\x4e\x2b\xa9"),
    at(4096, "MD RAID 1.2", b"\xfc\x4e\x2b\xa9"),
    at(4096 - 10, "swap", b"SWAPSPACE2"),
    at(4096 - 10, "swap", b"SWAP-SPACE"),
    // persistent memory libraries
    at(0, "PMDK pool", b"PMEMPOOL"),
    at(0, "PMDK pool", b"PMEMOBJ\0"),
    at(0, "PMDK pool", b"PMEMBLK\0"),
    at(0, "PMDK pool", b"PMEMLOG\0"),
];

/// Looks for a signature, reading with `read` (an offset in bytes, and a buffer to fill).
///
/// Errors: those of `read`.
pub(crate) fn find<E>(
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<&'static Signature>, E> {
    for signature in SIGNATURES {
        let mut buf = [0; LONGEST];
        let Some(buf) = buf.get_mut(..signature.magic.len()) else {
            continue;
        };
        read(signature.offset, buf)?;
        if buf == signature.magic {
            return Ok(Some(signature));
        }
    }
    Ok(None)
}
