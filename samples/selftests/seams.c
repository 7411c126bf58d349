// SPDX-License-Identifier: GPL-2.0
/*
 * A device whose extents lie in any order in its region: whatever is done across
 * their seams, by mapping at each size and by file, reaches the right pages of
 * the media and no others. That is looked at by the device, by its neighbours,
 * and through one device that is the whole region.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "uapi/rdax.h"

/*
 * From 2 MiB to 2 MiB of the device: two in the first extent; one over a seam,
 * both sides of which are congruent; two in the third; two in the fourth, which
 * are not congruent.
 */
static const struct region_part parts[] = {
	{ 0x1000, 0x400 }, { 0x200, 0x155 }, { 0x755, 0x4ab }, { 0x1801, 0x400 },
};

#define PAGES		UINT64_C(0xe00)
#define SIZE		(PAGES * SZ_4K)
#define CUT_UP		0x400	/* the 2 MiB with a seam in it */

static const uint64_t seams[] = { 0x400, 0x555, 0xa00 };

/* What surrounds the extents, but for the last, which has the rest of the region. */
static const struct region_part gaps[] = {
	{ 0, 0x200 }, { 0x355, 0x400 }, { 0xc00, 0x400 }, { 0x1400, 0x401 },
};

FIXTURE(seams)
{
	int fd, neighbours[ARRAY_SIZE(gaps)];
	char *map;
};

FIXTURE_VARIANT(seams)
{
	uint64_t bytes;
	const char *entries;	/* when all is written */
	uint64_t leaves[2];	/* of 4 KiB and of 2 MiB */
};

FIXTURE_VARIANT_ADD(seams, pte)
{
	.bytes = SZ_4K,
	.entries = "0x0 3584 order 0 mapped dirty\n",
	.leaves = { PAGES, 0 },
};

FIXTURE_VARIANT_ADD(seams, pmd)
{
	.bytes = SZ_2M,
	.entries = "0x0 2 order 9 mapped dirty\n"
		   "0x400 512 order 0 mapped dirty\n"
		   "0x600 2 order 9 mapped dirty\n"
		   "0xa00 1024 order 0 mapped dirty\n",
	.leaves = { 0x600, 4 },
};

static char *map_by(int fd, uint64_t bytes)
{
	char *map = rdax_map(fd, 0, SIZE);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, SIZE, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

/* The device is written through its mapping; each neighbour has data of its own. */
FIXTURE_SETUP(seams)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 64 * SZ_2M)
		SKIP(return, "namespace too small or not aligned");
	ASSERT_EQ(0, region_arrange(parts, ARRAY_SIZE(parts)));
	ASSERT_EQ(SIZE, rdax_size());
	for (size_t i = 0; i < ARRAY_SIZE(gaps); i++) {
		self->neighbours[i] = region_holder(gaps[i].first);
		ASSERT_LT(0, self->neighbours[i]);
		ASSERT_EQ(0, dev_fill(self->neighbours[i], 100 + i));
	}
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = map_by(self->fd, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_fill(self->map, 0, SIZE, SZ_4K, 1);
}

FIXTURE_TEARDOWN(seams)
{
	close(self->fd);
}

/* Words of neighbours that are not theirs any more. */
static uint64_t wrong_outside(const int *neighbours)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(gaps); i++)
		wrong += dev_wrong(neighbours[i], 100 + i);
	return wrong;
}

/* The same in the whole region. */
static uint64_t wrong_gaps(void)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(gaps); i++)
		wrong += region_wrong(&gaps[i], 1, 100 + i);
	return wrong;
}

TEST_F(seams, mapped)
{
	struct rdax_counts counts;
	char *other;

	rdax_counts(&counts);
	EXPECT_EQ(variant->leaves[0], counts.pte_mapped);
	EXPECT_EQ(variant->leaves[1], counts.pmd_mapped);
	EXPECT_EQ(0, rdax_sigbus(&counts) + counts.oom);
	EXPECT_STREQ(variant->entries, rdax_entries());
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SIZE, SZ_4K, 1));

	/* In pages of the other size. */
	other = map_by(self->fd, variant->bytes == SZ_4K ? SZ_2M : SZ_4K);
	ASSERT_NE(MAP_FAILED, other);
	EXPECT_EQ(0, rdax_wrong(other, 0, SIZE, SZ_4K, 1));
	rdax_fill(other, 0, SIZE, SZ_4K, 2);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SIZE, SZ_4K, 2));
	EXPECT_EQ(0, wrong_outside(self->neighbours));

	/* On the media. */
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_EQ(0, region_wrong(parts, ARRAY_SIZE(parts), 2));
	EXPECT_EQ(0, wrong_gaps());
}

/* As the device should be: a copy in memory that each test changes as the device. */
static char *copy_of(const char *map)
{
	char *copy = malloc(SIZE);

	memcpy(copy, map, SIZE);
	return copy;
}

static void noise(char *at, size_t len)
{
	static uint64_t word;

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			word = (word + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
		at[i] = word >> i % 8 * 8;
	}
}

TEST_F(seams, files)
{
	char *copy = copy_of(self->map), *buf = malloc(SIZE + SZ_4K);
	uint64_t at, len = 0;
	ssize_t n;

	/* By file what the mapping says, all at once and in odd pieces. */
	ASSERT_EQ(SIZE, pread(self->fd, buf, SIZE + SZ_4K, 0));
	EXPECT_EQ(0, memcmp(buf, copy, SIZE));
	memset(buf, 0xaa, SIZE);
	for (at = 0; at < SIZE; at += n) {
		len = 1 + (at * 7 + 70001) % 300000;
		n = pread(self->fd, buf + at, len, at);
		ASSERT_EQ(at + len > SIZE ? SIZE - at : len, n);
	}
	EXPECT_EQ(0, memcmp(buf, copy, SIZE));

	/* Each seam written, at once with one byte on the one side, or many. */
	for (size_t i = 0; i < ARRAY_SIZE(seams); i++) {
		for (size_t j = 0; j < 4; j++) {
			at = seams[i] * SZ_4K - (j & 1 ? 1 : 5000 + i);
			len = (j & 2 ? 2 : 9000 + j);
			noise(copy + at, len);
			ASSERT_EQ(len, pwrite(self->fd, copy + at, len, at));
			EXPECT_EQ(0, memcmp(self->map + at - SZ_4K, copy + at - SZ_4K,
					    len + 2 * SZ_4K));
		}
	}
	/* From the first extent into the last. */
	at = 0x300 * SZ_4K + 17;
	len = 0x800 * SZ_4K + 1000;
	noise(copy + at, len);
	ASSERT_EQ(len, pwrite(self->fd, copy + at, len, at));
	EXPECT_EQ(0, memcmp(self->map, copy, SIZE));
	ASSERT_EQ(SIZE, pread(self->fd, buf, SIZE, 0));
	EXPECT_EQ(0, memcmp(buf, copy, SIZE));
	EXPECT_EQ(0, wrong_outside(self->neighbours));
	free(copy);
	free(buf);
}

/* Zeroes to the byte; what is behind a seam stays where it does not reach. */
TEST_F(seams, holes_and_zeroes)
{
	int (*calls[])(int fd, uint64_t offset, uint64_t len) = { rdax_punch, rdax_zero };
	char *copy = copy_of(self->map);
	uint64_t at, len;

	for (size_t i = 0; i < ARRAY_SIZE(seams); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(calls); j++) {
			at = seams[i] * SZ_4K - 2 * SZ_4K - 100 + j * 3000;
			len = 5 * SZ_4K + 77;
			memset(copy + at, 0, len);
			ASSERT_EQ(0, calls[j](self->fd, at, len));
			EXPECT_EQ(0, memcmp(self->map, copy, SIZE));
			/* Up to the seam, and from it on. */
			at = seams[i] * SZ_4K - 8 * SZ_4K;
			memset(copy + at, 0, 2 * SZ_4K);
			ASSERT_EQ(0, calls[j](self->fd, at, 2 * SZ_4K));
			at = seams[i] * SZ_4K;
			memset(copy + at, 0, 4 * SZ_4K);
			ASSERT_EQ(0, calls[j](self->fd, at, 4 * SZ_4K));
			EXPECT_EQ(0, memcmp(self->map, copy, SIZE));
		}
	}
	/* A hole of 2 MiB over a seam: read by all as zeroes, then written. */
	memset(copy + CUT_UP * SZ_4K, 0, SZ_2M);
	ASSERT_EQ(0, rdax_punch(self->fd, CUT_UP * SZ_4K, SZ_2M));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x400 1 order 9 zero\n"));
	EXPECT_EQ(0, memcmp(self->map, copy, SIZE));
	rdax_fill(self->map, 0, SIZE, SZ_4K, 3);
	rdax_fill(copy, 0, SIZE, SZ_4K, 3);
	EXPECT_EQ(0, memcmp(self->map, copy, SIZE));
	EXPECT_EQ(0, wrong_outside(self->neighbours));

	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_EQ(0, region_wrong(parts, ARRAY_SIZE(parts), 3));
	EXPECT_EQ(0, wrong_gaps());
	free(copy);
}

/* One entry written back for each leaf, over seams or not; and it is clean then. */
TEST_F(seams, synced)
{
	uint64_t all = variant->leaves[0] + variant->leaves[1], before;
	struct rdax_counts counts, d;

	ASSERT_EQ(0, rdax_attr("entries/writebacks"));
	ASSERT_EQ(0, msync(self->map + 0x3ff * SZ_4K, 2 * SZ_4K, MS_SYNC));
	EXPECT_EQ(2, rdax_attr("entries/writebacks"));
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_EQ(all, rdax_attr("entries/writebacks"));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));

	/* The first write to each faults again. */
	before = rdax_attr("entries/writebacks");
	rdax_counts(&counts);
	rdax_fill(self->map, 0, SIZE, SZ_4K, 4);
	rdax_delta(&counts, &d);
	EXPECT_EQ(variant->leaves[0], d.pte_mapped);
	EXPECT_EQ(variant->leaves[1], d.pmd_mapped);
	EXPECT_STREQ(variant->entries, rdax_entries());
	ASSERT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(before + all, rdax_attr("entries/writebacks"));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SIZE, SZ_4K, 4));
	EXPECT_EQ(0, wrong_outside(self->neighbours));
}

TEST_F(seams, prefaulted)
{
	struct rdax_prefault call = {
		.size = sizeof(call),
		.flags = RDAX_PREFAULT_WRITE,
		.length = SIZE,
	};
	struct rdax_counts counts, d;
	char *map = map_by(self->fd, variant->bytes);

	ASSERT_NE(MAP_FAILED, map);
	call.address = (uintptr_t)map;
	rdax_counts(&counts);
	ASSERT_EQ(0, ioctl(self->fd, RDAX_IOC_PREFAULT, &call));
	EXPECT_EQ(SIZE, call.done);
	rdax_delta(&counts, &d);
	EXPECT_EQ(variant->leaves[0], d.pte_mapped);
	EXPECT_EQ(variant->leaves[1], d.pmd_mapped);
	rdax_counts(&counts);
	EXPECT_EQ(0, rdax_wrong(map, 0, SIZE, SZ_4K, 1));
	rdax_fill(map, 0, SIZE, SZ_4K, 5);
	rdax_delta(&counts, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SIZE, SZ_4K, 5));
}

/* Small entries become a large one where a leaf fits, and stay what they are elsewhere. */
TEST_F(seams, upgrades)
{
	uint64_t before = rdax_event("upgrades");
	char *map;

	if (variant->bytes != SZ_4K)
		SKIP(return, "there are no small entries");
	map = map_by(self->fd, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SIZE, SZ_4K, 6);
	EXPECT_EQ(4, rdax_event("upgrades") - before);
	EXPECT_STREQ("0x0 2 order 9 mapped dirty\n"
		     "0x400 512 order 0 mapped dirty\n"
		     "0x600 2 order 9 mapped dirty\n"
		     "0xa00 1024 order 0 mapped dirty\n", rdax_entries());
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SIZE, SZ_4K, 6));
	EXPECT_EQ(0, wrong_outside(self->neighbours));
}

TEST_F(seams, another_process)
{
	pid_t pid = fork();
	int status;

	ASSERT_GE(pid, 0);
	if (!pid) {
		char *map = map_by(rdax_open(), SZ_2M);

		if (map == MAP_FAILED || rdax_wrong(map, 0, SIZE, SZ_4K, 1))
			_exit(1);
		rdax_fill(map, 0, SIZE, SZ_4K, 8);
		_exit(rdax_wrong(self->map, 0, SIZE, SZ_4K, 8) ? 2 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SIZE, SZ_4K, 8));
}

/*
 * 1 GiB
 */

FIXTURE(giants)
{
	int fd;
};

FIXTURE_SETUP(giants)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_1G) || rdax_size() < 4 * SZ_1G)
		SKIP(return, "namespace too small or not aligned");
	self->fd = -1;
}

FIXTURE_TEARDOWN(giants)
{
	close(self->fd);
}

TEST_F(giants, congruent_and_cut_up)
{
	/* A GiB that is congruent, and one over a seam. */
	static const struct region_part giants[] = {
		{ 0x80000, 0x40000 }, { 0x20000, 0x20000 }, { 0x60000, 0x20000 },
	};
	struct rdax_counts counts;
	char *map;

	ASSERT_EQ(0, region_arrange(giants, ARRAY_SIZE(giants)));
	self->fd = rdax_open();
	map = rdax_map(self->fd, 0, 2 * SZ_1G);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, 2 * SZ_1G, 64 * SZ_2M, 1);
	rdax_counts(&counts);
	EXPECT_EQ(1, counts.pud_mapped);
	EXPECT_EQ(8, counts.pmd_mapped);
	EXPECT_EQ(0, counts.pte_mapped);
	EXPECT_EQ(0, rdax_wrong(map, 0, 2 * SZ_1G, 64 * SZ_2M, 1));

	/* The same words where they lie in the region. */
	munmap(map, 2 * SZ_1G);
	ASSERT_EQ(0, rdax_fresh("4K"));
	map = rdax_map(rdax_open(), 0, 4 * SZ_1G);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map + 2 * SZ_1G, 0, SZ_1G, 64 * SZ_2M, 1));
	EXPECT_EQ(0, rdax_wrong(map + SZ_1G / 2, SZ_1G, SZ_1G / 2, 64 * SZ_2M, 1));
	EXPECT_EQ(0, rdax_wrong(map + 3 * SZ_1G / 2, 3 * SZ_1G / 2, SZ_1G / 2, 64 * SZ_2M, 1));
}

TEST_F(giants, in_one_but_not_congruent)
{
	static const struct region_part part = { 0x200, 0x40000 };
	struct rdax_counts counts;
	char *map;

	ASSERT_EQ(0, region_arrange(&part, 1));
	self->fd = rdax_open();
	map = rdax_map(self->fd, 0, SZ_1G);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SZ_1G, 64 * SZ_2M, 2);
	rdax_counts(&counts);
	EXPECT_EQ(0, counts.pud_mapped + counts.pte_mapped);
	EXPECT_EQ(8, counts.pmd_mapped);
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_1G, 64 * SZ_2M, 2));
}

/*
 * Devices with a larger alignment: of a region that was bound so, and of their own
 */

FIXTURE(aligned)
{
	int fd;
};

FIXTURE_VARIANT(aligned)
{
	const char *text;
	uint64_t bytes;
	bool of_the_region;
};

FIXTURE_VARIANT_ADD(aligned, region_2M)
{
	.text = "2M",
	.bytes = SZ_2M,
	.of_the_region = true,
};

FIXTURE_VARIANT_ADD(aligned, own_2M)
{
	.text = "2M",
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(aligned, region_1G)
{
	.text = "1G",
	.bytes = SZ_1G,
	.of_the_region = true,
};

FIXTURE_VARIANT_ADD(aligned, own_1G)
{
	.text = "1G",
	.bytes = SZ_1G,
};

/*
 * The device is the second and the first page of that size, in this order: what
 * was before them is another's. Each page must be one of the media.
 */
FIXTURE_SETUP(aligned)
{
	struct region_part got[3];
	uint64_t align = variant->bytes, unit = align / SZ_4K;

	self->fd = -1;
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(align) || rdax_size() < 4 * align)
		SKIP(return, "namespace too small or not aligned");
	ASSERT_EQ(0, rdax_fresh(variant->of_the_region ? variant->text : "4K"));
	/* 1 has the first, 2 the second, 3 the rest; then 2 and 1 go. */
	ASSERT_EQ(0, dev_resize(0, 0));
	for (int minor = 1; minor <= 3; minor++) {
		ASSERT_EQ(minor, region_create());
		ASSERT_EQ(0, dev_resize(minor, minor < 3 ? align :
						dev_number(0, "available_size")));
	}
	if (!variant->of_the_region)
		ASSERT_EQ(0, dev_write(0, "align", variant->text));
	ASSERT_EQ(0, region_delete(2));
	ASSERT_EQ(0, dev_resize(0, align));
	ASSERT_EQ(0, region_delete(1));
	ASSERT_EQ(0, dev_resize(0, 2 * align));
	ASSERT_EQ(2, dev_parts(0, got, 3));
	ASSERT_EQ(unit, got[0].first);
	ASSERT_EQ(0, got[1].first);
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(aligned)
{
	close(self->fd);
}

TEST_F(aligned, mapped)
{
	uint64_t align = variant->bytes;
	struct rdax_counts counts;
	char *map;

	EXPECT_EQ(align, rdax_attr("align"));
	EXPECT_EQ(MAP_FAILED, rdax_map(self->fd, 0, align + SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, rdax_map(self->fd, align / 2, align));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, rdax_map(self->fd, align, 2 * align));
	EXPECT_EQ(EINVAL, errno);

	map = rdax_map(self->fd, 0, 2 * align);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, 2 * align, align / 8, 1);
	rdax_counts(&counts);
	EXPECT_EQ(2, rdax_mapped(&counts, align));
	EXPECT_EQ(2, counts.pte_mapped + counts.pmd_mapped + counts.pud_mapped);

	/* It splits at the seam, which is one of its pages' ends, and nowhere else. */
	EXPECT_EQ(-1, munmap(map + SZ_4K, SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, munmap(map, align / 2));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, mprotect(map + align, align - SZ_4K, PROT_READ));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, rdax_wrong(map, 0, 2 * align, align / 8, 1));
	EXPECT_EQ(0, mprotect(map + align, align, PROT_READ));
	EXPECT_EQ(SIGSEGV, rdax_store(map + align));
	EXPECT_EQ(0, munmap(map, align));
	EXPECT_EQ(0, rdax_wrong(map + align, align, align, align / 8, 1));
}

/* It shrinks and grows by its pages, and stays so. */
TEST_F(aligned, resized)
{
	uint64_t align = variant->bytes;
	char *map = rdax_map(self->fd, 0, 2 * align);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-EINVAL, dev_resize(0, align / 2));
	EXPECT_EQ(-EINVAL, dev_resize(0, 2 * align + SZ_4K));
	rdax_fill(map, 0, 2 * align, align / 8, 1);
	ASSERT_EQ(0, dev_resize(0, align));
	EXPECT_EQ(SIGBUS, rdax_load(map + align));
	EXPECT_EQ(0, rdax_wrong(map, 0, align, align / 8, 1));
	ASSERT_EQ(0, dev_resize(0, 2 * align));
	EXPECT_EQ(0, rdax_wrong(map, 0, 2 * align, align / 8, 1));
	EXPECT_EQ(align, rdax_attr("align"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
