// SPDX-License-Identifier: GPL-2.0
/*
 * What a debugger does to a program that has the device mapped: ptrace() and
 * /proc/PID/mem read what is there, also where the program itself has touched
 * nothing yet, and write what the program, its file and the media then have;
 * but not through a mapping that is read-only, and not behind the end of the
 * mapping that it is in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"

#define LEN	(4 * SZ_2M)

/* The debugged program's memory: mapped before it is forked, touched by nobody. */
FIXTURE(access)
{
	int fd, mem;
	struct rdax_peer peer;
	/*
	 * The device, to be written; a page of the heap; the device from its
	 * second page on, to be read; and nothing.
	 */
	char *map, *heap, *readonly, *end;
	char *view;		/* the debugger's own */
};

FIXTURE_VARIANT(access)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(access, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(access, pmd)
{
	.bytes = SZ_2M,
};

struct program {
	char *map;
	uint64_t from, len, seed;
};

enum { TOUCH, CHECK, STORE, TRACED };

static int program(void *arg, int step)
{
	struct program *p = arg;

	switch (step) {
	case TOUCH:
		for (uint64_t at = 0; at < LEN; at += SZ_4K)
			if (rdax_load(p->map + at))
				return 1;
		return 0;
	case CHECK:
		return bytes_right(p->map + p->from, p->from, p->len, p->seed) != p->len;
	case STORE:
		bytes_make(p->map + p->from, p->from, p->len, p->seed);
		return 0;
	default:
		return 2;
	}
}

static struct program *shared;

FIXTURE_SETUP(access)
{
	char *room, path[64];
	void *fixed;

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_2M) || rdax_size() < LEN)
		SKIP(return, "namespace too small or not aligned");

	room = mmap(NULL, 3 * LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	self->map = (char *)(((uintptr_t)room + SZ_2M - 1) & ~(SZ_2M - 1));
	self->heap = self->map + LEN;
	self->readonly = self->heap + SZ_4K;
	self->end = self->readonly + LEN - SZ_4K;
	munmap(self->end, room + 3 * LEN - self->end);
	fixed = mmap(self->map, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->fd, 0);
	ASSERT_EQ(self->map, fixed);
	if (variant->bytes == SZ_4K)
		ASSERT_EQ(0, madvise(self->map, LEN, MADV_NOHUGEPAGE));
	fixed = mmap(self->heap, SZ_4K, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_EQ(self->heap, fixed);
	memset(self->heap, 'h', SZ_4K);
	fixed = mmap(self->readonly, LEN - SZ_4K, PROT_READ, MAP_SHARED | MAP_FIXED, self->fd,
		     SZ_4K);
	ASSERT_EQ(self->readonly, fixed);

	shared = rdax_shared(sizeof(*shared));
	shared->map = self->map;
	ASSERT_EQ(0, rdax_peer_start(&self->peer, program, shared));
	snprintf(path, sizeof(path), "/proc/%d/mem", self->peer.pid);
	self->mem = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->mem, 0);

	self->view = rdax_map(self->fd, 0, LEN);
	ASSERT_NE(MAP_FAILED, self->view);
	bytes_make(self->view, 0, LEN, 1);
}

FIXTURE_TEARDOWN(access)
{
	rdax_peer_end(&self->peer);
	close(self->mem);
	close(self->fd);
}

static ssize_t mem_read(int mem, const void *at, void *to, size_t len)
{
	ssize_t n = pread(mem, to, len, (uintptr_t)at);

	return n < 0 ? -errno : n;
}

static ssize_t mem_write(int mem, const void *at, const void *from, size_t len)
{
	ssize_t n = pwrite(mem, from, len, (uintptr_t)at);

	return n < 0 ? -errno : n;
}

/* In the program's memory, at odd places and over the boundaries of pages. */
static const struct {
	uint64_t at, len;
} places[] = {
	{ 0, 1 }, { 5, 8 }, { 4093, 8 }, { 4096, 4096 }, { 10000, 30000 },
	{ SZ_2M - 3, 8 }, { SZ_2M - 5000, 10001 }, { 2 * SZ_2M, 100000 }, { LEN - 9, 9 },
};

TEST_F(access, read)
{
	char *buf = malloc(100000);
	struct rdax_counts before, d;

	rdax_counts(&before);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t at = places[i].at, len = places[i].len;

		memset(buf, 0, len);
		EXPECT_EQ(len, mem_read(self->mem, self->map + at, buf, len));
		EXPECT_EQ(len, bytes_right(buf, at, len, 1));
	}
	EXPECT_EQ(5000, mem_read(self->mem, self->readonly + 17, buf, 5000));
	EXPECT_EQ(5000, bytes_right(buf, SZ_4K + 17, 5000, 1));
	/* The program hasn't touched it, nor does the debugger make it. */
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped + d.created);

	/* The same where the program has it mapped. */
	EXPECT_EQ(0, rdax_peer_step(&self->peer, TOUCH));
	rdax_delta(&before, &d);
	EXPECT_EQ(LEN / variant->bytes, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(100000, mem_read(self->mem, self->map + 7, buf, 100000));
	EXPECT_EQ(100000, bytes_right(buf, 7, 100000, 1));
	free(buf);
}

TEST_F(access, write)
{
	char *buf = malloc(100000);

	for (int touched = 0; touched < 2; touched++) {
		for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
			uint64_t at = places[i].at, len = places[i].len;
			uint64_t seed = 2 + i + touched * ARRAY_SIZE(places);

			bytes_make(buf, at, len, seed);
			EXPECT_EQ(len, mem_write(self->mem, self->map + at, buf, len));
			*shared = (struct program){ self->map, at, len, seed };
			EXPECT_EQ(0, rdax_peer_step(&self->peer, CHECK));
			EXPECT_EQ(len, bytes_right(self->view + at, at, len, seed));
			memset(buf, 0, len);
			EXPECT_EQ(len, pread(self->fd, buf, len, at));
			EXPECT_EQ(len, bytes_right(buf, at, len, seed));
		}
		/* What is between the places. */
		EXPECT_EQ(1000, bytes_right(self->view + 8192, 8192, 1000, 1));
		EXPECT_EQ(SZ_2M / 2, bytes_right(self->view + SZ_2M + SZ_2M / 4,
						 SZ_2M + SZ_2M / 4, SZ_2M / 2, 1));
		EXPECT_EQ(0, rdax_peer_step(&self->peer, TOUCH));
	}
	/* And back. */
	*shared = (struct program){ self->map, 3333, 4444, 99 };
	EXPECT_EQ(0, rdax_peer_step(&self->peer, STORE));
	EXPECT_EQ(4444, mem_read(self->mem, self->map + 3333, buf, 4444));
	EXPECT_EQ(4444, bytes_right(buf, 3333, 4444, 99));
	free(buf);
}

/* A write leaves nothing for a sync: it has gone to the media. */
TEST_F(access, on_the_media)
{
	char buf[5000];

	bytes_make(buf, 9000, sizeof(buf), 5);
	EXPECT_EQ(sizeof(buf), mem_write(self->mem, self->map + 9000, buf, sizeof(buf)));
	ASSERT_EQ(0, rdax_fresh("4K"));
	close(self->fd);
	self->fd = rdax_open();
	memset(buf, 0, sizeof(buf));
	EXPECT_EQ(sizeof(buf), pread(self->fd, buf, sizeof(buf), 9000));
	EXPECT_EQ(sizeof(buf), bytes_right(buf, 9000, sizeof(buf), 5));
}

/* Not by force either: the file behind it may have been opened for reading only. */
TEST_F(access, read_only)
{
	char buf[100];

	memset(buf, 'x', sizeof(buf));
	EXPECT_EQ(-EIO, mem_write(self->mem, self->readonly, buf, 1));
	EXPECT_EQ(-EIO, mem_write(self->mem, self->readonly + 4000, buf, 100));
	EXPECT_EQ(0, rdax_peer_step(&self->peer, TOUCH));
	EXPECT_EQ(-EIO, mem_write(self->mem, self->readonly + 4000, buf, 100));
	EXPECT_EQ(LEN, bytes_right(self->view, 0, LEN, 1));
}

/*
 * One call over the borders of mappings: the device behind the end of the
 * mapping is not what the program has there.
 */
TEST_F(access, borders)
{
	char *buf = malloc(LEN), *before = self->heap - 10;

	memset(buf, 0, 100);
	EXPECT_EQ(20, mem_read(self->mem, before, buf, 20));
	EXPECT_EQ(10, bytes_right(buf, LEN - 10, 10, 1));
	EXPECT_EQ(0, memcmp(buf + 10, "hhhhhhhhhh", 10));
	/* From the heap into the mapping behind it. */
	EXPECT_EQ(20, mem_read(self->mem, self->readonly - 10, buf, 20));
	EXPECT_EQ(0, memcmp(buf, "hhhhhhhhhh", 10));
	EXPECT_EQ(10, bytes_right(buf + 10, SZ_4K, 10, 1));
	/* Where the memory ends. */
	EXPECT_EQ(10, mem_read(self->mem, self->end - 10, buf, 20));
	EXPECT_EQ(10, bytes_right(buf, LEN - 10, 10, 1));
	EXPECT_EQ(-EIO, mem_read(self->mem, self->end, buf, 20));

	bytes_make(buf, LEN - 10, 10, 2);
	memset(buf + 10, 'H', 10);
	EXPECT_EQ(20, mem_write(self->mem, before, buf, 20));
	EXPECT_EQ(10, bytes_right(self->view + LEN - 10, LEN - 10, 10, 2));
	EXPECT_EQ(20, mem_read(self->mem, before, buf, 20));
	EXPECT_EQ(0, memcmp(buf + 10, "HHHHHHHHHH", 10));
	/* From what may be written into what may not. */
	memset(buf, 'H', 20);
	EXPECT_EQ(10, mem_write(self->mem, self->readonly - 10, buf, 20));
	EXPECT_EQ(LEN - 10, bytes_right(self->view, 0, LEN - 10, 1));
	free(buf);
}

/* The program has the zeroes of a hole mapped, and so have others. */
TEST_F(access, hole)
{
	uint64_t hole = variant->bytes == SZ_2M ? SZ_2M : SZ_2M + 5 * SZ_4K;
	uint64_t at = hole + variant->bytes / 2 - 3;
	uint64_t *zeroes;
	char buf[8] = "";

	ASSERT_EQ(0, rdax_punch(self->fd, hole, variant->bytes));
	EXPECT_EQ(8, mem_read(self->mem, self->map + at, buf, 8));
	EXPECT_EQ(8, bytes_zero(buf, 8));
	EXPECT_EQ(0, rdax_peer_step(&self->peer, TOUCH));
	EXPECT_EQ(8, bytes_zero(self->view + at, 8));
	EXPECT_EQ(8, mem_read(self->mem, self->map + at, buf, 8));
	EXPECT_EQ(8, bytes_zero(buf, 8));

	bytes_make(buf, at, 8, 9);
	EXPECT_EQ(8, mem_write(self->mem, self->map + at, buf, 8));
	*shared = (struct program){ self->map, at, 8, 9 };
	EXPECT_EQ(0, rdax_peer_step(&self->peer, CHECK));
	EXPECT_EQ(8, bytes_right(self->view + at, at, 8, 9));
	EXPECT_EQ(at - hole, bytes_zero(self->view + hole, at - hole));
	EXPECT_EQ(variant->bytes / 2 - 5, bytes_zero(self->view + at + 8, variant->bytes / 2 - 5));

	zeroes = mmap(NULL, SZ_2M, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_EQ(SZ_2M, bytes_zero(zeroes, SZ_2M));
	munmap(zeroes, SZ_2M);
}

/* A word at a time, as debuggers did it first. */
TEST_F(access, ptrace)
{
	pid_t pid = self->peer.pid;
	long word, want;
	int status;

	ASSERT_EQ(0, ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	ASSERT_EQ(0, ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	for (size_t i = 0; i < ARRAY_SIZE(places) - 1; i++) {
		uint64_t at = places[i].at;

		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, pid, self->map + at, NULL);
		EXPECT_EQ(0, errno);
		EXPECT_EQ(8, bytes_right(&word, at, 8, 1));
		bytes_make(&want, at, 8, 2);
		EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, pid, self->map + at, want));
		EXPECT_EQ(8, bytes_right(self->view + at, at, 8, 2));
		bytes_make(self->view + at, at, 8, 1);
	}
	/* Half of it in the heap. */
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, self->heap - 4, NULL);
	EXPECT_EQ(0, errno);
	EXPECT_EQ(4, bytes_right(&word, LEN - 4, 4, 1));
	EXPECT_EQ(0, memcmp((char *)&word + 4, "hhhh", 4));

	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, self->readonly + 8, 0));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKDATA, pid, self->end - 4, NULL));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(LEN, bytes_right(self->view, 0, LEN, 1));

	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKDATA, pid, self->map, NULL));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, self->map, 0));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, ptrace(PTRACE_DETACH, pid, NULL, NULL));
}

TEST_F(access, unbound)
{
	char buf[100];

	EXPECT_EQ(0, rdax_peer_step(&self->peer, TOUCH));
	ASSERT_EQ(0, rdax_unbind());
	for (int bound = 0; bound < 2; bound++) {
		EXPECT_EQ(-EIO, mem_read(self->mem, self->map, buf, 100));
		EXPECT_EQ(-EIO, mem_write(self->mem, self->map, buf, 100));
		EXPECT_EQ(-EIO, mem_read(self->mem, self->readonly, buf, 100));
		if (!bound)
			ASSERT_EQ(0, rdax_bind());
	}
	/* From the heap to where nothing is any more. */
	EXPECT_EQ(10, mem_read(self->mem, self->readonly - 10, buf, 20));
}

/* These want pages. Linux has none to give, and says so. */
TEST_F(access, process_vm)
{
	char buf[100] = "";
	struct iovec here = { buf, 100 }, there = { self->map, 100 };
	struct iovec both[2] = { { self->heap, 50 }, { self->map, 50 } };

	EXPECT_EQ(-1, process_vm_readv(self->peer.pid, &here, 1, &there, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, process_vm_writev(self->peer.pid, &here, 1, &there, 1, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(50, process_vm_readv(self->peer.pid, &here, 1, both, 2, 0));
	EXPECT_EQ(LEN, bytes_right(self->view, 0, LEN, 1));
	/* The device as the local side is memory like any other. */
	there.iov_base = self->heap;
	here.iov_base = self->view + 5;
	EXPECT_EQ(100, process_vm_readv(self->peer.pid, &here, 1, &there, 1, 0));
	EXPECT_EQ('h', self->view[104]);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
