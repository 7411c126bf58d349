// SPDX-License-Identifier: GPL-2.0
/*
 * Taking the device away under its users: unbind comes back, whoever still has
 * a mapping gets SIGBUS, an open fd gives ENXIO, and the next bind is a working
 * device with the same data that the old fd and the old mapping don't reach.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

FIXTURE(unbind)
{
	int fd;
	uint64_t len, step;
	char *map;
};

FIXTURE_VARIANT(unbind)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(unbind, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(unbind, pmd)
{
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(unbind, pud)
{
	.bytes = SZ_1G,
};

FIXTURE_SETUP(unbind)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->len = 2 * variant->bytes;
	self->step = variant->bytes / 8;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	/* One page mapped, the other not yet. */
	rdax_fill(self->map, 0, variant->bytes, self->step, variant->bytes + 1);
}

FIXTURE_TEARDOWN(unbind)
{
	close(self->fd);
}

/* Everything that must fail on what is left of an unbound device. */
static void expect_dead(struct __test_metadata *_metadata, int fd, char *map,
			uint64_t len)
{
	EXPECT_EQ(NULL, rdax_map_alive(map, len)) TH_LOG("%s", rdax_map_alive(map, len));
	EXPECT_EQ(NULL, rdax_file_alive(fd)) TH_LOG("%s", rdax_file_alive(fd));
}

TEST_F(unbind, while_mapped)
{
	int fd;
	char *map;

	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(-1, rdax_open());
	/* The dax bus keeps the node. */
	EXPECT_EQ(rdax_on_dax_bus() ? ENXIO : ENOENT, errno);
	EXPECT_EQ(-1, access(rdax_attr_path("faults"), F_OK));
	expect_dead(_metadata, self->fd, self->map, self->len);

	ASSERT_EQ(0, rdax_bind());
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, rdax_attr("entries/created"));
	map = rdax_map(fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, 0, variant->bytes, self->step, variant->bytes + 1));
	rdax_fill(map, 0, self->len, self->step, 2);
	EXPECT_EQ(0, rdax_wrong(map, 0, self->len, self->step, 2));
	expect_dead(_metadata, self->fd, self->map, self->len);
	EXPECT_EQ(0, munmap(self->map, self->len));
	close(fd);
}

TEST_F(unbind, mapped_with_fd_closed)
{
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(SIGBUS, rdax_load(self->map));
	EXPECT_EQ(SIGBUS, rdax_store(self->map + self->len - 1));
}

/* The mapping of another process, which it got by fork and by its own mmap. */
TEST_F(unbind, mapped_elsewhere)
{
	int ready[2], gone[2], status;
	char *map, byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(gone));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		map = rdax_map(rdax_open(), 0, self->len);
		if (map == MAP_FAILED || rdax_load(map) || rdax_load(self->map))
			_exit(1);
		if (write(ready[1], "", 1) != 1 || read(gone[0], &byte, 1) != 1)
			_exit(2);
		_exit(rdax_load(map) == SIGBUS && rdax_load(self->map) == SIGBUS ? 0 : 3);
	}
	EXPECT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(0, rdax_unbind());
	EXPECT_EQ(1, write(gone[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * Unbind under load
 */

#define FAULTERS	4
#define BINDINGS	20

struct load {
	int fd;
	uint64_t size;
	bool gone;		/* unbind has returned */
	int served_after;	/* accesses that worked after that */
	int mapped_after;	/* mmaps that worked after that */
	uint64_t served;	/* accesses that worked in all */
	int odd;		/* anything else unexpected */
};

static bool is_gone(struct load *l)
{
	return __atomic_load_n(&l->gone, __ATOMIC_SEQ_CST);
}

static void count(int *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
}

/* Fault fresh pages of all sizes without pause until SIGBUS, then some more. */
static void *fault_loop(void *arg)
{
	struct load *l = arg;
	uint64_t len = l->size / 4, mapped, at;
	int sig = 0;
	char *map;
	bool was_gone;

	for (uint64_t i = 0; !sig; i++) {
		at = i % 4 * len;
		mapped = len - i % 3 * SZ_4K;
		map = rdax_map(l->fd, at, mapped);
		if (map == MAP_FAILED) {
			sig = errno == ENXIO ? SIGBUS : -1;
			break;
		}
		if (i % 2)
			madvise(map, len / 2, MADV_NOHUGEPAGE);
		for (int n = 0; n < 64 && !sig; n++) {
			was_gone = is_gone(l);
			sig = rdax_store(map + n * (len / 64) + i % 512 * SZ_4K);
			if (!sig && was_gone)
				count(&l->served_after);
			if (!sig)
				__atomic_fetch_add(&l->served, 1, __ATOMIC_RELAXED);
		}
		/* Pages that were mapped already go before unbind returns, not at once. */
		while (sig && !is_gone(l))
			usleep(500);
		for (int n = 0; n < 16 && sig; n++)
			if (rdax_load(map + n * (len / 16)) != SIGBUS)
				count(&l->odd);
		munmap(map, mapped);
	}
	if (sig != SIGBUS)
		count(&l->odd);
	return NULL;
}

/* Open, map, touch, unmap, close without pause. */
static void *open_loop(void *arg)
{
	struct load *l = arg;
	bool was_gone;
	char *map;
	int fd, sig;

	for (;;) {
		was_gone = is_gone(l);
		fd = rdax_open();
		if (fd < 0) {
			if (errno != ENOENT && errno != ENXIO)
				count(&l->odd);
			return NULL;
		}
		map = rdax_map(fd, 0, SZ_2M);
		if (map != MAP_FAILED) {
			sig = rdax_load(map);
			if (was_gone)
				count(&l->mapped_after);
			if (sig && sig != SIGBUS)
				count(&l->odd);
			munmap(map, SZ_2M);
		} else if (errno != ENXIO) {
			count(&l->odd);
		}
		close(fd);
	}
}

static int unbind_under_load(void *arg)
{
	pthread_t threads[FAULTERS + 1];
	struct load *l = arg;
	int ret, i;

	l->fd = rdax_open();
	l->size = rdax_size();
	for (i = 0; i <= FAULTERS; i++)
		if (pthread_create(&threads[i], NULL, i ? fault_loop : open_loop, l))
			return 1;
	while (__atomic_load_n(&l->served, __ATOMIC_RELAXED) < 200)
		usleep(500);
	ret = rdax_unbind();
	__atomic_store_n(&l->gone, true, __ATOMIC_SEQ_CST);
	for (i = 0; i <= FAULTERS; i++)
		pthread_join(threads[i], NULL);
	return ret ? 2 : 0;
}

TEST(while_faulting)
{
	struct load *l = rdax_shared(sizeof(*l));

	for (int i = 0; i < BINDINGS; i++) {
		memset(l, 0, sizeof(*l));
		ASSERT_EQ(0, rdax_fresh("4K"));
		ASSERT_EQ(0, rdax_bounded(unbind_under_load, l, RDAX_PATIENCE));
		EXPECT_EQ(0, l->served_after);
		EXPECT_EQ(0, l->mapped_after);
		EXPECT_EQ(0, l->odd);
	}
}

int main(int argc, char **argv)
{
	rdax_begin();
	rdax_fault_around("65536");
	return test_harness_run(argc, argv);
}
