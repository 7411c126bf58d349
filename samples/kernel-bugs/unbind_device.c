// SPDX-License-Identifier: GPL-2.0
/*
 * unbind_device DEVICE buffer|rebind|reopen: what device_dax does when it is unbound while in use. DEVICE is
 * its name, as dax0.0.
 *
 * buffer	with an io_uring buffer in its memory: an oops when the buffer is given back
 * rebind	with a file open, bound again, the file closed, unbound: refcount_t: underflow
 * reopen	with a file open, then opened once more and mapped: a NULL dereference in
 *		__check_vma()
 */
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "map.h"

static void tell_driver(const char *what, const char *device)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/dax/drivers/device_dax/%s", what);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, device, strlen(device)) < 0)
		err(1, "%s", path);
	close(fd);
	say(what);
}

static void keep_buffer(int fd, const char *device)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { map_first(fd, SZ_2M), SZ_2M };
	int ring = syscall(SYS_io_uring_setup, 4, &params);

	touch(iov.iov_base);
	if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
		err(1, "io_uring");
	tell_driver("unbind", device);
	close(ring);
	say("the buffer is given back");
	sleep(1);
}

static void rebind(int fd, const char *device)
{
	tell_driver("unbind", device);
	tell_driver("bind", device);
	close(fd);
	say("closed");
	tell_driver("unbind", device);
}

static void reopen(const char *device, const char *node)
{
	int fd;

	tell_driver("unbind", device);
	fd = open(node, O_RDWR);
	if (fd < 0)
		err(1, "%s", node);
	say("opened");
	map_first(fd, SZ_2M);
	say("mapped");
}

int main(int argc, char **argv)
{
	char node[64];
	int fd;

	if (argc < 3)
		errx(2, "usage: unbind_device dax0.0 buffer|rebind|reopen");
	snprintf(node, sizeof(node), "/dev/%s", argv[1]);
	fd = open(node, O_RDWR);
	if (fd < 0)
		err(1, "%s", node);
	if (!strcmp(argv[2], "buffer"))
		keep_buffer(fd, argv[1]);
	else if (!strcmp(argv[2], "rebind"))
		rebind(fd, argv[1]);
	else
		reopen(argv[1], node);
	return 0;
}
