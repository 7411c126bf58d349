# SPDX-License-Identifier: GPL-2.0
"""What scripts/kernel-tree says of build directories that rdax can't be built against."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parent.parent / "kernel-tree"
LAB = Path("/kernel/linux")


def first_line(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True,
                          check=True).stdout.splitlines()[0]


@unittest.skipUnless(LAB.is_dir() and shutil.which("rustc") and shutil.which("bindgen"),
                     "only in the lab, by its compilers")
class KernelTree(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.tmp = Path(directory.name)
        self.build = self.tmp / "build"
        version = first_line("gcc", "-dumpfullversion").split(".")
        self.config = {
            "CONFIG_X86_64": "y", "CONFIG_RUST": "y", "CONFIG_LIBNVDIMM": "m",
            "CONFIG_TRANSPARENT_HUGEPAGE": "y",
            "CONFIG_CC_VERSION_TEXT": f'"{first_line("gcc", "--version")}"',
            "CONFIG_GCC_VERSION": f"{version[0]}{int(version[1]):02}{int(version[2]):02}",
            "CONFIG_RUSTC_VERSION_TEXT": f'"{first_line("rustc", "--version")}"',
            "CONFIG_BINDGEN_VERSION_TEXT": f'"{first_line("bindgen", "--version")}"',
        }
        self.release = "7.3.4-test"
        (self.build / "include/config").mkdir(parents=True)
        (self.build / "include/generated").mkdir()
        (self.build / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 4\n")

    def run_tool(self, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        if (self.build / "include/config").is_dir():
            (self.build / "include/config/auto.conf").write_text(
                "".join(f"{name}={value}\n" for name, value in self.config.items()))
            (self.build / "include/config/kernel.release").write_text(f"{self.release}\n")
        return subprocess.run([TOOL, *args], capture_output=True, text=True, check=False,
                              env=os.environ | env)

    def refused(self, text: str, *args: str | Path, **env: str) -> None:
        """One sentence on stderr that has TEXT, nothing else, and no tree."""
        done = self.run_tool(*(args or ("--check", self.build)), **env)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("kernel-tree: "))
        self.assertEqual(done.stdout, "")
        self.assertFalse((self.tmp / "tree").exists())

    def metadata(self) -> None:
        for name in ("rust/libcore.rmeta", "rust/libkernel.rmeta", "rust/libmacros.so",
                     "scripts/target.json"):
            path = self.build / name
            path.parent.mkdir(exist_ok=True)
            path.touch()

    def test_the_kernel_of_the_lab_will_do(self) -> None:
        done = self.run_tool("--check", LAB)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_tree_with_metadata_will_do(self) -> None:
        self.metadata()
        done = self.run_tool("--check", self.build)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = self.run_tool(self.build, self.tmp / "tree")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual((self.tmp / "tree").resolve(), self.build.resolve())

    def test_no_directory(self) -> None:
        self.refused("no directory /nowhere", "--check", "/nowhere")

    def test_no_build_directory(self) -> None:
        shutil.rmtree(self.build / "include")
        self.refused("is not the build directory of a kernel")

    def test_version(self) -> None:
        for self.release in ("6.18.2", "7.4.0-rc1", "8.1.2", "7.30.1"):
            self.refused(f"is Linux {self.release}: this rdax is for Linux 7.0 to 7.3")
        for self.release in ("7.0.0-rc3", "7.3"):
            self.refused("has no metadata")

    def test_architecture(self) -> None:
        del self.config["CONFIG_X86_64"]
        self.refused("x86_64 only")

    def test_configuration(self) -> None:
        for name in ("CONFIG_RUST", "CONFIG_LIBNVDIMM", "CONFIG_TRANSPARENT_HUGEPAGE"):
            value = self.config.pop(name)
            self.refused(f"without {name}")
            self.config[name] = value

    def test_another_rustc(self) -> None:
        self.metadata()
        self.config["CONFIG_RUSTC_VERSION_TEXT"] = '"rustc 1.84.0 (0123 2025-01-01)"'
        self.refused("was built by 'rustc 1.84.0 (0123 2025-01-01)', but ")
        self.refused("no rustc here", RUSTC="nowhere")

    def test_another_bindgen(self) -> None:
        self.metadata()
        self.config["CONFIG_BINDGEN_VERSION_TEXT"] = '"bindgen 0.65.1"'
        self.refused("was built by 'bindgen 0.65.1', but ")

    def test_another_c_compiler(self) -> None:
        self.metadata()
        self.config["CONFIG_GCC_VERSION"] = "100200"
        self.refused("is not version 10 of gcc")
        self.refused("no C compiler 'nowhere'", CC="nowhere")

    def test_no_metadata(self) -> None:
        self.refused("has no metadata of the kernel's Rust crates")
        (self.build / "rust").symlink_to("../nowhere")
        self.refused("install linux-lib-rust-7.3.4-test")

    def test_no_source(self) -> None:
        tree = self.tmp / "tree"
        self.refused("which LINUX_SOURCE names", self.build, tree, LINUX_SOURCE="/nowhere")
        if not Path("/usr/src/linux-source-7.3.tar.xz").exists():
            (self.build / "include/generated/package.h").write_text(
                '#define LINUX_PACKAGE_ID " Debian 7.3.4-1"\n')
            self.refused("install linux-source-7.3 (apt-get install linux-source-7.3=7.3.4-1).",
                         self.build, tree)

    def test_source_of_another_version(self) -> None:
        source = self.tmp / "source"
        for name in ("rust/", "scripts/Makefile", "scripts/generate_rust_target.rs",
                     "scripts/rust_is_available_bindgen_libclang.h", "drivers/android/",
                     "drivers/base/base.h", "drivers/nvdimm/"):
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(parents=True) if name.endswith("/") else path.touch()
        (source / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 5\n")
        self.refused("is Linux 7.3.4, but", self.build, self.tmp / "tree",
                     LINUX_SOURCE=str(source))

    def test_no_space(self) -> None:
        small = self.tmp / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", small],
                          capture_output=True, check=False).returncode:
            self.skipTest("no right to mount")
        try:
            self.refused("MB left: make room there", self.build, small / "tree",
                         LINUX_SOURCE=str(self.tmp))
        finally:
            subprocess.run(["umount", small], check=True)

    def test_a_tree_that_is_there(self) -> None:
        (self.tmp / "other").mkdir()
        self.refused("is there already", self.build, self.tmp / "other")
        self.refused("can't be made", self.build, self.tmp / "nowhere/tree")


if __name__ == "__main__":
    unittest.main()
