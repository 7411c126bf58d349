// SPDX-License-Identifier: GPL-2.0
/*
 * The node under io_uring: reads and writes, with vectors, with registered
 * buffers, and fsync, many in flight, inline and by the kernel's workers. And
 * what they rest on: RWF_NOWAIT never says EAGAIN where the buffer is present.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/posix_types.h>
#include <linux/stddef.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"
#include "ring.h"

/*
 * Requests
 */

#define REQUESTS	32
#define LEN		20011	/* of each */
#define WINDOW		(2 * SZ_2M)

FIXTURE(uring)
{
	struct ring ring;
	int fd;
	char *map;
	char *buf;		/* for all requests */
};

FIXTURE_VARIANT(uring)
{
	unsigned int flags;	/* of each request */
};

FIXTURE_VARIANT_ADD(uring, inline)
{
	.flags = 0,
};

FIXTURE_VARIANT_ADD(uring, async)
{
	.flags = IOSQE_ASYNC,
};

FIXTURE_SETUP(uring)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_LE(WINDOW, rdax_size());
	ASSERT_EQ(0, ring_setup(&self->ring, 0));
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
	bytes_make(self->map, 0, WINDOW, 1);
	self->buf = mmap(NULL, REQUESTS * LEN, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->buf);
}

FIXTURE_TEARDOWN(uring)
{
	close(self->ring.fd);
	close(self->fd);
}

/* Side by side, at odd offsets, around the boundary of 2 MiB. */
static uint64_t place(unsigned int i)
{
	return SZ_2M - REQUESTS / 2 * (LEN + 100) + i * (LEN + 100);
}

enum how { PLAIN, VECTORS, FIXED };

static int move(struct ring *r, int fd, bool write, enum how how, unsigned int flags, char *buf,
		int *results)
{
	static const int ops[2][3] = {
		{ IORING_OP_READ, IORING_OP_READV, IORING_OP_READ_FIXED },
		{ IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_WRITE_FIXED },
	};
	static struct iovec iov[REQUESTS][2];

	for (unsigned int i = 0; i < REQUESTS; i++) {
		char *to = buf + i * LEN;
		struct io_uring_sqe *sqe;

		iov[i][0] = (struct iovec){ to, 777 };
		iov[i][1] = (struct iovec){ to + 777, LEN - 777 };
		sqe = ring_queue(r, ops[write][how], fd, how == VECTORS ? (void *)iov[i] : to,
			    how == VECTORS ? 2 : LEN, place(i), i);
		sqe->flags = flags;
	}
	memset(results, 0, REQUESTS * sizeof(*results));
	return ring_run(r, results, REQUESTS);
}

static void move_both_ways(struct __test_metadata *_metadata, struct ring *r, int fd, char *map,
			   char *buf, enum how how, unsigned int flags)
{
	int results[REQUESTS];
	unsigned int i;

	memset(buf, 0, REQUESTS * LEN);
	ASSERT_EQ(0, move(r, fd, false, how, flags, buf, results));
	for (i = 0; i < REQUESTS; i++) {
		EXPECT_EQ(LEN, results[i]);
		EXPECT_EQ(LEN, bytes_right(buf + i * LEN, place(i), LEN, 1));
	}
	for (i = 0; i < REQUESTS; i++)
		bytes_make(buf + i * LEN, place(i), LEN, 2 + i);
	ASSERT_EQ(0, move(r, fd, true, how, flags, buf, results));
	for (i = 0; i < REQUESTS; i++) {
		EXPECT_EQ(LEN, results[i]);
		EXPECT_EQ(LEN, bytes_right(map + place(i), place(i), LEN, 2 + i));
		EXPECT_EQ(100, bytes_right(map + place(i) + LEN, place(i) + LEN, 100, 1));
	}
	EXPECT_EQ(place(0), bytes_right(map, 0, place(0), 1));
}

TEST_F(uring, plain)
{
	move_both_ways(_metadata, &self->ring, self->fd, self->map, self->buf, PLAIN,
		       variant->flags);
}

TEST_F(uring, vectors)
{
	move_both_ways(_metadata, &self->ring, self->fd, self->map, self->buf, VECTORS,
		       variant->flags);
}

TEST_F(uring, registered)
{
	struct iovec iov = { self->buf, REQUESTS * LEN }, device = { self->map, SZ_2M };
	int file = self->fd;

	ASSERT_EQ(0, syscall(SYS_io_uring_register, self->ring.fd, IORING_REGISTER_BUFFERS, &iov, 1));
	ASSERT_EQ(0, syscall(SYS_io_uring_register, self->ring.fd, IORING_REGISTER_FILES, &file, 1));
	move_both_ways(_metadata, &self->ring, self->fd, self->map, self->buf, FIXED,
		       variant->flags);
	bytes_make(self->map, 0, WINDOW, 1);
	move_both_ways(_metadata, &self->ring, 0, self->map, self->buf, FIXED,
		       variant->flags | IOSQE_FIXED_FILE);

	/* That a mapping of the device can't be registered is known: it has no pages. */
	ASSERT_EQ(0, syscall(SYS_io_uring_register, self->ring.fd, IORING_UNREGISTER_BUFFERS,
			     NULL, 0));
	EXPECT_EQ(-1, syscall(SYS_io_uring_register, self->ring.fd, IORING_REGISTER_BUFFERS,
			      &device, 1));
	EXPECT_EQ(EFAULT, errno);
}

/* Each buffer is a mapping of the device; so is what is read. */
TEST_F(uring, within_the_device)
{
	int results[REQUESTS], fd = self->fd;
	char *map = rdax_map(fd, 0, WINDOW);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, move(&self->ring, fd, false, PLAIN, variant->flags, map, results));
	for (unsigned int i = 0; i < REQUESTS; i++) {
		EXPECT_EQ(LEN, results[i]);
		EXPECT_EQ(LEN, bytes_right(self->map + i * LEN, place(i), LEN, 1));
	}
}

/* Memory that is there in part, at first: all comes all the same. */
TEST_F(uring, fresh_memory)
{
	int results[REQUESTS];

	/* Not even the first page; or all but the last. */
	for (int round = 0; round < 2; round++) {
		madvise(self->buf, REQUESTS * LEN, MADV_DONTNEED);
		for (unsigned int i = 0; round && i < REQUESTS; i++)
			self->buf[i * LEN] = 1;
		ASSERT_EQ(0, move(&self->ring, self->fd, false, PLAIN, variant->flags, self->buf,
				  results));
		for (unsigned int i = 0; i < REQUESTS; i++) {
			/* A short count is one that read() may give as well. */
			EXPECT_LT(round ? 0 : LEN - 1, results[i]);
			EXPECT_GE(LEN, results[i]);
			EXPECT_EQ(results[i], bytes_right(self->buf + i * LEN, place(i),
							  results[i], 1));
		}
	}
}

/*
 * Workers that end their requests poke the task that submitted them, while it
 * serves a long one inline. That is not a signal: no count gets short by it.
 */
TEST_F(uring, long_request)
{
	uint64_t len = 8 * SZ_2M;
	char *buf = malloc(len);
	int results[REQUESTS];
	unsigned int i;

	ASSERT_LE(len, rdax_size());
	memset(buf, 1, len);
	for (int round = 0; round < 5; round++) {
		for (i = 0; i < REQUESTS - 1; i++)
			ring_queue(&self->ring, IORING_OP_READ, self->fd, self->buf + i * LEN, LEN,
			      place(i), i)->flags = IOSQE_ASYNC;
		ring_queue(&self->ring, round % 2 ? IORING_OP_WRITE : IORING_OP_READ, self->fd, buf, len,
		      0, i)->flags = variant->flags;
		ASSERT_EQ(0, ring_run(&self->ring, results, REQUESTS));
		EXPECT_EQ(len, results[i]);
		EXPECT_EQ(WINDOW, bytes_right(buf, 0, WINDOW, 1));
	}
	free(buf);
}

/* A write, then an fsync linked to it; and an fsync of a range. */
TEST_F(uring, fsync)
{
	struct io_uring_sqe *sqe;
	int results[4];

	bytes_make(self->buf, 5000, LEN, 9);
	sqe = ring_queue(&self->ring, IORING_OP_WRITE, self->fd, self->buf, LEN, 5000, 0);
	sqe->flags = variant->flags | IOSQE_IO_LINK;
	sqe = ring_queue(&self->ring, IORING_OP_FSYNC, self->fd, NULL, 0, 0, 1);
	sqe->flags = variant->flags;
	sqe = ring_queue(&self->ring, IORING_OP_FSYNC, self->fd, NULL, 8192, 4096, 2);
	sqe->flags = variant->flags;
	sqe->fsync_flags = IORING_FSYNC_DATASYNC;
	sqe = ring_queue(&self->ring, IORING_OP_WRITE, self->fd, self->buf + 1, 10, 5001, 3);
	sqe->flags = variant->flags;
	sqe->rw_flags = RWF_DSYNC;
	ASSERT_EQ(0, ring_run(&self->ring, results, 4));
	EXPECT_EQ(LEN, results[0]);
	EXPECT_EQ(0, results[1]);
	EXPECT_EQ(0, results[2]);
	EXPECT_EQ(10, results[3]);
	EXPECT_EQ(LEN, bytes_right(self->map + 5000, 5000, LEN, 9));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
}

TEST_F(uring, ends)
{
	uint64_t size = rdax_size();
	int results[7];

	ring_queue(&self->ring, IORING_OP_READ, self->fd, self->buf, 100, size, 0);
	ring_queue(&self->ring, IORING_OP_READ, self->fd, self->buf, 100, size - 7, 1);
	ring_queue(&self->ring, IORING_OP_WRITE, self->fd, self->buf, 100, size, 2);
	ring_queue(&self->ring, IORING_OP_WRITE, self->fd, self->buf, 100, size - 7, 3);
	ring_queue(&self->ring, IORING_OP_READ, self->fd, (void *)-SZ_4K, 100, 0, 4);
	ring_queue(&self->ring, IORING_OP_WRITE, self->fd, NULL, 100, 0, 5);
	ring_queue(&self->ring, IORING_OP_READ, self->fd, NULL, 100, 0, 6);
	for (unsigned int i = 0; i < ARRAY_SIZE(results); i++)
		self->ring.sqes[i].flags = variant->flags;
	ASSERT_EQ(0, ring_run(&self->ring, results, ARRAY_SIZE(results)));
	EXPECT_EQ(0, results[0]);
	EXPECT_EQ(7, results[1]);
	EXPECT_EQ(-ENOSPC, results[2]);
	EXPECT_EQ(7, results[3]);
	EXPECT_EQ(-EFAULT, results[4]);
	EXPECT_EQ(-EFAULT, results[5]);
	EXPECT_EQ(-EFAULT, results[6]);
}

/* The position of the file, which requests with an offset of -1 use. */
TEST_F(uring, position)
{
	int results[1];

	ASSERT_EQ(5, lseek(self->fd, 5, SEEK_SET));
	for (int i = 0; i < 3; i++) {
		ring_queue(&self->ring, IORING_OP_READ, self->fd, self->buf, 1000, -1, 0)->flags =
			variant->flags;
		ASSERT_EQ(0, ring_run(&self->ring, results, 1));
		EXPECT_EQ(1000, results[0]);
		EXPECT_EQ(1000, bytes_right(self->buf, 5 + 1000 * i, 1000, 1));
	}
	EXPECT_EQ(3005, lseek(self->fd, 0, SEEK_CUR));
}

/*
 * Unbound with requests in flight
 */

#define ROUNDS	5

struct under_way {
	bool write;
	unsigned int flags;
	int odd;		/* what no request may return */
	int gone, moved;
};

/* Keep the ring full until it says that the device is gone, in another thread's time. */
static int flood(void *arg)
{
	struct under_way *u = arg;
	unsigned int flying = 0, gone = 0;
	int fd = rdax_open(), res;
	struct ring r;
	char *buf = malloc(SZ_2M);
	uint64_t number;

	memset(buf, 1, SZ_2M);
	if (ring_setup(&r, 0))
		return 1;
	while (!gone || flying) {
		for (; !gone && flying < RING_ENTRIES; flying++)
			ring_queue(&r, u->write ? IORING_OP_WRITE : IORING_OP_READ, fd, buf, SZ_2M,
			      flying % 8 * SZ_2M, 0)->flags = u->flags;
		if (ring_submit(&r, 1))
			return 2;
		while (ring_take(&r, &number, &res)) {
			flying--;
			gone += res == -ENXIO;
			__atomic_fetch_add(&u->moved, res > 0, __ATOMIC_SEQ_CST);
			/* Some of it, then the device went. */
			if (res != -ENXIO && (res <= 0 || res > (int)SZ_2M))
				u->odd = res ? res : -1;
		}
	}
	u->gone = gone;
	for (int i = 0; i < 10; i++) {
		ring_queue(&r, IORING_OP_READ, fd, buf, 100, i, 0)->flags = u->flags;
		if (ring_run(&r, &res, 1) || res != -ENXIO)
			return 3;
	}
	return 0;
}

static int flood_and_unbind(void *arg)
{
	struct under_way *u = arg;
	int status, ret;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(flood(u));
	while (__atomic_load_n(&u->moved, __ATOMIC_SEQ_CST) < 20)
		usleep(500);
	ret = rdax_unbind();
	if (waitpid(pid, &status, 0) != pid || status)
		return 10 + (WIFEXITED(status) ? WEXITSTATUS(status) : 100);
	return ret ? 9 : 0;
}

TEST_F_TIMEOUT(uring, unbound, 120)
{
	struct under_way *u = rdax_shared(sizeof(*u));

	for (int i = 0; i < ROUNDS; i++) {
		*u = (struct under_way){ .write = i % 2, .flags = variant->flags };
		ASSERT_EQ(0, rdax_fresh("4K"));
		ASSERT_EQ(0, rdax_bounded(flood_and_unbind, u, RDAX_PATIENCE));
		EXPECT_EQ(0, u->odd);
		EXPECT_LT(0, u->gone);
	}
}

/* The ring, and the file in it, outlive their process's interest. */
static int leave_requests(void *arg)
{
	char *buf = malloc(SZ_2M);
	int fd = rdax_open();
	struct ring r;

	memset(buf, 1, SZ_2M);
	if (ring_setup(&r, 0))
		return 1;
	for (int i = 0; i < RING_ENTRIES; i++)
		ring_queue(&r, IORING_OP_WRITE, fd, buf, SZ_2M, i % 8 * SZ_2M, 0)->flags = IOSQE_ASYNC;
	return ring_submit(&r, 0) || r.queued ? 2 : 0;
}

TEST_F(uring, process_gone)
{
	EXPECT_EQ(0, rdax_bounded(leave_requests, NULL, RDAX_PATIENCE));
	EXPECT_EQ(0, rdax_unbind());
}

/*
 * RWF_NOWAIT
 */

TEST(nowait)
{
	char *buf, *map;
	struct iovec iov;
	int fd;

	ASSERT_EQ(0, rdax_fresh("4K"));
	fd = rdax_open();
	map = rdax_map(fd, 0, 2 * SZ_2M);
	buf = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_NE(MAP_FAILED, buf);
	bytes_make(map, 0, 2 * SZ_2M, 1);
	iov = (struct iovec){ buf, SZ_2M };

	/* Absent: not waited for, nor brought in. */
	EXPECT_EQ(-1, preadv2(fd, &iov, 1, 5, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, pwritev2(fd, &iov, 1, 5, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(2 * SZ_2M, bytes_right(map, 0, 2 * SZ_2M, 1));

	/* Present: all of it, however long, also where others contend. */
	memset(buf, 1, SZ_2M);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(SZ_2M, preadv2(fd, &iov, 1, 5, RWF_NOWAIT));
		EXPECT_EQ(SZ_2M, bytes_right(buf, 5, SZ_2M, 1));
		EXPECT_EQ(SZ_2M, pwritev2(fd, &iov, 1, 5, RWF_NOWAIT));
	}
	/* Into a hole as well. */
	ASSERT_EQ(0, rdax_punch(fd, 0, SZ_2M));
	EXPECT_EQ(0, rdax_load(map));
	EXPECT_EQ(SZ_2M, pwritev2(fd, &iov, 1, 5, RWF_NOWAIT));
	EXPECT_EQ(SZ_2M, bytes_right(map + 5, 5, SZ_2M, 1));

	/* The first part of it: then the rest is brought in, and the count is not short. */
	madvise(buf + 3 * SZ_4K, SZ_4K, MADV_DONTNEED);
	EXPECT_EQ(SZ_2M, preadv2(fd, &iov, 1, 0, RWF_NOWAIT));
	EXPECT_EQ(0, memcmp(buf, map, SZ_2M));
	madvise(buf + 3 * SZ_4K, SZ_4K, MADV_DONTNEED);
	EXPECT_EQ(SZ_2M, pwritev2(fd, &iov, 1, 0, RWF_NOWAIT));
	EXPECT_EQ(0, memcmp(buf, map, SZ_2M));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
