// SPDX-License-Identifier: GPL-2.0
/*
 * Which page size serves a fault, proven by the counters: the largest that
 * fits, never larger than the range or the other entries allow; and data
 * written through one size read back through the others and by another process.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

static const uint64_t all_sizes[] = { SZ_4K, SZ_2M, SZ_1G };

FIXTURE(sizes)
{
	int fd;
};

FIXTURE_VARIANT(sizes)
{
	uint64_t bytes;
	uint64_t count;
};

FIXTURE_VARIANT_ADD(sizes, pte)
{
	.bytes = SZ_4K,
	.count = 256,
};

FIXTURE_VARIANT_ADD(sizes, pmd)
{
	.bytes = SZ_2M,
	.count = 64,
};

FIXTURE_VARIANT_ADD(sizes, pud)
{
	.bytes = SZ_1G,
	.count = 3,
};

FIXTURE_SETUP(sizes)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(variant->bytes))
		SKIP(return, "namespace too small or not aligned for this size");
}

FIXTURE_TEARDOWN(sizes)
{
	close(self->fd);
}

/* As many units of the size as wanted, or as the device holds. */
static uint64_t length(uint64_t bytes, uint64_t count)
{
	uint64_t room = rdax_size() / bytes;

	return bytes * (count < room ? count : room);
}

/* How many of the units raise a signal when they are read. */
static int signals_in(char *map, uint64_t len, uint64_t bytes)
{
	int signals = 0;

	for (uint64_t at = 0; at < len; at += bytes)
		signals += rdax_load(map + at) != 0;
	return signals;
}

/*
 * One fault a unit, of that size only, and none the second time. What is only read needs no entry, but in
 * 1 GiB.
 */
TEST_F(sizes, one_fault_a_unit)
{
	uint64_t len = length(variant->bytes, variant->count);
	struct rdax_counts before, d;
	char *map;

	map = rdax_map(self->fd, 0, len);
	ASSERT_NE(MAP_FAILED, map);

	rdax_counts(&before);
	EXPECT_EQ(0, signals_in(map, len, variant->bytes));
	rdax_delta(&before, &d);
	for (size_t i = 0; i < ARRAY_SIZE(all_sizes); i++) {
		EXPECT_EQ(all_sizes[i] == variant->bytes ? len / variant->bytes : 0,
			  rdax_mapped(&d, all_sizes[i]));
	}
	EXPECT_EQ(variant->bytes == SZ_1G ? len / variant->bytes : 0, d.created);
	EXPECT_EQ(0, rdax_sigbus(&d));
	EXPECT_EQ(0, d.oom);
	EXPECT_EQ(0, d.raced);
	EXPECT_EQ(0, d.waits);
	EXPECT_EQ(0, d.wakes);

	rdax_counts(&before);
	EXPECT_EQ(0, signals_in(map + variant->bytes - 1, len, variant->bytes));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, rdax_mapped(&d, SZ_4K) + rdax_mapped(&d, SZ_2M) +
		     rdax_mapped(&d, SZ_1G));
	EXPECT_EQ(0, d.created);
}

/* The same by a write as the first access; then the entries serve a new mapping. */
TEST_F(sizes, entries_outlive_mappings)
{
	uint64_t len = length(variant->bytes, variant->count);
	struct rdax_counts before, d;
	char *map;

	rdax_counts(&before);
	for (int round = 1; round <= 2; round++) {
		map = rdax_map(self->fd, 0, len);
		ASSERT_NE(MAP_FAILED, map);
		rdax_fill(map, 0, len, variant->bytes, round);
		rdax_delta(&before, &d);
		EXPECT_EQ(round * len / variant->bytes,
			  rdax_mapped(&d, variant->bytes));
		EXPECT_EQ(len / variant->bytes, d.created);
		ASSERT_EQ(0, munmap(map, len));
	}
}

/* A read before the write must not leave the page read-only, or lose the write. */
TEST_F(sizes, read_then_write)
{
	uint64_t len = length(variant->bytes, 4);
	uint64_t step = variant->bytes == SZ_1G ? SZ_2M : SZ_4K / 8;
	char *map, *again;

	map = rdax_map(self->fd, 0, len);
	ASSERT_NE(MAP_FAILED, map);
	again = rdax_map(self->fd, 0, len);
	ASSERT_NE(MAP_FAILED, again);
	for (uint64_t at = 0; at < len; at += variant->bytes) {
		ASSERT_EQ(0, rdax_load(map + at));
		ASSERT_EQ(0, rdax_load(again + at));
	}
	rdax_fill(map, 0, len, step, 1);
	EXPECT_EQ(0, rdax_wrong(again, 0, len, step, 1));
	rdax_fill(again, 0, len, step, 2);
	EXPECT_EQ(0, rdax_wrong(map, 0, len, step, 2));
}

/* What a 2 MiB mapping can hold and a 1 GiB mapping can't. */
#define AREA	(SZ_1G - SZ_2M)
#define WORDS	(AREA / SZ_2M)

struct through {
	uint64_t bytes, seed;
};

/* Map the area so that only pages of this size can serve it. */
static char *map_area(int fd, uint64_t bytes)
{
	char *map = rdax_map(fd, 0, bytes == SZ_1G ? SZ_1G : AREA);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, AREA, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static int read_area(void *arg)
{
	struct through *t = arg;
	int fd = rdax_open();
	char *map = map_area(fd, t->bytes);

	if (map == MAP_FAILED)
		return 1;
	return rdax_wrong(map, 0, AREA, SZ_2M, t->seed) != 0;
}

/*
 * Write through this size and read through each, in a second process that opens
 * the device itself: beside the writer's entries, and after a new bind without.
 */
TEST_F(sizes, data_through_other_sizes)
{
	struct through t = { .seed = variant->bytes };
	struct rdax_counts before, d;
	char *map;

	if (!rdax_fits(SZ_1G))
		SKIP(return, "needs 1 GiB");

	for (int fresh = 0; fresh < 2; fresh++) {
		for (size_t i = 0; i < ARRAY_SIZE(all_sizes); i++) {
			t.bytes = all_sizes[i];
			t.seed++;
			map = map_area(self->fd, variant->bytes);
			ASSERT_NE(MAP_FAILED, map);
			rdax_fill(map, 0, AREA, SZ_2M, t.seed);
			if (fresh) {
				munmap(map, variant->bytes == SZ_1G ? SZ_1G : AREA);
				close(self->fd);
				ASSERT_EQ(0, rdax_fresh("4K"));
				self->fd = rdax_open();
			}
			rdax_counts(&before);
			EXPECT_EQ(0, rdax_bounded(read_area, &t, RDAX_PATIENCE));
			rdax_delta(&before, &d);
			if (fresh) {
				EXPECT_EQ(t.bytes == SZ_1G ? 1 : WORDS,
					  rdax_mapped(&d, t.bytes));
			}
		}
	}
}

FIXTURE(mixed)
{
	int fd;
};

FIXTURE_SETUP(mixed)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_1G) || rdax_size() < 3 * SZ_1G)
		SKIP(return, "needs 3 GiB at a multiple of 1 GiB");
}

FIXTURE_TEARDOWN(mixed)
{
	rdax_write_file(RDAX_PARAMS "/upgrade", "Y");
	close(self->fd);
}

/* A range that begins and ends askew: small pages at the edges, large inside. */
TEST_F(mixed, ragged_edges)
{
	uint64_t start = SZ_1G - SZ_2M - SZ_4K, end = 2 * SZ_1G + SZ_2M + SZ_4K;
	static const struct {
		uint64_t offset, bytes;
	} touch[] = {
		{ SZ_1G - SZ_2M - SZ_4K, SZ_4K },
		{ SZ_1G - SZ_2M, SZ_2M },
		{ SZ_1G - 1, 0 },
		{ SZ_1G, SZ_1G },
		{ 2 * SZ_1G - 1, 0 },
		{ 2 * SZ_1G + 1, SZ_2M },
		{ 2 * SZ_1G + SZ_2M, SZ_4K },
	};
	struct rdax_counts before, d;
	char *map;

	map = rdax_map(self->fd, start, end - start);
	ASSERT_NE(MAP_FAILED, map);
	for (size_t i = 0; i < ARRAY_SIZE(touch); i++) {
		rdax_counts(&before);
		EXPECT_EQ(0, rdax_load(map + touch[i].offset - start));
		rdax_delta(&before, &d);
		for (size_t j = 0; j < ARRAY_SIZE(all_sizes); j++) {
			EXPECT_EQ(all_sizes[j] == touch[i].bytes,
				  rdax_mapped(&d, all_sizes[j]))
				TH_LOG("at 0x%llx, size 0x%llx",
				       (unsigned long long)touch[i].offset,
				       (unsigned long long)all_sizes[j]);
		}
		EXPECT_EQ(touch[i].bytes == SZ_1G, d.created);
	}
}

/* The addresses fit but differ from the offsets by 4 KiB: only 4 KiB pages. */
TEST_F(mixed, incongruent_address)
{
	uint64_t len = 16 * SZ_2M;
	struct rdax_counts before, d;
	char *room, *map;

	room = mmap(NULL, len + SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	map = (char *)(((uintptr_t)room + SZ_2M - 1) & ~(SZ_2M - 1));
	ASSERT_EQ(map, mmap(map, len, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, self->fd, SZ_4K));

	rdax_counts(&before);
	rdax_fill(map, 0, len, SZ_2M, 5);
	rdax_delta(&before, &d);
	EXPECT_EQ(16, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped);
	EXPECT_EQ(16, d.created);
}

/* An entry that is there already keeps larger pages off its own range only, and readers' 2 MiB not at all. */
TEST_F(mixed, smaller_entry_in_the_way)
{
	struct rdax_counts before, d;
	char *small, *large;

	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/upgrade", "N"));
	small = rdax_map(self->fd, 5 * SZ_4K, SZ_4K);
	ASSERT_NE(MAP_FAILED, small);
	rdax_fill(small, 0, SZ_4K, SZ_4K, 6);

	large = rdax_map(self->fd, 0, 2 * SZ_1G);
	ASSERT_NE(MAP_FAILED, large);

	/* In the 1 GiB, outside the 2 MiB. */
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_load(large + SZ_2M));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pud_mapped);
	EXPECT_EQ(1, d.pud_fallback);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(0, d.pte_mapped);
	EXPECT_EQ(0, d.created);

	/* In the 2 MiB, beside the page, to read: all of it. */
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_load(large + 6 * SZ_4K));
	EXPECT_EQ(0, rdax_wrong(large + 5 * SZ_4K, 0, SZ_4K, SZ_4K, 6));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(0, d.pte_mapped);
	EXPECT_EQ(0, d.created);
	EXPECT_STREQ("0x5 1 order 0 mapped dirty\n", rdax_entries());

	/* To write. */
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_store(large + 6 * SZ_4K));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pmd_mapped);
	/* Twice where the kernel repeats the fault under the mmap_lock. */
	EXPECT_LE(1, d.pmd_fallback);
	EXPECT_EQ(1, d.pte_mapped);
	EXPECT_EQ(1, d.created);

	/* The page itself. */
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_wrong(large + 5 * SZ_4K, 0, SZ_4K, SZ_4K, 6));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pte_mapped);
	EXPECT_EQ(0, d.created);

	/* The next 1 GiB. */
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_load(large + SZ_1G));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pud_mapped);
	EXPECT_EQ(1, d.created);
}

/* Inside a large entry, a smaller mapping gets its own piece and no new entry. */
TEST_F(mixed, inside_a_larger_entry)
{
	uint64_t at = 7 * SZ_2M;
	struct rdax_counts before, d;
	char *large, *pmd, *pte;

	large = rdax_map(self->fd, 0, SZ_1G);
	ASSERT_NE(MAP_FAILED, large);
	rdax_fill(large + at, at, SZ_2M, SZ_4K, 8);

	rdax_counts(&before);
	pmd = rdax_map(self->fd, at, SZ_2M);
	ASSERT_NE(MAP_FAILED, pmd);
	EXPECT_EQ(0, rdax_wrong(pmd, at, SZ_2M, SZ_4K, 8));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(0, d.pte_mapped);
	EXPECT_EQ(0, d.created);

	rdax_counts(&before);
	pte = rdax_map(self->fd, at + 3 * SZ_4K, 2 * SZ_4K);
	ASSERT_NE(MAP_FAILED, pte);
	EXPECT_EQ(0, rdax_wrong(pte, at + 3 * SZ_4K, 2 * SZ_4K, SZ_4K, 8));
	rdax_delta(&before, &d);
	EXPECT_EQ(2, d.pte_mapped);
	EXPECT_EQ(0, d.created);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
