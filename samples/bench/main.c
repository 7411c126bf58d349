// SPDX-License-Identifier: GPL-2.0
/*
 * What operations on memory that can be mapped cost: the same program for rdax,
 * for the kernel's device_dax, for a file on a file system with DAX, and for
 * anonymous memory.
 *
 *	bench OPERATION [PATH]		PATH, or anonymous memory
 *	bench -t THREADS OPERATION [PATH]
 *	bench write NAME PATH TEXT	what writing TEXT to PATH takes, as NAME
 *
 * It OVERWRITES the first 3 GiB of PATH. Each result is a line of JSON:
 *
 *	{"operation": "...", "total": nanoseconds, "count": repetitions}
 *	{"operation": "...", "bytes": bytes}
 *	{"operation": "...", "unavailable": "why"}
 *
 * scripts/inside/bench.py runs it in guests, with everything around it.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

static const struct operation *const groups[] = {
	fault_operations, huge_operations, map_operations, sync_operations,
	punch_operations, rw_operations, memory_operations,
	parallel_operations, coherence_operations,
};

static const struct operation *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		for (const struct operation *op = groups[i]; op->name; op++)
			if (!strcmp(op->name, name))
				return op;
	return NULL;
}

static void open_target(struct target *target)
{
	struct stat stat;

	if (!target->path)
		return;
	target->fd = open(target->path, O_RDWR | O_CLOEXEC);
	if (target->fd < 0 || fstat(target->fd, &stat))
		err(EXIT_FAILURE, "%s", target->path);
	target->regular = S_ISREG(stat.st_mode);
}

static int write_attribute(const char *name, const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t length = strlen(text);
	uint64_t begin, total;
	ssize_t written;

	if (fd < 0)
		err(EXIT_FAILURE, "%s", path);
	begin = now();
	written = write(fd, text, length);
	total = since(begin);
	if (written != (ssize_t)length)
		err(EXIT_FAILURE, "%s: writing %s", path, text);
	report(name, total, 1);
	return EXIT_SUCCESS;
}

static int help(void)
{
	fputs("usage: bench [-t THREADS] OPERATION [PATH]\n"
	      "       bench write NAME PATH TEXT\n"
	      "operations:\n", stderr);
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		for (const struct operation *op = groups[i]; op->name; op++)
			fprintf(stderr, "\t%s\n", op->name);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct target target = { .fd = -1, .threads = 1 };
	const struct operation *operation;

	setlinebuf(stdout);
	if (argc == 5 && !strcmp(argv[1], "write"))
		return write_attribute(argv[2], argv[3], argv[4]);
	if (argc > 2 && !strcmp(argv[1], "-t")) {
		target.threads = atoi(argv[2]);
		argc -= 2;
		argv += 2;
	}
	if (!target.threads || (argc != 2 && argc != 3))
		return help();
	operation = find(argv[1]);
	if (!operation)
		return help();
	target.operation = operation->name;
	target.path = argv[2];
	open_target(&target);
	settle();
	operation->run(&target);
	return EXIT_SUCCESS;
}
