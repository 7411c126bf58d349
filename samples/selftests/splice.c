// SPDX-License-Identifier: GPL-2.0
/*
 * splice() and sendfile() between the node, pipes and files: the bytes, the
 * positions, and what happens at the end of the device. Programs that copy
 * (proxies, backup tools, cp of a pipe) use these where they can, and fall back
 * only if they are refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"

#define WINDOW	(4 * SZ_2M)

FIXTURE(splice)
{
	int fd, in, out;	/* the node; a pipe */
	int file;
	off_t size;
	char *map, *tail;	/* of the first bytes and of the last 2 MiB */
	char *buf;
};

FIXTURE_SETUP(splice)
{
	int ends[2];

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->size = rdax_size();
	if (self->size < WINDOW + SZ_2M)
		SKIP(return, "namespace too small");
	ASSERT_EQ(0, pipe2(ends, O_CLOEXEC));
	self->in = ends[1];
	self->out = ends[0];
	self->file = memfd_create("file", MFD_CLOEXEC);
	ASSERT_GE(self->file, 0);
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
	self->tail = rdax_map(self->fd, self->size - SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, self->tail);
	bytes_make(self->map, 0, WINDOW, 1);
	bytes_make(self->tail, self->size - SZ_2M, SZ_2M, 1);
	self->buf = malloc(WINDOW);
}

FIXTURE_TEARDOWN(splice)
{
	close(self->in);
	close(self->out);
	close(self->file);
	close(self->fd);
}

static int64_t answer(int64_t ret)
{
	return ret == -1 ? -errno : ret;
}

static const struct {
	uint64_t at, len;
} places[] = {
	{ 0, 1 }, { 4095, 2 }, { 5, 4096 }, { 4096, 8192 }, { SZ_2M - 777, 30001 },
	{ SZ_2M, 65536 },
};

/* What one call moves is what fits into the pipe, if it is empty: 64 KiB. */
TEST_F(splice, from_the_node)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		for (int positioned = 0; positioned < 2; positioned++) {
			uint64_t got = 0, at = places[i].at, len = places[i].len;
			loff_t offset = at;
			int64_t n;

			ASSERT_EQ(positioned ? 0 : at, lseek(self->fd, positioned ? 0 : at, SEEK_SET));
			/* Odd pages need one more place in the pipe. */
			while (got < len) {
				n = splice(self->fd, positioned ? &offset : NULL, self->in, NULL,
					   len - got, 0);
				ASSERT_LT(0, n);
				ASSERT_EQ(n, read(self->out, self->buf + got, n));
				got += n;
			}
			EXPECT_EQ(len, bytes_right(self->buf, at, len, 1));
			EXPECT_EQ(positioned ? at + len : at, offset);
			EXPECT_EQ(positioned ? 0 : at + len, lseek(self->fd, 0, SEEK_CUR));
		}
	}
}

TEST_F(splice, to_the_node)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		for (int positioned = 0; positioned < 2; positioned++) {
			uint64_t at = places[i].at, len = places[i].len, seed = 2 * i + positioned + 2;
			loff_t offset = at;

			ASSERT_EQ(positioned ? 0 : at, lseek(self->fd, positioned ? 0 : at, SEEK_SET));
			bytes_make(self->buf, at, len, seed);
			ASSERT_EQ(len, write(self->in, self->buf, len));
			EXPECT_EQ(len, answer(splice(self->out, NULL, self->fd,
						     positioned ? &offset : NULL, len, 0)));
			EXPECT_EQ(len, bytes_right(self->map + at, at, len, seed));
			EXPECT_EQ(positioned ? at + len : at, offset);
			EXPECT_EQ(positioned ? 0 : at + len, lseek(self->fd, 0, SEEK_CUR));
			bytes_make(self->map + at, at, len, 1);
		}
	}
	EXPECT_EQ(WINDOW, bytes_right(self->map, 0, WINDOW, 1));
}

/* What is in a pipe is a copy: a store after the splice does not change it. */
TEST_F(splice, copies)
{
	loff_t offset = 100;

	EXPECT_EQ(5000, answer(splice(self->fd, &offset, self->in, NULL, 5000, 0)));
	bytes_make(self->map, 0, 10000, 2);
	ASSERT_EQ(5000, read(self->out, self->buf, 5000));
	EXPECT_EQ(5000, bytes_right(self->buf, 100, 5000, 1));
}

TEST_F(splice, at_the_end)
{
	loff_t offset = self->size;

	EXPECT_EQ(0, answer(splice(self->fd, &offset, self->in, NULL, 100, 0)));
	offset = self->size + 1;
	EXPECT_EQ(0, answer(splice(self->fd, &offset, self->in, NULL, 100, 0)));
	offset = self->size - 7;
	EXPECT_EQ(7, answer(splice(self->fd, &offset, self->in, NULL, 100, 0)));
	EXPECT_EQ(self->size, offset);
	EXPECT_EQ(7, read(self->out, self->buf, 100));
	EXPECT_EQ(7, bytes_right(self->buf, self->size - 7, 7, 1));
	offset = -1;
	EXPECT_EQ(-EINVAL, answer(splice(self->fd, &offset, self->in, NULL, 100, 0)));

	bytes_make(self->buf, self->size - 7, 100, 2);
	ASSERT_EQ(100, write(self->in, self->buf, 100));
	offset = self->size - 7;
	EXPECT_EQ(7, answer(splice(self->out, NULL, self->fd, &offset, 100, 0)));
	EXPECT_EQ(self->size, offset);
	EXPECT_EQ(7, bytes_right(self->tail + SZ_2M - 7, self->size - 7, 7, 2));
	EXPECT_EQ(SZ_2M - 7, bytes_right(self->tail, self->size - SZ_2M, SZ_2M - 7, 1));
	/* The rest is still in the pipe, and stays there. */
	EXPECT_EQ(-ENOSPC, answer(splice(self->out, NULL, self->fd, &offset, 93, 0)));
	EXPECT_EQ(self->size, offset);
	EXPECT_EQ(93, read(self->out, self->buf, 100));
	EXPECT_EQ(93, bytes_right(self->buf, self->size, 93, 2));
}

TEST_F(splice, append)
{
	int fd = open(RDAX_NODE, O_WRONLY | O_APPEND | O_CLOEXEC);

	ASSERT_EQ(1, write(self->in, "x", 1));
	EXPECT_EQ(-EINVAL, answer(splice(self->out, NULL, fd, NULL, 1, 0)));
	EXPECT_EQ(WINDOW, bytes_right(self->map, 0, WINDOW, 1));
	close(fd);
}

/* Both ways at once: two pipes' ends, a thread that moves, a thread that reads. */
struct pump {
	int fd, in;
	uint64_t len;
	int64_t moved;
};

static void *pump(void *arg)
{
	struct pump *p = arg;
	loff_t offset = 333;
	int64_t n;

	do {
		n = splice(p->fd, &offset, p->in, NULL, p->len - p->moved, 0);
		p->moved += n > 0 ? n : 0;
	} while (n > 0 && p->moved < (int64_t)p->len);
	close(p->in);
	return NULL;
}

TEST_F(splice, from_place_to_place)
{
	struct pump p = { self->fd, self->in, SZ_2M + 12345, 0 };
	loff_t offset = 2 * SZ_2M + 77;
	uint64_t done = 0;
	pthread_t thread;
	int64_t n;

	ASSERT_EQ(0, pthread_create(&thread, NULL, pump, &p));
	do {
		n = splice(self->out, NULL, self->fd, &offset, SZ_2M, 0);
		done += n > 0 ? n : 0;
	} while (n > 0);
	pthread_join(thread, NULL);
	self->in = -1;
	EXPECT_EQ(0, n);
	EXPECT_EQ(p.len, p.moved);
	EXPECT_EQ(p.len, done);
	EXPECT_EQ(done, bytes_right(self->map + 2 * SZ_2M + 77, 333, done, 1));
	EXPECT_EQ(2 * SZ_2M + 77, bytes_right(self->map, 0, 2 * SZ_2M + 77, 1));
}

/*
 * sendfile()
 */

TEST_F(splice, sendfile_from_the_node)
{
	const struct {
		off_t at;
		uint64_t want;
		int64_t sent;
	} cases[] = {
		{ 3, SZ_2M + 5000, SZ_2M + 5000 },
		{ 0, 1, 1 },
		{ 4095, 4098, 4098 },
		{ self->size - 5001, 10000, 5001 },
		{ self->size, 10, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		off_t at = cases[i].at, offset = at;
		int64_t sent = cases[i].sent;

		ASSERT_EQ(0, ftruncate(self->file, 0));
		ASSERT_EQ(0, lseek(self->file, 0, SEEK_SET));
		EXPECT_EQ(sent, answer(sendfile(self->file, self->fd, &offset, cases[i].want)));
		EXPECT_EQ(at + sent, offset);
		EXPECT_EQ(0, lseek(self->fd, 0, SEEK_CUR));
		EXPECT_EQ(sent, pread(self->file, self->buf, WINDOW, 0));
		EXPECT_EQ(sent, bytes_right(self->buf, at, sent, 1));
	}
	EXPECT_EQ(100, lseek(self->fd, 100, SEEK_SET));
	EXPECT_EQ(50, sendfile(self->file, self->fd, NULL, 50));
	EXPECT_EQ(150, lseek(self->fd, 0, SEEK_CUR));
}

TEST_F(splice, sendfile_to_the_node)
{
	uint64_t len = SZ_2M + 5000;
	off_t offset = 0, at = SZ_2M - 99;

	bytes_make(self->buf, at, len, 2);
	ASSERT_EQ(len, write(self->file, self->buf, len));
	ASSERT_EQ(at, lseek(self->fd, at, SEEK_SET));
	EXPECT_EQ(len, answer(sendfile(self->fd, self->file, &offset, len)));
	EXPECT_EQ(len, offset);
	EXPECT_EQ(at + len, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(len, bytes_right(self->map + at, at, len, 2));
	EXPECT_EQ(at, bytes_right(self->map, 0, at, 1));
	at += len;
	EXPECT_EQ(WINDOW - at, bytes_right(self->map + at, at, WINDOW - at, 1));

	/* Over the end: what fits, then nothing. */
	offset = 0;
	ASSERT_EQ(self->size - 100, lseek(self->fd, -100, SEEK_END));
	EXPECT_EQ(100, answer(sendfile(self->fd, self->file, &offset, 1000)));
	EXPECT_EQ(100, offset);
	EXPECT_EQ(100, bytes_right(self->tail + SZ_2M - 100, SZ_2M - 99, 100, 2));
	EXPECT_EQ(-ENOSPC, answer(sendfile(self->fd, self->file, &offset, 1000)));
	EXPECT_EQ(100, offset);
}

/* Into a hole that is mapped. */
TEST_F(splice, hole)
{
	loff_t offset = SZ_2M + 100;

	ASSERT_EQ(0, rdax_punch(self->fd, SZ_2M, SZ_2M));
	EXPECT_EQ(SZ_2M, bytes_zero(self->map + SZ_2M, SZ_2M));
	bytes_make(self->buf, offset, 3000, 3);
	ASSERT_EQ(3000, write(self->in, self->buf, 3000));
	EXPECT_EQ(3000, answer(splice(self->out, NULL, self->fd, &offset, 3000, 0)));
	EXPECT_EQ(3000, bytes_right(self->map + SZ_2M + 100, SZ_2M + 100, 3000, 3));
	EXPECT_EQ(100, bytes_zero(self->map + SZ_2M, 100));
}

TEST_F(splice, unbound)
{
	loff_t offset = 0;

	ASSERT_EQ(1, write(self->in, "x", 1));
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(-ENXIO, answer(splice(self->fd, &offset, self->in, NULL, 100, 0)));
	EXPECT_EQ(-ENXIO, answer(splice(self->out, NULL, self->fd, &offset, 1, 0)));
	EXPECT_EQ(-ENXIO, answer(sendfile(self->file, self->fd, &offset, 100)));
	EXPECT_EQ(0, offset);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
