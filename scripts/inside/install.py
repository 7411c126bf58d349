#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The packages, in a Debian made for them at /mnt, which is booted with systemd and udev.

    install.py SUITE VERSION RELEASE [VERSION RELEASE]

Kernels of Debian are installed there from SUITE: the first one before the packages, the other one
after them, as an update. In between and after it the machine boots: the namespace that was
bound, and its division into devices, have to be as they were. At the end the packages are purged.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import console
import guest
from tap import Tap, by_lines

ROOT = Path("/mnt")
TEST = ROOT / "root/install-test"
UNIT = ROOT / "etc/systemd/system/install-test.service"
ENTER = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/rdax/scripts/host/enter",
         str(ROOT), "--rw", "--ro", "/rdax", "/rdax", "--"]
APT = ["apt-get", "-qy", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"]
BOOT = 600
LAST_LINES = 30

# What the administrator of that machine would write.
LOCAL_RULE = 'SUBSYSTEM=="dax", KERNEL=="rdax1", OWNER="games", GROUP="games", MODE="0640"\n'
# An initial RAM disk that has the driver which takes every namespace.
INITRAMFS = {"etc/initramfs-tools/initramfs.conf": ("MODULES=most", "MODULES=list"),
             "etc/initramfs-tools/modules": ("", "nfit\nnd_pmem\n")}
RUN = """[Unit]
After=multi-user.target rdax.service
[Service]
Type=oneshot
ExecStartPre=/usr/bin/stty -F /dev/ttyS1 raw -echo
ExecStart=/bin/sh -c 'exec /root/install-test/installed $VERB >/dev/ttyS1 2>&1'
ExecStopPost=/bin/systemctl --no-block poweroff
PassEnvironment=VERB
"""
# What other packages write when they are installed, and a machine when it boots.
OTHERS = ("/boot/", "/root/install-test", "/usr/lib/modules/", "/var/cache/", "/var/lib/apt/",
          "/var/lib/dpkg/", "/var/lib/dkms/mok.", "/var/lib/initramfs-tools/", "/var/lib/python",
          "/var/lib/systemd/", "/var/log/", "/usr/lib/systemd/", "/usr/local/lib/python3.",
          "/etc/alternatives/", "/etc/ld.so.cache", "/etc/python3", "/etc/systemd/system",
          "/etc/.updated", "/var/.updated", "/etc/hosts", "/etc/inputrc", "/etc/localtime",
          "/etc/networks")


class Kernel(NamedTuple):
    version: str
    release: str

    @property
    def series(self) -> str:
        return ".".join(self.release.split(".")[:2])

    def packages(self) -> list[str]:
        return [f"linux-image-{self.release}={self.version}",
                f"linux-headers-{self.release}={self.version}"]

    def source(self) -> str:
        return f"linux-source-{self.series}={self.version}"


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


class Installation:
    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.ended = False

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        done = subprocess.run([*ENTER, *command], stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout.decode(errors="replace")

    def output(self, *command: str) -> str:
        return self.run(command)[1]

    def command(self, name: str, *command: str) -> bool:
        """One result: did COMMAND exit with 0? The end of its output only if it didn't."""
        begun = time.monotonic()
        status, output = self.run(command)
        if status:
            for line in output.splitlines()[-LAST_LINES:]:
                self.tap.comment(line)
            self.logs()
        self.tap.result(status == 0, f"{name} ({time.monotonic() - begun:.0f} s)")
        return status == 0

    def logs(self) -> None:
        for log in sorted((ROOT / "var/lib/dkms").glob("rdax/**/make.log")):
            self.tap.comment(f"the end of {log}:")
            for line in log.read_text(errors="replace").splitlines()[-LAST_LINES:]:
                self.tap.comment(line)

    def check(self, ok: bool, name: str, *details: str) -> None:
        if not ok:
            for detail in details:
                for line in detail.splitlines():
                    self.tap.comment(line)
        self.tap.result(ok, name)

    # --- the machine ---------------------------------------------------------------------

    def prepare(self, suite: str) -> bool:
        sources = (ROOT / "etc/apt/sources.list").read_text()
        base = next(line.split(" main")[0].rsplit(" ", 1)[0]
                    for line in sources.splitlines() if line.startswith("deb "))
        (ROOT / "etc/apt/sources.list.d/kernels.list").write_text(f"{base} {suite} main\n")
        for name, (old, new) in INITRAMFS.items():
            path = ROOT / name
            path.write_text(path.read_text().replace(old, new) if old else path.read_text() + new)
        (ROOT / "etc/udev/rules.d/61-local.rules").write_text(LOCAL_RULE)
        self.output("systemd-machine-id-setup")
        self.output("systemctl", "preset-all")
        TEST.mkdir()
        (TEST / "installed").write_bytes(Path("/rdax/scripts/guest/installed").read_bytes())
        (TEST / "installed").chmod(0o755)
        UNIT.write_text(RUN)
        return self.command("apt has the lists of the kernels' suite", "apt-get", "-q", "update")

    def has(self, kernel: Kernel) -> bool:
        return not self.run(["apt-cache", "show", *kernel.packages(), kernel.source()])[0]

    def pin(self, kernel: Kernel) -> None:
        """A newer version of the source than of the kernel is no matter of this test."""
        with (ROOT / "etc/apt/preferences.d/kernels").open("a") as preferences:
            preferences.write(f"Package: linux-source-{kernel.series}\n"
                              f"Pin: version {kernel.version}\nPin-Priority: 990\n\n")

    def built(self, kernel: Kernel) -> None:
        status = self.output("dkms", "status", "-m", "rdax")
        self.check(f"{kernel.release}, x86_64: installed" in status,
                   f"dkms has built and installed the module for {kernel.release}", status)
        info = self.output("modinfo", "-k", kernel.release, "rdax")
        self.check("/updates/dkms/rdax.ko" in info and f"vermagic:       {kernel.release} " in info,
                   f"modprobe finds it, and it is for {kernel.release}", info)
        self.check("signer: " in info, "it is signed", info)
        left = [str(path) for path in (ROOT / "var/lib/dkms/rdax").glob("*/build")]
        self.check(not left, "what it was built with is gone", *left)

    def boot(self, kernel: Kernel, verb: str, initrd: bool, timeout: float = BOOT) -> None:
        name = f"{kernel.series} {verb}"
        say(f"boot: {name}")
        self.ended = False
        result = boot(kernel, verb, initrd, timeout, by_lines(self.line))
        if result.status or result.trouble:
            for line in result.explain():
                self.tap.comment(line)
        self.tap.result(result.status == 0 and self.ended,
                        f"{name}: the machine boots, and is off again ({result.seconds:.0f} s)")
        self.tap.result(not result.trouble, f"{name}: the kernel's console is clean")

    def line(self, text: str) -> None:
        ok = text.startswith("ok ")
        if ok or text.startswith("not ok "):
            self.tap.result(ok, text.split("ok ", 1)[1])
        elif text == "end":
            self.ended = True
        else:
            self.tap.comment(text.removeprefix("# "))

    def files(self) -> set[str]:
        """Files that no package owns, without those that any installation writes."""
        owned = {line for name in (ROOT / "var/lib/dpkg/info").glob("*.list")
                 for line in name.read_text().splitlines()}
        found = self.output("find", "/", "-xdev", "-path", "/rdax", "-prune", "-o", "-print")
        return {path for path in found.splitlines()
                if path not in owned and not path.startswith(OTHERS) and "__pycache__" not in path
                and not alternative(ROOT / path[1:])}


def alternative(path: Path) -> bool:
    return path.is_symlink() and str(path.readlink()).startswith("/etc/alternatives/")


def run(program: list[str], log: Path, socket: Path, timeout: float, sink: guest.Sink) -> bool:
    """QEMU, until it ends; False if it is too late. Raises guest.Hangs if it does not boot."""
    for stale in (log, socket):
        stale.unlink(missing_ok=True)
    log.touch()
    with guest.virtiofs(socket, log.with_suffix(".virtiofsd"), ROOT):
        process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            now = time.monotonic()
            return guest.stream(process, now + timeout, sink,
                                lambda: "systemd[1]" not in log.read_text(errors="replace"),
                                now + guest.BOOT_TIMEOUT)
        finally:
            process.kill()
            process.wait()


def boot(kernel: Kernel, verb: str, initrd: bool, timeout: float,
         sink: guest.Sink) -> guest.Result:
    """The machine on the root at /mnt, which it may write to, until it is off."""
    begun = time.monotonic()
    # udev loads drivers in any order, and which of two buses comes first decides the names.
    machine = guest.Machine(virtio_pmems={})
    name = f"{kernel.series}-{verb}"
    log, socket = guest.console_of(name), guest.socket_of(name)
    # For init_on_alloc, no_timer_check and tsc_early_khz see guest.py.
    append = ("root=root rootfstype=virtiofs rw console=ttyS0 panic=-1 no_timer_check "
              "init_on_alloc=1 systemd.wants=install-test.service systemd.firstboot=off "
              f"VERB={verb} {guest.clock(machine)}")
    accelerator = machine.accelerator()
    program = [
        "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none",
        "-machine", "q35,nvdimm=on,memory-backend=ram0", *accelerator,
        "-cpu", "host" if "kvm" in accelerator else "max",
        "-smp", str(machine.cpus), *machine.slots,
        "-chardev", f"socket,id=root,path={socket}",
        "-device", "vhost-user-fs-pci,chardev=root,tag=root",
        *machine.memories(),
        "-kernel", str(ROOT / f"boot/vmlinuz-{kernel.release}"), "-append", append,
        *(["-initrd", str(ROOT / f"boot/initrd.img-{kernel.release}")] if initrd else []),
        "-serial", f"file:{log}", "-chardev", "stdio,id=io,signal=off", "-serial", "chardev:io",
    ]
    in_time = False
    for boots in range(1, guest.BOOTS + 1):
        try:
            in_time = run(program, log, socket, timeout, sink)
            break
        except guest.Hangs:
            say(f"boot {boots} of at most {guest.BOOTS} hangs; its console ends: "
                f"{guest.last_line(log)}")
    lines = [line.rstrip("\r") for line in log.read_text(errors="replace").split("\n")]
    powered_off = any("reboot: Power down" in line for line in lines)
    status = guest.TIMED_OUT if not in_time else 0 if powered_off else guest.NO_STATUS
    return guest.Result(status, time.monotonic() - begun, [line for line in lines if line],
                        console.trouble(lines))


def series(kernel: Kernel) -> list[int]:
    return [int(part) for part in kernel.series.split(".")]


def test(tap: Tap, suite: str, first: Kernel, other: Kernel | None) -> None:
    this = Installation(tap)
    say(f"a machine with Linux {first.release}")
    if not this.prepare(suite):
        return
    # The packages ask for the source of the newest series, unless another one is there.
    source = [first.source()] if other and series(other) > series(first) else []
    # Without -t apt does not take from there what the kernel needs besides.
    if not this.command(f"Linux {first.release} is installed", *APT, "install",
                        "-t", suite, *first.packages(), *source):
        return
    this.pin(first)
    before = this.files()
    say("the packages")
    debs = sorted(str(path) for path in Path("/rdax/deb").glob("*.deb"))
    if not this.command("apt install ./rdax-*.deb", *APT, "install", *debs):
        return
    this.built(first)
    this.boot(first, "divide", initrd=False)
    this.boot(first, "verify", initrd=True)
    if other and this.has(other):
        say(f"the machine gets Linux {other.release}")
        if this.command(f"Linux {other.release} is installed beside it", *APT, "install",
                        "-t", suite, *other.packages(), other.source()):
            this.built(other)
            this.boot(other, "verify+bad", initrd=True)
    else:
        tap.result(True, "another kernel", "kernel.lock has one only, or Debian no longer has it")
        this.boot(first, "bad", initrd=False)
    say("the packages are purged")
    if this.command("apt purge rdax-dkms rdax-tools", *APT, "purge", "rdax-dkms", "rdax-tools"):
        purged(this, before)


def purged(this: Installation, before: set[str]) -> None:
    left = sorted(this.files() - before)
    this.check(not left, "no file is left", *left)
    named = this.output("find", "/", "-xdev", "-path", "/rdax", "-prune", "-o",
                        "-name", "*rdax*", "-print").split()
    this.check(not named, "nothing is left that is called rdax", *named)
    status = this.output("dkms", "status")
    this.check(not status.strip(), "dkms knows nothing of it", status)
    listed = [line for path in (ROOT / "usr/lib/modules").glob("*/modules.*")
              for line in [path.name] if b"rdax" in path.read_bytes()]
    this.check(not listed, "no index of modules has it", *listed)
    known = this.output("dpkg-query", "-W", "-f", "${Package} ${Status}\n", "rdax*")
    this.check("installed" not in known and "config-files" not in known,
               "dpkg knows nothing of it", known)


def main() -> int:
    suite, *names = sys.argv[1:]
    kernels = [Kernel(*pair) for pair in zip(names[::2], names[1::2])]
    begun = time.monotonic()
    tap = Tap()
    try:
        test(tap, suite, kernels[0], kernels[1] if len(kernels) > 1 else None)
    except guest.GuestError as error:
        tap.comment(str(error))
        tap.result(False, "the machine starts")
    tap.comment(f"{time.monotonic() - begun:.0f} s")
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
