// SPDX-License-Identifier: GPL-2.0
/*
 * dax_pmem2 NODE: libpmem2 on a device of the dax bus, as a program uses it that knows nothing of
 * rdax. Maps the device, stores by the library's functions, persists, and finds the data in another
 * mapping. For dax_tools.sh.
 */
#include <err.h>
#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct pmem2_map *map(int fd)
{
	struct pmem2_config *config;
	struct pmem2_source *source;
	struct pmem2_map *map;

	if (pmem2_config_new(&config) || pmem2_source_from_fd(&source, fd) ||
	    pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE) ||
	    pmem2_map_new(&map, config, source))
		errx(1, "libpmem2: %s", pmem2_errormsg());
	pmem2_source_delete(&source);
	pmem2_config_delete(&config);
	return map;
}

int main(int argc, char **argv)
{
	static const char text[] = "stored by libpmem2";
	struct pmem2_map *first, *second;
	const size_t at = 5 << 20;
	char *p;
	int fd;

	if (argc != 2)
		return 2;
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);
	first = map(fd);
	printf("granularity %d, %zu bytes\n", pmem2_map_get_store_granularity(first),
	       pmem2_map_get_size(first));
	p = pmem2_map_get_address(first);
	pmem2_get_memset_fn(first)(p + at, 0, 4096, 0);
	pmem2_get_memcpy_fn(first)(p + at, text, sizeof(text), 0);
	pmem2_get_persist_fn(first)(p + at, sizeof(text));
	if (pmem2_map_delete(&first))
		errx(1, "libpmem2: %s", pmem2_errormsg());
	second = map(fd);
	p = pmem2_map_get_address(second);
	if (strcmp(p + at, text))
		errx(1, "another mapping does not have it");
	pmem2_map_delete(&second);
	close(fd);
	return 0;
}
