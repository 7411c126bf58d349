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
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

/*
 * A task that has written to a file in sysfs, and has not returned to user space:
 * sendfile() from a file of a FUSE server that does not answer the second read.
 * What the kernel leaves to the return (fput()) must not be ours.
 */

struct server {
	const char *text;		/* what the file contains */
	int dev, asked, go;
};

static void reply(int dev, uint64_t unique, int error, const void *data, size_t len)
{
	char buf[SZ_4K];
	struct fuse_out_header out = { sizeof(out) + len, error, unique };

	memcpy(buf, &out, sizeof(out));
	memcpy(buf + sizeof(out), data, len);
	if (write(dev, buf, out.len) != out.len && errno != ENOENT)
		_exit(1);
}

static void serve_read(struct server *s, uint64_t unique, uint64_t offset)
{
	char byte = 0;

	if (!offset) {
		reply(s->dev, unique, 0, s->text, strlen(s->text));
		return;
	}
	if (write(s->asked, &byte, 1) != 1 || read(s->go, &byte, 1) < 0)
		_exit(1);
	reply(s->dev, unique, 0, "", 0);
}

static void serve(struct server *s)
{
	static char buf[FUSE_MIN_READ_BUFFER + SZ_4K];
	struct fuse_in_header in;
	struct fuse_attr attr = { .ino = 2, .size = SZ_4K, .mode = S_IFREG | 0444, .nlink = 1 };
	struct fuse_attr root = { .ino = 1, .mode = S_IFDIR | 0755, .nlink = 1 };

	while (read(s->dev, buf, sizeof(buf)) > 0) {
		const void *arg = buf + sizeof(in);

		memcpy(&in, buf, sizeof(in));
		switch (in.opcode) {
		case FUSE_INIT: {
			struct fuse_init_out out = { .major = 7, .minor = 31, .max_write = SZ_4K };

			reply(s->dev, in.unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_LOOKUP: {
			struct fuse_entry_out out = { .nodeid = 2, .attr = attr };

			reply(s->dev, in.unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_GETATTR: {
			struct fuse_attr_out out = { .attr = in.nodeid == 1 ? root : attr };

			reply(s->dev, in.unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_OPEN: {
			struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO };

			reply(s->dev, in.unique, 0, &out, sizeof(out));
			break;
		}
		case FUSE_READ:
			serve_read(s, in.unique, ((const struct fuse_read_in *)arg)->offset);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			reply(s->dev, in.unique, -EOPNOTSUPP, "", 0);
		}
	}
}

#define MOUNT	"/tmp/rdax-rmmod"

static int send_it(const char *to)
{
	/* O_DIRECT: splice() reads what is asked for, and no page ahead. */
	int in = open(MOUNT "/text", O_RDONLY | O_DIRECT), out = open(to, O_WRONLY);
	ssize_t n;

	if (in < 0 || out < 0)
		return 1;
	n = sendfile(out, in, NULL, SZ_4K);
	return n > 0 ? 0 : 2;
}

/* Writes `text` to the file `to`, and unloads the module before the write returns. */
static void unload_during_write(struct __test_metadata *_metadata, const char *to,
				const char *text)
{
	int asked[2], go[2], status;
	char options[64], byte;
	struct server s = { .text = text };
	pid_t server, sender;

	s.dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (s.dev < 0)
		SKIP(return, "there is no FUSE");
	mkdir(MOUNT, 0755);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", s.dev);
	ASSERT_EQ(0, mount("rdax", MOUNT, "fuse", MS_NOSUID | MS_NODEV, options));
	ASSERT_EQ(0, pipe(asked));
	ASSERT_EQ(0, pipe(go));
	s.asked = asked[1];
	s.go = go[0];
	server = fork();
	if (!server) {
		close(go[1]);
		serve(&s);
		_exit(0);
	}
	close(s.dev);
	close(go[0]);
	sender = fork();
	if (!sender) {
		close(s.dev);
		close(asked[1]);
		close(go[1]);
		_exit(send_it(to));
	}
	close(asked[1]);
	/* It has written, and asks for more. */
	EXPECT_EQ(1, read(asked[0], &byte, 1));
	EXPECT_TRUE(rdax_bound());
	EXPECT_EQ(0, rdax_unload_module());
	EXPECT_FALSE(loaded());
	close(go[1]);
	EXPECT_EQ(sender, waitpid(sender, &status, 0));
	EXPECT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status)) TH_LOG("status %#x", status);
	umount2(MOUNT, MNT_DETACH);
	EXPECT_EQ(server, waitpid(server, &status, 0));
	close(asked[0]);
	rmdir(MOUNT);
}

TEST_F(held, bind_under_way)
{
	ASSERT_EQ(0, rdax_unbind());
	unload_during_write(_metadata, ND_DRIVER "/bind", rdax_ns());
}

TEST_F(held, create_under_way)
{
	unload_during_write(_metadata, self->create, "1");
}

TEST_F(held, resize_under_way)
{
	unload_during_write(_metadata, RDAX_CLASS "/size", "2M");
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
