// SPDX-License-Identifier: GPL-2.0
/*
 * Machine checks that QEMU raises, as a memory controller does that finds broken
 * memory while nobody uses it: nfit tells the region, the region tells us. What
 * the region knows, the device knows, when it was bound before and when it is
 * bound afterwards; nobody is killed, and nobody gets the broken data.
 *
 * Needs QEMU's monitor behind the serial port $RDAX_MONITOR. What it breaks stays
 * broken until the guest ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "regions.h"

#define BADBLOCKS	rdax_attr_path("badblocks")
#define BLOCK		512
#define SEED		11

/* A part of the device for each test, out of the way of other programs. */
#define PART(n)	(3 * SZ_1G + (n) * LEN)
#define LEN	(2 * SZ_2M)
/* In it, the page that goes bad. */
#define BAD	(SZ_2M + 77 * SZ_4K)

/*
 * Valid, uncorrected, with an address; nobody has to act on it. The last number
 * says how many bytes around the (physical) address are broken, a power of 2.
 */
#define MACHINE_CHECK	"mce 0 9 0xbd00000000000090 0x5 0x%llx 0x%x\n"
#define PHYSICAL	0x80

/* In the guest that this is for, namespaceN.0 is all of regionN. */
static const char *region_file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), ND_DEVICES "/region%c/%s",
		 rdax_ns()[strlen("namespace")], name);
	return path;
}

static bool region_knows(uint64_t offset)
{
	unsigned long long first, count, at = offset / BLOCK;
	const char *line = rdax_text(region_file("badblocks"));

	while (line && sscanf(line, "%llu %llu", &first, &count) == 2) {
		if (first <= at && at < first + count)
			return true;
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return false;
}

/* Breaks 2^order bytes; returns 0 when the region knows. */
static int machine_check(uint64_t offset, unsigned int order)
{
	unsigned long long start = strtoull(rdax_text(region_file("resource")), NULL, 0);
	int fd = open(getenv("RDAX_MONITOR"), O_WRONLY | O_NOCTTY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = dprintf(fd, MACHINE_CHECK, start + offset, PHYSICAL | order);
	close(fd);
	if (ret < 0)
		return -EIO;
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		if (region_knows(offset))
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

static bool same_lists(void)
{
	char text[SZ_4K + 1];

	snprintf(text, sizeof(text), "%s", rdax_text(region_file("badblocks")));
	return !strcmp(text, rdax_text(BADBLOCKS));
}

/* The device hears of it a moment after the region. */
static bool lists_agree(void)
{
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		if (same_lists())
			return true;
		usleep(10000);
	}
	return false;
}

FIXTURE(machine_check)
{
	int fd;
};

FIXTURE_SETUP(machine_check)
{
	if (strcmp(rdax_text(region_file("size")),
		   rdax_text(ND_DEVICES "/namespace0.0/size")))
		SKIP(return, "the namespace is not all of its region");
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(machine_check)
{
	close(self->fd);
	if (rdax_bound())
		rdax_unbind();
}

static char *map_part(int fd, int n)
{
	char *map = rdax_map(fd, PART(n), LEN);

	if (map != MAP_FAILED)
		rdax_fill(map, PART(n), LEN, SZ_4K, SEED);
	return map;
}

static void expect_bad(struct __test_metadata *_metadata, int fd, char *map, int n)
{
	char buf[SZ_4K];

	EXPECT_TRUE(rdax_poisoned(map + BAD));
	EXPECT_EQ(1, rdax_wrong(map, PART(n), LEN, SZ_4K, SEED));
	EXPECT_EQ(10, pread(fd, buf, SZ_4K, PART(n) + BAD - 10));
	EXPECT_EQ(-1, pread(fd, buf, SZ_4K, PART(n) + BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(fd, buf, SZ_4K, PART(n) + BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(same_lists());
}

/* Another process, which has it mapped by 4 KiB. */
static int view(void *arg, int step)
{
	static char *map;

	if (step)
		return !rdax_goes_bad(map + BAD) ||
		       rdax_wrong(map, PART(0), LEN, SZ_4K, SEED) != 1;
	map = rdax_map(rdax_open(), PART(0), LEN);
	return map == MAP_FAILED || madvise(map, LEN, MADV_NOHUGEPAGE) ||
	       rdax_wrong(map, PART(0), LEN, SZ_4K, SEED);
}

TEST_F(machine_check, while_mapped)
{
	char *map = map_part(self->fd, 0);
	struct rdax_counts before, d;
	struct rdax_peer peer;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, rdax_peer_start(&peer, view, NULL));
	ASSERT_EQ(0, rdax_peer_step(&peer, 0));
	rdax_counts(&before);
	EXPECT_EQ(2, before.pmd_mapped);

	ASSERT_EQ(0, machine_check(PART(0) + BAD, 12));
	EXPECT_TRUE(rdax_goes_bad(map + BAD));
	EXPECT_EQ(0, rdax_peer_step(&peer, 1));
	rdax_peer_end(&peer);
	rdax_counts(&before);
	expect_bad(_metadata, self->fd, map, 0);
	rdax_delta(&before, &d);
	/* The rest of its 2 MiB; the other 2 MiB had not gone. */
	EXPECT_EQ(511, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped);
}

TEST_F(machine_check, while_not_mapped)
{
	char *map = map_part(self->fd, 1);

	ASSERT_NE(MAP_FAILED, map);
	munmap(map, LEN);
	ASSERT_EQ(0, machine_check(PART(1) + BAD, 12));
	EXPECT_TRUE(lists_agree());
	map = rdax_map(self->fd, PART(1), LEN);
	ASSERT_NE(MAP_FAILED, map);
	expect_bad(_metadata, self->fd, map, 1);
}

TEST_F(machine_check, while_not_bound)
{
	char *map = map_part(self->fd, 2);

	ASSERT_NE(MAP_FAILED, map);
	close(self->fd);
	ASSERT_EQ(0, rdax_unbind());
	ASSERT_EQ(0, machine_check(PART(2) + BAD, 12));
	EXPECT_EQ(SIGBUS, rdax_load(map + BAD));
	EXPECT_EQ(BUS_ADRERR, rdax_signal()->si_code);
	munmap(map, LEN);

	ASSERT_EQ(0, rdax_bind());
	self->fd = rdax_open();
	map = rdax_map(self->fd, PART(2), LEN);
	ASSERT_NE(MAP_FAILED, map);
	expect_bad(_metadata, self->fd, map, 2);
}

/* One block and, of the next but one, a cache line: the others of the page can be read. */
TEST_F(machine_check, blocks_of_a_page)
{
	char *map = map_part(self->fd, 3), buf[SZ_4K];
	uint64_t bad = PART(3) + BAD;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, machine_check(bad + 2 * BLOCK, 9));
	ASSERT_EQ(0, machine_check(bad + 4 * BLOCK + 128, 6));
	EXPECT_TRUE(lists_agree());
	EXPECT_TRUE(rdax_goes_bad(map + BAD));
	EXPECT_EQ(2 * BLOCK, pread(self->fd, buf, SZ_4K, bad));
	EXPECT_EQ(-1, pread(self->fd, buf, 1, bad + 2 * BLOCK));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(BLOCK, pread(self->fd, buf, SZ_4K, bad + 3 * BLOCK));
	EXPECT_EQ(-1, pread(self->fd, buf, 1, bad + 5 * BLOCK - 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(3 * BLOCK, pread(self->fd, buf, 3 * BLOCK, bad + 5 * BLOCK));
	EXPECT_EQ(BLOCK, pwrite(self->fd, buf, SZ_4K, bad + 3 * BLOCK));
	EXPECT_EQ(-1, pwrite(self->fd, buf, BLOCK, bad + 4 * BLOCK));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, rdax_load(map + BAD - SZ_4K));
	EXPECT_EQ(0, rdax_load(map + BAD + SZ_4K));
	EXPECT_TRUE(same_lists());
}

/* A head that can't be read may hold anything. */
TEST_F(machine_check, in_the_head)
{
	char *map;

	close(self->fd);
	ASSERT_EQ(0, rdax_unbind());
	if (!region_other())
		SKIP(return, "no other namespace is named");
	setenv("RDAX_NS", region_other(), 1);
	if (access(region_file("resource"), F_OK))
		SKIP(return, "there is no second namespace");
	ASSERT_EQ(0, machine_check(SZ_4K, 12));
	EXPECT_EQ(-EIO, rdax_bind());
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/force", rdax_ns()));
	ASSERT_EQ(0, rdax_bind());
	EXPECT_TRUE(same_lists());
	self->fd = rdax_open();
	map = rdax_map(self->fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_load(map));
	EXPECT_TRUE(rdax_poisoned(map + SZ_4K));
}

int main(int argc, char **argv)
{
	if (!getenv("RDAX_MONITOR") || getenv("RDAX_NS")) {
		ksft_print_header();
		ksft_exit_skip("not in the guest with QEMU's monitor\n");
	}
	rdax_begin();
	return test_harness_run(argc, argv);
}
