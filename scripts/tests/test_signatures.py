# SPDX-License-Identifier: GPL-2.0
"""What this machine's libblkid knows, the module knows too, or it is said why not."""

import re
import subprocess
import unittest
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "rust/dax/signature.rs"

# A type of `blkid -k`, and what the module calls it.
KNOWN = {
    "linux_raid_member": "MD RAID 1.2",
    "ddf_raid_member": "DDF RAID",
    "isw_raid_member": "Intel RAID",
    "lsi_mega_raid_member": "LSI RAID",
    "nvidia_raid_member": "NVIDIA RAID",
    "promise_fasttrack_raid_member": "Promise RAID",
    "hpt45x_raid_member": "HighPoint RAID",
    "hpt37x_raid_member": "HighPoint RAID",
    "adaptec_raid_member": "Adaptec RAID",
    "bcache": "bcachefs or bcache",
    "bcachefs": "bcachefs",
    "ceph_bluestore": "Ceph BlueStore",
    "drbd": "DRBD",
    "drbdmanage_control_volume": "drbdmanage",
    "drbdproxy_datalog": "DRBD proxy",
    "LVM2_member": "LVM2",
    "LVM1_member": "LVM1",
    "DM_snapshot_cow": "dm-snapshot",
    "DM_verity_hash": "dm-verity",
    "DM_integrity": "dm-integrity",
    "crypto_LUKS": "LUKS",
    "VMFS_volume_member": "VMFS volume",
    "ubi": "UBI",
    "vdo": "VDO",
    "stratis": "Stratis",
    "BitLocker": "BitLocker",
    "vfat": "FAT",
    "swsuspend": "hibernation image",
    "swap": "swap",
    "xfs": "XFS",
    "xfs_external_log": "XFS log",
    "exfs": "EXFS",
    "ext4dev": "ext2, ext3 or ext4",
    "ext4": "ext2, ext3 or ext4",
    "ext3": "ext2, ext3 or ext4",
    "ext2": "ext2, ext3 or ext4",
    "jbd": "ext2, ext3 or ext4",
    "reiserfs": "ReiserFS",
    "reiser4": "Reiser4",
    "jfs": "JFS",
    "udf": "UDF",
    "iso9660": "ISO 9660",
    "zfs_member": "ZFS",
    "hfsplus": "HFS+",
    "hfs": "HFS",
    "ufs": "UFS",
    "hpfs": "HPFS",
    "sysv": "System V",
    "xenix": "Xenix",
    "ntfs": "NTFS",
    "ReFS": "ReFS",
    "cramfs": "cramfs",
    "romfs": "romfs",
    "minix": "Minix",
    "gfs": "GFS2",
    "gfs2": "GFS2",
    "ocfs": "OCFS",
    "ocfs2": "OCFS2",
    "oracleasm": "Oracle ASM",
    "vxfs": "VxFS",
    "squashfs": "SquashFS",
    "squashfs3": "SquashFS",
    "nss": "NSS",
    "btrfs": "Btrfs",
    "ubifs": "UBIFS",
    "bfs": "BFS",
    "VMFS": "VMFS",
    "befs": "BeFS",
    "nilfs2": "NILFS2",
    "exfat": "exFAT",
    "f2fs": "F2FS",
    "mpool": "mpool",
    "apfs": "APFS",
    "zonefs": "zonefs",
    "erofs": "EROFS",
}
# Told by a checksum or by many fields: the magic number is of two bytes, which any data has.
NOT_KNOWN = {
    "via_raid_member",
    "silicon_medley_raid_member",
    "jmicron_raid_member",
    "cs_fvault2",
}


class Signatures(unittest.TestCase):
    def test_all_of_libblkid(self) -> None:
        done = subprocess.run(["blkid", "-k"], capture_output=True, text=True, check=True)
        types = set(done.stdout.split())
        self.assertGreater(len(types), 50)
        self.assertEqual(types - KNOWN.keys() - NOT_KNOWN, set(),
                         "libblkid knows these, and nobody has thought of them")

    def test_names(self) -> None:
        table = TABLE.read_text().split("const SIGNATURES:")[1]
        names = set(re.findall(r'"([^"]+)"', table)) | {"ZFS"}
        self.assertEqual(set(KNOWN.values()) - names, set())


if __name__ == "__main__":
    unittest.main()
