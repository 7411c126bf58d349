// SPDX-License-Identifier: GPL-2.0
/*
 * 4 KiB faults that map more than their page where memory is touched in order, and
 * faults that take no lock since the entry is as they need it: how many, which entries
 * they make, what is dirty then, and that all of it is the right memory.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define PAGES	64
#define AREA	(PAGES * SZ_4K)
/* 0, 1, 2-3, 4-7, 8-15, 16-31, 32-47, 48-63. */
#define RUNS	8

FIXTURE(around)
{
	struct rdax_counts before;
	uint64_t grabs;
	char *map;
	int fd;
};

/* Maps at from bytes past a multiple of 1 GiB, so that the test knows where page tables and PMD tables end. */
static char *map_small_at(int fd, uint64_t offset, uint64_t len, uint64_t from)
{
	char *room = mmap(NULL, len + 2 * SZ_1G, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);
	char *map;

	if (room == MAP_FAILED)
		return room;
	map = (char *)(((uintptr_t)room + SZ_1G - 1) / SZ_1G * SZ_1G + from);
	map = mmap(map, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
	if (map != MAP_FAILED && madvise(map, len, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static char *map_small(int fd, uint64_t offset, uint64_t len)
{
	return map_small_at(fd, offset, len, offset % SZ_1G);
}

FIXTURE_SETUP(around)
{
	ASSERT_EQ(0, rdax_fault_around("65536"));
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = map_small(self->fd, 0, AREA);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_counts(&self->before);
	self->grabs = rdax_event("grabs");
}

FIXTURE_TEARDOWN(around)
{
	rdax_fault_around("0");
	close(self->fd);
}

static struct rdax_counts since(const FIXTURE_DATA(around) *self)
{
	struct rdax_counts d;

	rdax_delta(&self->before, &d);
	return d;
}

static void read_in_order(struct __test_metadata *_metadata, char *map)
{
	for (uint64_t at = 0; at < AREA; at += SZ_4K)
		ASSERT_EQ(0, rdax_load(map + at));
}

TEST_F(around, writes_in_order)
{
	rdax_fill(self->map, 0, AREA, SZ_4K, 1);
	EXPECT_EQ(RUNS, since(self).pte_mapped);
	EXPECT_EQ(RUNS, since(self).created);
	EXPECT_STREQ("0x0 2 order 0 mapped dirty\n0x2 1 order 1 mapped dirty\n"
		     "0x4 1 order 2 mapped dirty\n0x8 1 order 3 mapped dirty\n"
		     "0x10 3 order 4 mapped dirty\n", rdax_entries());
	/* The memory itself is right, as the file and as another mapping tell. */
	EXPECT_EQ(0, rdax_wrong(map_small(self->fd, 0, AREA), 0, AREA, SZ_4K, 1));
	for (uint64_t page = 0; page < PAGES; page++) {
		char *here = self->map + page * SZ_4K, there[SZ_4K];

		ASSERT_EQ(SZ_4K, pread(self->fd, there, SZ_4K, page * SZ_4K));
		ASSERT_EQ(0, memcmp(here, there, SZ_4K));
	}
	EXPECT_EQ(0, rdax_sigbus(&self->before));
}

/* Reads map read-only, all of it, without entries: each first write is seen, and dirties its page. */
TEST_F(around, reads_in_order)
{
	read_in_order(_metadata, self->map);
	EXPECT_EQ(RUNS, since(self).pte_mapped);
	EXPECT_STREQ("", rdax_entries());

	ASSERT_EQ(0, rdax_store(self->map + 40 * SZ_4K));
	EXPECT_EQ(RUNS + 1, since(self).pte_mapped);
	EXPECT_STREQ("0x28 1 order 0 mapped dirty\n", rdax_entries());
	/* The page behind it is not writable by that. */
	ASSERT_EQ(0, rdax_store(self->map + 41 * SZ_4K));
	EXPECT_EQ(RUNS + 2, since(self).pte_mapped);
	ASSERT_EQ(0, rdax_store(self->map + 60 * SZ_4K));
	EXPECT_EQ(RUNS + 3, since(self).pte_mapped);
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_EQ(3, rdax_event("writebacks"));
}

/* After a sync each page of a run is write-protected, also one that was never touched. */
TEST_F(around, syncs)
{
	char line[64];

	rdax_fill(self->map, 0, 33 * SZ_4K, SZ_4K, 1);
	EXPECT_EQ(RUNS - 1, since(self).pte_mapped);
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("", rdax_entries());
	for (int page = 33; page < 48; page += 7) {
		ASSERT_EQ(0, rdax_store(self->map + page * SZ_4K));
		snprintf(line, sizeof(line), "%#x 1 order 0 mapped dirty", page);
		EXPECT_NE(NULL, strstr(rdax_entries(), line));
		ASSERT_EQ(0, fsync(self->fd));
		EXPECT_STREQ("", rdax_entries());
	}
}

/* The neighbours of a page that is touched alone are not mapped. */
TEST_F(around, out_of_order)
{
	for (int page = 1; page < PAGES; page += 2)
		ASSERT_EQ(0, rdax_store(self->map + page * SZ_4K));
	EXPECT_EQ(PAGES / 2, since(self).pte_mapped);
	EXPECT_EQ(PAGES / 2, since(self).created);
}

/* Nothing is mapped behind the end of the mapping, or of the device. */
TEST_F(around, ends)
{
	uint64_t size = rdax_size();
	char *map = map_small(self->fd, AREA, 6 * SZ_4K);

	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, AREA, 6 * SZ_4K, SZ_4K, 1);
	EXPECT_STREQ("0x40 2 order 0 mapped dirty\n0x42 2 order 1 mapped dirty\n",
		     rdax_entries());
	map = map_small(self->fd, size - 6 * SZ_4K, 6 * SZ_4K);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, size - 6 * SZ_4K, 6 * SZ_4K, SZ_4K, 1);
	EXPECT_EQ(0, rdax_wrong(map, size - 6 * SZ_4K, 6 * SZ_4K, SZ_4K, 1));
	EXPECT_EQ(0, rdax_sigbus(&self->before));
}

/* Across the end of a page table, and back to its begin. */
TEST_F(around, page_tables)
{
	uint64_t offset = SZ_2M - AREA / 2;
	char *map = map_small(self->fd, offset, AREA);

	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, offset, AREA, SZ_4K, 1);
	EXPECT_EQ(0, rdax_wrong(map, offset, AREA, SZ_4K, 1));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x1f0 3 order 4 mapped dirty"));
}

/* Across the end of a PMD table. The first fault past it maps one page again. */
TEST_F(around, pmd_tables)
{
	uint64_t offset = SZ_2M - AREA / 2;
	char *map = map_small_at(self->fd, offset, AREA, SZ_1G - AREA / 2);

	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, offset, AREA, SZ_4K, 1);
	EXPECT_EQ(0, rdax_wrong(map, offset, AREA, SZ_4K, 1));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x1f0 1 order 4 mapped dirty\n"
					       "0x200 2 order 0 mapped dirty\n"
					       "0x202 1 order 1 mapped dirty\n"));
}

/* A page that has an entry: those around it are mapped beside it. */
TEST_F(around, beside_an_entry)
{
	ASSERT_EQ(0, rdax_store(self->map + 20 * SZ_4K));
	rdax_fill(self->map, 0, AREA, SZ_4K, 1);
	EXPECT_EQ(0, rdax_wrong(map_small(self->fd, 0, AREA), 0, AREA, SZ_4K, 1));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x20 2 order 4 mapped dirty"));
}

/* Neither a first touch needs the lock, nor what others have mapped, nor the first write to what is clean. */
TEST_F(around, without_the_lock)
{
	uint64_t grabs;
	char *map;

	rdax_fill(self->map, 0, AREA, SZ_4K, 1);
	for (int round = 0; round < 2; round++) {
		map = map_small(self->fd, 0, AREA);
		ASSERT_NE(MAP_FAILED, map);
		if (round)
			rdax_fill(map, 0, AREA, SZ_4K, 1);
		EXPECT_EQ(0, rdax_wrong(map, 0, AREA, SZ_4K, 1));
	}
	EXPECT_EQ(self->grabs, rdax_event("grabs"));
	EXPECT_EQ(3 * RUNS, since(self).pte_mapped);
	EXPECT_EQ(RUNS, since(self).created);

	ASSERT_EQ(0, fsync(self->fd));
	grabs = rdax_event("grabs");
	map = map_small(self->fd, 0, AREA);
	ASSERT_NE(MAP_FAILED, map);
	read_in_order(_metadata, map);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	ASSERT_EQ(0, rdax_store(map + 50 * SZ_4K));
	EXPECT_EQ(grabs, rdax_event("grabs"));
	EXPECT_STREQ("0x32 1 order 0 mapped dirty\n", rdax_entries());
}

/* Nor does a leaf of 2 MiB. */
TEST_F(around, large_without_the_lock)
{
	char *map;

	if (!rdax_fits(SZ_2M))
		SKIP(return, "media not aligned");
	for (int round = 0; round < 3; round++) {
		/* No room for a 1 GiB leaf. */
		map = rdax_map(self->fd, SZ_2M, 2 * SZ_2M);
		ASSERT_NE(MAP_FAILED, map);
		rdax_fill(map, SZ_2M, 2 * SZ_2M, SZ_4K, 1);
	}
	EXPECT_EQ(6, since(self).pmd_mapped);
	EXPECT_EQ(2, since(self).created);
	EXPECT_EQ(self->grabs, rdax_event("grabs"));
	EXPECT_EQ(0, rdax_wrong(map, SZ_2M, 2 * SZ_2M, SZ_4K, 1));
}

/* One page a fault when it is off; as much as it says, up to 2 MiB. */
TEST_F(around, parameter)
{
	char *map;

	ASSERT_EQ(0, rdax_fault_around("0"));
	rdax_fill(self->map, 0, AREA, SZ_4K, 1);
	EXPECT_EQ(PAGES, since(self).pte_mapped);

	EXPECT_EQ(-EINVAL, rdax_fault_around("2097153"));
	EXPECT_EQ(-EINVAL, rdax_fault_around("1073741824"));
	ASSERT_EQ(0, rdax_fault_around("2097152"));
	map = map_small(self->fd, SZ_2M, 4 * SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, SZ_2M, 4 * SZ_2M, SZ_4K, 1);
	EXPECT_EQ(0, rdax_wrong(map, SZ_2M, 4 * SZ_2M, SZ_4K, 1));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x400 3 order 9 mapped dirty"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
