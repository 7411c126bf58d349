# SPDX-License-Identifier: GPL-2.0
"""What rdax has in common with daxctl: JSON, sizes, defaults, hints; and what it asks when."""

import contextlib
import io
import json
import os
import shutil
import sys
from unittest import main, mock

import rdax.cli
import test_rdax as base
import test_rdax_files as files

GIB = 1 << 30


class Manners(files.Driven):
    """As in files.Forked, but in this process."""

    def punched(self, *_: object) -> int:
        return 0

    def done(self, *argv: str) -> str:
        status, out, err = self.run_tool(*argv)
        self.assertEqual(status, 0, err)
        if not {"-y", "--yes"} & set(argv):
            self.assertEqual(err, "", argv)
        return out

    def refused(self, *argv: str, status: int = 1) -> str:
        before = [path.read_text() for path in sorted(self.top.rglob("size"))]
        got, out, err = self.run_tool(*argv)
        self.assertEqual((got, out), (status, ""), err)
        self.assertEqual([path.read_text() for path in sorted(self.top.rglob("size"))], before)
        return err


class Json(Manners):
    def result(self, *argv: str) -> object:
        return json.loads(self.done(*argv, "--json"))

    def test_bind(self) -> None:
        self.assertEqual(self.result("bind", "namespace0.0"), {
            "namespace": "namespace0.0", "uuid": None, "was_bound": True, "size": 4 * GIB,
            "align": 4096, "available_size": GIB, "read_only": False,
            "devices": [{"name": "rdax2", "size": 2 * GIB, "align": 4096},
                        {"name": "rdax10", "size": GIB, "align": 4096}]})

    def test_unbind(self) -> None:
        self.assertEqual(self.result("unbind", "namespace0.0", "-y", "--to", "nd_pmem"),
                         {"namespace": "namespace0.0", "driver": "nd_pmem"})

    def test_create_resize_destroy(self) -> None:
        self.assertEqual(self.result("create", "namespace0.0", "-s", "1G", "-a", "4K"), {
            "name": "rdax0", "namespace": "namespace0.0", "size": GIB, "align": 4096,
            "available_size": GIB})
        self.assertEqual(self.result("resize", "rdax2", "3G"), {
            "name": "rdax2", "namespace": "namespace0.0", "size": 3 * GIB, "old_size": 2 * GIB,
            "available_size": GIB})
        self.assertEqual(self.result("destroy", "rdax10", "--yes"), {
            "name": "rdax10", "namespace": "namespace0.0", "available_size": GIB})

    def test_punch_and_sync(self) -> None:
        argv = ("punch", "rdax2", "--offset", "1G", "--length", "4K", "-y")
        self.assertEqual(self.result(*argv), {"name": "rdax2", "offset": GIB, "length": 4096})
        self.assertEqual(self.result("sync", "rdax2"), {"name": "rdax2", "writebacks": 0})

    def test_save(self) -> None:
        devices = [{"name": "rdax2", "size": 2 * GIB, "align": 4096},
                   {"name": "rdax10", "size": GIB, "align": 4096}]
        for state, backup in (("written", None), ("as it was", None)):
            self.assertEqual(self.result("save"), {
                "file": str(self.config), "state": state, "backup": backup,
                "regions": [{"namespace": "namespace0.0", "uuid": None, "devices": devices}],
                "dax": []})

    def test_restore(self) -> None:
        self.config.write_text(base.NAMESPACE1 + base.DEVICES1)
        devices = [{"name": "rdax3", "size": 96 << 20, "align": 2 << 20},
                   {"name": "rdax1", "size": 12 << 10, "align": 4096}]
        for option, state in (("--dry-run", "would be bound"), ("-u", "restored"),
                              ("--if-configured", "as configured")):
            found = self.result("restore", option)
            assert isinstance(found, dict)
            if option == "-u":
                self.assertEqual(found["regions"][0]["devices"][0]["size"],
                                 "96.00 MiB (100.66 MB)")
            else:
                self.assertEqual(sorted(found["regions"][0]["devices"], key=str),
                                 sorted(devices, key=str))
            self.assertEqual(found["regions"][0]["state"], state)

    def test_restore_of_a_part(self) -> None:
        # What was restored is printed; the status says that it is not all.
        self.config.write_text(base.NAMESPACE1 + base.DEVICES1
                               + base.SAVED0.replace('size = "4G"', 'size = "8G"'))
        status, out, err = self.run_tool("restore", "--json")
        self.assertEqual(status, 1)
        self.assertEqual([region["namespace"] for region in json.loads(out)["regions"]],
                         ["namespace1.0"])
        self.assertIn("namespace0.0", err)

    def test_map(self) -> None:
        found = self.result("map", "rdax2", "--offset", "4M", "--length", "24K")
        self.assertEqual(found, {
            "name": "rdax2", "namespace": "namespace0.0", "align": 4096, "offset": 4 << 20,
            "length": 24 << 10,
            "parts": [{"offset": 4 << 20, "length": 12 << 10, "state": "hole"},
                      {"offset": (4 << 20) + (12 << 10), "length": 4096, "state": "4K dirty"},
                      {"offset": (4 << 20) + (16 << 10), "length": 8192, "state": "4K"}],
            "totals": {"hole": 12 << 10, "4K dirty": 4096, "4K": 8192},
            "extents": [{"offset": 0, "length": 2 * GIB, "region_offset": 2 * GIB}]})

    def test_every_command_has_it(self) -> None:
        for name, command in base.command_parsers().items():
            self.assertIn("--json", command._option_string_actions, name)
            self.assertIn("-u", command._option_string_actions, name)


class Sizes(Manners):
    def test_human(self) -> None:
        # As daxctl -u shows them.
        for number, text in ((0, "0"), (5000 * 1024 - 1, "5119999"),
                             (5000 * 1024, "4.88 MiB (5.12 MB)"),
                             (535822336, "511.00 MiB (535.82 MB)"),
                             (2 * GIB, "2.00 GiB (2.15 GB)"),
                             (32828817408, "30.57 GiB (32.83 GB)")):
            self.assertEqual(rdax.report.human_text(number), text)

    def test_in_each_form(self) -> None:
        self.assertIn("rdax2         2.00 GiB (2.15 GB)     4K ", self.done("list", "-u"))
        found = json.loads(self.done("list", "--json", "--human"))
        self.assertEqual(found["regions"][0]["size"], "4.00 GiB (4.29 GB)")
        self.assertEqual(found["regions"][0]["align"], 4096)
        self.assertIn("3.00 GiB (3.22 GB), was 2.00 GiB", self.done("resize", "rdax2", "3G", "-u"))

    def test_the_configuration_stays_exact(self) -> None:
        self.done("save", "-u")
        self.assertIn('size = "4G"', self.config.read_text())

    def test_more(self) -> None:
        self.assertEqual(self.done("resize", "rdax2", "+512M"),
                         "rdax2: 2560M, was 2G; 1G of namespace0.0 left\n")

    def test_create_all(self) -> None:
        # Free: from 512M to 1G, and 1G from 4K before 2G on.
        self.files({"sys/class/dax/rdax2/extents": f"{3 * GIB - 4096} {GIB + 4096}\n"
                                                   f"0 {GIB // 2}\n",
                    "sys/class/dax/rdax2/size": str(3 * GIB // 2 + 4096),
                    "sys/class/dax/rdax10/extents": f"{GIB} {GIB - 4096}\n",
                    "sys/class/dax/rdax10/size": str(GIB - 4096),
                    "sys/bus/nd/devices/namespace0.0/rdax_region/available_size":
                        str(3 * GIB // 2)})
        for options, size in (((), 3 * GIB // 2), (("-a", "2M"), 3 * GIB // 2 - (2 << 20)),
                              (("-a", "1G"), 0)):
            device = self.top / "sys/class/dax/rdax0"
            if device.exists():
                shutil.rmtree(device)
            if size:
                self.done("create", "namespace0.0", *options)
                self.assertEqual((device / "size").read_text(), f"{size}")
            else:
                self.assertIn("namespace0.0 has nothing left for a device",
                              self.refused("create", "namespace0.0", *options))
                self.assertFalse(device.exists())


class Questions(Manners):
    """What would be refused anyway is refused before anything is asked."""

    def test_not_a_multiple(self) -> None:
        self.files({"sys/class/dax/rdax2/align": str(2 << 20)})
        err = self.refused("resize", "rdax2", "1028K")
        self.assertEqual(err, "rdax: refused: 1028K is not a multiple of the alignment of rdax2, "
                              "2M\n")

    def test_too_large(self) -> None:
        err = self.refused("resize", "rdax2", "+2G")
        self.assertIn("namespace0.0 has 1G left, and 2G more are wanted", err)
        self.assertIn("has 1G left", self.refused("create", "namespace0.0", "-s", "2G"))

    def test_in_use(self) -> None:
        self.process(41, "fio", [str(self.top / "dev/rdax2")])
        for argv in (("destroy", "rdax2"), ("unbind", "namespace0.0")):
            err = self.refused(*argv, status=5)
            self.assertIn("rdax2 is in use by 41 fio", err)
            self.assertNotIn("--yes", err)

    def test_punch(self) -> None:
        err = self.refused("punch", "rdax2", "--offset", "2G", "--length", "4K")
        self.assertEqual(err, "rdax: refused: rdax2 ends at 2G\n")

    def test_status(self) -> None:
        for argv in (("destroy", "rdax2"), ("unbind", "namespace0.0"), ("resize", "rdax2", "1G"),
                     ("punch", "rdax2", "--offset", "0", "--length", "4K")):
            self.assertIn("--yes is needed", self.refused(*argv, status=6))

    def test_answered_no(self) -> None:
        stdin = io.StringIO("n\n")
        stdin.isatty = lambda: True  # type: ignore[method-assign]
        with mock.patch.object(sys, "stdin", stdin), contextlib.redirect_stderr(io.StringIO()), \
                self.assertRaises(rdax.say.Failure) as raised:
            rdax.say.agree("x", False)
        self.assertEqual(raised.exception.status, 6)


class Hints(Manners):
    def test_misspelt(self) -> None:
        for word, meant in (("lst", "list"), ("crate", "create"), ("create-device", "create"),
                            ("destroy-device", "destroy"), ("delete", "destroy"), ("ls", "list"),
                            ("unbnd", "unbind"), ("reconfigure-device", "resize")):
            err = self.refused(word, status=2)
            self.assertIn(f"rdax: error: there is no command '{word}': did you mean '{meant}'?\n",
                          err)
        self.assertIn("there is no command 'xyzzy': there are list, bind, ",
                      self.refused("xyzzy", status=2))

    def test_examples(self) -> None:
        for name, text in rdax.cli.EXAMPLES.items():
            out = self.done(name, "--help")
            for line in text.split("\n"):
                self.assertIn(f"  {line}\n", out)
                words = line.partition("#")[0].partition("|")[0].split()
                rdax.cli.parser().parse_args(words[1:])
            self.assertTrue(all(len(line) <= 80 for line in out.split("\n")), name)


class Widths(Manners):
    def lines(self, width: int | None) -> list[str]:
        return rdax.list.list_text(rdax.list.inventory(self.machine), width=width)

    def many(self) -> None:
        for pid in range(100, 130):
            self.process(pid, f"worker{pid}", [str(self.top / "dev/rdax2")])
        self.files({"proc/self/mountinfo": "".join(
            f"30 1 259:1 / /srv/number{number} rw - ext4 /dev/pmem1p1 rw\n"
            for number in range(5))})

    def test_many_holders(self) -> None:
        self.many()
        lines = self.lines(80)
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        for pid in range(100, 130):
            self.assertEqual(sum(f"{pid} worker{pid}" in line for line in lines), 1)
        row = lines.index("namespace0.0  rdax2     2G     4K     1   7   3   1")
        self.assertEqual(lines[row + 1], "    100 worker100, 101 worker101, 102 worker102, "
                                         "103 worker103, 104 worker104,")
        self.assertIn("    pmem1p1 is mounted at /srv/number4", lines)

    def test_large_numbers(self) -> None:
        self.many()
        self.files({f"sys/class/dax/rdax2/faults/{level}_mapped": str(10 ** 8)
                    for level in ("pte", "pmd", "pud")})
        lines = self.lines(80)
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        self.assertIn("    100 worker100, 101 worker101, 102 worker102, 103 worker103, "
                      "104 worker104,", lines)

    def test_a_line_for_a_program(self) -> None:
        self.many()
        lines = self.done("list").split("\n")
        line, = (line for line in lines if "rdax2 " in line)
        self.assertIn(", ".join(f"{pid} worker{pid}" for pid in range(100, 130)), line)

    def terminal(self, environment: dict[str, str], *argv: str) -> str:
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        with mock.patch.object(sys, "stdout", stream), \
                mock.patch.dict(os.environ, {"TERM": "xterm", "COLUMNS": "80"} | environment):
            self.assertEqual(rdax.cli.main(argv, self.machine), 0)
        return stream.getvalue()

    def test_colours(self) -> None:
        argv = ("map", "rdax2", "--length", "64K")
        self.assertIn("\x1b[", self.terminal({}, *argv))
        self.assertNotIn("\x1b[", self.terminal({"NO_COLOR": "1"}, *argv))
        self.assertNotIn("\x1b[", self.terminal({"TERM": "dumb"}, *argv))
        self.assertNotIn("\x1b[", self.done(*argv))

    def test_at_a_terminal(self) -> None:
        self.many()
        lines = self.terminal({}, "list").splitlines()
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)


if __name__ == "__main__":
    main()
