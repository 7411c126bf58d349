// SPDX-License-Identifier: GPL-2.0
/*
 * The end of a device moves under those who use it. What is cut off is out of
 * reach at once, by mapping, by file and by ioctl, in every process; what is
 * before it stays. It is another's then, and what the device knew of it (its
 * leaves, its holes) must not come back with the pages that it gets later. What a
 * device grows by is there at once, for all who had it open or mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "uapi/rdax.h"

/* The new end: within the second 2 MiB. */
#define END_PAGE	(0x200 + 77)
#define END		(END_PAGE * SZ_4K)

/* Every page of the first 8 MiB, and some of the rest. */
#define DENSE	(4 * SZ_2M)

/*
 * The device is `size` bytes at the head of the region, all written and mapped.
 * Another has 8 MiB from page `place` on; nothing is free.
 */
FIXTURE(cut)
{
	int fd, other;
	uint64_t size, place;
	char *map;
};

FIXTURE_VARIANT(cut)
{
	uint64_t bytes;		/* of the pages that map it */
	const char *entries;	/* when the end has moved, and what is left was read, */
	const char *grown;	/* and when all is there and written again */
};

FIXTURE_VARIANT_ADD(cut, pte)
{
	.bytes = SZ_4K,
	.entries = "0x0 589 order 0 mapped dirty\n",
	.grown = "0x0 2048 order 0 mapped dirty\n",
};

FIXTURE_VARIANT_ADD(cut, pmd)
{
	.bytes = SZ_2M,
	.entries = "0x0 1 order 9 mapped dirty\n",
	.grown = "0x0 4 order 9 mapped dirty\n",
};

FIXTURE_VARIANT_ADD(cut, pud)
{
	.bytes = SZ_1G,
	.entries = "",
	.grown = NULL,
};

static char *map_by(int fd, uint64_t size, uint64_t bytes)
{
	char *map = rdax_map(fd, 0, size);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, size, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static void fill(char *map, uint64_t size, uint64_t seed)
{
	rdax_fill(map, 0, DENSE, SZ_4K, seed);
	rdax_fill(map + DENSE, DENSE, size - DENSE, SZ_2M, seed);
}

static uint64_t wrong(const char *map, uint64_t size, uint64_t seed)
{
	uint64_t dense = size < DENSE ? size : DENSE;

	return rdax_wrong(map, 0, dense, SZ_4K, seed) +
	       rdax_wrong(map + dense, dense, size - dense, SZ_2M, seed);
}

/* Makes the two devices; returns the number of the other. */
static int make_both(uint64_t size, uint64_t place)
{
	const struct region_part parts[] = { { 0, size / SZ_4K }, { place, DENSE / SZ_4K } };
	int ret = region_arrange(parts, ARRAY_SIZE(parts)), other;

	ret = ret ?: dev_resize(0, size);
	other = ret ?: region_create();
	ret = other < 0 ? other : dev_resize(other, DENSE);
	return ret ?: other;
}

FIXTURE_SETUP(cut)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->size = variant->bytes == SZ_1G ? 2 * SZ_1G : DENSE;
	self->place = (self->size + 2 * DENSE) / SZ_4K;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->size + 4 * DENSE)
		SKIP(return, "namespace too small or not aligned for this size");
	self->other = make_both(self->size, self->place);
	ASSERT_LT(0, self->other);
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = map_by(self->fd, self->size, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->map);
	fill(self->map, self->size, 1);
}

FIXTURE_TEARDOWN(cut)
{
	close(self->fd);
}

TEST_F(cut, mapping)
{
	const uint64_t beyond[] = { END, 2 * SZ_2M - SZ_4K, 2 * SZ_2M, self->size - 1 };
	struct rdax_counts before, d;

	ASSERT_EQ(0, dev_resize(0, END));
	EXPECT_EQ(END, rdax_size());
	EXPECT_STREQ(variant->entries, rdax_entries());
	rdax_counts(&before);
	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
		EXPECT_EQ(SIGBUS, rdax_load(self->map + beyond[i]));
		EXPECT_EQ(SIGBUS, rdax_store(self->map + beyond[i]));
	}
	rdax_delta(&before, &d);
	EXPECT_EQ(2 * ARRAY_SIZE(beyond), rdax_sigbus(&d));
	EXPECT_EQ(0, d.oom + d.created);
	EXPECT_EQ(0, rdax_load(self->map + END - 1));

	/* What is left is what it was, and is to be used. */
	EXPECT_EQ(0, rdax_wrong(self->map, 0, END, SZ_4K, 1));
	EXPECT_STREQ(variant->entries, rdax_entries());
	rdax_fill(self->map, 0, END, SZ_4K, 2);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, END, SZ_4K, 2));
	EXPECT_EQ(SIGBUS, rdax_store(self->map + END));
}

/* What was only read has no entry, and goes as well. */
TEST_F(cut, readers)
{
	const uint64_t pages[] = { 0, END - SZ_4K, END, END + SZ_4K, 3 * SZ_2M, self->size - SZ_4K };
	char *map;

	close(self->fd);
	ASSERT_EQ(0, rdax_fresh("4K"));
	ASSERT_LT(0, make_both(self->size, self->place));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	map = map_by(self->fd, self->size, variant->bytes);
	ASSERT_NE(MAP_FAILED, map);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		EXPECT_EQ(0, rdax_load(map + pages[i]));
	if (variant->bytes != SZ_1G)
		EXPECT_STREQ("", rdax_entries());
	ASSERT_EQ(0, dev_resize(0, END));
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		EXPECT_EQ(pages[i] < END ? 0 : SIGBUS, rdax_load(map + pages[i]));
}

TEST_F(cut, file)
{
	struct rdax_prefault prefault = {
		.size = sizeof(prefault),
		.address = (uintptr_t)self->map,
		.length = 3 * SZ_2M,
	};
	char *buf = malloc(SZ_2M), *map;
	struct iovec iov[2] = { { buf, 600 }, { buf + 600, 600 } };

	ASSERT_EQ(0, dev_resize(0, END));
	EXPECT_EQ(END, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(END, lseek(self->fd, END, SEEK_SET));
	EXPECT_EQ(-1, lseek(self->fd, END + 1, SEEK_SET));
	EXPECT_EQ(EINVAL, errno);

	EXPECT_EQ(1000, pread(self->fd, buf, SZ_2M, END - 1000));
	EXPECT_EQ(0, memcmp(buf, self->map + END - 1000, 1000));
	EXPECT_EQ(1000, preadv(self->fd, iov, 2, END - 1000));
	EXPECT_EQ(0, pread(self->fd, buf, SZ_2M, END));
	EXPECT_EQ(0, pread(self->fd, buf, SZ_2M, END + SZ_2M));
	EXPECT_EQ(0, pread(self->fd, buf, SZ_2M, self->size));
	memset(buf, 0x5a, SZ_2M);
	EXPECT_EQ(1000, pwrite(self->fd, buf, SZ_2M, END - 1000));
	EXPECT_EQ(0, memcmp(buf, self->map + END - 1000, 1000));
	EXPECT_EQ(-1, pwrite(self->fd, buf, 1, END));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buf, 1, self->size - 1));
	EXPECT_EQ(ENOSPC, errno);

	EXPECT_EQ(-EFBIG, rdax_punch(self->fd, END, 1));
	EXPECT_EQ(-EFBIG, rdax_zero(self->fd, END - 1, 2));
	EXPECT_EQ(0, rdax_zero(self->fd, END - 1, 1));
	EXPECT_EQ(-1, ioctl(self->fd, RDAX_IOC_PREFAULT, &prefault));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(END, prefault.done);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, msync(self->map, self->size, MS_SYNC));

	EXPECT_EQ(MAP_FAILED, rdax_map(self->fd, 0, END + SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, rdax_map(self->fd, END, SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	map = rdax_map(self->fd, 0, END);
	EXPECT_NE(MAP_FAILED, map);
	munmap(map, END);
	free(buf);
}

/*
 * The next who gets what was cut off finds what was written there last; and so does
 * the device when it comes back to it. Both see their own end.
 */
TEST_F(cut, media)
{
	uint64_t rest = self->size - END;
	struct region_part part;
	int fd, next;
	char *map;

	next = region_create();
	ASSERT_LT(0, next);
	ASSERT_EQ(0, dev_resize(0, END));
	ASSERT_EQ(0, dev_resize(next, rest));
	ASSERT_EQ(1, dev_parts(next, &part, 1));
	ASSERT_EQ(END_PAGE, part.first);
	fd = dev_open(next);
	map = rdax_map(fd, 0, rest);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, END, DENSE - END, SZ_4K, 1));
	EXPECT_EQ(0, rdax_wrong(map + DENSE - END, DENSE, self->size - DENSE, SZ_2M, 1));
	EXPECT_EQ(SIGBUS, rdax_load(self->map + END));

	/* Back. */
	ASSERT_EQ(0, dev_resize(next, 0));
	EXPECT_EQ(SIGBUS, rdax_load(map));
	EXPECT_EQ(SIGBUS, rdax_load(self->map + END));
	ASSERT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(1, dev_parts(0, NULL, 0));
	EXPECT_EQ(0, wrong(self->map, self->size, 1));
	EXPECT_EQ(SIGBUS, rdax_load(map));
	fill(self->map, self->size, 3);
	if (variant->grown)
		EXPECT_STREQ(variant->grown, rdax_entries());
	EXPECT_EQ(0, wrong(self->map, self->size, 3));
	close(fd);

	/* After a bind, by the media alone. */
	ASSERT_EQ(0, rdax_fresh("4K"));
	map = rdax_map(rdax_open(), 0, self->size);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, wrong(map, self->size, 3));
}

/* Whoever has the pages now writes them; they come back, or others do in their place. */
TEST_F(cut, other_media)
{
	uint64_t rest = DENSE - END;
	struct region_part got[3];
	char *map;
	int next;

	if (variant->bytes == SZ_1G)
		SKIP(return, "as with 2 MiB");
	next = region_create();
	ASSERT_LT(0, next);
	ASSERT_EQ(0, dev_fill(self->other, 40));
	ASSERT_EQ(0, dev_resize(0, END));
	ASSERT_EQ(0, dev_resize(next, rest));
	ASSERT_EQ(0, dev_fill(next, 50));
	EXPECT_EQ(SIGBUS, rdax_store(self->map + END));
	EXPECT_EQ(0, dev_wrong(next, 50));
	ASSERT_EQ(0, dev_resize(self->other, 0));
	ASSERT_EQ(0, dev_resize(0, DENSE));
	/* Of what the other had, those that are congruent: huge pages fit. */
	ASSERT_EQ(2, dev_parts(0, got, 3));
	ASSERT_EQ(self->place + 77, got[1].first);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, END, SZ_4K, 1));
	EXPECT_EQ(0, rdax_wrong(self->map + END, 77 * SZ_4K, rest, SZ_4K, 40));
	rdax_fill(self->map, 0, DENSE, SZ_4K, 4);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, dev_wrong(next, 50));

	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_EQ(0, region_wrong(got, 2, 4));
	map = rdax_map(rdax_open(), END, rest);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, 0, rest, SZ_4K, 50));
}

/* To nothing, and back. */
TEST_F(cut, nothing_left)
{
	char byte;

	ASSERT_EQ(0, dev_resize(0, 0));
	EXPECT_STREQ("", rdax_entries());
	EXPECT_EQ(SIGBUS, rdax_load(self->map));
	EXPECT_EQ(SIGBUS, rdax_store(self->map + self->size - 1));
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(0, pread(self->fd, &byte, 1, 0));
	EXPECT_EQ(-1, pwrite(self->fd, &byte, 1, 0));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(0, wrong(self->map, self->size, 1));
	fill(self->map, self->size, 2);
	EXPECT_EQ(0, wrong(self->map, self->size, 2));
}

/* Less and more by all kinds of steps; the whole is what it was. */
TEST_F(cut, many_ends)
{
	static const uint64_t ends[] = {
		DENSE - SZ_4K, 3 * SZ_2M + SZ_4K, 3 * SZ_2M, 3 * SZ_2M - SZ_4K, SZ_2M, SZ_4K,
		2 * SZ_4K, SZ_2M / 2, SZ_2M + SZ_4K, 2 * SZ_2M, DENSE - SZ_2M,
	};
	uint64_t end;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		end = ends[i];
		ASSERT_EQ(0, dev_resize(0, end));
		EXPECT_EQ(SIGBUS, rdax_load(self->map + end));
		EXPECT_EQ(0, rdax_wrong(self->map, 0, end, SZ_4K, 1));
		EXPECT_EQ(end, lseek(self->fd, 0, SEEK_END));
	}
	ASSERT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(0, wrong(self->map, self->size, 1));
}

/* Unmapped, and moved, where the end went through. */
TEST_F(cut, unmapped)
{
	char *moved;

	ASSERT_EQ(0, dev_resize(0, END));
	EXPECT_EQ(0, munmap(self->map + 2 * SZ_2M, SZ_2M));
	EXPECT_EQ(0, mprotect(self->map + SZ_2M, SZ_2M, PROT_READ));
	EXPECT_EQ(SIGBUS, rdax_load(self->map + END));
	EXPECT_EQ(SIGBUS, rdax_load(self->map + 3 * SZ_2M));
	EXPECT_EQ(SIGSEGV, rdax_store(self->map + SZ_2M));
	moved = mremap(self->map, 2 * SZ_2M, 2 * SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED,
		       self->map + 2 * SZ_2M);
	/* Two mappings by now, with two protections: one at a time. */
	if (moved == MAP_FAILED)
		moved = mremap(self->map + SZ_2M, SZ_2M, SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED,
			       self->map + 2 * SZ_2M) - SZ_2M;
	EXPECT_EQ(SIGBUS, rdax_load(self->map + 2 * SZ_2M + SZ_2M - 1));
	ASSERT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(0, rdax_load(self->map + 2 * SZ_2M + SZ_2M - 1));
}

/*
 * Other processes
 */

struct viewer {
	uint64_t size, bytes;	/* of its own mapping */
	char *map;		/* or that of its parent */
};

enum { LOOK, LOOK_AT_LESS, WRITE_LESS };

static int look(void *arg, int step)
{
	struct viewer *v = arg;

	if (!v->map)
		v->map = map_by(rdax_open(), v->size, v->bytes);
	if (v->map == MAP_FAILED)
		return 2;
	if (step == LOOK)
		return wrong(v->map, v->size, 1) != 0;
	if (step == WRITE_LESS && rdax_store(v->map + END) != SIGBUS)
		return 3;
	if (rdax_load(v->map + END) != SIGBUS || rdax_load(v->map + v->size - 1) != SIGBUS)
		return 4;
	return rdax_wrong(v->map, 0, END, SZ_4K, 1) != 0;
}

TEST_F(cut, all_viewers)
{
	struct viewer viewers[] = {
		{ self->size, SZ_4K }, { self->size, SZ_2M }, { self->size, .map = self->map },
	};
	struct rdax_peer peers[ARRAY_SIZE(viewers)];

	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
		ASSERT_EQ(0, rdax_peer_start(&peers[i], look, &viewers[i]));
	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
		EXPECT_EQ(0, rdax_peer_step(&peers[i], LOOK));
	for (int n = 0; n < 2; n++) {
		ASSERT_EQ(0, dev_resize(0, END));
		for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
			EXPECT_EQ(0, rdax_peer_step(&peers[i], n ? WRITE_LESS : LOOK_AT_LESS));
		ASSERT_EQ(0, dev_resize(0, self->size));
		for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
			EXPECT_EQ(0, rdax_peer_step(&peers[i], LOOK));
	}
	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
		rdax_peer_end(&peers[i]);
}

/*
 * Holes
 */

FIXTURE(hole)
{
	int fd, other, next;
	char *map;
};

FIXTURE_VARIANT(hole)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(hole, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(hole, pmd)
{
	.bytes = SZ_2M,
};

#define PLACE	0x1000

/* 8 MiB of holes, read by the mapping; another device has 8 MiB of data; a third nothing. */
FIXTURE_SETUP(hole)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 8 * DENSE)
		SKIP(return, "namespace too small or not aligned");
	self->other = make_both(DENSE, PLACE);
	ASSERT_LT(0, self->other);
	ASSERT_EQ(0, dev_fill(self->other, 60));
	self->next = region_create();
	ASSERT_LT(0, self->next);
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = map_by(self->fd, DENSE, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, rdax_punch(self->fd, 0, DENSE));
	for (uint64_t at = 0; at < DENSE; at += SZ_4K)
		ASSERT_EQ(0, rdax_load(self->map + at));
	ASSERT_STREQ("0x0 4 order 9 zero\n", rdax_entries());
}

FIXTURE_TEARDOWN(hole)
{
	close(self->fd);
}

static uint64_t not_zero(const char *map, uint64_t len)
{
	uint64_t n = 0;

	for (uint64_t at = 0; at < len; at += 8)
		n += *(uint64_t *)(map + at) != 0;
	return n;
}

/* Others write where the hole was; back there, the device sees that. */
TEST_F(hole, written_by_another)
{
	char *map;

	ASSERT_EQ(0, dev_resize(0, END));
	EXPECT_STREQ("0x0 1 order 9 zero\n", rdax_entries());
	EXPECT_EQ(SIGBUS, rdax_load(self->map + END));
	EXPECT_EQ(0, not_zero(self->map, END));
	ASSERT_EQ(0, dev_resize(self->next, DENSE - END));
	map = rdax_map(dev_open(self->next), 0, DENSE - END);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, not_zero(map, DENSE - END));
	rdax_fill(map, 0, DENSE - END, SZ_4K, 70);
	ASSERT_EQ(0, dev_resize(self->next, 0));
	ASSERT_EQ(0, dev_resize(0, DENSE));
	EXPECT_EQ(1, dev_parts(0, NULL, 0));
	EXPECT_EQ(0, rdax_wrong(self->map + END, 0, DENSE - END, SZ_4K, 70));
	EXPECT_EQ(0, not_zero(self->map, END));
}

/* In the place of the hole there are other pages. */
TEST_F(hole, other_media)
{
	struct region_part parts[3];

	ASSERT_EQ(0, dev_resize(0, END));
	ASSERT_EQ(0, dev_resize(self->next, DENSE - END));
	ASSERT_EQ(0, dev_resize(self->other, 0));
	ASSERT_EQ(0, dev_resize(0, DENSE));
	ASSERT_EQ(2, dev_parts(0, parts, 3));
	ASSERT_EQ(PLACE + 77, parts[1].first);
	EXPECT_EQ(0, rdax_wrong(self->map + END, 77 * SZ_4K, DENSE - END, SZ_4K, 60));
	EXPECT_EQ(0, not_zero(self->map, END));
	rdax_fill(self->map, 0, DENSE, SZ_4K, 5);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, DENSE, SZ_4K, 5));
}

/*
 * Growing
 */

FIXTURE(grow)
{
	int fd;
};

FIXTURE_SETUP(grow)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 8 * DENSE)
		SKIP(return, "namespace too small or not aligned");
	ASSERT_EQ(0, dev_resize(0, DENSE));
	ASSERT_EQ(0, dev_fill(0, 1));
	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(grow)
{
	close(self->fd);
}

TEST_F(grow, open_file)
{
	uint64_t word, other;
	char *map;

	ASSERT_EQ(SZ_2M, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(0, read(self->fd, &word, 8));
	EXPECT_EQ(MAP_FAILED, rdax_map(self->fd, 0, DENSE));
	ASSERT_EQ(0, dev_resize(0, DENSE));
	/* Where it stood, there is more now. */
	EXPECT_EQ(8, read(self->fd, &word, 8));
	EXPECT_EQ(8, pread(self->fd, &other, 8, SZ_2M));
	EXPECT_EQ(other, word);
	EXPECT_EQ(DENSE, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, DENSE - 1));
	EXPECT_EQ(-1, pwrite(self->fd, "x", 1, DENSE));
	map = rdax_map(self->fd, 0, DENSE);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ('x', map[DENSE - 1]);
	EXPECT_EQ(0, rdax_wrong(map, 0, DENSE - SZ_4K, SZ_4K, 1));
	EXPECT_EQ(0, rdax_punch(self->fd, DENSE - SZ_4K, SZ_4K));
	EXPECT_EQ(0, map[DENSE - 1]);
}

/* Somewhere else: an extent more, of which the open file and the mapping hear. */
TEST_F(grow, elsewhere)
{
	struct region_part parts[3];
	char *map;

	ASSERT_EQ(0, dev_resize(0, DENSE));
	map = rdax_map(self->fd, 0, DENSE);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, 0, DENSE, SZ_4K, 1));
	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	ASSERT_EQ(1, region_create());
	ASSERT_EQ(0, dev_resize(1, DENSE));
	EXPECT_EQ(SIGBUS, rdax_load(map + SZ_2M));
	for (uint64_t size = 2 * SZ_2M; size <= DENSE; size += SZ_2M) {
		ASSERT_EQ(0, dev_resize(0, size));
		EXPECT_EQ(0, rdax_store(map + size - 1));
		EXPECT_EQ(size, lseek(self->fd, 0, SEEK_END));
	}
	/* Each time what followed the last. */
	ASSERT_EQ(2, dev_parts(0, parts, 3));
	EXPECT_EQ(SZ_2M / SZ_4K + DENSE / SZ_4K, parts[1].first);
	rdax_fill(map, 0, DENSE, SZ_4K, 9);
	EXPECT_EQ(0, rdax_wrong(map, 0, DENSE, SZ_4K, 9));
}

/* A 2 MiB page that becomes whole is used by whoever maps it anew, or touches it at 2 MiB. */
TEST_F(grow, whole_again)
{
	struct rdax_counts before, d;
	char *map;

	ASSERT_EQ(0, dev_resize(0, DENSE));
	map = rdax_map(self->fd, 0, DENSE);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, dev_resize(0, END));
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_wrong(map, 0, END, SZ_4K, 1));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(77, d.pte_mapped);
	ASSERT_EQ(0, dev_resize(0, DENSE));
	munmap(map, DENSE);
	map = rdax_map(self->fd, 0, DENSE);
	ASSERT_NE(MAP_FAILED, map);
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_wrong(map, 0, DENSE, SZ_4K, 1));
	rdax_delta(&before, &d);
	EXPECT_EQ(4, d.pmd_mapped);
	EXPECT_EQ(0, d.pte_mapped);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
