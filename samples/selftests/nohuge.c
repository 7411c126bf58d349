// SPDX-License-Identifier: GPL-2.0
/*
 * Where huge pages are switched off, the kernel calls ->fault at order 0 only:
 * it must be served, one 4 KiB page a fault, whether or not a larger entry is
 * there already. (With a larger device alignment: see align.c.)
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define AREA	(4 * SZ_2M)
#define STEP	(SZ_2M / 16)
#define PAGES	(AREA / STEP)

FIXTURE(nohuge)
{
	int fd;
};

FIXTURE_VARIANT(nohuge)
{
	bool by_prctl;
};

FIXTURE_VARIANT_ADD(nohuge, madvise)
{
	.by_prctl = false,
};

FIXTURE_VARIANT_ADD(nohuge, prctl)
{
	.by_prctl = true,
};

FIXTURE_SETUP(nohuge)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_2M))
		SKIP(return, "media not aligned");
}

FIXTURE_TEARDOWN(nohuge)
{
	close(self->fd);
}

static char *map_small(int fd, bool by_prctl)
{
	char *map;

	if (by_prctl && prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		return MAP_FAILED;
	map = rdax_map(fd, 0, AREA);
	if (map != MAP_FAILED && !by_prctl && madvise(map, AREA, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

TEST_F(nohuge, fresh_range)
{
	struct rdax_counts before, d;
	char *map = map_small(self->fd, variant->by_prctl);

	ASSERT_NE(MAP_FAILED, map);
	rdax_counts(&before);
	rdax_fill(map, 0, AREA, STEP, 1);
	EXPECT_EQ(0, rdax_wrong(map, 0, AREA, STEP, 1));
	rdax_delta(&before, &d);
	EXPECT_EQ(PAGES, d.pte_mapped);
	EXPECT_EQ(PAGES, d.created);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped);
	EXPECT_EQ(0, rdax_sigbus(&d));
}

TEST_F(nohuge, over_large_entries)
{
	struct rdax_counts before, d;
	char *large, *map;

	rdax_counts(&before);
	large = rdax_map(self->fd, 0, AREA);
	ASSERT_NE(MAP_FAILED, large);
	rdax_fill(large, 0, AREA, STEP, 2);
	rdax_delta(&before, &d);
	ASSERT_EQ(AREA / SZ_2M, d.pmd_mapped);

	map = map_small(self->fd, variant->by_prctl);
	ASSERT_NE(MAP_FAILED, map);
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_wrong(map, 0, AREA, STEP, 2));
	rdax_fill(map, 0, AREA, STEP, 3);
	EXPECT_EQ(0, rdax_wrong(large, 0, AREA, STEP, 3));
	rdax_delta(&before, &d);
	EXPECT_LE(PAGES, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped);
	EXPECT_EQ(0, d.created);
	EXPECT_EQ(0, rdax_sigbus(&d));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
