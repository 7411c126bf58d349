// SPDX-License-Identifier: GPL-2.0
/*
 * fsync() with some pages dirty of many that are mapped and clean. Between two
 * rounds the clock goes on, so that a file system has a new time of modification to
 * write each time, as it would in use.
 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

#define ROUNDS		5
#define FEW		100
#define SHORT		(16 * MiB)
#define HUGE_COUNT	32	/* pages of 2 MiB: 64 MiB */
#define PAUSE		20000	/* microseconds */

static void timed_sync(const struct target *target, const char *operation)
{
	uint64_t begin = now();

	if (fsync(target->fd))
		err(EXIT_FAILURE, "fsync");
	report(operation, since(begin), 1);
}

static void synced(const struct target *target)
{
	if (fsync(target->fd))
		err(EXIT_FAILURE, "fsync");
	usleep(PAUSE);
}

static void check(const struct target *target, const char *operation)
{
	if (!target->path)
		cannot(operation, "not a file");
	if (fsync(target->fd) && errno == EINVAL)
		cannot(operation, "no fsync");
}

/* The pages are written to, then synced; ROUNDS times, once before. */
static void rounds(const struct target *target, const char *operation, char *map,
		   struct pages_list dirty, int count)
{
	touch(map, dirty, true);
	synced(target);
	for (int i = 0; i < count; i++) {
		touch(map, dirty, true);
		timed_sync(target, operation);
		usleep(PAUSE);
	}
}

static char *read_before(const struct target *target, const char *operation, enum pages pages,
			 struct pages_list which)
{
	char *map = map_target(target, RANGE, pages);

	check(target, operation);
	expect_sigbus(operation);
	touch(map, which, false);
	return map;
}

/* 1 of 4096 pages. */
static void one_of_few(const struct target *target)
{
	char *map = read_before(target, "fsync-1-of-16m", SMALL,
				sequential(0, PAGE, SHORT / PAGE));

	rounds(target, "fsync-1-of-16m", map, sequential(SHORT / 2, PAGE, 1), ROUNDS);
}

static void all_of_few(const struct target *target)
{
	struct pages_list all = sequential(0, PAGE, SHORT / PAGE);

	rounds(target, "fsync-all-of-16m",
	       read_before(target, "fsync-all-of-16m", SMALL, all), all, ROUNDS);
}

static void huge(const struct target *target, const char *operation, size_t dirty)
{
	char *map = read_before(target, operation, HUGE, sequential(0, LEAF, HUGE_COUNT));
	uint64_t before = faults();

	touch(map, sequential(LEAF / 2, LEAF, HUGE_COUNT), false);
	if (faults() != before)
		cannot(operation, "no 2 MiB pages");
	rounds(target, operation, map, sequential(0, LEAF, dirty), ROUNDS);
}

static void one_huge(const struct target *target)
{
	huge(target, "fsync-2m-1-of-64m", 1);
}

static void all_huge(const struct target *target)
{
	huge(target, "fsync-2m-all-of-64m", HUGE_COUNT);
}

static void of_one_gib(const struct target *target)
{
	struct pages_list few = scattered(0, RANGE);
	char *map = map_target(target, RANGE, SMALL);

	check(target, "fsync-of-1g");
	expect_sigbus("fsync-of-1g");
	touch(map, sequential(0, PAGE, RANGE / PAGE), false);
	few.count = FEW;
	rounds(target, "fsync-1-of-1g", map, sequential(RANGE / 2, PAGE, 1), ROUNDS);
	rounds(target, "fsync-100-of-1g", map, few, ROUNDS);
	touch(map, sequential(0, PAGE, RANGE / PAGE), true);
	timed_sync(target, "fsync-all-of-1g");
}

const struct operation sync_operations[] = {
	{ "fsync-1-of-16m", one_of_few },
	{ "fsync-all-of-16m", all_of_few },
	{ "fsync-2m-1-of-64m", one_huge },
	{ "fsync-2m-all-of-64m", all_huge },
	{ "fsync-of-1g", of_one_gib },
	{ }
};
