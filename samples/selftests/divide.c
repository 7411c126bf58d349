// SPDX-License-Identifier: GPL-2.0
/*
 * The division of a region into devices, as user space keeps it and makes it again: a bind without
 * a first device, devices by name, extents read and written, and what each of these refuses. The
 * bytes of a device are found again at their place, and no device gets those of another.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"

/* How many minor numbers there are. */
#define NUMBERS	(1 << 20)
#define FILE_MAX	"/proc/sys/fs/file-max"

static int set_divided(const char *names)
{
	return rdax_write_file(RDAX_PARAMS "/divided", names);
}

static uint64_t available(void)
{
	return region_number(rdax_ns(), "available_size");
}

/* The physical address of the first byte of the region. */
static uint64_t start_of_region(void)
{
	char path[128];

	snprintf(path, sizeof(path), ND_DEVICES "/%s/resource", rdax_ns());
	return strtoull(text_of(path), NULL, 0);
}

static const char *youngest(void)
{
	char path[128];

	snprintf(path, sizeof(path), ND_DEVICES "/%s/rdax_region/create", rdax_ns());
	return text_of(path);
}

static bool is_there(int minor)
{
	char node[64], class[64];

	snprintf(node, sizeof(node), "/dev/rdax%d", minor);
	snprintf(class, sizeof(class), "/sys/class/dax/rdax%d", minor);
	return !access(node, F_OK) && !access(class, F_OK);
}

/* Each test begins with a region that has no device. */
FIXTURE(divide)
{
	uint64_t size;
};

FIXTURE_SETUP(divide)
{
	ASSERT_EQ(0, set_divided(rdax_ns()));
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->size = region_number(rdax_ns(), "size");
	if (self->size < 64 * SZ_2M)
		SKIP(return, "namespace too small");
}

FIXTURE_TEARDOWN(divide)
{
	set_divided("\n");
}

TEST_F(divide, reasons)
{
	log_from_here();
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_TRUE(logged("bound without a device because parameter divided lists it"));
	ASSERT_EQ(0, region_create_named(0));
	EXPECT_EQ(-EEXIST, region_create_named(0));
	EXPECT_TRUE(logged("create rdax0 refused: there is a device of that name"));
	EXPECT_EQ(-ENOSPC, region_create_named(NUMBERS));
	EXPECT_TRUE(logged("create rdax1048576 refused: there is no such number, the largest is"));
	EXPECT_EQ(-EINVAL, dev_write(0, "extents", "all"));
	EXPECT_TRUE(logged("extents all refused: not an offset and a length"));
	EXPECT_EQ(-EINVAL, dev_append(0, 0, 1));
	EXPECT_TRUE(logged("extents 0 1 refused: empty, beyond the region, or not a multiple of"));
	ASSERT_EQ(0, dev_append(0, 0, SZ_4K));
	EXPECT_EQ(-EBUSY, dev_append(0, 0, SZ_4K));
	EXPECT_TRUE(logged("extents 0 4096 refused: not all of it is free"));
}

/* What the write says with no capability to open more files than the system has. */
static int write_without_capability(int file, const char *text)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { 0 };
	pid_t child = fork();
	int status;

	if (!child) {
		if (syscall(SYS_capset, &header, none))
			_exit(255);
		_exit(write(file, text, strlen(text)) < 0 ? errno : 0);
	}
	waitpid(child, &status, 0);
	return -WEXITSTATUS(status);
}

/* The reason is the real one, also when a device can't be made at a bind. */
TEST_F(divide, no_file_left)
{
	char path[128], max[64];
	int create, bind, error_create, error_bind;

	snprintf(max, sizeof(max), "%s", rdax_text(FILE_MAX));
	snprintf(path, sizeof(path), ND_DEVICES "/%s/rdax_region/create", rdax_ns());
	create = open(path, O_WRONLY | O_CLOEXEC);
	bind = open("/sys/bus/nd/drivers/rdax/bind", O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, create);
	ASSERT_LE(0, bind);
	ASSERT_EQ(0, set_divided("\n"));
	log_from_here();

	/* The kernel counts open files on each CPU. With few of them, its total can still be 0. */
	for (long i = sysconf(_SC_NPROCESSORS_ONLN) * 64; i; i--)
		ASSERT_LE(0, open("/dev/null", O_RDONLY | O_CLOEXEC));
	ASSERT_EQ(0, rdax_write_file(FILE_MAX, "1"));
	error_create = write_without_capability(create, "1");
	rdax_unbind();
	error_bind = write_without_capability(bind, rdax_ns());
	ASSERT_EQ(0, rdax_write_file(FILE_MAX, max));

	EXPECT_EQ(-ENFILE, error_create);
	EXPECT_EQ(-ENFILE, error_bind);
	EXPECT_EQ(2, count_logged("too many files are open in the system"));
	close(create);
	close(bind);
}

/*
 * A bind without a first device
 */

TEST_F(divide, no_device_at_first)
{
	EXPECT_TRUE(rdax_bound());
	EXPECT_EQ(-1, access("/dev/rdax0", F_OK));
	EXPECT_EQ(-ENOENT, region_holder(0));
	EXPECT_EQ(self->size, available());
	EXPECT_STREQ("", youngest());

	ASSERT_EQ(0, region_create());
	EXPECT_EQ(0, dev_number(0, "size"));
	ASSERT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(0, available());

	/* The next bind is asked again. */
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_EQ(self->size, available());
	ASSERT_EQ(0, set_divided("\n"));
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_EQ(self->size, rdax_size());
}

/* Minor numbers once ended at 255. */
TEST_F(divide, more_than_256)
{
	int fd;

	for (int i = 0; i < 300; i++)
		ASSERT_EQ(i, region_create());
	ASSERT_EQ(0, dev_append(299, 0, SZ_2M));
	ASSERT_EQ(0, dev_fill(299, 1));
	EXPECT_EQ(0, dev_wrong(299, 1));
	fd = dev_open(298);
	EXPECT_EQ(0, lseek(fd, 0, SEEK_END));
	close(fd);
	EXPECT_EQ(0, region_delete(256));
	EXPECT_EQ(256, region_create());
	EXPECT_EQ(300, region_create());
}

TEST_F(divide, only_who_is_named)
{
	static const struct {
		const char *format;
		bool named;
		int ret;
	} lists[] = {
		{ "%s\n", true }, { "namespace9.9,%s", true }, { " %s , namespace9.9", true },
		{ "\n", false }, { "namespace9.9", false }, { "%s1", false },
		{ "1%s", false, -EINVAL }, { "namespace", false, -EINVAL },
		{ "all", false, -EINVAL }, { "%s namespace9.9", false, -EINVAL },
	};
	struct stat st = { 0 };
	char text[128];

	stat(RDAX_PARAMS "/divided", &st);
	EXPECT_EQ(0600, st.st_mode & 07777);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		snprintf(text, sizeof(text), lists[i].format, rdax_ns());
		/* What is refused leaves it as it was. */
		ASSERT_EQ(0, set_divided("\n"));
		ASSERT_EQ(lists[i].ret, set_divided(text)) TH_LOG("'%s'", text);
		ASSERT_EQ(0, rdax_fresh("4K"));
		EXPECT_EQ(lists[i].named ? self->size : 0, available()) TH_LOG("'%s'", text);
		EXPECT_EQ(!lists[i].named, is_there(0)) TH_LOG("'%s'", text);
	}
}

/*
 * Devices by name
 */

TEST_F(divide, by_name)
{
	struct stat st;

	ASSERT_EQ(0, region_write(rdax_ns(), "create", "rdax7"));
	EXPECT_STREQ("rdax7", youngest());
	ASSERT_TRUE(is_there(7));
	ASSERT_EQ(0, stat("/dev/rdax7", &st));
	EXPECT_EQ(7, minor(st.st_rdev));
	EXPECT_EQ(0, dev_number(7, "size"));
	EXPECT_EQ(SZ_4K, dev_number(7, "align"));
	ASSERT_EQ(0, dev_resize(7, SZ_2M));
	ASSERT_EQ(0, dev_fill(7, 1));
	EXPECT_EQ(0, dev_wrong(7, 1));

	/* The last one, and those between: the smallest that is free is used first. */
	ASSERT_EQ(0, region_create_named(NUMBERS - 1));
	ASSERT_EQ(0, stat("/dev/rdax1048575", &st));
	EXPECT_EQ(NUMBERS - 1, minor(st.st_rdev));
	ASSERT_EQ(0, dev_append(NUMBERS - 1, SZ_2M, SZ_4K));
	EXPECT_EQ(0, dev_fill(NUMBERS - 1, 2));
	ASSERT_EQ(0, region_create());
	ASSERT_EQ(0, region_create_named(2));
	EXPECT_EQ(1, region_create());
	EXPECT_EQ(3, region_create());
	EXPECT_STREQ("rdax3", youngest());
	EXPECT_TRUE(is_there(NUMBERS - 1) && is_there(2));

	/* What was deleted can be made again. */
	ASSERT_EQ(0, region_delete(7));
	EXPECT_FALSE(is_there(7));
	ASSERT_EQ(0, region_create_named(7));
	EXPECT_EQ(0, dev_number(7, "size"));
	EXPECT_TRUE(is_there(7));
}

TEST_F(divide, names_refused)
{
	static const char * const invalid[] = {
		"rdax", "rdax01", "rdax00", "rdax-1", "rdax+1", "rdax 1", "rdax1 ", " rdax1",
		"rdax1\n\n", "rdax1x", "rdax1,rdax2", "RDAX1", "dax1", "/dev/rdax1", "0", "2",
		"1 rdax1", "rdax18446744073709551616", "rdax0x1",
	}, * const large[] = { "rdax1048576", "rdax4294967296", "rdax18446744073709551615" };

	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
		EXPECT_EQ(-EINVAL, region_write(rdax_ns(), "create", invalid[i]))
			TH_LOG("'%s'", invalid[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		EXPECT_EQ(-ENOSPC, region_write(rdax_ns(), "create", large[i]))
			TH_LOG("'%s'", large[i]);
	}
	EXPECT_STREQ("", youngest());

	/* A taken name: the device that has it stays as it is. */
	ASSERT_EQ(0, region_create_named(4));
	ASSERT_EQ(0, dev_resize(4, SZ_2M));
	ASSERT_EQ(0, dev_fill(4, 1));
	EXPECT_EQ(0, region_create());
	EXPECT_EQ(-EEXIST, region_create_named(4));
	EXPECT_EQ(-EEXIST, region_create_named(0));
	EXPECT_STREQ("rdax0", youngest());
	EXPECT_EQ(SZ_2M, dev_number(4, "size"));
	EXPECT_EQ(0, dev_wrong(4, 1));
	/* Nor was any number used up. */
	EXPECT_EQ(1, region_create());
}

/*
 * Both at the same moment
 */

#define ROUNDS	100

struct racer {
	pthread_barrier_t *begin;
	int (*fn)(int n);
	int n, ret;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	pthread_barrier_wait(r->begin);
	r->ret = r->fn(r->n);
	return NULL;
}

/* fn(0) and fn(1): which of them returned 0? -1 if not just one did, and the other `refused`. */
static int winner(int (*fn)(int n), int refused)
{
	struct racer racers[2];
	pthread_barrier_t begin;
	pthread_t threads[2];

	pthread_barrier_init(&begin, NULL, 2);
	for (int i = 0; i < 2; i++) {
		racers[i] = (struct racer){ &begin, fn, i };
		pthread_create(&threads[i], NULL, race, &racers[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&begin);
	for (int i = 0; i < 2; i++) {
		if (!racers[i].ret && racers[!i].ret == refused)
			return i;
	}
	return -1;
}

static int create_five(int n)
{
	return region_create_named(5);
}

TEST_F(divide, one_name_at_once)
{
	for (int i = 0; i < ROUNDS; i++) {
		ASSERT_LE(0, winner(create_five, -EEXIST));
		ASSERT_EQ(0, region_delete(5));
	}
}

static int append_head(int n)
{
	return dev_append(n, 0, SZ_2M);
}

TEST_F(divide, one_extent_at_once)
{
	int who;

	ASSERT_EQ(0, region_create());
	ASSERT_EQ(1, region_create());
	for (int i = 0; i < ROUNDS; i++) {
		who = winner(append_head, -EBUSY);
		ASSERT_LE(0, who);
		ASSERT_EQ(SZ_2M, dev_number(who, "size"));
		ASSERT_EQ(0, dev_number(!who, "size"));
		ASSERT_EQ(0, dev_resize(who, 0));
	}
	EXPECT_EQ(self->size, available());
}

/*
 * Extents
 */

TEST_F(divide, extents_are_read)
{
	char text[64];

	ASSERT_EQ(0, region_create());
	EXPECT_STREQ("", dev_extents(0));
	ASSERT_EQ(0, dev_resize(0, self->size));
	snprintf(text, sizeof(text), "0 %" PRIu64, self->size);
	EXPECT_STREQ(text, dev_extents(0));
	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	EXPECT_STREQ("0 2097152", dev_extents(0));
	ASSERT_EQ(1, region_create());
	ASSERT_EQ(0, dev_resize(1, SZ_2M));
	EXPECT_STREQ("2097152 2097152", dev_extents(1));
	/* In the order of the device. */
	ASSERT_EQ(0, dev_resize(0, SZ_4K));
	ASSERT_EQ(0, dev_resize(1, self->size - SZ_4K));
	snprintf(text, sizeof(text), "2097152 %" PRIu64 "\n4096 2093056", self->size - SZ_2M);
	EXPECT_STREQ(text, dev_extents(1));
}

TEST_F(divide, extents_are_written)
{
	struct region_part parts[4];
	uint64_t start;
	char text[128];

	ASSERT_EQ(0, region_create());
	start = start_of_region();
	ASSERT_EQ(0, dev_write(0, "extents", "4M 4m"));
	EXPECT_STREQ("4194304 4194304", dev_extents(0));
	EXPECT_EQ(2 * SZ_2M, rdax_size());
	EXPECT_EQ(start + 2 * SZ_2M, dev_number(0, "resource"));
	EXPECT_EQ(self->size - 2 * SZ_2M, available());

	/* What follows in the region is the same extent; what lies before it is not. */
	ASSERT_EQ(0, dev_write(0, "extents", "8M 4K\n"));
	EXPECT_STREQ("4194304 4198400", dev_extents(0));
	ASSERT_EQ(0, dev_write(0, "extents", "4190208 4096"));
	EXPECT_STREQ("4194304 4198400\n4190208 4096", dev_extents(0));

	/* The first and the last page. */
	ASSERT_EQ(0, dev_append(0, self->size - SZ_4K, SZ_4K));
	ASSERT_EQ(0, dev_append(0, 0, SZ_4K));
	snprintf(text, sizeof(text), "4194304 4198400\n4190208 4096\n%" PRIu64 " 4096\n0 4096",
		 self->size - SZ_4K);
	EXPECT_STREQ(text, dev_extents(0));
	EXPECT_EQ(2 * SZ_2M + 4 * SZ_4K, rdax_size());
	EXPECT_EQ(self->size - 2 * SZ_2M - 4 * SZ_4K, available());
	ASSERT_EQ(4, dev_parts(0, parts, 4));
	EXPECT_EQ(2 * SZ_2M / SZ_4K, parts[0].first);
	EXPECT_EQ(2 * SZ_2M / SZ_4K + 1, parts[0].pages);
	EXPECT_EQ(0, parts[3].first);

	/* A shrink gives back what was added last, and it can be added again. */
	ASSERT_EQ(0, dev_resize(0, 2 * SZ_2M + 2 * SZ_4K));
	EXPECT_STREQ("4194304 4198400\n4190208 4096", dev_extents(0));
	EXPECT_EQ(0, dev_append(0, 0, SZ_4K));
}

TEST_F(divide, extents_refused)
{
	static const char * const malformed[] = {
		" ", "0", "4096", "all", "0 ", " 0 4096", "0  4096", "0 4096 ", "0 4096 4096",
		"0,4096", "0\t4096", "0\n4096", "0 4096\n\n", "0 4096\n8192 4096", "-4096 4096",
		"0 -4096", "0x0 0x1000", "0 4KiB", "K 4K", "0 K", "0 18446744073709551616",
		"18446744073709551616 4096", "0 16777216T", "0 4096;",
	};
	const struct {
		uint64_t offset, len;
	} bad[] = {
		{ 0, 0 }, { SZ_4K, 0 }, { self->size, 0 },
		{ 0, 1 }, { 0, SZ_4K - 1 }, { 0, SZ_4K + 1 }, { 1, SZ_4K }, { SZ_4K - 1, SZ_4K },
		{ 0, self->size + SZ_4K }, { SZ_4K, self->size }, { self->size, SZ_4K },
		{ self->size - SZ_4K, 2 * SZ_4K }, { 1ULL << 62, SZ_4K }, { 0, 1ULL << 62 },
		{ -SZ_4K, SZ_4K }, { -SZ_4K, 2 * SZ_4K }, { SZ_4K, -SZ_4K }, { -SZ_4K, -SZ_4K },
		{ UINT64_MAX, UINT64_MAX },
	};

	ASSERT_EQ(0, region_create());
	for (int i = 0; i < 2; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(malformed); j++) {
			EXPECT_EQ(-EINVAL, dev_write(0, "extents", malformed[j]))
				TH_LOG("'%s'", malformed[j]);
		}
		for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
			EXPECT_EQ(-EINVAL, dev_append(0, bad[j].offset, bad[j].len))
				TH_LOG("%" PRIx64 " %" PRIx64, bad[j].offset, bad[j].len);
		}
		EXPECT_EQ(i * SZ_4K, rdax_size());
		EXPECT_EQ(self->size - i * SZ_4K, available());
		/* Once more with a page. */
		if (!i)
			ASSERT_EQ(0, dev_append(0, 5 * SZ_4K, SZ_4K));
	}
	EXPECT_STREQ("20480 4096", dev_extents(0));
}

TEST_F(divide, extents_are_aligned)
{
	ASSERT_EQ(0, region_create());
	if (start_of_region() % SZ_2M)
		SKIP(return, "namespace not aligned");
	ASSERT_EQ(0, dev_write(0, "align", "2M"));
	EXPECT_EQ(-EINVAL, dev_append(0, 0, SZ_4K));
	EXPECT_EQ(-EINVAL, dev_append(0, 0, SZ_2M + SZ_4K));
	EXPECT_EQ(-EINVAL, dev_append(0, SZ_4K, SZ_2M));
	EXPECT_EQ(-EINVAL, dev_append(0, SZ_2M / 2, SZ_2M));
	EXPECT_EQ(0, rdax_size());
	EXPECT_EQ(0, dev_append(0, SZ_2M, SZ_2M));
	EXPECT_EQ(0, dev_append(0, 8 * SZ_2M, 2 * SZ_2M));
	EXPECT_EQ(-EINVAL, dev_append(0, 0, SZ_4K));
	EXPECT_EQ(3 * SZ_2M, rdax_size());

	/* It is that of the device: another one may have what lies between. */
	ASSERT_EQ(1, region_create());
	EXPECT_EQ(0, dev_append(1, 2 * SZ_2M, SZ_4K));
	EXPECT_EQ(0, dev_append(1, 0, SZ_4K));
	EXPECT_EQ(-EINVAL, dev_write(1, "align", "2M"));
	EXPECT_EQ(-EBUSY, dev_append(0, 2 * SZ_2M, SZ_2M));
	EXPECT_EQ(-EBUSY, dev_append(0, 0, SZ_2M));
	ASSERT_EQ(0, dev_resize(1, 0));
	EXPECT_EQ(0, dev_append(0, 2 * SZ_2M, SZ_2M));
	ASSERT_EQ(0, dev_write(1, "align", "1G"));
	EXPECT_EQ(-EINVAL, dev_append(1, 16 * SZ_2M, 16 * SZ_2M));
}

/* Whatever touches a page of another device is refused, all of it; and so are its own pages. */
TEST_F(divide, not_of_another)
{
	const uint64_t m = SZ_2M, p = SZ_4K;
	const struct {
		uint64_t offset, len;
	} bad[] = {
		/* All of one, parts of it, across its begin and its end. */
		{ m, m }, { m, p }, { 2 * m - p, p }, { m + p, p },
		{ m - p, 2 * p }, { 2 * m - p, 2 * p }, { m - p, m + 2 * p },
		/* Of the other, of both, of everything. */
		{ 2 * m, 2 * m }, { 3 * m, m + p }, { m, 3 * m }, { 2 * m - p, m },
		{ 0, self->size }, { m, self->size - m }, { 0, 8 * m },
	};
	char *maps[2];
	int fd;

	for (int i = 0; i < 3; i++)
		ASSERT_EQ(i, region_create());
	ASSERT_EQ(0, dev_append(0, m, m));
	ASSERT_EQ(0, dev_append(1, 2 * m, 2 * m));
	for (int i = 0; i < 2; i++) {
		fd = dev_open(i);
		maps[i] = rdax_map(fd, 0, m + i * m);
		ASSERT_NE(MAP_FAILED, maps[i]);
		close(fd);
		rdax_fill(maps[i], 0, m + i * m, SZ_4K, 1 + i);
	}
	for (int dev = 0; dev < 3; dev++) {
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			EXPECT_EQ(-EBUSY, dev_append(dev, bad[i].offset, bad[i].len))
				TH_LOG("rdax%d: %" PRIx64 " %" PRIx64, dev, bad[i].offset,
				       bad[i].len);
		}
		EXPECT_EQ(dev == 2 ? 0 : m + dev * m, dev_number(dev, "size"));
	}
	EXPECT_EQ(self->size - 3 * m, available());

	/* What lies around them is still to be had; and written to. */
	ASSERT_EQ(0, dev_append(2, 4 * m, m));
	ASSERT_EQ(0, dev_append(2, 0, m));
	ASSERT_EQ(0, dev_fill(2, 3));
	EXPECT_EQ(0, dev_append(2, 5 * m, self->size - 5 * m));
	EXPECT_EQ(0, available());
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(0, rdax_wrong(maps[i], 0, m + i * m, SZ_4K, 1 + i));
		munmap(maps[i], m + i * m);
	}

	/* Free is what its device has given back, and with it what it holds. */
	ASSERT_EQ(0, region_delete(0));
	ASSERT_EQ(0, region_create());
	EXPECT_EQ(0, dev_append(0, m, m));
	EXPECT_EQ(0, dev_wrong(0, 1));
}

TEST_F(divide, seen_at_once)
{
	uint64_t word;
	char *map;
	int fd;

	ASSERT_EQ(0, region_create());
	ASSERT_EQ(0, dev_append(0, 4 * SZ_2M, SZ_2M));
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	map = rdax_map(fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SZ_2M, SZ_4K, 1);
	EXPECT_EQ(0, pread(fd, &word, sizeof(word), SZ_2M));

	ASSERT_EQ(0, dev_append(0, 0, SZ_2M));
	EXPECT_EQ(2 * SZ_2M, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(8, pread(fd, &word, sizeof(word), SZ_2M));
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, SZ_4K, 1));
	munmap(map, SZ_2M);
	map = rdax_map(fd, 0, 2 * SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, 2 * SZ_2M, SZ_4K, 2);
	munmap(map, 2 * SZ_2M);
	close(fd);
	EXPECT_EQ(0, dev_wrong(0, 2));
}

/* As many whole lines as a page holds, the first ones; the size says that there are more. */
TEST_F(divide, more_than_a_page)
{
	const uint64_t base = self->size / 2 / SZ_4K * SZ_4K;
	uint64_t offset, len, sum = 0;
	const int extents = 400;
	const char *line, *end;
	int n = 0, used;

	ASSERT_EQ(0, region_create());
	for (int i = 0; i < extents; i++)
		ASSERT_EQ(0, dev_append(0, base + 2 * i * SZ_4K, SZ_4K));
	EXPECT_EQ(extents * SZ_4K, rdax_size());
	line = rdax_text(RDAX_CLASS "/extents");
	end = line + strlen(line);
	EXPECT_LT(SZ_4K - 64, end - line);
	EXPECT_GE(SZ_4K, end - line);
	for (; sscanf(line, "%" SCNu64 " %" SCNu64 "%n", &offset, &len, &used) == 2 &&
	       line[used] == '\n'; line += used + 1, n++) {
		ASSERT_EQ(base + 2 * n * SZ_4K, offset);
		ASSERT_EQ(SZ_4K, len);
		sum += len;
	}
	EXPECT_EQ(end, line);
	EXPECT_LT(sum, rdax_size());
	/* What was left out are only the last ones. */
	ASSERT_EQ(0, dev_resize(0, n * SZ_4K));
	EXPECT_EQ(n, dev_parts(0, NULL, 0));
	ASSERT_EQ(0, dev_resize(0, 0));
	EXPECT_STREQ("", dev_extents(0));
}

/*
 * All of it: kept as text, made again from that
 */

struct kept {
	int minor;
	char align[32], *extents;
};

static char *attr_text(int minor, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/dax/rdax%d/%s", minor, name);
	return strdup(text_of(path));
}

static void keep(struct kept *k, int minor)
{
	char *align = attr_text(minor, "align");

	k->minor = minor;
	snprintf(k->align, sizeof(k->align), "%s", align);
	free(align);
	k->extents = attr_text(minor, "extents");
}

static int make_again(const struct kept *k)
{
	char *lines = strdup(k->extents), *rest = lines, *line;
	int ret = region_create_named(k->minor);

	ret = ret ?: dev_write(k->minor, "align", k->align);
	while (!ret && *lines && (line = strsep(&rest, "\n")))
		ret = dev_write(k->minor, "extents", line);
	free(lines);
	return ret;
}

TEST_F(divide, kept_over_a_rebind)
{
	static const struct {
		int minor;
		const char *align;
		struct region_part parts[4];
	} devs[] = {
		{ 3, "4K", { { 2560, 512 }, { 512, 3 }, { 5120, 513 }, { 1, 1 } } },
		{ 1, "4K", { { 1024, 512 }, { 515, 1 }, { 3072, 1024 }, { 0, 1 } } },
		{ 9, "2M", { { 8192, 1024 }, { 7168, 512 } } },
		{ 4, "4K", { { 0 } } },
	};
	struct region_part parts[4];
	struct kept kept[ARRAY_SIZE(devs)];
	uint64_t left;

	for (size_t i = 0; i < ARRAY_SIZE(devs); i++) {
		ASSERT_EQ(0, region_create_named(devs[i].minor));
		if (dev_number(devs[i].minor, "resource") % SZ_2M == 0)
			ASSERT_EQ(0, dev_write(devs[i].minor, "align", devs[i].align));
		for (const struct region_part *p = devs[i].parts;
		     p < devs[i].parts + 4 && p->pages; p++) {
			ASSERT_EQ(0, dev_append(devs[i].minor, p->first * SZ_4K,
						p->pages * SZ_4K));
		}
		if (devs[i].parts[0].pages)
			ASSERT_EQ(0, dev_fill(devs[i].minor, 10 + i));
		keep(&kept[i], devs[i].minor);
	}
	EXPECT_STREQ("10485760 2097152\n2097152 12288\n20971520 2101248\n4096 4096",
		     kept[0].extents);
	EXPECT_STREQ("", kept[3].extents);
	left = available();

	/* In the device that is all of the region, each byte is where its extent said. */
	ASSERT_EQ(0, rdax_unbind());
	ASSERT_EQ(0, set_divided("\n"));
	ASSERT_EQ(0, rdax_bind());
	for (size_t i = 0; i < 3; i++) {
		size_t n = i < 2 ? 4 : 2;

		EXPECT_EQ(0, region_wrong(devs[i].parts, n, 10 + i));
	}
	ASSERT_EQ(0, rdax_unbind());

	/* In another order, from the text. */
	ASSERT_EQ(0, set_divided(rdax_ns()));
	ASSERT_EQ(0, rdax_bind());
	EXPECT_FALSE(is_there(0));
	for (size_t i = ARRAY_SIZE(kept); i--;)
		ASSERT_EQ(0, make_again(&kept[i]));
	EXPECT_EQ(left, available());
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		struct kept now;
		size_t n = i < 2 ? 4 : i == 2 ? 2 : 0;

		keep(&now, kept[i].minor);
		EXPECT_STREQ(kept[i].extents, now.extents);
		EXPECT_STREQ(kept[i].align, now.align);
		ASSERT_EQ(n, dev_parts(kept[i].minor, parts, 4));
		EXPECT_EQ(0, memcmp(parts, devs[i].parts, n * sizeof(*parts)));
		if (n)
			EXPECT_EQ(0, dev_wrong(kept[i].minor, 10 + i));
		free(now.extents);
		free(kept[i].extents);
	}
}

/*
 * Two regions
 */

FIXTURE(two)
{
	const char *other;
};

FIXTURE_SETUP(two)
{
	char path[128], both[128];

	self->other = region_other();
	if (!self->other)
		SKIP(return, "no other namespace is named, see RDAX_NS2");
	snprintf(path, sizeof(path), ND_DEVICES "/%s", self->other);
	if (access(path, F_OK))
		SKIP(return, "there is no other namespace");
	snprintf(both, sizeof(both), "%s,%s", rdax_ns(), self->other);
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", both));
	ASSERT_EQ(0, set_divided(both));
	ASSERT_EQ(0, rdax_fresh("4K"));
	ASSERT_EQ(0, rdax_write_file(ND_DRIVER "/bind", self->other));
}

FIXTURE_TEARDOWN(two)
{
	set_divided("\n");
	rdax_write_file(ND_DRIVER "/unbind", self->other);
}

/* A name is that of one device in all regions; an offset is that of its own. */
TEST_F(two, apart)
{
	EXPECT_FALSE(is_there(0));
	ASSERT_EQ(0, region_write(self->other, "create", "rdax2"));
	EXPECT_EQ(-EEXIST, region_create_named(2));
	EXPECT_STREQ("", youngest());
	ASSERT_EQ(0, region_create_named(1));
	EXPECT_EQ(-EEXIST, region_write(self->other, "create", "rdax1"));

	ASSERT_EQ(0, dev_append(1, SZ_2M, SZ_2M));
	ASSERT_EQ(0, dev_append(2, SZ_2M, SZ_2M));
	ASSERT_EQ(0, dev_fill(1, 1));
	ASSERT_EQ(0, dev_fill(2, 2));
	EXPECT_EQ(0, dev_wrong(1, 1));
	EXPECT_EQ(0, dev_wrong(2, 2));
	EXPECT_EQ(-EINVAL, dev_append(2, region_number(self->other, "size"), SZ_4K));

	/* The name is free when its region is gone. */
	ASSERT_EQ(0, rdax_write_file(ND_DRIVER "/unbind", self->other));
	ASSERT_EQ(0, region_create_named(2));
	EXPECT_EQ(0, dev_number(2, "size"));
	EXPECT_EQ(0, dev_wrong(1, 1));
	ASSERT_EQ(0, rdax_write_file(ND_DRIVER "/bind", self->other));
	EXPECT_EQ(-EEXIST, region_write(self->other, "create", "rdax2"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
