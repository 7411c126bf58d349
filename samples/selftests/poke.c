// SPDX-License-Identifier: GPL-2.0
/*
 * One step for a shell test, with the errno by name where the shell has only a
 * sentence: prints "ok" or EBUSY, ENOENT, ... Never waits longer than rdax.h
 * says for a write that the kernel doesn't come back from (ETIMEDOUT).
 *
 *   poke write FILE TEXT        e.g. a namespace's name into a driver's `bind`
 *   poke rmmod MODULE
 *   poke open FILE
 *   poke sync-map FILE          with MAP_SYNC
 *   poke leaf 4K|2M|1G FILE OFFSET
 *                               "write-back" if a leaf of that size maps the file there,
 *                               otherwise its bits and its size; needs the module rdax_leaf
 *   poke hold open|map FILE     then stay until standard input ends; `map`
 *                               closes the fd and keeps the mapping alone
 *   poke hold both FILE         both stay; then "gone" if each call and access finds the
 *                               device gone, otherwise which did not
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
	bool both = !strcmp(how, "both");
	int fd = open(file, O_RDWR);
	const char *alive;
	char *map = NULL, byte;

	if (fd < 0)
		return verdict(errno);
	if (both || !strcmp(how, "map")) {
		map = rdax_map(fd, 0, SZ_2M);
		if (map == MAP_FAILED || rdax_store(map))
			return verdict(errno ?: EFAULT);
		if (!both)
			close(fd);
	}
	verdict(0);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	if (both) {
		alive = rdax_map_alive(map, SZ_2M) ?: rdax_file_alive(fd);
		puts(alive ?: "gone");
		return !!alive;
	}
	return 0;
}

static int sync_map(const char *file)
{
	int fd = open(file, O_RDWR);
	char *map;

	if (fd < 0)
		return verdict(errno);
	map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	return verdict(map == MAP_FAILED ? errno : 0);
}

/* Of x86: which memory type a leaf chooses. */
#define LEAF_PWT	(UINT64_C(1) << 3)
#define LEAF_PCD	(UINT64_C(1) << 4)
#define LEAF_PAT	(UINT64_C(1) << 7)
#define LEAF_PAT_LARGE	(UINT64_C(1) << 12)
#define LEAF_PARAM	"/sys/module/rdax_leaf/parameters/address"

static int leaf(const char *size, const char *file, uint64_t offset)
{
	uint64_t bytes = !strcmp(size, "4K") ? SZ_4K : !strcmp(size, "2M") ? SZ_2M : SZ_1G;
	uint64_t len = bytes == SZ_4K ? SZ_2M : bytes;
	bool small = bytes == SZ_4K;
	int fd = open(file, O_RDWR), param = open(LEAF_PARAM, O_WRONLY);
	unsigned long bits, mapped, type = LEAF_PWT | LEAF_PCD | (small ? LEAF_PAT : LEAF_PAT_LARGE);
	char *map, text[32];

	if (fd < 0 || param < 0)
		return verdict(errno);
	map = rdax_map(fd, offset, len);
	if (map == MAP_FAILED || (small && madvise(map, len, MADV_NOHUGEPAGE)) ||
	    rdax_store(map))
		return verdict(EFAULT);
	snprintf(text, sizeof(text), "%p", (void *)map);
	/* Here, because the module looks at the process that writes. */
	if (write(param, text, strlen(text)) < 0)
		return verdict(errno);
	if (sscanf(rdax_text(LEAF_PARAM), "%lx %lu", &bits, &mapped) != 2)
		return verdict(EINVAL);
	if (mapped == bytes && !(bits & type)) {
		puts("write-back");
		return 0;
	}
	printf("%#lx, of %lu bytes\n", bits, mapped);
	return 1;
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
	if (argc == 3 && !strcmp(argv[1], "sync-map"))
		return sync_map(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "leaf"))
		return leaf(argv[2], argv[3], strtoull(argv[4], NULL, 0));
	if (argc == 4 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv[3]);
	fprintf(stderr, "usage: poke write FILE TEXT | rmmod MODULE | open FILE | sync-map FILE | leaf 4K|2M|1G FILE OFFSET | hold open|map|both FILE\n");
	return 2;
}
