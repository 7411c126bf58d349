// SPDX-License-Identifier: GPL-2.0
/* pread() and pwrite(). */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define SMALL_COUNT	256
#define LARGE_COUNT	8

static void transfer(const struct target *target, const char *operation, size_t size,
		     struct pages_list where, bool write)
{
	char *buffer = aligned_alloc(PAGE, size);
	uint64_t total = 0;

	if (!target->path)
		cannot(operation, "not a file");
	if (!buffer)
		err(EXIT_FAILURE, "no memory");
	memset(buffer, 1, size);
	for (size_t i = 0; i < where.count; i++) {
		uint64_t begin = now();
		ssize_t done = write ? pwrite(target->fd, buffer, size, where.offsets[i]) :
				       pread(target->fd, buffer, size, where.offsets[i]);

		total += since(begin);
		if (done < 0 && errno == EINVAL)
			cannot(operation, "no read or write");
		if (done != (ssize_t)size)
			err(EXIT_FAILURE, "%s", operation);
	}
	report(operation, total, where.count);
	free(buffer);
}

static struct pages_list small_places(void)
{
	struct pages_list list = scattered(0, RANGE);

	list.count = SMALL_COUNT;
	return list;
}

static void read_small(const struct target *target)
{
	transfer(target, "read-4k", PAGE, small_places(), false);
}

static void write_small(const struct target *target)
{
	transfer(target, "write-4k", PAGE, small_places(), true);
}

static void read_large(const struct target *target)
{
	transfer(target, "read-1m", MiB, sequential(0, MiB, LARGE_COUNT), false);
}

static void write_large(const struct target *target)
{
	transfer(target, "write-1m", MiB, sequential(0, MiB, LARGE_COUNT), true);
}

const struct operation rw_operations[] = {
	{ "read-4k", read_small },
	{ "write-4k", write_small },
	{ "read-1m", read_large },
	{ "write-1m", write_large },
	{ }
};
