#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""make run: write through rdax in one boot, find it again in the next."""

import sys
from pathlib import Path

import guest

SCRIPTS = Path("/rdax/scripts/guest")
BOOTS = (
    ("first-boot", "first boot: load the module, bind the namespace, map it and write"),
    ("second-boot", "second boot, the same NVDIMM: is the data still there?"),
)


def main() -> int:
    sizes = (nvdimm.size for nvdimm in guest.NVDIMMS.values())
    accelerator = "KVM" if guest.kvm_is_real() else "software emulation (TCG)"
    print(f"The guest: 2 CPUs, {accelerator}, NVDIMMs of {' and '.join(sizes)}",
          flush=True)
    for name, text in BOOTS:
        print(f"\n== {text}", flush=True)
        result = guest.boot([str(SCRIPTS / name)], timeout=180, name=name)
        for line in result.explain():
            print(f"guest: {line}", file=sys.stderr)
        if result.exit_status:
            return 1
        print(f"-- powered off after {result.seconds:.1f} s", flush=True)
    print("\nThe data outlived the reboot; nothing on the kernel's console tells of trouble.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except guest.GuestError as error:
        print(f"FAILED: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
