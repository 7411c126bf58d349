# SPDX-License-Identifier: GPL-2.0
"""scripts/rdax and the dax bus: which driver has a device, and giving it to another."""

import errno
import json
import os
import subprocess
import unittest
from pathlib import Path
from unittest import mock

import rdax.cli
import test_rdax as base

CXL = "sys/devices/platform/ACPI0017:00/root0/decoder0.0/region3/dax_region3/dax3.0"
NVDIMM = "sys/devices/platform/ACPI0012:00/ndbus0/region1/dax1.0/dax1.0"
HMEM = "sys/devices/platform/hmem_platform.0/hmem.4/dax4.0"
DRIVERS = ("rdax", "device_dax", "kmem")


class Bus(base.Fake):
    """Three devices without a driver: of CXL memory, of an NVDIMM, and of soft-reserved memory."""

    def setUp(self) -> None:
        super().setUp()
        for place in (CXL, NVDIMM, HMEM):
            name = Path(place).name
            self.files({f"{place}/size": str(1 << 30), f"{place}/align": str(2 << 20),
                        f"{place}/numa_node": "-1", f"{place}/target_node": "1",
                        f"{place}/dev": "0:0", f"dev/{name}": ""})
            (self.top / "sys/bus/dax/devices").mkdir(parents=True, exist_ok=True)
            self.link(f"sys/bus/dax/devices/{name}", str(self.top / place))
        self.files({f"{Path(NVDIMM).parent}/namespace": "namespace1.0\n"})
        for driver in DRIVERS:
            self.files({f"sys/bus/dax/drivers/{driver}/{file}": ""
                        for file in ("new_id", "remove_id", "bind", "unbind")})
        # Of each driver: which error its probe ends with.
        self.errors: dict[str, int] = {}
        self.log: list[str] = []
        patch = mock.patch.object(rdax.files, "write", self.write)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, path: Path, text: str) -> None:
        """As the bus does."""
        self.log.append(f"{path.parent.name}/{path.name} {text}")
        if path.name in ("pages", "memory"):
            path.write_text(text)
            return
        device, driver = self.machine.dax_devices / text / "driver", path.parent.name
        if path.name == "unbind":
            device.unlink()
        elif path.name in ("new_id", "bind") and not os.path.lexists(device):
            if driver not in self.errors:
                device.symlink_to(path.parent)
                pages = self.machine.parameters / "pages"
                if driver == "rdax" and pages.exists():
                    memory = "pages" if text in pages.read_text().split(",") else "frames"
                    self.files({f"sys/bus/dax/devices/{text}/rdax/memory": f"{memory}\n"})
            elif path.name == "bind":
                raise OSError(self.errors[driver], os.strerror(self.errors[driver]))

    def bound_to(self, name: str, driver: str) -> None:
        (self.machine.dax_devices / name / "driver").symlink_to(self.machine.dax_drivers / driver)

    def online(self, *states: str) -> None:
        """kmem has dax3.0, in memory blocks of 128 MiB in these states."""
        self.bound_to("dax3.0", "kmem")
        self.files({"sys/devices/system/memory/block_size_bytes": "8000000\n",
                    f"{CXL}/mapping0/start": hex(0x10000000),
                    f"{CXL}/mapping0/end": hex(0x10000000 + len(states) * 0x8000000 - 1)})
        self.files({f"sys/devices/system/memory/memory{2 + number}/state": f"{state}\n"
                    for number, state in enumerate(states)})

    def driver(self, name: str = "dax3.0") -> str:
        return rdax.files.link_name(self.machine.dax_devices / name / "driver")


class Binds(Bus):
    def test_from_none(self) -> None:
        self.assertEqual(self.run_tool("bind", "/dev/dax3.0"), (
            0, "dax3.0: bound: 1G of dax_region3 (cxl); align 2M\n", ""))
        self.assertEqual(self.log, ["rdax/new_id dax3.0", "rdax/remove_id dax3.0"])
        self.assertEqual(self.run_tool("bind", "dax3.0"), (
            0, "dax3.0: bound already: 1G of dax_region3 (cxl); align 2M\n", ""))

    def test_json(self) -> None:
        _, out, _ = self.run_tool("bind", "dax1.0", "--json")
        self.assertEqual(json.loads(out), {
            "device": "dax1.0", "kind": "nvdimm", "region": "namespace1.0", "was_bound": False,
            "size": 1 << 30, "align": 2 << 20, "numa_node": -1, "memory": "frames"})

    def test_memory(self) -> None:
        self.assertEqual(self.run_tool("bind", "dax3.0", "--memory", "pages"), (
            1, "", "rdax: the loaded module can't make pages, it is older than this program\n"))
        self.assertEqual(self.log, [])
        self.files({"sys/module/rdax/parameters/pages": "dax1.0\n"})
        self.assertEqual(self.run_tool("bind", "dax3.0", "--memory", "pages"), (
            0, "dax3.0: bound: 1G of dax_region3 (cxl); align 2M; with pages\n", ""))
        self.assertEqual(self.log, ["parameters/pages dax1.0,dax3.0", "rdax/new_id dax3.0",
                                    "rdax/remove_id dax3.0"])
        _, out, _ = self.run_tool("list", "--json")
        self.assertEqual([dax["memory"] for dax in json.loads(out)["dax"]], [None, "pages", None])
        # Whether they are tracked can change, and is chosen after the bind.
        self.log.clear()
        self.assertEqual(self.run_tool("bind", "dax3.0", "--memory", "tracked"), (
            0, "dax3.0: bound already: 1G of dax_region3 (cxl); align 2M; with tracked pages\n", ""))
        self.assertEqual(self.run_tool("unbind", "dax3.0")[0], 0)
        self.assertEqual(self.run_tool("bind", "dax3.0", "--memory", "tracked")[0], 0)
        self.assertEqual(self.log, [
            "rdax/memory tracked", "rdax/unbind dax3.0", "rdax/remove_id dax3.0",
            "parameters/pages dax1.0,dax3.0", "rdax/new_id dax3.0", "rdax/remove_id dax3.0",
            "rdax/memory tracked"])
        self.assertEqual(self.run_tool("bind", "dax3.0", "--memory", "pages")[0], 0)
        # What is bound keeps what it has.
        status, _, err = self.run_tool("bind", "dax3.0", "--memory", "frames")
        self.assertEqual((status, err), (5, (
            "rdax: refused: dax3.0 is bound with pages ('rdax unbind dax3.0' first)\n")))
        self.assertEqual(self.run_tool("unbind", "dax3.0")[0], 0)
        # The module remembers it, until something else is asked for.
        self.assertIn("with pages", self.run_tool("bind", "dax3.0")[1])
        self.assertEqual(self.run_tool("unbind", "dax3.0")[0], 0)
        self.assertEqual(self.run_tool("bind", "dax3.0", "--memory", "frames"), (
            0, "dax3.0: bound: 1G of dax_region3 (cxl); align 2M\n", ""))
        self.assertEqual(self.log[-3:], ["parameters/pages dax1.0", "rdax/new_id dax3.0",
                                         "rdax/remove_id dax3.0"])

    def test_memory_of_a_namespace(self) -> None:
        status, _, err = self.run_tool("bind", "namespace0.0", "--memory", "pages")
        self.assertEqual(status, 1)
        self.assertIn("only devices of the dax bus can have pages", err)

    def test_from_device_dax(self) -> None:
        self.bound_to("dax3.0", "device_dax")
        self.assertEqual(self.run_tool("bind", "dax3.0")[0], 0)
        # If the name stayed with device_dax, that could take the device again.
        self.assertEqual(self.log, ["device_dax/unbind dax3.0", "device_dax/remove_id dax3.0",
                                    "rdax/new_id dax3.0", "rdax/remove_id dax3.0"])

    def test_from_device_dax_open(self) -> None:
        # Its unbinding under an open file ends in a use after free.
        self.bound_to("dax3.0", "device_dax")
        self.process(77, "fio", [str(self.top / "dev/dax3.0")])
        for argv in (("bind", "dax3.0"), ("bind", "dax3.0", "--force"),
                     ("unbind", "dax3.0", "--to", "kmem", "--force", "-y")):
            status, _, err = self.run_tool(*argv)
            self.assertEqual(status, 5, err)
            self.assertIn("refused: dax3.0 is in use by 77 fio, and device_dax", err)
        self.assertEqual(self.log, [])

    def test_from_kmem(self) -> None:
        self.online("offline", "offline")
        self.assertEqual(self.run_tool("bind", "dax3.0")[0], 0)
        self.assertEqual(self.driver(), "rdax")

    def test_from_kmem_online(self) -> None:
        self.online("offline", "online", "going-offline")
        for argv in (("bind", "dax3.0"), ("unbind", "dax3.0", "--to", "device_dax", "--force")):
            status, _, err = self.run_tool(*argv)
            self.assertEqual((status, err), (5, (
                "rdax: refused: dax3.0 is ordinary memory of the system now: 2 of its 3 memory "
                "blocks are online ('daxctl offline-memory dax3.0' first)\n")))
        self.assertEqual(self.log, [])
        # That it stays there is no move.
        status, out, _ = self.run_tool("unbind", "dax3.0", "--to", "kmem")
        self.assertEqual((status, out), (
            0, "dax3.0: was bound to it already; 2 of 3 memory blocks are online\n"))

    def test_given_back(self) -> None:
        self.errors["rdax"] = errno.EBUSY
        for before in ("", "device_dax"):
            if before:
                self.bound_to("dax3.0", before)
            status, _, err = self.run_tool("bind", "dax3.0")
            self.assertEqual((status, err), (5, (
                "rdax: dax3.0: rdax does not take it: another driver has it, or something else "
                f"has its memory{'; it was given back to device_dax' if before else ''}\n")))
            self.assertEqual(self.driver(), before)
            self.assertIn("rdax/remove_id dax3.0", self.log)

    def test_can_not_be_given_back(self) -> None:
        self.bound_to("dax3.0", "device_dax")
        self.errors = {"rdax": errno.ENXIO, "device_dax": errno.ENOMEM}
        status, _, err = self.run_tool("bind", "dax3.0")
        self.assertEqual(status, 4)
        self.assertIn("; it could not be given back to device_dax: dax3.0: device_dax does not take "
                      "it: there is not enough memory", err)

    def test_interrupted(self) -> None:
        self.bound_to("dax3.0", "device_dax")
        with mock.patch.object(rdax.daxbus, "attach", side_effect=[KeyboardInterrupt, None]) as at:
            status, _, err = self.run_tool("bind", "dax3.0")
        self.assertEqual(status, 130)
        self.assertIn("dax3.0: interrupted; it was given back to device_dax", err)
        self.assertEqual(at.call_args[0][2].name, "device_dax")

    def test_refusals(self) -> None:
        self.bound_to("dax4.0", "other")
        self.files({f"{NVDIMM}/size": "0"})
        for argv, status, text in (
                (("dax9.0",), 4, "there is no dax9.0"),
                (("dax4.0",), 5, "dax4.0 belongs to the driver other"),
                (("dax1.0",), 1, "dax1.0 has no memory yet ('daxctl reconfigure-device -s"),
                (("dax3.0", "--align", "4K"), 1, "the dax bus has dax3.0 at align 2M"),
                (("dax03.0",), 2, "'dax03.0' is neither the name of a namespace"),
                (("dax3",), 2, "nor a device of the dax bus (dax0.0)")):
            got, _, err = self.run_tool("bind", *argv)
            self.assertEqual(got, status, err)
            self.assertIn(text, err)
        self.assertEqual(self.log, [])
        self.assertEqual(self.run_tool("bind", "dax3.0", "--align", "2M")[0], 0)

    def test_of_a_namespace(self) -> None:
        self.files({"sys/bus/nd/devices/namespace1.0/holder": "dax1.1\n",
                    "sys/bus/nd/devices/namespace1.0/mode": "dax\n"})
        status, _, err = self.run_tool("bind", "namespace1.0")
        self.assertEqual(status, 1)
        self.assertIn("in devdax mode, for dax1.1. 'rdax bind dax1.0' takes its device as it is. "
                      "'ndctl", err)

    def test_a_module_without_the_bus(self) -> None:
        for file in ("new_id", "remove_id", "bind", "unbind"):
            (self.machine.dax_driver / file).unlink()
        self.machine.dax_driver.rmdir()
        status, _, err = self.run_tool("bind", "dax3.0")
        self.assertEqual(status, 1)
        self.assertIn("the loaded module has no driver for the dax bus", err)


class Unbinds(Bus):
    def test_plain(self) -> None:
        self.assertEqual(self.run_tool("unbind", "dax3.0"), (
            4, "", "rdax: dax3.0 is not bound to rdax ('rdax bind dax3.0')\n"))
        self.bound_to("dax3.0", "rdax")
        self.assertEqual(self.run_tool("unbind", "dax3.0"), (0, "dax3.0: unbound\n", ""))
        self.assertEqual(self.log, ["rdax/unbind dax3.0", "rdax/remove_id dax3.0"])

    def test_in_use(self) -> None:
        self.bound_to("dax3.0", "rdax")
        self.process(77, "fio", [str(self.top / "dev/dax3.0")])
        status, _, err = self.run_tool("unbind", "dax3.0")
        self.assertEqual(status, 5)
        self.assertIn("dax3.0 is in use by 77 fio (--force:", err)
        self.assertEqual(self.run_tool("unbind", "dax3.0", "--force")[0], 0)

    def test_to_another(self) -> None:
        for before in ("", "rdax", "kmem"):
            if before:
                (self.machine.dax_devices / "dax3.0/driver").unlink()
                self.bound_to("dax3.0", before)
            self.assertEqual(self.run_tool("unbind", "dax3.0", "--to", "device_dax"), (
                0, "dax3.0: now of device_dax\n", ""), before)
            self.assertEqual(self.log[-1], "device_dax/new_id dax3.0")

    def test_to_kmem_loses_data(self) -> None:
        self.bound_to("dax3.0", "rdax")
        status, _, err = self.run_tool("unbind", "dax3.0", "--to", "kmem")
        self.assertEqual(status, 6)
        self.assertIn("the data in it will be lost", err)
        self.assertEqual(self.log, [])
        self.assertEqual(self.run_tool("unbind", "dax3.0", "--to", "kmem", "--yes")[:2],
                         (0, "dax3.0: now of kmem\n"))

    def test_given_back(self) -> None:
        self.bound_to("dax3.0", "rdax")
        self.errors["device_dax"] = errno.ENOMEM
        status, _, err = self.run_tool("unbind", "dax3.0", "--to", "device_dax")
        self.assertEqual(status, 1)
        self.assertIn("not enough memory (for its memory map, if the driver makes one); it was "
                      "given back to rdax", err)
        self.assertEqual(self.driver(), "rdax")

    def test_module_of_a_driver(self) -> None:
        (self.machine.dax_drivers / "kmem").rename(self.top / "kmem")

        def modprobe(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            self.assertEqual(command, ["modprobe", "kmem"])
            (self.top / "kmem").rename(self.machine.dax_drivers / "kmem")
            return subprocess.CompletedProcess(command, 0, "", "")

        with mock.patch.object(subprocess, "run", modprobe), \
                mock.patch.object(rdax.module, "may_load", lambda: True):
            self.assertEqual(self.run_tool("unbind", "dax3.0", "--to", "kmem", "-y")[0], 0)
        self.assertEqual(self.driver(), "kmem")

    def test_module_that_takes_it_at_once(self) -> None:
        # kmem is then not unbound again: its memory may be online already.
        def load(*_: object) -> None:
            self.bound_to("dax3.0", "kmem")

        with mock.patch.object(rdax.daxbus, "load_driver", load):
            self.assertEqual(self.run_tool("unbind", "dax3.0", "--to", "kmem", "-y")[:2],
                             (0, "dax3.0: now of kmem\n"))
        self.assertEqual(self.log, [])

    def test_of_the_other_kind(self) -> None:
        for argv in (("dax3.0", "--to", "nd_pmem"), ("namespace0.0", "--to", "kmem")):
            status, _, err = self.run_tool("unbind", *argv)
            self.assertEqual(status, 1)
            self.assertIn("nd_pmem is for namespaces, device_dax and kmem for the dax bus", err)


class Configured(Bus):
    """The configuration names devices of the bus by their places."""

    def setUp(self) -> None:
        super().setUp()
        self.files({f"{CXL}/resource": "0xcf0000000\n", f"{NVDIMM}/resource": "0x240200000\n",
                    f"{HMEM}/resource": "0x60000000\n", "etc/.keep": ""})
        (self.machine.namespaces / "namespace0.0/driver").unlink()
        (self.machine.namespaces / "namespace0.0/rdax_region/align").unlink()
        (self.machine.namespaces / "namespace0.0/rdax_region/size").unlink()
        (self.machine.namespaces / "namespace0.0/rdax_region/available_size").unlink()
        (self.machine.namespaces / "namespace0.0/rdax_region").rmdir()

    def entry(self, name: str = "dax3.0", resource: int = 0xcf0000000, size: str = "1G") -> str:
        return f'[[dax]]\ndevice = "{name}"\nresource = {resource:#x}\nsize = "{size}"\n'

    def test_save(self) -> None:
        self.bound_to("dax3.0", "rdax")
        status, out, err = self.run_tool("save")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(out, f"dax3.0: saved: 1G\n{self.machine.config}: written\n")
        self.assertIn(self.entry(), self.machine.config.read_text())
        self.assertIn("as it was", self.run_tool("save")[1])
        # What is not bound stays, unless it is to be forgotten.
        (self.machine.dax_devices / "dax3.0/driver").unlink()
        self.bound_to("dax4.0", "rdax")
        _, _, err = self.run_tool("save")
        self.assertEqual(err, "rdax: dax3.0 is not bound: its entry is kept (--forget removes it)\n")
        text = self.machine.config.read_text()
        self.assertIn(self.entry(), text)
        self.assertIn(self.entry("dax4.0", 0x60000000), text)
        self.assertEqual(self.run_tool("save", "--forget", "dax3.0")[0], 0)
        self.assertNotIn(self.entry(), self.machine.config.read_text())
        self.assertEqual(self.run_tool("save", "dax1.0")[0], 4)

    def test_restore(self) -> None:
        # The device has another name now.
        self.machine.config.write_text(self.entry("dax7.0"))
        self.assertEqual(self.run_tool("restore", "--dry-run")[1], "dax3.0: would be bound: 1G\n")
        self.assertEqual(self.log, [])
        for state in ("restored", "as configured"):
            self.assertEqual(self.run_tool("restore"), (0, f"dax3.0: {state}: 1G\n", ""))
        self.assertEqual(self.log, ["rdax/new_id dax3.0", "rdax/remove_id dax3.0"])

    def test_dry_run_of_other_memory(self) -> None:
        self.bound_to("dax3.0", "rdax")
        now = self.machine.dax_devices / "dax3.0/rdax/memory"
        now.parent.mkdir(exist_ok=True)
        for has, wanted, said in (("pages", "tracked", "would be changed"),
                                  ("tracked", "tracked", "as configured"),
                                  ("frames", "pages", "")):
            now.write_text(f"{has}\n")
            self.machine.config.write_text(f'{self.entry()}memory = "{wanted}"\n')
            status, out, err = self.run_tool("restore", "--dry-run")
            self.assertEqual(out, f"dax3.0: {said}: 1G\n" if said else "")
            self.assertEqual(status, 0 if said else 1)
            self.assertEqual("dax3.0 is bound with frames" in err, not said)
            self.assertEqual(now.read_text(), f"{has}\n")

    def test_uuid(self) -> None:
        uuid, parent = "0c3f0000-1111-2222-3333-444455556666", self.machine.dax_devices / "dax1.0"
        file = parent.resolve().parent / "uuid"
        file.write_text(f"{uuid}\n")
        self.bound_to("dax1.0", "rdax")
        self.assertEqual(self.run_tool("save")[0], 0)
        text = self.machine.config.read_text()
        self.assertIn(f'size = "1G"\nuuid = "{uuid}"\n', text)
        self.assertEqual(self.run_tool("restore")[0], 0)
        # It was created again at this place.
        (parent / "driver").unlink()
        for another in (uuid.replace("0c", "1d"), None):
            if another:
                file.write_text(another)
            else:
                file.unlink()
            status, out, err = self.run_tool("restore")
            self.assertEqual((status, out, self.log), (1, "", []), err)
            self.assertIn(f"another device: its uuid is {another or 'not known'}, not {uuid}", err)
        # An entry without one is about the place.
        self.machine.config.write_text(text.replace(f'uuid = "{uuid}"\n', ""))
        self.assertEqual(self.run_tool("restore")[0], 0)

    def test_restore_one(self) -> None:
        self.machine.config.write_text(self.entry("dax1.0") + self.entry("dax9.0", 0x60000000))
        # dax1.0 is another device now: its place is not configured.
        for name, status, driver in (("dax1.0", 1, ""), ("dax3.0", 0, "rdax"), ("dax4.0", 0, "rdax")):
            self.assertEqual(self.run_tool("restore", name)[0], status, name)
            self.assertEqual(self.driver(name), driver)
        self.assertEqual(self.run_tool("restore", "--if-configured", "dax1.0"), (0, "", ""))

    def test_refusals(self) -> None:
        for text, said in (
                (self.entry(resource=0x1000), "no device of the dax bus begins at 0x1000"),
                (self.entry(size="2G"), "dax3.0 is another device, or has changed: it has 1G"),
                (self.entry() + self.entry("dax5.0"), "0xcf0000000 is configured again at"),
                (self.entry("dax3"), "'dax3' is not a device of the dax bus"),
                ('[[dax]]\ndevice = "dax3.0"\n', "resource is missing"),
                (self.entry() + "align = 1\n", "there is no key 'align'")):
            self.machine.config.write_text(text)
            status, _, err = self.run_tool("restore")
            self.assertEqual(status, 1)
            self.assertIn(said, err)
        self.assertEqual(self.log, [])

    def test_of_kmem(self) -> None:
        self.machine.config.write_text(self.entry())
        self.online("online")
        status, _, err = self.run_tool("restore")
        self.assertEqual(status, 1)
        self.assertIn("memory blocks are online", err)


class Others(Bus):
    def setUp(self) -> None:
        super().setUp()
        self.bound_to("dax3.0", "rdax")
        self.files({f"{CXL}/faults/pte_mapped": "7", f"{CXL}/faults/pmd_mapped": "3",
                    f"{CXL}/entries/writebacks": "5", f"{CXL}/rdax/badblocks": "8 2\n"})

    def test_list(self) -> None:
        self.bound_to("dax1.0", "device_dax")
        status, out, err = self.run_tool("list")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("dax_region3   dax3.0    1G     2M    -1   7   3   0  -\n", out)
        self.assertIn("dax1.0          1G  nvdimm           -1  device_dax       yes\n", out)
        self.assertIn("dax4.0          1G  soft-reserved    -1  nobody           yes\n", out)

    def test_list_json(self) -> None:
        _, out, _ = self.run_tool("list", "--json")
        found = {dax["name"]: dax for dax in json.loads(out)["dax"]}
        self.assertEqual(found["dax3.0"]["faults"], {"pmd_mapped": 3, "pte_mapped": 7})
        self.assertEqual(found["dax3.0"]["bad_bytes"], 1024)
        self.assertEqual(found["dax4.0"], {
            "name": "dax4.0", "kind": "soft-reserved", "region": "hmem.4", "size": 1 << 30,
            "align": 2 << 20, "numa_node": -1, "target_node": 1, "driver": None, "memory": None,
            "uses": [],
            "bindable": True})

    def test_stat(self) -> None:
        _, out, _ = self.run_tool("stat", "dax3.0", "--json")
        device, = json.loads(out)["devices"]
        self.assertEqual((device["name"], device["namespace"]), ("dax3.0", "dax_region3"))
        self.assertIn("dax3.0", self.run_tool("stat")[1])
        self.assertEqual(self.run_tool("stat", "dax4.0")[0], 4)

    def test_map(self) -> None:
        self.files({"sys/kernel/debug/rdax/dax3.0/entries": "0x0 1 order 9 mapped dirty\n",
                    "sys/kernel/debug/rdax/dax3.0/extents": "0x0 0x0 0x40000\n"})
        status, out, err = self.run_tool("map", "dax3.0", "--ascii")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("dax3.0: 1G of dax_region3, align 2M", out)

    def test_sync(self) -> None:
        with mock.patch.object(os, "fsync"):
            self.assertEqual(self.run_tool("sync", "dax3.0"), (
                0, "dax3.0: durable, 0 entries written back\n", ""))

    def test_what_divides_it(self) -> None:
        for argv in (("resize", "dax3.0", "1G"), ("destroy", "dax3.0")):
            status, _, err = self.run_tool(*argv)
            self.assertEqual(status, 2)
            self.assertIn("dax3.0 is divided by the dax bus itself ('daxctl create-device'", err)


if __name__ == "__main__":
    unittest.main()
