// SPDX-License-Identifier: GPL-2.0
/*
 * Each mmap() that rdax must refuse, with its errno, next to the nearest one
 * that it must accept. A private mapping that got through would be a BUG_ON in
 * the kernel's fault path; one beyond the end would reach another's memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define RW	(PROT_READ | PROT_WRITE)

FIXTURE(refused)
{
	int fd;
	uint64_t size;
};

FIXTURE_SETUP(refused)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->size = rdax_size();
}

FIXTURE_TEARDOWN(refused)
{
	close(self->fd);
}

/* 0 and no mapping left, or the errno. */
static int try_map(int fd, uint64_t len, int prot, int flags, uint64_t offset)
{
	void *map = mmap(NULL, len, prot, flags, fd, (off_t)offset);

	if (map == MAP_FAILED)
		return errno;
	munmap(map, len);
	return 0;
}

TEST_F(refused, private)
{
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_PRIVATE, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, PROT_READ, MAP_PRIVATE, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_2M, RW, MAP_PRIVATE, 0));
	EXPECT_EQ(0, try_map(self->fd, SZ_4K, RW, MAP_SHARED, 0));
}

/* A read-only shared mapping of a read-only fd loses VM_SHARED, not VM_MAYSHARE. */
TEST_F(refused, private_read_only_fd)
{
	int fd = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);
	void *map;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(EINVAL, try_map(fd, SZ_4K, PROT_READ, MAP_PRIVATE, 0));
	EXPECT_EQ(EACCES, try_map(fd, SZ_4K, RW, MAP_SHARED, 0));
	map = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_load(map));
	EXPECT_EQ(SIGSEGV, rdax_store(map));
	EXPECT_EQ(-1, mprotect(map, SZ_2M, RW));
	EXPECT_EQ(EACCES, errno);
	close(fd);
}

TEST_F(refused, beyond_the_end)
{
	EXPECT_EQ(0, try_map(self->fd, self->size, RW, MAP_SHARED, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, self->size + SZ_4K, RW, MAP_SHARED, 0));
	EXPECT_EQ(0, try_map(self->fd, SZ_4K, RW, MAP_SHARED, self->size - SZ_4K));
	EXPECT_EQ(EINVAL, try_map(self->fd, 2 * SZ_4K, RW, MAP_SHARED, self->size - SZ_4K));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_SHARED, self->size));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_SHARED, self->size + SZ_1G));
}

/* Offset plus length wraps, in the driver's arithmetic or in the kernel's. */
TEST_F(refused, overflow)
{
	uint64_t last = -SZ_4K, half = UINT64_C(1) << 63;

	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_SHARED, half));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_SHARED, half - SZ_4K));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_SHARED, last - SZ_4K));
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_2M, RW, MAP_SHARED, -2 * SZ_2M));
	EXPECT_EQ(EOVERFLOW, try_map(self->fd, 2 * SZ_4K, RW, MAP_SHARED, last));
	EXPECT_EQ(ENOMEM, try_map(self->fd, last, RW, MAP_SHARED, 0));
}

TEST_F(refused, unaligned)
{
	EXPECT_EQ(EINVAL, try_map(self->fd, SZ_4K, RW, MAP_SHARED, 512));
	EXPECT_EQ(EINVAL, try_map(self->fd, 0, RW, MAP_SHARED, 0));
	/* The kernel rounds a length up to whole pages: allowed up to the end. */
	EXPECT_EQ(0, try_map(self->fd, 100, RW, MAP_SHARED, self->size - SZ_4K));
}

/* MAP_SYNC needs FOP_MMAP_SYNC; PMDK takes its success for persistent memory. */
TEST_F(refused, map_sync_is_not)
{
	int flags = MAP_SHARED_VALIDATE | MAP_SYNC;
	char *map;

	map = mmap(NULL, SZ_2M, RW, flags, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SZ_2M, SZ_4K, 1);
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, SZ_4K, 1));
	EXPECT_EQ(0, try_map(self->fd, SZ_4K, RW, MAP_SHARED_VALIDATE, 0));
}

/*
 * Nor on a region that the host makes durable, on request only: nobody who was
 * promised that his stores need no fsync may be left without it.
 */
TEST(map_sync_of_virtio_pmem)
{
	const char *ns = "namespace2.0";
	int sync = MAP_SHARED_VALIDATE | MAP_SYNC, fd;
	char *map;

	if (access(ND_DEVICES "/namespace2.0", F_OK) || getenv("RDAX_NS"))
		SKIP(return, "there is no virtio-pmem to overwrite");
	if (rdax_bound())
		ASSERT_EQ(0, rdax_unbind());
	setenv("RDAX_NS", ns, 1);
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", ns));
	ASSERT_EQ(0, rdax_fresh("4K"));
	fd = rdax_open();
	EXPECT_EQ(EOPNOTSUPP, try_map(fd, SZ_2M, RW, sync, 0));
	EXPECT_EQ(EOPNOTSUPP, try_map(fd, SZ_4K, PROT_READ, sync, 0));
	EXPECT_EQ(0, try_map(fd, SZ_4K, RW, MAP_SHARED_VALIDATE, 0));
	map = rdax_map(fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SZ_2M, SZ_4K, 2);
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, SZ_4K, 2));
	close(fd);
	EXPECT_EQ(0, rdax_unbind());
}

/* No refusal may have left anything behind: the device can still be unbound. */
TEST_F(refused, refusals_leave_nothing)
{
	int refused = 0;

	for (int i = 0; i < 100; i++)
		refused += try_map(self->fd, SZ_4K, RW, MAP_PRIVATE, 0) == EINVAL;
	EXPECT_EQ(100, refused);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, rdax_unbind());
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
