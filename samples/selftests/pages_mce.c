// SPDX-License-Identifier: GPL-2.0
/*
 * Machine checks on a device that is bound with pages. The kernel removes a broken
 * page from its direct map (set_mce_nospec()), so whatever then accesses the page
 * there crashes the kernel. rdax does not: a sync, an unbind and a punch of the page
 * succeed. What clears the page puts it back, so that others can use it again.
 *
 * Needs QEMU's monitor behind the serial port $RDAX_MONITOR, and an error that can be
 * cleared: QEMU has no commands for that on the bus of a virtio-pmem, so the kernel
 * takes a write for clearing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define BADBLOCKS	rdax_attr_path("badblocks")
#define BLOCK		512
#define SEED		13

#define WINDOW		(4 * SZ_2M)
/* The page that breaks. */
#define BAD		(SZ_2M + 77 * SZ_4K)
/* Another one of the same 2 MiB. */
#define BAD_TOO		(BAD + 100 * SZ_4K)

/* Valid, uncorrected, of 4 KiB at a physical address, found by the scrubber: nobody has to act on it. */
#define MACHINE_CHECK	"mce 0 9 0xbd000000000000c0 0x5 0x%llx 0x8c\n"

#define TRACEFS		"/sys/kernel/tracing"
#define GROUP		"rdax_mce"
#define REMOVED		"rdax_removed"
/*
 * Each write-back of 2 MiB, and a text that the kernel reads where it writes back the page that may be broken:
 * "(fault)" if it cannot. QEMU does not execute the instructions that write back, so they never fault.
 */
#define WRITTEN		"rdax_written"
#define TEXT		"here"
#define TEXT_AT		(BAD % SZ_2M + SZ_4K / 2)
#define PROBES		"r:" GROUP "/" REMOVED " set_mce_nospec\n" \
			"p:" GROUP "/" WRITTEN " arch_wb_cache_pmem size=$arg2:u64 text=+%llu($arg1):string\n"

/* How many pages the kernel has removed from its direct map. */
static long removed(void)
{
	const char *line = strstr(rdax_text(TRACEFS "/kprobe_profile"), REMOVED);
	long count;

	return line && sscanf(line + strlen(REMOVED), "%ld", &count) == 1 ? count : -1;
}

static void set_probes(bool on)
{
	int fd;

	if (!on)
		rdax_write_file(TRACEFS "/events/" GROUP "/enable", "0");
	fd = open(TRACEFS "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	if (on)
		dprintf(fd, PROBES, (unsigned long long)TEXT_AT);
	else
		dprintf(fd, "-:" GROUP "/" REMOVED "\n-:" GROUP "/" WRITTEN "\n");
	close(fd);
	if (on)
		rdax_write_file(TRACEFS "/events/" GROUP "/enable", "1");
}

/* How many pieces were written back since the trace was emptied, where the kernel can read them? */
static int written_back(void)
{
	const char *text = rdax_text(TRACEFS "/trace");
	int pieces = 0;

	while ((text = strstr(text, "size=2097152 text="))) {
		text = strchr(text, '"') ?: text + 1;
		pieces += !strncmp(text, "\"" TEXT "\"", strlen(TEXT) + 2);
	}
	return pieces;
}

static void forget_trace(void)
{
	/* It is emptied when it is opened like this. */
	close(open(TRACEFS "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

/* Breaks a page; returns 0 when the kernel has removed it. */
static int machine_check(uint64_t offset)
{
	int fd = open(getenv("RDAX_MONITOR"), O_WRONLY | O_NOCTTY | O_CLOEXEC);
	long before = removed();
	int ret;

	if (fd < 0)
		return -errno;
	ret = dprintf(fd, MACHINE_CHECK, (unsigned long long)(rdax_attr("resource") + offset));
	close(fd);
	if (ret < 0)
		return -EIO;
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		if (removed() > before)
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

static const char *list(uint64_t offset, uint64_t blocks)
{
	static char text[64];

	snprintf(text, sizeof(text), "%llu %llu\n", (unsigned long long)offset / BLOCK,
		 (unsigned long long)blocks);
	return text;
}

/* The kernel reads and writes the page at its address in the direct map. */
static int others_use(char *page)
{
	int fd = rdax_ram_disk(), ret = 0;

	if (fd < 0)
		return -ENODEV;
	if (pwrite(fd, page, SZ_4K, 0) != SZ_4K || pread(fd, page, SZ_4K, 0) != SZ_4K)
		ret = -errno;
	close(fd);
	return ret;
}

FIXTURE(pages_mce)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(pages_mce)
{
	const char *align;	/* of 2 MiB or more makes folios of 2 MiB */
	bool tracked;
};

FIXTURE_VARIANT_ADD(pages_mce, folios)
{
	.align = "2M",
};

FIXTURE_VARIANT_ADD(pages_mce, single)
{
	.align = "4K",
};

FIXTURE_VARIANT_ADD(pages_mce, tracked)
{
	.align = "2M",
	.tracked = true,
};

static int bind_it(bool tracked)
{
	int ret = rdax_bound() ? 0 : rdax_bind();

	return ret || !tracked ? ret : rdax_write_file(rdax_attr_path("rdax/memory"), "tracked");
}

FIXTURE_SETUP(pages_mce)
{
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/pages", strrchr(RDAX_NODE, '/') + 1));
	ASSERT_EQ(0, rdax_fresh(variant->align));
	ASSERT_EQ(0, bind_it(variant->tracked));
	EXPECT_STREQ(variant->tracked ? "tracked\n" : "pages\n",
		     rdax_text(rdax_attr_path("rdax/memory")));
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	for (uint64_t piece = 0; piece < WINDOW; piece += SZ_2M)
		memcpy(self->map + piece + TEXT_AT, TEXT, sizeof(TEXT));
	ASSERT_EQ(0, machine_check(BAD));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_STREQ(list(BAD, SZ_4K / BLOCK), rdax_text(BADBLOCKS));
}

FIXTURE_TEARDOWN(pages_mce)
{
	munmap(self->map, WINDOW);
	close(self->fd);
	if (rdax_bound())
		rdax_unbind();
	rdax_write_file(RDAX_PARAMS "/pages", "");
}

/* What was stored to the page is dirty, as is what was stored around it. */
TEST_F(pages_mce, sync)
{
	forget_trace();
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(WINDOW / SZ_2M, written_back());
	/* The page is not mapped again, and does not read as something else. */
	EXPECT_TRUE(rdax_poisoned(self->map + BAD));
	EXPECT_EQ(1, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
}

/* The next driver, or rdax again, finds the memory as it was, with every page in the direct map. */
TEST_F(pages_mce, unbind)
{
	munmap(self->map, WINDOW);
	close(self->fd);
	forget_trace();
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(WINDOW / SZ_2M, written_back());
	ASSERT_EQ(0, bind_it(variant->tracked));
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	/* QEMU breaks nothing, so the bytes are still there. */
	EXPECT_EQ(0, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
	EXPECT_EQ(0, others_use(self->map + BAD));
	EXPECT_EQ(0, fsync(self->fd));
}

TEST_F(pages_mce, punch)
{
	EXPECT_EQ(0, rdax_punch(self->fd, SZ_2M, SZ_2M));
	EXPECT_STREQ("", rdax_text(BADBLOCKS));
	EXPECT_EQ(SZ_2M / SZ_4K, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
	EXPECT_EQ(0, self->map[BAD + 8]);
	EXPECT_EQ(0, others_use(self->map + BAD));
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED + 1);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED + 1));
	EXPECT_EQ(0, fsync(self->fd));
}

/* Only a write of the whole page clears it: the kernel has removed all of it. */
TEST_F(pages_mce, write)
{
	char buf[2 * SZ_4K];

	memset(buf, 'w', sizeof(buf));
	for (uint64_t at = 0; at < SZ_4K; at += BLOCK) {
		EXPECT_EQ(-1, pwrite(self->fd, buf, BLOCK, BAD + at));
		EXPECT_EQ(EIO, errno);
	}
	EXPECT_STREQ(list(BAD, SZ_4K / BLOCK), rdax_text(BADBLOCKS));
	/* Up to the page. */
	EXPECT_EQ(10, pwrite(self->fd, buf, 10 + BLOCK, BAD - 10));
	EXPECT_EQ(sizeof(buf), pwrite(self->fd, buf, sizeof(buf), BAD));
	EXPECT_STREQ("", rdax_text(BADBLOCKS));
	EXPECT_EQ(0, rdax_load(self->map + BAD));
	EXPECT_EQ(0, memcmp(self->map + BAD, buf, sizeof(buf)));
	EXPECT_EQ(0, others_use(self->map + BAD));
	EXPECT_EQ(0, fsync(self->fd));
	/* And it may break again. */
	ASSERT_EQ(0, machine_check(BAD));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_EQ(0, rdax_zero(self->fd, BAD, SZ_4K));
	EXPECT_EQ(0, others_use(self->map + BAD));
}

/* Two in one folio, for which the kernel has one mark. */
TEST_F(pages_mce, two)
{
	ASSERT_EQ(0, machine_check(BAD_TOO));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD_TOO));
	EXPECT_EQ(0, rdax_zero(self->fd, BAD, SZ_4K));
	EXPECT_EQ(0, others_use(self->map + BAD));
	EXPECT_STREQ(list(BAD_TOO, SZ_4K / BLOCK), rdax_text(BADBLOCKS));
	EXPECT_EQ(-1, pwrite(self->fd, self->map, BLOCK, BAD_TOO));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, rdax_zero(self->fd, BAD_TOO, SZ_4K));
	EXPECT_EQ(0, others_use(self->map + BAD_TOO));
	EXPECT_STREQ("", rdax_text(BADBLOCKS));
}

int main(int argc, char **argv)
{
	int ret;

	if (!getenv("RDAX_MONITOR") || !rdax_on_dax_bus()) {
		ksft_print_header();
		ksft_exit_skip("needs a device of the dax bus and QEMU's monitor: scripts/lab guest --machine mce\n");
	}
	rdax_begin();
	if (access(TRACEFS "/instances", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	set_probes(true);
	ret = test_harness_run(argc, argv);
	set_probes(false);
	return ret;
}
