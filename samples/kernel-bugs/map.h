/* SPDX-License-Identifier: GPL-2.0 */
#ifndef KERNEL_BUGS_MAP_H
#define KERNEL_BUGS_MAP_H

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#define SZ_4K	(1UL << 12)
#define SZ_2M	(1UL << 21)
#define SZ_1G	(1UL << 30)

static inline int open_device(int argc, char **argv)
{
	int fd;

	if (argc < 2)
		errx(2, "usage: %s DEVICE [...]", argv[0]);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);
	return fd;
}

/* The first bytes of a device, all at an address that is a multiple of their length. */
static inline char *map_first(int fd, unsigned long len)
{
	char *room = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *map = (char *)(((uintptr_t)room + len - 1) & ~(len - 1));

	if (room == MAP_FAILED ||
	    mmap(map, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != map)
		err(1, "mmap");
	return map;
}

/* A leaf is there afterwards. */
static inline void touch(char *map)
{
	__atomic_store_n(map, 1, __ATOMIC_RELAXED);
}

/* What a program is about to do is on the terminal, even if the kernel ends there. */
static inline void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

#endif /* KERNEL_BUGS_MAP_H */
