// SPDX-License-Identifier: GPL-2.0
/*
 * The end of a device moves while threads fault, read, write, sync, punch and
 * prefault there. What was cut off goes to another device at once, which writes
 * it: from then on no byte of it may change, however late a call or a mapping of
 * the first one comes, and the first one may not see a byte of it. Then the
 * namespace is unbound in the middle of that.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "uapi/rdax.h"

#define SIZE	(4 * SZ_2M)
#define HEAD	(SZ_2M / 2)	/* is always there, and has words of its own */
#define ROUNDS	40	/* or as many as some seconds have */
#define SECONDS	3
#define BINDS	4

/* The bytes of the first device are 0 and 1, those of the second have this bit. */
#define OTHERS	UINT64_C(0x8080808080808080)

struct race {
	bool over, unbinding, pause;
	int paused, other;
	/* What must not happen. */
	int late, leaked, lost_head, within, nothing, odd, odd_errno;
	/* What must have happened. */
	int rounds, bytes_cut, sigbus, cut_reads, cut_writes;
};

static struct race *race;
static int fd;
static char *maps[2];	/* by 4 KiB, and as it comes */

static bool get(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_SEQ_CST);
}

static void set(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_SEQ_CST);
}

static void count(int *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

static void odd(void)
{
	race->odd_errno = errno;
	count(&race->odd);
}

/*
 * Those who use the end: each call does one thing
 */

/* Of some bytes, one call in four of many. */
static uint64_t some(unsigned int *seed)
{
	return 8 + rand_r(seed) % (rand_r(seed) % 4 ? 16 * SZ_4K : SZ_2M - 8);
}

static uint64_t somewhere(unsigned int *seed, uint64_t len)
{
	return HEAD + rand_r(seed) % (SIZE - HEAD - len + 1);
}

static void store(unsigned int *seed, char *buf)
{
	for (int i = 0; i < 32; i++) {
		if (rdax_store(maps[rand_r(seed) % 2] + somewhere(seed, 1)) == SIGBUS)
			count(&race->sigbus);
	}
}

static void load(unsigned int *seed, char *buf)
{
	uint64_t word;

	for (int i = 0; i < 32; i++) {
		const char *map = maps[rand_r(seed) % 2];

		if (rdax_get((const void *)(map + (somewhere(seed, 8) & -8)), &word))
			count(&race->sigbus);
		else if (word & OTHERS)
			count(&race->leaked);
	}
}

/* Of these there are several: they are what may be late. */
static void write_much(unsigned int *seed, char *buf)
{
	uint64_t len = some(seed), at = somewhere(seed, len);
	ssize_t n;

	memset(buf, 1, len);
	n = pwrite(fd, buf, len, at);
	if (n < 0 && errno != ENOSPC && errno != ENXIO)
		odd();
	if (!n)
		count(&race->nothing);
	if (n < (ssize_t)len)
		count(&race->cut_writes);
}

static void read_much(unsigned int *seed, char *buf)
{
	uint64_t len = some(seed), word;
	ssize_t n = pread(fd, buf, len, somewhere(seed, len));

	if (n < 0 && errno != ENXIO)
		odd();
	if (n < (ssize_t)len)
		count(&race->cut_reads);
	for (ssize_t i = 0; i + 8 <= n; i += 8) {
		memcpy(&word, buf + i, 8);
		if (word & OTHERS) {
			count(&race->leaked);
			break;
		}
	}
}

static void sync_all(unsigned int *seed, char *buf)
{
	int ret = rand_r(seed) % 2 ? fsync(fd) : msync(maps[0], SIZE, MS_SYNC);

	if (ret && errno != ENXIO)
		odd();
}

static void punch_or_zero(unsigned int *seed, char *buf)
{
	uint64_t len = some(seed), at = somewhere(seed, len);
	int ret = rand_r(seed) % 4 ? rdax_punch(fd, at, len) : rdax_zero(fd, at, len);

	if (ret && ret != -EFBIG && ret != -ENXIO)
		odd();
}

static void prefault(unsigned int *seed, char *buf)
{
	uint64_t len = SZ_4K * (1 + rand_r(seed) % 100);
	struct rdax_prefault call = {
		.size = sizeof(call),
		.flags = rand_r(seed) % 2 ? RDAX_PREFAULT_WRITE : 0,
		.address = (uintptr_t)maps[rand_r(seed) % 2] + (somewhere(seed, len) & -SZ_4K),
		.length = len,
	};

	if (ioctl(fd, RDAX_IOC_PREFAULT, &call) && errno != EFAULT && errno != ENXIO)
		odd();
}

static void (* const users[])(unsigned int *seed, char *buf) = {
	store, store, load, write_much, write_much, read_much, sync_all, punch_or_zero, prefault,
};

static void *use(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned int seed = me + 1;
	char *buf = malloc(SZ_2M + 8);

	/* Where others are run before them, they are stopped in the middle of something. */
	setpriority(PRIO_PROCESS, syscall(SYS_gettid), 5);
	while (!get(&race->over)) {
		users[me](&seed, buf);
		if (!get(&race->pause))
			continue;
		count(&race->paused);
		while (get(&race->pause))
			usleep(200);
		__atomic_fetch_sub(&race->paused, 1, __ATOMIC_SEQ_CST);
	}
	free(buf);
	return NULL;
}

static void pause_all(bool pause)
{
	int all = pause ? ARRAY_SIZE(users) : 0;

	set(&race->pause, pause);
	while (__atomic_load_n(&race->paused, __ATOMIC_SEQ_CST) != all)
		usleep(100);
}

/*
 * The other device, which has what was cut off
 */

static uint64_t word_of(uint64_t i, int round)
{
	return ((i + round * 1000) * UINT64_C(0x9e3779b97f4a7c15)) | OTHERS;
}

/* All of it, through its mapping or its file; or at once one word of each page. */
static void fill_other(int other, uint64_t *map, uint64_t *buf, uint64_t words, int round)
{
	uint64_t step = round % 3 ? 512 : 1;

	if (round % 3 == 2) {
		for (uint64_t i = 0; i < words; i++)
			buf[i] = word_of(i, round);
		if (pwrite(other, buf, words * 8, 0) != (ssize_t)words * 8)
			odd();
		return;
	}
	for (uint64_t i = 0; i < words; i += step)
		__atomic_store_n(map + i, word_of(i, round), __ATOMIC_RELAXED);
}

static int wrong_in_other(const uint64_t *map, uint64_t words, int round)
{
	uint64_t step = round % 3 == 1 ? 512 : 1;
	int wrong = 0;

	for (uint64_t i = 0; i < words; i += step)
		wrong += __atomic_load_n(map + i, __ATOMIC_RELAXED) != word_of(i, round);
	return wrong;
}

/* Pages of the new end: in the 2 MiB of the head, at a seam of two, anywhere. */
static uint64_t new_end(unsigned int *seed, int round)
{
	switch (round % 4) {
	case 0:
		return HEAD + rand_r(seed) % 256 * SZ_4K;
	case 1:
		return SZ_2M * (1 + rand_r(seed) % 3);
	default:
		return HEAD + rand_r(seed) % ((SIZE - HEAD) / SZ_4K) * SZ_4K;
	}
}

static int one_round(int other, uint64_t *buf, unsigned int *seed, int round)
{
	uint64_t end = new_end(seed, round), cut = SIZE - end;
	uint64_t *map;
	int ret;

	ret = dev_resize(0, end) ?: dev_resize(race->other, cut);
	if (ret)
		return ret;
	map = rdax_map(other, 0, cut);
	if (map == MAP_FAILED)
		return -errno;
	fill_other(other, map, buf, cut / 8, round);

	pause_all(true);
	__atomic_fetch_add(&race->late, wrong_in_other(map, cut / 8, round), __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++) {
		if (rdax_load(maps[i] + end) != SIGBUS || rdax_load(maps[i] + SIZE - 1) != SIGBUS)
			count(&race->within);
		if (rdax_load(maps[i] + end - 1))
			count(&race->within);
		if (rdax_wrong(maps[i], 0, HEAD, SZ_4K, 1))
			count(&race->lost_head);
	}
	pause_all(false);

	/* What it gives back is zeroed. */
	ret = rdax_punch(other, 0, cut);
	munmap(map, cut);
	ret = ret ?: dev_resize(race->other, 0);
	ret = ret ?: dev_resize(0, SIZE);
	race->rounds++;
	race->bytes_cut += cut / SZ_4K;
	return ret;
}

static int start(pthread_t *threads)
{
	fd = rdax_open();
	for (int i = 0; i < 2; i++) {
		maps[i] = rdax_map(fd, 0, SIZE);
		if (maps[i] == MAP_FAILED)
			return 1;
	}
	if (madvise(maps[0], SIZE, MADV_NOHUGEPAGE) || rdax_punch(fd, 0, SIZE))
		return 2;
	rdax_fill(maps[1], 0, HEAD, SZ_4K, 1);
	for (uintptr_t i = 0; i < ARRAY_SIZE(users); i++) {
		if (pthread_create(&threads[i], NULL, use, (void *)i))
			return 3;
	}
	return 0;
}

static void stop(pthread_t *threads)
{
	set(&race->over, true);
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		pthread_join(threads[i], NULL);
}

static bool seen_all(void)
{
	return __atomic_load_n(&race->sigbus, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&race->cut_reads, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&race->cut_writes, __ATOMIC_RELAXED);
}

/* On a busy machine it takes longer. */
static bool goes_on(int round, time_t took)
{
	return (round < ROUNDS && took < SECONDS) || (!seen_all() && took < RDAX_PATIENCE / 2);
}

static int resize_under_load(void *arg)
{
	pthread_t threads[ARRAY_SIZE(users)];
	int ret = start(threads), other = dev_open(race->other);
	time_t begun = time(NULL);
	uint64_t *buf = malloc(SIZE);
	unsigned int seed = 1;

	for (int round = 0; !ret && goes_on(round, time(NULL) - begun); round++)
		ret = -one_round(other, buf, &seed, round);
	stop(threads);
	return ret;
}

/* The device at the head of the region, another without pages, and nothing free. */
FIXTURE(resize_race)
{
};

FIXTURE_SETUP(resize_race)
{
	static const struct region_part part = { 0, SIZE / SZ_4K };

	race = rdax_shared(sizeof(*race));
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 2 * SIZE)
		SKIP(return, "namespace too small or not aligned");
	ASSERT_EQ(0, region_arrange(&part, 1));
	race->other = region_create();
	ASSERT_LT(0, race->other);
}

FIXTURE_TEARDOWN(resize_race)
{
}

static void expect_nothing_odd(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, race->late) TH_LOG("bytes of the other device were changed");
	EXPECT_EQ(0, race->leaked) TH_LOG("bytes of the other device were seen");
	EXPECT_EQ(0, race->lost_head);
	EXPECT_EQ(0, race->within);
	EXPECT_EQ(0, race->nothing) TH_LOG("writes of nothing");
	EXPECT_EQ(0, race->odd) TH_LOG("one of them: %s", strerror(race->odd_errno));
}

TEST_F_TIMEOUT(resize_race, to_another_and_back, 60)
{
	struct rdax_counts counts;

	ASSERT_EQ(0, rdax_bounded(resize_under_load, NULL, RDAX_PATIENCE))
		TH_LOG("after %d rounds, %d paused", race->rounds, race->paused);
	expect_nothing_odd(_metadata);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	rdax_counts(&counts);
	EXPECT_EQ(0, counts.oom);
	EXPECT_LT(0, race->rounds);
	EXPECT_LT(0, race->sigbus);
	EXPECT_LT(0, race->cut_reads);
	EXPECT_LT(0, race->cut_writes);
	TH_LOG("%d rounds, %d pages cut, %d SIGBUS, %d short reads, %d writes", race->rounds,
	       race->bytes_cut, race->sigbus, race->cut_reads, race->cut_writes);
}

/*
 * A call that is late for sure: it is pushed aside in the middle of its copy, on its
 * own CPU, by a thread with a higher priority. What it copies from or to is cut off
 * meanwhile. That has to wait; or the other device has it too early.
 */

#define LATE_ROUNDS	12
#define ASIDE_MS	120

static int aside[2];	/* a pipe: push aside whoever runs there now */
static bool go_on;

static int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *push_aside(void *arg)
{
	struct sched_param param = { .sched_priority = 1 };
	uint64_t until;
	char byte;

	if (pin(1) || sched_setscheduler(0, SCHED_FIFO, &param))
		odd();
	while (read(aside[0], &byte, 1) == 1) {
		until = now_ms() + ASIDE_MS;
		while (!get(&go_on) && now_ms() < until)
			;
	}
	return NULL;
}

/* Does nothing else than copy what is behind the head: 2 MiB at once, as one step. */
static void *copy_on(void *arg)
{
	char *ones = malloc(SZ_2M), *buf = malloc(SZ_2M);
	uint64_t word;
	ssize_t n;

	memset(ones, 1, SZ_2M);
	if (pin(1))
		odd();
	while (!get(&race->over)) {
		if (race->rounds % 2)
			n = pread(fd, buf, SZ_2M, SZ_2M);
		else
			n = pwrite(fd, ones, SZ_2M, SZ_2M);
		for (ssize_t at = 0; race->rounds % 2 && at < n; at += SZ_4K) {
			memcpy(&word, buf + at, 8);
			if (word & OTHERS)
				count(&race->leaked);
		}
		if (get(&race->pause)) {
			count(&race->paused);
			while (get(&race->pause))
				usleep(200);
			__atomic_fetch_sub(&race->paused, 1, __ATOMIC_SEQ_CST);
		}
	}
	return NULL;
}

static int late_round(uint64_t *map, uint64_t words, int round)
{
	int ret;

	set(&go_on, false);
	usleep(2000 + round * 300);
	if (write(aside[1], "", 1) != 1)
		return 1;
	usleep(1000);
	ret = dev_resize(0, SZ_2M) ?: dev_resize(race->other, SZ_2M);
	if (ret)
		return -ret;
	for (uint64_t i = 0; i < words; i += 512)
		__atomic_store_n(map + i, word_of(i, 1), __ATOMIC_RELAXED);
	set(&go_on, true);
	set(&race->pause, true);
	while (__atomic_load_n(&race->paused, __ATOMIC_SEQ_CST) != 1)
		usleep(100);
	race->late += wrong_in_other(map, words, 1);
	memset(map, 0, words * 8);
	ret = dev_resize(race->other, 0) ?: dev_resize(0, 2 * SZ_2M);
	race->rounds++;
	set(&race->pause, false);
	while (__atomic_load_n(&race->paused, __ATOMIC_SEQ_CST))
		usleep(100);
	return -ret;
}

static int copies_that_are_late(void *arg)
{
	pthread_t threads[2];
	uint64_t *map;
	int ret;

	fd = rdax_open();
	ret = -(dev_resize(0, 2 * SZ_2M) ?: dev_resize(race->other, SZ_2M));
	map = rdax_map(dev_open(race->other), 0, SZ_2M);
	ret = ret ?: -dev_resize(race->other, 0);
	if (ret || map == MAP_FAILED || pin(0) || pipe(aside) ||
	    pthread_create(&threads[0], NULL, push_aside, NULL) ||
	    pthread_create(&threads[1], NULL, copy_on, NULL))
		return ret ?: 255;
	for (int round = 0; round < LATE_ROUNDS && !ret; round++)
		ret = late_round(map, SZ_2M / 8, round);
	set(&race->over, true);
	pthread_join(threads[1], NULL);
	return ret;
}

TEST_F_TIMEOUT(resize_race, late_copies, 60)
{
	int ret;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	ret = rdax_bounded(copies_that_are_late, NULL, RDAX_PATIENCE);
	EXPECT_EQ(0, ret) TH_LOG("after %d rounds", race->rounds);
	expect_nothing_odd(_metadata);
	TH_LOG("%d words late, %d seen, in %d rounds", race->late, race->leaked, race->rounds);
}

/*
 * Unbound in the middle: of the users, of a resize, and of devices that come and go
 */

static bool gone(int ret)
{
	return ret == -ENOENT || ret == -ENODEV || ret == -ENXIO;
}

static void *resize_on(void *arg)
{
	unsigned int seed = 7;
	int ret = 0;

	for (int round = 0; !ret; round++) {
		ret = dev_resize(0, new_end(&seed, round));
		ret = ret ?: dev_resize(0, SIZE);
	}
	if (!gone(ret) || !get(&race->unbinding))
		odd();
	return NULL;
}

static void *make_on(void *arg)
{
	int ret;

	do {
		ret = region_write(rdax_ns(), "create", "1");
		for (int minor = 3; minor < 6 && !ret; minor++) {
			ret = region_delete(minor);
			ret = ret == -ENXIO && !get(&race->unbinding) ? 0 : ret;
		}
	} while (!ret);
	if (!gone(ret) || !get(&race->unbinding))
		odd();
	return NULL;
}

static int unbind_under_load(void *arg)
{
	pthread_t threads[ARRAY_SIZE(users)], others[2];
	int ret = start(threads);

	if (ret || pthread_create(&others[0], NULL, resize_on, NULL) ||
	    pthread_create(&others[1], NULL, make_on, NULL))
		return 10 + ret;
	usleep(100000);
	set(&race->unbinding, true);
	ret = rdax_unbind();
	for (int i = 0; i < 2; i++)
		pthread_join(others[i], NULL);
	for (int i = 0; i < 2; i++) {
		if (rdax_load(maps[i]) != SIGBUS || rdax_load(maps[i] + SIZE - 1) != SIGBUS)
			count(&race->within);
	}
	if (lseek(fd, 0, SEEK_END) != -1 || errno != ENXIO)
		count(&race->within);
	stop(threads);
	return ret ? 20 : 0;
}

TEST_F_TIMEOUT(resize_race, unbound, 60)
{
	static const struct region_part part = { 0, SIZE / SZ_4K };

	for (int i = 0; i < BINDS; i++) {
		ASSERT_EQ(0, rdax_bounded(unbind_under_load, NULL, RDAX_PATIENCE));
		expect_nothing_odd(_metadata);
		ASSERT_EQ(0, rdax_bind());
		/* One device again, with what it had. */
		EXPECT_EQ(region_number(rdax_ns(), "size"), rdax_size());
		EXPECT_EQ(-1, access("/dev/rdax1", F_OK));
		ASSERT_EQ(0, region_arrange(&part, 1));
		ASSERT_EQ(race->other, region_create());
		memset(race, 0, offsetof(struct race, other));
	}
}

int main(int argc, char **argv)
{
	rdax_begin();
	rdax_fault_around("65536");
	return test_harness_run(argc, argv);
}
