# SPDX-License-Identifier: GPL-2.0
"""The check of imports finds what it is to find."""

import tempfile
import unittest
from pathlib import Path

import layers


class Layers(unittest.TestCase):
    def tree(self, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as directory:
            top = Path(directory)
            for name, text in files.items():
                path = top / "rust" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return layers.check(top)

    DAX = "mod counter;\nmod ops;\npub(crate) mod bus;\n"

    def test_expand(self) -> None:
        self.assertEqual(list(layers.expand("dax::{a::B, c::{self, D, E as F}, g}")),
                         ["dax::a::B", "dax::c::self", "dax::c::D", "dax::c::E", "dax::g"])

    def test_right(self) -> None:
        self.assertEqual(self.tree({
            "dax.rs": self.DAX,
            "dax/counter.rs": "use kernel::prelude::*;",
            "dax/ops/sync.rs": "use crate::dax::counter::Counter;",
            "dax/ops/punch.rs": "use crate::dax::{\n    ops::sync, //\n    counter::Counter,\n};",
            "dax/bus/nd.rs": "use crate::dax::ops::{punch, sync::flush};",
            "kernel_ext/mm.rs": "use crate::kernel_ext::bindings;",
        }), [])

    def test_upwards(self) -> None:
        wrong = self.tree({
            "dax.rs": self.DAX,
            "dax/counter.rs": "fn f() { crate::dax::ops::sync::flush() }",
            "dax/ops/sync.rs": "",
        })
        self.assertEqual(wrong, ["rust/dax: counter imports ops::sync, which lies above it"])

    def test_circle(self) -> None:
        wrong = self.tree({
            "dax.rs": self.DAX,
            "dax/ops/sync.rs": "use crate::dax::ops::punch::cut;",
            "dax/ops/punch.rs": "use crate::dax::ops::{io, sync};",
            "dax/ops/io.rs": "",
        })
        self.assertEqual(wrong, [("rust/dax: a circle of imports: "
                                 "ops::punch -> ops::sync -> ops::punch")])

    def test_comment(self) -> None:
        self.assertEqual(self.tree({
            "dax.rs": self.DAX,
            "dax/counter.rs": "//! See [`crate::dax::ops::sync`].\n",
            "dax/ops/sync.rs": "",
        }), [])

    def test_kernel_ext(self) -> None:
        self.assertEqual(self.tree({
            "dax.rs": self.DAX,
            "kernel_ext/mm.rs": "use crate::{dax::counter::Counter, kernel_ext::bindings};",
        }), ["rust/kernel_ext/mm.rs imports dax::counter::Counter"])


if __name__ == "__main__":
    unittest.main()
