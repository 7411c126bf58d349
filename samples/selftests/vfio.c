// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO maps the device's memory for the DMA of another device, QEMU's edu. It pins pages: a sync writes
 * back what the edu writes, and a punch and an unbind wait until it can write no more. VFIO does not
 * pin page frames: what the documents warn of (vm.rst) is what happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "edu.h"
#include "rdax.h"
#include "regions.h"
#include "waiter.h"

#define WINDOW	(4 * SZ_2M)
#define SEED	7
/* Where the edu finds the window, and a page of ordinary memory. */
#define IOVA	SZ_2M
#define SCRATCH	SZ_4K
/* Pages for DMA in two folios of 2 MiB, and one in the first that nobody uses otherwise. */
#define FIRST	(3 * SZ_4K)
#define SECOND	(SZ_2M + 5 * SZ_4K)
#define BESIDE	(9 * SZ_4K)

FIXTURE(vfio)
{
	struct edu edu;
	int fd;
	char *map;
	uint64_t *scratch;
};

FIXTURE_VARIANT(vfio)
{
	bool on_dax_bus, pages;
	const char *align;	/* of pages: 2 MiB makes folios of that */
	bool iommufd;
};

FIXTURE_VARIANT_ADD(vfio, namespace)
{
	.align = "4K",
};

FIXTURE_VARIANT_ADD(vfio, frames)
{
	.on_dax_bus = true,
	.align = "4K",
};

FIXTURE_VARIANT_ADD(vfio, folios)
{
	.on_dax_bus = true,
	.pages = true,
	.align = "2M",
};

FIXTURE_VARIANT_ADD(vfio, single)
{
	.on_dax_bus = true,
	.pages = true,
	.align = "4K",
};

FIXTURE_VARIANT_ADD(vfio, folios_iommufd)
{
	.on_dax_bus = true,
	.pages = true,
	.align = "2M",
	.iommufd = true,
};

FIXTURE_VARIANT_ADD(vfio, single_iommufd)
{
	.on_dax_bus = true,
	.pages = true,
	.align = "4K",
	.iommufd = true,
};

static const char *name(void)
{
	return strrchr(RDAX_NODE, '/') + 1;
}

/* All zeroes, and nothing of it is mapped. The edu reaches the scratch page only. */
FIXTURE_SETUP(vfio)
{
	self->edu = EDU_CLOSED;
	self->fd = -1;
	self->map = MAP_FAILED;
	if (!variant->on_dax_bus)
		unsetenv("RDAX_DAX_DEVICE");
	else if (!rdax_on_dax_bus())
		SKIP(return, "needs a device of the dax bus: scripts/lab guest --machine vfio");
	if (variant->iommufd && !edu_has_iommufd())
		SKIP(return, "the kernel has no iommufd for VFIO");
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/pages", variant->pages ? name() : ""));
	ASSERT_EQ(0, rdax_fresh(variant->align));
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	ASSERT_EQ(0, rdax_zero(self->fd, 0, WINDOW));
	ASSERT_EQ(0, edu_open(&self->edu, variant->iommufd));
	self->scratch = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->scratch);
	ASSERT_EQ(0, edu_map(&self->edu, SCRATCH, self->scratch, SZ_4K, true));
}

FIXTURE_TEARDOWN(vfio)
{
	edu_close(&self->edu);
	close(self->fd);
	munmap(self->map, WINDOW);
	EXPECT_EQ(0, rdax_bound() ? rdax_unbind() : 0);
	rdax_write_file(RDAX_PARAMS "/pages", "");
}

/*
 * DMA
 */

static int map_dma(FIXTURE_DATA(vfio) *self, uint64_t offset, uint64_t len)
{
	return edu_map(&self->edu, IOVA + offset, self->map + offset, len, true);
}

/* From the first byte of the window on. */
static int unmap_dma(FIXTURE_DATA(vfio) *self, uint64_t len)
{
	return edu_unmap(&self->edu, IOVA, len);
}

static uint64_t word_of(unsigned int i, uint64_t seed)
{
	return seed << 32 | i;
}

static void make_page(uint64_t *page, uint64_t seed)
{
	for (unsigned int i = 0; i < SZ_4K / sizeof(*page); i++)
		page[i] = word_of(i, seed);
}

static bool is_page(const uint64_t *page, uint64_t seed)
{
	for (unsigned int i = 0; i < SZ_4K / sizeof(*page); i++)
		if (page[i] != word_of(i, seed))
			return false;
	return true;
}

static bool is_zero(const uint64_t *page)
{
	for (unsigned int i = 0; i < SZ_4K / sizeof(*page); i++)
		if (page[i])
			return false;
	return true;
}

/* The edu writes a page of the window, which gets these words. */
static int edu_writes(FIXTURE_DATA(vfio) *self, uint64_t offset, uint64_t seed)
{
	make_page(self->scratch, seed);
	return edu_load(&self->edu, SCRATCH) ?: edu_store(&self->edu, IOVA + offset);
}

/* The scratch page has what the edu read there. */
static int edu_reads(FIXTURE_DATA(vfio) *self, uint64_t offset)
{
	return edu_load(&self->edu, IOVA + offset) ?: edu_store(&self->edu, SCRATCH);
}

/* What a file has there. */
static const uint64_t *file_page(int fd, uint64_t offset)
{
	static uint64_t page[SZ_4K / sizeof(uint64_t)];

	if (pread(fd, page, sizeof(page), offset) != sizeof(page))
		memset(page, 0xff, sizeof(page));
	return page;
}

TEST_F(vfio, there_and_back)
{
	ASSERT_EQ(0, map_dma(self, 0, WINDOW));
	make_page((void *)(self->map + FIRST), 1);
	EXPECT_EQ(0, edu_reads(self, FIRST));
	EXPECT_TRUE(is_page(self->scratch, 1));
	EXPECT_EQ(0, edu_load(&self->edu, IOVA + FIRST));
	EXPECT_EQ(0, edu_store(&self->edu, IOVA + SECOND));
	EXPECT_TRUE(is_page((void *)(self->map + SECOND), 1));
	EXPECT_TRUE(is_page(file_page(self->fd, SECOND), 1));
	/* No other page. */
	EXPECT_TRUE(is_zero(file_page(self->fd, SECOND - SZ_4K)));
	EXPECT_TRUE(is_zero(file_page(self->fd, SECOND + SZ_4K)));
	EXPECT_EQ(0, unmap_dma(self, WINDOW));
}

static uint64_t status_kib(const char *name)
{
	const char *line = strstr(rdax_text("/proc/self/status"), name);

	return line ? strtoull(line + strlen(name), NULL, 10) : UINT64_MAX;
}

/* Pages count against RLIMIT_MEMLOCK as long as they are pinned: the process's, or the user's. */
TEST_F(vfio, counted_as_locked)
{
	const char *count = variant->iommufd ? "VmPin:" : "VmLck:";
	uint64_t was = status_kib(count);

	ASSERT_EQ(0, map_dma(self, 0, SZ_2M));
	EXPECT_EQ(was + (variant->pages ? SZ_2M / 1024 : 0), status_kib(count));
	EXPECT_EQ(0, unmap_dma(self, SZ_2M));
	EXPECT_EQ(was, status_kib(count));
}

/*
 * What was there before
 */

enum before { UNTOUCHED, READ, WRITTEN_AND_SYNCED, HOLE_READ, BEFORES };

static int prepare(FIXTURE_DATA(vfio) *self, enum before before)
{
	switch (before) {
	case UNTOUCHED:
		return 0;
	case HOLE_READ:
		return rdax_punch(self->fd, 0, WINDOW) ?: rdax_load(self->map + FIRST);
	case READ:
		return rdax_load(self->map + FIRST);
	default:
		return rdax_store(self->map + FIRST) ?: fsync(self->fd);
	}
}

/* Untouched, in a mapping of its own. */
static int as_new(FIXTURE_DATA(vfio) *self)
{
	munmap(self->map, WINDOW);
	self->map = rdax_map(self->fd, 0, WINDOW);
	return self->map == MAP_FAILED ? -errno : rdax_zero(self->fd, 0, WINDOW);
}

TEST_F(vfio, what_was_touched)
{
	for (enum before before = 0; before < BEFORES; before++) {
		ASSERT_EQ(0, as_new(self));
		ASSERT_EQ(0, prepare(self, before));
		/* VFIO does not ask for a write fault where a read-only page frame is mapped. */
		EXPECT_EQ(variant->pages || before == UNTOUCHED ? 0 : -EFAULT, map_dma(self, 0, SZ_2M))
			TH_LOG("case %d", before);
		unmap_dma(self, SZ_2M);
	}
}

/* iommufd pins all that it maps, so it takes no page frames, not even writable ones. */
TEST_F(vfio, frames_and_iommufd)
{
	if (variant->pages)
		SKIP(return, "pages are pinned");
	if (!edu_has_iommufd())
		SKIP(return, "the kernel has no iommufd for VFIO");
	edu_close(&self->edu);
	ASSERT_EQ(0, edu_open(&self->edu, true));
	ASSERT_EQ(0, edu_map(&self->edu, SCRATCH, self->scratch, SZ_4K, true));
	for (int writable = 0; writable <= 1; writable++) {
		ASSERT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"),
					     writable ? "1" : "0"));
		for (enum before before = 0; before < BEFORES; before++) {
			ASSERT_EQ(0, as_new(self));
			ASSERT_EQ(0, prepare(self, before));
			EXPECT_EQ(-EFAULT, map_dma(self, 0, SZ_2M))
				TH_LOG("case %d", before);
		}
	}
	/* What it has mapped for DMA goes on. */
	EXPECT_EQ(0, edu_load(&self->edu, SCRATCH));
	EXPECT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "0"));
}

/* Then there are no such page frames. */
TEST_F(vfio, map_writable)
{
	if (variant->pages)
		SKIP(return, "pages are pinned");
	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "1"));
	for (enum before before = 0; before < BEFORES; before++) {
		ASSERT_EQ(0, as_new(self));
		ASSERT_EQ(0, prepare(self, before));
		ASSERT_EQ(0, map_dma(self, 0, SZ_2M))
			TH_LOG("case %d", before);
		EXPECT_EQ(0, edu_writes(self, FIRST, before + 1));
		EXPECT_TRUE(is_page((void *)(self->map + FIRST), before + 1));
		EXPECT_EQ(0, unmap_dma(self, SZ_2M));
	}
}

/*
 * For a device that only reads, too: VFIO does not take what a hole is mapped as. With pages there are
 * no holes.
 */
TEST_F(vfio, a_hole_for_reading)
{
	ASSERT_EQ(0, rdax_punch(self->fd, 0, WINDOW));
	ASSERT_EQ(0, rdax_load(self->map + FIRST));
	EXPECT_EQ(variant->pages ? 0 : -EFAULT,
		  edu_map(&self->edu, IOVA, self->map, SZ_2M, false));
	make_page((void *)(self->map + FIRST), 1);
	if (variant->pages)
		EXPECT_EQ(0, edu_reads(self, FIRST));
	EXPECT_EQ(variant->pages, is_page(self->scratch, 1));
	unmap_dma(self, SZ_2M);
}

/*
 * Syncs
 */

static uint64_t written_back(FIXTURE_DATA(vfio) *self)
{
	uint64_t was = rdax_attr("entries/writebacks");

	return fsync(self->fd) ? UINT64_MAX : rdax_attr("entries/writebacks") - was;
}

TEST_F(vfio, a_sync_after_dma)
{
	uint64_t first;

	ASSERT_EQ(0, map_dma(self, 0, SZ_2M));
	first = written_back(self);
	EXPECT_LT(0, first);
	for (unsigned int seed = 1; seed <= 2; seed++) {
		EXPECT_EQ(0, edu_writes(self, FIRST, seed));
		/* Of page frames, a sync does not see it. */
		EXPECT_EQ(variant->pages ? first : 0, written_back(self));
		EXPECT_EQ(variant->pages, !!strstr(rdax_entries(), "dirty"));
		EXPECT_TRUE(is_page(file_page(self->fd, FIRST), seed));
	}
	EXPECT_EQ(0, unmap_dma(self, SZ_2M));
}

/*
 * What waits, in another process
 */

/* Otherwise its copies of the edu's files would keep what the test closes. */
static const FIXTURE_DATA(vfio) *without_edu(const struct waiter *waiter)
{
	const FIXTURE_DATA(vfio) *self = waiter->arg;
	struct edu copy = self->edu;

	edu_close(&copy);
	return self;
}

static int punch_it(const struct waiter *waiter)
{
	return rdax_punch(without_edu(waiter)->fd, 0, SZ_2M);
}

static int unbind_it(const struct waiter *waiter)
{
	without_edu(waiter);
	return rdax_unbind();
}

/* The mapping of the test is gone at once. */
static bool is_revoked(FIXTURE_DATA(vfio) *self)
{
	for (int i = 0; i < RDAX_PATIENCE * 100 && !rdax_load(self->map + FIRST); i++)
		usleep(10000);
	return rdax_load(self->map + FIRST) == SIGBUS;
}

TEST_F(vfio, a_punch_waits)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	pid_t child;

	if (!variant->pages)
		SKIP(return, "page frames are not pinned");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, map_dma(self, FIRST, SZ_4K));
	child = waiter_begin(waiter, self, punch_it);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, edu_writes(self, FIRST, 1));
	EXPECT_TRUE(waiter_waits(waiter));
	/* No data is lost until then: a signal ends the wait. */
	EXPECT_EQ(-EINTR, waiter_interrupt(child));
	EXPECT_TRUE(is_page((void *)(self->map + FIRST), 1));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, FIRST, SZ_4K, SEED));
	EXPECT_EQ(0, rdax_wrong(self->map + FIRST + SZ_4K, FIRST + SZ_4K, WINDOW - FIRST - SZ_4K,
				SZ_4K, SEED));

	child = waiter_begin(waiter, self, punch_it);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, edu_writes(self, FIRST, 2));
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_TRUE(is_page((void *)(self->map + FIRST), 2));
	EXPECT_EQ(0, edu_unmap(&self->edu, IOVA + FIRST, SZ_4K));
	EXPECT_EQ(0, waiter_end(child));
	for (uint64_t at = 0; at < SZ_2M; at += SZ_4K)
		EXPECT_TRUE(is_zero((void *)(self->map + at)));
	EXPECT_EQ(0, rdax_wrong(self->map + SZ_2M, SZ_2M, WINDOW - SZ_2M, SZ_4K, SEED));
}

static int punch_for_ever(const struct waiter *waiter)
{
	int fd = without_edu(waiter)->fd, ret = 0;

	while (!ret && !waiter_enough(waiter))
		ret = rdax_punch(fd, 0, SZ_2M);
	return ret;
}

/* VFIO looks for the page after its fault. If a punch has removed it by then, VFIO starts over. */
TEST_F(vfio, mapped_while_punched)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	pid_t child = waiter_begin(waiter, self, punch_for_ever);
	int failed = 0;

	ASSERT_LT(0, child);
	for (int i = 0; i < (variant->pages ? 100 : 1000); i++) {
		failed += map_dma(self, 0, SZ_2M) != 0;
		failed += unmap_dma(self, SZ_2M) != 0;
	}
	waiter_stop(waiter);
	EXPECT_EQ(0, waiter_end(child));
	EXPECT_EQ(0, failed);
}

/* It is bound again, and what the edu wrote while the unbind waited is there, and nothing else. */
static void expect_kept(struct __test_metadata *_metadata, FIXTURE_DATA(vfio) *self, uint64_t seed)
{
	munmap(self->map, WINDOW);
	close(self->fd);
	ASSERT_EQ(0, rdax_bind());
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	EXPECT_TRUE(is_page((void *)(self->map + FIRST), seed));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, FIRST, SZ_4K, SEED));
	EXPECT_EQ(0, rdax_wrong(self->map + FIRST + SZ_4K, FIRST + SZ_4K, WINDOW - FIRST - SZ_4K,
				SZ_4K, SEED));
}

TEST_F(vfio, an_unbind_waits)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	bool seen = false;
	char line[128];
	pid_t child;

	if (!variant->pages)
		SKIP(return, "page frames are not pinned");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, map_dma(self, FIRST, SZ_4K));
	log_from_here();
	child = waiter_begin(waiter, self, unbind_it);
	ASSERT_LT(0, child);
	EXPECT_TRUE(is_revoked(self));
	EXPECT_TRUE(waiter_waits(waiter));
	snprintf(line, sizeof(line), "%s: unbinding waits since 0 s, because ", name());
	/* It says so when it has looked twice. */
	for (int i = 0; i < RDAX_PATIENCE * 100 && !seen; i++) {
		seen = logged(line);
		usleep(10000);
	}
	EXPECT_TRUE(seen);
	/* The DMA goes on, and no other page is pinned. */
	EXPECT_EQ(-EFAULT, map_dma(self, SECOND, SZ_4K));
	EXPECT_EQ(0, edu_writes(self, FIRST, 3));
	EXPECT_EQ(0, edu_reads(self, FIRST));
	EXPECT_TRUE(is_page(self->scratch, 3));
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_EQ(0, edu_unmap(&self->edu, IOVA + FIRST, SZ_4K));
	EXPECT_EQ(0, waiter_end(child));
	expect_kept(_metadata, self, 3);
	ASSERT_EQ(0, map_dma(self, 0, WINDOW));
	EXPECT_EQ(0, edu_writes(self, SECOND, 4));
	EXPECT_TRUE(is_page((void *)(self->map + SECOND), 4));
}

/* A process that does not unmap: its end is enough. Nor does it matter that it maps nothing. */
TEST_F(vfio, an_unbind_waits_for_a_process)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	pid_t child;

	if (!variant->pages)
		SKIP(return, "page frames are not pinned");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, map_dma(self, FIRST, SZ_4K));
	munmap(self->map, WINDOW);
	close(self->fd);
	self->fd = -1;
	child = waiter_begin(waiter, self, unbind_it);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, edu_writes(self, FIRST, 5));
	EXPECT_TRUE(waiter_waits(waiter));
	edu_close(&self->edu);
	EXPECT_EQ(0, waiter_end(child));
	expect_kept(_metadata, self, 5);
}

/*
 * Page frames: nothing revokes what VFIO has mapped.
 */

/*
 * The page is a hole, which reads as zeroes. What the edu writes is in the memory below, and appears
 * with the first store.
 */
TEST_F(vfio, dma_after_a_punch)
{
	if (variant->pages)
		SKIP(return, "pages are pinned");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, map_dma(self, 0, SZ_2M));
	EXPECT_EQ(0, rdax_punch(self->fd, 0, SZ_2M));
	EXPECT_EQ(0, edu_writes(self, FIRST, 1));
	EXPECT_TRUE(is_zero((void *)(self->map + FIRST)));
	EXPECT_EQ(0, rdax_store(self->map + FIRST));
	*(uint64_t *)(self->map + FIRST) = word_of(0, 1);
	EXPECT_TRUE(is_page((void *)(self->map + FIRST), 1));
	EXPECT_TRUE(is_page(file_page(self->fd, FIRST), 1));
	EXPECT_EQ(0, unmap_dma(self, SZ_2M));
}

TEST_F(vfio, dma_after_an_unbind)
{
	if (variant->pages)
		SKIP(return, "pages are pinned");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, map_dma(self, 0, SZ_2M));
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_TRUE(is_revoked(self));
	EXPECT_EQ(0, edu_writes(self, FIRST, 2));
	EXPECT_EQ(0, edu_reads(self, FIRST));
	EXPECT_TRUE(is_page(self->scratch, 2));
	expect_kept(_metadata, self, 2);
	/* It is the same memory, so it goes on even then. */
	EXPECT_EQ(0, edu_writes(self, FIRST, 3));
	EXPECT_TRUE(is_page((void *)(self->map + FIRST), 3));
	EXPECT_EQ(0, unmap_dma(self, SZ_2M));
}

/* What was cut off is another device's by then. */
TEST_F(vfio, dma_after_a_shrink)
{
	uint64_t size = rdax_size(), last = size - SZ_2M;
	char *map;
	int other, fd;

	if (variant->pages)
		SKIP(return, "pages are pinned");
	if (variant->on_dax_bus)
		SKIP(return, "the bus resizes only what is not bound");
	/* Earlier tests may have left something there. */
	ASSERT_EQ(0, rdax_zero(self->fd, last, SZ_2M));
	map = rdax_map(self->fd, last, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, edu_map(&self->edu, IOVA, map, SZ_2M, true));
	ASSERT_EQ(0, dev_resize(0, last));
	EXPECT_EQ(SIGBUS, rdax_load(map));
	other = region_create();
	ASSERT_LT(0, other);
	ASSERT_EQ(0, dev_resize(other, SZ_2M));
	fd = dev_open(other);
	ASSERT_GE(fd, 0);
	EXPECT_TRUE(is_zero(file_page(fd, FIRST)));
	EXPECT_EQ(0, edu_writes(self, FIRST, 1));
	EXPECT_TRUE(is_page(file_page(fd, FIRST), 1));
	EXPECT_EQ(0, unmap_dma(self, SZ_2M));
	EXPECT_EQ(SZ_4K, pwrite(fd, memset(self->scratch, 0, SZ_4K), SZ_4K, FIRST));
	close(fd);
}

/*
 * Memory errors
 */

/* VFIO is not told: the edu reaches the page as before. What is mapped for DMA later is refused. */
TEST_F(vfio, a_memory_error)
{
	uint64_t phys = rdax_attr("resource") + FIRST;

	if (!rdax_can_report_error())
		SKIP(return, "no hard_offline_page");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, map_dma(self, 0, SZ_2M));
	ASSERT_EQ(0, rdax_report_error(phys));
	ASSERT_TRUE(rdax_goes_bad(self->map + FIRST));
	EXPECT_EQ(0, edu_writes(self, FIRST, 1));
	EXPECT_EQ(0, edu_reads(self, FIRST));
	EXPECT_TRUE(is_page(self->scratch, 1));
	EXPECT_EQ(0, edu_writes(self, BESIDE, 2));
	EXPECT_TRUE(is_page((void *)(self->map + BESIDE), 2));
	EXPECT_EQ(-1, pread(self->fd, self->scratch, SZ_4K, FIRST));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(-EFAULT, edu_map(&self->edu, 2 * IOVA, self->map + FIRST, SZ_4K, true));
	EXPECT_EQ(0, rdax_store(self->map + BESIDE));
	EXPECT_EQ(0, edu_map(&self->edu, 2 * IOVA, self->map + BESIDE, SZ_4K, true));
	EXPECT_EQ(0, edu_unmap(&self->edu, 2 * IOVA, SZ_4K));
	EXPECT_EQ(0, unmap_dma(self, SZ_2M));
	EXPECT_EQ(0, rdax_unbind());
}

/* Where writes to pages are tracked, the kernel does not let them be pinned for long. */
TEST_F(vfio, tracked)
{
	if (!variant->pages)
		SKIP(return, "only pages can be tracked");
	munmap(self->map, WINDOW);
	close(self->fd);
	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("rdax/memory"), "tracked"));
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	self->map[0] = 1;
	EXPECT_EQ(-EFAULT, map_dma(self, 0, SZ_2M));
	EXPECT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "1"));
	EXPECT_EQ(-EFAULT, map_dma(self, 0, SZ_2M));
	EXPECT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "0"));
}

int main(int argc, char **argv)
{
	const char *why = edu_take();

	if (why) {
		ksft_print_header();
		ksft_exit_skip("%s\n", why);
	}
	rdax_begin();
	return test_harness_run(argc, argv);
}
