#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check that a file of rust/dax imports only from lower layers, and from no circle.

The layers are the modules of rust/dax.rs, in its order, lowest first. Within a folder,
files may import each other, but not in a circle. kernel_ext imports nothing of the driver.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

TOP = Path("/rdax")
MODULE = re.compile(r"^(?:pub\(crate\) )?mod (\w+);", re.MULTILINE)
USE = re.compile(r"\buse crate::(.*?);", re.DOTALL)


def expand(tree: str) -> Iterator[str]:
    """The paths of a use declaration: `a::{b, c::D}` is a::b and a::c::D."""
    tree = tree.strip()
    if "{" not in tree:
        yield tree.split(" as ")[0].strip()
        return
    head, body = tree.split("{", 1)
    depth, start = 0, 0
    body = body[:body.rindex("}")] + ","
    for i, char in enumerate(body):
        depth += (char == "{") - (char == "}")
        if char == "," and not depth:
            if body[start:i].strip():
                for path in expand(body[start:i]):
                    yield head.strip() + path
            start = i + 1


def imports(text: str) -> set[str]:
    """What a file imports from its own crate."""
    text = re.sub(r"//[^\n]*", "", text)
    # Also what is named in full where it is used.
    named = set(re.findall(r"\bcrate::(\w+(?:::\w+)*)", USE.sub("", text)))
    return named | {path for tree in USE.findall(text) for path in expand(tree)}


def module_of(path: str, files: set[str]) -> str | None:
    """The longest part of a path that is a file: ops::sync of ops::sync::flush."""
    parts = path.split("::")
    for n in range(len(parts), 0, -1):
        if "::".join(parts[:n]) in files:
            return "::".join(parts[:n])
    return None


def find_circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in turn, or nothing."""
    done: set[str] = set()

    def visit(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node):], node]
        if node in done:
            return []
        for target in sorted(graph[node]):
            if circle := visit(target, [*way, node]):
                return circle
        done.add(node)
        return []

    for node in sorted(graph):
        if circle := visit(node, []):
            return circle
    return []


def check(top: Path) -> list[str]:
    """What is wrong."""
    layers = MODULE.findall((top / "rust/dax.rs").read_text())
    root = top / "rust/dax"
    texts = {"::".join(path.relative_to(root).with_suffix("").parts): path.read_text()
             for path in root.rglob("*.rs")}
    files = set(texts)
    wrong = []
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, text in texts.items():
        for path in imports(text):
            if not path.startswith("dax::"):
                continue
            target = module_of(path.removeprefix("dax::"), files)
            if target is None or target == name:
                continue
            graph[name].add(target)
            own, other = name.split("::")[0], target.split("::")[0]
            if layers.index(other) > layers.index(own):
                wrong.append(f"rust/dax: {name} imports {target}, which lies above it")
    if circle := find_circle(graph):
        wrong.append(f"rust/dax: a circle of imports: {' -> '.join(circle)}")
    for file in (top / "rust/kernel_ext").rglob("*.rs"):
        wrong += [f"{file.relative_to(top)} imports {name}"
                  for name in sorted(imports(file.read_text())) if name.startswith("dax::")]
    return wrong


def main() -> int:
    wrong = check(TOP)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
