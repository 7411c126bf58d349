// SPDX-License-Identifier: GPL-2.0
/*
 * busy NODE: for daxbus.sh, tasks that use a device in every way until it is gone.
 *
 * Prints "busy" when all of them work. When the device is removed, each must find that: SIGBUS for an
 * access, ENXIO for a call. Prints "gone" and exits with 0 if all did; otherwise says what else came.
 * Files and mappings stay until then, so the removal finds all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdax.h"

#define WINDOW	(2 * SZ_2M)
#define TASKS	6

struct task {
	int fd;
	char *map;
	unsigned int turn;
};

/* Each returns 0, or the errno that ended it; a signal counts as ENXIO if it is SIGBUS. */
static int store(struct task *t)
{
	int sig = rdax_store(t->map + t->turn * SZ_4K % WINDOW);

	return !sig ? 0 : sig == SIGBUS ? ENXIO : EFAULT;
}

static int load(struct task *t)
{
	int sig = rdax_load(t->map + t->turn * SZ_4K % WINDOW);

	/* Unmapped again, so that the next load faults. */
	if (t->turn % 64 == 0)
		madvise(t->map, WINDOW, MADV_DONTNEED);
	return !sig ? 0 : sig == SIGBUS ? ENXIO : EFAULT;
}

static int sync_all(struct task *t)
{
	return fsync(t->fd) ? errno : 0;
}

static int punch(struct task *t)
{
	return -rdax_punch(t->fd, t->turn % 2 * SZ_2M, SZ_2M);
}

static int read_some(struct task *t)
{
	static char buf[16384];

	return pread(t->fd, buf, sizeof(buf), t->turn * SZ_4K % SZ_2M) < 0 ? errno : 0;
}

static int write_some(struct task *t)
{
	static char buf[16384];

	return pwrite(t->fd, buf, sizeof(buf), t->turn * SZ_4K % SZ_2M) < 0 ? errno : 0;
}

static int (*const uses[TASKS])(struct task *) = {
	store, load, sync_all, punch, read_some, write_some,
};

static int use(const char *node, int number, int tell)
{
	struct task t = { .fd = open(node, O_RDWR) };
	int err;

	if (t.fd < 0)
		return errno;
	t.map = rdax_map(t.fd, 0, WINDOW);
	if (t.map == MAP_FAILED)
		return errno;
	while (!(err = uses[number](&t))) {
		if (t.turn++ == 3 && write(tell, "w", 1) != 1) {
			err = EPIPE;
			break;
		}
	}
	/* All else ends, too: what is mapped a little later than what is called. */
	for (int i = 0; err == ENXIO; i++) {
		if (!rdax_map_alive(t.map, WINDOW) && !rdax_file_alive(t.fd))
			break;
		if (i == RDAX_PATIENCE * 10)
			err = EEXIST;
		usleep(100000);
	}
	return err;
}

int main(int argc, char **argv)
{
	int tell[2], status, bad = 0;
	char byte;

	if (argc != 2 || pipe(tell)) {
		fprintf(stderr, "usage: busy NODE\n");
		return 2;
	}
	for (int i = 0; i < TASKS; i++) {
		if (!fork())
			_exit(use(argv[1], i, tell[1]));
	}
	close(tell[1]);
	for (int i = 0; i < TASKS; i++) {
		if (read(tell[0], &byte, 1) != 1) {
			puts("not busy");
			return 1;
		}
	}
	puts("busy");
	fflush(stdout);
	while (wait(&status) > 0) {
		if (WIFEXITED(status) && WEXITSTATUS(status) == ENXIO)
			continue;
		bad = 1;
		if (WIFEXITED(status))
			printf("ended with %s\n", strerrorname_np(WEXITSTATUS(status)));
		else
			printf("ended by signal %d\n", WTERMSIG(status));
	}
	if (!bad)
		puts("gone");
	return bad;
}
