// SPDX-License-Identifier: GPL-2.0
/*
 * mbind_strict DEVICE: mbind(MPOL_MF_STRICT) takes the PMD leaf of a page frame for that of a
 * folio. Up to Linux 7.2 the kernel oopses with the lock of the page table held.
 */
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "map.h"

int main(int argc, char **argv)
{
	int fd = open_device(argc, argv);
	unsigned long node = 1;
	char *map = map_first(fd, SZ_2M);

	touch(map);
	say("mbind");
	if (syscall(SYS_mbind, map, SZ_2M, MPOL_BIND, &node, 64, MPOL_MF_STRICT))
		err(1, "mbind");
	say("mbind returned 0: this kernel is right");
	return 0;
}
