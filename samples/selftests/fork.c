// SPDX-License-Identifier: GPL-2.0
/*
 * A child shares its parent's mapping: each sees what the other writes after
 * the fork, at every page size, and the fork makes no index entries.
 */
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

FIXTURE(fork)
{
	int fd;
	uint64_t len, step;
	char *map;
};

FIXTURE_VARIANT(fork)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(fork, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(fork, pmd)
{
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(fork, pud)
{
	.bytes = SZ_1G,
};

FIXTURE_SETUP(fork)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->len = 2 * variant->bytes;
	self->step = variant->bytes / 4;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(fork)
{
	close(self->fd);
}

static void put(char *at, char value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Wait until the other process has written that value there. */
static bool sees(const char *at, char value)
{
	time_t end = time(NULL) + 10;

	while (__atomic_load_n(at, __ATOMIC_ACQUIRE) != value)
		if (time(NULL) > end)
			return false;
	return true;
}

/* The steps of a conversation; each waits for the step before. */
static int child(char *map, uint64_t len, uint64_t step)
{
	char *last = map + len - 1;

	if (rdax_wrong(map, 0, len, step, 1))
		return 1;
	put(last, 1);
	if (!sees(last, 2) || rdax_wrong(map, 0, len, step, 2))
		return 2;
	rdax_fill(map, 0, len, step, 3);
	put(last, 3);
	return 0;
}

TEST_F(fork, each_sees_the_other)
{
	char *map = self->map, *last = map + self->len - 1;
	struct rdax_counts before, d;
	int status;
	pid_t pid;

	rdax_fill(map, 0, self->len, self->step, 1);
	put(last, 0);

	rdax_counts(&before);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(child(map, self->len, self->step));
	EXPECT_TRUE(sees(last, 1));
	rdax_fill(map, 0, self->len, self->step, 2);
	put(last, 2);
	EXPECT_TRUE(sees(last, 3));
	EXPECT_EQ(0, rdax_wrong(map, 0, self->len, self->step, 3));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));

	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.created);
	/* VM_PFNMAP tables are copied at the fork: nobody faults again. */
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped);
}

/* First touched after the fork, by both: one entry a unit, two mappings of it. */
TEST_F(fork, first_touch_after)
{
	uint64_t bytes = variant->bytes;
	struct rdax_counts before, d;
	int status;
	pid_t pid;

	rdax_counts(&before);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		rdax_fill(self->map, 0, self->len, self->step, 4);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, self->step, 4));
	rdax_delta(&before, &d);
	EXPECT_EQ(self->len / bytes, d.created);
	EXPECT_EQ(2 * self->len / bytes, rdax_mapped(&d, bytes));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
