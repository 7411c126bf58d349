// SPDX-License-Identifier: GPL-2.0
/* The kernel's memory: what is free, the slabs, and page tables. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* What is touched: a quarter of a GiB. The results are for a GiB. */
#define LENGTH		(GiB / 4)
#define TIMES		4

enum { FREE, SLAB, PAGE_TABLES, FIELDS };

static const char *const fields[FIELDS] = { "Free", "Slab", "PageTables" };

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file))
		err(EXIT_FAILURE, "%s", path);
}

/* With those that wait in the lists of the CPUs, which MemFree leaves out: many MiB. */
static int64_t free_pages(void)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	int64_t pages = 0, value;
	char line[128];

	if (!file)
		err(EXIT_FAILURE, "/proc/zoneinfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " nr_free_pages %" SCNd64, &value) == 1 ||
		    sscanf(line, " count: %" SCNd64, &value) == 1)
			pages += value;
	fclose(file);
	return pages;
}

/* Counters that are kept per CPU are summed up first. */
static void read_fields(int64_t *bytes)
{
	FILE *file;
	char line[128], name[64];
	int64_t value;

	write_file("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/meminfo", "r");
	if (!file)
		err(EXIT_FAILURE, "/proc/meminfo");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63[^:]: %" SCNd64 " kB", name, &value) != 2)
			continue;
		for (size_t i = SLAB; i < FIELDS; i++)
			if (!strcmp(name, fields[i]))
				bytes[i] = value * (int64_t)KiB;
	}
	fclose(file);
	bytes[FREE] = free_pages() * (int64_t)PAGE;
}

static void report_fields(const char *operation, const int64_t *bytes)
{
	char name[64];

	for (size_t i = 0; i < FIELDS; i++) {
		snprintf(name, sizeof(name), "%s-%s", operation, fields[i]);
		report_bytes(name, bytes[i]);
	}
}

/* As it is now. */
static void as_it_is(const struct target *target)
{
	int64_t bytes[FIELDS] = { };

	(void)target;
	read_fields(bytes);
	report_fields("memory-state", bytes);
}

static void per_gib(const struct target *target)
{
	struct pages_list pages = sequential(0, PAGE, LENGTH / PAGE);
	int64_t before[FIELDS] = { }, after[FIELDS] = { };
	char *map = map_target(target, LENGTH, SMALL);

	expect_sigbus("memory-4k");
	/* what earlier runs left of the nodes of indices */
	write_file("/sys/kernel/slab/radix_tree_node/shrink", "1");
	/* twice: by then this program has what it needs itself */
	read_fields(after);
	read_fields(before);
	touch(map, pages, true);
	read_fields(after);
	for (size_t i = 0; i < FIELDS; i++)
		after[i] = TIMES * (after[i] - before[i]);
	report_fields("memory-4k", after);
}

const struct operation memory_operations[] = {
	{ "memory-state", as_it_is },
	{ "memory-4k", per_gib },
	{ }
};
