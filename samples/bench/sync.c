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

/* 1 of 4096 pages: 16 MiB. */
static void one_of_few(const struct target *target)
{
	char *map = map_target(target, RANGE, SMALL);

	check(target, "fsync-1-of-16m");
	expect_sigbus("fsync-1-of-16m");
	touch(map, sequential(0, PAGE, 16 * MiB / PAGE), false);
	rounds(target, "fsync-1-of-16m", map, sequential(8 * MiB, PAGE, 1), ROUNDS);
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
	{ "fsync-of-1g", of_one_gib },
	{ }
};
