// SPDX-License-Identifier: GPL-2.0
/*
 * One step for a shell test, with the errno by name where the shell has only a
 * sentence: prints "ok" or EBUSY, ENOENT, ... Never waits longer than rdax.h
 * says for a write that the kernel doesn't come back from (ETIMEDOUT).
 *
 *   poke write FILE TEXT        e.g. a namespace's name into a driver's `bind`
 *   poke rmmod MODULE
 *   poke open FILE
 *   poke hold open|map FILE     then stay until standard input ends; `map`
 *                               closes the fd and keeps the mapping alone
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rdax.h"

static int verdict(int err)
{
	puts(err ? strerrorname_np(err) : "ok");
	fflush(stdout);
	return err != 0;
}

static int hold(const char *how, const char *file)
{
	int fd = open(file, O_RDWR);
	char *map, byte;

	if (fd < 0)
		return verdict(errno);
	if (!strcmp(how, "map")) {
		map = rdax_map(fd, 0, SZ_2M);
		if (map == MAP_FAILED || rdax_store(map))
			return verdict(errno ?: EFAULT);
		close(fd);
	}
	verdict(0);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc == 4 && !strcmp(argv[1], "write"))
		return verdict(-rdax_write_file(argv[2], argv[3]));
	if (argc == 3 && !strcmp(argv[1], "rmmod"))
		return verdict(syscall(SYS_delete_module, argv[2], O_NONBLOCK) ?
			       errno : 0);
	if (argc == 3 && !strcmp(argv[1], "open")) {
		fd = open(argv[2], O_RDWR);
		return verdict(fd < 0 ? errno : 0);
	}
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv[3]);
	fprintf(stderr, "usage: poke write FILE TEXT | rmmod MODULE | open FILE | hold open|map FILE\n");
	return 2;
}
