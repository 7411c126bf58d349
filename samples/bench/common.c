// SPDX-License-Identifier: GPL-2.0
/* What the operations share: the clock, results, mappings, pages in an order. */
#define _GNU_SOURCE
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define WINDOW		(256 * KiB)
#define SEED		UINT64_C(0x9e3779b97f4a7c15)
#define SETTLE		100000	/* microseconds */
#define CALIBRATIONS	64

uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * UINT64_C(1000000000) + at.tv_nsec;
}

uint64_t since(uint64_t begin)
{
	static uint64_t overhead = UINT64_MAX;
	uint64_t end = now();

	if (overhead == UINT64_MAX) {
		for (int i = 0; i < CALIBRATIONS; i++) {
			uint64_t first = now();
			uint64_t taken = now() - first;

			if (taken < overhead)
				overhead = taken;
		}
	}
	return end - begin > overhead ? end - begin - overhead : 0;
}

void report(const char *operation, uint64_t total, uint64_t count)
{
	printf("{\"operation\": \"%s\", \"total\": %" PRIu64 ", \"count\": %" PRIu64 "}\n",
	       operation, total, count);
}

void report_bytes(const char *operation, int64_t bytes)
{
	printf("{\"operation\": \"%s\", \"bytes\": %" PRId64 "}\n", operation, bytes);
}

void cannot(const char *operation, const char *why)
{
	printf("{\"operation\": \"%s\", \"unavailable\": \"%s\"}\n", operation, why);
	fflush(stdout);
	_exit(EXIT_SUCCESS);
}

static char sigbus_line[256];

static void on_sigbus(int signal)
{
	(void)signal;
	if (write(STDOUT_FILENO, sigbus_line, strlen(sigbus_line)) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_SUCCESS);
}

void expect_sigbus(const char *operation)
{
	snprintf(sigbus_line, sizeof(sigbus_line),
		 "{\"operation\": \"%s\", \"unavailable\": \"SIGBUS\"}\n", operation);
	signal(SIGBUS, on_sigbus);
}

void settle(void)
{
	usleep(SETTLE);
	/* the clock's own pages */
	since(now());
}

uint64_t faults(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		err(EXIT_FAILURE, "getrusage");
	return usage.ru_minflt + usage.ru_majflt;
}

/* A free address that is a multiple of 1 GiB. */
static char *place(uint64_t length)
{
	uint64_t all = length + 2 * GiB;
	char *area = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		err(EXIT_FAILURE, "no address range");
	munmap(area, all);
	return (char *)(((uintptr_t)area + GiB - 1) & ~(uintptr_t)(GiB - 1));
}

char *map_target(const struct target *target, uint64_t length, enum pages pages)
{
	int flags = target->path ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *map = mmap(place(length) + (pages == HUGE ? SHIFT : 0), length,
			 PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, target->fd, 0);

	if (map == MAP_FAILED)
		err(EXIT_FAILURE, "%s: mmap", target->path ? target->path : "anonymous memory");
	if (madvise(map, length, pages == SMALL ? MADV_NOHUGEPAGE : MADV_HUGEPAGE))
		err(EXIT_FAILURE, "madvise");
	return map;
}

void unmap(char *map, uint64_t length)
{
	if (munmap(map, length))
		err(EXIT_FAILURE, "munmap");
}

static uint64_t random_below(uint64_t limit)
{
	static uint64_t state = SEED;

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * UINT64_C(0x2545f4914f6cdd1d) >> 32) % limit;
}

static struct pages_list new_list(size_t count)
{
	struct pages_list list = { count, calloc(count, sizeof(uint64_t)) };

	if (!list.offsets)
		err(EXIT_FAILURE, "no memory");
	return list;
}

struct pages_list sequential(uint64_t from, uint64_t step, size_t count)
{
	struct pages_list list = new_list(count);

	for (size_t i = 0; i < count; i++)
		list.offsets[i] = from + i * step;
	return list;
}

static void shuffle(struct pages_list list)
{
	for (size_t i = list.count - 1; i > 0; i--) {
		size_t other = random_below(i + 1);
		uint64_t offset = list.offsets[i];

		list.offsets[i] = list.offsets[other];
		list.offsets[other] = offset;
	}
}

struct pages_list scattered(uint64_t from, uint64_t length)
{
	struct pages_list list = new_list(length / WINDOW - length / LEAF);
	size_t count = 0;

	for (uint64_t window = from; window < from + length; window += WINDOW)
		if (window % LEAF)
			list.offsets[count++] = window + random_below(WINDOW / PAGE) * PAGE;
	shuffle(list);
	return list;
}

struct pages_list every_other(uint64_t from, size_t count)
{
	struct pages_list list = sequential(from + PAGE, 2 * PAGE, count);

	shuffle(list);
	return list;
}

struct pages_list backwards(struct pages_list pages)
{
	struct pages_list list = new_list(pages.count);

	for (size_t i = 0; i < pages.count; i++)
		list.offsets[i] = pages.offsets[pages.count - 1 - i];
	return list;
}

struct pages_list table_makers(uint64_t length)
{
	return sequential(0, LEAF, length / LEAF);
}

void touch(char *map, struct pages_list pages, bool write)
{
	if (write)
		for (size_t i = 0; i < pages.count; i++)
			__atomic_store_n(map + pages.offsets[i], 1, __ATOMIC_RELAXED);
	else
		for (size_t i = 0; i < pages.count; i++)
			(void)__atomic_load_n(map + pages.offsets[i], __ATOMIC_RELAXED);
}

void in_another_process(void (*run)(const struct target *target, void *argument),
			const struct target *target, void *argument)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		err(EXIT_FAILURE, "fork");
	if (!child) {
		run(target, argument);
		_exit(EXIT_SUCCESS);
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status))
		errx(EXIT_FAILURE, "the other process failed");
}
