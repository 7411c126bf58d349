// SPDX-License-Identifier: GPL-2.0
/*
 * Two processes fault the same fresh 2 MiB range at once, one at 4 KiB and one
 * at 2 MiB. Whoever comes first decides what entries the range gets, and the
 * other must fit in: every byte right, both finish, and the counters add up to
 * exactly one of the two outcomes a round. (In fs/dax this pair gave "bad pmd",
 * lost wake-ups and data in the wrong place: xfstests generic/437.)
 */
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

/* The mapping begins 2 MiB into the device and can't hold a 1 GiB page. */
#define START	SZ_2M
#define ROUNDS	511
#define PAGES	8	/* touched in each range, by each process */

enum side { SMALL, LARGE };

struct control {
	int arrived[ROUNDS][2];
	int failed[2];
};

/* What both processes write to: the same pages, other words of them. */
static uint64_t *word_of(char *range, enum side side, int round, int i)
{
	int page = (i * 64 + round * 7) % 512;

	return (uint64_t *)(range + page * SZ_4K) + side * 8 + i;
}

static uint64_t value_of(enum side side, int round, int i)
{
	return UINT64_C(0x5d0) << 48 | (uint64_t)round << 16 | side << 8 | i;
}

/* Meet the other process; then one side waits a little, so that each wins often. */
static void meet(struct control *c, enum side me, int round, int point)
{
	int *arrived = &c->arrived[round][point];

	__atomic_fetch_add(arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < 2)
		sched_yield();
	for (int i = 0; i < round * 50 && round % 4 == (int)me; i++)
		__atomic_load_n(arrived, __ATOMIC_SEQ_CST);
}

static int run_side(struct control *c, enum side side)
{
	int fd = rdax_open();
	char *map = rdax_map(fd, START, ROUNDS * SZ_2M);

	if (map == MAP_FAILED)
		return 1;
	if (side == SMALL && madvise(map, ROUNDS * SZ_2M, MADV_NOHUGEPAGE))
		return 2;
	for (int round = 0; round < ROUNDS; round++) {
		char *range = map + round * SZ_2M;

		meet(c, side, round, 0);
		for (int i = 0; i < PAGES; i++)
			*word_of(range, side, round, i) = value_of(side, round, i);
		meet(c, side, round, 1);
		for (int i = 0; i < PAGES; i++)
			for (int who = SMALL; who <= LARGE; who++)
				if (*word_of(range, who, round, i) !=
				    value_of(who, round, i))
					__atomic_fetch_add(&c->failed[side], 1,
							   __ATOMIC_SEQ_CST);
	}
	return 0;
}

static int run_both(void *arg)
{
	struct control *c = arg;
	int small, status;
	pid_t pid = fork();

	if (pid < 0)
		return 10;
	if (!pid)
		_exit(run_side(c, SMALL));
	small = run_side(c, LARGE);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 11;
	return small ?: WEXITSTATUS(status);
}

TEST(two_processes)
{
	struct control *c = rdax_shared(sizeof(*c));
	struct rdax_counts before, d;
	uint64_t small;

	ASSERT_EQ(0, rdax_fresh("4K"));
	/* Who comes first decides for good. */
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/upgrade", "N"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + ROUNDS * SZ_2M)
		SKIP(return, "needs 1 GiB at a multiple of 2 MiB");

	rdax_counts(&before);
	ASSERT_EQ(0, rdax_bounded(run_both, c, RDAX_PATIENCE));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, c->failed[SMALL]);
	EXPECT_EQ(0, c->failed[LARGE]);
	EXPECT_EQ(0, rdax_sigbus(&d));
	EXPECT_EQ(0, d.oom);
	EXPECT_EQ(0, d.pud_mapped);

	/*
	 * A range that the large side won has one entry and one large mapping;
	 * in the others both sides have the same small pages.
	 */
	small = ROUNDS - d.pmd_mapped;
	EXPECT_EQ(PAGES * ROUNDS + PAGES * small, d.pte_mapped);
	EXPECT_EQ(d.pmd_mapped + PAGES * small, d.created);
	EXPECT_LT(0, d.pmd_mapped);
	EXPECT_LT(0, small);
	TH_LOG("2 MiB first in %llu of %d, waits %llu, wakes %llu",
	       (unsigned long long)d.pmd_mapped, ROUNDS,
	       (unsigned long long)d.waits, (unsigned long long)d.wakes);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
