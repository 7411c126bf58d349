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

#define PARAM	RDAX_PARAMS "/max_leaf"
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

#ifndef PR_THP_DISABLE_EXCEPT_ADVISED
#define PR_THP_DISABLE_EXCEPT_ADVISED	(1 << 1)
#endif

/* Where only what is advised may be huge (systemd's MemoryTHP=), a mapping of the device is. */
TEST(advised)
{
	struct rdax_counts before, d;
	char *map;
	int fd;

	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M))
		SKIP(return, "media not aligned");
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, prctl(PR_SET_THP_DISABLE, 1, PR_THP_DISABLE_EXCEPT_ADVISED, 0, 0));
	map = rdax_map(fd, SZ_2M, AREA);
	ASSERT_NE(MAP_FAILED, map);
	rdax_counts(&before);
	rdax_fill(map, SZ_2M, AREA, STEP, 1);
	rdax_delta(&before, &d);
	EXPECT_EQ(AREA / SZ_2M, d.pmd_mapped);
	EXPECT_EQ(0, d.pte_mapped);

	/* Who says otherwise has small ones. */
	ASSERT_EQ(0, madvise(map, AREA, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, rdax_punch(fd, SZ_2M, AREA));
	rdax_counts(&before);
	ASSERT_EQ(0, rdax_store(map));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pmd_mapped);
	EXPECT_EQ(1, d.pte_mapped);
	close(fd);
}

/* The module parameter keeps leaves to a size, from the next fault on. */
TEST(max_leaf)
{
	static const struct {
		const char *value;
		int pte, pmd, pud;
	} of[] = { { "4K", 1, 0, 0 }, { "2M", 0, 1, 0 }, { "1G", 0, 0, 1 } };
	struct rdax_counts before, d;
	char *map;
	int fd;

	EXPECT_STREQ("1G\n", rdax_text(PARAM));
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		ASSERT_EQ(0, rdax_fresh("4K"));
		if (!rdax_fits(SZ_1G))
			SKIP(return, "media not aligned");
		ASSERT_EQ(0, rdax_write_file(PARAM, of[i].value));
		fd = rdax_open();
		map = rdax_map(fd, 0, SZ_1G);
		ASSERT_NE(MAP_FAILED, map);
		rdax_counts(&before);
		EXPECT_EQ(0, rdax_store(map + SZ_2M));
		rdax_delta(&before, &d);
		EXPECT_EQ(of[i].pte, d.pte_mapped);
		EXPECT_EQ(of[i].pmd, d.pmd_mapped);
		EXPECT_EQ(of[i].pud, d.pud_mapped);
		close(fd);
	}
	EXPECT_EQ(-EINVAL, rdax_write_file(PARAM, "3M"));
	EXPECT_EQ(-EINVAL, rdax_write_file(PARAM, "4096K"));
	EXPECT_EQ(-EINVAL, rdax_write_file(PARAM, "\n"));
	EXPECT_STREQ("1G\n", rdax_text(PARAM));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
