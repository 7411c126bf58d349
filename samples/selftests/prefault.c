// SPDX-License-Identifier: GPL-2.0
/*
 * RDAX_IOC_PREFAULT: the faults happen in the call and none afterwards, at the
 * best size, for reading or for writing; how far it came is always said; and
 * what it refuses. A program that prefaults does so because a fault later would
 * come at the wrong time: one that is left over defeats the purpose.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"
#include "uapi/rdax.h"

struct done {
	int error;
	uint64_t bytes;
};

#define NOT_SAID	UINT64_C(0xdeadbeef)

static struct done prefault(int fd, const void *address, uint64_t len, uint32_t flags)
{
	struct rdax_prefault p = {
		.size = sizeof(p),
		.flags = flags,
		.address = (uintptr_t)address,
		.length = len,
		.done = NOT_SAID,
	};
	int error = ioctl(fd, RDAX_IOC_PREFAULT, &p) ? errno : 0;

	return (struct done){ error, p.done };
}

#define EXPECT_DONE(wanted_error, wanted_bytes, call) do {		\
	struct done answered = (call);					\
	EXPECT_EQ(wanted_error, answered.error);			\
	EXPECT_EQ(wanted_bytes, answered.bytes);			\
} while (0)

static uint64_t all_mapped(const struct rdax_counts *c)
{
	return c->pte_mapped + c->pmd_mapped + c->pud_mapped;
}

/*
 * Sizes
 */

FIXTURE(sizes)
{
	int fd;
	uint64_t len;
	char *map;
};

FIXTURE_VARIANT(sizes)
{
	uint64_t bytes, count;
};

FIXTURE_VARIANT_ADD(sizes, pte)
{
	.bytes = SZ_4K,
	.count = 700,
};

FIXTURE_VARIANT_ADD(sizes, pmd)
{
	.bytes = SZ_2M,
	.count = 5,
};

FIXTURE_VARIANT_ADD(sizes, pud)
{
	.bytes = SZ_1G,
	.count = 2,
};

FIXTURE_SETUP(sizes)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->len = variant->bytes * variant->count;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	if (variant->bytes == SZ_4K)
		ASSERT_EQ(0, madvise(self->map, self->len, MADV_NOHUGEPAGE));
}

FIXTURE_TEARDOWN(sizes)
{
	close(self->fd);
}

/* Touch all pages of the range; what that cost in faults that mapped something. */
static uint64_t faults_of(char *map, uint64_t len, bool write)
{
	struct rdax_counts before, d;
	/* Some of 1 GiB: what takes the time is the host's memory. */
	uint64_t step = len > SZ_1G ? 31 * SZ_2M : SZ_4K;

	rdax_counts(&before);
	for (uint64_t at = 0; at < len; at += step)
		if (write ? rdax_store(map + at) : rdax_load(map + at))
			return UINT64_MAX;
	rdax_delta(&before, &d);
	return all_mapped(&d);
}

TEST_F(sizes, read)
{
	struct rdax_counts before, d;

	rdax_counts(&before);
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, 0));
	rdax_delta(&before, &d);
	EXPECT_EQ(variant->count, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(variant->count, all_mapped(&d));
	EXPECT_EQ(variant->bytes == SZ_1G ? variant->count : 0, d.created);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	EXPECT_EQ(0, faults_of(self->map, self->len, false));

	/* Again: there is nothing to do. */
	rdax_counts(&before);
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, 0));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, all_mapped(&d) + d.created + rdax_sigbus(&d) + d.oom);

	/* For reading only: a write is still seen, once a page. */
	EXPECT_EQ(variant->count, faults_of(self->map, self->len, true));
}

TEST_F(sizes, write)
{
	struct rdax_counts before, d;
	char line[64];

	rdax_counts(&before);
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, RDAX_PREFAULT_WRITE));
	rdax_delta(&before, &d);
	EXPECT_EQ(variant->count, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(variant->count, all_mapped(&d));
	snprintf(line, sizeof(line), "0x0 %" PRIu64 " order %d mapped dirty\n", variant->count,
		 variant->bytes == SZ_4K ? 0 : variant->bytes == SZ_2M ? 9 : 18);
	EXPECT_STREQ(line, rdax_entries());
	EXPECT_EQ(0, faults_of(self->map, self->len, true));
	EXPECT_EQ(0, faults_of(self->map, self->len, false));
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, RDAX_PREFAULT_WRITE));
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, 0));
	EXPECT_EQ(0, faults_of(self->map, self->len, true));
}

/* What is mapped for reading is made writable. */
TEST_F(sizes, write_after_read)
{
	struct rdax_counts before, d;

	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, 0));
	rdax_counts(&before);
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, RDAX_PREFAULT_WRITE));
	rdax_delta(&before, &d);
	EXPECT_EQ(variant->count, all_mapped(&d));
	EXPECT_EQ(variant->bytes == SZ_1G ? 0 : variant->count, d.created);
	EXPECT_EQ(0, faults_of(self->map, self->len, true));
}

/* Nothing is written: the bytes are those that were there. */
TEST_F(sizes, bytes_stay)
{
	bytes_make(self->map, 0, 100000, 1);
	munmap(self->map, self->len);
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(100000, bytes_right(self->map, 0, 100000, 1));
}

/* A part of it only, in pages of the size that the whole mapping allows. */
TEST_F(sizes, part)
{
	struct rdax_counts before, d;
	char *middle = self->map + variant->bytes + variant->bytes / SZ_4K / 2 * SZ_4K;

	rdax_counts(&before);
	EXPECT_DONE(0, SZ_4K, prefault(self->fd, middle, SZ_4K, 0));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, all_mapped(&d));
	EXPECT_EQ(1, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(0, faults_of(middle, SZ_4K, false));
	/* The neighbour is not mapped. */
	EXPECT_EQ(1, faults_of(self->map, SZ_4K, false));
}

/* Forked before its parent maps all, or after: what a child has mapped is its own. */
struct forked {
	int fd;
	char *map;
	uint64_t len, count;
};

static int prefault_in_child(void *arg, int n)
{
	struct forked *f = arg;
	struct rdax_counts before, d;
	struct done done;

	rdax_counts(&before);
	done = prefault(f->fd, f->map, f->len, RDAX_PREFAULT_WRITE);
	rdax_delta(&before, &d);
	if (done.error || done.bytes != f->len)
		return 1;
	if (all_mapped(&d) != f->count)
		return 2;
	return faults_of(f->map, f->len, true) ? 3 : 0;
}

TEST_F(sizes, forked)
{
	struct forked f = { self->fd, self->map, self->len, variant->count };
	struct rdax_peer before, after;

	ASSERT_EQ(0, rdax_peer_start(&before, prefault_in_child, &f));
	EXPECT_DONE(0, self->len, prefault(self->fd, self->map, self->len, RDAX_PREFAULT_WRITE));
	ASSERT_EQ(0, rdax_peer_start(&after, prefault_in_child, &f));
	EXPECT_EQ(0, rdax_peer_step(&before, 0));
	EXPECT_EQ(0, rdax_peer_step(&after, 0));
	EXPECT_EQ(0, faults_of(self->map, self->len, true));
	rdax_peer_end(&before);
	rdax_peer_end(&after);
}

/*
 * Odd mappings
 */

#define ROOM	(16 * SZ_2M)

FIXTURE(odd)
{
	int fd;
	char *room;		/* an aligned place in which there is nothing */
};

FIXTURE_SETUP(odd)
{
	char *room;

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_2M) || rdax_size() < ROOM)
		SKIP(return, "namespace too small or not aligned");
	room = mmap(NULL, ROOM + SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	munmap(room, ROOM + SZ_2M);
	self->room = (char *)(((uintptr_t)room + SZ_2M - 1) & ~(SZ_2M - 1));
}

FIXTURE_TEARDOWN(odd)
{
	close(self->fd);
}

static bool map_at(int fd, char *at, uint64_t len, int prot, uint64_t offset)
{
	return mmap(at, len, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) == at;
}

/* 4 KiB, 2 MiB and 4 KiB in one mapping that begins and ends between. */
TEST_F(odd, best_size)
{
	uint64_t from = SZ_2M - 3 * SZ_4K, len = SZ_2M + 5 * SZ_4K;
	struct rdax_counts before, d;

	ASSERT_TRUE(map_at(self->fd, self->room + from, len, PROT_READ | PROT_WRITE, from));
	rdax_counts(&before);
	EXPECT_DONE(0, len, prefault(self->fd, self->room + from, len, RDAX_PREFAULT_WRITE));
	rdax_delta(&before, &d);
	EXPECT_EQ(5, d.pte_mapped);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(0, faults_of(self->room + from, len, true));
}

/* Address and offset that never meet: 4 KiB each. */
TEST_F(odd, not_congruent)
{
	struct rdax_counts before, d;
	uint64_t len = SZ_2M + SZ_4K;

	ASSERT_TRUE(map_at(self->fd, self->room, len, PROT_READ | PROT_WRITE, SZ_4K));
	rdax_counts(&before);
	EXPECT_DONE(0, len, prefault(self->fd, self->room, len, RDAX_PREFAULT_WRITE));
	rdax_delta(&before, &d);
	EXPECT_EQ(513, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped);
	EXPECT_EQ(0, faults_of(self->room, len, true));
}

/* Two mappings of the device next to each other, of different protection and offset. */
TEST_F(odd, two_mappings)
{
	char *first = self->room, *second = first + SZ_2M;

	ASSERT_TRUE(map_at(self->fd, first, SZ_2M, PROT_READ | PROT_WRITE, 4 * SZ_2M));
	ASSERT_TRUE(map_at(self->fd, second, 2 * SZ_2M, PROT_READ, 0));
	EXPECT_DONE(0, 3 * SZ_2M, prefault(self->fd, first, 3 * SZ_2M, 0));
	EXPECT_EQ(0, faults_of(first, 3 * SZ_2M, false));
	/* In the first for writing, and refused by the second. */
	EXPECT_DONE(EACCES, SZ_2M, prefault(self->fd, first, 3 * SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(first, SZ_2M, true));
	EXPECT_DONE(EACCES, 0, prefault(self->fd, second, SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_DONE(EACCES, 0, prefault(self->fd, second, SZ_4K, RDAX_PREFAULT_WRITE));
}

/* The file of one open serves the mappings of another. */
TEST_F(odd, other_open)
{
	int reader = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);

	ASSERT_TRUE(map_at(self->fd, self->room, SZ_2M, PROT_READ | PROT_WRITE, 0));
	EXPECT_DONE(0, SZ_2M, prefault(reader, self->room, SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(self->room, SZ_2M, true));
	close(reader);
}

TEST_F(odd, gaps)
{
	char *map = self->room + SZ_2M, *other;

	ASSERT_TRUE(map_at(self->fd, map, 3 * SZ_2M, PROT_READ | PROT_WRITE, 0));
	/* Nothing before it, nothing behind it, and a page gone from within. */
	EXPECT_DONE(ENOMEM, 0, prefault(self->fd, map - SZ_4K, 2 * SZ_4K, 0));
	EXPECT_DONE(ENOMEM, 3 * SZ_2M, prefault(self->fd, map, 4 * SZ_2M, 0));
	EXPECT_DONE(ENOMEM, SZ_4K, prefault(self->fd, map + 3 * SZ_2M - SZ_4K, 2 * SZ_4K, 0));
	munmap(map + SZ_2M + 7 * SZ_4K, SZ_4K);
	EXPECT_DONE(ENOMEM, SZ_2M + 7 * SZ_4K,
		    prefault(self->fd, map, 3 * SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(map, SZ_2M + 7 * SZ_4K, true));

	/* Somebody else's memory in its place. */
	other = mmap(map + SZ_2M + 7 * SZ_4K, SZ_4K, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ASSERT_EQ(map + SZ_2M + 7 * SZ_4K, other);
	EXPECT_DONE(EINVAL, SZ_2M + 7 * SZ_4K, prefault(self->fd, map, 3 * SZ_2M, 0));
	EXPECT_DONE(EINVAL, 0, prefault(self->fd, other, SZ_4K, 0));
	EXPECT_DONE(EINVAL, 0, prefault(self->fd, other, 2 * SZ_4K, 0));
	munmap(other, SZ_4K);
	other = mmap(other, SZ_4K, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
		     open("/proc/self/exe", O_RDONLY), 0);
	EXPECT_DONE(EINVAL, SZ_4K, prefault(self->fd, other - SZ_4K, 2 * SZ_4K, 0));
}

TEST_F(odd, protections)
{
	char *map = self->room;

	ASSERT_TRUE(map_at(self->fd, map, SZ_2M, PROT_READ | PROT_WRITE, 0));
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, map, SZ_2M, RDAX_PREFAULT_WRITE));
	/* A 4 KiB page in the middle may not be written, then not be read either. */
	ASSERT_EQ(0, mprotect(map + 9 * SZ_4K, SZ_4K, PROT_READ));
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, map, SZ_2M, 0));
	EXPECT_DONE(EACCES, 9 * SZ_4K, prefault(self->fd, map, SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(map, 9 * SZ_4K, true));
	ASSERT_EQ(0, mprotect(map + 9 * SZ_4K, SZ_4K, PROT_NONE));
	EXPECT_DONE(EACCES, 9 * SZ_4K, prefault(self->fd, map, SZ_2M, 0));
	EXPECT_DONE(EACCES, 0, prefault(self->fd, map + 9 * SZ_4K, SZ_4K, 0));
	EXPECT_EQ(SIGSEGV, rdax_load(map + 9 * SZ_4K));
}

/* 4 KiB pages are mapped for reading: the 2 MiB can't come, all are made writable. */
TEST_F(odd, small_pages_there)
{
	struct rdax_counts before, d;
	char *map = self->room;

	ASSERT_TRUE(map_at(self->fd, map, 2 * SZ_2M, PROT_READ | PROT_WRITE, 0));
	ASSERT_EQ(0, madvise(map, SZ_2M, MADV_NOHUGEPAGE));
	EXPECT_EQ(512, faults_of(map, SZ_2M, false));
	rdax_counts(&before);
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, map, SZ_2M, RDAX_PREFAULT_WRITE));
	rdax_delta(&before, &d);
	EXPECT_EQ(512, d.pte_mapped);
	EXPECT_EQ(512, all_mapped(&d));
	EXPECT_EQ(0, faults_of(map, SZ_2M, true));

	/* Every third of them. */
	for (uint64_t at = SZ_2M; at < 2 * SZ_2M; at += 3 * SZ_4K)
		EXPECT_EQ(0, rdax_load(map + at));
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, map + SZ_2M, SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(map + SZ_2M, SZ_2M, true));
}

/* 4 KiB entries, of which nothing is mapped here: they become a 2 MiB one. */
TEST_F(odd, small_entries_there)
{
	struct rdax_counts before, d;
	char *small = rdax_map(self->fd, 0, SZ_2M);

	ASSERT_EQ(0, madvise(small, SZ_2M, MADV_NOHUGEPAGE));
	EXPECT_EQ(512, faults_of(small, SZ_2M, true));
	ASSERT_TRUE(map_at(self->fd, self->room, SZ_2M, PROT_READ | PROT_WRITE, 0));
	rdax_counts(&before);
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, self->room, SZ_2M, RDAX_PREFAULT_WRITE));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(1, all_mapped(&d));
	EXPECT_EQ(0, faults_of(self->room, SZ_2M, true));
	EXPECT_STREQ("0x0 1 order 9 mapped dirty\n", rdax_entries());
}

/* A hole is mapped as one for reading; for writing it ends. */
TEST_F(odd, holes)
{
	struct rdax_counts before, d;
	char *map = self->room;

	ASSERT_TRUE(map_at(self->fd, map, 2 * SZ_2M, PROT_READ | PROT_WRITE, 0));
	bytes_make(map, 0, 2 * SZ_2M, 1);
	ASSERT_EQ(0, rdax_punch(self->fd, 0, SZ_2M));
	ASSERT_EQ(0, rdax_punch(self->fd, SZ_2M + 5 * SZ_4K, SZ_4K));
	rdax_counts(&before);
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, map, SZ_2M, 0));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(0, faults_of(map, SZ_2M, false));
	EXPECT_EQ(rdax_entries(), strstr(rdax_entries(), "0x0 1 order 9 zero\n"));
	EXPECT_DONE(0, 2 * SZ_2M, prefault(self->fd, map, 2 * SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "zero"));
	EXPECT_EQ(SZ_2M, bytes_zero(map, SZ_2M));
	EXPECT_EQ(SZ_4K, bytes_zero(map + SZ_2M + 5 * SZ_4K, SZ_4K));
	EXPECT_EQ(5 * SZ_4K, bytes_right(map + SZ_2M, SZ_2M, 5 * SZ_4K, 1));
	EXPECT_EQ(0, faults_of(map, 2 * SZ_2M, true));
}

/* A device that is no multiple of 2 MiB for this mapping: the end is as good as any. */
TEST_F(odd, end_of_the_device)
{
	uint64_t from = rdax_size() - SZ_2M - 3 * SZ_4K;
	char *map = rdax_map(self->fd, from, SZ_2M + 3 * SZ_4K);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_DONE(0, SZ_2M + 3 * SZ_4K,
		    prefault(self->fd, map, SZ_2M + 3 * SZ_4K, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(map, SZ_2M + 3 * SZ_4K, true));
	/* Behind it may be anything but this device. */
	EXPECT_NE(0, prefault(self->fd, map, SZ_2M + 4 * SZ_4K, 0).error);
	EXPECT_EQ(SZ_2M + 3 * SZ_4K, prefault(self->fd, map, SZ_2M + 4 * SZ_4K, 0).bytes);
}

TEST_F(odd, moved)
{
	char *map = rdax_map(self->fd, 0, 2 * SZ_2M);
	char *to = self->room;

	EXPECT_DONE(0, 2 * SZ_2M, prefault(self->fd, map, 2 * SZ_2M, RDAX_PREFAULT_WRITE));
	ASSERT_EQ(to, mremap(map, 2 * SZ_2M, 2 * SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_DONE(ENOMEM, 0, prefault(self->fd, map, SZ_2M, 0));
	EXPECT_DONE(0, 2 * SZ_2M, prefault(self->fd, to, 2 * SZ_2M, RDAX_PREFAULT_WRITE));
	EXPECT_EQ(0, faults_of(to, 2 * SZ_2M, true));
}

/*
 * Refusals
 */

static int call(int fd, const void *arg)
{
	return ioctl(fd, RDAX_IOC_PREFAULT, arg) ? errno : 0;
}

TEST_F(odd, structures)
{
	struct {
		struct rdax_prefault p;
		uint8_t tail[SZ_4K];
	} longer = { };
	uint64_t at = (uintptr_t)self->room;
	const struct {
		struct rdax_prefault p;
		int error;
	} cases[] = {
		{ { 32, 2, at, SZ_4K }, EINVAL },
		{ { 32, 1U << 31, at, SZ_4K }, EINVAL },
		{ { 31, 0, at, SZ_4K }, EINVAL },
		{ { 24, 0, at, SZ_4K }, EINVAL },
		{ { 0, 0, at, SZ_4K }, EINVAL },
		{ { 32, 0, at, 0 }, EINVAL },
		{ { 32, 0, at + 1, SZ_4K }, EINVAL },
		{ { 32, 0, at + 512, SZ_4K }, EINVAL },
		{ { 32, 0, at, 100 }, EINVAL },
		{ { 32, 0, at, UINT64_MAX - SZ_4K + 1 }, EINVAL },
		{ { 32, 0, UINT64_MAX - SZ_4K + 1, SZ_4K }, EINVAL },
		{ { 32, 0, UINT64_MAX - 2 * SZ_4K + 1, SZ_4K }, ENOMEM },
		{ { 32, 0, UINT64_C(1) << 47, SZ_4K }, ENOMEM },
		{ { 32, 0, 0, SZ_4K }, ENOMEM },
		{ { 4097, 0, at, SZ_4K }, E2BIG },
		{ { UINT32_MAX, 0, at, SZ_4K }, E2BIG },
		{ { 32, 0, at, SZ_4K }, 0 },
		{ { 32, 1, at, SZ_4K }, 0 },
	};

	ASSERT_EQ(32, sizeof(struct rdax_prefault));
	ASSERT_TRUE(map_at(self->fd, self->room, SZ_2M, PROT_READ | PROT_WRITE, 0));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].error, call(self->fd, &cases[i].p))
			TH_LOG("case %zu", i);
	}
	EXPECT_EQ(EFAULT, call(self->fd, NULL));
	EXPECT_EQ(EFAULT, call(self->fd, (void *)-SZ_4K));

	longer.p = cases[ARRAY_SIZE(cases) - 1].p;
	longer.p.size = 100;
	EXPECT_EQ(0, call(self->fd, &longer));
	EXPECT_EQ(SZ_4K, longer.p.done);
	longer.tail[3] = 1;
	EXPECT_EQ(E2BIG, call(self->fd, &longer));
	EXPECT_EQ(ENOTTY, ioctl(self->fd, _IOW(RDAX_IOC_MAGIC, 3, struct rdax_prefault), &longer) ?
		  errno : 0);
}

/* The structure lies in the mapping that is to be made, or can't be written back. */
TEST_F(odd, structure_in_the_mapping)
{
	struct rdax_prefault *p = (void *)(self->room + SZ_2M - 16);

	ASSERT_TRUE(map_at(self->fd, self->room, 2 * SZ_2M, PROT_READ | PROT_WRITE, 0));
	*p = (struct rdax_prefault){ 32, 1, (uintptr_t)self->room, 2 * SZ_2M, NOT_SAID };
	EXPECT_EQ(0, call(self->fd, p));
	EXPECT_EQ(2 * SZ_2M, p->done);
	ASSERT_EQ(0, mprotect(self->room + SZ_2M, SZ_2M, PROT_READ));
	EXPECT_EQ(EFAULT, call(self->fd, p));
}

TEST_F(odd, unbound)
{
	ASSERT_TRUE(map_at(self->fd, self->room, SZ_2M, PROT_READ | PROT_WRITE, 0));
	EXPECT_DONE(0, SZ_2M, prefault(self->fd, self->room, SZ_2M, 0));
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(ENXIO, prefault(self->fd, self->room, SZ_2M, 0).error);
	ASSERT_EQ(0, rdax_bind());
	EXPECT_EQ(ENXIO, prefault(self->fd, self->room, SZ_2M, 0).error);
	/* The mapping is not one of the new device. */
	EXPECT_DONE(EINVAL, 0, prefault(rdax_open(), self->room, SZ_2M, 0));
	EXPECT_EQ(SIGBUS, rdax_load(self->room));
}

/* In a loop while it goes away: it ends. */
static int prefault_loop(void *arg)
{
	uint64_t len = 256 * SZ_2M;
	int fd = rdax_open();
	struct done done;
	char *map;

	do {
		map = rdax_map(fd, 0, len);
		if (map == MAP_FAILED)
			return errno == ENXIO ? 0 : 1;
		madvise(map, len, MADV_NOHUGEPAGE);
		done = prefault(fd, map, len, RDAX_PREFAULT_WRITE);
		munmap(map, len);
		__atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
	} while (!done.error);
	return done.error == ENXIO || (done.error == EFAULT && done.bytes < len) ? 0 : 2;
}

TEST(unbound_meanwhile)
{
	int *begun = rdax_shared(sizeof(*begun)), status;
	pid_t pid;

	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, rdax_fresh("4K"));
		if (rdax_size() < 256 * SZ_2M)
			SKIP(return, "namespace too small");
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(prefault_loop(begun));
		while (rdax_attr("entries/created") < 100)
			usleep(500);
		ASSERT_EQ(0, rdax_unbind());
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* Killed in the middle of it: it ends before all is mapped. */
TEST(killed)
{
	uint64_t len;
	int status;
	pid_t pid;

	ASSERT_EQ(0, rdax_fresh("4K"));
	len = rdax_size();
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		char *map = rdax_map(rdax_open(), 0, len);

		madvise(map, len, MADV_NOHUGEPAGE);
		prefault(rdax_open(), map, len, RDAX_PREFAULT_WRITE);
		_exit(0);
	}
	while (rdax_attr("entries/created") < 100)
		usleep(500);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_GT(len / SZ_4K / 2, rdax_attr("entries/created"));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
