// SPDX-License-Identifier: GPL-2.0
/*
 * A pattern that depends on a seed, for persist.sh: written through 4 KiB,
 * 2 MiB and 1 GiB mappings, each to its own part of the device, and read back
 * through another size than it was written with.
 *
 *   pattern write|verify SEED
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "rdax.h"

/* The head of the device stays free of random data: it might look like a file system. */
static const struct part {
	const char *name;
	uint64_t offset, len, step, written_by, read_by;
} parts[] = {
	{ "4 KiB pages",  SZ_2M, SZ_2M, 64, SZ_4K, SZ_2M },
	{ "2 MiB pages", 2 * SZ_2M, 8 * SZ_2M, 512, SZ_2M, SZ_4K },
	{ "a 1 GiB page", SZ_1G, SZ_1G, 16 * SZ_4K, SZ_1G, SZ_2M },
};

/* A mapping of the part that only pages of this size and smaller can serve. */
static char *map_part(int fd, const struct part *p, uint64_t bytes)
{
	char *map = rdax_map(fd, p->offset, p->len);

	if (map == MAP_FAILED)
		ksft_exit_fail_msg("mmap of the part with %s failed\n", p->name);
	if (bytes == SZ_4K)
		madvise(map, p->len, MADV_NOHUGEPAGE);
	if (bytes == SZ_2M && p->len >= SZ_1G)
		mprotect(map, SZ_2M, PROT_READ);	/* another VMA */
	return map;
}

int main(int argc, char **argv)
{
	bool write = argc == 3 && !strcmp(argv[1], "write");
	uint64_t seed, wrong;
	int fd;

	if (!write && (argc != 3 || strcmp(argv[1], "verify"))) {
		fprintf(stderr, "usage: pattern write|verify SEED\n");
		return 2;
	}
	seed = strtoull(argv[2], NULL, 0);
	fd = rdax_open();
	if (fd < 0)
		ksft_exit_fail_msg("can't open %s\n", RDAX_NODE);

	ksft_set_plan(ARRAY_SIZE(parts));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct part *p = &parts[i];
		uint64_t bytes = write ? p->written_by : p->read_by;
		struct rdax_counts before, d;
		char *map;

		if (rdax_size() < p->offset + p->len) {
			ksft_test_result_skip("%s: device too small\n", p->name);
			continue;
		}
		map = map_part(fd, p, bytes);
		rdax_counts(&before);
		if (write) {
			rdax_fill(map, p->offset, p->len, p->step, seed);
			if (msync(map, p->len, MS_SYNC))
				ksft_exit_fail_perror("msync");
		}
		wrong = rdax_wrong(map, p->offset, p->len, p->step, seed);
		rdax_delta(&before, &d);
		ksft_print_msg("%s with 4 KiB: %llu, 2 MiB: %llu, 1 GiB: %llu faults\n",
			       write ? "written" : "read",
			       (unsigned long long)d.pte_mapped,
			       (unsigned long long)d.pmd_mapped,
			       (unsigned long long)d.pud_mapped);
		ksft_test_result(!wrong && rdax_mapped(&d, bytes),
				 "%s: %llu words %s, %llu wrong\n", p->name,
				 (unsigned long long)(p->len / p->step),
				 write ? "written" : "read",
				 (unsigned long long)wrong);
		munmap(map, p->len);
	}
	ksft_finished();
}
