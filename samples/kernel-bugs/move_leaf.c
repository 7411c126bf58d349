// SPDX-License-Identifier: GPL-2.0
/*
 * move_leaf DEVICE [none]: a leaf of 1 GiB is moved, with `none` after it was made
 * inaccessible. The kernel logs "bad pud", and does not flush the TLB. The driver must let the
 * leaf be there.
 */
#define _GNU_SOURCE
#include "map.h"

int main(int argc, char **argv)
{
	int fd = open_device(argc, argv);
	char *map = map_first(fd, SZ_1G), *to;

	touch(map);
	if (argc > 2 && mprotect(map, SZ_1G, PROT_NONE))
		err(1, "mprotect");
	say("mremap");
	to = mmap(NULL, 2 * SZ_1G, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		err(1, "mmap");
	to = (char *)(((uintptr_t)to + SZ_1G - 1) & ~(SZ_1G - 1));
	if (mremap(map, SZ_1G, SZ_1G, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		err(1, "mremap");
	say("mremap returned: see the kernel's log");
	return 0;
}
