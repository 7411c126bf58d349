# SPDX-License-Identifier: GPL-2.0
"""The check of the documents: what it must find."""

import shutil
import tempfile
import unittest
from pathlib import Path

import docs

TABLE = """\
=====  =====
left   right
=====  =====
too wide for  its column
=====  =====
"""
PAGE = "====\nPage\n====\n\n"
ABI = "What:\t\t/sys/rdax/a\nDate:\t\tMay 2026\nContact:\tmaintainers\nDescription:\n\t\tA file.\n"
DOT = 'digraph { a [label="one"]; a -> b }\n'


class DocsTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def write(self, name: str, text: str) -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def rendered(self, text: str) -> str:
        if not shutil.which(docs.SPHINX):
            self.skipTest("no Sphinx here")
        shutil.copy(docs.TOP / "Documentation/conf.py", self.top)
        self.write("index.rst", PAGE + text)
        return "\n".join(docs.render(self.top, self.top / "output"))

    def test_render(self) -> None:
        self.assertEqual(self.rendered("Right.\n"), "")
        self.assertTrue((self.top / "output/index.html").exists())
        self.assertIn("Malformed table", self.rendered(TABLE))
        self.assertIn("dead link to gone.rst", self.rendered("A `link <gone.rst>`_.\n"))
        self.assertIn("undefined label", self.rendered(":ref:`nowhere`\n"))
        self.write("alone.rst", PAGE)
        self.assertIn("isn't included in any toctree", self.rendered("Right.\n"))

    def test_link_to_a_document(self) -> None:
        self.write("folder/other.rst", PAGE)
        self.write("figures.md", "")
        links = "`One <folder/other.rst>`_, `two <figures.md>`_.\n\n.. toctree::\n\n   folder/other\n"
        self.assertEqual(self.rendered(links), "")
        page = (self.top / "output/index.html").read_text()
        self.assertIn('href="folder/other.html"', page)
        self.assertIn('href="../figures.md"', page)

    def test_dead_links(self) -> None:
        self.write("there.rst", "")
        page = self.write("README.md", "[a](there.rst#part) [b](gone.rst) [c](https://x.example/y)")
        self.assertEqual(list(docs.dead_links(page)), [f"{page}: dead link to gone.rst"])

    def test_unknown_documents(self) -> None:
        self.write("Documentation/there.rst", "")
        code = self.write("rust/a.rs", "// there.rst\n// gone.rst, \"Why\"\n")
        self.assertEqual(list(docs.unknown_documents(self.top, [code])),
                         [f"{code}:2: there is no document gone.rst"])

    def test_wide_lines(self) -> None:
        page = self.write("a.rst", "\u2192" * 80 + "\n" + "x" * 81 + "\n")
        self.assertEqual(list(docs.wide_lines(page)), [f"{page}:2: 81 columns, more than 80"])

    def test_manual_page(self) -> None:
        if not shutil.which("man"):
            self.skipTest("no man here")
        right = '.TH A 8\n.SH NAME\na \\- an error, a warning\n'
        self.assertEqual(docs.manual_page(self.write("a.8", right)), [])
        self.assertTrue(docs.manual_page(self.write("b.8", right + ".nonsense\n")))

    def test_abi_fields(self) -> None:
        page = self.write("a", ABI + "\n" + ABI.replace("Date:\t\tMay 2026\n", ""))
        self.assertEqual(list(docs.abi_fields(page)), [f"{page}: /sys/rdax/a: no Date:"])

    def test_abi(self) -> None:
        if not docs.KERNEL.exists():
            self.skipTest("no kernel source here")
        self.write("ABI/testing/a", ABI)
        self.assertEqual(docs.abi(self.top / "ABI"), [])
        self.write("ABI/testing/b", ABI)
        self.assertIn("is defined 2 times", "\n".join(docs.abi(self.top / "ABI")))

    def test_pictures(self) -> None:
        if not shutil.which("dot"):
            self.skipTest("no graphviz here")
        source = self.write("a.dot", DOT)
        self.assertEqual(len(list(docs.stale_pictures(self.top))), 1)
        docs.pictures(self.top)
        self.assertEqual(list(docs.stale_pictures(self.top)), [])
        source.write_text(DOT.replace("a -> b", "b -> a"))
        self.assertEqual(len(list(docs.stale_pictures(self.top))), 1)

    def test_places_in_a_picture_do_not_matter(self) -> None:
        svg = '<svg xmlns="http://www.w3.org/2000/svg"><text x="{}">one</text></svg>'
        self.assertEqual(docs.content(svg.format(1)), docs.content(svg.format(2)))


