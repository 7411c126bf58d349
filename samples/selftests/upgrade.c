// SPDX-License-Identifier: GPL-2.0
/*
 * A 2 MiB write fault over 4 KiB entries makes one entry of them all: with every
 * byte kept, and with nobody's 4 KiB mapping left from before, since it would know
 * nothing of the new entry's lock. Where the parameter `upgrade` forbids it, the
 * fault falls back to 4 KiB. A read fault needs no entry and leaves them alone.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define START	(3 * SZ_2M)
#define PARAM	RDAX_PARAMS "/upgrade"

static char *map_small(int fd)
{
	char *map = rdax_map(fd, START, SZ_2M);

	if (map != MAP_FAILED && madvise(map, SZ_2M, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static uint64_t *word(char *map, uint64_t page)
{
	return (uint64_t *)(map + page * SZ_4K) + page % 512;
}

static uint64_t load(char *map, uint64_t page)
{
	return __atomic_load_n(word(map, page), __ATOMIC_RELAXED);
}

static void store(char *map, uint64_t page, uint64_t value)
{
	__atomic_store_n(word(map, page), value, __ATOMIC_RELAXED);
}

struct start {
	struct rdax_counts counts;
	uint64_t upgrades, conflicts;
};

FIXTURE(upgrade)
{
	int fd;
	char *small, *large;
	struct start start;
};

/* The 2 MiB hold their page number in each page, and have no entry. */
FIXTURE_SETUP(upgrade)
{
	for (int round = 0; round < 2; round++) {
		ASSERT_EQ(0, rdax_fresh("4K"));
		self->fd = rdax_open();
		ASSERT_GE(self->fd, 0);
		if (!rdax_fits(SZ_2M) || rdax_size() < START + SZ_2M)
			SKIP(return, "namespace too small or not aligned");
		self->small = map_small(self->fd);
		self->large = rdax_map(self->fd, START, SZ_2M);
		ASSERT_NE(MAP_FAILED, self->small);
		ASSERT_NE(MAP_FAILED, self->large);
		for (uint64_t page = 0; !round && page < 512; page++)
			store(self->large, page, page + 1);
		if (!round)
			close(self->fd);
	}
	ASSERT_EQ(0, rdax_write_file(PARAM, "Y"));
	rdax_counts(&self->start.counts);
	self->start.upgrades = rdax_event("upgrades");
	self->start.conflicts = rdax_event("conflicts");
}

FIXTURE_TEARDOWN(upgrade)
{
	rdax_write_file(PARAM, "Y");
	close(self->fd);
}

/* Pages without their number. */
static int wrong(char *map)
{
	int bad = 0;

	for (uint64_t page = 0; page < 512; page++)
		bad += load(map, page) != page + 1;
	return bad;
}

static void expect_upgrades(struct __test_metadata *_metadata, const struct start *start,
			    uint64_t n, const char *entries)
{
	struct rdax_counts d;

	EXPECT_STREQ(entries, rdax_entries());
	EXPECT_EQ(n, rdax_event("upgrades") - start->upgrades);
	rdax_delta(&start->counts, &d);
	EXPECT_EQ(n, d.pmd_mapped);
	EXPECT_EQ(0, d.pmd_fallback);
	EXPECT_EQ(0, d.oom + rdax_sigbus(&d));
}

/* A 2 MiB leaf that is only read needs no entry, whatever entries there are. */
TEST_F(upgrade, not_by_a_read)
{
	struct rdax_counts d;

	EXPECT_EQ(1, load(self->small, 0));
	store(self->small, 100, 101);
	EXPECT_EQ(512, load(self->small, 511));
	EXPECT_STREQ("0x664 1 order 0 mapped dirty\n", rdax_entries());
	EXPECT_EQ(8, load(self->large, 7));
	rdax_delta(&self->start.counts, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_EQ(0, d.pmd_fallback);
	EXPECT_EQ(0, rdax_event("upgrades") - self->start.upgrades);
	EXPECT_STREQ("0x664 1 order 0 mapped dirty\n", rdax_entries());
	EXPECT_EQ(0, wrong(self->small));
	EXPECT_EQ(0, wrong(self->large));

	/* Nor does it keep others from their small ones. */
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("", rdax_entries());
	store(self->small, 1, 2);
	EXPECT_STREQ("0x601 1 order 0 mapped dirty\n", rdax_entries());
	EXPECT_EQ(0, wrong(self->large));
}

TEST_F(upgrade, by_a_write)
{
	store(self->small, 0, 1);
	store(self->large, 7, 8);
	expect_upgrades(_metadata, &self->start, 1, "0x600 1 order 9 mapped dirty\n");
	EXPECT_EQ(0, wrong(self->small));
	EXPECT_EQ(0, wrong(self->large));
}

/* In each part of the 2 MiB a lone entry is found: in the index, too, it is a tree. */
TEST_F(upgrade, one_entry_anywhere)
{
	for (uint64_t page = 0, n = 1; page < 512; page += 73, n++) {
		ASSERT_EQ(0, rdax_punch(self->fd, START, SZ_2M));
		/* The 2 MiB hole goes: a punch of a part leaves the rest unknown. */
		ASSERT_EQ(0, rdax_punch(self->fd, START + page * SZ_4K, SZ_4K));
		store(self->small, page, n + 1);
		store(self->large, page, n);
		EXPECT_EQ(n, load(self->small, page));
		expect_upgrades(_metadata, &self->start, n, "0x600 1 order 9 mapped dirty\n");
	}
}

/* Holes among them are media afterwards, and still zero. */
TEST_F(upgrade, of_holes)
{
	store(self->small, 3, 4);
	ASSERT_EQ(0, rdax_punch(self->fd, START + 16 * SZ_4K, 16 * SZ_4K));
	EXPECT_EQ(0, load(self->small, 20));
	EXPECT_STREQ("0x603 1 order 0 mapped dirty\n"
		     "0x610 1 order 4 zero\n", rdax_entries());
	store(self->large, 20, 21);
	expect_upgrades(_metadata, &self->start, 1, "0x600 1 order 9 mapped dirty\n");
	/* The zeroes are gone from where they were mapped. */
	EXPECT_EQ(21, load(self->small, 20));
	EXPECT_EQ(0, load(self->small, 21));
	EXPECT_EQ(15, wrong(self->small));
}

/*
 * Other processes
 */

enum { LOOK, WRITE };

static int old_user(void *arg, int step)
{
	char **map = arg;

	if (!*map)
		*map = map_small(rdax_open());
	if (*map == MAP_FAILED)
		return 255;
	if (step == LOOK)
		return wrong(*map) != 0;
	store(*map, 9, 1000);
	return 0;
}

TEST_F(upgrade, others_have_it_mapped)
{
	char *own = NULL;
	struct rdax_peer reader, heir;
	struct rdax_counts d;

	ASSERT_EQ(0, rdax_peer_start(&reader, old_user, &own));
	for (uint64_t page = 0; page < 512; page++)
		store(self->small, page, page + 1);
	ASSERT_EQ(0, rdax_peer_start(&heir, old_user, &self->small));
	EXPECT_EQ(0, rdax_peer_step(&reader, LOOK));
	EXPECT_EQ(0, rdax_peer_step(&heir, LOOK));

	store(self->large, 7, 8);
	expect_upgrades(_metadata, &self->start, 1, "0x600 1 order 9 mapped dirty\n");

	/* What each had mapped is gone: it faults again, and finds the same. */
	rdax_counts(&self->start.counts);
	EXPECT_EQ(0, rdax_peer_step(&reader, LOOK));
	EXPECT_EQ(0, rdax_peer_step(&heir, LOOK));
	EXPECT_EQ(0, wrong(self->small));
	rdax_delta(&self->start.counts, &d);
	EXPECT_EQ(3 * 512, d.pte_mapped);
	EXPECT_EQ(0, d.created);
	EXPECT_EQ(0, rdax_peer_step(&reader, WRITE));
	EXPECT_EQ(1000, load(self->large, 9));
	EXPECT_STREQ("0x600 1 order 9 mapped dirty\n", rdax_entries());
	rdax_peer_end(&reader);
	rdax_peer_end(&heir);
}

TEST_F(upgrade, forbidden)
{
	struct rdax_counts d;

	ASSERT_EQ(0, rdax_write_file(PARAM, "N"));
	store(self->small, 100, 101);
	store(self->large, 7, 8);
	EXPECT_STREQ("0x607 1 order 0 mapped dirty\n"
		     "0x664 1 order 0 mapped dirty\n", rdax_entries());
	rdax_delta(&self->start.counts, &d);
	EXPECT_EQ(0, d.pmd_mapped);
	EXPECT_LE(1, d.pmd_fallback);
	EXPECT_EQ(2, d.pte_mapped);
	EXPECT_EQ(0, rdax_event("upgrades") - self->start.upgrades);
	EXPECT_EQ(d.pmd_fallback, rdax_event("conflicts") - self->start.conflicts);
	EXPECT_EQ(0, wrong(self->large));
	EXPECT_EQ(0, wrong(self->small));
}

/*
 * Under load: writers at 4 KiB, each with its own words, while the 2 MiB come
 * and go around them.
 */

#define WRITERS	3
#define SECONDS	3
#define TAIL	8	/* pages at the end that nobody writes, but punches */

struct load {
	uint64_t upgrades;	/* before it */
	uint64_t last[WRITERS];
	bool stop;
	int lost;
};

/* Fills its words with a number, looks if all are there, and goes on to the next. */
static int write_words(struct load *l, int me)
{
	char *map = map_small(rdax_open());
	uint64_t page, n;

	if (map == MAP_FAILED)
		return 1;
	for (n = 1; !__atomic_load_n(&l->stop, __ATOMIC_RELAXED); n++) {
		for (page = 0; page < 512 - TAIL; page++)
			__atomic_store_n((uint64_t *)(map + page * SZ_4K) + me, n,
					 __ATOMIC_RELAXED);
		for (page = 0; page < 512 - TAIL; page++)
			if (__atomic_load_n((uint64_t *)(map + page * SZ_4K) + me,
					    __ATOMIC_RELAXED) != n)
				__atomic_fetch_add(&l->lost, 1, __ATOMIC_RELAXED);
		__atomic_store_n(&l->last[me], n, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Else nothing is proven. */
static bool is_proof(const struct load *l)
{
	for (int i = 0; i < WRITERS; i++)
		if (__atomic_load_n(&l->last[i], __ATOMIC_RELAXED) < 2)
			return false;
	return rdax_event("upgrades") - l->upgrades > 10;
}

/* Every punch takes the 2 MiB entry away, every fault makes one again. */
static int come_and_go(struct load *l, int fd)
{
	time_t begun = time(NULL), took;
	unsigned int n = 0;
	char *map;

	/* On a busy machine it takes longer. */
	for (;;) {
		took = time(NULL) - begun;
		if (took >= RDAX_PATIENCE / 2 || (took >= SECONDS && is_proof(l)))
			return 0;
		map = rdax_map(fd, START, SZ_2M);
		/* Not a word of the writers'. */
		if (map == MAP_FAILED || rdax_store(map + n % 512 * SZ_4K + SZ_4K / 2))
			return 2;
		munmap(map, SZ_2M);
		if (rdax_punch(fd, START + SZ_2M - TAIL * SZ_4K, (n % TAIL + 1) * SZ_4K))
			return 3;
		/* Time for the writers to make entries of their own. */
		usleep(500 + n++ % 16 * 200);
	}
}

static int run_load(void *arg)
{
	struct load *l = arg;
	int fd = rdax_open(), ret, status;
	pid_t pids[WRITERS];

	l->upgrades = rdax_event("upgrades");
	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(write_words(l, i));
	}
	ret = come_and_go(l, fd);
	__atomic_store_n(&l->stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < WRITERS; i++) {
		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			ret = ret ?: 4;
	}
	return ret;
}

TEST_F(upgrade, under_load)
{
	struct load *l = rdax_shared(sizeof(*l));
	uint64_t n;

	ASSERT_EQ(0, rdax_bounded(run_load, l, RDAX_PATIENCE));
	EXPECT_EQ(0, l->lost);
	EXPECT_TRUE(is_proof(l));
	for (int i = 0; i < WRITERS; i++) {
		for (uint64_t page = 0; page < 512 - TAIL; page++) {
			n = ((uint64_t *)(self->large + page * SZ_4K))[i];
			EXPECT_EQ(l->last[i], n)
				TH_LOG("writer %d, page %d", i, (int)page);
		}
	}
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	n = rdax_event("upgrades") - l->upgrades;
	TH_LOG("%d upgrades, %d waits, %d rounds", (int)n, (int)rdax_event("waits"),
	       (int)l->last[0]);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
