// SPDX-License-Identifier: GPL-2.0
/*
 * A region that is read-only, from the start or from now on: whatever would write
 * is refused with EROFS, or with the signal that an access can get; nothing on the
 * media changes; all that reads goes on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "ring.h"
#include "uapi/rdax.h"

#define LEN	(2 * SZ_2M)
#define SEED	0x20

static int64_t answer(int64_t ret)
{
	return ret == -1 ? -errno : ret;
}

FIXTURE(region)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(region)
{
	const char *align;
	uint64_t leaf;
};

FIXTURE_VARIANT_ADD(region, small)
{
	.align = "4K", .leaf = SZ_4K,
};

FIXTURE_VARIANT_ADD(region, large)
{
	.align = "2M", .leaf = SZ_2M,
};

/* Data on the media, in dirty entries that are mapped to be written. */
FIXTURE_SETUP(region)
{
	ASSERT_EQ(0, region_set_read_only(false));
	ASSERT_EQ(0, rdax_fresh(variant->align));
	if (!rdax_fits(variant->leaf))
		SKIP(return, "no leaf of this size fits");
	self->fd = rdax_open();
	self->map = rdax_map(self->fd, 0, LEN);
	ASSERT_NE(MAP_FAILED, self->map);
	if (variant->leaf == SZ_4K)
		ASSERT_EQ(0, madvise(self->map, LEN, MADV_NOHUGEPAGE));
	rdax_fill(self->map, 0, LEN, SZ_4K, SEED);
}

FIXTURE_TEARDOWN(region)
{
	EXPECT_EQ(0, region_set_read_only(false));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, LEN, SZ_4K, SEED));
	munmap(self->map, LEN);
	close(self->fd);
}

TEST_F(region, calls)
{
	struct rdax_prefault p = { sizeof(p), 0, (uintptr_t)self->map, LEN, 0 };
	struct iovec iov = { "xyz", 3 };
	int pipes[2], results[3];
	char buf[SZ_4K] = "";
	struct ring ring;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(1, write(pipes[1], "x", 1));
	ASSERT_EQ(0, region_set_read_only(true));

	EXPECT_EQ(-EROFS, answer(pwrite(self->fd, buf, sizeof(buf), 0)));
	EXPECT_EQ(-EROFS, answer(pwrite(self->fd, buf, 1, SZ_4K + 5)));
	EXPECT_EQ(-EROFS, answer(pwritev(self->fd, &iov, 1, 0)));
	EXPECT_EQ(-EROFS, answer(splice(pipes[0], NULL, self->fd, NULL, 1, 0)));
	EXPECT_EQ(-EROFS, answer(sendfile(self->fd, self->fd, NULL, 1)));
	EXPECT_EQ(-EROFS, rdax_punch(self->fd, 0, SZ_2M));
	EXPECT_EQ(-EROFS, rdax_zero(self->fd, 0, SZ_4K));
	p.flags = RDAX_PREFAULT_WRITE;
	EXPECT_EQ(-EROFS, answer(ioctl(self->fd, RDAX_IOC_PREFAULT, &p)));
	EXPECT_EQ(0, p.done);
	ASSERT_EQ(0, ring_setup(&ring, 0));
	ring_queue(&ring, IORING_OP_WRITE, self->fd, "x", 1, 0, 0);
	ring_queue(&ring, IORING_OP_WRITE, self->fd, "x", 1, 0, 1)->flags = IOSQE_ASYNC;
	ASSERT_EQ(0, ring_run(&ring, results, 2));
	EXPECT_EQ(-EROFS, results[0]);
	EXPECT_EQ(-EROFS, results[1]);

	/* What was written before is made durable, and read. */
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, msync(self->map, LEN, MS_SYNC));
	EXPECT_EQ((ssize_t)sizeof(buf), pread(self->fd, buf, sizeof(buf), 0));
	EXPECT_EQ(0, rdax_wrong(buf, 0, sizeof(buf), SZ_4K, SEED));
	p.flags = 0;
	EXPECT_EQ(0, ioctl(self->fd, RDAX_IOC_PREFAULT, &p));

	ASSERT_EQ(0, region_set_read_only(false));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, SZ_4K + 64));
}

TEST_F(region, accesses)
{
	struct rdax_counts before, delta;
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	ASSERT_EQ(0, region_set_read_only(true));
	rdax_counts(&before);
	for (int i = 0; i < 2; i++) {
		/* First what was mapped to be written, then what is mapped to be read. */
		EXPECT_EQ(SIGBUS, rdax_store(self->map));
		EXPECT_EQ(SIGBUS, rdax_store(self->map + LEN - 1));
		EXPECT_EQ(0, rdax_load(self->map));
		EXPECT_EQ(0, rdax_load(self->map + LEN - 1));
	}
	EXPECT_NE(1, pwrite(mem, "x", 1, (uintptr_t)self->map));
	rdax_delta(&before, &delta);
	EXPECT_LE(4, rdax_sigbus(&delta));

	ASSERT_EQ(0, region_set_read_only(false));
	EXPECT_EQ(0, rdax_store(self->map + 64));
	EXPECT_EQ(0, rdax_store(self->map + LEN - 64));
	close(mem);
}

TEST_F(region, mappings)
{
	char *map;

	ASSERT_EQ(0, region_set_read_only(true));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(EROFS, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, LEN, PROT_WRITE, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(EROFS, errno);
	map = mmap(NULL, LEN, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, 0, LEN, SZ_4K, SEED));
	EXPECT_EQ(-EACCES, answer(mprotect(map, LEN, PROT_READ | PROT_WRITE)));
	/* Made while it could not be written, it stays so. */
	ASSERT_EQ(0, region_set_read_only(false));
	EXPECT_EQ(-EACCES, answer(mprotect(map, LEN, PROT_READ | PROT_WRITE)));
	munmap(map, LEN);
	map = mmap(NULL, LEN, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, mprotect(map, LEN, PROT_READ | PROT_WRITE));
	munmap(map, LEN);
}

static uint64_t mapped(void)
{
	return rdax_attr("faults/pte_mapped") + rdax_attr("faults/pmd_mapped");
}

/* While reads are to map memory writable, they do so as soon as the region can be written again. */
TEST_F(region, reads_map_writable)
{
	uint64_t before;

	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "1"));
	ASSERT_EQ(0, region_set_read_only(true));
	before = mapped();
	EXPECT_EQ(0, rdax_load(self->map));
	EXPECT_EQ(before + 1, mapped());
	ASSERT_EQ(0, region_set_read_only(false));
	EXPECT_EQ(0, rdax_load(self->map));
	EXPECT_EQ(before + 2, mapped());
	__atomic_fetch_add(self->map, 0, __ATOMIC_RELAXED);
	EXPECT_EQ(before + 2, mapped());
	EXPECT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "0"));
}

/* Bound while it is so. */
TEST_F(region, from_the_start)
{
	char byte = 'x';
	int fd;

	ASSERT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, region_set_read_only(true));
	ASSERT_EQ(0, rdax_fresh(variant->align));
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EROFS, answer(pwrite(fd, &byte, 1, 0)));
	EXPECT_EQ(1, pread(fd, &byte, 1, 0));
	ASSERT_EQ(0, region_set_read_only(false));
	EXPECT_EQ(1, pwrite(fd, &byte, 1, 0));
	munmap(self->map, LEN);
	self->map = rdax_map(fd, 0, LEN);
	close(self->fd);
	self->fd = fd;
}

/*
 * Nobody writes any more when the write to the attribute has returned.
 */

struct writer {
	int fd;
	char *word;
	bool by_call;
	atomic_bool stop;
	atomic_ulong written, refused;
};

static void *write_on(void *arg)
{
	struct writer *writer = arg;
	uint64_t next = 0;

	while (!writer->stop) {
		bool done;

		next++;
		if (writer->by_call)
			done = pwrite(writer->fd, &next, sizeof(next), SZ_4K + 128) == sizeof(next);
		else
			done = !rdax_store_word((uint64_t *)writer->word, next);
		if (done)
			writer->written++;
		else
			writer->refused++;
	}
	return NULL;
}

TEST_F(region, nobody_writes_any_more)
{
	for (int by_call = 0; by_call < 2; by_call++) {
		struct writer writer = {
			.fd = self->fd, .word = self->map + SZ_4K + 128, .by_call = by_call,
		};
		unsigned long changed = 0, before;
		pthread_t thread;

		ASSERT_EQ(0, pthread_create(&thread, NULL, write_on, &writer));
		for (int i = 0; i < 100; i++) {
			uint64_t first, later;

			before = writer.written;
			while (writer.written == before)
				;
			ASSERT_EQ(0, region_set_read_only(true));
			ASSERT_EQ((ssize_t)sizeof(first),
				  pread(self->fd, &first, sizeof(first), SZ_4K + 128));
			before = writer.refused;
			while (writer.refused < before + 2)
				;
			ASSERT_EQ((ssize_t)sizeof(later),
				  pread(self->fd, &later, sizeof(later), SZ_4K + 128));
			changed += first != later;
			ASSERT_EQ(0, region_set_read_only(false));
		}
		writer.stop = true;
		pthread_join(thread, NULL);
		EXPECT_EQ(0, changed);
	}
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
