// SPDX-License-Identifier: GPL-2.0
/*
 * What is cut off, or deleted, is made durable first, and what a sync writes back
 * is where the extents of the device are: from the kernel's own record of that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "trace.h"

/* Pages of the region that were written back, and how many flushes came behind. */
static const char *recorded(void)
{
	const struct trace_call *calls;
	size_t count = trace_stop(&calls), n = 0;
	static char text[1 << 12];
	int flushes = 0;

	text[0] = '\0';
	for (size_t i = 0; i < count && n < sizeof(text) - 100; i++) {
		flushes++;
		if (calls[i].what != TRACE_WB)
			continue;
		flushes = 0;
		n += snprintf(text + n, sizeof(text) - n, "%#" PRIx64 "+%#" PRIx64 " ",
			      calls[i].first / SZ_4K, (calls[i].behind - calls[i].first) / SZ_4K);
	}
	snprintf(text + n, sizeof(text) - n, "%s", flushes ? "flushed" : "not flushed");
	return text;
}

/* The first extent is at the head of the region, where the record begins to count. */
static const struct region_part parts[] = {
	{ 0, 0x400 }, { 0x1801, 0x200 }, { 0x800, 0x200 },
};

#define SIZE	(0x800 * SZ_4K)

FIXTURE(trace)
{
	int fd;
	char *small, *large;
};

FIXTURE_SETUP(trace)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 64 * SZ_2M || !rdax_has_cache())
		SKIP(return, "namespace too small or not aligned, or no cache to write back");
	ASSERT_EQ(0, region_arrange(parts, ARRAY_SIZE(parts)));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	trace_find_media(self->fd);
	self->small = rdax_map(self->fd, 0, SIZE);
	self->large = rdax_map(self->fd, 0, SIZE);
	ASSERT_NE(MAP_FAILED, self->small);
	ASSERT_NE(MAP_FAILED, self->large);
	ASSERT_EQ(0, madvise(self->small, SIZE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, fsync(self->fd));
}

FIXTURE_TEARDOWN(trace)
{
	close(self->fd);
}

static void dirty(char *map, uint64_t page)
{
	rdax_store(map + page * SZ_4K);
}

TEST_F(trace, sync)
{
	dirty(self->small, 0x10);
	dirty(self->small, 0x401);
	dirty(self->small, 0x5ff);
	dirty(self->small, 0x600);
	dirty(self->large, 0x200);
	trace_start();
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("0x10+0x1 0x200+0x200 0x1802+0x1 0x1a00+0x1 0x800+0x1 flushed", recorded());
	trace_start();
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("flushed", recorded());
}

TEST_F(trace, cut)
{
	for (uint64_t page = 0x100; page < 0x800; page += 0x100)
		dirty(self->small, page);
	dirty(self->large, 0x600);
	trace_start();
	ASSERT_EQ(0, dev_resize(0, 0x300 * SZ_4K));
	EXPECT_STREQ("0x300+0x1 0x1801+0x1 0x1901+0x1 0x800+0x200 flushed", recorded());
	/* What is left is as dirty as it was. */
	trace_start();
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("0x100+0x1 0x200+0x1 flushed", recorded());
}

/* A leaf over the new end goes as a whole; nobody would know that its rest is dirty. */
TEST_F(trace, cut_leaf)
{
	dirty(self->large, 0x3ff);
	trace_start();
	ASSERT_EQ(0, dev_resize(0, 0x3fe * SZ_4K));
	EXPECT_STREQ("0x200+0x200 flushed", recorded());
	trace_start();
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("flushed", recorded());
}

TEST_F(trace, cut_holes)
{
	ASSERT_EQ(0, rdax_punch(self->fd, SZ_2M, 3 * SZ_2M));
	trace_start();
	ASSERT_EQ(0, dev_resize(0, 0x300 * SZ_4K));
	EXPECT_STREQ("flushed", recorded());
}

/* How many bytes were written back, if each was once. */
static uint64_t written_once(uint64_t first, uint64_t behind)
{
	const struct trace_call *calls;
	size_t count = trace_stop(&calls);
	uint64_t bytes = 0, last = 0;

	for (size_t i = 0; i < count; i++) {
		if (calls[i].what != TRACE_WB)
			continue;
		if (calls[i].first < first || calls[i].behind > behind || calls[i].first < last)
			return 0;
		last = calls[i].behind;
		bytes += last - calls[i].first;
	}
	return bytes;
}

/* More than one step of a cut writes back: a leaf of 1 GiB in parts, then others. */
TEST(cut_in_steps)
{
	uint64_t size = 2 * SZ_1G + 40 * SZ_2M, at;
	char *map;
	int fd;

	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_1G) || rdax_size() < size || !rdax_has_cache())
		SKIP(return, "namespace too small or not aligned, or no cache to write back");
	fd = rdax_open();
	trace_find_media(fd);
	ASSERT_EQ(0, dev_resize(0, size));
	map = rdax_map(fd, 0, size);
	ASSERT_NE(MAP_FAILED, map);
	for (at = SZ_1G; at < 2 * SZ_1G; at += SZ_2M)
		ASSERT_EQ(0, rdax_store(map + at + at / SZ_2M % 512 * SZ_4K));
	for (; at < size; at += SZ_2M)
		ASSERT_EQ(0, rdax_store(map + at));
	trace_start();
	ASSERT_EQ(0, dev_resize(0, SZ_1G));
	EXPECT_EQ(size - SZ_1G, written_once(SZ_1G, size));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	close(fd);
	ASSERT_EQ(0, rdax_unbind());
}

/*
 * A punch deletes entries without a write-back, because it zeroes their bytes. A shrink
 * takes the upper half of the device away in the middle of that. Each entry there was
 * written when the punch began. So each was zeroed, or it is written back.
 */

#define RACE_SIZE	(64 * SZ_2M)
#define RACE_ROUNDS	8

struct puncher {
	int fd, ret;
};

static void *punch_upper_half(void *arg)
{
	struct puncher *puncher = arg;

	puncher->ret = rdax_punch(puncher->fd, RACE_SIZE / 2, RACE_SIZE / 2);
	return NULL;
}

/* The number of pages in the upper half that were neither written back nor zeroed. */
static uint64_t pages_lost(void)
{
	static bool seen[RACE_SIZE / SZ_4K];
	const struct trace_call *calls;
	size_t count = trace_stop(&calls);
	uint64_t lost = 0;

	memset(seen, 0, sizeof(seen));
	for (size_t i = 0; i < count; i++) {
		if (calls[i].what != TRACE_WB || calls[i].behind > RACE_SIZE)
			continue;
		for (uint64_t at = calls[i].first; at < calls[i].behind; at += SZ_4K)
			seen[at / SZ_4K] = true;
	}
	for (uint64_t page = RACE_SIZE / 2 / SZ_4K; page < RACE_SIZE / SZ_4K; page++)
		lost += !seen[page];
	return lost;
}

/* Waits until the punch has come to this word, which is not 0 before. */
static bool becomes_zero(const char *word)
{
	uint64_t value = 1;

	for (int i = 0; i < RDAX_PATIENCE * 10000; i++) {
		if (rdax_get((const uint64_t *)word, &value) || !value)
			break;
		usleep(100);
	}
	return !value;
}

TEST_F_TIMEOUT(trace, cut_under_a_punch, 60)
{
	static const struct region_part part = { 0, RACE_SIZE / SZ_4K };
	uint64_t end = trace_now() + RDAX_PATIENCE / 3 * UINT64_C(1000000000);
	int raced = 0;
	char *map;

	close(self->fd);
	ASSERT_EQ(0, region_arrange(&part, 1));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	trace_find_media(self->fd);
	map = rdax_map(self->fd, 0, RACE_SIZE);
	ASSERT_NE(MAP_FAILED, map);
	for (int round = 0; round < RACE_ROUNDS || (!raced && trace_now() < end); round++) {
		uint64_t seen = RACE_SIZE / 2 + (1 + 2 * (round % RACE_ROUNDS)) * SZ_2M;
		struct puncher puncher = { self->fd };
		pthread_t thread;

		for (uint64_t at = RACE_SIZE / 2; at < RACE_SIZE; at += SZ_2M)
			ASSERT_EQ(0, rdax_store_word((uint64_t *)(map + at), 1));
		trace_start();
		ASSERT_EQ(0, pthread_create(&thread, NULL, punch_upper_half, &puncher));
		EXPECT_TRUE(becomes_zero(map + seen));
		EXPECT_EQ(0, dev_resize(0, RACE_SIZE / 2));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		if (puncher.ret)
			EXPECT_EQ(-EFBIG, puncher.ret);
		raced += puncher.ret == -EFBIG;
		EXPECT_EQ(0, pages_lost())
			TH_LOG("round %d", round);
		EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
		ASSERT_EQ(0, dev_resize(0, RACE_SIZE));
	}
	EXPECT_LT(0, raced);
	TH_LOG("the shrink came into the punch in %d rounds", raced);
}

/*
 * The kernel flushes the TLBs when it has unmapped all of a mapping. Until then, a CPU may
 * store through a leaf that is gone. A sync that finds no leaf must not clean the entry
 * meanwhile, if the page stays in the device: no later sync would write the store back.
 */

#define LATE_SIZE	(128 * SZ_2M)
#define LATE_END	(SZ_2M / 2)	/* where a shrink divides an entry */
#define LATE_STORES	16
#define LATE_ROUNDS	15

struct late {
	char *map;
	int first;	/* of the pages that are stored to */
	bool (*is_gone)(const char *page);
	int ready, ret;
	bool met;	/* the unmapping */
	uint64_t time[LATE_STORES];	/* when the store was done, or 0 */
};

static char *late_page(const struct late *late, int i)
{
	return late->map + (late->first + i) * SZ_4K;
}

static int stay_on_cpu(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	return sched_setaffinity(0, sizeof(cpus), &cpus) ? -errno : 0;
}

/*
 * Whether the unmapping has come to a page that was mapped, and that this CPU has not accessed. The kernel
 * unmaps from the first page to the last.
 */
static bool has_come_to(const char *page)
{
	uint64_t faults = rdax_attr("faults/pte_mapped");

	return rdax_load(page) || rdax_attr("faults/pte_mapped") != faults;
}

/* The same for a shrink, which unmaps next. An access would raise a signal, which flushes the TLB in QEMU. */
static bool has_shrunk(const char *page)
{
	uint64_t now = trace_now();

	if (rdax_size() == LATE_SIZE)
		return false;
	while (trace_now() < now + 500000)
		;
	return true;
}

/* Waits until the pages are gone from the page table, syncs, and stores to them. */
static void *store_late(void *arg)
{
	struct late *late = arg;
	uint64_t at = SZ_2M;

	late->ret = stay_on_cpu(1);
	for (int i = 0; i < LATE_STORES; i++)
		rdax_store(late_page(late, i));
	__atomic_store_n(&late->ready, 1, __ATOMIC_RELEASE);
	while (at < LATE_SIZE && !late->is_gone(late->map + at)) {
		/* A fork flushes the TLBs, and writing to sysfs forks. */
		for (int i = 0; i < LATE_STORES; i++)
			rdax_load(late_page(late, i));
		at += SZ_4K;
	}
	late->met = at < LATE_SIZE;
	if (msync(late->map, LATE_END, MS_SYNC))
		late->ret = -errno;
	for (int i = 0; i < LATE_STORES; i++)
		late->time[i] = rdax_store(late_page(late, i)) ? 0 : trace_now();
	return NULL;
}

/* How many stores no write-back followed. */
static int late_lost(const struct late *late)
{
	const struct trace_call *calls;
	size_t count = trace_stop(&calls);
	int lost = 0;

	for (int i = 0; i < LATE_STORES; i++) {
		uint64_t at = late_page(late, i) - late->map;
		size_t n = 0;

		while (n < count && (calls[n].what != TRACE_WB || calls[n].begin < late->time[i] ||
				     calls[n].first > at || calls[n].behind <= at))
			n++;
		lost += late->time[i] && n == count;
	}
	return lost;
}

static int shrink(bool on)
{
	return dev_resize(0, on ? LATE_END : LATE_SIZE);
}

FIXTURE(late)
{
	int fd;
};

FIXTURE_VARIANT(late)
{
	int (*unmap)(bool on);
	bool (*is_gone)(const char *page);
};

FIXTURE_VARIANT_ADD(late, shrink)
{
	.unmap = shrink, .is_gone = has_shrunk,
};

FIXTURE_VARIANT_ADD(late, read_only)
{
	.unmap = region_set_read_only, .is_gone = has_come_to,
};

FIXTURE_SETUP(late)
{
	static const struct region_part part = { 0, LATE_SIZE / SZ_4K };

	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < LATE_SIZE || !rdax_has_cache())
		SKIP(return, "namespace too small or not aligned, or no cache to write back");
	ASSERT_EQ(0, region_arrange(&part, 1));
	ASSERT_EQ(0, rdax_fault_around("65536"));
}

FIXTURE_TEARDOWN(late)
{
	EXPECT_EQ(0, rdax_fault_around("0"));
	EXPECT_EQ(0, region_set_read_only(false));
	close(self->fd);
}

TEST_F_TIMEOUT(late, stores, 60)
{
	char *map, *large;
	int met = 0;

	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	trace_find_media(self->fd);
	map = rdax_map(self->fd, 0, LATE_SIZE);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, LATE_SIZE, MADV_NOHUGEPAGE));
	if (stay_on_cpu(1))
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, stay_on_cpu(0));
	for (int round = 0; round < LATE_ROUNDS; round++) {
		struct late late = { map, 1 + round * LATE_STORES, variant->is_gone };
		pthread_t thread;

		large = rdax_map(self->fd, 0, SZ_2M);
		ASSERT_NE(MAP_FAILED, large);
		dirty(large, 0);
		munmap(large, SZ_2M);
		/* Many leaves, so that the unmapping takes its time. */
		for (uint64_t at = 0; at < LATE_SIZE; at += SZ_4K)
			ASSERT_EQ(0, rdax_load(map + at));
		trace_start();
		ASSERT_EQ(0, pthread_create(&thread, NULL, store_late, &late));
		while (!__atomic_load_n(&late.ready, __ATOMIC_ACQUIRE))
			usleep(1000);
		EXPECT_EQ(0, variant->unmap(true));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(0, late.ret);
		EXPECT_EQ(0, fsync(self->fd));
		EXPECT_EQ(0, late_lost(&late))
			TH_LOG("round %d", round);
		met += late.met;
		ASSERT_EQ(0, variant->unmap(false));
	}
	EXPECT_LE(LATE_ROUNDS / 2, met);
}

TEST_F(trace, deleted)
{
	dirty(self->small, 0x2);
	dirty(self->small, 0x402);
	dirty(self->large, 0x7ff);
	munmap(self->small, SIZE);
	munmap(self->large, SIZE);
	close(self->fd);
	self->fd = -1;
	trace_start();
	ASSERT_EQ(0, region_delete(0));
	EXPECT_STREQ("0x2+0x1 0x1803+0x1 0x800+0x200 flushed", recorded());
}

/* Of several devices. */
TEST_F(trace, unbound)
{
	char *map;
	int other = region_holder(0x400), holder;

	ASSERT_LT(0, other);
	holder = dev_open(other);
	map = rdax_map(holder, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	dirty(map, 0);
	dirty(self->small, 0x402);
	trace_start();
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_STREQ("0x1803+0x1 0x400+0x200 flushed", recorded());
	close(holder);
}

int main(int argc, char **argv)
{
	rdax_begin();
	trace_begin();
	return test_harness_run(argc, argv);
}
