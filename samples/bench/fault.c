// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of 4 KiB. At random: the page tables are there before, made by touching the
 * first page of each 2 MiB, and no other page of the same 256 KiB was touched; dense:
 * of the same 8 KiB.
 * Sequential: a page table for each 512 pages is made on the way.
 */
#include "bench.h"

#define SEQUENTIAL	4096	/* pages: 16 MiB */
#define DENSE		3584	/* pages of 28 MiB */

static void timed_touch(const char *operation, char *map, struct pages_list pages, bool write)
{
	uint64_t begin = now();

	touch(map, pages, write);
	report(operation, since(begin), pages.count);
}

static char *fresh_map(const struct target *target, const char *operation, bool write)
{
	char *map = map_target(target, RANGE, SMALL);

	expect_sigbus(operation);
	touch(map, table_makers(RANGE), write);
	return map;
}

static void random_faults(const struct target *target, const char *operation, bool write)
{
	struct pages_list pages = scattered(0, RANGE);

	timed_touch(operation, fresh_map(target, operation, write), pages, write);
}

static void dense_faults(const struct target *target, const char *operation, bool write)
{
	struct pages_list pages = every_other(0, DENSE);

	timed_touch(operation, fresh_map(target, operation, write), pages, write);
}

static void sequential_faults(const struct target *target, const char *operation, bool write)
{
	char *map = map_target(target, RANGE, SMALL);

	expect_sigbus(operation);
	touch(map, sequential(0, PAGE, 1), write);
	timed_touch(operation, map, sequential(LEAF, PAGE, SEQUENTIAL), write);
}

static void write_random(const struct target *target)
{
	random_faults(target, "fault-4k-write-random", true);
}

static void read_random(const struct target *target)
{
	random_faults(target, "fault-4k-read-random", false);
}

static void write_dense(const struct target *target)
{
	dense_faults(target, "fault-4k-write-dense", true);
}

static void read_dense(const struct target *target)
{
	dense_faults(target, "fault-4k-read-dense", false);
}

static void write_sequential(const struct target *target)
{
	sequential_faults(target, "fault-4k-write-sequential", true);
}

static void read_sequential(const struct target *target)
{
	sequential_faults(target, "fault-4k-read-sequential", false);
}

static void touch_all(const struct target *target, void *pages)
{
	char *map = fresh_map(target, "fault-4k-write-existing", true);

	touch(map, *(struct pages_list *)pages, true);
}

/* Another process has touched the same pages, in the opposite order. */
static void write_existing(const struct target *target)
{
	struct pages_list pages = scattered(0, RANGE), others = backwards(pages);

	if (!target->path)
		cannot("fault-4k-write-existing", "not shared");
	in_another_process(touch_all, target, &others);
	timed_touch("fault-4k-write-existing",
		    fresh_map(target, "fault-4k-write-existing", true), pages, true);
}

static void write_after_read(const struct target *target)
{
	struct pages_list pages = scattered(0, RANGE);
	char *map = fresh_map(target, "write-after-read-4k", false);
	uint64_t before, begin, total;

	touch(map, pages, false);
	before = faults();
	begin = now();
	touch(map, pages, true);
	total = since(begin);
	if (faults() == before)
		cannot("write-after-read-4k", "no fault");
	report("write-after-read-4k", total, pages.count);
}

const struct operation fault_operations[] = {
	{ "fault-4k-write-random", write_random },
	{ "fault-4k-read-random", read_random },
	{ "fault-4k-write-dense", write_dense },
	{ "fault-4k-read-dense", read_dense },
	{ "fault-4k-write-sequential", write_sequential },
	{ "fault-4k-read-sequential", read_sequential },
	{ "fault-4k-write-existing", write_existing },
	{ "write-after-read-4k", write_after_read },
	{ }
};
