// SPDX-License-Identifier: GPL-2.0
/*
 * Making holes: RDAX_IOC_PUNCH of a device, fallocate() of a file. Where entries are
 * present, the range was written to through a mapping that still is there: in 4 KiB
 * pages, for the 1 GiB in the largest.
 *
 * A file system frees blocks and leaves it to the next fault to zero them, a device zeroes
 * at once. So the punch and the first write after it are measured together, too.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "bench.h"
#include "rdax.h"

#define SMALL_COUNT	64
#define HUGE_COUNT	8

static int hole(const struct target *target, uint64_t offset, uint64_t length)
{
	struct rdax_range range = {
		.size = sizeof(range),
		.offset = offset,
		.length = length,
	};

	if (target->regular)
		return fallocate(target->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				 length);
	return ioctl(target->fd, RDAX_IOC_PUNCH, &range);
}

static void must_punch(const struct target *target, const char *operation, uint64_t offset,
		       uint64_t length)
{
	if (!hole(target, offset, length))
		return;
	if (errno == ENOTTY)
		cannot(operation, "no punch");
	err(EXIT_FAILURE, "%s", operation);
}

static void punch_each(const struct target *target, const char *operation, uint64_t length,
		       struct pages_list where)
{
	uint64_t total = 0;

	if (!target->path)
		cannot(operation, "not a file");
	for (size_t i = 0; i < where.count; i++) {
		uint64_t begin = now();

		must_punch(target, operation, where.offsets[i], length);
		total += since(begin);
	}
	report(operation, total, where.count);
}

static struct pages_list small_places(void)
{
	struct pages_list list = scattered(0, RANGE);

	list.count = SMALL_COUNT;
	return list;
}

static void small_absent(const struct target *target)
{
	punch_each(target, "punch-4k-absent", PAGE, small_places());
}

static void small_present(const struct target *target)
{
	struct pages_list places = small_places();
	char *map = map_target(target, RANGE, SMALL);

	expect_sigbus("punch-4k-present");
	touch(map, places, true);
	punch_each(target, "punch-4k-present", PAGE, places);
}

static void huge_absent(const struct target *target)
{
	punch_each(target, "punch-2m-absent", LEAF, sequential(0, LEAF, HUGE_COUNT));
}

static void huge_present(const struct target *target)
{
	char *map = map_target(target, RANGE, SMALL);

	expect_sigbus("punch-2m-present");
	touch(map, sequential(0, PAGE, HUGE_COUNT * LEAF / PAGE), true);
	punch_each(target, "punch-2m-present", LEAF, sequential(0, LEAF, HUGE_COUNT));
}

static void all_absent(const struct target *target)
{
	punch_each(target, "punch-1g-absent", GiB, sequential(0, GiB, 1));
}

static void all_present(const struct target *target)
{
	char *map = map_target(target, RANGE, GIANT);

	expect_sigbus("punch-1g-present");
	touch(map, sequential(0, LEAF, target->path ? RANGE / LEAF : 1), true);
	punch_each(target, "punch-1g-present", GiB, sequential(0, GiB, 1));
}

/*
 * Each of these ranges is punched, and each of its PAGES_EACH pages is written to again, in order.
 * All were written to before. What it takes is for each page.
 */
static void punch_and_write(const struct target *target, const char *operation, char *map,
			    struct pages_list where, uint64_t page, uint64_t pages_each)
{
	uint64_t total = 0, before, after;

	if (!target->path)
		cannot(operation, "not a file");
	for (size_t i = 0; i < where.count; i++)
		touch(map, sequential(where.offsets[i], page, pages_each), true);
	before = faults();
	for (size_t i = 0; i < where.count; i++) {
		struct pages_list pages = sequential(where.offsets[i], page, pages_each);
		uint64_t begin = now();

		must_punch(target, operation, where.offsets[i], page * pages_each);
		touch(map, pages, true);
		total += since(begin);
	}
	after = faults();
	if (after == before)
		cannot(operation, "no fault");
	/*
	 * In pages of that size? ext4 has zeroed 2 MiB, but maps 4 KiB of it. What it allocates
	 * need not be aligned.
	 */
	for (size_t i = 0; page == LEAF && !target->regular && i < where.count; i++)
		touch(map, sequential(where.offsets[i] + LEAF / 2, PAGE, 1), true);
	if (faults() != after)
		cannot(operation, "no 2 MiB pages");
	report(operation, total, where.count * pages_each);
}

static void small_again(const struct target *target)
{
	expect_sigbus("punch-write-4k");
	punch_and_write(target, "punch-write-4k", map_target(target, RANGE, SMALL),
			small_places(), PAGE, 1);
}

static void all_small_again(const struct target *target)
{
	expect_sigbus("punch-write-4k-all");
	punch_and_write(target, "punch-write-4k-all", map_target(target, RANGE, SMALL),
			sequential(0, LEAF, HUGE_COUNT), PAGE, LEAF / PAGE);
}

static void huge_again(const struct target *target)
{
	expect_sigbus("punch-write-2m");
	punch_and_write(target, "punch-write-2m", map_target(target, RANGE, HUGE),
			sequential(0, LEAF, HUGE_COUNT), LEAF, 1);
}

const struct operation punch_operations[] = {
	{ "punch-4k-absent", small_absent },
	{ "punch-4k-present", small_present },
	{ "punch-2m-absent", huge_absent },
	{ "punch-2m-present", huge_present },
	{ "punch-write-4k", small_again },
	{ "punch-write-4k-all", all_small_again },
	{ "punch-write-2m", huge_again },
	{ "punch-1g-absent", all_absent },
	{ "punch-1g-present", all_present },
	{ }
};
