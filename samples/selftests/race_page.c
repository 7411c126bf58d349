// SPDX-License-Identifier: GPL-2.0
/*
 * Eight threads touch the same fresh pages in the same order at once. Under the
 * entry lock each page gets exactly one index entry, each thread its mapping,
 * and each sleeper its wake-up: a lost one leaves a thread asleep for ever, so
 * all runs in a child with a time limit (peers.md D.2 has the bugs behind this).
 */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define THREADS	8

struct shape {
	uint64_t bytes;		/* of a page */
	uint64_t pages;		/* touched in a round */
	int rounds;
	bool own_mapping;	/* one for each thread, else one for all */
	bool half_small;	/* every other thread at 4 KiB in the same range */
};

FIXTURE(race)
{
	int fd;
};

FIXTURE_VARIANT(race)
{
	struct shape shape;
};

/* One page table: all but one find the page mapped already. */
FIXTURE_VARIANT_ADD(race, pte_one_mapping)
{
	.shape = {
		.bytes = SZ_4K,
		.pages = 128,
		.rounds = 64,
	},
};

FIXTURE_VARIANT_ADD(race, pte_own_mappings)
{
	.shape = {
		.bytes = SZ_4K,
		.pages = 128,
		.rounds = 64,
		.own_mapping = true,
	},
};

FIXTURE_VARIANT_ADD(race, pmd_one_mapping)
{
	.shape = {
		.bytes = SZ_2M,
		.pages = 16,
		.rounds = 64,
	},
};

FIXTURE_VARIANT_ADD(race, pmd_own_mappings)
{
	.shape = {
		.bytes = SZ_2M,
		.pages = 16,
		.rounds = 64,
		.own_mapping = true,
	},
};

/* Waiters for a 2 MiB entry come from all over its range. */
FIXTURE_VARIANT_ADD(race, pmd_and_pte)
{
	.shape = {
		.bytes = SZ_2M,
		.pages = 16,
		.rounds = 64,
		.own_mapping = true,
		.half_small = true,
	},
};

FIXTURE_VARIANT_ADD(race, pud_own_mappings)
{
	.shape = {
		.bytes = SZ_1G,
		.pages = 1,
		.rounds = 4,
		.own_mapping = true,
	},
};

FIXTURE_VARIANT_ADD(race, pud_and_pte)
{
	.shape = {
		.bytes = SZ_1G,
		.pages = 1,
		.rounds = 4,
		.own_mapping = true,
		.half_small = true,
	},
};

FIXTURE_SETUP(race)
{
	const struct shape *v = &variant->shape;

	ASSERT_EQ(0, rdax_fresh("4K"));
	/* Entries stay as they were made: then the counts below are exact. */
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/upgrade", "N"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(v->bytes) ||
	    rdax_size() < v->bytes * v->pages * v->rounds)
		SKIP(return, "namespace too small or not aligned for this size");
}

FIXTURE_TEARDOWN(race)
{
	close(self->fd);
}

struct racer {
	struct race *race;
	unsigned int id;
	char *map;
};

struct race {
	const struct shape *v;
	int fd;
	pthread_barrier_t barrier;
	struct racer racers[THREADS];
	int signals;
};

/* Each thread has its own byte in the page, or in the range its own page. */
static uint64_t place_of(const struct racer *r)
{
	return r->race->v->half_small ? r->id * 37 * SZ_4K : r->id * 64;
}

static void *touch_all(void *arg)
{
	struct racer *r = arg;
	const struct shape *v = r->race->v;

	pthread_barrier_wait(&r->race->barrier);
	for (uint64_t page = 0; page < v->pages; page++)
		if (rdax_store(r->map + page * v->bytes + place_of(r)))
			__atomic_fetch_add(&r->race->signals, 1, __ATOMIC_RELAXED);
	return NULL;
}

static char *map_round(struct race *race, int round, bool small)
{
	uint64_t len = race->v->bytes * race->v->pages;
	char *map = rdax_map(race->fd, round * len, len);

	if (map != MAP_FAILED && small && madvise(map, len, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

/* 0, or a step that went wrong. */
static int run_round(struct race *race, int round)
{
	const struct shape *v = race->v;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		struct racer *r = &race->racers[i];

		*r = (struct racer){ .race = race, .id = i };
		if (i && !v->own_mapping)
			r->map = race->racers[0].map;
		else
			r->map = map_round(race, round, v->bytes == SZ_4K ||
					   (v->half_small && i % 2));
		if (r->map == MAP_FAILED)
			return 1;
	}
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, touch_all, &race->racers[i]))
			return 2;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);

	/* All of them wrote through their own mapping: each shows all writes. */
	for (int i = 0; i < THREADS; i++)
		for (int j = 0; j < THREADS; j++)
			for (uint64_t page = 0; page < v->pages; page++) {
				char *at = race->racers[i].map + page * v->bytes +
					   place_of(&race->racers[j]);

				/* Not a fault that this test counts. */
				if (v->half_small && i != j)
					continue;
				if (!__atomic_load_n(at, __ATOMIC_RELAXED))
					return 3;
			}
	for (int i = 0; i < (v->own_mapping ? THREADS : 1); i++)
		munmap(race->racers[i].map, v->bytes * v->pages);
	return race->signals ? 4 : 0;
}

static int run_rounds(void *arg)
{
	struct race *race = arg;
	int ret = 0;

	pthread_barrier_init(&race->barrier, NULL, THREADS);
	for (int round = 0; round < race->v->rounds && !ret; round++)
		ret = run_round(race, round);
	return ret;
}

/* The bytes that the racers will set must not be set by an earlier test. */
static int clear_all(void *arg)
{
	struct race *race = arg;
	const struct shape *v = race->v;
	uint64_t len = v->bytes * v->pages * v->rounds;
	char *map = rdax_map(race->fd, 0, len);

	if (map == MAP_FAILED)
		return 1;
	for (uint64_t at = 0; at < len; at += v->bytes)
		for (unsigned int id = 0; id < THREADS; id++)
			map[at + place_of(&(struct racer){ race, id, map })] = 0;
	return 0;
}

TEST_F_TIMEOUT(race, eight_threads, 120)
{
	const struct shape *v = &variant->shape;
	uint64_t touches = v->pages * v->rounds;
	struct race race = { .v = v, .fd = self->fd };
	struct rdax_counts before, d;

	ASSERT_EQ(0, rdax_bounded(clear_all, &race, RDAX_PATIENCE));
	close(self->fd);
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	race.fd = self->fd;

	rdax_counts(&before);
	ASSERT_EQ(0, rdax_bounded(run_rounds, &race, RDAX_PATIENCE));
	rdax_delta(&before, &d);

	EXPECT_EQ(0, rdax_sigbus(&d));
	EXPECT_EQ(0, d.oom);
	if (v->half_small) {
		/* Who came first decides on one large entry or up to 8 small. */
		EXPECT_EQ(THREADS * touches, d.pud_mapped + d.pmd_mapped + d.pte_mapped);
		EXPECT_LE(THREADS / 2 * touches, d.pte_mapped);
		EXPECT_GE(THREADS * touches, d.created);
		EXPECT_LE(touches, d.created);
	} else {
		EXPECT_EQ(touches, d.created);
		EXPECT_EQ(d.pte_mapped + d.pmd_mapped + d.pud_mapped,
			  rdax_mapped(&d, v->bytes));
	}
	if (v->own_mapping && !v->half_small) {
		EXPECT_EQ(THREADS * touches, rdax_mapped(&d, v->bytes));
		EXPECT_EQ(0, d.raced);
	} else if (!v->own_mapping) {
		EXPECT_LE(touches, rdax_mapped(&d, v->bytes));
		EXPECT_GE(THREADS * touches, rdax_mapped(&d, v->bytes) + d.raced);
	}
	TH_LOG("raced %llu, waits %llu, wakes %llu", (unsigned long long)d.raced,
	       (unsigned long long)d.waits, (unsigned long long)d.wakes);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
