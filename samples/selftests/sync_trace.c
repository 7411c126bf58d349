// SPDX-License-Identifier: GPL-2.0
/*
 * Durability, from the kernel's own record of what it wrote back and flushed:
 * every byte that was stored before a sync began is written back, and the region
 * flushed behind that, before the sync returns; and nothing else is written back.
 * Shown on calls whose ranges are known beforehand, and on logs of stores and
 * syncs that ran at once. The end of a device is a sync of all of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "history.h"
#include "rdax.h"
#include "trace.h"

/* A mapping that only pages of this size and smaller serve. */
static char *map_by(int fd, uint64_t bytes, uint64_t offset, uint64_t len)
{
	char *map = rdax_map(fd, offset, len);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, len, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

/*
 * Ranges that are known beforehand
 */

/* One after the other, in pieces of at most 2 MiB: "0x3000-0x5000 0x8000-0x9000". */
static const char *written(const struct trace_call *calls, size_t count)
{
	static char text[1 << 12];
	uint64_t first = 0, behind = 0;
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i <= count; i++) {
		const struct trace_call *c = &calls[i];

		if (i < count && c->what != TRACE_WB)
			continue;
		if (i < count && c->first == behind && behind) {
			behind = c->behind;
		} else {
			if (behind)
				n += snprintf(text + n, sizeof(text) - n, "%s%#" PRIx64 "-%#" PRIx64,
					      n ? " " : "", first, behind);
			first = i < count ? c->first : 0;
			behind = i < count ? c->behind : 0;
		}
		if (n >= sizeof(text) - 64 || (i < count && c->behind - c->first > SZ_2M))
			return "too much";
	}
	return text;
}

/* Flushes behind all write-backs; -1 if one failed. */
static int flushes(const struct trace_call *calls, size_t count)
{
	int n = 0;

	for (size_t i = 0; i < count; i++) {
		if (calls[i].what != TRACE_WB && calls[i].ret)
			return -1;
		n = calls[i].what == TRACE_WB ? 0 : n + 1;
	}
	return n;
}

#define expect_written(text) do {					\
	const struct trace_call *__calls;				\
	size_t __count = trace_stop(&__calls);				\
									\
	EXPECT_STREQ(text, written(__calls, __count));			\
	EXPECT_EQ(1, flushes(__calls, __count));			\
} while (0)

/* Those recorded, behind all write-backs. */
static int recorded_flushes(void)
{
	const struct trace_call *calls;
	size_t count = trace_stop(&calls);

	return flushes(calls, count);
}

FIXTURE(ranges)
{
	int fd;
	uint64_t bytes, units, len;
	char *map;
};

/* Of a device of 4 GiB, 2 MiB at offset 2 MiB are never touched by a leaf of 1 GiB. */
FIXTURE_VARIANT(ranges)
{
	uint64_t bytes, offset, units;
	const char *all;	/* when the units 0, 1 and the last are dirty; */
	const char *first;	/* the first, */
	const char *last;	/* and the last of them */
};

FIXTURE_VARIANT_ADD(ranges, pte)
{
	.bytes = SZ_4K,
	.offset = 509 * SZ_4K,
	.units = 100,
	.all = "0x1fd000-0x1ff000 0x260000-0x261000",
	.first = "0x1fd000-0x1fe000",
	.last = "0x260000-0x261000",
};

FIXTURE_VARIANT_ADD(ranges, pmd)
{
	.bytes = SZ_2M,
	.offset = 510 * SZ_2M,
	.units = 5,
	.all = "0x3fc00000-0x40000000 0x40400000-0x40600000",
	.first = "0x3fc00000-0x3fe00000",
	.last = "0x40400000-0x40600000",
};

FIXTURE_VARIANT_ADD(ranges, pud)
{
	.bytes = SZ_1G,
	.offset = 0,
	.units = 4,
	.all = "0-0x80000000 0xc0000000-0x100000000",
	.first = "0-0x40000000",
	.last = "0xc0000000-0x100000000",
};

static char *unit(FIXTURE_DATA(ranges) *self, uint64_t u)
{
	return self->map + u * self->bytes + (u + 3) * 8392 % self->bytes;
}

static void make_dirty(struct __test_metadata *_metadata, FIXTURE_DATA(ranges) *self)
{
	ASSERT_EQ(0, rdax_store(unit(self, 0)));
	ASSERT_EQ(0, rdax_store(unit(self, 1)));
	ASSERT_EQ(0, rdax_store(unit(self, self->units - 1)));
}

/* All units are mapped, three of them dirty. */
FIXTURE_SETUP(ranges)
{
	struct rdax_counts d;

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->bytes = variant->bytes;
	self->units = variant->units;
	self->len = self->units * self->bytes;
	if (!rdax_fits(self->bytes) || rdax_size() < variant->offset + self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	trace_find_media(self->fd);
	self->map = map_by(self->fd, self->bytes, variant->offset, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	for (uint64_t u = 0; u < self->units; u++)
		ASSERT_EQ(0, rdax_load(unit(self, u)));
	rdax_counts(&d);
	ASSERT_EQ(self->units, rdax_mapped(&d, self->bytes));
	make_dirty(_metadata, self);
	trace_start();
}

FIXTURE_TEARDOWN(ranges)
{
	close(self->fd);
}

/* The recording itself: zeroes are written back where they are asked for. */
TEST_F(ranges, of_zeroes)
{
	EXPECT_EQ(0, rdax_zero(self->fd, 2 * SZ_2M - SZ_4K, SZ_2M));
	EXPECT_EQ(0, rdax_zero(self->fd, 5 * SZ_4K, SZ_4K));
	expect_written("0x3ff000-0x5ff000 0x5000-0x6000");
}

TEST_F(ranges, of_fsync)
{
	EXPECT_EQ(0, fsync(self->fd));
	expect_written(variant->all);
	trace_start();
	EXPECT_EQ(0, fsync(self->fd));
	expect_written("");
	make_dirty(_metadata, self);
	trace_start();
	EXPECT_EQ(0, fdatasync(self->fd));
	expect_written(variant->all);
}

TEST_F(ranges, of_msync)
{
	EXPECT_EQ(0, msync(self->map, SZ_4K, MS_SYNC));
	expect_written(variant->first);
	trace_start();
	EXPECT_EQ(0, msync(self->map + self->len - SZ_4K, SZ_4K, MS_SYNC));
	expect_written(variant->last);
	/* The units in between are clean. */
	trace_start();
	EXPECT_EQ(0, msync(self->map + 2 * self->bytes, self->len - 2 * self->bytes, MS_SYNC));
	expect_written("");
	make_dirty(_metadata, self);
	trace_start();
	EXPECT_EQ(0, msync(self->map, self->len, MS_SYNC));
	expect_written(variant->all);
	make_dirty(_metadata, self);
	trace_start();
	EXPECT_EQ(0, msync(self->map, self->len, MS_ASYNC));
	EXPECT_EQ(0, msync(self->map, self->len, MS_INVALIDATE));

	const struct trace_call *calls;

	EXPECT_EQ(0, trace_stop(&calls));
}

/* Unmapped without a sync, and then the device is taken away. */
TEST_F(ranges, of_unbind)
{
	ASSERT_EQ(0, rdax_unbind());
	expect_written(variant->all);
	/* What is clean is not written back then either. */
	ASSERT_EQ(0, rdax_fresh("4K"));
	trace_start();
	ASSERT_EQ(0, rdax_unbind());
	expect_written("");
}

TEST_F(ranges, of_unbind_when_unmapped)
{
	munmap(self->map, self->len);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, rdax_unbind());
	expect_written(variant->all);
}

static int load_again(void)
{
	char params[64];
	int fd = open(getenv("RDAX_KO") ?: "../../rdax.ko", O_RDONLY | O_CLOEXEC), ret;

	snprintf(params, sizeof(params), "fault_around=0 force=%s", rdax_ns());
	ret = syscall(SYS_finit_module, fd, params, 0);
	close(fd);
	return ret;
}

TEST_F(ranges, of_unload)
{
	munmap(self->map, self->len);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, syscall(SYS_delete_module, "rdax", O_NONBLOCK));
	expect_written(variant->all);
	ASSERT_EQ(0, load_again());
}

/* Its region goes, and takes it along. */
TEST_F(ranges, of_the_region_going)
{
	char path[256], region[256], *name;
	ssize_t n;

	snprintf(path, sizeof(path), ND_DEVICES "/%s", rdax_ns());
	n = readlink(path, region, sizeof(region) - 1);
	ASSERT_LT(0, n);
	region[n] = '\0';
	*strrchr(region, '/') = '\0';
	name = strrchr(region, '/') + 1;
	EXPECT_EQ(0, rdax_write_file("/sys/bus/nd/drivers/nd_region/unbind", name));
	EXPECT_EQ(SIGBUS, rdax_store(self->map));
	expect_written(variant->all);
	ASSERT_EQ(0, rdax_write_file("/sys/bus/nd/drivers/nd_region/bind", name));
	ASSERT_EQ(0, rdax_wait_for_ns());
}

/* A punch of a part: the rest of the entry goes with it, and was written back before. */
TEST_F(ranges, of_a_punch)
{
	uint64_t at = variant->offset + self->bytes / SZ_2M / 2 * SZ_2M;
	char text[128];

	if (self->bytes == SZ_4K)
		SKIP(return, "there is no part of a page");
	EXPECT_EQ(0, rdax_punch(self->fd, at, SZ_4K));
	snprintf(text, sizeof(text), "%s %#" PRIx64 "-%#" PRIx64, variant->first, at, at + SZ_4K);
	expect_written(text);
	trace_start();
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, rdax_unbind());

	const struct trace_call *calls;
	size_t count = trace_stop(&calls);

	/* The second unit and the last. */
	EXPECT_NE(NULL, strstr(variant->all, strchr(written(calls, count), '-')));
	EXPECT_EQ(NULL, strstr(written(calls, count), variant->first));
}

/*
 * A punch that ends at a bad block: the pages behind it are not zeroed, and what was
 * stored to them is made durable, by the punch itself, since their entries are gone.
 */

static bool was_written(const struct trace_call *calls, size_t count, uint64_t first)
{
	for (size_t i = 0; i < count; i++)
		if (calls[i].what == TRACE_WB && calls[i].first <= first &&
		    calls[i].behind >= first + SZ_4K)
			return true;
	return false;
}

TEST(punch_of_a_bad_page)
{
	static const uint64_t dirty[] = { 1, 3, 300, 511 };
	uint64_t bad = SZ_2M + 2 * SZ_4K;
	const struct trace_call *calls;
	size_t count;
	char *map;
	int fd;

	if (!rdax_can_report_error())
		SKIP(return, "a kernel without CONFIG_MEMORY_FAILURE");
	ASSERT_EQ(0, rdax_fresh("4K"));
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	trace_find_media(fd);
	map = map_by(fd, SZ_4K, SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, rdax_load(map + 2 * SZ_4K));
	ASSERT_EQ(0, rdax_report_error(rdax_attr("resource") + bad));
	ASSERT_TRUE(rdax_goes_bad(map + 2 * SZ_4K));
	for (size_t i = 0; i < ARRAY_SIZE(dirty); i++)
		ASSERT_EQ(0, rdax_store(map + dirty[i] * SZ_4K));
	trace_start();
	ASSERT_EQ(-EIO, rdax_punch(fd, SZ_2M, SZ_2M));
	count = trace_stop(&calls);
	for (size_t i = 0; i < ARRAY_SIZE(dirty); i++) {
		EXPECT_TRUE(was_written(calls, count, SZ_2M + dirty[i] * SZ_4K))
			TH_LOG("page %" PRIu64, dirty[i]);
	}
	EXPECT_EQ(1, flushes(calls, count));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	EXPECT_EQ(0, map[SZ_4K]);
	EXPECT_EQ(1, map[3 * SZ_4K]);
	close(fd);
	ASSERT_EQ(0, rdax_unbind());
}

/*
 * Writes of the file go around the caches: a sync has nothing of them to write
 * back, and those that are to be durable at once flush the region.
 */
TEST_F(ranges, of_writes)
{
	static char buf[3 * SZ_4K + 100];
	int dsync = open(RDAX_NODE, O_RDWR | O_DSYNC | O_CLOEXEC);
	int sync = open(RDAX_NODE, O_RDWR | O_SYNC | O_CLOEXEC);
	struct iovec iov = { buf, sizeof(buf) };
	const struct trace_call *calls;

	ASSERT_GE(dsync, 0);
	ASSERT_GE(sync, 0);
	EXPECT_EQ(0, fsync(self->fd));

	trace_start();
	ASSERT_EQ(sizeof(buf), pwrite(self->fd, buf, sizeof(buf), variant->offset + 50));
	EXPECT_EQ(0, trace_stop(&calls));
	trace_start();
	EXPECT_EQ(0, fsync(self->fd));
	expect_written("");

	trace_start();
	EXPECT_EQ(sizeof(buf), pwrite(dsync, buf, sizeof(buf), variant->offset + 50));
	EXPECT_EQ(1, recorded_flushes());
	trace_start();
	EXPECT_EQ(sizeof(buf), pwrite(sync, buf, sizeof(buf), variant->offset + 50));
	EXPECT_EQ(1, recorded_flushes());
	trace_start();
	EXPECT_EQ(sizeof(buf), pwritev2(self->fd, &iov, 1, variant->offset + 50, RWF_DSYNC));
	EXPECT_EQ(1, recorded_flushes());

	/* Next to what a mapping has made dirty. */
	make_dirty(_metadata, self);
	trace_start();
	EXPECT_EQ(sizeof(buf), pwrite(dsync, buf, sizeof(buf), variant->offset + 50));
	EXPECT_EQ(1, recorded_flushes());
	trace_start();
	EXPECT_EQ(0, fsync(self->fd));
	expect_written(variant->all);
	close(dsync);
	close(sync);
}

/*
 * Does the check find what is wrong? A byte of page 1 is stored to at 100..110, and a
 * sync of all by task 7 takes from 200 to 300, if nothing else is said.
 */

#define STORE(before, after, at)	{ before, after, at, true }
#define SYNC(tid, begin, end)		{ HISTORY_SYNC, true, tid, begin, end, 0, UINT64_MAX }
#define WB(tid, begin, end, page, behind)					\
	{ TRACE_WB, tid, begin, end, (page) * SZ_4K, (behind) * SZ_4K, 0 }
#define FLUSH(tid, begin, end, ret)	{ TRACE_FLUSH, tid, begin, end, 0, 0, ret }

TEST(the_check)
{
	static const struct {
		const char *what;
		struct history_store stores[2];
		struct history_call calls[2];
		struct trace_call trace[4];
		struct history_verdict v;	/* what is wrong */
	} cases[] = {
		{
			.what = "all is well",
			.trace = { WB(7, 210, 220, 1, 2), FLUSH(7, 230, 240, 0) },
		}, {
			.what = "a store meanwhile, which nobody has promised",
			.stores = { STORE(100, 110, SZ_4K), STORE(240, 250, SZ_4K) },
			.trace = { WB(7, 210, 220, 1, 2), FLUSH(7, 230, 240, 0) },
		}, {
			.what = "by another sync, which has not returned",
			.calls = { SYNC(7, 200, 300), SYNC(8, 150, 400) },
			.trace = { WB(8, 210, 220, 1, 2), FLUSH(7, 230, 240, 0),
				   FLUSH(8, 310, 320, 0) },
		}, {
			.what = "not written back",
			.trace = { FLUSH(7, 230, 240, 0) },
			.v = { .not_written = 1 },
		}, {
			.what = "the page next to it",
			.trace = { WB(7, 210, 220, 2, 3), FLUSH(7, 230, 240, 0) },
			.v = { .not_written = 1, .clean = 1 },
		}, {
			.what = "by another sync, too late",
			.calls = { SYNC(7, 200, 300), SYNC(8, 150, 400) },
			.trace = { FLUSH(7, 230, 240, 0), WB(8, 210, 301, 1, 2),
				   FLUSH(8, 310, 320, 0) },
			.v = { .not_written = 1 },
		}, {
			.what = "before the second store only",
			.stores = { STORE(100, 110, SZ_4K), STORE(170, 180, SZ_4K) },
			.calls = { SYNC(7, 200, 300), SYNC(8, 120, 190) },
			.trace = { WB(8, 130, 140, 1, 2), FLUSH(8, 150, 160, 0),
				   FLUSH(7, 230, 240, 0) },
			.v = { .not_written = 1 },
		}, {
			.what = "not flushed",
			.trace = { WB(7, 210, 220, 1, 2) },
			.v = { .not_flushed = 1, .no_flush = 1 },
		}, {
			.what = "flushed before it was written back",
			.trace = { FLUSH(7, 205, 206, 0), WB(7, 210, 220, 1, 2) },
			.v = { .not_flushed = 1, .no_flush = 1 },
		}, {
			.what = "the flush failed",
			.trace = { WB(7, 210, 220, 1, 2), FLUSH(7, 230, 240, -5) },
			.v = { .not_flushed = 1, .no_flush = 1 },
		}, {
			.what = "somebody else flushed",
			.trace = { WB(7, 210, 220, 1, 2), FLUSH(9, 230, 240, 0) },
			.v = { .no_flush = 1 },
		}, {
			.what = "still writable",
			.stores = { STORE(100, 110, SZ_4K), STORE(212, 215, SZ_4K + 1) },
			.trace = { WB(7, 210, 220, 1, 2), FLUSH(7, 230, 240, 0) },
			.v = { .while_written = 1 },
		}, {
			.what = "twice",
			.trace = { WB(7, 210, 220, 1, 2), WB(7, 225, 226, 1, 2),
				   FLUSH(7, 230, 240, 0) },
			.v = { .clean = 1 },
		}, {
			.what = "more than an entry",
			.trace = { WB(7, 210, 220, 1, 3), FLUSH(7, 230, 240, 0) },
			.v = { .astray = 1 },
		}, {
			.what = "by nobody who was asked to",
			.trace = { WB(9, 210, 220, 1, 2), FLUSH(7, 230, 240, 0) },
			.v = { .astray = 1 },
		}, {
			.what = "what was not asked for",
			.calls = { { HISTORY_SYNC, true, 7, 200, 300, 0, SZ_4K } },
			.trace = { WB(7, 210, 220, 1, 2), FLUSH(7, 230, 240, 0) },
			.v = { .astray = 1 },
		}, {
			.what = "a sync that failed promises nothing",
			.calls = { { HISTORY_SYNC, false, 7, 200, 300, 0, UINT64_MAX } },
			.trace = { FLUSH(7, 230, 240, 0) },
		}, {
			.what = "an unbind promises what was stored while it ran, too",
			.stores = { STORE(210, 220, SZ_4K) },
			.calls = { { HISTORY_UNBIND, true, 0, 200, 300, 0, UINT64_MAX } },
			.trace = { FLUSH(5, 230, 240, 0) },
			.v = { .not_written = 1 },
		},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct history *h = rdax_shared(sizeof(*h));
		struct history_verdict v;
		size_t count = 0;

		memcpy(h->logs[1].stores, cases[i].stores, sizeof(cases[i].stores));
		while (h->logs[1].count < 2 && h->logs[1].stores[h->logs[1].count].after)
			h->logs[1].count++;
		if (!h->logs[1].count)
			h->logs[1].stores[h->logs[1].count++] =
				(struct history_store)STORE(100, 110, SZ_4K);
		memcpy(h->calls, cases[i].calls, sizeof(cases[i].calls));
		while (h->calls_count < 2 && h->calls[h->calls_count].end)
			h->calls_count++;
		if (!h->calls_count)
			h->calls[h->calls_count++] = (struct history_call)SYNC(7, 200, 300);
		while (count < 4 && cases[i].trace[count].end)
			count++;
		history_check(h, cases[i].trace, count, &v);
		EXPECT_EQ(cases[i].v.not_written, v.not_written)
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(cases[i].v.not_flushed, v.not_flushed)
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(cases[i].v.while_written, v.while_written)
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(cases[i].v.clean, v.clean)
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(cases[i].v.astray, v.astray)
			TH_LOG("%s", cases[i].what);
		EXPECT_EQ(cases[i].v.no_flush, v.no_flush)
			TH_LOG("%s", cases[i].what);
		munmap(h, sizeof(*h));
	}
}

/*
 * Stores and syncs at once
 */

#define START		SZ_2M
#define WINDOW		(4 * SZ_2M)
#define PAGES		(WINDOW / SZ_4K)
#define USED		64		/* of the pages */
#define MAX_WRITERS	4
#define RUN_MS		250
#define ENOUGH		20

FIXTURE(durable)
{
	struct history *history;
};

/* What pages the mappings of the even writers, and of the odd ones, are served by. */
FIXTURE_VARIANT(durable)
{
	uint64_t bytes[2];
};

FIXTURE_VARIANT_ADD(durable, pte)
{
	.bytes = { SZ_4K, SZ_4K },
};

FIXTURE_VARIANT_ADD(durable, pmd)
{
	.bytes = { SZ_2M, SZ_2M },
};

FIXTURE_VARIANT_ADD(durable, both)
{
	.bytes = { SZ_4K, SZ_2M },
};

/* Who takes part. */
struct plan {
	int writers;
	bool apart;		/* each has pages of its own */
	bool processes;		/* writers are processes with their own mapping */
	bool forks;		/* one more: children of the syncing process, one by one */
	bool stores_and_syncs;	/* the writers sync too: that, or a part */
	bool one_page;		/* they all store to the same, and sync after each store */
	int fsyncs, msyncs;	/* threads that do nothing else */
	int punches;
	bool unbind;
};

struct run {
	struct history *history;
	const struct plan *plan;
	uint64_t bytes[2];
	int fd, failed;
	bool stop, gone;
	char *map;		/* of the process that runs it all */
};

struct worker {
	struct run *run;
	int me;
	unsigned int seed;
	pthread_t thread;
	pid_t pid;
};

static bool stopped(struct run *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_SEQ_CST);
}

static unsigned int some(struct worker *w, unsigned int below)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 8) % below;
}

/* By the clock: on a fast machine there is no more to record than on a slow one. */
static void pause_a_little(struct worker *w, unsigned int most_us)
{
	uint64_t end = trace_now() + some(w, most_us * 1000);

	while (trace_now() < end)
		;
}

static void note_failure(struct run *r, bool failed)
{
	if (failed)
		__atomic_store_n(&r->failed, 1, __ATOMIC_SEQ_CST);
}

/* One of the pages that this writer uses: spread over all of the window. */
static uint64_t some_page(struct worker *w)
{
	const struct plan *p = w->run->plan;
	unsigned int i = some(w, USED);

	if (p->one_page)
		return START;
	if (p->apart)
		i = i / p->writers * p->writers + w->me % p->writers;
	return START + i * 41 % PAGES * SZ_4K;
}

/*
 * Two stores: the first may have to wait for its page, so that it isn't known when
 * it was done; of the second it is.
 */
static int visit(struct worker *w, char *map)
{
	struct history_log *log = &w->run->history->logs[w->me];
	uint64_t at = some_page(w) + some(w, SZ_4K);

	return history_store(log, map, START, at) ?: history_store(log, map, START, at);
}

/* 0, or what made it end: the device is gone. */
static int do_fsync(struct run *r)
{
	struct history_call *call = history_begin(r->history, HISTORY_SYNC, 0, UINT64_MAX);
	int ret = fsync(r->fd) ? errno : 0;

	history_end(call, !ret);
	return ret;
}

static int do_msync(struct worker *w, char *map)
{
	static const uint64_t cuts[] = { 0, SZ_4K, SZ_2M, SZ_2M + 123 * SZ_4K, 3 * SZ_2M, WINDOW };
	unsigned int from = some(w, ARRAY_SIZE(cuts) - 1);
	unsigned int to = from + 1 + some(w, ARRAY_SIZE(cuts) - 1 - from);
	struct history_call *call = history_begin(w->run->history, HISTORY_SYNC,
						  START + cuts[from], START + cuts[to]);
	int ret = msync(map + cuts[from], cuts[to] - cuts[from], MS_SYNC) ? errno : 0;

	history_end(call, !ret);
	return ret;
}

/*
 * Side by side: whoever wakes another up draws it to its own CPU, where they would
 * store and sync one after the other.
 */
static void spread_out(int me)
{
	cpu_set_t cpus;
	int n;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return;
	n = me % CPU_COUNT(&cpus);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus) && n--)
			CPU_CLR(cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

static void *write_all(void *arg)
{
	struct worker *w = arg;
	struct run *r = w->run;
	uint64_t bytes = r->bytes[w->me % 2];
	char *map = bytes == r->bytes[0] && !r->plan->processes ? r->map :
		    map_by(r->fd, bytes, START, WINDOW);
	int ret = map == MAP_FAILED ? -2 : 0;

	spread_out(w->me);
	while (!ret && !stopped(r) && !history_full(r->history)) {
		ret = visit(w, map);
		if (r->plan->one_page)
			ret = ret ?: do_fsync(r);
		if (!ret && r->plan->stores_and_syncs && !some(w, 12))
			ret = some(w, 3) ? do_msync(w, map) : do_fsync(r);
		pause_a_little(w, r->plan->one_page ? 300 : 10);
		/* Let those who only sync have a CPU. */
		if (!some(w, 30))
			usleep(some(w, 500));
	}
	/* The log is full, or the device is gone. */
	note_failure(r, ret && ret != -1 && !(r->plan->unbind && (ret == SIGBUS || ret == ENXIO)));
	return NULL;
}

static void *sync_all(void *arg)
{
	struct worker *w = arg;
	struct run *r = w->run;
	bool whole = w->me < r->plan->fsyncs;
	int ret = 0;

	while (!ret && !stopped(r) && !history_full(r->history)) {
		ret = whole ? do_fsync(r) : do_msync(w, r->map);
		pause_a_little(w, 50);
	}
	note_failure(r, ret && !(r->plan->unbind && ret == ENXIO));
	return NULL;
}

/* Whole entries, a part of one, over the edge of two, and a few bytes more. */
static void *punch_all(void *arg)
{
	static const struct {
		uint64_t at, len;
	} ranges[] = {
		{ START + SZ_2M, SZ_2M },
		{ START + 100 * SZ_4K, 41 * SZ_4K },
		{ START + 3 * SZ_2M - 82 * SZ_4K, 164 * SZ_4K },
		{ START + 41 * SZ_4K - 100, SZ_4K + 200 },
	};
	struct worker *w = arg;
	struct run *r = w->run;
	int ret = 0;

	while (!ret && !stopped(r) && !history_full(r->history)) {
		unsigned int i = some(w, ARRAY_SIZE(ranges));
		struct history_call *call = history_begin(r->history, HISTORY_PUNCH, ranges[i].at,
							  ranges[i].at + ranges[i].len);

		ret = rdax_punch(r->fd, ranges[i].at, ranges[i].len);
		history_end(call, !ret);
		pause_a_little(w, 500);
	}
	note_failure(r, ret);
	return NULL;
}

/* Children that store to what their parent has mapped, of which the parent knows nothing. */
static void *fork_all(void *arg)
{
	struct worker *w = arg;
	struct run *r = w->run;
	int status = 0;

	while (!status && !stopped(r)) {
		pid_t pid = fork();

		if (!pid) {
			for (int i = 0; i < 30; i++) {
				status = visit(w, r->map);
				if (status)
					break;
				pause_a_little(w, 10);
			}
			_exit(status > 0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			status = -1;
		w->seed += 77;
	}
	note_failure(r, status);
	return NULL;
}

static int start_writer(struct worker *w)
{
	if (!w->run->plan->processes)
		return pthread_create(&w->thread, NULL, write_all, w);
	w->pid = fork();
	if (!w->pid) {
		write_all(w);
		_exit(0);
	}
	return w->pid < 0;
}

static void wait_for(struct run *r, struct worker *w)
{
	int status = 0;

	if (w->pid)
		waitpid(w->pid, &status, 0);
	else
		pthread_join(w->thread, NULL);
	note_failure(r, status);
}

static bool enough(const struct history *h)
{
	size_t stores = 0;

	for (size_t i = 0; i < HISTORY_LOGS; i++)
		stores += __atomic_load_n(&h->logs[i].count, __ATOMIC_RELAXED);
	return stores > 4 * ENOUGH && history_syncs(h) > 2 * ENOUGH;
}

/* On a busy machine it takes longer. */
static bool goes_on(const struct history *h, int ms)
{
	return ms < RUN_MS || (!enough(h) && !history_full(h) && ms < RDAX_PATIENCE * 1000 / 2);
}

static int run_all(void *arg)
{
	struct run *r = arg;
	const struct plan *p = r->plan;
	struct worker workers[16] = {};
	struct history_call *call;
	int n = 0, writers, ret;

	r->fd = rdax_open();
	r->map = map_by(r->fd, r->bytes[0], START, WINDOW);
	if (r->map == MAP_FAILED)
		return 1;
	for (int i = 0; i < (int)ARRAY_SIZE(workers); i++) {
		workers[i].run = r;
		workers[i].seed = i * 12347 + 1;
	}
	/* Processes first: a fork copies only the thread that forks. */
	for (; n < p->writers; n++) {
		workers[n].me = n;
		if (start_writer(&workers[n]))
			return 2;
	}
	writers = n;
	for (int i = 0; i < p->fsyncs + p->msyncs; i++, n++) {
		workers[n].me = i;
		if (pthread_create(&workers[n].thread, NULL, sync_all, &workers[n]))
			return 3;
	}
	for (int i = 0; i < p->punches; i++, n++)
		if (pthread_create(&workers[n].thread, NULL, punch_all, &workers[n]))
			return 4;
	if (p->forks) {
		workers[n].me = writers;
		if (pthread_create(&workers[n].thread, NULL, fork_all, &workers[n]))
			return 5;
		n++;
	}

	for (int ms = 0; goes_on(r->history, ms); ms += 10)
		usleep(10000);
	if (p->unbind) {
		call = history_begin(r->history, HISTORY_UNBIND, 0, UINT64_MAX);
		ret = rdax_unbind();
		history_end(call, !ret);
		note_failure(r, ret);
	}
	__atomic_store_n(&r->stop, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < n; i++)
		wait_for(r, &workers[i]);
	if (!p->unbind)
		note_failure(r, do_fsync(r));
	return r->failed;
}

FIXTURE_SETUP(durable)
{
	ASSERT_EQ(0, rdax_fault_around("65536"));
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + WINDOW)
		SKIP(return, "namespace too small or not aligned");
	trace_find_media(rdax_open());
	self->history = rdax_shared(sizeof(*self->history));
}

FIXTURE_TEARDOWN(durable)
{
	rdax_fault_around("0");
}

static void expect_durable(struct __test_metadata *_metadata, struct history *history,
			   const uint64_t *bytes, const struct plan *plan)
{
	struct run *r = rdax_shared(sizeof(*r));
	const struct trace_call *calls;
	struct history_verdict v;
	size_t count;

	*r = (struct run) {
		.history = history,
		.plan = plan,
		.bytes = { bytes[0], bytes[1] },
	};
	trace_start();
	ASSERT_EQ(0, rdax_bounded(run_all, r, RDAX_PATIENCE));
	count = trace_stop(&calls);
	history_check(history, calls, count, &v);
	EXPECT_EQ(0, v.not_written);
	EXPECT_EQ(0, v.not_flushed);
	EXPECT_EQ(0, v.while_written);
	EXPECT_EQ(0, v.clean);
	EXPECT_EQ(0, v.astray);
	EXPECT_EQ(0, v.no_flush);
	if (history_wrong(&v))
		TH_LOG("the first: %s", v.example);
	/* There was something to see. */
	EXPECT_LT(ENOUGH, v.stores);
	EXPECT_LT(ENOUGH, v.syncs);
	EXPECT_LT(0, v.writebacks);
	TH_LOG("%" PRIu64 " stores, %" PRIu64 " syncs, %" PRIu64 " write-backs",
	       v.stores, v.syncs, v.writebacks);
	if (!plan->unbind) {
		/* And nothing is left that could be written to unseen. */
		EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
		EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	}
}

#define durable_when(...) \
	expect_durable(_metadata, self->history, variant->bytes, &(struct plan) { __VA_ARGS__ })

TEST_F(durable, one_thread)
{
	durable_when(.writers = 1, .stores_and_syncs = true);
}

TEST_F(durable, pages_of_their_own)
{
	durable_when(.writers = 2, .apart = true, .fsyncs = 1);
}

TEST_F(durable, same_pages)
{
	durable_when(.writers = 2, .fsyncs = 1);
}

TEST_F(durable, writers_sync)
{
	durable_when(.writers = 3, .stores_and_syncs = true);
}

/*
 * One has the page mapped, for the other too, which stores and syncs while the
 * first has not yet said that the page is dirty.
 */
TEST_F(durable, writers_of_a_page_sync)
{
	trace_slow_faults(true);
	durable_when(.writers = 2, .one_page = true);
	trace_slow_faults(false);
}

TEST_F(durable, processes)
{
	durable_when(.writers = 2, .processes = true, .fsyncs = 1);
}

TEST_F(durable, children)
{
	durable_when(.writers = 1, .forks = true, .fsyncs = 1);
}

TEST_F(durable, two_syncs_at_once)
{
	durable_when(.writers = 2, .fsyncs = 1, .msyncs = 1);
}

TEST_F(durable, punches)
{
	durable_when(.writers = 2, .processes = true, .fsyncs = 1, .punches = 1);
}

TEST_F(durable, unbind)
{
	durable_when(.writers = 2, .processes = true, .msyncs = 1, .unbind = true);
}

int main(int argc, char **argv)
{
	rdax_begin();
	if (!rdax_has_cache()) {
		ksft_print_header();
		ksft_exit_skip("the platform writes the caches back itself: see eadr.c\n");
	}
	trace_begin();
	return test_harness_run(argc, argv);
}
