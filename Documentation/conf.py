# SPDX-License-Identifier: GPL-2.0
"""Sphinx's configuration: make htmldocs renders, make check looks for warnings."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

project = "rdax"
root_doc = "index"
exclude_patterns = ["output"]
highlight_language = "none"
html_theme = "alabaster"
html_show_copyright = False
html_theme_options = {"page_width": "1040px", "sidebar_width": "240px", "show_powered_by": False}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}

KERNEL = Path(os.environ.get("RDAX_KERNEL_SOURCE", "/kernel/linux"))
logger = logging.getLogger(__name__)


class Abi(SphinxDirective):
    """``.. abi::``: Documentation/ABI, as the kernel's own get_abi.py turns it into text."""

    def run(self) -> list[nodes.Node]:
        tools = [tool for tool in (KERNEL / "tools/docs/get_abi.py", KERNEL / "scripts/get_abi.py")
                 if tool.exists()]
        if not tools:
            raise self.error(f"there is no get_abi.py in {KERNEL}")
        folder = Path(self.env.srcdir) / "ABI"
        text = subprocess.run([sys.executable, "-B", tools[0], "--dir", folder, "rest"],
                              stdout=subprocess.PIPE, check=True, text=True).stdout
        parent = nodes.section()
        parent.document = self.state.document
        self.state.nested_parse(StringList(text.splitlines(), source="ABI"), 0, parent,
                                match_titles=True)
        return parent.children


def resolve_links(app: Any, doctree: nodes.document, docname: str) -> None:
    """Links to files: a document's leads to its page, any other to the file in the checkout.

    The documents are read as plain text too, so they link to files and not to Sphinx's labels.
    """
    here = (Path(app.srcdir) / docname).parent
    page = Path(app.outdir) / app.builder.get_target_uri(docname)
    for link in doctree.findall(nodes.reference):
        uri = link.get("refuri", "")
        path, hash_, fragment = uri.partition("#")
        if link.get("internal") or not path or "://" in path or path.startswith("mailto:"):
            continue
        target = (here / path).resolve()
        if not target.exists():
            logger.warning("dead link to %s", uri, location=link)
        elif target.suffix == ".rst" and target.is_relative_to(app.srcdir):
            name = str(target.relative_to(app.srcdir).with_suffix(""))
            link["refuri"] = app.builder.get_relative_uri(docname, name) + hash_ + fragment
        else:
            link["refuri"] = os.path.relpath(target, page.parent)


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("abi", Abi)
    app.connect("doctree-resolved", resolve_links)
    return {"parallel_read_safe": True}
