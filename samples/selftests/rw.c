// SPDX-License-Identifier: GPL-2.0
/*
 * The node as a file: what read and write move, by every call that there is, at
 * odd offsets and lengths over the boundaries of pages of all sizes, against
 * mappings of all sizes in this and other processes; what a write into a hole
 * leaves of it; the ends of the device; flags; positions; and what is counted
 * when a part of the buffer is not there. A byte that is not the same in a
 * mapping and in a read is lost for one of two programs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"

/*
 * Calls that read, and calls that write
 */

enum call { PLAIN, AT, VECTORS, VECTORS_AT, VECTORS_HERE, CALLS };

/* Three pieces, of which the middle one is one byte; up to two may be empty. */
static void cut(struct iovec *iov, char *buf, size_t len)
{
	size_t first = len / 3, second = len > first;

	iov[0] = (struct iovec){ buf, first };
	iov[1] = (struct iovec){ buf + first, second };
	iov[2] = (struct iovec){ buf + first + second, len - first - second };
}

static ssize_t get(int fd, enum call call, void *buf, size_t len, off_t offset)
{
	struct iovec iov[3];

	cut(iov, buf, len);
	switch (call) {
	case PLAIN:
		return lseek(fd, offset, SEEK_SET) < 0 ? -1 : read(fd, buf, len);
	case AT:
		return pread(fd, buf, len, offset);
	case VECTORS:
		return lseek(fd, offset, SEEK_SET) < 0 ? -1 : readv(fd, iov, 3);
	case VECTORS_AT:
		return preadv2(fd, iov, 3, offset, 0);
	default:
		return lseek(fd, offset, SEEK_SET) < 0 ? -1 : preadv2(fd, iov, 3, -1, 0);
	}
}

static ssize_t put(int fd, enum call call, const void *buf, size_t len, off_t offset)
{
	struct iovec iov[3];

	cut(iov, (char *)buf, len);
	switch (call) {
	case PLAIN:
		return lseek(fd, offset, SEEK_SET) < 0 ? -1 : write(fd, buf, len);
	case AT:
		return pwrite(fd, buf, len, offset);
	case VECTORS:
		return lseek(fd, offset, SEEK_SET) < 0 ? -1 : writev(fd, iov, 3);
	case VECTORS_AT:
		return pwritev2(fd, iov, 3, offset, 0);
	default:
		return lseek(fd, offset, SEEK_SET) < 0 ? -1 : pwritev2(fd, iov, 3, -1, 0);
	}
}

/* Where the file is after a call of so many bytes; a call at an offset moves nothing. */
static off_t position_after(enum call call, off_t before, off_t offset, size_t len)
{
	return call == AT || call == VECTORS_AT ? before : offset + (off_t)len;
}

/* What the index says of a page: zero, mapped, empty, or none. */
static const char *kind_of(uint64_t page)
{
	const char *line = rdax_entries();
	static char kind[16];

	for (; line && *line; line = strchr(line, '\n'), line += !!line) {
		uint64_t first, count;
		unsigned int order;

		if (sscanf(line, "0x%" SCNx64 " %" SCNu64 " order %u %15s", &first, &count,
			   &order, kind) == 4 &&
		    page >= first && page < first + (count << order))
			return kind;
	}
	return "none";
}

/*
 * Contents
 */

#define END	(SZ_1G + SZ_1G / 2)

struct view {
	char *map;
	uint64_t start;		/* of the mapping, on the device */
};

/* 0 to END, or all of it but the first 2 MiB, so that only this size serves it. */
static struct view view_by(int fd, uint64_t bytes)
{
	struct view v = { .start = bytes == SZ_1G ? 0 : SZ_2M };
	uint64_t len = (bytes == SZ_1G ? 2 * SZ_1G : END) - v.start;

	v.map = rdax_map(fd, v.start, len);
	if (v.map != MAP_FAILED && bytes == SZ_4K && madvise(v.map, len, MADV_NOHUGEPAGE))
		v.map = MAP_FAILED;
	return v;
}

static char *at(const struct view *v, uint64_t offset)
{
	return v->map + (offset - v->start);
}

FIXTURE(rw)
{
	int fd;
	struct view view;
};

FIXTURE_VARIANT(rw)
{
	uint64_t bytes;		/* of the pages that map it */
};

FIXTURE_VARIANT_ADD(rw, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(rw, pmd)
{
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(rw, pud)
{
	.bytes = SZ_1G,
};

FIXTURE_SETUP(rw)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_1G) || rdax_size() < 2 * SZ_1G)
		SKIP(return, "needs 2 GiB at a multiple of 1 GiB");
	self->view = view_by(self->fd, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->view.map);
}

FIXTURE_TEARDOWN(rw)
{
	close(self->fd);
}

#define GUARD	64

static const uint64_t boundaries[] = { SZ_2M + 100 * SZ_4K, 3 * SZ_2M, SZ_1G };

static const struct {
	uint64_t len;
	bool all_calls;
} lengths[] = {
	{ 1, true },
	{ 2, true },
	{ 7, true },
	{ 65, true },
	{ 511, true },
	{ 4096, true },
	{ 4097, true },
	{ 3 * 65537, false },
	{ SZ_2M + 5, false },
	{ 4 * SZ_2M, false },
};

/*
 * One transfer in each direction: the range and what is around it as stored
 * through the mapping, the range as written through the file.
 */
static void both_ways(struct __test_metadata *_metadata, int fd, const struct view *v,
		      char *buf, enum call call, uint64_t from, uint64_t len, uint64_t seed)
{
	off_t here = lseek(fd, 4711, SEEK_SET);

	bytes_make(at(v, from - GUARD), from - GUARD, len + 2 * GUARD, seed);
	memset(buf, 0, len + 1);
	EXPECT_EQ(len, get(fd, call, buf, len, from));
	EXPECT_EQ(len, bytes_right(buf, from, len, seed));
	EXPECT_EQ(0, buf[len]);
	EXPECT_EQ(position_after(call, here, from, len), lseek(fd, 0, SEEK_CUR));

	bytes_make(buf, from, len, seed + 1);
	here = lseek(fd, 4712, SEEK_SET);
	EXPECT_EQ(len, put(fd, call, buf, len, from));
	EXPECT_EQ(len, bytes_right(at(v, from), from, len, seed + 1));
	EXPECT_EQ(GUARD, bytes_right(at(v, from - GUARD), from - GUARD, GUARD, seed));
	EXPECT_EQ(GUARD, bytes_right(at(v, from + len), from + len, GUARD, seed));
	EXPECT_EQ(position_after(call, here, from, len), lseek(fd, 0, SEEK_CUR));

	memset(buf, 0, len + 1);
	EXPECT_EQ(len, get(fd, (call + 1) % CALLS, buf, len, from));
	EXPECT_EQ(len, bytes_right(buf, from, len, seed + 1));
	if (_metadata->exit_code)
		TH_LOG("call %d, %" PRIu64 " bytes at 0x%" PRIx64, call, len, from);
}

TEST_F_TIMEOUT(rw, contents, 120)
{
	char *buf = malloc(4 * SZ_2M + 64);
	uint64_t seed = 1, rest = 0;
	struct rdax_counts d;

	for (size_t i = 0; i < ARRAY_SIZE(boundaries); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(lengths); j++) {
			uint64_t len = lengths[j].len;
			int calls = lengths[j].all_calls ? CALLS : 1;

			/* No mapping has the first 2 MiB, but for one. */
			if (boundaries[i] < SZ_2M + len / 2 + 2 * GUARD)
				continue;
			for (int call = 0; call < calls; call++, seed += 2) {
				both_ways(_metadata, self->fd, &self->view,
					  buf + (seed / 2) % 8,
					  calls > 1 ? call : (int)(rest++ % CALLS),
					  boundaries[i] - len / 2 - j % 2, len, seed);
				ASSERT_EQ(0, _metadata->exit_code);
			}
		}
	}
	/* Reads and writes of the file map nothing, and nobody fell back. */
	rdax_counts(&d);
	EXPECT_LT(0, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(d.pte_mapped + d.pmd_mapped + d.pud_mapped, rdax_mapped(&d, variant->bytes));
	free(buf);
}

/* The file alone: no mapping was there before, nor is there an entry afterwards. */
TEST_F(rw, nothing_mapped)
{
	char buf[300], got[300];
	uint64_t from = SZ_1G - 150;
	struct rdax_counts d;

	bytes_make(buf, from, sizeof(buf), 5);
	EXPECT_EQ(sizeof(buf), pwrite(self->fd, buf, sizeof(buf), from));
	EXPECT_EQ(sizeof(got), pread(self->fd, got, sizeof(got), from));
	EXPECT_EQ(sizeof(got), bytes_right(got, from, sizeof(got), 5));
	rdax_counts(&d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped + d.created);
	EXPECT_STREQ("", rdax_entries());
	EXPECT_EQ(sizeof(buf), bytes_right(at(&self->view, from), from, sizeof(buf), 5));
}

/*
 * Others
 */

struct viewer {
	uint64_t bytes;
	struct view view;		/* or that of its parent */
	struct job {
		uint64_t from, len, seed;
	} *job;
};

enum { LOOK, STORE };

static int view(void *arg, int step)
{
	struct viewer *v = arg;
	struct job *job = v->job;

	if (!v->view.map)
		v->view = view_by(rdax_open(), v->bytes);
	if (v->view.map == MAP_FAILED)
		return 2;
	if (step == STORE)
		bytes_make(at(&v->view, job->from), job->from, job->len, job->seed);
	return bytes_right(at(&v->view, job->from), job->from, job->len, job->seed) != job->len;
}

TEST_F(rw, others)
{
	struct job *job = rdax_shared(sizeof(*job));
	struct viewer viewers[] = {
		{ SZ_4K, { }, job }, { SZ_2M, { }, job }, { SZ_1G, { }, job },
		{ 0, self->view, job },
	};
	struct rdax_peer peers[ARRAY_SIZE(viewers)];
	uint64_t len = 100001;
	char *buf = malloc(len);
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(viewers); i++)
		ASSERT_EQ(0, rdax_peer_start(&peers[i], view, &viewers[i]));
	*job = (struct job){ 0, len, 1 };
	for (i = 0; i < ARRAY_SIZE(boundaries); i++) {
		/* All have it mapped, and have read it. */
		job->from = boundaries[i] - len / 2;
		bytes_make(at(&self->view, job->from), job->from, len, job->seed);
		for (j = 0; j < ARRAY_SIZE(viewers); j++)
			EXPECT_EQ(0, rdax_peer_step(&peers[j], LOOK));

		bytes_make(buf, job->from, len, ++job->seed);
		EXPECT_EQ(len, pwrite(self->fd, buf, len, job->from));
		for (j = 0; j < ARRAY_SIZE(viewers); j++) {
			EXPECT_EQ(0, rdax_peer_step(&peers[j], LOOK))
				TH_LOG("viewer %zu, boundary %zu", j, i);
		}
		for (j = 0; j < ARRAY_SIZE(viewers); j++) {
			job->seed++;
			EXPECT_EQ(0, rdax_peer_step(&peers[j], STORE));
			EXPECT_EQ(len, pread(self->fd, buf, len, job->from));
			EXPECT_EQ(len, bytes_right(buf, job->from, len, job->seed));
		}
	}
	for (i = 0; i < ARRAY_SIZE(viewers); i++)
		rdax_peer_end(&peers[i]);
	free(buf);
}

/* A write leaves what mappings made dirty as it is, and dirties nothing itself. */
TEST_F(rw, entries_stay)
{
	uint64_t from = 3 * SZ_2M - 5;
	struct rdax_counts before, d;
	char *before_entries;

	bytes_make(at(&self->view, from), from, 10, 1);
	EXPECT_EQ(0, rdax_load(at(&self->view, from + SZ_2M)));
	before_entries = strdup(rdax_entries());
	rdax_counts(&before);
	EXPECT_EQ(3, pwrite(self->fd, "abc", 3, from + 4));
	EXPECT_EQ(3, pwrite(self->fd, "xyz", 3, from + SZ_2M));
	EXPECT_EQ(0, memcmp(at(&self->view, from + 4), "abc", 3));
	EXPECT_EQ(0, memcmp(at(&self->view, from + SZ_2M), "xyz", 3));
	EXPECT_STREQ(before_entries, rdax_entries());
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped + d.created);
	free(before_entries);
}

/*
 * Writes into holes that others have mapped
 */

/* Data, a hole, data; a shadow says what all of it should be. */
#define AROUND	(16 * SZ_4K)

FIXTURE(hole)
{
	int fd;
	uint64_t hole;		/* where it is */
	char *maps[2];		/* at 4 KiB and at 2 MiB, from the device's start */
	struct rdax_peer peers[3];
	struct looker {
		char *map;
		uint64_t bytes, from, len;
		char *shadow;
	} lookers[3];
	char *shadow, *buf;
	uint64_t len;		/* of the shadow, which begins AROUND before the hole */
};

FIXTURE_VARIANT(hole)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(hole, page)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(hole, pages)
{
	.bytes = 7 * SZ_4K,
};

FIXTURE_VARIANT_ADD(hole, pmd)
{
	.bytes = SZ_2M,
};

#define HOLES_END	(4 * SZ_2M)

static char *map_by(uint64_t bytes)
{
	char *map = rdax_map(rdax_open(), 0, HOLES_END);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, HOLES_END, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static int look(void *arg, int step)
{
	struct looker *l = arg;

	if (!l->map)
		l->map = map_by(l->bytes);
	return l->map == MAP_FAILED ||
	       bytes_same(l->map + l->from, l->shadow, l->len) != l->len;
}

FIXTURE_SETUP(hole)
{
	uint64_t bytes[] = { SZ_4K, SZ_2M };

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_2M) || rdax_size() < HOLES_END)
		SKIP(return, "namespace too small or not aligned");
	/* Those who read at 2 MiB must not make the media of a small hole. */
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/upgrade", "N"));
	self->hole = variant->bytes == SZ_2M ? 2 * SZ_2M : SZ_2M + 100 * SZ_4K;
	self->len = variant->bytes + 2 * AROUND;
	self->shadow = rdax_shared(self->len);
	self->buf = malloc(self->len);
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		self->maps[i] = map_by(bytes[i]);
		ASSERT_NE(MAP_FAILED, self->maps[i]);
	}
	/* Two that map it themselves, and one that has the mapping by a fork. */
	for (size_t i = 0; i < ARRAY_SIZE(self->peers); i++) {
		self->lookers[i] = (struct looker){
			.map = i < 2 ? NULL : self->maps[0],
			.bytes = bytes[i % 2],
			.from = self->hole - AROUND,
			.len = self->len,
			.shadow = self->shadow,
		};
		ASSERT_EQ(0, rdax_peer_start(&self->peers[i], look, &self->lookers[i]));
	}
}

FIXTURE_TEARDOWN(hole)
{
	uint64_t *zeroes = mmap(NULL, SZ_2M, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	rdax_write_file(RDAX_PARAMS "/upgrade", "Y");
	/* The kernel's own zeroes, which all had mapped. */
	EXPECT_EQ(SZ_2M, bytes_zero(zeroes, SZ_2M));
	for (size_t i = 0; self->peers[i].pid && i < ARRAY_SIZE(self->peers); i++)
		rdax_peer_end(&self->peers[i]);
	close(self->fd);
}

/* All see what the shadow says: both mappings, all peers, and a read. */
static void all_see(struct __test_metadata *_metadata, int fd, uint64_t from, uint64_t len,
		    char *const *maps, struct rdax_peer *peers, const char *shadow, char *buf)
{
	EXPECT_EQ(len, bytes_same(maps[0] + from, shadow, len));
	EXPECT_EQ(len, bytes_same(maps[1] + from, shadow, len));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(0, rdax_peer_step(&peers[i], 0))
			TH_LOG("peer %d", i);
	}
	EXPECT_EQ(len, pread(fd, buf, len, from));
	EXPECT_EQ(len, bytes_same(buf, shadow, len));
}

TEST_F_TIMEOUT(hole, written, 120)
{
	uint64_t start = self->hole - AROUND, end = self->hole + variant->bytes;
	const struct {
		uint64_t from, to;
	} writes[] = {
		{ self->hole, self->hole + 1 },
		{ self->hole + 1234, self->hole + 1235 },
		{ end - 1, end },
		{ self->hole - 3, self->hole + 5 },
		{ end - 5, end + 3 },
		{ self->hole, self->hole + SZ_4K },
		{ self->hole, end },
		{ self->hole - 12345, end + 12345 },
	};
	uint64_t seed = 1, from, to;
	char *data = malloc(self->len);

	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		/* Data, dirty in the eyes of the index, at alternating sizes; then a hole. */
		bytes_make(self->maps[i % 2] + start, start, self->len, ++seed);
		bytes_make(self->shadow, start, self->len, seed);
		ASSERT_EQ(0, rdax_punch(self->fd, self->hole, variant->bytes));
		memset(self->shadow + AROUND, 0, variant->bytes);
		all_see(_metadata, self->fd, start, self->len, self->maps, self->peers,
			self->shadow, self->buf);
		EXPECT_STREQ("zero", kind_of(self->hole / SZ_4K));
		EXPECT_STREQ("zero", kind_of((end - 1) / SZ_4K));

		from = writes[i].from;
		to = writes[i].to;
		bytes_make(data, from, to - from, ++seed);
		ASSERT_EQ(to - from, pwrite(self->fd, data, to - from, from));
		for (uint64_t page = from / SZ_4K; page <= (to - 1) / SZ_4K; page++) {
			EXPECT_STRNE("zero", kind_of(page));
			/* That is enough of a large one. */
			if (page > from / SZ_4K + 10)
				page = (to - 1) / SZ_4K;
		}
		bytes_make(self->shadow + from - start, from, to - from, seed);
		all_see(_metadata, self->fd, start, self->len, self->maps, self->peers,
			self->shadow, self->buf);
		if (_metadata->exit_code) {
			TH_LOG("write of 0x%" PRIx64 " to 0x%" PRIx64 " with a hole at 0x%" PRIx64,
			       from, to, self->hole);
			break;
		}

		/* And what mappings store after that is seen by all. */
		memset(self->maps[i % 2] + to - 1, 7, 1);
		self->shadow[to - 1 - start] = 7;
		all_see(_metadata, self->fd, start, self->len, self->maps, self->peers,
			self->shadow, self->buf);
	}
	free(data);
}

/* A hole of which nothing was written stays one: no write may cost its neighbours. */
TEST_F(hole, neighbours)
{
	uint64_t next = self->hole + variant->bytes + 2 * SZ_4K;

	ASSERT_EQ(0, rdax_punch(self->fd, self->hole, variant->bytes));
	ASSERT_EQ(0, rdax_punch(self->fd, next, SZ_4K));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, self->hole + variant->bytes));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, self->hole - 1));
	EXPECT_EQ(0, pwrite(self->fd, "x", 0, self->hole));
	EXPECT_STREQ("zero", kind_of(self->hole / SZ_4K));
	EXPECT_STREQ("zero", kind_of((self->hole + variant->bytes - 1) / SZ_4K));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, self->hole));
	EXPECT_STRNE("zero", kind_of(self->hole / SZ_4K));
	EXPECT_STREQ("zero", kind_of(next / SZ_4K));
	/* Of seven the other six stay; a large one goes as a whole. */
	EXPECT_STREQ(variant->bytes == 7 * SZ_4K ? "zero" : kind_of(self->hole / SZ_4K),
		     kind_of((self->hole + variant->bytes) / SZ_4K - 1));
}

/*
 * Ends, flags, positions
 */

FIXTURE(file)
{
	int fd;
	off_t size;
	char *map;		/* of its first and of its last 2 MiB */
	char *tail;
};

FIXTURE_SETUP(file)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->size = rdax_size();
	ASSERT_LE(2 * SZ_2M, self->size);
	self->map = rdax_map(self->fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, self->map);
	self->tail = rdax_map(self->fd, self->size - SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, self->tail);
	bytes_make(self->map, 0, SZ_2M, 1);
	bytes_make(self->tail, self->size - SZ_2M, SZ_2M, 1);
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

static int open_with(int flags)
{
	return open(RDAX_NODE, O_RDWR | O_CLOEXEC | flags);
}

TEST_F(file, reads_end_at_the_end)
{
	const struct {
		off_t back, want;	/* from the end */
		ssize_t got;
	} cases[] = {
		{ 0, 1, 0 }, { 0, 4096, 0 }, { 1, 1, 1 }, { 1, 2, 1 }, { 5, 10, 5 },
		{ 4096, 4096, 4096 }, { 4096, 4097, 4096 }, { 4097, 8192, 4097 },
		{ 10000, 200000, 10000 }, { 5, 0, 0 },
	};
	char *buf = malloc(200000);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		off_t from = self->size - cases[i].back;

		for (int call = 0; call < CALLS; call++) {
			off_t here = lseek(self->fd, 99, SEEK_SET);

			memset(buf, 0, 200000);
			EXPECT_EQ(cases[i].got, get(self->fd, call, buf, cases[i].want, from))
				TH_LOG("case %zu, call %d", i, call);
			EXPECT_EQ(cases[i].got, bytes_right(buf, from, cases[i].got, 1));
			EXPECT_EQ(0, buf[cases[i].got]);
			EXPECT_EQ(position_after(call, here, from, cases[i].got),
				  lseek(self->fd, 0, SEEK_CUR));
		}
	}
	/* Far behind it, where only calls at an offset come. */
	EXPECT_EQ(0, pread(self->fd, buf, 1, self->size + 1));
	EXPECT_EQ(0, pread(self->fd, buf, 4096, INT64_MAX - 4096));
	EXPECT_EQ(0, preadv2(self->fd, &(struct iovec){ buf, 1 }, 1, 2 * self->size, 0));
	free(buf);
}

TEST_F(file, writes_end_at_the_end)
{
	const struct {
		off_t back, want;
		ssize_t put;		/* or the errno */
	} cases[] = {
		{ 0, 1, -ENOSPC }, { 0, 4096, -ENOSPC }, { 1, 1, 1 }, { 1, 2, 1 }, { 5, 10, 5 },
		{ 4096, 4096, 4096 }, { 4096, 4097, 4096 }, { 4097, 8192, 4097 },
		{ 10000, 200000, 10000 }, { 0, 0, 0 }, { 5, 0, 0 },
	};
	char *buf = malloc(200000);
	uint64_t seed = 1;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		off_t from = self->size - cases[i].back;

		for (int call = 0; call < CALLS; call++) {
			off_t here = lseek(self->fd, 99, SEEK_SET);
			ssize_t want = cases[i].put, put_len, ret;

			put_len = want < 0 ? 0 : want;
			bytes_make(buf, from, cases[i].want, ++seed);
			ret = put(self->fd, call, buf, cases[i].want, from);
			EXPECT_EQ(want, ret == -1 ? -errno : ret)
				TH_LOG("case %zu, call %d", i, call);
			EXPECT_EQ(put_len, bytes_right(self->tail + SZ_2M - cases[i].back,
						       from, put_len, seed));
			/* What is before it is not touched. */
			EXPECT_EQ(100000, bytes_right(self->tail, self->size - SZ_2M, 100000, 1));
			EXPECT_EQ(position_after(call, here, from, put_len),
				  lseek(self->fd, 0, SEEK_CUR));
		}
	}
	EXPECT_EQ(-1, pwrite(self->fd, buf, 1, self->size + 1));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buf, 4096, INT64_MAX - 4096));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(SZ_2M, bytes_right(self->map, 0, SZ_2M, 1));
	free(buf);
}

/* The position to append at is the end: there is no room, wherever the file is. */
TEST_F(file, append)
{
	int fd = open_with(O_APPEND);
	struct iovec iov = { "x", 1 };
	char byte;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-1, write(fd, "x", 1));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, pwrite(fd, "x", 1, 0));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, writev(fd, &iov, 1));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, pwritev2(self->fd, &iov, 1, 0, RWF_APPEND));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, write(fd, "x", 0));
	EXPECT_EQ(SZ_2M, bytes_right(self->map, 0, SZ_2M, 1));
	EXPECT_EQ(SZ_2M, bytes_right(self->tail, self->size - SZ_2M, SZ_2M, 1));

	EXPECT_EQ(0, lseek(fd, 0, SEEK_SET));
	EXPECT_EQ(1, read(fd, &byte, 1));
	EXPECT_EQ(1, bytes_right(&byte, 0, 1, 1));
#ifdef RWF_NOAPPEND
	EXPECT_EQ(1, pwritev2(fd, &iov, 1, 5, RWF_NOAPPEND));
	EXPECT_EQ('x', self->map[5]);
#endif
	close(fd);
}

/* Flags of the file, and of the call. None changes what is written. */
TEST_F(file, flags)
{
	static const struct {
		int open, call;
	} cases[] = {
		{ O_DIRECT, 0 }, { O_SYNC, 0 }, { O_DSYNC, 0 }, { O_DIRECT | O_SYNC, 0 },
		{ O_NONBLOCK, 0 }, { O_NOATIME, 0 }, { O_TRUNC, 0 }, { O_CREAT, 0 },
		{ 0, RWF_DSYNC }, { 0, RWF_SYNC }, { 0, RWF_NOWAIT }, { 0, RWF_HIPRI },
		{ O_DIRECT, RWF_DSYNC | RWF_NOWAIT },
	};
	char buf[10001], got[10001];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = open(RDAX_NODE, O_RDWR | O_CLOEXEC | cases[i].open, 0600);
		uint64_t from = 4096 * i + 2 * i + 1;
		struct iovec in = { got, sizeof(got) }, out = { buf, sizeof(buf) };

		ASSERT_GE(fd, 0)
			TH_LOG("open with %#o: %s", cases[i].open, strerror(errno));
		bytes_make(buf, from, sizeof(buf), i + 2);
		memset(got, 0, sizeof(got));
		/* Odd in all: memory, offset and length. */
		EXPECT_EQ(sizeof(buf), pwritev2(fd, &out, 1, from, cases[i].call))
			TH_LOG("case %zu: %s", i, strerror(errno));
		EXPECT_EQ(sizeof(buf), bytes_right(self->map + from, from, sizeof(buf), i + 2));
		EXPECT_EQ(sizeof(got), preadv2(fd, &in, 1, from,
					       cases[i].call & (RWF_NOWAIT | RWF_HIPRI)));
		EXPECT_EQ(sizeof(got), bytes_right(got, from, sizeof(got), i + 2));
		EXPECT_EQ(0, fsync(fd));
		EXPECT_EQ(0, fdatasync(fd));
		close(fd);
	}
	EXPECT_EQ(SZ_2M - 200000, bytes_right(self->map + 200000, 200000, SZ_2M - 200000, 1));
}

TEST_F(file, positions)
{
	char buf[5000], *nowhere = mmap(NULL, SZ_4K, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int other;

	/* Reads and writes share one position, and so do copies of the descriptor. */
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(100, read(self->fd, buf, 100));
	EXPECT_EQ(100, bytes_right(buf, 0, 100, 1));
	bytes_make(buf, 100, 4321, 2);
	EXPECT_EQ(4321, write(self->fd, buf, 4321));
	other = dup(self->fd);
	EXPECT_EQ(4421, lseek(other, 0, SEEK_CUR));
	EXPECT_EQ(5000, read(other, buf, 5000));
	EXPECT_EQ(5000, bytes_right(buf, 4421, 5000, 1));
	EXPECT_EQ(9421, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(4321, bytes_right(self->map + 100, 100, 4321, 2));
	close(other);

	/* Another open has its own. */
	other = rdax_open();
	EXPECT_EQ(0, lseek(other, 0, SEEK_CUR));
	EXPECT_EQ(10, read(other, buf, 10));
	EXPECT_EQ(9421, lseek(self->fd, 0, SEEK_CUR));
	close(other);

	/* What fails, and what moves nothing, leaves it. */
	EXPECT_EQ(-1, read(self->fd, nowhere, 10));
	EXPECT_EQ(-1, write(self->fd, nowhere, 10));
	EXPECT_EQ(0, read(self->fd, buf, 0));
	EXPECT_EQ(0, write(self->fd, buf, 0));
	EXPECT_EQ(10, pread(self->fd, buf, 10, 7));
	EXPECT_EQ(10, pwrite(self->fd, buf, 10, 7));
	EXPECT_EQ(9421, lseek(self->fd, 0, SEEK_CUR));

	EXPECT_EQ(self->size - 3, lseek(self->fd, -3, SEEK_END));
	EXPECT_EQ(3, write(self->fd, buf, 10));
	EXPECT_EQ(self->size, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(-1, write(self->fd, buf, 10));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, read(self->fd, buf, 10));
	EXPECT_EQ(self->size, lseek(self->fd, 0, SEEK_CUR));
}

/* Not only in this binding: what was written is on the media. */
TEST_F(file, on_the_media)
{
	char buf[3000], got[3000];

	bytes_make(buf, 4000, sizeof(buf), 9);
	EXPECT_EQ(sizeof(buf), pwrite(self->fd, buf, sizeof(buf), 4000));
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_EQ(-1, pread(self->fd, got, sizeof(got), 4000));
	EXPECT_EQ(ENXIO, errno);
	close(self->fd);
	self->fd = rdax_open();
	EXPECT_EQ(sizeof(got), pread(self->fd, got, sizeof(got), 4000));
	EXPECT_EQ(sizeof(got), bytes_right(got, 4000, sizeof(got), 9));
}

/* The alignment of mappings is none of reads and writes. */
TEST_F(file, larger_align)
{
	static const char *const aligns[] = { "2M", "1G" };
	char buf[301], got[301];

	for (size_t i = 0; i < ARRAY_SIZE(aligns); i++) {
		off_t size;
		int fd;

		if (!rdax_fits(i ? SZ_1G : SZ_2M))
			SKIP(return, "not aligned");
		ASSERT_EQ(0, rdax_fresh(aligns[i]));
		fd = rdax_open();
		size = lseek(fd, 0, SEEK_END);
		EXPECT_EQ(0, size % (off_t)(i ? SZ_1G : SZ_2M));
		bytes_make(buf, 4001, sizeof(buf), i + 3);
		EXPECT_EQ(sizeof(buf), pwrite(fd, buf, sizeof(buf), 4001));
		EXPECT_EQ(sizeof(got), pread(fd, got, sizeof(got), 4001));
		EXPECT_EQ(sizeof(got), bytes_right(got, 4001, sizeof(got), i + 3));
		EXPECT_EQ(7, pread(fd, got, sizeof(got), size - 7));
		EXPECT_EQ(7, pwrite(fd, got, sizeof(got), size - 7));
		EXPECT_EQ(0, fsync(fd));
		close(fd);
	}
}

/*
 * Buffers that end in memory which isn't there
 */

#define PARTS	24

struct part {
	/* The first that was wrong. */
	uint64_t present, offset, right;
	ssize_t ret;
	int what;
};

/* present bytes before the end of what is there, at any alignment to the device. */
static int move_parts(void *arg)
{
	static const uint64_t lens[PARTS] = {
		1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129,
		4095, 4099, SZ_2M + 13,
	};
	uint64_t room = 2 * SZ_2M, from, i, n;
	struct part *p = arg;
	int fd = rdax_open();
	char *map = rdax_map(fd, 0, 4 * SZ_2M), *buf, *end;

	buf = mmap(NULL, room + SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	if (map == MAP_FAILED || buf == MAP_FAILED || munmap(buf + room, SZ_4K))
		return 1;
	end = buf + room;
	for (i = 0; i < PARTS * 8; i++) {
		n = lens[i / 8];
		if (n >= room)
			return 1;
		from = SZ_4K + i % 8;
		if (n > SZ_2M && i % 8 > 1)
			break;
		*p = (struct part){ .present = n, .offset = from };
		/* More than is there, by 1 byte and by many. */
		bytes_make(map + SZ_4K / 2, SZ_4K / 2, n + SZ_4K, 1);
		memset(end - n, 0, n);
		p->what = 2;
		p->ret = pread(fd, end - n, n + (i % 2 ? 1 : SZ_2M), from);
		p->right = bytes_right(end - n, from, n, 1);
		if (p->ret != (ssize_t)n || p->right != n)
			return 2;

		bytes_make(end - n, from, n, 2);
		p->what = 3;
		p->ret = pwrite(fd, end - n, n + (i % 2 ? SZ_2M : 1), from);
		p->right = bytes_right(map + from, from, n, 2);
		if (p->ret != (ssize_t)n || p->right != n)
			return 3;
		/* Nothing of what isn't counted, nor before it. */
		p->what = 4;
		p->right = bytes_right(map + from + n, from + n, 100, 1);
		if (p->right != 100)
			return 4;
		p->right = bytes_right(map + from - 100, from - 100, 100, 1);
		if (p->right != 100)
			return 5;
	}
	return 0;
}

/* A copy that gets no further, again and again, would never end: bounded. */
TEST_F(file, buffer_present_in_part)
{
	struct part *p = rdax_shared(sizeof(*p));

	EXPECT_EQ(0, rdax_bounded(move_parts, p, RDAX_PATIENCE))
		TH_LOG("%" PRIu64 " bytes at 0x%" PRIx64 ": step %d, returned %zd, %" PRIu64
		       " right", p->present, p->offset, p->what, p->ret, p->right);
}

/* The second of three vectors is missing, or has a hole. */
TEST_F(file, vectors_present_in_part)
{
	char *pages = mmap(NULL, 3 * SZ_4K, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec iov[3] = {
		{ pages, 1001 }, { pages + SZ_4K - 10, 100 }, { pages + 2 * SZ_4K, 500 },
	};

	ASSERT_NE(MAP_FAILED, pages);
	munmap(pages + SZ_4K, SZ_4K);
	EXPECT_EQ(1011, preadv(self->fd, iov, 3, 3));
	EXPECT_EQ(1001, bytes_right(pages, 3, 1001, 1));
	EXPECT_EQ(10, bytes_right(pages + SZ_4K - 10, 1004, 10, 1));
	EXPECT_EQ(0, pages[2 * SZ_4K]);

	bytes_make(pages, 3, 1001, 2);
	bytes_make(pages + SZ_4K - 10, 1004, 10, 2);
	EXPECT_EQ(1011, pwritev(self->fd, iov, 3, 3));
	EXPECT_EQ(1011, bytes_right(self->map + 3, 3, 1011, 2));
	EXPECT_EQ(4000, bytes_right(self->map + 1014, 1014, 4000, 1));

	iov[1].iov_base = pages + SZ_4K;
	EXPECT_EQ(1001, preadv(self->fd, iov, 3, 7));
	EXPECT_EQ(1001, pwritev(self->fd, iov, 3, 7));
	EXPECT_EQ(3, lseek(self->fd, 3, SEEK_SET));
	EXPECT_EQ(1001, readv(self->fd, iov, 3));
	EXPECT_EQ(1004, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(-1, preadv(self->fd, iov + 1, 2, 7));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwritev(self->fd, iov + 1, 2, 7));
	EXPECT_EQ(EFAULT, errno);
}

/*
 * Memory that can be faulted in and not stored to, by a module of ours: a read that
 * tries again as long as it can fault the memory in would never end. Bounded.
 */

#define UNSTORABLE	"/dev/rdax_unstorable"

struct unstorable {
	ssize_t ret[5];
	int errors[5];
	uint64_t right[5];
};

static int read_to_unstorable(void *arg)
{
	int fd = rdax_open(), other = open(UNSTORABLE, O_RDWR | O_CLOEXEC);
	struct unstorable *u = arg;
	struct iovec iov[2];
	char *pages, *bad;

	pages = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return 1;
	bad = mmap(pages + SZ_4K, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0);
	if (bad == MAP_FAILED || rdax_store(bad) != SIGBUS)
		return 2;
	/* Present, and not. */
	for (int i = 0; i < 2; i++) {
		u->ret[i] = pread(fd, bad, SZ_4K, 3);
		u->errors[i] = errno;
		madvise(bad, SZ_4K, MADV_DONTNEED);
	}
	u->ret[2] = pread(fd, bad + 1000, 1, 3);
	u->errors[2] = errno;
	u->ret[3] = pread(fd, bad - 1001, SZ_4K, 5);
	u->right[3] = bytes_right(bad - 1001, 5, 1001, 1);
	iov[0] = (struct iovec){ pages, 77 };
	iov[1] = (struct iovec){ bad, 100 };
	u->ret[4] = preadv(fd, iov, 2, 9);
	u->right[4] = bytes_right(pages, 9, 77, 1);
	return 0;
}

TEST_F(file, buffer_not_storable)
{
	struct unstorable *u = rdax_shared(sizeof(*u));
	int module = open("rdax_unstorable.ko", O_RDONLY | O_CLOEXEC);

	if (access(UNSTORABLE, F_OK)) {
		if (module < 0)
			SKIP(return, "no module rdax_unstorable");
		ASSERT_EQ(0, syscall(SYS_finit_module, module, "", 0));
	}
	EXPECT_EQ(0, rdax_bounded(read_to_unstorable, u, RDAX_PATIENCE / 3));
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ(-1, u->ret[i]) TH_LOG("read %d", i);
		EXPECT_EQ(EFAULT, u->errors[i]);
	}
	EXPECT_EQ(1001, u->ret[3]);
	EXPECT_EQ(1001, u->right[3]);
	EXPECT_EQ(77, u->ret[4]);
	EXPECT_EQ(77, u->right[4]);
	syscall(SYS_delete_module, "rdax_unstorable", O_NONBLOCK);
}

/* Memory that only this thread may not store to. */
TEST_F(file, buffer_with_a_key)
{
	char *page = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int key = pkey_alloc(0, PKEY_DISABLE_WRITE);

	if (key < 0)
		SKIP(return, "no protection keys");
	ASSERT_EQ(0, pkey_mprotect(page, SZ_4K, PROT_READ | PROT_WRITE, key));
	EXPECT_EQ(-1, pread(self->fd, page, SZ_4K, 3));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(SZ_4K, pwrite(self->fd, page, SZ_4K, 3));
	ASSERT_EQ(0, pkey_set(key, PKEY_DISABLE_ACCESS));
	EXPECT_EQ(-1, pwrite(self->fd, page, SZ_4K, 3));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, pkey_set(key, 0));
	EXPECT_EQ(SZ_4K, pread(self->fd, page, SZ_4K, 3));
	pkey_free(key);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
