// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings that move, shrink, and lose a 4 KiB piece out of a large page: what
 * remains must show the same media at the same offsets. A fault handler that
 * trusts the alignment seen at mmap time maps the wrong page after a move.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

FIXTURE(remap)
{
	int fd;
	uint64_t len, step;
	char *map;
	struct rdax_counts before;
};

FIXTURE_VARIANT(remap)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(remap, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(remap, pmd)
{
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(remap, pud)
{
	.bytes = SZ_1G,
};

/* Two units, filled, each mapped by one page of its size. */
FIXTURE_SETUP(remap)
{
	struct rdax_counts d;

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->len = 2 * variant->bytes;
	self->step = variant->bytes / 32;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_counts(&self->before);
	rdax_fill(self->map, 0, self->len, self->step, variant->bytes);
	rdax_delta(&self->before, &d);
	ASSERT_EQ(2, rdax_mapped(&d, variant->bytes));
	rdax_counts(&self->before);
}

FIXTURE_TEARDOWN(remap)
{
	close(self->fd);
}

/* Address space for `len`, at `askew` beyond a multiple of `bytes`. */
static char *room_at(uint64_t len, uint64_t bytes, uint64_t askew)
{
	char *room = mmap(NULL, len + 2 * bytes, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return NULL;
	return (char *)(((uintptr_t)room + bytes - 1) & ~(bytes - 1)) + askew;
}

TEST_F(remap, move)
{
	char *to = room_at(self->len, variant->bytes, 0), *now;
	struct rdax_counts d;

	ASSERT_NE(NULL, to);
	now = mremap(self->map, self->len, self->len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ(to, now);
	EXPECT_EQ(0, rdax_wrong(now, 0, self->len, self->step, variant->bytes));
	EXPECT_EQ(SIGSEGV, rdax_load(self->map));
	rdax_delta(&self->before, &d);
	EXPECT_EQ(0, d.created);
	EXPECT_EQ(0, rdax_sigbus(&d));
}

/* Off by 4 KiB the large page no longer fits: 4 KiB pages of the same entry. */
TEST_F(remap, move_askew)
{
	struct rdax_counts d;
	char *to, *now;

	if (variant->bytes == SZ_4K)
		SKIP(return, "a page can't be askew");
	to = room_at(self->len, variant->bytes, SZ_4K);
	ASSERT_NE(NULL, to);
	now = mremap(self->map, self->len, self->len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ(to, now);
	EXPECT_EQ(0, rdax_wrong(now, 0, self->len, self->step, variant->bytes));
	rdax_delta(&self->before, &d);
	EXPECT_EQ(0, d.created);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped);
	EXPECT_EQ(self->len / self->step, d.pte_mapped);
	EXPECT_EQ(0, rdax_sigbus(&d));
}

struct toucher {
	const char *places[2];
	uint64_t len, step;
	bool stop;
	uint64_t served;
};

/* Touch the mapping wherever it is; where it isn't, SIGSEGV says so. */
static void *touch_places(void *arg)
{
	struct toucher *t = arg;

	for (uint64_t i = 0; !__atomic_load_n(&t->stop, __ATOMIC_RELAXED); i++)
		if (!rdax_load(t->places[i % 2] + i * t->step % t->len))
			__atomic_fetch_add(&t->served, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* To and fro while another thread faults: no fault may slip in between. */
TEST_F(remap, move_while_faulting)
{
	char *to = room_at(self->len, variant->bytes, 0), *at = self->map;
	struct toucher t = { { at, to }, self->len, self->step, };
	pthread_t thread;

	ASSERT_NE(NULL, to);
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch_places, &t));
	for (int i = 1; i <= 200; i++) {
		char *next = (char *)t.places[i % 2];

		ASSERT_EQ(next, mremap(at, self->len, self->len,
				       MREMAP_MAYMOVE | MREMAP_FIXED, next));
		/* Nothing else may settle at the place that was left. */
		ASSERT_EQ(at, mmap(at, self->len, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		at = next;
		if (i % 20 == 0)
			usleep(1000);
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_LT(0, t.served);
	EXPECT_EQ(0, rdax_wrong(at, 0, self->len, self->step, variant->bytes));
	self->map = at;
}

TEST_F(remap, shrink)
{
	uint64_t len = self->len / 2;
	struct rdax_counts d;

	ASSERT_EQ(self->map, mremap(self->map, self->len, len, 0));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, len, self->step, variant->bytes));
	EXPECT_EQ(SIGSEGV, rdax_load(self->map + len));
	rdax_delta(&self->before, &d);
	EXPECT_EQ(0, d.created);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped);
	/* rdax takes 1 GiB pages away before the kernel trips over them. */
	EXPECT_GE(variant->bytes == SZ_1G, d.pud_mapped);
}

/*
 * A 1 GiB page that were inaccessible would not be present, and lie in the page
 * table all the same: the kernel's complaints ("bad pud") fail the run.
 */
TEST_F(remap, move_inaccessible)
{
	char *place = mmap(NULL, 2 * self->len, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *map;

	ASSERT_NE(MAP_FAILED, place);
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_NONE));
	EXPECT_EQ(SIGSEGV, rdax_load(self->map));
	/* Here kernels with CONFIG_DEBUG_VM would complain. */
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, variant->bytes));
	ASSERT_EQ(0, mprotect(self->map, self->len, PROT_NONE));

	map = mremap(self->map, self->len, self->len, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	ASSERT_EQ(place, map);
	ASSERT_EQ(0, mprotect(map, self->len, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, rdax_wrong(map, 0, self->len, self->step, variant->bytes));

	/* And when a page of it is cut out. */
	ASSERT_EQ(0, mprotect(map, self->len, PROT_NONE));
	ASSERT_EQ(0, munmap(map + SZ_4K, SZ_4K));
	ASSERT_EQ(0, mprotect(map, SZ_4K, PROT_READ));
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_4K, SZ_4K, variant->bytes));
	self->map = map;
}

/* Growing a pfn mapping is refused by the kernel; the old one stays. */
TEST_F(remap, grow_refused)
{
	EXPECT_EQ(MAP_FAILED, mremap(self->map, self->len, self->len + variant->bytes,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, variant->bytes));
}

/* Words of the fill lie in other pages than the one at the middle of a unit. */
static uint64_t hole(uint64_t bytes, uint64_t step)
{
	return bytes / 2 + step / 2;
}

TEST_F(remap, hole_in_a_large_page)
{
	uint64_t at = hole(variant->bytes, self->step);
	struct rdax_counts d;

	if (variant->bytes == SZ_4K)
		SKIP(return, "nothing smaller than a page");
	ASSERT_EQ(0, munmap(self->map + at, SZ_4K));
	EXPECT_EQ(SIGSEGV, rdax_load(self->map + at));
	EXPECT_EQ(0, rdax_load(self->map + at - 1));
	EXPECT_EQ(0, rdax_load(self->map + at + SZ_4K));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, variant->bytes));
	rdax_delta(&self->before, &d);
	EXPECT_EQ(0, d.created);
	EXPECT_EQ(0, rdax_sigbus(&d));
	/* The 2 MiB page is gone, so what remains of it comes back in 4 KiB. */
	if (variant->bytes == SZ_2M) {
		EXPECT_EQ(0, d.pmd_mapped);
		EXPECT_EQ(SZ_2M / self->step + 2, d.pte_mapped);
	}

	/* New data through the remains is where it belongs. */
	rdax_fill(self->map, 0, self->len, self->step, 7);
	munmap(self->map, self->len);
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, 7));
}

TEST_F(remap, read_only_page_in_a_large_page)
{
	uint64_t at = hole(variant->bytes, self->step);

	if (variant->bytes == SZ_4K)
		SKIP(return, "nothing smaller than a page");
	ASSERT_EQ(0, mprotect(self->map + at, SZ_4K, PROT_READ));
	EXPECT_EQ(0, rdax_load(self->map + at));
	EXPECT_EQ(SIGSEGV, rdax_store(self->map + at));
	EXPECT_EQ(0, rdax_store(self->map + at - SZ_4K));
	EXPECT_EQ(0, rdax_store(self->map + at + SZ_4K));
	rdax_fill(self->map, 0, self->len, self->step, 9);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, 9));
	ASSERT_EQ(0, mprotect(self->map + at, SZ_4K, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, rdax_store(self->map + at));
}

/* Write access given later reaches the pages that are mapped already. */
TEST_F(remap, writable_later)
{
	char *map = mmap(NULL, self->len, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, 0, self->len, self->step, variant->bytes));
	EXPECT_EQ(SIGSEGV, rdax_store(map));
	ASSERT_EQ(0, mprotect(map, self->len, PROT_READ | PROT_WRITE));
	rdax_fill(map, 0, self->len, self->step, 11);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, 11));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
