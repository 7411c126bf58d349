// SPDX-License-Identifier: GPL-2.0
/*
 * Shared by the tests of regions: see regions.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "regions.h"

#define CLASS	"/sys/class/dax/rdax%d/%s"
#define REGION	ND_DEVICES "/%s/rdax_region/%s"
#define EXTENTS	"/sys/kernel/debug/rdax/rdax%d/extents"

/* More devices than a test makes. */
#define MOST	64

const char *region_other(void)
{
	return getenv("RDAX_NS2") ?: getenv("RDAX_NS") ? NULL : "namespace1.0";
}

/*
 * Files
 */

const char *text_of(const char *path)
{
	static char buf[2 * SZ_4K];
	size_t n;

	snprintf(buf, sizeof(buf), "%s", rdax_text(path));
	n = strlen(buf);
	if (n && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	return buf;
}

static uint64_t number_of(const char *path)
{
	const char *text = text_of(path);
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (end == text || *end)
		ksft_exit_fail_msg("no number in %s: %s\n", path, text);
	return n;
}

/* Where the test needs the very write, and no child that might hang in it. */
static int write_now(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

uint64_t region_number(const char *ns, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), REGION, ns, name);
	return number_of(path);
}

int region_write(const char *ns, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), REGION, ns, name);
	return write_now(path, text);
}

uint64_t dev_number(int minor, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), CLASS, minor, name);
	return number_of(path);
}

int dev_write(int minor, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), CLASS, minor, name);
	return write_now(path, text);
}

int dev_resize(int minor, uint64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes);
	return dev_write(minor, "size", text);
}

int dev_append(int minor, uint64_t offset, uint64_t len)
{
	char text[48];

	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 "\n", offset, len);
	return dev_write(minor, "extents", text);
}

int dev_open(int minor)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/rdax%d", minor);
	return open(path, O_RDWR | O_CLOEXEC);
}

/*
 * Regions
 */

int region_set_read_only(bool read_only)
{
	char path[128];

	snprintf(path, sizeof(path), ND_DEVICES "/%s/../read_only", rdax_ns());
	return rdax_write_file(path, read_only ? "1" : "0");
}

int region_create(void)
{
	int ret = region_write(rdax_ns(), "create", "1\n");
	char path[128];
	int minor;

	if (ret)
		return ret;
	snprintf(path, sizeof(path), REGION, rdax_ns(), "create");
	return sscanf(text_of(path), "rdax%d", &minor) == 1 ? minor : -EIO;
}

static int write_name(const char *file, int minor)
{
	char text[32];

	snprintf(text, sizeof(text), "rdax%d\n", minor);
	return region_write(rdax_ns(), file, text);
}

int region_create_named(int minor)
{
	return write_name("create", minor);
}

int region_delete(int minor)
{
	return write_name("delete", minor);
}

const char *dev_extents(int minor)
{
	char path[128];

	snprintf(path, sizeof(path), CLASS, minor, "extents");
	return text_of(path);
}

size_t dev_parts(int minor, struct region_part *parts, size_t max)
{
	uint64_t pgoff, behind = 0, first, pages;
	const char *line;
	char path[128];
	size_t n = 0;
	int len;

	snprintf(path, sizeof(path), EXTENTS, minor);
	line = text_of(path);
	while (*line) {
		if (sscanf(line, "0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 "%n", &pgoff, &first,
			   &pages, &len) != 3 || pgoff != behind)
			ksft_exit_fail_msg("%s: odd line: %s\n", path, line);
		if (n < max)
			parts[n] = (struct region_part){ first, pages };
		n++;
		behind += pages;
		line += len;
		line += *line == '\n';
	}
	if (behind * SZ_4K != dev_number(minor, "size"))
		ksft_exit_fail_msg("rdax%d: %" PRIu64 " pages in its extents\n", minor, behind);
	return n;
}

int region_holder(uint64_t page)
{
	struct region_part parts[MOST];
	char path[128];

	for (int minor = 0; minor < MOST; minor++) {
		snprintf(path, sizeof(path), CLASS, minor, "size");
		if (access(path, F_OK))
			continue;
		for (size_t n = dev_parts(minor, parts, MOST); n; n--)
			if (page - parts[n - 1].first < parts[n - 1].pages)
				return minor;
	}
	return -ENOENT;
}

static int descending(const void *left, const void *right)
{
	uint64_t a = *(uint64_t *)left, b = *(uint64_t *)right;

	return a < b ? 1 : a > b ? -1 : 0;
}

/*
 * What is cut off at the end is all that is free: the next device gets just that.
 * So the region is cut into its parts from the end, whatever their alignment is.
 */
static int cut_up(const struct region_part *parts, size_t n)
{
	uint64_t cuts[2 * MOST + 1], end = rdax_size() / SZ_4K;
	size_t count = 0;
	int ret, minor;

	cuts[count++] = 0;
	for (size_t i = 0; i < n; i++) {
		cuts[count++] = parts[i].first;
		cuts[count++] = parts[i].first + parts[i].pages;
	}
	qsort(cuts, count, sizeof(*cuts), descending);
	for (size_t i = 0; i < count; i++) {
		if (cuts[i] == end)
			continue;
		ret = dev_resize(0, cuts[i] * SZ_4K);
		minor = ret ?: region_create();
		ret = minor < 0 ? minor : dev_resize(minor, (end - cuts[i]) * SZ_4K);
		if (ret)
			return ret;
		end = cuts[i];
	}
	return 0;
}

int region_arrange(const struct region_part *parts, size_t n)
{
	struct region_part got[MOST];
	uint64_t pages = 0;
	int ret = rdax_fresh("4K");

	ret = ret ?: cut_up(parts, n);
	for (size_t i = 0; i < n && !ret; i++) {
		pages += parts[i].pages;
		ret = region_holder(parts[i].first);
		ret = ret < 0 ? ret : region_delete(ret);
		ret = ret ?: dev_resize(0, pages * SZ_4K);
	}
	if (!ret && (dev_parts(0, got, MOST) != n || memcmp(got, parts, n * sizeof(*parts)) ||
		     dev_number(0, "available_size")))
		ret = -ERANGE;
	return ret;
}

/*
 * Data
 */

static char *map_all(int minor, uint64_t *size)
{
	int fd = dev_open(minor);
	char *map;

	*size = dev_number(minor, "size");
	map = rdax_map(fd, 0, *size);
	close(fd);
	return map;
}

int dev_fill(int minor, uint64_t seed)
{
	uint64_t size;
	char *map = map_all(minor, &size);

	if (map == MAP_FAILED)
		return -errno;
	rdax_fill(map, 0, size, SZ_4K, seed);
	munmap(map, size);
	return 0;
}

uint64_t dev_wrong(int minor, uint64_t seed)
{
	uint64_t size, wrong;
	char *map = map_all(minor, &size);

	if (map == MAP_FAILED)
		return UINT64_MAX;
	wrong = rdax_wrong(map, 0, size, SZ_4K, seed);
	munmap(map, size);
	return wrong;
}

uint64_t region_wrong(const struct region_part *parts, size_t n, uint64_t seed)
{
	uint64_t size, pgoff = 0, wrong = 0;
	char *map = map_all(0, &size);

	if (map == MAP_FAILED)
		return UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		wrong += rdax_wrong(map + parts[i].first * SZ_4K, pgoff * SZ_4K,
				    parts[i].pages * SZ_4K, SZ_4K, seed);
		pgoff += parts[i].pages;
	}
	munmap(map, size);
	return wrong;
}

/*
 * The kernel log
 */

static int kmsg = -1;

void log_from_here(void)
{
	if (kmsg < 0)
		kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kmsg, 0, SEEK_END);
}

unsigned int count_logged(const char *text)
{
	unsigned int count = 0;
	char line[1024];
	ssize_t n;

	while ((n = read(kmsg, line, sizeof(line) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		line[n > 0 ? n : 0] = '\0';
		count += !!strstr(line, text);
	}
	return count;
}

bool logged(const char *text)
{
	return count_logged(text);
}
