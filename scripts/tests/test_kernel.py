# SPDX-License-Identifier: GPL-2.0
"""The choice of the kernel, from what `apt-cache madison` says."""

import unittest

from choose_kernel import Kernel, compare, complete, parse_madison, release_of


def madison(version: str, suite: str, *packages: str) -> list[str]:
    return [f" {package} | {version} | http://mirror/debian {suite}/main amd64 Packages"
            for package in packages]


def kernel(release: str) -> tuple[str, str, str]:
    return f"linux-image-{release}", f"linux-headers-{release}", "linux-source-7.2"


class ChooseTest(unittest.TestCase):
    def test_flavours(self) -> None:
        self.assertEqual(release_of("linux-image-7.2.12+deb13-amd64"), "7.2.12+deb13-amd64")
        for other in ("linux-image-7.2.12+deb13-cloud-amd64", "linux-image-7.2.12+deb13-rt-amd64",
                      "linux-image-7.2.12+deb13-amd64-dbg", "linux-image-7.3.1-amd64",
                      "linux-headers-7.2.12+deb13-amd64"):
            self.assertIsNone(release_of(other), other)

    def test_only_whole_versions(self) -> None:
        lines = [
            *madison("7.2.9-1~bpo13+1", "trixie-backports", *kernel("7.2.9+deb13-amd64")),
            # newer, without source; newer still, with the source of another suite
            *madison("7.2.11-1~bpo13+1", "trixie-backports", *kernel("7.2.11+deb13-amd64")[:2]),
            *madison("7.2.12-1", "sid", *kernel("7.2.12-amd64")[:2]),
            *madison("7.2.12-1", "forky", "linux-source-7.2"),
        ]
        self.assertEqual(complete(parse_madison(lines)),
                         [Kernel("trixie-backports", "7.2.9-1~bpo13+1", "7.2.9+deb13-amd64")])

    def test_newest_then_nearest(self) -> None:
        old = Kernel("trixie-backports", "7.2.9-1~bpo13+1", "7.2.9+deb13-amd64")
        bpo = Kernel("trixie-backports", "7.2.12-1~bpo13+1", "7.2.12+deb13-amd64")
        sid = Kernel("sid", "7.2.12-1", "7.2.12-amd64")
        self.assertLess(compare(old, bpo), 0)
        self.assertLess(compare(sid, bpo), 0)
        self.assertGreater(compare(sid, old), 0)
        self.assertEqual(compare(sid, sid), 0)


if __name__ == "__main__":
    unittest.main()
