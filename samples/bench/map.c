// SPDX-License-Identifier: GPL-2.0
/* The calls that make and tear down mappings. */
#define _GNU_SOURCE
#include <err.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "bench.h"

#define SMALL_COUNT	4096	/* pages: 16 MiB */
#define ANONYMOUS_COUNT	32
#define CALLS		64

static void munmap_small(const struct target *target)
{
	uint64_t length = SMALL_COUNT * PAGE, begin;
	char *map = map_target(target, length, SMALL);

	expect_sigbus("munmap-4k");
	touch(map, sequential(0, PAGE, SMALL_COUNT), true);
	begin = now();
	unmap(map, length);
	report("munmap-4k", since(begin), SMALL_COUNT);
}

static void munmap_huge(const struct target *target)
{
	size_t count = target->path ? RANGE / LEAF : ANONYMOUS_COUNT;
	struct pages_list pages = sequential(0, LEAF, count),
		middles = sequential(LEAF / 2, LEAF, count);
	char *map = map_target(target, RANGE, HUGE);
	uint64_t begin, before;

	expect_sigbus("munmap-2m");
	touch(map, pages, true);
	before = faults();
	touch(map, middles, true);
	if (faults() != before)
		cannot("munmap-2m", "no 2 MiB pages");
	begin = now();
	unmap(map, RANGE);
	report("munmap-2m", since(begin), count);
}

static void mmap_call(const struct target *target)
{
	int flags = target->path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	uint64_t total = 0, begin;

	for (int i = 0; i < CALLS; i++) {
		char *map;

		begin = now();
		map = mmap(NULL, RANGE, PROT_READ | PROT_WRITE, flags, target->fd, 0);
		total += since(begin);
		if (map == MAP_FAILED)
			err(EXIT_FAILURE, "mmap");
		unmap(map, RANGE);
	}
	report("mmap", total, CALLS);
}

const struct operation map_operations[] = {
	{ "munmap-4k", munmap_small },
	{ "munmap-2m", munmap_huge },
	{ "mmap", mmap_call },
	{ }
};
