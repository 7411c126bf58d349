// SPDX-License-Identifier: GPL-2.0
/* Faults of 2 MiB and 1 GiB: whether they were of that size is seen by a second touch. */
#include "bench.h"

/* Each huge page of anonymous memory has to be found and zeroed. */
#define ANONYMOUS_COUNT	32

static void two_mib(const struct target *target, const char *operation, bool write)
{
	/* as many as one table maps, since the mapping begins at its second entry */
	size_t count = target->path ? RANGE / LEAF - 1 : ANONYMOUS_COUNT;
	/* the first makes the table */
	struct pages_list first = sequential(0, LEAF, 1),
		others = sequential(LEAF, LEAF, count - 1),
		middles = sequential(LEAF + LEAF / 2, LEAF, count - 1);
	char *map = map_target(target, RANGE, HUGE);
	uint64_t begin, total, before;

	expect_sigbus(operation);
	touch(map, first, write);
	begin = now();
	touch(map, others, write);
	total = since(begin);
	before = faults();
	touch(map, middles, write);
	if (faults() != before)
		cannot(operation, "no 2 MiB pages");
	report(operation, total, count - 1);
}

static void write_two_mib(const struct target *target)
{
	two_mib(target, "fault-2m-write", true);
}

static void read_two_mib(const struct target *target)
{
	two_mib(target, "fault-2m-read", false);
}

static void one_gib(const struct target *target, const char *operation, bool write)
{
	struct pages_list first = sequential(0, PAGE, 1), middle = sequential(GiB / 2, PAGE, 1),
		second = sequential(GiB, PAGE, 1);
	char *map;
	uint64_t begin, total, before;

	if (!target->path)
		cannot(operation, "no 1 GiB pages");
	expect_sigbus(operation);
	map = map_target(target, 2 * GiB, GIANT);
	touch(map, first, write);
	before = faults();
	touch(map, middle, write);
	if (faults() != before)
		cannot(operation, "no 1 GiB pages");
	begin = now();
	touch(map, second, write);
	total = since(begin);
	report(operation, total, 1);
}

static void write_one_gib(const struct target *target)
{
	one_gib(target, "fault-1g-write", true);
}

static void read_one_gib(const struct target *target)
{
	one_gib(target, "fault-1g-read", false);
}

const struct operation huge_operations[] = {
	{ "fault-2m-write", write_two_mib },
	{ "fault-2m-read", read_two_mib },
	{ "fault-1g-write", write_one_gib },
	{ "fault-1g-read", read_one_gib },
	{ }
};
