# SPDX-License-Identifier: GPL-2.0
"""The choice of the kernel, from what `apt-cache madison` says."""

import unittest

from choose_kernel import (
    Kernel,
    choose,
    complete,
    parse_lock,
    parse_madison,
    release_of,
    relock,
)

BACKPORTS = "trixie-backports"


def madison(version: str, suite: str, *packages: str) -> list[str]:
    return [f" {package} | {version} | http://mirror/debian {suite}/main amd64 Packages"
            for package in packages]


def packages(release: str) -> tuple[str, str, str]:
    series = ".".join(release.split(".")[:2])
    return f"linux-image-{release}", f"linux-headers-{release}", f"linux-source-{series}"


def backport(upstream: str) -> Kernel:
    return Kernel(BACKPORTS, f"{upstream}-1~bpo13+1", f"{upstream}+deb13-amd64")


class ChooseTest(unittest.TestCase):
    def test_flavours(self) -> None:
        self.assertEqual(release_of("linux-image-7.9.12+deb13-amd64"), "7.9.12+deb13-amd64")
        for other in ("linux-image-7.9.12+deb13-cloud-amd64", "linux-image-7.9.12+deb13-rt-amd64",
                      "linux-image-7.9.12+deb13-amd64-dbg", "linux-image-amd64",
                      "linux-headers-7.9.12+deb13-amd64"):
            self.assertIsNone(release_of(other), other)

    def test_only_whole_versions(self) -> None:
        lines = [
            *madison("7.9.9-1~bpo13+1", BACKPORTS, *packages("7.9.9+deb13-amd64")),
            # newer, without source; newer still, with the source of another suite
            *madison("7.9.11-1~bpo13+1", BACKPORTS, *packages("7.9.11+deb13-amd64")[:2]),
            *madison("7.9.12-1", "sid", *packages("7.9.12-amd64")[:2]),
            *madison("7.9.12-1", "forky", "linux-source-7.9"),
            # with the source of another series
            *madison("7.10.1-1~bpo13+1", BACKPORTS, *packages("7.10.1+deb13-amd64")[:2]),
            # whole, but of another suite; whole, but too old
            *madison("7.9.13-1", "sid", *packages("7.9.13-amd64")),
            *madison("6.12.9-1", BACKPORTS, *packages("6.12.9+deb13-amd64")),
        ]
        self.assertEqual(complete(parse_madison(lines), BACKPORTS), [backport("7.9.9")])

    def test_in_order(self) -> None:
        versions = ["7.10.1", "7.9.9", "7.9.12"]
        lines = [line for version in versions
                 for line in madison(f"{version}-1~bpo13+1", BACKPORTS,
                                     *packages(f"{version}+deb13-amd64"))]
        self.assertEqual(complete(parse_madison(lines), BACKPORTS),
                         [backport("7.9.9"), backport("7.9.12"), backport("7.10.1")])

    def test_pinned_then_its_series_then_the_newest(self) -> None:
        kernels = [backport("7.9.9"), backport("7.9.12"), backport("7.10.1")]
        self.assertEqual(choose(kernels, "7.9.9-1~bpo13+1"), backport("7.9.9"))
        self.assertEqual(choose(kernels, "7.9.3-1~bpo13+1"), backport("7.9.12"))
        self.assertEqual(choose(kernels, "7.8.3-1~bpo13+1"), backport("7.10.1"))

    def test_relock(self) -> None:
        locked = parse_lock(["# a comment", "", backport("7.9.9").lock(), backport("7.8.1").lock()])
        self.assertEqual(locked, [backport("7.9.9"), backport("7.8.1")])
        kernels = [backport("7.7.1"), backport("7.9.12"), backport("7.10.1")]
        # The newest is first, a series without packages is removed, and none is added.
        self.assertEqual(relock(kernels, locked), [backport("7.10.1"), backport("7.9.12")])


if __name__ == "__main__":
    unittest.main()
