# SPDX-License-Identifier: GPL-2.0
"""What the benchmark measures, in which machine, and the goals."""

from dataclasses import dataclass, field, replace

from figures import ANONYMOUS, DEVICE_DAX, EXT4, PAGES, RDAX, TRACKED, Goal, beside

BIND_SIZES = (4, 16, 64)  # GiB

# The contenders as the guest's script knows them.
VARIANTS = {
    "rdax": RDAX,
    "device_dax_4k": DEVICE_DAX,
    "device_dax_2m": DEVICE_DAX,
    "device_dax_1g": DEVICE_DAX,
    "ext4": EXT4,
    "anonymous": ANONYMOUS,
}
# rdax as the driver of a device of the dax bus, in each mode of its memory, beside device_dax as
# that of the same.
BUS_VARIANTS = {
    f"{variant}_{align}": contender
    for align in ("4k", "2m")
    for variant, contender in (("rdax_frames", RDAX), ("rdax_tracked", TRACKED),
                               ("rdax_pages", PAGES), ("device_dax", DEVICE_DAX))
}
# rdax without pages has no alignment to choose: it stands beside both.
BIND_VARIANTS = {
    "rdax": (RDAX, ("", "-2m")),
    "rdax_pages_4k": (PAGES, ("",)),
    "device_dax_4k": (DEVICE_DAX, ("",)),
    "rdax_pages_2m": (PAGES, ("-2m",)),
    "device_dax_2m": (DEVICE_DAX, ("-2m",)),
}

FILES_ONLY = frozenset({DEVICE_DAX, ANONYMOUS})


@dataclass(frozen=True)
class Run:
    """An operation of the program: its results' names, with what they are.

    ALIGN is that of device_dax. A LONG one has one round, else a round that isn't counted
    comes first. Who CANNOT do it must say so, and nobody else may.
    """

    name: str
    titles: dict[str, str]
    align: str = "4k"
    long: bool = False
    cannot: frozenset[str] = field(default_factory=frozenset)


def run(name: str, title: str, *, align: str = "4k", long: bool = False,
        cannot: frozenset[str] = frozenset()) -> Run:
    return Run(name, {name: title}, align, long, cannot)


RUNS = (
    # first, since slabs that are half empty hide what is taken from them
    Run("memory-4k", {
        "memory-4k-Slab": "index, bytes of slab per GiB touched at 4 KiB",
        "memory-4k-PageTables": "page tables, bytes per GiB touched at 4 KiB",
    }, long=True),
    run("fault-4k-write-dense", "4 KiB write fault, random, dense"),
    run("fault-4k-read-dense", "4 KiB read fault, random, dense"),
    run("fault-4k-write-random", "4 KiB write fault, random"),
    run("fault-4k-read-random", "4 KiB read fault, random"),
    run("fault-4k-write-existing", "4 KiB write fault, random, on an entry of another process",
        cannot=frozenset({ANONYMOUS})),
    run("write-after-read-4k", "4 KiB first write after a read fault, random",
        cannot=frozenset({DEVICE_DAX})),
    run("fault-4k-write-sequential", "4 KiB sequential write touch, per page"),
    run("fault-4k-read-sequential", "4 KiB sequential read touch, per page"),
    run("fault-2m-write", "2 MiB write fault", align="2m"),
    run("fault-2m-read", "2 MiB read fault", align="2m"),
    run("fault-1g-write", "1 GiB write fault", align="1g", cannot=frozenset({EXT4, ANONYMOUS})),
    run("fault-1g-read", "1 GiB read fault", align="1g", cannot=frozenset({EXT4, ANONYMOUS})),
    run("mmap", "mmap of 1 GiB"),
    run("munmap-4k", "munmap, per 4 KiB page"),
    run("munmap-2m", "munmap, per 2 MiB page", align="2m"),
    run("fsync-1-of-16m", "fsync, 1 page dirty of 16 MiB touched", long=True, cannot=FILES_ONLY),
    Run("fsync-of-1g", {
        "fsync-1-of-1g": "fsync, 1 page dirty of 1 GiB touched",
        "fsync-100-of-1g": "fsync, 100 pages dirty of 1 GiB touched",
        "fsync-all-of-1g": "fsync, all pages dirty of 1 GiB touched",
    }, long=True, cannot=FILES_ONLY),
    run("read-4k", "read of 4 KiB", cannot=FILES_ONLY),
    run("write-4k", "write of 4 KiB", cannot=FILES_ONLY),
    run("read-1m", "read of 1 MiB", cannot=FILES_ONLY),
    run("write-1m", "write of 1 MiB", cannot=FILES_ONLY),
    run("punch-4k-absent", "punch of 4 KiB, no entry", cannot=FILES_ONLY),
    run("punch-4k-present", "punch of 4 KiB, mapped", cannot=FILES_ONLY),
    run("punch-2m-absent", "punch of 2 MiB, no entries", cannot=FILES_ONLY),
    run("punch-2m-present", "punch of 2 MiB, mapped in 4 KiB pages", cannot=FILES_ONLY),
    run("punch-write-4k", "punch of 4 KiB and first write again", cannot=FILES_ONLY),
    run("punch-write-4k-all", "punch of 2 MiB and first write again of each 4 KiB, per 4 KiB",
        cannot=FILES_ONLY),
    run("punch-write-2m", "punch of 2 MiB and first write again",
        cannot=FILES_ONLY),
    run("punch-1g-absent", "punch of 1 GiB, no entries", long=True, cannot=FILES_ONLY),
    run("punch-1g-present", "punch of 1 GiB, mapped in the largest pages", long=True,
        cannot=FILES_ONLY),
)

ON_THE_BUS = (
    "fault-4k-write-dense", "fault-4k-read-dense", "fault-4k-write-sequential", "fault-2m-write",
    "fault-2m-read", "mmap", "munmap-4k", "munmap-2m", "fsync-1-of-16m", "read-4k", "write-4k",
    "read-1m", "write-1m", "punch-4k-present", "punch-2m-present",
)
BUS_RUNS = (
    *(run for run in RUNS if run.name in ON_THE_BUS),
    # there, pages are mapped writable by a read
    *(replace(run, cannot=run.cannot | {PAGES}) for run in RUNS if run.name == "write-after-read-4k"),
    run("fsync-all-of-16m", "fsync, all pages dirty of 16 MiB touched", long=True,
        cannot=FILES_ONLY),
    run("fsync-2m-1-of-64m", "fsync, one 2 MiB page dirty of 64 MiB touched", align="2m",
        long=True, cannot=FILES_ONLY),
    run("fsync-2m-all-of-64m", "fsync, all 2 MiB pages dirty of 64 MiB touched", align="2m",
        long=True, cannot=FILES_ONLY),
    # on a namespace rdax maps 2 MiB whatever the alignment
    *(replace(run, align="2m") for run in RUNS if run.name == "punch-write-2m"),
)
# By another name than on a namespace.
BUS = {f"bus-{name}": title for run in BUS_RUNS for name, title in run.titles.items()}

INSTRUCTIONS = {name: title for run in RUNS for name, title in run.titles.items()}

BINDING = {
    "bind": "bind",
    "memory-map": "bind: of this, to make the memory map",
    "clear-reserved": "bind: of this, to clear PG_reserved",
    "unbind": "unbind",
    "memory-bound": "bytes taken by binding",
}
BIND = {
    f"{operation}-{size}g{suffix}": f"{title}, {size} GiB{text}"
    for operation, title in BINDING.items()
    for suffix, text in (("", ""), ("-2m", " (align 2M)"))
    for size in BIND_SIZES
}

PARALLEL = {
    "threads-disjoint": "4 KiB faults of different pages, threads",
    "processes-disjoint": "4 KiB faults of different pages, processes",
    "threads-one-page": "4 KiB faults of one page, threads",
}

@dataclass(frozen=True)
class Line:
    """An operation whose moved cache lines are counted: see samples/bench/coherence.c.

    One that ALLOCATES has no limit: which CPUs share a slab is different each time.
    """

    name: str
    title: str
    align: str = "4k"
    allocates: bool = False
    cannot: frozenset[str] = field(default_factory=frozenset)


LINES = (
    Line("write-4k-dense", "4 KiB write, dense"),
    Line("write-4k", "4 KiB write, a new node", allocates=True),
    Line("write-2m", "2 MiB write", align="2m"),
    Line("read-4k", "4 KiB read"),
    Line("write-after-read-4k", "first write after a read", allocates=True,
         cannot=frozenset({DEVICE_DAX})),
    Line("write-existing-4k", "write, entry exists", cannot=frozenset({ANONYMOUS})),
    Line("sync-4k", "fsync, a dirty page", cannot=FILES_ONLY),
    Line("pread-4k", "pread, 4 KiB", cannot=FILES_ONLY),
    Line("pwrite-4k", "pwrite, 4 KiB", cannot=FILES_ONLY),
)
MODES = ("processes", "threads")


def speedup(contender: str, threads: int = 2) -> tuple[tuple[str, str], tuple[str, str]]:
    """What divided by what it is."""
    return ("threads-disjoint-1", contender), (f"threads-disjoint-{threads}", contender)


def goals() -> list[Goal]:
    one, two = speedup(RDAX)
    result = [
        *beside("fault-4k-write-dense", "4 KiB random first-touch write fault, dense",
                {DEVICE_DAX: 0.58, EXT4: 0.38}),
        *beside("fault-4k-write-random",
                "4 KiB random first-touch write fault, a new node of the index for each",
                {DEVICE_DAX: 0.75, EXT4: 0.38}),
        *beside("fault-4k-write-existing", "4 KiB random write fault on an entry that exists",
                {DEVICE_DAX: 0.58}),
        *beside("fault-4k-write-sequential", "4 KiB sequential touch, per page",
                {DEVICE_DAX: 0.060}),
        *beside("fault-2m-write", "2 MiB write fault", {DEVICE_DAX: 0.95, EXT4: 0.38}),
        *beside("fault-2m-read", "2 MiB read fault", {DEVICE_DAX: 0.88}),
        *beside("fault-1g-write", "1 GiB write fault", {DEVICE_DAX: 1.10}),
        *beside("fault-1g-read", "1 GiB read fault", {DEVICE_DAX: 1.10}),
        *beside("munmap-4k", "munmap, per 4 KiB page", {DEVICE_DAX: 0.30}),
        *beside("munmap-2m", "munmap, per 2 MiB page", {DEVICE_DAX: 0.36}),
        *beside("fsync-1-of-1g", "fsync with 1 dirty page of 1 GiB touched", {EXT4: 0.06}),
        *beside("fsync-100-of-1g", "fsync with 100 dirty pages of 1 GiB touched", {EXT4: 0.50}),
        *beside("fsync-all-of-1g", "fsync with all pages of 1 GiB dirty", {EXT4: 0.30}),
        Goal("fsync with 1 dirty page of 1 GiB touched / of 16 MiB touched",
             (("fsync-1-of-1g", RDAX),), (("fsync-1-of-16m", RDAX),), 1.05),
        *beside("punch-write-4k", "punch of 4 KiB and first write again", {EXT4: 0.045}),
        *beside("punch-write-2m", "punch of 2 MiB and first write again", {EXT4: 0.25}),
        Goal("bind at 64 GiB / at 4 GiB", (("bind-64g", RDAX),), (("bind-4g", RDAX),), 1.1),
        *beside("bind-64g", "bind at 64 GiB", {DEVICE_DAX: 0.02}),
        Goal("index, bytes of slab per GiB touched at 4 KiB",
             (("memory-4k-Slab", RDAX),), (), 2.5 * (1 << 20)),
        *beside("memory-bound-64g", "bytes taken by binding 64 GiB", {DEVICE_DAX: 0.001}),
        Goal("throughput of 2 threads / of 1, disjoint 4 KiB faults", (one,), (two,), 1.8,
             at_least=True),
    ]
    for peer in (DEVICE_DAX, EXT4):
        their_one, their_two = speedup(peer)
        result += [
            Goal(f"the same / that of {peer}", (one, their_two), (two, their_one), 1.0,
                 at_least=True),
            Goal(f"throughput of 2 threads, disjoint 4 KiB faults / that of {peer}",
                 (their_two,), (two,), 1.0, at_least=True),
        ]
    return result
