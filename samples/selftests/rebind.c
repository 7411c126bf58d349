// SPDX-License-Identifier: GPL-2.0
/*
 * Bind and unbind a hundred times: always rdax0 again, always the same data,
 * and nothing kept: not the memory region, not its kernel mapping, not the
 * index's nodes. Faults in each round make the index that unbind must free.
 * Nor is anything kept of a device that was deleted, while its region is bound.
 */
#include <dirent.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"

#define ROUNDS	(RDAX_SLOWER > 1 ? 20 : 100)
#define TOUCHED	128

/* Lines of a file that contain this text. */
static unsigned int lines_with(const char *path, const char *text)
{
	char line[512];
	unsigned int n = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		return UINT32_MAX;
	while (fgets(line, sizeof(line), f))
		n += strstr(line, text) != NULL;
	fclose(f);
	return n;
}

static unsigned int devices_in_class(void)
{
	DIR *dir = opendir("/sys/class/dax");
	struct dirent *e;
	unsigned int n = 0;

	if (!dir)
		return 0;
	while ((e = readdir(dir)))
		n += !strncmp(e->d_name, "rdax", 4);
	closedir(dir);
	return n;
}

/* Objects in use in the slab caches of such names; 0 where the kernel doesn't tell. */
static uint64_t objects_of(const char *pattern)
{
	char line[512], name[64];
	uint64_t active, n = 0;
	FILE *f = fopen("/proc/slabinfo", "r");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %" SCNu64, name, &active) == 2 &&
		    !fnmatch(pattern, name, 0))
			n += active;
	fclose(f);
	return n;
}

TEST(hundred_times)
{
	char phys[64];
	uint64_t size, step, nodes = 0;

	ASSERT_EQ(0, rdax_fresh("4K"));
	size = rdax_size();
	step = size / TOUCHED;
	snprintf(phys, sizeof(phys), "phys=0x%016" PRIx64, rdax_attr("resource"));
	EXPECT_EQ(1, lines_with("/proc/iomem", rdax_ns()));
	EXPECT_EQ(1, lines_with("/proc/vmallocinfo", phys)) TH_LOG("%s", phys);

	for (int i = 0; i < ROUNDS; i++) {
		int fd;
		char *map;

		ASSERT_EQ(0, rdax_fresh("4K"));
		ASSERT_EQ(1, devices_in_class());
		fd = rdax_open();
		ASSERT_GE(fd, 0);
		map = rdax_map(fd, 0, size);
		ASSERT_NE(MAP_FAILED, map);
		/* 4 KiB pages far apart: one index node each. */
		ASSERT_EQ(0, madvise(map, size, MADV_NOHUGEPAGE));
		ASSERT_EQ(0, i ? rdax_wrong(map, 0, size, step, i - 1) : 0);
		rdax_fill(map, 0, size, step, i);
		ASSERT_EQ(TOUCHED, rdax_attr("entries/created"));
		munmap(map, size);
		close(fd);
		if (i == ROUNDS / 10)
			nodes = objects_of("radix_tree_node");
	}

	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(0, devices_in_class());
	EXPECT_EQ(-1, access(RDAX_NODE, F_OK));
	EXPECT_EQ(0, lines_with("/proc/iomem", rdax_ns()));
	EXPECT_EQ(0, lines_with("/proc/vmallocinfo", phys));
	/* KASAN keeps what was freed for a while, and the slab counts that. */
	if (lines_with("/proc/kallsyms", " kasan_quarantine_put"))
		return;
	/* A round makes more than TOUCHED nodes: a leak would be over 10,000. */
	EXPECT_LT(objects_of("radix_tree_node"), nodes + 20 * TOUCHED)
		TH_LOG("%" PRIu64 " nodes early on", nodes);
}

#define HELD	30

/* Each device that was keeps its own file and mapping, which reach none of its successors. */
TEST(old_files_pile_up)
{
	int fds[HELD];
	char *maps[HELD];
	uint64_t nodes = 0;

	for (int i = 0; i < HELD; i++) {
		ASSERT_EQ(0, rdax_fresh("4K"));
		ASSERT_EQ(1, devices_in_class());
		fds[i] = rdax_open();
		maps[i] = rdax_map(fds[i], 0, SZ_2M);
		ASSERT_NE(MAP_FAILED, maps[i]);
		ASSERT_EQ(0, i ? rdax_wrong(maps[i], 0, SZ_2M, SZ_4K, i - 1) : 0);
		rdax_fill(maps[i], 0, SZ_2M, SZ_4K, i);
		if (i)
			EXPECT_EQ(NULL, rdax_file_alive(fds[i - 1]))
				TH_LOG("%s", rdax_file_alive(fds[i - 1]));
		if (i == HELD / 3)
			nodes = objects_of("radix_tree_node");
	}
	ASSERT_EQ(0, rdax_fresh("4K"));
	for (int i = 0; i < HELD; i++) {
		EXPECT_EQ(NULL, rdax_file_alive(fds[i]));
		EXPECT_EQ(NULL, rdax_map_alive(maps[i], SZ_2M));
	}
	/* The index of each was freed when it went, not when the last file is closed. */
	EXPECT_LT(objects_of("radix_tree_node"), nodes + 20 * TOUCHED);
	for (int i = 0; i < HELD; i++) {
		munmap(maps[i], SZ_2M);
		close(fds[i]);
	}
}

#define DEVICES	300

/* The wait queues of a device's index alone take 6 KiB: what is kept of each would be seen. */
TEST(devices_come_and_go)
{
	uint64_t objects = 0;

	ASSERT_EQ(0, rdax_fresh("4K"));
	ASSERT_EQ(0, rdax_write_file(RDAX_CLASS "/size", "2M"));
	for (int i = 0; i < DEVICES; i++) {
		int minor = region_create();

		ASSERT_EQ(1, minor);
		ASSERT_EQ(0, region_delete(minor));
		if (i == DEVICES / 10)
			objects = objects_of("kmalloc-*8k");
	}
	if (lines_with("/proc/kallsyms", " kasan_quarantine_put"))
		return;
	EXPECT_LT(objects_of("kmalloc-*8k"), objects + DEVICES / 3)
		TH_LOG("%" PRIu64 " objects early on", objects);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
