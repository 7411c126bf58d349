// SPDX-License-Identifier: GPL-2.0
/*
 * What tools look at before they map: the node, its class (fio, PMDK and QEMU
 * know a DAX node by the class name), its attributes, who may read them, lseek.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

FIXTURE(node)
{
	int fd;
	struct stat st;
};

FIXTURE_SETUP(node)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, fstat(self->fd, &self->st));
}

FIXTURE_TEARDOWN(node)
{
	close(self->fd);
}

static uint64_t number_in(const char *path)
{
	FILE *f = fopen(path, "r");
	uint64_t value = UINT64_MAX;

	if (f) {
		if (fscanf(f, "%" SCNi64, (int64_t *)&value) != 1)
			value = UINT64_MAX;
		fclose(f);
	}
	return value;
}

static const char *last_part(const char *path)
{
	static char real[PATH_MAX];

	if (!realpath(path, real))
		return "";
	return strrchr(real, '/') + 1;
}

TEST_F(node, is_of_class_dax)
{
	char path[128];

	ASSERT_TRUE(S_ISCHR(self->st.st_mode));
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem",
		 major(self->st.st_rdev), minor(self->st.st_rdev));
	EXPECT_STREQ("dax", last_part(path));
}

TEST_F(node, belongs_to_the_namespace)
{
	EXPECT_STREQ(rdax_ns(), last_part(RDAX_CLASS "/device"));
}

TEST_F(node, size_is_the_same_everywhere)
{
	char path[128];
	off_t end = lseek(self->fd, 0, SEEK_END);

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/size",
		 major(self->st.st_rdev), minor(self->st.st_rdev));
	EXPECT_GT(end, 0);
	EXPECT_EQ(end, number_in(path));
	EXPECT_EQ(end, rdax_size());
	snprintf(path, sizeof(path), ND_DEVICES "/%s/size", rdax_ns());
	EXPECT_EQ(end, number_in(path));
}

TEST_F(node, attributes)
{
	char path[128];

	EXPECT_EQ(SZ_4K, rdax_attr("align"));
	snprintf(path, sizeof(path), ND_DEVICES "/%s/resource", rdax_ns());
	EXPECT_EQ(number_in(path), rdax_attr("resource"));
	snprintf(path, sizeof(path), ND_DEVICES "/%s/numa_node", rdax_ns());
	EXPECT_EQ(number_in(path), rdax_attr("numa_node"));
}

static int as_nobody(void *path)
{
	if (setgid(65534) || setuid(65534))
		return 255;
	if (access(path, R_OK))
		return errno;
	return number_in(path) == UINT64_MAX ? EIO : 0;
}

/* A physical address is root's business; the counters are everybody's. */
TEST_F(node, who_may_read)
{
	struct stat st;

	ASSERT_EQ(0, stat(RDAX_CLASS "/resource", &st));
	EXPECT_EQ(0400, st.st_mode & 0777);
	EXPECT_EQ(EACCES, rdax_bounded(as_nobody, RDAX_CLASS "/resource", RDAX_PATIENCE));
	EXPECT_EQ(0, rdax_bounded(as_nobody, RDAX_CLASS "/size", RDAX_PATIENCE));
	EXPECT_EQ(0, rdax_bounded(as_nobody, RDAX_CLASS "/align", RDAX_PATIENCE));
	EXPECT_EQ(0, rdax_bounded(as_nobody, RDAX_CLASS "/faults/pmd_mapped", RDAX_PATIENCE));
	EXPECT_EQ(0, rdax_bounded(as_nobody, RDAX_CLASS "/entries/created", RDAX_PATIENCE));
}

/* Nobody may write an attribute, and the node itself isn't open to all. */
TEST_F(node, who_may_write)
{
	EXPECT_EQ(0, self->st.st_mode & 0007);
	EXPECT_NE(0, rdax_write_file(RDAX_CLASS "/size", "1"));
	EXPECT_NE(0, rdax_write_file(RDAX_CLASS "/faults/pmd_mapped", "1"));
}

TEST_F(node, lseek)
{
	off_t size = rdax_size();

	EXPECT_EQ(SZ_2M, lseek(self->fd, SZ_2M, SEEK_SET));
	EXPECT_EQ(SZ_2M + 5, lseek(self->fd, 5, SEEK_CUR));
	EXPECT_EQ(SZ_2M + 5, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(size, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(size - 1, lseek(self->fd, -1, SEEK_END));
	EXPECT_EQ(size, lseek(self->fd, size, SEEK_SET));

	EXPECT_EQ(-1, lseek(self->fd, -1, SEEK_SET));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, lseek(self->fd, size + 1, SEEK_SET));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, lseek(self->fd, 0, 77));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(size, lseek(self->fd, 0, SEEK_CUR));
}

/* Where a file is, what is read there, and how far that moves it, are one thing. */
TEST_F(node, lseek_and_read)
{
	off_t size = rdax_size();
	char *map = rdax_map(self->fd, 0, SZ_2M), byte;
	int other;

	ASSERT_NE(MAP_FAILED, map);
	for (int i = 0; i < 100; i++)
		map[i] = i + 1;
	EXPECT_EQ(50, lseek(self->fd, 50, SEEK_SET));
	EXPECT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ(51, byte);
	EXPECT_EQ(41, lseek(self->fd, -10, SEEK_CUR));
	EXPECT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ(42, byte);
	EXPECT_EQ(1, write(self->fd, "x", 1));
	EXPECT_EQ('x', map[42]);
	EXPECT_EQ(43, lseek(self->fd, 0, SEEK_CUR));
	/* The mapping does not move it. */
	EXPECT_EQ(0, rdax_load(map + SZ_4K));
	EXPECT_EQ(43, lseek(self->fd, 0, SEEK_CUR));

	/* At the end there is nothing more; one byte before it there is one. */
	EXPECT_EQ(size, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(0, read(self->fd, &byte, 1));
	EXPECT_EQ(size - 1, lseek(self->fd, -1, SEEK_CUR));
	EXPECT_EQ(1, read(self->fd, &byte, 1));
	EXPECT_EQ(0, read(self->fd, &byte, 1));
	EXPECT_EQ(size, lseek(self->fd, 0, SEEK_CUR));

	/* Each open has its own position, whatever it was opened for. */
	for (int flags = O_RDONLY; flags <= O_RDWR; flags++) {
		other = open(RDAX_NODE, flags | O_CLOEXEC);
		ASSERT_GE(other, 0);
		EXPECT_EQ(0, lseek(other, 0, SEEK_CUR));
		EXPECT_EQ(size, lseek(other, 0, SEEK_END));
		close(other);
	}
	EXPECT_EQ(size, lseek(self->fd, 0, SEEK_CUR));
}

/* There is data everywhere, and no way to ask: as on a block device's node. */
TEST_F(node, no_seek_for_data)
{
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_DATA));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_HOLE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_CUR));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
