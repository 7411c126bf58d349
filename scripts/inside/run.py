#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make run: write through rdax in one boot, find it again in the next. With the argument cxl,
make run-cxl: the same on the memory of a CXL expander, which forgets; so in one boot, with
another binding in between."""

import sys
from pathlib import Path

import guest

SCRIPTS = Path("/rdax/scripts/guest")
BOOTS = (
    ("first-boot", "first boot: load the module, bind the namespace, map it and write"),
    ("second-boot", "second boot, the same NVDIMM: is the data still there?"),
)


CXL_BOOTS = (
    ("cxl-boot", "a boot: make a region of the CXL memory, bind it, map it and write"),
)


def main() -> int:
    is_cxl = sys.argv[1:] == ["cxl"]
    machine = guest.MACHINES[guest.CXL if is_cxl else guest.PLAIN]
    memory = (f"a CXL memory expander of {machine.cxl}" if is_cxl else
              f"NVDIMMs of {' and '.join(nvdimm.size for nvdimm in machine.nvdimms.values())}")
    accelerator = "KVM" if guest.kvm_is_real() else "software emulation (TCG)"
    print(f"The guest: 2 CPUs, {accelerator}, {memory}", flush=True)
    for name, text in CXL_BOOTS if is_cxl else BOOTS:
        print(f"\n== {text}", flush=True)
        result = guest.boot([str(SCRIPTS / name)], timeout=180, name=name, machine=machine,
                            work=guest.WORK)
        for line in result.explain():
            print(f"guest: {line}", file=sys.stderr)
        if result.exit_status:
            return 1
        print(f"-- powered off after {result.seconds:.1f} s", flush=True)
    what = ("The data outlived the binding, not the boot: this memory is volatile" if is_cxl else
            "The data outlived the reboot")
    print(f"\n{what}; nothing on the kernel's console tells of trouble.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except guest.GuestError as error:
        print(f"FAILED: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
