// SPDX-License-Identifier: GPL-2.0
/*
 * A region and its devices in sysfs: what is there, who may write it, what every
 * write does or why it is refused, what udev hears of it; numbers, and what
 * devices that come and go leave behind; two regions at once.
 */
#include <asm/posix_types.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"

#define NOBODY	65534

/* The whole region is that of rdax0 in each test, unless it takes some away. */
FIXTURE(one)
{
	uint64_t size;
};

FIXTURE_SETUP(one)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->size = region_number(rdax_ns(), "size");
	if (self->size < 64 * SZ_2M)
		SKIP(return, "namespace too small");
}

FIXTURE_TEARDOWN(one)
{
}

static uint64_t available(void)
{
	return region_number(rdax_ns(), "available_size");
}

/* Was it logged, of the namespace? */
static bool said(const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "rdax %s: %s", rdax_ns(), text);
	return logged(line);
}

/* That, of a write that was refused. The task is a child of this one. */
static bool said_refused(const char *text)
{
	char line[256];

	snprintf(line, sizeof(line), "): %s", text);
	return logged(line);
}

TEST_F(one, reasons)
{
	log_from_here();
	EXPECT_EQ(-EINVAL, dev_write(0, "size", "4097"));
	EXPECT_TRUE(said_refused("size 4097 refused: not a multiple of align"));
	EXPECT_EQ(-EINVAL, dev_write(0, "size", "many"));
	EXPECT_TRUE(said_refused("size many refused: not a number of bytes"));
	EXPECT_EQ(-ENOSPC, dev_write(0, "size", "1T"));
	EXPECT_TRUE(said_refused("size 1T refused: the region has less free space"));
	EXPECT_EQ(-EINVAL, dev_write(0, "align", "3M"));
	EXPECT_TRUE(said_refused("align 3M refused: it must be 4K, 2M or 1G"));
	EXPECT_EQ(-ENXIO, region_delete(1));
	EXPECT_TRUE(said_refused("delete rdax1 refused: no device of this region"));
	EXPECT_EQ(-EINVAL, region_write(rdax_ns(), "create", "2"));
	EXPECT_TRUE(said_refused("create 2 refused: only 1 or the name of a device may be written"));
}

TEST_F(one, reasons_in_use)
{
	int fd = rdax_open();

	log_from_here();
	EXPECT_EQ(-EBUSY, dev_write(0, "align", "2M"));
	EXPECT_TRUE(said_refused("align 2M refused: the device is in use"));
	EXPECT_EQ(-EBUSY, region_delete(0));
	EXPECT_TRUE(said_refused("delete rdax0 refused: the device is in use"));
	close(fd);
}

static int write_here(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;

	close(fd);
	return ret;
}

/* Each line names the device, and the task. */
TEST_F(one, who_was_refused)
{
	int fd = rdax_open();
	char path[128], text[192];

	ASSERT_EQ(0, prctl(PR_SET_NAME, "a name"));
	log_from_here();
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SZ_4K, PROT_READ, MAP_PRIVATE, fd, 0));
	snprintf(text, sizeof(text), "%s by a name (%d) refused: a mapping must be shared, not MAP_PRIVATE",
		 "rdax0: mmap of 0x1000 bytes at page offset 0x0", getpid());
	EXPECT_TRUE(said(text)) TH_LOG("%s", text);
	close(fd);

	EXPECT_EQ(-EINVAL, write_here("/sys/class/dax/rdax0/size", "4097"));
	snprintf(text, sizeof(text), "rdax0: a name (%d): size 4097 refused", getpid());
	EXPECT_TRUE(said(text)) TH_LOG("%s", text);

	snprintf(path, sizeof(path), ND_DEVICES "/%s/rdax_region/create", rdax_ns());
	EXPECT_EQ(-EINVAL, write_here(path, "2"));
	snprintf(text, sizeof(text), "a name (%d): create 2 refused", getpid());
	EXPECT_TRUE(said(text)) TH_LOG("%s", text);
}

/* In a child, until it is killed; a byte for each. */
static void refused_mmaps(int count)
{
	int fd;

	if (setuid(NOBODY))
		exit(1);
	fd = rdax_open();
	while (mmap(NULL, SZ_4K, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		if (write(count, "", 1) != 1)
			break;
	exit(1);
}

/* What one user has refused hides nothing that others have refused, nor that of other devices. */
TEST_F(one, one_limit_each)
{
	static char bytes[1000];
	int count[2], fd;
	pid_t child;

	ASSERT_EQ(0, dev_resize(0, self->size - SZ_2M));
	ASSERT_EQ(1, region_create());
	ASSERT_EQ(0, chmod(RDAX_NODE, 0666));
	fd = dev_open(1);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, pipe2(count, O_CLOEXEC));
	log_from_here();
	child = fork();
	if (!child)
		refused_mmaps(count[1]);
	close(count[1]);
	for (size_t n = 0; n < sizeof(bytes);) {
		ssize_t ret = read(count[0], bytes, sizeof(bytes) - n);

		ASSERT_LT(0, ret);
		n += ret;
	}
	/* The limit of its device is spent, and it goes on. */
	EXPECT_GT(500, count_logged("rdax0: mmap of"));
	EXPECT_EQ(-EINVAL, dev_write(0, "size", "4097"));
	EXPECT_TRUE(said_refused("size 4097 refused: not a multiple of align"));
	EXPECT_EQ(-EINVAL, dev_write(1, "size", "4098"));
	EXPECT_TRUE(said_refused("size 4098 refused: not a multiple of align"));
	EXPECT_EQ(-EINVAL, region_write(rdax_ns(), "create", "3"));
	EXPECT_TRUE(said_refused("create 3 refused: only 1 or the name of a device may be written"));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SZ_4K, PROT_READ, MAP_PRIVATE, fd, 0));
	EXPECT_TRUE(said("rdax1: mmap of 0x1000 bytes"));
	close(fd);

	/* When lines are printed again, the log says how many were not, and of what. */
	while (!logged("rdax0: refused mmaps: "))
		ASSERT_LT(0, read(count[0], bytes, sizeof(bytes)));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(count[0]);
}

/*
 * Files
 */

static const struct {
	const char *name;
	unsigned int mode;
} region_files[] = {
	{ "size", 0444 },
	{ "align", 0444 },
	{ "available_size", 0444 },
	{ "create", 0644 },
	{ "delete", 0200 },
}, dev_files[] = {
	{ "size", 0644 },
	{ "extents", 0644 },
	{ "align", 0644 },
	{ "available_size", 0444 },
	{ "resource", 0400 },
	{ "numa_node", 0444 },
	{ "badblocks", 0444 },
};

static void region_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, ND_DEVICES "/%s/rdax_region/%s", rdax_ns(), name);
}

static unsigned int mode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_mode & 07777;
}

static unsigned int files_in(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	unsigned int n = 0;

	while (dir && (e = readdir(dir)))
		n += e->d_type == DT_REG;
	closedir(dir);
	return n;
}

TEST_F(one, files)
{
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(region_files); i++) {
		region_path(path, sizeof(path), region_files[i].name);
		EXPECT_EQ(region_files[i].mode, mode_of(path)) TH_LOG("%s", path);
		if (region_files[i].mode & 0444) {
			EXPECT_EQ(NULL, strpbrk(text_of(path), "\n "))
				TH_LOG("%s", path);
		}
	}
	region_path(path, sizeof(path), "");
	EXPECT_EQ(ARRAY_SIZE(region_files), files_in(path));
	for (size_t i = 0; i < ARRAY_SIZE(dev_files); i++) {
		snprintf(path, sizeof(path), RDAX_CLASS "/%s", dev_files[i].name);
		EXPECT_EQ(dev_files[i].mode, mode_of(path)) TH_LOG("%s", path);
		/* One line; and one word, but for the first extent, which is all. */
		EXPECT_EQ(NULL, strpbrk(text_of(path), strstr(path, "extents") ? "\n" : "\n "))
			TH_LOG("%s", path);
	}
	ASSERT_EQ(0, rdax_unbind());
	region_path(path, sizeof(path), "");
	EXPECT_EQ(-1, access(path, F_OK));
}

static int write_as_nobody(void *arg)
{
	static const char * const views[] = { "entries", "events", "extents" };
	char path[128];

	if (setegid(NOBODY) || seteuid(NOBODY))
		return 255;
	for (size_t i = 0; i < ARRAY_SIZE(region_files); i++) {
		region_path(path, sizeof(path), region_files[i].name);
		if (open(path, O_WRONLY) >= 0 || errno != EACCES)
			return 1 + i;
		if (!(region_files[i].mode & 0004) && open(path, O_RDONLY) >= 0)
			return 11 + i;
	}
	for (size_t i = 0; i < ARRAY_SIZE(dev_files); i++) {
		snprintf(path, sizeof(path), RDAX_CLASS "/%s", dev_files[i].name);
		if (open(path, O_WRONLY) >= 0 || errno != EACCES)
			return 21 + i;
		if (!(dev_files[i].mode & 0004) && open(path, O_RDONLY) >= 0)
			return 31 + i;
	}
	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/rdax/rdax0/%s", views[i]);
		if (open(path, O_RDONLY) >= 0 || errno != EACCES)
			return 41 + i;
	}
	if (open(RDAX_NODE, O_RDONLY) >= 0 || errno != EACCES)
		return 51;
	if (open(ND_DRIVER "/bind", O_WRONLY) >= 0 || open(ND_DRIVER "/unbind", O_WRONLY) >= 0)
		return 52;
	return 0;
}

TEST_F(one, nobody_writes)
{
	EXPECT_EQ(0, rdax_bounded(write_as_nobody, NULL, RDAX_PATIENCE));
	EXPECT_EQ(self->size, rdax_size());
}

/*
 * Create and delete
 */

TEST_F(one, whole_at_first)
{
	struct region_part part;

	EXPECT_EQ(self->size, rdax_size());
	EXPECT_EQ(SZ_4K, region_number(rdax_ns(), "align"));
	EXPECT_EQ(0, available());
	EXPECT_EQ(0, rdax_attr("available_size"));
	ASSERT_EQ(1, dev_parts(0, &part, 1));
	EXPECT_EQ(0, part.first);
}

TEST_F(one, create)
{
	static const char * const bad[] = { "0", "2", "01", "1 1", " 1", "yes", "1\n\n", "-1" };
	char path[128], byte;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, region_write(rdax_ns(), "create", bad[i]))
			TH_LOG("%s", bad[i]);
	}
	region_path(path, sizeof(path), "create");
	EXPECT_STREQ("rdax0", text_of(path));
	EXPECT_EQ(-1, access("/dev/rdax1", F_OK));

	/* Without pages: the region may be full. */
	ASSERT_EQ(0, region_write(rdax_ns(), "create", "1"));
	EXPECT_STREQ("rdax1", text_of(path));
	ASSERT_EQ(2, region_create());
	EXPECT_EQ(0, available());
	EXPECT_EQ(0, dev_number(1, "size"));
	EXPECT_EQ(SZ_4K, dev_number(1, "align"));
	EXPECT_EQ(0, dev_number(1, "available_size"));
	EXPECT_EQ(0, dev_parts(1, NULL, 0));
	fd = dev_open(1);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, read(fd, &byte, 1));
	EXPECT_EQ(-1, write(fd, &byte, 1));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(MAP_FAILED, rdax_map(fd, 0, SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-EFBIG, rdax_punch(fd, 0, 1));
	EXPECT_EQ(0, fsync(fd));
	close(fd);

	/* The youngest goes, and then nobody is. */
	ASSERT_EQ(0, region_delete(2));
	EXPECT_STREQ("", text_of(path));
	ASSERT_EQ(2, region_create());
	ASSERT_EQ(0, region_delete(1));
	EXPECT_STREQ("rdax2", text_of(path));
}

TEST_F(one, delete_refused)
{
	static const char * const bad[] = {
		"rdax", "rdax1", "rdax00", "rdax01", "rdax-1", "rdax+0", "rdax 0", "rdax0 ",
		" rdax0", "rdax0\n\n", "rdax0x", "RDAX0", "0", "sda", "/dev/rdax0",
		"rdax18446744073709551616", "rdax4294967296", "rdax256",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ENXIO, region_write(rdax_ns(), "delete", bad[i]))
			TH_LOG("'%s'", bad[i]);
	}
	EXPECT_EQ(0, access(RDAX_NODE, F_OK));
	EXPECT_EQ(self->size, rdax_size());
}

TEST_F(one, delete)
{
	ASSERT_EQ(1, region_create());
	ASSERT_EQ(0, dev_resize(0, self->size - SZ_2M));
	ASSERT_EQ(0, dev_resize(1, SZ_2M));
	EXPECT_EQ(0, available());
	ASSERT_EQ(0, region_delete(1));
	EXPECT_EQ(-1, access("/dev/rdax1", F_OK));
	EXPECT_EQ(-1, access("/sys/class/dax/rdax1", F_OK));
	EXPECT_EQ(-1, access("/sys/kernel/debug/rdax/rdax1", F_OK));
	EXPECT_EQ(-ENXIO, region_delete(1));
	EXPECT_EQ(SZ_2M, available());

	/* All of them; and a number is used again. */
	ASSERT_EQ(0, region_delete(0));
	EXPECT_EQ(self->size, available());
	EXPECT_EQ(-1, access(RDAX_NODE, F_OK));
	ASSERT_EQ(0, region_create());
	ASSERT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(self->size, rdax_size());
	EXPECT_EQ(0, available());
}

static int hold(void *arg, int step)
{
	return rdax_load(arg);
}

TEST_F(one, delete_in_use)
{
	struct rdax_peer peer;
	int fd = rdax_open(), reader;
	char *map;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EBUSY, region_delete(0));
	map = rdax_map(fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SZ_2M, SZ_4K, 7);
	EXPECT_EQ(-EBUSY, region_delete(0));
	close(fd);
	EXPECT_EQ(-EBUSY, region_delete(0));
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, SZ_4K, 7));

	/* Mapped by a child only. */
	ASSERT_EQ(0, rdax_peer_start(&peer, hold, map));
	munmap(map, SZ_2M);
	EXPECT_EQ(-EBUSY, region_delete(0));
	EXPECT_EQ(0, rdax_peer_step(&peer, 0));
	rdax_peer_end(&peer);

	reader = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(reader, 0);
	EXPECT_EQ(-EBUSY, region_delete(0));
	close(reader);
	ASSERT_EQ(0, region_delete(0));

	/* What was in it is what the next one finds. */
	ASSERT_EQ(0, region_create());
	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	EXPECT_EQ(0, dev_wrong(0, 7));
}

/*
 * Size
 */

TEST_F(one, sizes_refused)
{
	static const char * const invalid[] = {
		"1", "4095", "4097", "-4096", "0x1000", "many", " ", " 4096", "4096 ", "4096 4096",
		"4096\n\n", "4K4", "KK", "K", "4KiB", "1.5G", "4,096", "18446744073709551615",
		"18446744073709551616", "16777216T", "18446744073709551615K",
		"99999999999999999999999999999999",
	}, * const large[] = { "18446744073709547520", "16777215T", "9223372036854775808" };

	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
		EXPECT_EQ(-EINVAL, dev_write(0, "size", invalid[i]))
			TH_LOG("'%s'", invalid[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		EXPECT_EQ(-ENOSPC, dev_write(0, "size", large[i]))
			TH_LOG("'%s'", large[i]);
	}
	EXPECT_EQ(-ENOSPC, dev_resize(0, self->size + SZ_4K));
	EXPECT_EQ(SZ_2M, rdax_size());
	EXPECT_EQ(self->size - SZ_2M, available());

	/* What was tried is all still to be had. */
	EXPECT_EQ(0, dev_resize(0, self->size));
	ASSERT_EQ(1, region_create());
	EXPECT_EQ(-ENOSPC, dev_resize(1, SZ_4K));
	EXPECT_EQ(0, dev_number(1, "size"));
}

TEST_F(one, sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "4096", SZ_4K }, { "0", 0 }, { "8K", 2 * SZ_4K }, { "8k", 2 * SZ_4K },
		{ "3M", 3 << 20 }, { "3m", 3 << 20 }, { "0T", 0 }, { "12288\n", 3 * SZ_4K },
		{ "0G", 0 }, { "0004096", SZ_4K },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, dev_write(0, "size", good[i].text)) TH_LOG("%s", good[i].text);
		EXPECT_EQ(good[i].bytes, rdax_size());
		EXPECT_EQ(self->size - good[i].bytes, available());
	}
	/* The same again is no change. */
	EXPECT_EQ(0, dev_resize(0, SZ_4K));
	EXPECT_EQ(SZ_4K, rdax_size());
}

/*
 * Alignment
 */

TEST_F(one, aligns)
{
	static const char * const bad[] = { "3M", "0", "8K", "4M", "many", "2G", "-1" };
	uint64_t least;
	char *map;
	int fd;

	if (!rdax_fits(SZ_2M))
		SKIP(return, "namespace not aligned");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, dev_write(0, "align", bad[i]))
			TH_LOG("%s", bad[i]);
	}
	EXPECT_EQ(SZ_4K, rdax_attr("align"));

	/* In use. */
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EBUSY, dev_write(0, "align", "2M"));
	map = rdax_map(fd, 0, SZ_2M);
	close(fd);
	EXPECT_EQ(-EBUSY, dev_write(0, "align", "2M"));
	munmap(map, SZ_2M);
	EXPECT_EQ(SZ_4K, rdax_attr("align"));

	/* The size does not fit; then it does, and then no other size is taken. */
	ASSERT_EQ(0, dev_resize(0, SZ_2M + SZ_4K));
	EXPECT_EQ(-EINVAL, dev_write(0, "align", "2M"));
	ASSERT_EQ(0, dev_resize(0, 2 * SZ_2M));
	EXPECT_EQ(-EINVAL, dev_write(0, "align", "1G"));
	EXPECT_EQ(0, dev_write(0, "align", "2M\n"));
	EXPECT_EQ(SZ_2M, rdax_attr("align"));
	EXPECT_EQ(SZ_4K, region_number(rdax_ns(), "align"));
	EXPECT_EQ(-EINVAL, dev_resize(0, SZ_4K));
	EXPECT_EQ(-EINVAL, dev_resize(0, 2 * SZ_2M + SZ_4K));
	EXPECT_EQ(0, dev_resize(0, 3 * SZ_2M));
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	EXPECT_EQ(MAP_FAILED, rdax_map(fd, 0, SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	close(fd);

	/* The place does not fit. */
	ASSERT_EQ(0, dev_write(0, "align", "4096"));
	ASSERT_EQ(0, dev_resize(0, SZ_4K));
	ASSERT_EQ(1, region_create());
	ASSERT_EQ(0, dev_resize(1, SZ_4K));
	ASSERT_EQ(0, dev_resize(1, SZ_2M));
	EXPECT_EQ(-EINVAL, dev_write(1, "align", "2M"));
	EXPECT_EQ(SZ_4K, dev_number(1, "align"));
	/* Of no pages every place does; and then it gets none but those that do. */
	ASSERT_EQ(0, dev_resize(1, 0));
	EXPECT_EQ(0, dev_write(1, "align", "2097152"));
	least = self->size / SZ_2M * SZ_2M - SZ_2M;
	EXPECT_EQ(-ENOSPC, dev_resize(1, least + SZ_2M));
	EXPECT_EQ(0, dev_resize(1, least));
	EXPECT_EQ(0, dev_number(1, "resource") % SZ_2M);
	EXPECT_EQ(self->size - least - SZ_4K, available());
}

/* A region bound with a larger alignment makes its devices so. */
TEST_F(one, align_of_the_region)
{
	if (!rdax_fits(SZ_2M))
		SKIP(return, "namespace not aligned");
	ASSERT_EQ(0, rdax_fresh("2M"));
	EXPECT_EQ(SZ_2M, region_number(rdax_ns(), "align"));
	EXPECT_EQ(SZ_2M, rdax_attr("align"));
	ASSERT_EQ(1, region_create());
	EXPECT_EQ(SZ_2M, dev_number(1, "align"));
	EXPECT_EQ(-EINVAL, dev_resize(0, SZ_4K));
	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	EXPECT_EQ(-EINVAL, dev_resize(1, SZ_4K));
	EXPECT_EQ(0, dev_resize(1, SZ_2M));
	/* One of them need not keep it. */
	EXPECT_EQ(0, dev_write(1, "align", "4K"));
	EXPECT_EQ(0, dev_resize(1, SZ_4K));
	EXPECT_EQ(SZ_2M, rdax_attr("align"));
}

/*
 * What udev hears
 */

static int uevents(void)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			NETLINK_KOBJECT_UEVENT);

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : fd;
}

/* What came about nodes, as "add rdax0;change rdax0;": valid until the next call. */
static const char *heard(int fd)
{
	static char all[1024];
	char text[4096];
	ssize_t n;

	all[0] = '\0';
	while ((n = recv(fd, text, sizeof(text) - 1, 0)) > 0) {
		const char *action = "?", *name = NULL;
		bool dax = false;

		text[n] = '\0';
		for (char *p = text; p < text + n; p += strlen(p) + 1) {
			if (!strncmp(p, "ACTION=", 7))
				action = p + 7;
			if (!strncmp(p, "DEVNAME=", 8))
				name = p + 8;
			dax = dax || !strcmp(p, "SUBSYSTEM=dax");
		}
		if (dax && strlen(all) + 100 < sizeof(all))
			sprintf(all + strlen(all), "%.40s %.40s;", action,
				name ?: "without DEVNAME");
	}
	return all;
}

TEST_F(one, events)
{
	int fd = uevents();

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_STREQ("remove rdax0;", heard(fd));
	ASSERT_EQ(0, rdax_bind());
	EXPECT_STREQ("add rdax0;", heard(fd));
	ASSERT_EQ(1, region_create());
	EXPECT_STREQ("add rdax1;", heard(fd));
	ASSERT_EQ(0, dev_resize(0, 2 * SZ_2M));
	EXPECT_STREQ("change rdax0;", heard(fd));
	ASSERT_EQ(0, dev_resize(1, SZ_2M));
	EXPECT_STREQ("change rdax1;", heard(fd));
	ASSERT_EQ(0, dev_resize(1, 0));
	EXPECT_STREQ("change rdax1;", heard(fd));
	ASSERT_EQ(0, dev_append(1, 8 * SZ_2M, SZ_2M));
	EXPECT_STREQ("change rdax1;", heard(fd));

	/* Nothing has changed. */
	EXPECT_EQ(-EBUSY, dev_append(1, 8 * SZ_2M, SZ_2M));
	EXPECT_EQ(-EINVAL, dev_append(1, 9 * SZ_2M, 1));
	EXPECT_EQ(-EEXIST, region_create_named(1));
	ASSERT_EQ(0, dev_resize(0, 2 * SZ_2M));
	EXPECT_EQ(-EINVAL, dev_resize(0, 1));
	EXPECT_EQ(-ENOSPC, dev_resize(0, self->size + SZ_4K));
	EXPECT_EQ(-ENXIO, region_delete(2));
	EXPECT_STREQ("", heard(fd));

	ASSERT_EQ(0, region_delete(1));
	EXPECT_STREQ("remove rdax1;", heard(fd));
	ASSERT_EQ(1, region_create());
	EXPECT_STREQ("add rdax1;", heard(fd));
	ASSERT_EQ(0, region_create_named(5));
	EXPECT_STREQ("add rdax5;", heard(fd));
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_NE(NULL, strstr(heard(fd), "remove rdax0;"));
	ASSERT_EQ(0, rdax_bind());
	EXPECT_STREQ("add rdax0;", heard(fd));
	close(fd);
}

/*
 * What comes and goes
 */

/* Nothing is lost: neither space, nor numbers, nor data. */
TEST_F(one, hundred_times)
{
	ASSERT_EQ(0, dev_resize(0, 4 * SZ_2M));
	ASSERT_EQ(0, dev_fill(0, 5));
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(1, region_create());
		ASSERT_EQ(0, dev_resize(1, SZ_2M + i * SZ_4K));
		ASSERT_EQ(0, region_delete(1));
	}
	EXPECT_EQ(self->size - 4 * SZ_2M, available());
	EXPECT_EQ(0, dev_resize(0, self->size));
	EXPECT_EQ(1, dev_parts(0, NULL, 0));
	EXPECT_EQ(0, dev_resize(0, 4 * SZ_2M));
	EXPECT_EQ(0, dev_wrong(0, 5));
}

/* What is mapped has entries; what was punched and is not mapped, a hole or none. */
TEST_F(one, entries_go)
{
	int fd = rdax_open();
	char *map;

	ASSERT_EQ(0, dev_resize(0, 4 * SZ_2M));
	EXPECT_STREQ("", rdax_entries());
	map = rdax_map(fd, 0, 4 * SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, 2 * SZ_2M, MADV_NOHUGEPAGE));
	rdax_fill(map, 0, 4 * SZ_2M, SZ_4K, 1);
	EXPECT_STREQ("0x0 1024 order 0 mapped dirty\n"
		     "0x400 2 order 9 mapped dirty\n", rdax_entries());
	ASSERT_EQ(0, rdax_punch(fd, 0, 4 * SZ_2M));
	EXPECT_STREQ("0x0 4 order 9 zero\n", rdax_entries());
	ASSERT_EQ(0, dev_resize(0, SZ_2M));
	EXPECT_STREQ("0x0 1 order 9 zero\n", rdax_entries());
	ASSERT_EQ(0, dev_resize(0, 0));
	EXPECT_STREQ("", rdax_entries());
	close(fd);
}

/*
 * Two that are deleted at once, and together have more places than either knew of
 */

#define PIECES	40

static void *delete_it(void *arg)
{
	return (void *)(intptr_t)region_delete((intptr_t)arg);
}

TEST_F(one, deleted_at_once)
{
	struct region_part parts[3];
	pthread_t threads[2];
	void *ret;

	ASSERT_EQ(0, dev_resize(0, self->size - 4 * PIECES * SZ_4K));
	for (int minor = 1; minor <= 3; minor++)
		ASSERT_EQ(minor, region_create());
	/* 1 3 2 3 1 3 2 3 ... */
	for (uint64_t i = 0; i < PIECES; i++) {
		ASSERT_EQ(0, dev_resize(1, (i + 1) * SZ_4K));
		ASSERT_EQ(0, dev_resize(3, (2 * i + 1) * SZ_4K));
		ASSERT_EQ(0, dev_resize(2, (i + 1) * SZ_4K));
		ASSERT_EQ(0, dev_resize(3, (2 * i + 2) * SZ_4K));
	}
	ASSERT_EQ(PIECES, dev_parts(1, parts, 3));
	ASSERT_EQ(0, available());
	for (intptr_t i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, delete_it, (void *)(i + 1)));
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &ret);
		EXPECT_EQ(NULL, ret);
	}
	EXPECT_EQ(2 * PIECES * SZ_4K, available());
}

/*
 * Two namespaces
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
	ASSERT_EQ(0, rdax_fresh("4K"));
	ASSERT_EQ(0, rdax_write_file(ND_DRIVER "/bind", self->other));
}

FIXTURE_TEARDOWN(two)
{
	rdax_write_file(ND_DRIVER "/unbind", self->other);
}

/* The namespace that a device is one of. */
static const char *namespace_of(int minor)
{
	static char link[256];
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/class/dax/rdax%d/device", minor);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = '\0';
	return strrchr(link, '/') ? strrchr(link, '/') + 1 : link;
}

TEST_F(two, numbers)
{
	ASSERT_STREQ(rdax_ns(), namespace_of(0));
	ASSERT_STREQ(self->other, namespace_of(1));
	EXPECT_EQ(2, region_create());
	EXPECT_STREQ(rdax_ns(), namespace_of(2));
	ASSERT_EQ(0, region_write(self->other, "create", "1"));
	EXPECT_STREQ(self->other, namespace_of(3));

	/* Those of the first are free; the smallest is used first. */
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(-1, access("/dev/rdax0", F_OK));
	EXPECT_EQ(-1, access("/dev/rdax2", F_OK));
	ASSERT_EQ(0, region_write(self->other, "create", "1"));
	EXPECT_STREQ(self->other, namespace_of(0));
	ASSERT_EQ(0, rdax_bind());
	EXPECT_STREQ(rdax_ns(), namespace_of(2));
	EXPECT_EQ(4, region_create());

	/* A device is deleted through its own region. */
	EXPECT_EQ(-ENXIO, region_delete(0));
	EXPECT_EQ(-ENXIO, region_write(self->other, "delete", "rdax2"));
	EXPECT_EQ(0, region_write(self->other, "delete", "rdax0"));
	EXPECT_EQ(0, region_create());
}

TEST_F(two, apart)
{
	uint64_t sizes[2];
	char *maps[2], *file;
	int fds[2];

	/* Devices of the same size, each at the head of its region. */
	for (int i = 0; i < 2; i++) {
		sizes[i] = region_number(i ? self->other : rdax_ns(), "size");
		EXPECT_EQ(sizes[i], dev_number(i, "size"));
		ASSERT_EQ(0, dev_resize(i, 2 * SZ_2M));
		EXPECT_EQ(sizes[i] - 2 * SZ_2M,
			  region_number(i ? self->other : rdax_ns(), "available_size"));
		EXPECT_EQ(sizes[i] - 2 * SZ_2M, dev_number(i, "available_size"));
		EXPECT_EQ(-ENOSPC, dev_resize(i, sizes[i] + SZ_4K));
	}
	for (int i = 0; i < 2; i++) {
		fds[i] = dev_open(i);
		maps[i] = rdax_map(fds[i], 0, 2 * SZ_2M);
		ASSERT_NE(MAP_FAILED, maps[i]);
		rdax_fill(maps[i], 0, 2 * SZ_2M, SZ_4K, 20 + i);
	}
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(0, rdax_wrong(maps[i], 0, 2 * SZ_2M, SZ_4K, 20 + i));

	/* The first goes: the other works, file and mapping, and can be changed. */
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(SIGBUS, rdax_load(maps[0]));
	EXPECT_EQ(-1, lseek(fds[0], 0, SEEK_END));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(0, rdax_wrong(maps[1], 0, 2 * SZ_2M, SZ_4K, 20 + 1));
	rdax_fill(maps[1], 0, 2 * SZ_2M, SZ_4K, 30);
	EXPECT_EQ(0, fsync(fds[1]));
	ASSERT_EQ(0, dev_resize(1, 3 * SZ_2M));
	EXPECT_EQ(3 * SZ_2M, lseek(fds[1], 0, SEEK_END));
	file = rdax_map(fds[1], 0, 3 * SZ_2M);
	ASSERT_NE(MAP_FAILED, file);
	EXPECT_EQ(0, rdax_wrong(file, 0, 2 * SZ_2M, SZ_4K, 30));

	/* It comes back, and the old file stays dead. */
	ASSERT_EQ(0, rdax_bind());
	ASSERT_EQ(0, dev_resize(0, 2 * SZ_2M));
	EXPECT_EQ(0, dev_wrong(0, 20));
	EXPECT_EQ(SIGBUS, rdax_load(maps[0]));
	EXPECT_EQ(-1, lseek(fds[0], 0, SEEK_END));

	/* The other goes. */
	ASSERT_EQ(0, rdax_write_file(ND_DRIVER "/unbind", self->other));
	EXPECT_EQ(SIGBUS, rdax_load(maps[1]));
	EXPECT_EQ(0, dev_wrong(0, 20));
	ASSERT_EQ(0, rdax_write_file(ND_DRIVER "/bind", self->other));
	ASSERT_EQ(0, dev_resize(1, 2 * SZ_2M));
	EXPECT_EQ(0, dev_wrong(1, 30));
}

/*
 * Both regions make and delete devices at once: no number is given twice, and who
 * has one can be opened.
 */

#define TURNS	150

struct turns {
	const char *ns;
	int ret, odd;
};

static void *make_and_delete(void *arg)
{
	struct turns *t = arg;
	char path[128], name[64];
	int fd, minor;

	snprintf(path, sizeof(path), ND_DEVICES "/%s/rdax_region/create", t->ns);
	for (int i = 0; i < TURNS && !t->ret; i++) {
		t->ret = region_write(t->ns, "create", "1");
		if (t->ret)
			break;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		name[read(fd, name, sizeof(name) - 1)] = '\0';
		close(fd);
		if (sscanf(name, "rdax%d", &minor) != 1) {
			t->ret = -EIO;
			break;
		}
		fd = dev_open(minor);
		if (fd < 0)
			t->odd++;
		close(fd);
		/* One that was not closed just now. */
		t->ret = region_write(t->ns, "delete", name);
	}
	return NULL;
}

TEST_F(two, numbers_of_both_at_once)
{
	struct turns turns[] = { { rdax_ns() }, { self->other } };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, make_and_delete, &turns[i]));
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, turns[i].ret);
		EXPECT_EQ(0, turns[i].odd);
	}
	EXPECT_EQ(2, region_create());
	EXPECT_EQ(0, access("/dev/rdax2", F_OK));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
