# SPDX-License-Identifier: GPL-2.0
"""The page protection of leaves, with an encryption mask that no machine here has."""

import subprocess
import tempfile
import unittest
from pathlib import Path

HELPERS = Path(__file__).resolve().parents[2] / "rust" / "helpers"

PROGRAM = r"""
#include <assert.h>

/* Stand-ins for the kernel's: bit 51 says that memory is encrypted, as on AMD. */
typedef struct { unsigned long long val; } pgprot_t;
typedef unsigned long vm_flags_t;
#define MASK (1ULL << 51)
#define VM_WRITE 2UL
#define VM_SHARED 8UL

static pgprot_t pgprot_decrypted(pgprot_t prot)
{
	prot.val &= ~MASK;
	return prot;
}

static pgprot_t vm_get_page_prot(vm_flags_t flags)
{
	/* Writable where it is shared; otherwise copy-on-write. */
	unsigned long long write = (flags & VM_WRITE) && (flags & VM_SHARED) ? 2 : 0;

	return (pgprot_t){ MASK | 5 | write };
}

#include "prot.h"

int main(void)
{
	vm_flags_t flags = VM_WRITE | VM_SHARED;
	pgprot_t system = vm_get_page_prot(flags);

	assert(system.val == (MASK | 7));
	/* libnvdimm's mapping of the media is not encrypted, so ours must not be. */
	assert(rdax_media_prot(system).val == 7);
	/* The zeroes are pages of the kernel's, and are never writable. */
	assert(rdax_zero_prot(flags).val == (MASK | 5));
	return 0;
}
"""


class Prot(unittest.TestCase):
    def test_encryption(self) -> None:
        with tempfile.TemporaryDirectory() as tmp:
            source = Path(tmp) / "prot.c"
            program = Path(tmp) / "prot"
            source.write_text(PROGRAM)
            subprocess.run(["gcc", "-Wall", "-Werror", f"-I{HELPERS}", "-o", program, source],
                           check=True)
            subprocess.run([program], check=True)


if __name__ == "__main__":
    unittest.main()
