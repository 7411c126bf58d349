// SPDX-License-Identifier: GPL-2.0
/*
 * Many processes at once write, read and punch the same pages, at 4 KiB and at
 * 2 MiB. When they have stopped each word holds what was written to it last,
 * or 0 if it was punched after that: a mapping that a punch or another size
 * left behind, a write that went to the wrong page and a fault that slipped
 * into a punch all show as a word that is wrong in the eyes of somebody.
 */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define START	SZ_2M

FIXTURE(collide)
{
};

FIXTURE_SETUP(collide)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + 4 * SZ_2M)
		SKIP(return, "namespace too small or not aligned");
}

FIXTURE_TEARDOWN(collide)
{
}

static char *map_by(uint64_t bytes, uint64_t len)
{
	char *map = rdax_map(rdax_open(), START, len);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, len, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static uint64_t get(const void *p)
{
	return __atomic_load_n((const uint64_t *)p, __ATOMIC_SEQ_CST);
}

static void put(void *p, uint64_t value)
{
	__atomic_store_n((uint64_t *)p, value, __ATOMIC_SEQ_CST);
}

static void count(int *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

/*
 * Some processes, which end with their parent, and where they meet
 */

#define PROCESSES	6

struct meeting {
	int arrived;
};

/* Wait for all: the time limit is that of rdax_bounded(). */
static void meet(struct meeting *m)
{
	int all = __atomic_add_fetch(&m->arrived, 1, __ATOMIC_SEQ_CST);

	all = (all + PROCESSES - 1) / PROCESSES * PROCESSES;
	while (__atomic_load_n(&m->arrived, __ATOMIC_SEQ_CST) < all)
		sched_yield();
}

/* 0 if it was so in all of them. */
static int run_all(int (*fn)(void *arg, int me), void *arg)
{
	pid_t pids[PROCESSES], parent = getpid();
	int status, ret = 0;

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			return 255;
		if (!pids[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(getppid() == parent ? fn(arg, i) : 0);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		if (waitpid(pids[i], &status, 0) != pids[i] || !WIFEXITED(status))
			ret = 254;
		else
			ret = ret ?: WEXITSTATUS(status);
	}
	return ret;
}

/*
 * Writers and punchers of overlapping pages
 */

#define WRITERS	4	/* every other one at 2 MiB */
#define PAGES	(3 * 512)
#define ROUNDS	3

struct words {
	struct meeting meeting;
	time_t end;
	/* The pass over the pages that each writer has begun, and completed. */
	uint64_t begun[WRITERS], done[WRITERS];
	/* For each page those before and behind its last punches. */
	struct {
		bool ever;
		uint64_t done_before[WRITERS], begun_behind[WRITERS];
	} punched[PAGES];
	uint64_t writes, punches;
	int wrong_while, wrong_after;
};

/* Runs of 7 pages, one page apart; then 2 MiB and a half; the rest never. */
static bool may_punch(uint64_t page)
{
	return page < 512 ? page % 8 : page < 1280;
}

static uint64_t *word(char *map, int writer, uint64_t page)
{
	return (uint64_t *)(map + page * SZ_4K + SZ_4K / 2) + writer;
}

static uint64_t value(int writer, uint64_t pass)
{
	return (uint64_t)(writer + 1) << 56 | pass;
}

static void raise_to(uint64_t *p, uint64_t value)
{
	uint64_t old = get(p);

	while (old < value &&
	       !__atomic_compare_exchange_n(p, &old, value, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST))
		;
}

static void write_pages(struct words *w, int me, char *map)
{
	uint64_t pass = get(&w->begun[me]), v, page;

	while (time(NULL) < w->end) {
		put(&w->begun[me], ++pass);
		for (page = 0; page < PAGES; page++)
			put(word(map, me, page), value(me, pass));
		put(&w->done[me], pass);
		for (page = 0; page < PAGES; page++) {
			v = get(word(map, me, page));
			if (v != value(me, pass) && (v || !may_punch(page)))
				count(&w->wrong_while);
		}
	}
}

/* What a word of a writer is to be when all have stopped. */
static bool right(struct words *w, int writer, uint64_t page, uint64_t v)
{
	uint64_t last = w->done[writer];

	if (!w->punched[page].ever || last > w->punched[page].begun_behind[writer])
		return v == value(writer, last);
	if (last <= w->punched[page].done_before[writer])
		return v == 0;
	return v == 0 || v == value(writer, last);
}

static int wrong_words(struct words *w, char *map)
{
	int wrong = 0;

	for (uint64_t page = 0; page < PAGES; page++)
		for (int i = 0; i < WRITERS; i++)
			wrong += !right(w, i, page, get(word(map, i, page)));
	return wrong;
}

/* With some bytes of the pages before and behind, in which there are no words. */
static int punch_pages(struct words *w, int fd, uint64_t first, uint64_t behind,
		       uint64_t head, uint64_t tail)
{
	uint64_t done[WRITERS], begun;
	int i;

	for (i = 0; i < WRITERS; i++)
		done[i] = get(&w->done[i]);
	if (rdax_punch(fd, START + first * SZ_4K - head,
		       (behind - first) * SZ_4K + head + tail))
		return 1;
	for (i = 0; i < WRITERS; i++) {
		begun = get(&w->begun[i]);
		for (uint64_t page = first; page < behind; page++) {
			raise_to(&w->punched[page].done_before[i], done[i]);
			raise_to(&w->punched[page].begun_behind[i], begun);
			__atomic_store_n(&w->punched[page].ever, true, __ATOMIC_SEQ_CST);
		}
	}
	__atomic_fetch_add(&w->punches, 1, __ATOMIC_RELAXED);
	return 0;
}

static int punch_some(struct words *w, int fd, unsigned int *seed)
{
	uint64_t first, pages, head = rand_r(seed) % 3 * 700, tail = rand_r(seed) % 3 * 700;

	switch (rand_r(seed) % 8) {
	case 0:
		return punch_pages(w, fd, 512, 1024, 0, 0);
	case 1 ... 3:
		first = 512 + rand_r(seed) % 768;
		pages = 1 + rand_r(seed) % (1280 - first);
		return punch_pages(w, fd, first, first + pages, head, tail);
	default:
		first = rand_r(seed) % 512;
		first += first % 8 == 0;
		pages = 1 + rand_r(seed) % (8 - first % 8);
		return punch_pages(w, fd, first, first + pages, head, tail);
	}
}

static int write_or_punch(void *arg, int me)
{
	struct words *w = arg;
	char *map = map_by(me % 2 ? SZ_2M : SZ_4K, PAGES * SZ_4K);
	unsigned int seed = w->end * 10 + me;
	int fd = rdax_open(), ret = 0;

	if (map == MAP_FAILED)
		return 1;
	if (me < WRITERS)
		write_pages(w, me, map);
	else
		while (time(NULL) < w->end && !ret)
			ret = punch_some(w, fd, &seed);
	if (me < WRITERS)
		__atomic_fetch_add(&w->writes, get(&w->done[me]) * PAGES, __ATOMIC_RELAXED);
	/* Some more when the writers have stopped. */
	meet(&w->meeting);
	for (int i = 0; me >= WRITERS && i < 10 && !ret; i++)
		ret = punch_some(w, fd, &seed);
	meet(&w->meeting);
	__atomic_fetch_add(&w->wrong_after, wrong_words(w, map), __ATOMIC_SEQ_CST);
	return ret;
}

static int words_round(void *arg)
{
	struct words *w = arg;

	w->end = time(NULL) + 2;
	return run_all(write_or_punch, w);
}

TEST_F_TIMEOUT(collide, words_of_punched_pages, 120)
{
	struct words *w = rdax_shared(sizeof(*w));
	char *map;

	/* A clean start: all words 0. */
	ASSERT_EQ(0, rdax_punch(rdax_open(), START, PAGES * SZ_4K));
	for (int round = 0; round < ROUNDS; round++) {
		memset(&w->meeting, 0, sizeof(w->meeting));
		ASSERT_EQ(0, rdax_bounded(words_round, w, RDAX_PATIENCE));
		EXPECT_EQ(0, w->wrong_while);
		EXPECT_EQ(0, w->wrong_after);
		map = map_by(SZ_2M, PAGES * SZ_4K);
		ASSERT_NE(MAP_FAILED, map);
		EXPECT_EQ(0, wrong_words(w, map));
	}
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	/* On the media as in the mappings. */
	ASSERT_EQ(0, rdax_fresh("4K"));
	map = map_by(SZ_2M, PAGES * SZ_4K);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, wrong_words(w, map));
	EXPECT_LT(50, w->punches);
	TH_LOG("%" PRIu64 " writes, %" PRIu64 " punches", w->writes, w->punches);
}

/*
 * Fresh, or freshly punched, 2 MiB and users of both sizes who come at once
 */

#define RACES	160
#define TOUCHED	8	/* pages, by each process */

struct race {
	struct meeting meeting;
	int wrong, ret;
};

/* All touch the same pages; in each race others. */
static uint64_t *touched(char *map, int user, int race, int i)
{
	return (uint64_t *)(map + (i * 64 + race * 7) % 512 * SZ_4K) + user * TOUCHED + i;
}

static uint64_t mark(int user, int race, int i)
{
	return UINT64_C(0xc0) << 56 | (uint64_t)race << 16 | user << 8 | i;
}

/* Leave a 2 MiB hole; a smaller one and nothing else; pages; or what is there. */
static int prepare(int fd, int race)
{
	switch (race % 4) {
	case 0:
		return rdax_punch(fd, START, SZ_2M);
	case 1:
		return rdax_punch(fd, START, SZ_2M / 2);
	case 2:
		return rdax_punch(fd, START + race % 64 * SZ_4K, 400 * SZ_4K) ?:
		       rdax_punch(fd, START + 77 * SZ_4K, SZ_4K);
	default:
		return 0;
	}
}

/* Half of them at 4 KiB, half at 2 MiB, with a new mapping in every other race. */
static int write_same_pages(void *arg, int me)
{
	struct race *r = arg;
	char *map = NULL;
	int fd = rdax_open();

	for (int race = 0; race < RACES; race++) {
		if (!map)
			map = map_by(me % 2 ? SZ_2M : SZ_4K, SZ_2M);
		if (map == MAP_FAILED)
			return 1;
		if (!me && prepare(fd, race))
			return 2;
		meet(&r->meeting);
		for (int i = 0; i < TOUCHED; i++)
			put(touched(map, me, race, i), mark(me, race, i));
		meet(&r->meeting);
		for (int user = 0; user < PROCESSES; user++)
			for (int i = 0; i < TOUCHED; i++)
				if (get(touched(map, user, race, i)) != mark(user, race, i))
					count(&r->wrong);
		/* Nobody writes there. */
		for (int page = 0; page < 512; page++)
			if (get(map + page * SZ_4K + SZ_4K - 8))
				count(&r->wrong);
		meet(&r->meeting);
		if (race % 2) {
			munmap(map, SZ_2M);
			map = NULL;
		}
	}
	return 0;
}

static int sizes(void *arg)
{
	return run_all(write_same_pages, arg);
}

TEST_F_TIMEOUT(collide, users_of_both_sizes, 120)
{
	struct race *r = rdax_shared(sizeof(*r));
	struct rdax_counts d;

	ASSERT_EQ(0, rdax_punch(rdax_open(), START, SZ_2M));
	ASSERT_EQ(0, rdax_bounded(sizes, r, RDAX_PATIENCE));
	EXPECT_EQ(0, r->wrong);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	rdax_counts(&d);
	EXPECT_EQ(0, rdax_sigbus(&d) + d.oom);
	EXPECT_LT(0, d.waits);
	EXPECT_LT(0, d.wakes);
	TH_LOG("%" PRIu64 " waits, %d upgrades, %d splits", d.waits,
	       (int)rdax_event("upgrades"), (int)rdax_event("splits"));
}

/*
 * Readers of a hole while it is written: each word is 0 until it is what was
 * written, and then that for good.
 */

static int read_or_write(void *arg, int me)
{
	struct race *r = arg;
	uint64_t sizes[] = { SZ_4K, SZ_2M }, v, was[2 * TOUCHED];
	int fd = rdax_open(), left;
	char *map;

	for (int race = 0; race < RACES; race++) {
		/* Who writes, and at which size, changes from race to race. */
		map = map_by(sizes[(me + race / 2) % 2], SZ_2M);
		if (map == MAP_FAILED)
			return 1;
		if (!me && rdax_punch(fd, START, SZ_2M))
			return 2;
		if (!me && race % 2 && rdax_punch(fd, START + 100 * SZ_4K, 64 * SZ_4K))
			return 3;
		meet(&r->meeting);
		if (me < 2) {
			for (int i = 0; i < (race + me) % 8 * 100; i++)
				get(&r->meeting);
			for (int i = 0; i < TOUCHED; i++)
				put(touched(map, me, race, i), mark(me, race, i));
		}
		memset(was, 0, sizeof(was));
		do {
			left = 0;
			for (int i = 0; i < 2 * TOUCHED; i++) {
				v = get(touched(map, i % 2, race, i / 2));
				if (v != was[i] &&
				    (was[i] || v != mark(i % 2, race, i / 2)))
					count(&r->wrong);
				was[i] = v;
				left += !v;
			}
		} while (left);
		meet(&r->meeting);
		munmap(map, SZ_2M);
	}
	return 0;
}

static int readers(void *arg)
{
	return run_all(read_or_write, arg);
}

TEST_F_TIMEOUT(collide, readers_of_holes, 120)
{
	struct race *r = rdax_shared(sizeof(*r));
	struct rdax_counts d;

	ASSERT_EQ(0, rdax_bounded(readers, r, RDAX_PATIENCE));
	EXPECT_EQ(0, r->wrong);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	rdax_counts(&d);
	EXPECT_EQ(0, rdax_sigbus(&d) + d.oom);
	EXPECT_LT(0, d.waits);
	TH_LOG("%" PRIu64 " waits, %d upgrades, %d splits", d.waits,
	       (int)rdax_event("upgrades"), (int)rdax_event("splits"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	rdax_fault_around("65536");
	return test_harness_run(argc, argv);
}
