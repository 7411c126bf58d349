// SPDX-License-Identifier: GPL-2.0
/*
 * A child shares its parent's mapping: each sees what the other writes after
 * the fork, at every page size, and the fork makes no index entries. It copies no
 * page tables, since it might copy what is taken away at that moment.
 */
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
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
	time_t end = time(NULL) + RDAX_PATIENCE;

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
	/* Of the child, which read first and then wrote. */
	EXPECT_EQ(2 * self->len / variant->bytes, rdax_mapped(&d, variant->bytes));
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

/*
 * Forks, while what is mapped is made clean or taken away
 */

#define START	SZ_2M
#define LEAVES	32

FIXTURE(raced)
{
	char unused;
};

FIXTURE_VARIANT(raced)
{
	bool punch;
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(raced, sync_pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(raced, sync_pmd)
{
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(raced, punch_pte)
{
	.punch = true,
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(raced, punch_pmd)
{
	.punch = true,
	.bytes = SZ_2M,
};

FIXTURE_SETUP(raced)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + LEAVES * SZ_2M)
		SKIP(return, "namespace too small or not aligned");
}

FIXTURE_TEARDOWN(raced)
{
}

struct race {
	bool punch;
	uint64_t bytes;
	int rounds, fd, begun, done, failed;
	char *map;
	uint64_t lost;		/* stores that left their page clean */
};

static int now(int *step)
{
	return __atomic_load_n(step, __ATOMIC_SEQ_CST);
}

static void *take_away(void *arg)
{
	struct race *r = arg;

	for (int round = 1; round <= now(&r->rounds); round++) {
		/* Otherwise it takes one of two CPUs from the parent and the child. */
		while (now(&r->begun) < round)
			sched_yield();
		if (now(&r->rounds) < round)
			break;
		for (int i = 0; i < round * 7919 % 97 * 500; i++)
			now(&r->begun);
		if (r->punch ? rdax_punch(r->fd, START, LEAVES * r->bytes) : fsync(r->fd))
			r->failed = 1;
		__atomic_store_n(&r->done, round, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static uint64_t dirty_entries(void)
{
	uint64_t sum = 0, count;
	char line[128];

	for (const char *at = rdax_entries(); sscanf(at, "%127[^\n]", line) == 1;
	     at += strcspn(at, "\n") + 1)
		if (strstr(line, " dirty") && sscanf(line, "%*s %" SCNu64, &count) == 1)
			sum += count;
	return sum;
}

static void store_to_all(struct race *r)
{
	for (int i = 0; i < LEAVES; i++)
		r->map[i * r->bytes] = i;
}

/*
 * The child stores when all is clean or gone: what it has mapped itself is known.
 *
 * A round took 0.4 to 50 ms, as busy as the host was. Where it takes long, there are fewer rounds.
 */
static int fork_meanwhile(void *arg)
{
	time_t end = time(NULL) + RDAX_PATIENCE / 2;
	struct race *r = arg;
	pthread_t other;
	int status;
	pid_t pid;

	r->fd = rdax_open();
	r->map = rdax_map(r->fd, START, LEAVES * r->bytes);
	if (r->map == MAP_FAILED || (r->bytes == SZ_4K &&
				     madvise(r->map, LEAVES * SZ_4K, MADV_NOHUGEPAGE)))
		return 1;
	if (pthread_create(&other, NULL, take_away, r))
		return 2;
	for (int round = 1; round <= r->rounds; round++) {
		store_to_all(r);
		__atomic_store_n(&r->begun, round, __ATOMIC_SEQ_CST);
		pid = fork();
		if (!pid) {
			while (now(&r->done) < round)
				usleep(100);
			store_to_all(r);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			return 3;
		r->lost += LEAVES - dirty_entries();
		if (round < r->rounds && time(NULL) > end)
			__atomic_store_n(&r->rounds, round, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&r->begun, INT_MAX, __ATOMIC_SEQ_CST);
	pthread_join(other, NULL);
	return r->failed ? 4 : 0;
}

TEST_F_TIMEOUT(raced, nothing_stays_mapped, 2 * RDAX_PATIENCE)
{
	struct race *r = rdax_shared(sizeof(*r));

	r->punch = variant->punch;
	r->bytes = variant->bytes;
	/* A punch of 64 MiB writes them. */
	r->rounds = (!r->punch ? 500 : r->bytes == SZ_4K ? 200 : 40) / RDAX_SLOWER;
	ASSERT_EQ(0, rdax_bounded(fork_meanwhile, r, RDAX_PATIENCE));
	EXPECT_EQ(0, r->lost);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
