// SPDX-License-Identifier: GPL-2.0
/*
 * cut_leaf DEVICE: a page of 4 KiB is unmapped out of a leaf of 1 GiB. The kernel takes the
 * memory behind the leaf for a table of PMDs: where that looks like a leaf, it is cleared.
 * The driver must let the leaf be there.
 */
#include "map.h"

/* Present, of 2 MiB, special. */
#define LOOKS_LIKE_A_LEAF	0x8000000140000ae7UL

int main(int argc, char **argv)
{
	int fd = open_device(argc, argv);
	char *map = map_first(fd, SZ_1G);
	uint64_t *word = (uint64_t *)map + 1;

	__atomic_store_n(word, LOOKS_LIKE_A_LEAF, __ATOMIC_RELAXED);
	say("munmap");
	if (munmap(map + SZ_2M + SZ_4K, SZ_4K))
		err(1, "munmap");
	printf("the word at 8 is %#lx, was %#lx\n", *word, LOOKS_LIKE_A_LEAF);
	return *word != LOOKS_LIKE_A_LEAF;
}
