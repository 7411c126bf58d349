# SPDX-License-Identifier: GPL-2.0
"""inside/kernel-choose with the real apt, on a repository made for the purpose.

It only has lists of packages, which is all that a choice needs. What apt keeps is in file systems
of the test's own mount namespace.
"""

import hashlib
import subprocess
import tempfile
import unittest
from datetime import UTC, datetime, timedelta
from pathlib import Path

CHOOSE = Path(__file__).resolve().parent.parent / "inside/kernel-choose"
BACKPORTS = "trixie-backports"
# Arguments: the repository, the directory for /work, and those of kernel-choose.
SCRIPT = """
set -euo pipefail
for place in /etc/apt /var/lib/apt /var/cache/apt; do
	mount -t tmpfs tmpfs "$place"
done
mkdir -p /etc/apt/{sources.list.d,preferences.d,apt.conf.d} /var/{lib,cache}/apt
mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial
echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/sandbox
echo "deb [trusted=yes] file:$1 trixie main" >/etc/apt/sources.list
mount --bind "$2" /work
shift 2
exec "$@"
"""


def packages(*upstream: str, part: bool = False) -> str:
    """Packages of kernels of these upstream versions, as backports; in part: without source."""
    text = []
    for version in upstream:
        release = f"{version}+deb13-amd64"
        names = [f"linux-image-{release}", f"linux-headers-{release}"]
        if not part:
            names.append("linux-source-" + ".".join(version.split(".")[:2]))
        for name in names:
            file = f"pool/{name}_{version}.deb"
            text.append(f"Package: {name}\nVersion: {version}-1~bpo13+1\nArchitecture: amd64\n"
                        f"Filename: {file}\nSize: 1\nDescription: none\n"
                        f"SHA256: {hashlib.sha256(file.encode()).hexdigest()}\n")
    return "\n".join(text) + "\n"


def date(of: datetime) -> str:
    return of.strftime("%a, %d %b %Y %H:%M:%S UTC")


class Repository:
    """A mirror with the suites that were added."""

    def __init__(self, top: Path) -> None:
        self.top = top
        # The kernels there are too old.
        self.add("trixie", packages("6.12.1"))

    def add(self, suite: str, text: str, *, expired: bool = False) -> None:
        now = datetime.now(UTC)
        place = self.top / "dists" / suite
        index = place / "main/binary-amd64/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text(text)
        data = text.encode()
        valid = now + timedelta(days=-7 if expired else 7)
        (place / "Release").write_text(
            f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\n"
            f"Components: main\nDate: {date(now - timedelta(days=14))}\n"
            f"Valid-Until: {date(valid)}\n"
            f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} "
            "main/binary-amd64/Packages\n")


class KernelChooseTest(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.work = Path(temporary.name) / "work"
        self.work.mkdir()
        self.repository = Repository(Path(temporary.name) / "mirror")

    def choose(self, *arguments: str) -> str:
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", SCRIPT, "bash",
             self.repository.top, self.work, CHOOSE, *arguments],
            capture_output=True, text=True, check=False)
        self.said = done.stdout + done.stderr
        return "chosen" if done.returncode == 0 else "none"

    def version(self) -> str:
        lines = (self.work / "kernel").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)["version"]

    def assert_chosen(self, pinned: str, wanted: str) -> None:
        self.assertEqual(self.choose(BACKPORTS, f"{pinned}-1~bpo13+1"), "chosen", self.said)
        self.assertEqual(self.version(), f"{wanted}-1~bpo13+1", self.said)

    def test_pinned(self) -> None:
        self.repository.add(BACKPORTS, packages("7.2.12", "7.3.4", "7.9.1"))
        self.assert_chosen("7.3.4", "7.3.4")

    def test_gone(self) -> None:
        self.repository.add(BACKPORTS, packages("7.2.12", "7.3.6", "7.9.1"))
        self.assert_chosen("7.3.4", "7.3.6")
        # What is left of an old series: images, without headers and source.
        self.repository.add(BACKPORTS, packages("7.9.1") + packages("7.3.6", "7.9.2", part=True))
        self.assert_chosen("7.3.4", "7.9.1")

    def test_expired_other_suite(self) -> None:
        self.repository.add("sid", packages("7.9.9"), expired=True)
        self.repository.add("forky", packages("7.9.8"), expired=True)
        self.repository.add(BACKPORTS, packages("7.3.6"))
        self.assert_chosen("7.3.4", "7.3.6")

    def test_expired_suite(self) -> None:
        self.repository.add(BACKPORTS, packages("7.3.4"), expired=True)
        self.repository.add("forky", packages("7.9.8"), expired=True)
        self.repository.add("sid", packages("7.9.9"))
        self.assert_chosen("7.3.4", "7.9.9")
        self.assertIn(f"Debian's suite {BACKPORTS} can't be asked", self.said)

    def test_none(self) -> None:
        self.repository.add(BACKPORTS, packages("7.3.4", part=True))
        self.assertEqual(self.choose(BACKPORTS, "7.3.4-1~bpo13+1"), "none")
        self.assertIn("no kernel with image, headers and source in: trixie-backports forky sid",
                      self.said)
        self.assertFalse((self.work / "kernel").exists())

    def test_relock(self) -> None:
        self.repository.add(BACKPORTS, packages("7.2.12", "7.3.6", "7.9.1", "7.9.4"))
        self.assertEqual(self.choose("--relock"), "chosen", self.said)
        lines = (self.work / "lock").read_text().splitlines()
        self.assertEqual(lines[0], f"{BACKPORTS} 7.9.4-1~bpo13+1 7.9.4+deb13-amd64")


if __name__ == "__main__":
    unittest.main()
