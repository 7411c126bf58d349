#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Boot the lab's kernel on its root with two NVDIMMs and a virtio-pmem, and run a
command in it.

    guest.py [--timeout SECONDS] [--interactive] [--machine NAME] -- COMMAND...

The NVDIMMs are /work/nv0 and /work/nv1, the virtio-pmem is /work/vp0 (made if they are
not there, kept if they are). Other machines are in MACHINES. One with QEMU's monitor has
it on a serial port; $RDAX_MONITOR is its name there. The exit status is the command's; 124
after a time-out, 125 when the guest ended by itself, 126 when the console tells of
trouble in the kernel.
"""

import argparse
import hashlib
import os
import selectors
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import console
import tsc

TIMED_OUT = 124
NO_STATUS = 125
TROUBLE = 126

KERNEL = Path("/kernel/vmlinuz")
INFO = Path("/kernel/info")
# Where the lab has built the module.
PLACE = Path(os.environ.get("RDAX_PLACE", "/rdax"))
MODULE = PLACE / "rdax.ko"
WORK = Path("/work")
# rdax(8) for the tests: inside/samples.
TOOL = Path("/build/kselftest/tool/rdax")
VIRTIO_PMEMS = {"vp0": "256M"}
MONITOR = "/dev/ttyS2"
# Types in the e820 map; memmap=SIZE%START-FROM+TO changes the one to the other.
E820_RAM = 1
E820_SOFT_RESERVED = 0xefffffff
VIRTIOFSD = "/usr/libexec/virtiofsd"
SIZES = {"M": 1 << 20, "G": 1 << 30}
# How much more time a kernel with its checks is given than Debian's own.
SLOWER = {"debug": 10, "kasan": 15}
# Parameters of a kernel. kasan: while the kernel reads the features of its first CPU anew, it does not
# know of the fifth level of page tables. KASAN then reports a good address that an interrupt uses as a
# wild one (KASAN_SHADOW_START, as of 7.3).
KERNEL_PARAMETERS = {"kasan": "no5lvl"}
# As many work with all that a PC has, however busy the host is.
MANY_CPUS = 8
# In seconds, until the command begins, with Debian's own kernel on a busy host.
BOOT_TIMEOUT = 120
# Linux hangs in some of its boots under TCG (Documentation/lab.rst). Nothing of rdax is loaded
# then, so another boot is as good.
BOOTS = 3
LAST_LINES = 40
FEW_LINES = 8

Sink = Callable[[bytes], None]


@dataclass(frozen=True)
class Nvdimm:
    size: str
    labels: bool = False
    read_only: bool = False
    # Where it is to lie, if not where QEMU likes.
    address: int | None = None

    def options(self, name: str) -> str:
        """Of QEMU's device."""
        return (f"{',label-size=128K' if self.labels else ''}"
                f"{',unarmed=on' if self.read_only else ''}"
                f"{f',addr={self.address:#x}' if self.address is not None else ''}")


NVDIMMS = {"nv0": Nvdimm("4G"), "nv1": Nvdimm("512M")}


@dataclass(frozen=True)
class Machine:
    """What the guest's hardware is; the tests' as it stands.

    Where instructions are counted, each takes 1 ns of the guest's clock. NUMA nodes share
    the memory and the CPUs evenly, a socket each; the NVDIMMs belong to them in turn.
    """

    cpus: int = 2
    memory: int = 3 << 10  # MiB
    nvdimms: Mapping[str, Nvdimm] = field(default_factory=lambda: NVDIMMS)
    virtio_pmems: Mapping[str, str] = field(default_factory=lambda: VIRTIO_PMEMS)
    nodes: int = 1
    count_instructions: bool = False
    keep: bool = True  # what is on the NVDIMMs, in files in the work directory
    # What the e820 map calls pmem: a region of which libnvdimm knows no DIMMs.
    legacy_pmem: str = ""
    caches_survive: bool = False  # a power failure
    monitor: bool = False
    # QEMU's usual vendor is AMD, of whose CPUs its machine checks would not mean memory.
    intel: bool = False
    # A plugin of QEMU's TCG, with its options.
    plugin: str = ""
    # The kind of dax device that guest/dax makes before the command runs: cxl, hmem, devdax or virtio.
    dax: str = ""
    # How much memory a CXL expander has: volatile, behind a host bridge of its own.
    cxl: str = ""
    # What is soft-reserved of the memory, as if firmware had said so: SIZE%START.
    soft_reserved: str = ""
    # Intel's IOMMU, and behind it QEMU's device `edu`, which does DMA as it is told.
    edu: bool = False

    @property
    def slots(self) -> list[str]:
        """Its memory, and room for the NVDIMMs."""
        sizes = (*(nvdimm.size for nvdimm in self.nvdimms.values()), *self.virtio_pmems.values())
        most = 2 * sum(map(size_of, sizes)) // SIZES["M"] + (32 << 10)
        return ["-m", f"{self.memory}M,slots=8,maxmem={most}M"]

    def memories(self, work: Path = WORK) -> list[str]:
        options = []
        for i in range(self.nodes):
            name = f"ram{i}"
            options += ["-object", (f"memory-backend-memfd,id={name},"
                                    f"size={self.memory // self.nodes}M,share=on")]
            if self.nodes > 1:
                each = self.cpus // self.nodes
                options += ["-numa", (f"node,nodeid={i},memdev={name},"
                                      f"cpus={i * each}-{(i + 1) * each - 1}")]
        for i, (name, nvdimm) in enumerate(self.nvdimms.items()):
            image = self.image(work, name)
            options += ["-object", backend(name, nvdimm.size, image, nvdimm.read_only),
                        "-device", (f"nvdimm,id=nvdimm-{name},memdev={name},node={i % self.nodes}"
                                    f"{nvdimm.options(name)}")]
        for name, size in self.virtio_pmems.items():
            options += ["-object", backend(name, size, self.image(work, name)),
                        "-device", f"virtio-pmem-pci,id=virtio-{name},memdev={name}"]
        if self.cxl:
            options += ["-object", f"memory-backend-memfd,id=cxl0,share=on,size={self.cxl}",
                        "-device", "pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl-bridge",
                        "-device", "cxl-rp,port=0,bus=cxl-bridge,id=cxl-port,chassis=0,slot=2",
                        "-device", "cxl-type3,bus=cxl-port,volatile-memdev=cxl0,id=cxl-memory"]
        return options

    def image(self, work: Path, name: str) -> Path | None:
        """Where what is on a DIMM is kept."""
        return work / name if self.keep else None

    def devices(self) -> list[str]:
        # An IOMMU knows only the devices that come after it.
        return ["-device", "intel-iommu", "-device", "edu"] if self.edu else []

    def parameters(self) -> list[str]:
        """Of the kernel; what it doesn't know becomes a variable of init and of the command."""
        parameters = [f"RDAX_TOOL={TOOL}"] if TOOL.exists() else []
        if self.legacy_pmem:
            parameters += [f"memmap={self.legacy_pmem}"]
        if self.soft_reserved:
            parameters += [f"memmap={self.soft_reserved}-{E820_RAM:#x}+{E820_SOFT_RESERVED:#x}"]
        if self.monitor:
            parameters += [f"RDAX_MONITOR={MONITOR}"]
        if self.dax:
            parameters += [f"RDAX_DAX={self.dax}"]
        if self.edu:
            parameters += ["intel_iommu=on"]
        return parameters

    def plugins(self) -> list[str]:
        return ["-plugin", f"file={self.plugin}"] if self.plugin else []

    def accelerator(self) -> list[str]:
        if self.count_instructions:
            return ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off"]
        if self.edu:
            # A change of an IOMMU's domains changes QEMU's map of the memory. A thread that runs
            # another CPU, and waits for QEMU's lock in an access to a device, may then access the
            # wrong one ("vtd_mem_write: MMIO over range: addr=0x380": that was the APIC's timer).
            # Linux then hangs without a timer on that CPU.
            return ["-accel", "tcg,thread=single"]
        if kvm_is_real() and not self.intel and not self.plugin:
            return ["-accel", "kvm"]
        return ["-accel", "tcg,thread=multi"]


PLAIN = "plain"
SPECIAL = "special"
ODD = "odd"
CXL = "cxl"
HMEM = "hmem"
DEVDAX = "devdax"
VFIO = "vfio"
MCE = "mce"
MACHINES = {
    PLAIN: Machine(),
    SPECIAL: Machine(caches_survive=True, legacy_pmem="32M!1G", monitor=True, intel=True),
    # As operators have them: with labels, read-only, not aligned, of the e820 map, to be added to.
    ODD: Machine(nvdimms={"nv2": Nvdimm("1G", labels=True),
                          "nv3": Nvdimm("256M", read_only=True),
                          "nv4": Nvdimm("64G", address=(32 << 30) + (64 << 10))},
                 legacy_pmem="64M!1G", monitor=True),
    # With a device on the dax bus, of each kind.
    CXL: Machine(dax="cxl", cxl="1G"),
    HMEM: Machine(memory=6 << 10, dax="hmem", soft_reserved="3G%4G"),
    DEVDAX: Machine(dax="devdax"),
    # With one that has machine checks, whose errors can be cleared.
    MCE: Machine(dax="virtio", monitor=True, intel=True),
    # With a device for VFIO, to do DMA to memory of each kind.
    VFIO: Machine(memory=6 << 10, dax="hmem", soft_reserved="3G%4G", edu=True),
}


class GuestError(Exception):
    """The guest couldn't be started."""


@dataclass
class Result:
    status: int
    seconds: float
    log: list[str]
    trouble: list[str] = field(default_factory=list)

    def explain(self) -> list[str]:
        """Why it failed, where the command itself can't have said so."""
        lines = []
        if self.status == TIMED_OUT:
            lines.append(f"the guest was ended after {self.seconds:.0f} s; its last console lines:")
            lines += self.log[-LAST_LINES:]
        elif self.status == NO_STATUS:
            lines.append("the guest ended by itself; its last console lines:")
            lines += self.log[-LAST_LINES:]
        elif self.status:
            lines.append(f"the command's exit status is {self.status}; the console's end:")
            lines += self.log[-FEW_LINES:]
        if self.trouble:
            lines.append("the kernel's console tells of trouble:")
            lines += self.trouble
        return lines

    @property
    def exit_status(self) -> int:
        return self.status or (TROUBLE if self.trouble else 0)


def kernel() -> dict[str, str]:
    """What is known of /kernel: `name` is there if it is not Debian's own."""
    return dict(line.split("=", 1) for line in INFO.read_text().splitlines())


def module() -> str:
    """Which build of the module it is."""
    return hashlib.sha256(MODULE.read_bytes()).hexdigest()[:12]


def slower() -> int:
    return SLOWER.get(kernel().get("name", ""), 1)


def console_of(name: str) -> Path:
    """In a whole run those of each kernel are kept."""
    place = WORK / os.environ.get("RDAX_LEDGER_KERNEL", "")
    place.mkdir(exist_ok=True)
    return place / f"{name}.console"


def socket_of(name: str) -> Path:
    return Path("/run") / f"{name}.socket"


def kvm_is_real() -> bool:
    """/dev/kvm is only let into the root where the CPU has vmx or svm."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def size_of(size: str) -> int:
    return int(size[:-1]) * SIZES[size[-1]]


def backend(name: str, size: str, image: Path | None, read_only: bool = False) -> str:
    if image is None:
        return f"memory-backend-memfd,id={name},share=on,size={size}"
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(size_of(size))
    return (f"memory-backend-file,id={name},share=on,mem-path={image},size={size}"
            f"{',readonly=on,rom=on' if read_only else ''}")


def monitor(base: Path) -> list[str]:
    """QEMU's monitor, which obeys what the guest writes to its third serial port.

    One way only: answers go to the file BASE.out. If they came back to the port, the guest's
    terminal would echo them, and the monitor would take them for commands.
    """
    commands, answers = Path(f"{base}.in"), Path(f"{base}.out")
    for path in (commands, answers):
        path.unlink(missing_ok=True)
    os.mkfifo(commands)
    answers.touch()
    return ["-chardev", f"pipe,id=monitor,path={base}", "-mon", "chardev=monitor,mode=readline",
            "-serial", f"file:{commands}"]


def qemu(name: str, work: Path, interactive: bool, parameters: str,
         machine: Machine) -> list[str]:
    board, cpu = "q35,nvdimm=on", "max"
    if machine.nodes == 1:
        board += ",memory-backend=ram0"
    # On a busy host, a virtual CPU may get no time while the kernel waits for its first timer
    # interrupts, and then it would panic ("IO-APIC + timer doesn't work").
    # QEMU does not see what virtiofsd writes into a page, and would go on with its translation of
    # the code that was there before. Zeroed first, by the guest, as in Debian's kernel, it is seen.
    append = " ".join(["console=ttyS0 panic=-1 no_timer_check init_on_alloc=1",
                       "rootfstype=virtiofs root=root ro",
                       f"init=/rdax/scripts/guest/init GUEST_WORK={work} RDAX_KO={MODULE}",
                       KERNEL_PARAMETERS.get(kernel().get("name", ""), ""), clock(machine),
                       parameters, *machine.parameters()])
    if machine.caches_survive:
        board += ",nvdimm-persistence=cpu"
    if machine.cpus > MANY_CPUS:
        # its timers, of which QEMU then has too many, leave it no time for the guest
        board += ",hpet=off"
    if machine.intel:
        cpu += ",vendor=GenuineIntel"
    accelerator = machine.accelerator()
    if "kvm" in accelerator:
        cpu = "host"
    if machine.cxl:
        board += ",cxl=on,cxl-fmw.0.targets.0=cxl-bridge,cxl-fmw.0.size=4G"
        # in a guest, Linux does not invalidate the caches, and makes no CXL region without that
        cpu += ",hypervisor=off"
    if machine.count_instructions:
        # QEMU counts each repetition: let memory be copied and cleared 8 bytes at a time
        cpu += ",erms=off,fsrm=off,fsrs=off"
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none",
        "-machine", board, *accelerator, *machine.plugins(), "-cpu", cpu,
        "-smp", f"{machine.cpus},sockets={machine.nodes}", *machine.slots,
        *machine.devices(),
        "-chardev", f"socket,id=root,path={socket_of(name)}",
        "-device", "vhost-user-fs-pci,chardev=root,tag=root",
        *machine.memories(work),
        "-kernel", str(KERNEL), "-append", append,
        "-serial", f"file:{console_of(name)}",
        "-chardev", f"stdio,id=io,signal={'off' if interactive else 'on'}", "-serial", "chardev:io",
        *(monitor(work / f"{name}.monitor") if machine.monitor else []),
    ]


def clock(machine: Machine) -> str:
    """What the kernel would otherwise measure, and on a busy host measure wrong: see tsc.py."""
    if machine.count_instructions or "kvm" in machine.accelerator():
        return ""
    khz = tsc.khz()
    return f"tsc_early_khz={khz}" if khz else ""


@contextmanager
def virtiofs(socket: Path, log: Path, root: Path = Path("/")) -> Iterator[None]:
    """Serve a root, otherwise this whole one as it is in this mount namespace, to the guest."""
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [VIRTIOFSD, f"--socket-path={socket}", f"--shared-dir={root}", "--sandbox=none",
             "--cache=always", "--inode-file-handles=never", "--rlimit-nofile=0"],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise GuestError(f"virtiofsd didn't start: {log.read_text(errors='replace')}")
            time.sleep(0.02)
        yield
    finally:
        daemon.kill()
        daemon.wait()


class Hangs(Exception):
    """The guest did not come to its command."""


def stream(process: subprocess.Popen[bytes], deadline: float, sink: Sink,
           boots: Callable[[], bool] = lambda: False, booted: float = 0) -> bool:
    """Pass on what the command prints until QEMU ends; False if it is too late.

    Raises Hangs if BOOTS() is true at BOOTED, or later.
    """
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if now >= deadline:
                return False
            if now >= booted and boots():
                raise Hangs
            if selector.select((booted if now < booted < deadline else deadline) - now):
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    return True
                sink(data)


def to_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run(program: Sequence[str], name: str, work: Path, timeout: float, boot_timeout: float,
        sink: Sink | None) -> bool:
    """QEMU, until it ends; False if it is too late. Without a SINK the terminal is the guest's."""
    log, socket, began = console_of(name), socket_of(name), work / "begun"
    for stale in (log, socket, began, work / "status"):
        stale.unlink(missing_ok=True)
    log.touch()
    with virtiofs(socket, WORK / f"{name}.virtiofsd"):
        process = subprocess.Popen(program, stdin=subprocess.DEVNULL if sink else None,
                                   stdout=subprocess.PIPE if sink else None)
        try:
            if sink:
                now = time.monotonic()
                return stream(process, now + timeout, sink, lambda: not began.exists(),
                              now + boot_timeout)
            process.wait()
            return True
        finally:
            process.kill()
            process.wait()


def last_line(log: Path) -> str:
    return next(reversed(log.read_text(errors="replace").split("\n")[:-1]), "").rstrip()


def boot(command: Sequence[str], *, timeout: float, name: str = "guest",
         interactive: bool = False, parameters: str = "",
         machine: Machine = Machine(), work: Path | None = None,
         sink: Sink = to_stdout, boot_timeout: float = BOOT_TIMEOUT) -> Result:
    """Run COMMAND in a guest; its console is kept in /work/NAME.console.

    PARAMETERS are more of the kernel's. TIMEOUT is that of Debian's own kernel, and so is
    BOOT_TIMEOUT, after which a guest that has not begun the command is booted again. What is on the
    DIMMs is kept in the directory WORK, or not kept: guests that run at once must not share it.
    """
    if work is None:
        with tempfile.TemporaryDirectory(dir=WORK, prefix=f"{name}.") as own:
            return boot(command, timeout=timeout, name=name, interactive=interactive,
                        parameters=parameters, machine=machine, work=Path(own), sink=sink,
                        boot_timeout=boot_timeout)
    begun = time.monotonic()
    work.mkdir(exist_ok=True)
    (work / "command").write_text(shlex.join(command) + "\n")
    (work / "interactive").unlink(missing_ok=True)
    if interactive:
        (work / "interactive").touch()
    log, status = console_of(name), work / "status"
    program = qemu(name, work, interactive, parameters, machine)
    for boots in range(1, BOOTS + 1):
        try:
            in_time = run(program, name, work, timeout * slower(), boot_timeout * slower(),
                          None if interactive else sink)
            break
        except Hangs:
            in_time = False
            kept = log.with_name(f"{log.name}.hung-{boots}")
            shutil.copy(log, kept)
            print(f"guest: {name}: boot {boots} of at most {BOOTS} hangs; its console, {kept.name}, "
                  f"ends: {last_line(log)}", file=sys.stderr, flush=True)
    lines = [line.rstrip("\r") for line in log.read_text(errors="replace").split("\n")]
    if not in_time:
        code = TIMED_OUT
    else:
        text = status.read_text().strip() if status.exists() else ""
        code = int(text) if text.isdigit() else NO_STATUS
    return Result(code, time.monotonic() - begun, [line for line in lines if line],
                  console.trouble(lines, console.PROVOKED if machine.intel else None))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--interactive", action="store_true")
    parser.add_argument("--machine", choices=MACHINES, default=PLAIN)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    try:
        result = boot(args.command, timeout=args.timeout, interactive=args.interactive,
                      machine=MACHINES[args.machine], work=WORK)
    except GuestError as error:
        print(f"guest: {error}", file=sys.stderr)
        return NO_STATUS
    except KeyboardInterrupt:
        return 130
    for line in result.explain():
        print(f"guest: {line}", file=sys.stderr)
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main())
