// SPDX-License-Identifier: GPL-2.0
/*
 * What no program should pass, and what some will: offsets and lengths at every
 * edge, to every call that takes them; buffers that are not there, may not be
 * written, or are a mapping of the very range; odd vectors; files opened the
 * wrong way; flags that nobody knows. Each has one answer, and the rest of the
 * device, which has words all over it, is as it was.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"
#include "regions.h"
#include "uapi/rdax.h"

/*
 * A device with words all over it but in the part where calls may succeed
 */

#define FIRST	SZ_2M		/* the canary's */
#define STRIDE	(8 * SZ_2M)
#define SEED	77

FIXTURE(bad)
{
	int fd, reader, writer;
	uint64_t size;
	char *map;		/* of all of it */
};

/* At the end its words are one in each page, elsewhere one here and there. */
static void canary(char *map, uint64_t size)
{
	rdax_fill(map + STRIDE, STRIDE, size - 2 * STRIDE, STRIDE, SEED);
	rdax_fill(map + FIRST, FIRST, STRIDE - FIRST, SZ_2M / 2, SEED);
	rdax_fill(map + size - STRIDE, size - STRIDE, STRIDE - 4 * SZ_4K, 16 * SZ_4K, SEED);
}

static uint64_t killed(const char *map, uint64_t size)
{
	return rdax_wrong(map + STRIDE, STRIDE, size - 2 * STRIDE, STRIDE, SEED) +
	       rdax_wrong(map + FIRST, FIRST, STRIDE - FIRST, SZ_2M / 2, SEED) +
	       rdax_wrong(map + size - STRIDE, size - STRIDE, STRIDE - 4 * SZ_4K,
			  16 * SZ_4K, SEED);
}

FIXTURE_SETUP(bad)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	self->reader = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);
	self->writer = open(RDAX_NODE, O_WRONLY | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_GE(self->reader, 0);
	ASSERT_GE(self->writer, 0);
	self->size = rdax_size();
	if (self->size < 16 * STRIDE)
		SKIP(return, "namespace too small");
	self->map = rdax_map(self->fd, 0, self->size);
	ASSERT_NE(MAP_FAILED, self->map);
	canary(self->map, self->size);
}

FIXTURE_TEARDOWN(bad)
{
	EXPECT_EQ(0, killed(self->map, self->size));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	close(self->fd);
	close(self->reader);
	close(self->writer);
}

/* -errno, or what the call returned. */
static int64_t answer(int64_t ret)
{
	return ret == -1 ? -errno : ret;
}

/* How many bytes that is. */
static uint64_t counted(int64_t answered)
{
	return answered > 0 ? answered : 0;
}

/* Prints what failed: the values by which to find it in the tables. */
#define SAME(want, call, what, i, j) do {					\
	int64_t answered = answer(call), wanted = (want);			\
	EXPECT_EQ(wanted, answered)						\
		TH_LOG("%s: offset %d, length %d", what, (int)(i), (int)(j));	\
} while (0)

#define NUMBERS	11

static void edges(uint64_t n[NUMBERS], uint64_t end)
{
	const uint64_t all[NUMBERS] = {
		0, 1, 4095, 4096, 4097, end - 1, end, end + 1,
		INT64_MAX, UINT64_C(1) << 63, UINT64_MAX,
	};

	memcpy(n, all, sizeof(all));
}

/*
 * Offsets and lengths
 */

#define ROOM	(3 * SZ_4K)	/* of the buffer: behind it there is nothing */
/* A place for it that leaves no length of a device to reach the end of user space. */
#define PLACE	((char *)(UINT64_C(1) << 40))

static char *buffer(void)
{
	char *buf = mmap(PLACE, ROOM + SZ_4K, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (buf != MAP_FAILED)
		munmap(buf + ROOM, SZ_4K);
	return buf;
}

/* What pread() and pwrite() of a buffer with ROOM bytes say, in the order of their checks. */
static int64_t transfer_answer(uint64_t offset, uint64_t len, uint64_t size, int64_t at_end)
{
	uint64_t n = len;

	if (offset > INT64_MAX)
		return -EINVAL;
	if (len >= INT64_MAX)
		return -EFAULT;		/* the buffer would wrap, or reach the kernel */
	if (offset + len > INT64_MAX)
		return -EINVAL;
	if (!len)
		return 0;
	if (offset >= size)
		return at_end;
	n = n < size - offset ? n : size - offset;
	return n < ROOM ? n : ROOM;
}

TEST_F(bad, offsets_of_reads)
{
	char *buf = buffer();
	uint64_t n[NUMBERS];

	ASSERT_EQ(PLACE, buf);
	bytes_make(self->map, 0, 2 * ROOM, 1);
	edges(n, self->size);
	for (int i = 0; i < NUMBERS; i++) {
		for (int j = 0; j < NUMBERS; j++) {
			int64_t want = transfer_answer(n[i], n[j], self->size, 0);
			struct iovec iov = { buf, n[j] };

			memset(buf, 0, ROOM);
			SAME(want, pread(self->fd, buf, n[j], n[i]), "pread", i, j);
			EXPECT_TRUE(n[i] >= SZ_2M ||
				    bytes_right(buf, n[i], counted(want), 1) == counted(want));
			EXPECT_TRUE(want > 0 || bytes_zero(buf, ROOM) == ROOM);
			/* Vectors count what is asked for first, and cut it. */
			if (n[j] < INT64_MAX && n[i] != UINT64_MAX)
				SAME(want, preadv2(self->fd, &iov, 1, n[i], 0), "preadv2", i, j);
		}
	}
	munmap(buf, ROOM);
}

TEST_F(bad, offsets_of_writes)
{
	char *buf = buffer(), last;
	uint64_t n[NUMBERS];

	ASSERT_EQ(PLACE, buf);
	edges(n, self->size);
	for (int i = 0; i < NUMBERS; i++) {
		for (int j = 0; j < NUMBERS; j++) {
			int64_t want = transfer_answer(n[i], n[j], self->size, -ENOSPC);
			struct iovec iov = { buf, n[j] };

			memset(self->map, 0, 2 * ROOM);
			last = self->map[self->size - 1];
			bytes_make(buf, n[i], ROOM, i * j + 1);
			SAME(want, pwrite(self->fd, buf, n[j], n[i]), "pwrite", i, j);
			if (n[i] < SZ_2M && want > 0) {
				EXPECT_EQ(want, bytes_right(self->map + n[i], n[i], want, i * j + 1));
				EXPECT_EQ(ROOM - 4097, bytes_zero(self->map + n[i] + want, ROOM - 4097));
				EXPECT_EQ(n[i], bytes_zero(self->map, n[i]));
			} else if (want <= 0) {
				EXPECT_EQ(2 * ROOM, bytes_zero(self->map, 2 * ROOM));
				EXPECT_EQ(last, self->map[self->size - 1]);
			}
			if (n[j] < INT64_MAX && n[i] != UINT64_MAX)
				SAME(want, pwritev2(self->fd, &iov, 1, n[i], 0), "pwritev2", i, j);
		}
	}
	munmap(buf, ROOM);
}

TEST_F(bad, offsets_of_seeks)
{
	static const int whences[] = { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 5, -1 };
	uint64_t n[NUMBERS];

	edges(n, self->size);
	for (size_t w = 0; w < ARRAY_SIZE(whences); w++) {
		for (int i = 0; i < NUMBERS; i++) {
			/* From a position that is neither 0 nor the end. */
			int64_t base = w == 0 ? 0 : w == 1 ? 4321 : self->size;
			int64_t want = (uint64_t)base + n[i];

			ASSERT_EQ(4321, lseek(self->fd, 4321, SEEK_SET));
			if (w > 2 || want < 0 || want > (int64_t)self->size)
				want = -EINVAL;
			SAME(want, lseek(self->fd, n[i], whences[w]), "lseek", i, w);
			EXPECT_EQ(want < 0 ? 4321 : want, lseek(self->fd, 0, SEEK_CUR));
		}
	}
}

static int64_t range_answer(uint64_t offset, uint64_t len, uint64_t size)
{
	if (!len || offset + len < offset)
		return -EINVAL;
	return offset + len > size ? -EFBIG : 0;
}

TEST_F(bad, offsets_of_punches)
{
	static const unsigned int cmds[] = { RDAX_IOC_PUNCH, RDAX_IOC_ZERO };
	uint64_t n[NUMBERS];

	edges(n, self->size);
	for (size_t cmd = 0; cmd < ARRAY_SIZE(cmds); cmd++) {
		for (int i = 0; i < NUMBERS; i++) {
			for (int j = 0; j < NUMBERS; j++) {
				int64_t want = range_answer(n[i], n[j], self->size);
				struct rdax_range range = { 24, 0, n[i], n[j] };

				/* All of the device: nothing wrong with that. */
				if (!want && n[j] > SZ_2M)
					continue;
				memset(self->map, 1, 2 * ROOM);
				SAME(want, ioctl(self->fd, cmds[cmd], &range), "ioctl", i, j);
				EXPECT_TRUE(!want || !bytes_zero(self->map, 2 * ROOM));
				EXPECT_TRUE(want || n[i] >= SZ_2M ||
					    bytes_zero(self->map + n[i], 2 * ROOM - n[i]) == n[j]);
			}
		}
	}
}

/* Addresses and lengths here are those of the memory: from the mapping's start on. */
static int64_t prefault_answer(uint64_t address, uint64_t len, uint64_t base, uint64_t size)
{
	if (!len || address % SZ_4K || len % SZ_4K || address + len < address)
		return -EINVAL;
	if (address < base || address >= base + size)
		return -ENOMEM;
	return len > base + size - address ? -ENOMEM : 0;
}

TEST_F(bad, offsets_of_prefaults)
{
	/* With nothing of anybody's around it. */
	char *room = mmap(NULL, self->size + 4 * SZ_1G, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t n[NUMBERS], base;
	char *map;

	ASSERT_NE(MAP_FAILED, room);
	munmap(room, self->size + 4 * SZ_1G);
	base = ((uintptr_t)room + 2 * SZ_1G) & ~(SZ_1G - 1);
	map = mmap((void *)base, self->size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd, 0);
	ASSERT_EQ(base, (uintptr_t)map);
	edges(n, self->size);
	for (int flags = 0; flags <= RDAX_PREFAULT_WRITE; flags++) {
		for (int i = 0; i < NUMBERS; i++) {
			for (int j = 0; j < NUMBERS; j++) {
				uint64_t to = base + n[i], done = 0;
				int64_t want = prefault_answer(to, n[j], base, self->size);
				struct rdax_prefault p = { sizeof(p), flags, to, n[j], 0 };

				if (want == -ENOMEM && to >= base && to < base + self->size)
					done = base + self->size - to;
				else if (!want)
					done = n[j];
				SAME(want, ioctl(self->fd, RDAX_IOC_PREFAULT, &p), "prefault", i, j);
				EXPECT_EQ(done, p.done);
			}
		}
	}
	munmap(map, self->size);
}

/* The kernel's own checks come first: pages, then the room that there is, then ours. */
static int64_t map_answer(uint64_t offset, uint64_t len, uint64_t size)
{
	if (offset % SZ_4K || !len)
		return -EINVAL;
	if (len > INT64_MAX / 2)
		return -ENOMEM;
	len = (len + SZ_4K - 1) / SZ_4K * SZ_4K;
	return offset > size || len > size - offset ? -EINVAL : 0;
}

TEST_F(bad, offsets_of_mappings)
{
	uint64_t n[NUMBERS];

	edges(n, self->size);
	for (int i = 0; i < NUMBERS; i++) {
		for (int j = 0; j < NUMBERS; j++) {
			/* The system call: the C library has checks of its own. */
			int64_t ret = syscall(SYS_mmap, NULL, n[j], PROT_READ | PROT_WRITE,
					      MAP_SHARED, self->fd, n[i]);
			int64_t want = map_answer(n[i], n[j], self->size);

			EXPECT_EQ(want, ret == -1 ? -errno : 0)
				TH_LOG("mmap: offset %d, length %d", i, j);
			if (ret != -1)
				munmap((void *)ret, n[j]);
		}
	}
}

/* A call for no pages at all is one for nothing; what isn't mapped is missed. */
static int64_t msync_answer(uint64_t address, uint64_t len, uint64_t base, uint64_t size)
{
	if (address % SZ_4K)
		return -EINVAL;
	len = (len + SZ_4K - 1) / SZ_4K * SZ_4K;
	if (address + len < address)
		return -ENOMEM;
	if (!len)
		return 0;
	return address < base || address + len > base + size ? -ENOMEM : 0;
}

TEST_F(bad, offsets_of_msyncs)
{
	static const int flags[] = { 0, MS_ASYNC, MS_SYNC, MS_SYNC | MS_INVALIDATE };
	uint64_t n[NUMBERS], base = (uintptr_t)self->map, guard = SZ_4K;
	char *map;

	/* A mapping with nothing behind it. */
	map = mmap(NULL, self->size + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	base = (uintptr_t)map + guard;
	munmap(map, self->size + 2 * guard);
	ASSERT_EQ(base, (uintptr_t)mmap((void *)base, self->size, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd, 0));
	edges(n, self->size);
	for (size_t f = 0; f < ARRAY_SIZE(flags); f++) {
		for (int i = 0; i < NUMBERS; i++) {
			for (int j = 0; j < NUMBERS; j++) {
				SAME(msync_answer(base + n[i], n[j], base, self->size),
				     msync((void *)(base + n[i]), n[j], flags[f]), "msync", i, j);
			}
		}
	}
	EXPECT_EQ(-EINVAL, answer(msync((void *)base, SZ_4K, MS_SYNC | MS_ASYNC)));
	EXPECT_EQ(-EINVAL, answer(msync((void *)base, SZ_4K, 1 << 10)));
	munmap((void *)base, self->size);
}

/*
 * Buffers
 */

TEST_F(bad, buffers)
{
	char *pages = mmap(NULL, 4 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0), *end;
	int null = open("/dev/zero", O_RDWR | O_CLOEXEC);
	/* A file whose mapping reaches behind its end, to SIGBUS. */
	int file = memfd_create("short", MFD_CLOEXEC);
	const struct {
		const char *what;
		void *buf;
		size_t len;
		int64_t read, write;
	} cases[] = {
		{ "NULL", NULL, 1, -EFAULT, -EFAULT },
		{ "NULL, nothing", NULL, 0, 0, 0 },
		{ "the kernel", (void *)(UINT64_MAX << 47), 1, -EFAULT, -EFAULT },
		{ "the last address", (void *)UINT64_MAX, 1, -EFAULT, -EFAULT },
		{ "not canonical", (void *)(UINT64_C(1) << 62), 1, -EFAULT, -EFAULT },
		{ "unmapped", pages + SZ_4K, 4096, -EFAULT, -EFAULT },
		{ "unmapped from the middle", pages + 100, 8192, 3996, 3996 },
		{ "one byte mapped", pages + SZ_4K - 1, 100, 1, 1 },
		{ "read-only", pages + 2 * SZ_4K, 4096, -EFAULT, 4096 },
		{ "not accessible", pages + 3 * SZ_4K, 1, -EFAULT, -EFAULT },
		{ "read-only, then not accessible", pages + 3 * SZ_4K - 7, 100, -EFAULT, 7 },
	};

	ASSERT_NE(MAP_FAILED, pages);
	ASSERT_EQ(0, mprotect(pages + 2 * SZ_4K, SZ_4K, PROT_READ));
	ASSERT_EQ(0, mprotect(pages + 3 * SZ_4K, SZ_4K, PROT_NONE));
	munmap(pages + SZ_4K, SZ_4K);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(self->map, 0, SZ_2M);
		SAME(cases[i].read, pread(self->fd, cases[i].buf, cases[i].len, 3),
		     cases[i].what, i, 0);
		EXPECT_EQ(SZ_2M, bytes_zero(self->map, SZ_2M));
		if (cases[i].read > 0)
			memset(cases[i].buf, 1, cases[i].read);
		memset(self->map, 2, SZ_2M);
		SAME(cases[i].write, pwrite(self->fd, cases[i].buf, cases[i].len, 3),
		     cases[i].what, i, 1);
		EXPECT_EQ(2, self->map[2]);
		EXPECT_EQ(2, self->map[3 + (counted(cases[i].write))]);
	}

	ASSERT_EQ(0, ftruncate(file, 100));
	end = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, end);
	EXPECT_EQ(4096, pread(self->fd, end, 5000, 0));
	EXPECT_EQ(4096, pwrite(self->fd, end, 5000, 0));
	EXPECT_EQ(-EFAULT, answer(pread(self->fd, end + SZ_4K, 10, 0)));
	EXPECT_EQ(-EFAULT, answer(pwrite(self->fd, end + SZ_4K, 10, 0)));
	munmap(end, 2 * SZ_4K);
	close(file);

	/* One of another device. */
	end = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE, null, 0);
	EXPECT_EQ(4096, pwrite(self->fd, end, 4096, 0));
	EXPECT_EQ(4096, bytes_zero(self->map, 4096));
	munmap(end, SZ_4K);
	close(null);
}

/*
 * Buffers that are the device
 */

struct same {
	uint64_t bytes;		/* of the pages that map the buffer */
	bool hole;		/* it is a hole, and mapped as such or not at all */
	bool touched;
	/* What went wrong. */
	int step;
	int64_t ret;
	uint64_t shift, right;
};

#define PART	(SZ_2M + 3 * SZ_4K + 5)
#define BASE	SZ_2M

/*
 * Copies within the device, by a read into a mapping of it and a write from
 * one. Overlapping ones may end up with either copy of a byte in the overlap,
 * but what is outside of the target is as it was.
 */
static int copy_within(void *arg)
{
	static const int64_t shifts[] = {
		0, 1, -100, 4096, (int64_t)SZ_2M / 2, -(int64_t)SZ_2M / 2,
		(int64_t)SZ_2M + 5 * (int64_t)SZ_4K,
	};
	int fd = rdax_open();
	uint64_t len = 4 * SZ_2M;
	char *view = rdax_map(fd, 0, len), *map;
	struct same *s = arg;

	for (size_t i = 0; i < ARRAY_SIZE(shifts) * 2; i++) {
		uint64_t from = BASE + 333, to = from + shifts[i / 2], n;
		bool write = i % 2, apart;

		s->shift = shifts[i / 2];
		apart = shifts[i / 2] >= (int64_t)PART;
		bytes_make(view, 0, len, 1);
		if (s->hole && rdax_punch(fd, BASE, len - BASE))
			return 1;
		/* A new one each time: nothing of it is there yet. */
		map = rdax_map(fd, 0, len);
		if (map == MAP_FAILED)
			return 2;
		if (s->bytes == SZ_4K)
			madvise(map, len, MADV_NOHUGEPAGE);
		for (n = 0; s->touched && n < len; n += SZ_4K)
			if (rdax_load(map + n))
				return 3;
		s->ret = write ? pwrite(fd, map + from, PART, to) :
				 pread(fd, map + to, PART, from);
		if (s->ret != (int64_t)PART)
			return 4;
		s->right = bytes_same(map, view, len);
		if (s->right != len)
			return 5;
		if (s->hole) {
			s->right = bytes_zero(view + BASE, len - BASE);
			if (s->right != len - BASE)
				return 6;
			munmap(map, len);
			continue;
		}
		/* The device's bytes are in order but in the target. */
		s->right = bytes_right(view, 0, to, 1);
		if (s->right != to)
			return 7;
		n = len - to - PART;
		s->right = bytes_right(view + to + PART, to + PART, n, 1);
		if (s->right != n)
			return 8;
		if (apart || !shifts[i / 2]) {
			s->right = bytes_right(view + to, from, PART, 1);
			if (s->right != PART)
				return 9;
		}
		munmap(map, len);
	}
	return 0;
}

FIXTURE(itself)
{
};

FIXTURE_VARIANT(itself)
{
	struct same same;
};

FIXTURE_VARIANT_ADD(itself, pte)
{
	.same = { SZ_4K, false, false },
};

FIXTURE_VARIANT_ADD(itself, pmd)
{
	.same = { SZ_2M, false, false },
};

FIXTURE_VARIANT_ADD(itself, pte_hole)
{
	.same = { SZ_4K, true, false },
};

FIXTURE_VARIANT_ADD(itself, pmd_hole)
{
	.same = { SZ_2M, true, false },
};

FIXTURE_VARIANT_ADD(itself, pte_hole_touched)
{
	.same = { SZ_4K, true, true },
};

FIXTURE_VARIANT_ADD(itself, pmd_hole_touched)
{
	.same = { SZ_2M, true, true },
};

FIXTURE_SETUP(itself)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 4 * SZ_2M)
		SKIP(return, "namespace too small or not aligned");
}

FIXTURE_TEARDOWN(itself)
{
}

TEST_F_TIMEOUT(itself, copied, 120)
{
	struct same *s = rdax_shared(sizeof(*s));

	*s = variant->same;
	EXPECT_EQ(0, rdax_bounded(copy_within, s, RDAX_PATIENCE))
		TH_LOG("shift %" PRId64 ", returned %" PRId64 ", right up to %" PRIu64,
		       (int64_t)s->shift, s->ret, s->right);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
}

/*
 * Vectors
 */

TEST_F(bad, vectors)
{
	struct iovec *many = calloc(IOV_MAX + 1, sizeof(*many));
	char *buf = malloc(SZ_4K);
	const struct {
		const char *what;
		struct iovec iov[3];
		int count;
		int64_t answer;
	} cases[] = {
		{ "none", { { buf, 1 } }, 0, 0 },
		{ "of no length", { { buf, 0 }, { NULL, 0 }, { buf, 0 } }, 3, 0 },
		{ "some of no length", { { buf, 0 }, { buf, 5 }, { NULL, 0 } }, 3, 5 },
		{ "none of it at NULL", { { buf, 3 }, { NULL, 0 }, { buf, 4 } }, 3, 7 },
		{ "the middle at NULL", { { buf, 3 }, { NULL, 1 }, { buf, 4 } }, 3, 3 },
		{ "the first at NULL", { { NULL, 1 }, { buf, 4 } }, 2, -EFAULT },
		{ "a length of -1", { { buf, UINT64_MAX } }, 1, -EINVAL },
		{ "a length of -1 later", { { buf, 1 }, { buf, UINT64_MAX } }, 2, -EINVAL },
		{ "the kernel later", { { buf, 1 }, { (void *)(UINT64_MAX << 47), 1 } }, 2,
		  -EFAULT },
		{ "a negative count", { { buf, 1 } }, -1, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct iovec *iov = cases[i].iov;
		int count = cases[i].count;

		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		SAME(cases[i].answer, readv(self->fd, iov, count), cases[i].what, i, 0);
		EXPECT_EQ(counted(cases[i].answer), lseek(self->fd, 0, SEEK_CUR));
		SAME(cases[i].answer, preadv(self->fd, iov, count, 0), cases[i].what, i, 1);
		SAME(cases[i].answer, preadv2(self->fd, iov, count, 0, 0), cases[i].what, i, 2);
		ASSERT_EQ(0, lseek(self->fd, 0, SEEK_SET));
		SAME(cases[i].answer, writev(self->fd, iov, count), cases[i].what, i, 3);
		SAME(cases[i].answer, pwritev(self->fd, iov, count, 0), cases[i].what, i, 4);
		SAME(cases[i].answer, pwritev2(self->fd, iov, count, 0, 0), cases[i].what, i, 5);
	}

	for (int i = 0; i <= IOV_MAX; i++)
		many[i] = (struct iovec){ buf + i, 1 };
	EXPECT_EQ(IOV_MAX, preadv(self->fd, many, IOV_MAX, 0));
	EXPECT_EQ(IOV_MAX, pwritev(self->fd, many, IOV_MAX, 0));
	EXPECT_EQ(-EINVAL, answer(preadv(self->fd, many, IOV_MAX + 1, 0)));
	EXPECT_EQ(-EINVAL, answer(pwritev(self->fd, many, IOV_MAX + 1, 0)));
	EXPECT_EQ(-EFAULT, answer(preadv(self->fd, (void *)-SZ_4K, 1, 0)));
	EXPECT_EQ(-EFAULT, answer(pwritev(self->fd, (void *)-SZ_4K, 1, 0)));
	free(many);
	free(buf);
}

/*
 * Files and flags
 */

TEST_F(bad, files)
{
	struct rdax_range range = { 24, 0, 0, SZ_4K };
	struct rdax_prefault p = { sizeof(p), 0, 0, SZ_2M, 0 };
	int path = open(RDAX_NODE, O_PATH | O_CLOEXEC);
	char buf[10] = "";
	void *map;

#define REFUSED(error, call) EXPECT_EQ(-(error), answer((int64_t)(call)))
#define MAP(prot, flags, fd) mmap(NULL, SZ_2M, prot, flags, fd, 0)
	REFUSED(EBADF, write(self->reader, buf, 10));
	REFUSED(EBADF, pwrite(self->reader, buf, 10, 0));
	REFUSED(EBADF, write(self->reader, buf, 0));
	REFUSED(EBADF, ioctl(self->reader, RDAX_IOC_PUNCH, &range));
	REFUSED(EBADF, ioctl(self->reader, RDAX_IOC_ZERO, &range));
	REFUSED(EACCES, MAP(PROT_READ | PROT_WRITE, MAP_SHARED, self->reader));
	REFUSED(EACCES, MAP(PROT_WRITE, MAP_SHARED, self->reader));
	EXPECT_EQ(10, read(self->reader, buf, 10));
	EXPECT_EQ(0, fsync(self->reader));
	map = MAP(PROT_READ, MAP_SHARED, self->reader);
	ASSERT_NE(MAP_FAILED, map);
	REFUSED(EACCES, mprotect(map, SZ_2M, PROT_READ | PROT_WRITE));
	p.address = (uintptr_t)map;
	EXPECT_EQ(0, ioctl(self->reader, RDAX_IOC_PREFAULT, &p));
	EXPECT_EQ(SZ_2M, p.done);
	p.flags = RDAX_PREFAULT_WRITE;
	REFUSED(EACCES, ioctl(self->reader, RDAX_IOC_PREFAULT, &p));
	REFUSED(EACCES, ioctl(self->fd, RDAX_IOC_PREFAULT, &p));

	REFUSED(EBADF, read(self->writer, buf, 10));
	REFUSED(EBADF, pread(self->writer, buf, 10, 0));
	REFUSED(EBADF, read(self->writer, buf, 0));
	REFUSED(EACCES, MAP(PROT_READ | PROT_WRITE, MAP_SHARED, self->writer));
	REFUSED(EACCES, MAP(PROT_READ, MAP_SHARED, self->writer));
	REFUSED(EACCES, MAP(PROT_WRITE, MAP_SHARED, self->writer));
	EXPECT_EQ(10, write(self->writer, buf, 10));
	EXPECT_EQ(0, fsync(self->writer));
	EXPECT_EQ(0, ioctl(self->writer, RDAX_IOC_PUNCH, &range));
	p.flags = 0;
	EXPECT_EQ(0, ioctl(self->writer, RDAX_IOC_PREFAULT, &p));

	REFUSED(EBADF, read(path, buf, 10));
	REFUSED(EBADF, write(path, buf, 10));
	REFUSED(EBADF, ioctl(path, RDAX_IOC_PREFAULT, &p));
	REFUSED(EBADF, lseek(path, 0, SEEK_END));
	munmap(map, SZ_2M);
	close(path);
}

/* Calls that the node does not serve say so, and do nothing. */
TEST_F(bad, others)
{
	struct iovec iov = { self->map + SZ_4K, 10 };
	off_t in = 0, out = SZ_4K;

	REFUSED(EINVAL, ftruncate(self->fd, 0));
	REFUSED(EINVAL, ftruncate(self->fd, self->size));
	REFUSED(ENODEV, fallocate(self->fd, 0, 0, SZ_4K));
	REFUSED(ENODEV, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SZ_4K));
	REFUSED(EINVAL, copy_file_range(self->fd, &in, self->fd, &out, SZ_4K, 0));
	REFUSED(EOPNOTSUPP, preadv2(self->fd, &iov, 1, 0, 1 << 30));
	REFUSED(EOPNOTSUPP, pwritev2(self->fd, &iov, 1, 0, 1 << 30));
#ifdef RWF_ATOMIC
	REFUSED(EOPNOTSUPP, pwritev2(self->fd, &iov, 1, 0, RWF_ATOMIC));
#endif
#ifdef RWF_DONTCACHE
	REFUSED(EOPNOTSUPP, preadv2(self->fd, &iov, 1, 0, RWF_DONTCACHE));
#endif
	REFUSED(EINVAL, pwritev2(self->fd, &iov, 1, -2, 0));
	REFUSED(EINVAL, preadv2(self->fd, &iov, 1, INT64_MIN, 0));
}

/* A list of this UUID, `n` times. */
static const char *uuids(unsigned int n)
{
	static const char uuid[] = "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f30415,";
	static char list[3 * 4096];

	for (unsigned int i = 0; i < n; i++)
		memcpy(list + i * (sizeof(uuid) - 1), uuid, sizeof(uuid));
	list[n * (sizeof(uuid) - 1) - 1] = '\0';
	return list;
}

/* A bad value is refused when it is written, changes nothing, and the log says so. */
TEST_F(bad, parameters)
{
	static const struct {
		const char *name, *text;
		int ret;
	} values[] = {
		{ "align", "4K" }, { "align", "4k\n" }, { "align", "2M\n" }, { "align", "1G" },
		{ "align", "4096" }, { "align", "2097152" }, { "align", "1024M" },
		{ "align", "\n", -EINVAL }, { "align", "0", -EINVAL },
		{ "align", "3K", -EINVAL }, { "align", "4", -EINVAL }, { "align", "4KB", -EINVAL },
		{ "align", "2M 2M", -EINVAL }, { "align", "-4K", -EINVAL },
		{ "align", "0x1000", -EINVAL }, { "align", "010000", -EINVAL },
		{ "align", "64G", -EINVAL }, { "align", "18446744073709555712", -EINVAL },
		{ "align", "K", -EINVAL }, { "align", "huge", -EINVAL },
		{ "align", "18014398509481988K", -EINVAL }, { "align", "4P", -EINVAL },
		{ "force", "namespace0.0" }, { "force", "namespace0.0,namespace12.34\n" },
		{ "force", " namespace0.0 , namespace1.0 " }, { "force", "\n" },
		{ "force", "all", -EINVAL }, { "force", "namespace", -EINVAL },
		{ "force", "namespace0", -EINVAL }, { "force", "namespace0.", -EINVAL },
		{ "force", "namespace.0", -EINVAL }, { "force", "namespace0.0x", -EINVAL },
		{ "force", "namespace0.0,", -EINVAL }, { "force", ",", -EINVAL },
		{ "force", "namespace0.0,,namespace1.0", -EINVAL },
		{ "force", "namespace0.0 namespace1.0", -EINVAL },
		{ "force", "namespace0.0:4G" }, { "force", "namespace0.0:4294967296,namespace0.1\n" },
		{ "force", "namespace0.0:", -EINVAL }, { "force", "namespace0.0:0", -EINVAL },
		{ "force", "namespace0.0:4X", -EINVAL }, { "force", "namespace0.0:-1", -EINVAL },
		{ "force", "namespace0.0:4G:", -EINVAL }, { "force", "namespace0.0:4 G", -EINVAL },
		{ "force", "namespace0.0:99999999999999999999", -EINVAL },
		{ "force", "namespace2147483647.2147483647" },
		{ "force", "namespace10000000000.0", -EINVAL },
		{ "force", "namespace0.10000000000", -EINVAL },
		{ "pages", "dax10000000000.0", -EINVAL },
		{ "force", "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f30415" },
		{ "force", "0F3A9C4E-1B2D-4E5F-8A9B-C0D1E2F30415 , namespace0.0" },
		{ "force", "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f3041", -EINVAL },
		{ "force", "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f304151", -EINVAL },
		{ "force", "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f3041g", -EINVAL },
		{ "force", "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f30415:4G", -EINVAL },
		{ "force", "0f3a9c4e1b2d4e5f8a9bc0d1e2f30415", -EINVAL },
		{ "divided", "namespace0.0" }, { "divided", "\n" }, { "divided", "pmem0", -EINVAL },
		{ "fault_around", "0" }, { "fault_around", "2097152\n" }, { "fault_around", "4096" },
		{ "fault_around", "3", -EINVAL }, { "fault_around", "4097", -EINVAL },
		{ "fault_around", "2097153", -EINVAL }, { "fault_around", "4294967295", -EINVAL },
		{ "fault_around", "-1", -EINVAL }, { "fault_around", "64K", -EINVAL },
		{ "fault_around", "\n", -EINVAL }, { "fault_around", "4294967296", -EINVAL },
		{ "max_leaf", "4K" }, { "max_leaf", "2M\n" }, { "max_leaf", "1G" },
		{ "max_leaf", "3M", -EINVAL }, { "max_leaf", "1T", -EINVAL },
		{ "upgrade", "N" }, { "upgrade", "Y\n" },
		{ "upgrade", "2", -EINVAL }, { "upgrade", "\n", -EINVAL },
	};
	char path[64], line[64], before[4096];

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		snprintf(path, sizeof(path), RDAX_PARAMS "/%s", values[i].name);
		snprintf(line, sizeof(line), "rdax: parameter %s: '", values[i].name);
		snprintf(before, sizeof(before), "%s", rdax_text(path));
		log_from_here();
		EXPECT_EQ(values[i].ret, rdax_write_file(path, values[i].text))
			TH_LOG("%s: '%s'", path, values[i].text);
		EXPECT_EQ(!!values[i].ret, logged(line)) TH_LOG("%s: '%s'", path, values[i].text);
		if (values[i].ret)
			EXPECT_STREQ(before, rdax_text(path));
	}
	EXPECT_EQ(0, rdax_write_file(RDAX_PARAMS "/align", "4K"));
	EXPECT_EQ(0, rdax_write_file(RDAX_PARAMS "/divided", "\n"));
	EXPECT_EQ(0, rdax_fault_around("0"));

	/* A list has room for many, up to a page in one write. */
	EXPECT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", uuids(64)));
	EXPECT_STREQ(uuids(64), text_of(RDAX_PARAMS "/force"));
	EXPECT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", uuids(110)));
	EXPECT_STREQ(uuids(110), text_of(RDAX_PARAMS "/force"));
	EXPECT_EQ(-EINVAL, rdax_write_file(RDAX_PARAMS "/force", uuids(111)));
	EXPECT_STREQ(uuids(110), text_of(RDAX_PARAMS "/force"));
	EXPECT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", " namespace0.0 , namespace1.0 "));
	EXPECT_STREQ("namespace0.0,namespace1.0", text_of(RDAX_PARAMS "/force"));
	EXPECT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", rdax_ns()));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
