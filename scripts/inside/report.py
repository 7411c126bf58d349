# SPDX-License-Identifier: GPL-2.0
"""What make bench measured, as it is shown, kept and published."""

import json
from pathlib import Path

import guest
import plots
import tables
from figures import CONTENDERS, DEVICE_DAX, PAGES, RDAX, TRACKED, Figures, FiguresError
from operations import BIND, BUS, INSTRUCTIONS, PARALLEL, goals

OUTPUT = Path("/build/bench")
PUBLISHED = Path("/rdax/Documentation/performance/bench")
BASELINE = PUBLISHED / "baseline.json"
MADE_BY = "make bench; scripts/lab bench --publish"

# In the order in which they are shown.
TITLES = {
    "instructions": "Instructions for each operation",
    "bind": "Binding: instructions, and memory",
    "bus": "Instructions for each operation on a device of the dax bus",
    "parallel": "Throughput: how much more than one's alone, and than the peers'",
}

COSTS = {"instructions": INSTRUCTIONS, "bind": BIND, "bus": BUS}
COLUMNS = {"bind": (RDAX, PAGES, DEVICE_DAX), "bus": (RDAX, TRACKED, PAGES, DEVICE_DAX)}

Part = dict[str, object]
Parts = dict[str, Part]


def measured(name: str, figures: Figures) -> Part:
    """A part, with what it was measured on."""
    return {
        "module": guest.module(),
        "kernel": guest.kernel()["release"],
        "accelerator": "TCG, counting instructions" if name != "parallel" else
                       "KVM" if guest.kvm_is_real() else "TCG",
        "figures": figures.to_json(),
    }


def figures_of(part: Part) -> Figures:
    found = part["figures"]
    assert isinstance(found, dict)
    return Figures.from_json(found)


def counts_in(figures: Figures) -> list[int]:
    return sorted({int(operation.rpartition("-")[2]) for operation in figures.samples})


def show_part(name: str, part: Part) -> list[str]:
    figures = figures_of(part)
    if name == "parallel":
        lines = tables.scaling(PARALLEL, counts_in(figures), figures)
    else:
        lines = tables.costs(COSTS[name], figures, COLUMNS.get(name, CONTENDERS))
    kept = ", kept from an earlier measurement" if part.get("kept") else ""
    return [f"## {TITLES[name]}", "",
            f"Linux {part['kernel']}, {part['accelerator']}, rdax.ko {part['module']}{kept}.", "",
            *lines, ""]


def show(parts: Parts, *, whole: bool = False) -> str:
    """The tables of these parts, and how far the goals are; the others too if it's the WHOLE."""
    everything = Figures()
    lines = ["# Figures", ""]
    for name, part in parts.items():
        everything.samples |= figures_of(part).samples
        lines += show_part(name, part)
    if len({str(part["module"]) for part in parts.values()}) > 1:
        lines += ["**The parts were measured with different builds of the module.**", ""]
    return "\n".join([*lines, "## Goals", "", *tables.goals(goals(), everything, whole)]) + "\n"


def draw(parts: Parts) -> dict[str, str]:
    images: dict[str, str] = {}
    if "instructions" in parts:
        images |= plots.of_costs(figures_of(parts["instructions"]))
    if "parallel" in parts:
        figures = figures_of(parts["parallel"])
        images |= plots.of_scaling(PARALLEL, counts_in(figures), figures)
    return images


def read(directory: Path) -> Parts:
    path = directory / "figures.json"
    parts: Parts = json.loads(path.read_text()) if path.exists() else {}
    return parts


def write(directory: Path, parts: Parts) -> list[str]:
    """The names of the files."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = {title: parts[title] for title in TITLES if title in parts}
    (directory / "figures.json").write_text(json.dumps(parts, indent=1) + "\n")
    images = draw(parts)
    for file, image in images.items():
        (directory / file).write_text(image)
    (directory / "figures.md").write_text(
        f"<!-- SPDX-License-Identifier: GPL-2.0 -->\n<!-- made by {MADE_BY} -->\n"
        f"{show(parts, whole=True)}\n## Plots\n\n"
        + "".join(f"![{name.removesuffix('.svg')}]({name})\n\n" for name in images).rstrip("\n")
        + "\n")
    return sorted(["figures.json", "figures.md", *images])


def keep(name: str, part: Part) -> None:
    """Put it in the place of what was measured before; write all of it."""
    write(OUTPUT, read(OUTPUT) | {name: part})


def publish(output: Path = OUTPUT, published: Path = PUBLISHED) -> None:
    """What was not measured here stays as it was published, and is marked."""
    parts = read(output)
    if not parts:
        raise FiguresError("measure first: make bench")
    kept: Parts = {name: part | {"kept": True} for name, part in read(published).items()}
    for name in write(published, kept | parts):
        print(f"Documentation/performance/bench/{name}")


def write_baseline() -> None:
    found = read(OUTPUT)
    if "instructions" not in found:
        raise FiguresError("measure first: make bench BENCH=instructions")
    PUBLISHED.mkdir(parents=True, exist_ok=True)
    BASELINE.write_text(json.dumps(figures_of(found["instructions"]).ratios(), indent=1) + "\n")
