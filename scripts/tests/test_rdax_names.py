# SPDX-License-Identifier: GPL-2.0
"""Which namespace scripts/rdax means: names change, UUIDs don't; and memory that is read-only."""

import errno
import fcntl
import json
import os
import shutil
import unittest
from pathlib import Path
from unittest import mock

import rdax.cli
import test_rdax as base
import test_rdax_files as files

UUID0 = "0c3f0000-1111-2222-3333-444455556666"
UUID1 = "1d4e0000-1111-2222-3333-444455556666"
NAMESPACE1 = base.NAMESPACE1.replace("resource = 0x180000000", f'uuid = "{UUID1}"')


class Named(base.Divisions):
    """As in sysfs: namespaces in the directories of their regions; both have UUIDs."""

    def setUp(self) -> None:
        super().setUp()
        self.driver = files.Driver(self)
        patch = mock.patch.object(rdax.files, "write", self.driver.write)
        patch.start()
        self.addCleanup(patch.stop)
        for number in (0, 1):
            name = f"sys/bus/nd/devices/namespace{number}.0"
            home = self.top / f"sys/devices/ndbus0/region{number}"
            home.mkdir(parents=True)
            (self.top / name).rename(home / f"namespace{number}.0")
            (self.top / name).symlink_to(home / f"namespace{number}.0")
            self.files({f"sys/devices/ndbus0/region{number}/read_only": "0\n"})
            driver = home / f"namespace{number}.0/driver"
            driver.unlink()
            driver.symlink_to(self.machine.drivers / ("rdax", "nd_pmem")[number])
        self.files({"sys/bus/nd/devices/namespace0.0/uuid": f"{UUID0}\n",
                    "sys/bus/nd/devices/namespace1.0/uuid": f"{UUID1}\n",
                    "sys/bus/nd/devices/namespace1.1/uuid": "\n",
                    "sys/bus/nd/devices/namespace0.0/rdax_region/delete": "",
                    "sys/bus/nd/devices/namespace0.0/rdax_region/create": "\n"})
        for pid in ("41", "42"):
            shutil.rmtree(self.top / "proc" / pid)

    def link(self, name: str, target: str) -> None:
        if name.endswith("/driver") and "namespace" in name:
            target = str(self.machine.drivers / Path(target).name)
        super().link(name, target)

    def parameters(self) -> list[str]:
        return [call for call in self.driver.log if call.startswith("parameters/")]


class Uuids(Named):
    def test_every_command_takes_one(self) -> None:
        for argv, text in (
                (("bind", UUID1, "--whole"), "namespace1.0: bound: rdax0, 0; align 4K\n"),
                (("create", UUID0, "--size", "1G"),
                 "rdax0: 1G of namespace0.0, align 4K; 1G left\n"),
                (("unbind", UUID0, "-y"), "namespace0.0: unbound\n"),
                (("save", UUID0), "namespace0.0: saved: rdax2 2G, rdax10 1G\n"),
                (("restore", UUID1), "namespace1.0: restored: rdax3 96M, rdax1 12K\n")):
            for change in (str.lower, str.upper):
                self.doCleanups()
                self.setUp()
                self.config.write_text(NAMESPACE1 + base.DEVICES1)
                changed = [change(word) if word.count("-") == 4 else word for word in argv]
                status, out, err = self.run_tool(*changed)
                self.assertEqual(status, 0, err)
                self.assertEqual(out[:len(text)], text)

    def test_none_and_two(self) -> None:
        other = UUID0.replace("0c3f", "ffff")
        for argv in (("bind", other), ("unbind", other), ("create", other, "--size", "0"),
                     ("save", other)):
            self.assertEqual(self.run_tool(*argv),
                             (4, "", f"rdax: no namespace has the uuid {other}\n"))
        self.files({"sys/bus/nd/devices/namespace1.0/uuid": UUID0})
        status, _, err = self.run_tool("unbind", UUID0)
        self.assertEqual(status, 1)
        self.assertIn(f"namespace0.0 and namespace1.0 have the uuid {UUID0}", err)
        self.assertEqual(self.driver.log, [])

    def test_uuid_that_can_not_be_read(self) -> None:
        # It is not the same as none.
        self.config.write_text(base.NAMESPACE1 + base.DEVICES1)
        original = Path.read_text

        def fails(path: Path, *args: str, **kwargs: str) -> str:
            if path.name == "uuid":
                raise OSError(errno.EIO, "oh", str(path))
            return original(path, *args, **kwargs)

        with mock.patch.object(Path, "read_text", fails):
            status, _, err = self.run_tool("restore")
        self.assertEqual(status, 1)
        self.assertIn("/uuid: oh", err)
        self.assertEqual(self.driver.log, [])

    def test_of_a_claim(self) -> None:
        # ndctl list shows that of the pfn device.
        self.files({"sys/bus/nd/devices/namespace1.0/holder": "pfn1.0\n",
                    "sys/bus/nd/devices/namespace1.0/mode": "memory\n",
                    "sys/bus/nd/devices/pfn1.0/uuid": UUID1.replace("1d4e", "eeee")})
        status, _, err = self.run_tool("bind", UUID1.replace("1d4e", "eeee"))
        self.assertEqual(status, 1)
        self.assertIn("namespace1.0 is in fsdax mode, for pfn1.0.", err)

    def test_neither(self) -> None:
        for text in ("pmem1", UUID0[:-1], UUID0 + "0", UUID0.replace("c", "g"), "namespace0"):
            status, _, err = self.run_tool("bind", text)
            self.assertEqual(status, 2)
            self.assertIn(f"'{text}' is neither the name of a namespace (namespace0.0) nor a UUID",
                          err)

    def test_list(self) -> None:
        _, out, _ = self.run_tool("list", "--json")
        found = json.loads(out)
        self.assertEqual([one["uuid"] for one in found["regions"] + found["unbound"]],
                         [UUID0, UUID1])
        _, out, _ = self.run_tool("list")
        self.assertTrue(out.endswith("\n\nNAMESPACE     UUID (stays; the name may change)\n"
                                     f"namespace0.0  {UUID0}\nnamespace1.0  {UUID1}\n"), out)
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        for number in (0, 1):
            (self.machine.namespaces / f"namespace{number}.0/uuid").unlink()
        self.assertNotIn("UUID", self.run_tool("list")[1])
        self.assertIsNone(json.loads(self.run_tool("list", "--json")[1])["regions"][0]["uuid"])

    def test_renamed(self) -> None:
        # After its region was enabled again, another namespace has the name.
        self.config.write_text(NAMESPACE1 + base.DEVICES1)
        self.files({"sys/bus/nd/devices/namespace1.0/uuid": UUID0.replace("0c3f", "aaaa")})
        status, _, err = self.run_tool("restore")
        self.assertEqual((status, self.driver.log), (1, []))
        self.assertIn(f"no namespace has the uuid {UUID1}; namespace1.0 is another one, with aaaa",
                      err)

    def test_renamed_while_it_is_bound(self) -> None:
        original = self.driver.bind

        def bind(path: Path, name: str) -> None:
            original(path, name)
            if path.parent.name == "rdax":
                self.files({"sys/bus/nd/devices/namespace1.0/uuid": UUID0.replace("0c3f", "aaaa")})

        self.config.write_text(NAMESPACE1 + base.DEVICES1)
        with mock.patch.object(self.driver, "bind", bind):
            status, _, err = self.run_tool("restore")
        self.assertEqual(status, 1)
        self.assertIn("undone: it was given back to nd_pmem", err)

    def test_another_is_bound(self) -> None:
        """The name that was found for a UUID is another namespace's when it is bound."""
        other = UUID0.replace("0c3f", "aaaa")
        file = self.machine.namespaces / "namespace1.0/uuid"
        original = self.driver.bind

        def bind(path: Path, name: str) -> None:
            original(path, name)
            if path.parent.name == "rdax":
                file.write_text(f"{other}\n")

        said = ("rdax: refused: namespace1.0 is another namespace now: its uuid is "
                f"{other}, not {UUID1}")
        with mock.patch.object(self.driver, "bind", bind):
            self.assertEqual(self.run_tool("bind", UUID1),
                             (1, "", f"{said}; it was given back to nd_pmem\n"))
            self.assertEqual(self.driver.log[-2:], ["rdax/unbind namespace1.0",
                                                    "nd_pmem/bind namespace1.0"])
            # Of no driver before.
            file.write_text(f"{UUID1}\n")
            (self.machine.namespaces / "namespace1.0/driver").unlink()
            self.assertEqual(self.run_tool("bind", UUID1), (1, "", f"{said}\n"))
            self.assertEqual(self.driver.log[-1], "rdax/unbind namespace1.0")
            # By its name, it is what the user said.
            self.assertEqual(self.run_tool("bind", "namespace1.0")[0], 0)

    def test_another_has_the_name(self) -> None:
        """The same of what is bound already."""
        other = UUID0.replace("0c3f", "aaaa")
        for argv in (("bind", UUID0), ("unbind", UUID0, "-y"), ("create", UUID0, "-s", "4K")):
            file = self.machine.namespaces / "namespace0.0/uuid"
            file.write_text(f"{UUID0}\n")

            def named(_: object, file: Path = file) -> str:
                file.write_text(f"{other}\n")
                return "namespace0.0"

            with mock.patch.object(self.machine, "named", named):
                status, out, err = self.run_tool(*argv)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(f"namespace0.0 is another namespace now: its uuid is {other}, not", err)
            self.assertEqual(self.driver.log, [])

    def test_forget(self) -> None:
        self.config.write_text(NAMESPACE1 + base.DEVICES1)
        gone = NAMESPACE1.replace("1.0", "3.0").replace(UUID1, UUID1.replace("1d4e", "bbbb"))
        text = gone + "device = []\n"
        self.config.write_text(text)
        # The name is that of another namespace now.
        self.files({"sys/bus/nd/devices/namespace3.0/uuid": UUID1.replace("1d4e", "cccc"),
                    "sys/bus/nd/devices/namespace3.0/size": "4096"})
        self.assertEqual(self.run_tool("save", "--forget", "namespace3.0")[0], 0)
        self.assertIn("bbbb", self.config.read_text())
        self.assertEqual(self.run_tool("save", "--forget", UUID1.replace("1d4e", "bbbb"))[0], 0)
        self.assertNotIn("bbbb", self.config.read_text())


class Lists(Named):
    """The parameters force and divided, while something is bound."""

    def bind(self, before: str, *argv: str) -> list[str]:
        self.files({"sys/module/rdax/parameters/force": before})
        self.driver.log.clear()
        status, _, err = self.run_tool("bind", "namespace1.0", "--force", *argv)
        self.assertEqual(status, 0, err)
        self.assertEqual((self.machine.parameters / "force").read_text().strip(), before)
        return [call.removeprefix("parameters/force ") for call in self.parameters()]

    def test_uuid_where_there_is_one(self) -> None:
        self.assertEqual(self.bind(""), [UUID1, ""])
        self.setUp()
        self.assertEqual(self.bind("namespace5.0"), [f"namespace5.0,{UUID1}", "namespace5.0"])
        self.setUp()
        # It is there already.
        self.assertEqual(self.bind(f"namespace5.0, {UUID1.upper()}"), [])
        self.setUp()
        (self.machine.namespaces / "namespace1.0/uuid").unlink()
        self.assertEqual(self.bind(""), ["namespace1.0", ""])

    def test_restore(self) -> None:
        self.config.write_text(NAMESPACE1 + "force = true\n" + base.DEVICES1)
        status, _, err = self.run_tool("restore")
        self.assertEqual(status, 0, err)
        self.assertIn(f"parameters/divided {UUID1}", self.driver.log)
        self.assertIn(f"parameters/force {UUID1}", self.driver.log)

    def older(self, path: Path, text: str) -> None:
        """Up to 255 characters, and names only."""
        if path.parent.name == "parameters" and path.name in ("force", "divided"):
            if len(text) > 255:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if text.count("-"):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        files.Driver.write(self.driver, path, text)

    def test_older_module(self) -> None:
        with mock.patch.object(rdax.files, "write", self.older):
            self.assertEqual(self.bind("namespace5.0"),
                             ["namespace5.0,namespace1.0", "namespace5.0"])

    def test_many(self) -> None:
        many = ",".join(f"namespace{number}.0" for number in range(2, 20))
        self.assertTrue(len(many) <= 255 < len(f"{many},namespace1.0"))
        with mock.patch.object(rdax.files, "write", self.older):
            self.assertEqual(self.bind(many), ["namespace1.0", many])
        self.setUp()
        self.assertEqual(self.bind(many), [f"{many},{UUID1}", many])
        self.setUp()
        # With one more, it would not fit into a page.
        many = ",".join([UUID0] * 110)
        self.assertEqual(self.bind(many), [UUID1, many])

    def test_more_than_can_be_read(self) -> None:
        self.files({"sys/module/rdax/parameters/force": "namespace0.0," * 316})
        status, _, err = self.run_tool("bind", "namespace1.0", "--force")
        self.assertEqual((status, self.parameters()), (1, []))
        self.assertIn("the parameter force is longer than a file in sysfs can show", err)
        self.assertIn("it was given back to nd_pmem", err)

    def test_a_part_of_a_write(self) -> None:
        with mock.patch.object(os, "write", lambda handle, data: 7), \
                self.assertRaisesRegex(OSError, "only a part of it"):
            base.rdax_write(self.top / "sys/module/rdax/parameters/force", "x" * 20)


class ReadOnly(Named):
    WHY = "the memory is read-only: region1/read_only"

    def setUp(self) -> None:
        super().setUp()
        self.files({"sys/devices/ndbus0/region1/read_only": "1\n"})

    def bound(self) -> None:
        self.region("namespace1.0", 512 << 20, 2 << 20)
        self.device("rdax4", "namespace1.0", "4096")
        self.files({"sys/class/dax/rdax4/size": "8192", "dev/rdax4": "data",
                    "sys/class/dax/rdax4/dev": "0:0"})
        self.link("sys/bus/nd/devices/namespace1.0/driver", "rdax")

    def test_list(self) -> None:
        self.assertRegex(self.run_tool("list")[1], r"namespace1\.0 .* yes, read-only\n")
        self.assertNotIn("the memory is", self.run_tool("list")[1])
        other, = json.loads(self.run_tool("list", "--json")[1])["unbound"]
        self.assertIs(other["read_only"], True)
        self.bound()
        self.assertIn("\nnamespace1.0: the memory is read-only\n", self.run_tool("list")[1])
        found = json.loads(self.run_tool("list", "--json")[1])["regions"]
        self.assertEqual([region["read_only"] for region in found], [False, True])

    def test_bind_and_restore(self) -> None:
        status, out, err = self.run_tool("bind", "namespace1.0")
        self.assertEqual((status, out, err),
                         (0, f"namespace1.0: bound: rdax0, 0; align 4K; {self.WHY}\n", ""))
        self.doCleanups()
        self.setUp()
        self.config.write_text(NAMESPACE1 + base.DEVICES1)
        self.assertEqual(self.run_tool("restore")[:2], (
            0, f"namespace1.0: restored: rdax3 96M, rdax1 12K; {self.WHY}\n"))

    def test_punch_is_refused_before_it_asks(self) -> None:
        self.bound()
        with mock.patch.object(fcntl, "ioctl", side_effect=AssertionError):
            self.assertEqual(self.run_tool("punch", "rdax4", "--offset", "0", "--length", "4K"),
                             (1, "", f"rdax: refused: {self.WHY}\n"))

    def test_answer_of_the_driver(self) -> None:
        # It has just become so.
        self.bound()

        def refuses(*_: object) -> None:
            self.files({"sys/devices/ndbus0/region1/read_only": "1\n"})
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        punch = ("punch", "rdax4", "--offset", "0", "--length", "4K", "-y")
        for patch, argv, text in (
                (mock.patch.object(fcntl, "ioctl", refuses), punch, f"rdax4: {self.WHY}"),
                (mock.patch.object(rdax.files, "opened", refuses), punch,
                 f"can't be opened: {self.WHY}"),
                (mock.patch.object(os, "fsync", refuses), ("sync", "rdax4"), self.WHY),
                (mock.patch.object(rdax.files, "write", refuses), ("resize", "rdax4", "12K"),
                 f"size 12288 refused: {self.WHY}")):
            self.files({"sys/devices/ndbus0/region1/read_only": "0\n"})
            with patch:
                status, _, err = self.run_tool(*argv)
            self.assertEqual(status, 1)
            self.assertTrue(err.endswith(f"{text}\n"), err)
            self.assertNotIn("a part of it", err)

    def test_sync_and_resize_work(self) -> None:
        self.bound()
        self.assertEqual(self.run_tool("sync", "rdax4"),
                         (0, "rdax4: durable, 0 entries written back\n", ""))
        self.assertEqual(self.run_tool("resize", "rdax4", "4K", "-y")[0], 0)


if __name__ == "__main__":
    unittest.main()
