// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that pin the memory of a mapping. Page frames have no pages to pin: each such call ends with
 * EFAULT, and changes nothing. A shared futex is a key made of the page: EFAULT, too, so nobody can wait
 * for a mutex that processes share.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "mutex.h"
#include "rdax.h"
#include "ring.h"

#define LEN	SZ_2M

FIXTURE(pins)
{
	int fd;
	char *map, *buf;
};

FIXTURE_SETUP(pins)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = rdax_map(self->fd, 0, LEN);
	ASSERT_NE(MAP_FAILED, self->map);
	memset(self->map, 'm', 2 * SZ_4K);
	self->buf = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->buf);
	memset(self->buf, 'b', SZ_4K);
}

FIXTURE_TEARDOWN(pins)
{
	close(self->fd);
}

/* With pages they work: see pages.c. */
#define EXPECT_REFUSED(call) do {				\
	errno = 0;						\
	EXPECT_EQ(-1, (call));					\
	EXPECT_EQ(EFAULT, errno);				\
	EXPECT_EQ('m', self->map[0]);				\
	EXPECT_EQ('m', self->map[SZ_4K - 1]);			\
	EXPECT_EQ('b', self->buf[0]);				\
} while (0)

TEST_F(pins, process_vm)
{
	struct iovec there = { self->map, SZ_4K }, here = { self->buf, SZ_4K };

	EXPECT_REFUSED(process_vm_readv(getpid(), &here, 1, &there, 1, 0));
	EXPECT_REFUSED(process_vm_writev(getpid(), &here, 1, &there, 1, 0));
}

TEST_F(pins, vmsplice)
{
	struct iovec part = { self->map, SZ_4K };
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_REFUSED(vmsplice(pipes[1], &part, 1, 0));
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(pins, shared_futex)
{
	EXPECT_REFUSED(syscall(SYS_futex, self->map, FUTEX_WAKE, 1, NULL, NULL, 0));
}

/* A mutex that nobody waits for needs no futex. glibc ends a process that cannot wait. */
TEST_F(pins, mutexes)
{
	EXPECT_STREQ("ok", mutex_owner_dies(self->map, LEN, SZ_4K));
	for (enum mutex_kind kind = 0; kind < MUTEX_KINDS; kind++)
		EXPECT_EQ(SIGABRT, mutex_kills(self->map, LEN, SZ_4K, kind));
}

TEST_F(pins, uring_buffer)
{
	struct iovec buffer = { self->map, SZ_4K };
	struct ring ring;

	ASSERT_EQ(0, ring_setup(&ring, 0));
	EXPECT_REFUSED(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &buffer, 1));
	close(ring.fd);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
