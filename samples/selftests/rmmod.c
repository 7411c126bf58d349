// SPDX-License-Identifier: GPL-2.0
/*
 * Unloading under everything that user space can hold. What needs the module's
 * code or data keeps it loaded (a file of the device, a mapping, a file in a
 * socket or registered with io_uring); what does not, lets it go, and is read,
 * opened again and closed when the module is gone. The kernel's console must
 * stay clean.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "ring.h"

#define MODULE	"/sys/module/rdax"
#define VIEWS	"/sys/kernel/debug/rdax/rdax0"
#define PATH	128

static bool loaded(void)
{
	return !access(MODULE, F_OK);
}

FIXTURE(held) {
	char create[PATH], region_size[PATH];
};

FIXTURE_SETUP(held)
{
	if (!loaded())
		rdax_load_module();
	ASSERT_EQ(0, rdax_fresh("4K"));
	/* Mounts debugfs if need be. */
	rdax_entries();
	snprintf(self->create, PATH, ND_DEVICES "/%s/rdax_region/create", rdax_ns());
	snprintf(self->region_size, PATH, ND_DEVICES "/%s/rdax_region/size", rdax_ns());
}

FIXTURE_TEARDOWN(held)
{
	if (!loaded())
		rdax_load_module();
}

/* Files that do not keep the module, before and after it went. */

static const char * const views[] = { VIEWS "/entries", VIEWS "/events", VIEWS "/extents" };

TEST_F(held, debugfs_open)
{
	int fds[ARRAY_SIZE(views)];
	char buf[SZ_4K];

	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		fds[i] = open(views[i], O_RDONLY);
		ASSERT_LE(0, fds[i]);
		/* There are no entries yet. */
		ASSERT_EQ(i > 0, read(fds[i], buf, 16) > 0);
	}
	ASSERT_EQ(0, rdax_unload_module());
	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		EXPECT_EQ(-1, pread(fds[i], buf, sizeof(buf), 0));
		EXPECT_EQ(EIO, errno);
		EXPECT_EQ(0, close(fds[i]));
	}
}

/* Such a file is not open for debugfs: opening it again looks for its operations. */
TEST_F(held, debugfs_path)
{
	int fds[ARRAY_SIZE(views)];
	char path[PATH];

	/* Files that nobody has opened. */
	ASSERT_EQ(0, rdax_fresh("4K"));
	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		fds[i] = open(views[i], O_PATH);
		ASSERT_LE(0, fds[i]);
	}
	ASSERT_EQ(0, rdax_unload_module());
	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		EXPECT_EQ(-1, open(path, O_RDONLY));
		EXPECT_EQ(ENOENT, errno);
		close(fds[i]);
	}
}

TEST_F(held, sysfs_open)
{
	const char * const files[] = {
		RDAX_CLASS "/size", RDAX_CLASS "/extents", RDAX_CLASS "/faults/raced",
		self->create, self->region_size, RDAX_PARAMS "/align", ND_DRIVER "/uevent",
		ND_DRIVER "/bind", ND_DRIVER "/unbind",
	};
	int fds[ARRAY_SIZE(files)];
	char buf[64] = "";

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct stat st;

		ASSERT_EQ(0, stat(files[i], &st)) TH_LOG("%s", files[i]);
		fds[i] = open(files[i], st.st_mode & 0400 ? O_RDONLY : O_WRONLY);
		ASSERT_LE(0, fds[i]) TH_LOG("%s", files[i]);
		ASSERT_TRUE(!(st.st_mode & 0400) || read(fds[i], buf, sizeof(buf)) > 0)
			TH_LOG("%s", files[i]);
	}
	ASSERT_EQ(0, rdax_unload_module());
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		ssize_t n = fcntl(fds[i], F_GETFL) & O_WRONLY ?
			pwrite(fds[i], rdax_ns(), strlen(rdax_ns()), 0) :
			pread(fds[i], buf, sizeof(buf), 0);

		EXPECT_EQ(-1, n);
		EXPECT_EQ(ENODEV, errno) TH_LOG("%s", files[i]);
		EXPECT_EQ(0, close(fds[i]));
	}
}

TEST_F(held, node_path)
{
	int fd = open(RDAX_NODE, O_PATH);
	char path[PATH];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, rdax_unload_module());
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	EXPECT_EQ(-1, open(path, O_RDONLY));
	EXPECT_EQ(ENXIO, errno);
	close(fd);
}

TEST_F(held, inotify)
{
	const char * const paths[] = {
		RDAX_NODE, RDAX_CLASS "/size", RDAX_CLASS "/", VIEWS "/events", VIEWS,
		self->create, ND_DRIVER "/bind", MODULE,
	};
	char buf[SZ_4K];
	int fd = inotify_init1(IN_NONBLOCK);

	ASSERT_LE(0, fd);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		ASSERT_LE(0, inotify_add_watch(fd, paths[i], IN_ALL_EVENTS))
			TH_LOG("%s", paths[i]);
	}
	ASSERT_EQ(0, rdax_unload_module());
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(0, close(fd));
}

/* Bytes of the device in a pipe are copies. */
TEST_F(held, pipe)
{
	int fd = rdax_open(), ends[2];
	char got[SZ_4K], wanted[SZ_4K];

	memset(wanted, 0x5a, sizeof(wanted));
	ASSERT_EQ(sizeof(wanted), pwrite(fd, wanted, sizeof(wanted), 0));
	ASSERT_EQ(0, pipe(ends));
	ASSERT_EQ(sizeof(got), splice(fd, NULL, ends[1], NULL, sizeof(got), 0));
	close(fd);
	ASSERT_EQ(0, rdax_unload_module());
	EXPECT_EQ(sizeof(got), read(ends[0], got, sizeof(got)));
	EXPECT_EQ(0, memcmp(got, wanted, sizeof(got)));
	close(ends[0]);
	close(ends[1]);
}

/* Files that keep the module until they are gone. */

/* What lets go of the last file may be another task, a moment later. */
static int unload_soon(void)
{
	int ret = -EAGAIN;

	for (int i = 0; i < RDAX_PATIENCE * 100 && ret == -EAGAIN; i++) {
		ret = rdax_unload_module();
		if (ret)
			usleep(10000);
	}
	return ret;
}

TEST_F(held, node_in_a_socket)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fd = rdax_open(), ends[2];

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	ASSERT_EQ(1, sendmsg(ends[0], &msg, 0));
	close(fd);
	EXPECT_EQ(-EAGAIN, rdax_unload_module());
	close(ends[0]);
	EXPECT_EQ(-EAGAIN, rdax_unload_module());
	close(ends[1]);
	EXPECT_EQ(0, unload_soon());
}

TEST_F(held, node_in_a_ring)
{
	struct ring ring;
	int fd = rdax_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ring_setup(&ring, 0));
	ASSERT_EQ(0, syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, &fd, 1));
	close(fd);
	EXPECT_EQ(-EAGAIN, rdax_unload_module());
	ASSERT_EQ(0, syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_FILES, NULL, 0));
	EXPECT_EQ(0, unload_soon());
	close(ring.fd);
}

TEST_F(held, mapping)
{
	int fd = rdax_open();
	char *map = rdax_map(fd, 0, SZ_2M);

	ASSERT_NE(MAP_FAILED, map);
	close(fd);
	ASSERT_EQ(0, rdax_store(map));
	EXPECT_EQ(-EAGAIN, rdax_unload_module());
	/* Also when the device is gone. */
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(SIGBUS, rdax_load(map));
	EXPECT_EQ(-EAGAIN, rdax_unload_module());
	munmap(map, SZ_2M);
	EXPECT_EQ(0, unload_soon());
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
