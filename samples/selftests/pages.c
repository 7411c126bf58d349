// SPDX-License-Identifier: GPL-2.0
/*
 * A device of the dax bus that is bound with pages: others can pin what it maps
 * (O_DIRECT, io_uring, process_vm_readv(), vmsplice(), futexes), a sync writes
 * back all that may have been written, and a punch and an unbind wait for pins.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "mutex.h"
#include "rdax.h"
#include "ring.h"
#include "waiter.h"

#define WINDOW	(4 * SZ_2M)
#define SEED	7

FIXTURE(pages)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(pages)
{
	const char *align;	/* of 2 MiB or more makes folios of 2 MiB */
};

FIXTURE_VARIANT_ADD(pages, folios)
{
	.align = "2M",
};

FIXTURE_VARIANT_ADD(pages, single)
{
	.align = "4K",
};

/* Its name on the bus. */
static const char *name(void)
{
	return strrchr(RDAX_NODE, '/') + 1;
}

FIXTURE_SETUP(pages)
{
	int ret;

	if (!rdax_on_dax_bus())
		SKIP(return, "needs a device of the dax bus: scripts/lab guest --machine hmem");
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/pages", name()));
	ret = rdax_fresh(variant->align);
	if (ret == -EINVAL)
		SKIP(return, "the bus does not allow an align of %s here", variant->align);
	ASSERT_EQ(0, ret);
	EXPECT_STREQ("pages\n", rdax_text(rdax_attr_path("rdax/memory")));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(pages)
{
	close(self->fd);
	munmap(self->map, WINDOW);
	rdax_unbind();
	rdax_write_file(RDAX_PARAMS "/pages", "");
}

/* The largest leaf is a folio. */
TEST_F(pages, leaves)
{
	struct rdax_counts was, delta;

	rdax_counts(&was);
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	rdax_delta(&was, &delta);
	EXPECT_EQ(WINDOW / rdax_attr("align"),
		  rdax_attr("align") == SZ_4K ? delta.pte_mapped : delta.pmd_mapped);
	EXPECT_EQ(0, delta.pud_mapped);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
}

/* Leaves of both sizes map one folio, in two mappings. */
TEST_F(pages, both_sizes)
{
	char *second = rdax_map(self->fd, 0, WINDOW);
	struct rdax_counts was, delta;

	ASSERT_NE(MAP_FAILED, second);
	ASSERT_EQ(0, madvise(second, WINDOW, MADV_NOHUGEPAGE));
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	rdax_counts(&was);
	EXPECT_EQ(0, rdax_wrong(second, 0, WINDOW, SZ_4K, SEED));
	rdax_delta(&was, &delta);
	EXPECT_LE(WINDOW / SZ_4K, delta.pte_mapped);
	rdax_fill(second, 0, WINDOW, SZ_4K, SEED + 1);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED + 1));
	/* Half of a leaf goes, the rest of it stays. */
	EXPECT_EQ(0, munmap(second, WINDOW));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED + 1));
}

/* What page frames cannot do. */
TEST_F(pages, others_reach_them)
{
	char buf[SZ_4K], *target = self->map + SZ_2M + 3 * SZ_4K;
	struct iovec local = { buf, sizeof(buf) }, remote = { target, sizeof(buf) };
	int pipes[2];

	memset(buf, 'a', sizeof(buf));
	EXPECT_EQ(sizeof(buf), process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ('a', target[17]);
	memset(target, 'b', sizeof(buf));
	EXPECT_EQ(sizeof(buf), process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ('b', buf[17]);
	/* A shared futex is known by its page. */
	EXPECT_EQ(0, syscall(SYS_futex, target, FUTEX_WAKE, 1, NULL, NULL, 0));
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(sizeof(buf), vmsplice(pipes[1], &remote, 1, 0));
	EXPECT_EQ(sizeof(buf), read(pipes[0], buf, sizeof(buf)));
	EXPECT_EQ('b', buf[17]);
	close(pipes[0]);
	close(pipes[1]);
}

/* They sleep on shared futexes. Those of the first page of two folios are not the same. */
TEST_F(pages, mutexes)
{
	for (enum mutex_kind kind = 0; kind < MUTEX_KINDS; kind++) {
		EXPECT_STREQ("ok", mutex_counts(self->map, WINDOW, SZ_2M + 3 * SZ_4K, kind));
		EXPECT_STREQ("ok", mutex_sleeps(self->map, WINDOW, 0, SZ_2M, kind));
		EXPECT_STREQ("ok", mutex_sleeps(self->map, WINDOW, 0, SZ_4K, kind));
	}
	EXPECT_STREQ("ok", mutex_owner_dies(self->map, WINDOW, SZ_4K));
}

/* O_DIRECT from the mapping to a disk, and back to another place. */
TEST_F(pages, o_direct)
{
	int fd = rdax_ram_disk();

	if (fd < 0)
		SKIP(return, "no disk in RAM");
	rdax_fill(self->map, 0, SZ_2M, SZ_4K, SEED);
	EXPECT_EQ(SZ_2M, pwrite(fd, self->map, SZ_2M, 0));
	EXPECT_EQ(SZ_2M, pread(fd, self->map + SZ_2M, SZ_2M, 0));
	EXPECT_EQ(0, memcmp(self->map, self->map + SZ_2M, SZ_2M));
	/* And the node itself. */
	EXPECT_EQ(SZ_2M, pread(self->fd, self->map + 2 * SZ_2M, SZ_2M, 0));
	EXPECT_EQ(0, memcmp(self->map, self->map + 2 * SZ_2M, SZ_2M));
	close(fd);
}

/* A sync writes back what was mapped for writing each time: a pin may have written it meanwhile. */
TEST_F(pages, a_sync_keeps_dirty)
{
	uint64_t was, first, second;

	rdax_fill(self->map, 0, SZ_2M, SZ_4K, SEED);
	was = rdax_attr("entries/writebacks");
	EXPECT_EQ(0, fsync(self->fd));
	first = rdax_attr("entries/writebacks") - was;
	EXPECT_LT(0, first);
	EXPECT_EQ(0, fsync(self->fd));
	second = rdax_attr("entries/writebacks") - was - first;
	EXPECT_EQ(first, second);
	/* Nothing was made read-only: no fault. */
	was = rdax_attr("faults/pmd_mapped") + rdax_attr("faults/pte_mapped");
	self->map[5] = 1;
	EXPECT_EQ(was, rdax_attr("faults/pmd_mapped") + rdax_attr("faults/pte_mapped"));
}

/* The kernel makes it writable later without asking. Not so where it may never be written. */
TEST_F(pages, a_read_counts_as_a_write)
{
	int fd = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);
	char *map;

	ASSERT_GE(fd, 0);
	map = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_load(map));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	EXPECT_EQ(0, rdax_load(self->map + SZ_2M));
	EXPECT_NE(NULL, strstr(rdax_entries(), "dirty"));
	munmap(map, SZ_2M);
	close(fd);
}

/* Pages of one folio that are mapped by themselves don't count as pins. */
TEST_F(pages, a_punch_beside_mapped_pages)
{
	ASSERT_EQ(0, madvise(self->map, WINDOW, MADV_NOHUGEPAGE));
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	for (uint64_t page = 0; page < 8; page++)
		EXPECT_EQ(0, rdax_punch(self->fd, page * 5 * SZ_4K, SZ_4K));
	EXPECT_EQ(8, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
}

/* Registers a buffer, which pins it for long. */
static int pin(struct ring *ring, char *buf, size_t len)
{
	struct iovec iov = { buf, len };
	int ret = ring_setup(ring, 0);

	if (ret)
		return ret;
	return syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1) ? -errno : 0;
}

static int unpin(struct ring *ring)
{
	return syscall(SYS_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0) ?
	       -errno : 0;
}

static int punch_it(const struct waiter *waiter)
{
	return rdax_punch(*(const int *)waiter->arg, 0, SZ_2M);
}

static uint64_t mapped(void)
{
	return rdax_attr("faults/pte_mapped") + rdax_attr("faults/pmd_mapped");
}

/* Each unmaps what it is to punch: PIN_WAIT_MS and PIN_HOLD_MAX_MS in rust/dax/ops/punch.rs. */
#define PUNCH_TRIES	5

/* The mapping, and faults on the same pages, go on while a punch waits. */
TEST_F(pages, a_punch_waits_for_a_pin)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	struct ring ring;
	uint64_t faults;
	int unmapped = 0;
	pid_t child;

	rdax_fill(self->map, 0, 2 * SZ_2M, SZ_4K, SEED);
	ASSERT_EQ(0, pin(&ring, self->map + SZ_4K, SZ_4K));
	child = waiter_begin(waiter, &self->fd, punch_it);
	ASSERT_LT(0, child);
	/* After a few tries it only looks: what is mapped again stays. */
	for (int i = 0; i < 4000; i++) {
		faults = mapped();
		ASSERT_EQ(0, rdax_wrong(self->map, 0, SZ_4K, SZ_4K, SEED));
		unmapped += mapped() != faults;
		usleep(1000);
	}
	EXPECT_LE(1, unmapped);
	EXPECT_GE(PUNCH_TRIES, unmapped);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, 2 * SZ_2M, SZ_4K, SEED));
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_EQ(0, unpin(&ring));
	EXPECT_EQ(0, waiter_end(child));
	for (uint64_t i = 0; i < SZ_2M; i += SZ_4K)
		EXPECT_EQ(0, self->map[i + 8]);
	EXPECT_EQ(0, rdax_wrong(self->map + SZ_2M, SZ_2M, SZ_2M, SZ_4K, SEED));
	close(ring.fd);
}

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/rdax_pages"
#define PROBES		"rdax_pages"

static int set_probes(const char *text)
{
	int fd = open(TRACEFS "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	int ret = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

/* From now on the kernel records what this process and its children do in a punch. */
static int record_tries(void)
{
	char pid[16];
	int ret = set_probes("p:" PROBES "/look rust_helper_pages_are_idle\n"
			     "p:" PROBES "/end percpu_up_write\n");

	if (!ret && mkdir(INSTANCE, 0700))
		ret = -errno;
	if (ret)
		return ret;
	snprintf(pid, sizeof(pid), "%d", getpid());
	ret = rdax_write_file(INSTANCE "/options/event-fork", "1");
	ret = ret ?: rdax_write_file(INSTANCE "/set_event_pid", pid);
	return ret ?: rdax_write_file(INSTANCE "/events/" PROBES "/enable", "1");
}

/* How often each of the tries looked at pages. Returns how many tries have ended, or -errno. */
static int recorded_tries(int *looks, int most)
{
	FILE *f = fopen(INSTANCE "/trace", "r");
	char *line = NULL;
	size_t room = 0;
	int tries = 0;

	if (!f)
		return -errno;
	memset(looks, 0, most * sizeof(*looks));
	while (tries < most && getline(&line, &room, f) > 0) {
		looks[tries] += strstr(line, " look: ") != NULL;
		tries += strstr(line, " end: ") != NULL;
	}
	fclose(f);
	free(line);
	return tries;
}

static int stop_recording(void)
{
	rdax_write_file(INSTANCE "/events/" PROBES "/enable", "0");
	rmdir(INSTANCE);
	return set_probes("-:" PROBES "/look\n-:" PROBES "/end\n");
}

/*
 * The first try of a punch does not keep others out: what refers to the page may be a task that
 * waits for the punch, in ->page_mkwrite(). The others do, and look again and again meanwhile.
 */
TEST_F(pages, a_first_try_looks_once)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	int looks[PUNCH_TRIES], tries, most = 0;
	struct ring ring;
	pid_t child;

	if (access(TRACEFS "/kprobe_events", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	rdax_fill(self->map, 0, SZ_4K, SZ_4K, SEED);
	ASSERT_EQ(0, pin(&ring, self->map, SZ_4K));
	ASSERT_EQ(0, record_tries());
	child = waiter_begin(waiter, &self->fd, punch_it);
	EXPECT_LT(0, child);
	/* After these it waits without an end. */
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		tries = recorded_tries(looks, PUNCH_TRIES);
		if (tries < 0 || tries == PUNCH_TRIES)
			break;
		usleep(10000);
	}
	EXPECT_EQ(0, unpin(&ring));
	EXPECT_EQ(0, waiter_end(child));
	EXPECT_EQ(0, stop_recording());
	ASSERT_EQ(PUNCH_TRIES, tries);
	for (int i = 0; i < tries; i++) {
		TH_LOG("try %d: %d looks", i, looks[i]);
		most = looks[i] > most ? looks[i] : most;
	}
	EXPECT_EQ(1, looks[0]);
	EXPECT_LT(1, most);
	close(ring.fd);
}

/* Half of page 0, the pages 1 and 2, and half of page 3. */
static int punch_two_pages(const struct waiter *waiter)
{
	return rdax_punch(*(const int *)waiter->arg, SZ_4K / 2, 3 * SZ_4K);
}

/* A punch does not wait for a page that it only zeroes in part, even after its first tries. */
TEST_F(pages, a_pin_beside_a_punch)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	struct ring beside, within;
	pid_t child;

	if (rdax_attr("align") != SZ_4K)
		SKIP(return, "pages of one folio count their pins together");
	memset(self->map, 'a', 4 * SZ_4K);
	ASSERT_EQ(0, pin(&beside, self->map, SZ_4K));
	ASSERT_EQ(0, pin(&within, self->map + SZ_4K, SZ_4K));
	child = waiter_begin(waiter, &self->fd, punch_two_pages);
	ASSERT_LT(0, child);
	/* Past its first tries. */
	sleep(RDAX_SLOWER);
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_EQ(0, unpin(&within));
	for (int i = 0; i < 100 * RDAX_SLOWER && waiter_waits(waiter); i++)
		;
	EXPECT_FALSE(waiter_waits(waiter));
	EXPECT_EQ(0, unpin(&beside));
	EXPECT_EQ(0, waiter_end(child));
	EXPECT_EQ('a', self->map[SZ_4K / 2 - 1]);
	for (uint64_t i = SZ_4K / 2; i < 7 * SZ_4K / 2; i++)
		ASSERT_EQ(0, self->map[i]);
	EXPECT_EQ('a', self->map[7 * SZ_4K / 2]);
	close(beside.fd);
	close(within.fd);
}

/* So many that one of them has pinned the page at any time. */
#define PINNERS	8

struct pinners {
	char *page;
	int pins, stop;
};

static void *pin_again_and_again(void *arg)
{
	struct pinners *pinners = arg;
	struct iovec part = { pinners->page, SZ_4K };
	char buf[SZ_4K];
	int pipes[2];

	if (pipe(pipes))
		return (void *)-1;
	while (!__atomic_load_n(&pinners->stop, __ATOMIC_RELAXED)) {
		if (vmsplice(pipes[1], &part, 1, 0) != SZ_4K)
			return (void *)-1;
		__atomic_fetch_add(&pinners->pins, 1, __ATOMIC_RELAXED);
		usleep(10000);
		if (read(pipes[0], buf, SZ_4K) != SZ_4K)
			return (void *)-1;
	}
	close(pipes[0]);
	close(pipes[1]);
	return NULL;
}

static void on_alarm(int sig)
{
}

/* The punch waits for the pins that there are, not for those that come meanwhile. */
TEST_F_TIMEOUT(pages, a_punch_of_what_is_pinned_again_and_again, 60)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct pinners pinners = { self->map };
	pthread_t threads[PINNERS];
	int pins, ret = -EINTR;
	void *trouble;

	rdax_fill(self->map, 0, SZ_4K, SZ_4K, SEED);
	for (int i = 0; i < PINNERS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, pin_again_and_again, &pinners));
	while (__atomic_load_n(&pinners.pins, __ATOMIC_RELAXED) < 4 * PINNERS)
		usleep(1000);
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	/* On a machine that stands still for a moment, the tries that keep pins out may find one. */
	for (int i = 0; i < 10 && ret == -EINTR; i++) {
		alarm(2 * RDAX_SLOWER);
		ret = rdax_punch(self->fd, 0, SZ_4K);
		alarm(0);
	}
	EXPECT_EQ(0, ret);
	/* They go on. */
	pins = __atomic_load_n(&pinners.pins, __ATOMIC_RELAXED);
	while (__atomic_load_n(&pinners.pins, __ATOMIC_RELAXED) < pins + 4 * PINNERS)
		usleep(1000);
	__atomic_store_n(&pinners.stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < PINNERS; i++) {
		ASSERT_EQ(0, pthread_join(threads[i], &trouble));
		EXPECT_EQ(NULL, trouble);
	}
	EXPECT_EQ(0, self->map[8]);
}

static int *handled;

static void on_usr1(int sig)
{
	__atomic_store_n(handled, 1, __ATOMIC_RELAXED);
}

/* A signal ends the wait, unless its handler has SA_RESTART, and nothing is lost. */
TEST_F(pages, a_signal_ends_the_wait)
{
	struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	struct ring ring;
	pid_t child;

	handled = rdax_shared(sizeof(*handled));
	rdax_fill(self->map, 0, SZ_2M, SZ_4K, SEED);
	ASSERT_EQ(0, pin(&ring, self->map, SZ_4K));
	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	child = waiter_begin(waiter, &self->fd, punch_it);
	ASSERT_LT(0, child);
	EXPECT_TRUE(waiter_waits(waiter));
	ASSERT_EQ(0, kill(child, SIGUSR1));
	for (int i = 0; i < RDAX_PATIENCE * 1000 && !__atomic_load_n(handled, __ATOMIC_RELAXED); i++)
		usleep(1000);
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_EQ(-EINTR, waiter_interrupt(child));
	/* What the pin still writes is for the next sync. */
	EXPECT_NE(NULL, strstr(rdax_entries(), "dirty"));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SZ_2M, SZ_4K, SEED));
	EXPECT_EQ(0, unpin(&ring));
	close(ring.fd);
}

struct polled {
	int fd, pipes[2];
};

static int punch_and_poll(const struct waiter *waiter)
{
	const struct polled *polled = waiter->arg;
	struct ring ring;
	int ret = ring_setup(&ring, 0);

	if (ret)
		return ret;
	ring_queue(&ring, IORING_OP_POLL_ADD, polled->pipes[0], NULL, 0, 0, 0)->poll32_events =
		POLLIN;
	ret = ring_submit(&ring, 0);
	return ret ? ret : rdax_punch(polled->fd, 0, SZ_2M);
}

static double cpu_time(pid_t pid)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time))
		return -1;
	return time.tv_sec + time.tv_nsec / 1e9;
}

/*
 * io_uring may have work for the task that it does on its way back to the program. That does not end the
 * wait, and the task does not spin meanwhile.
 */
TEST_F(pages, task_work_meets_a_wait)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	struct polled polled = { self->fd };
	struct ring ring;
	double used;
	pid_t child;

	ASSERT_EQ(0, pipe(polled.pipes));
	rdax_fill(self->map, 0, SZ_2M, SZ_4K, SEED);
	ASSERT_EQ(0, pin(&ring, self->map, SZ_4K));
	child = waiter_begin(waiter, &polled, punch_and_poll);
	ASSERT_LT(0, child);
	/* Past its first tries. */
	sleep(RDAX_SLOWER);
	EXPECT_TRUE(waiter_waits(waiter));
	used = cpu_time(child);
	ASSERT_LE(0, used);
	ASSERT_EQ(1, write(polled.pipes[1], "", 1));
	sleep(2);
	EXPECT_GT(0.5, cpu_time(child) - used);
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_EQ(0, unpin(&ring));
	EXPECT_EQ(0, waiter_end(child));
	close(ring.fd);
	close(polled.pipes[0]);
	close(polled.pipes[1]);
}

static int unbind_it(const struct waiter *waiter)
{
	/* Its copy of the ring's file would keep the pin. */
	close(*(const int *)waiter->arg);
	return rdax_unbind();
}

/* What a pin writes before it goes is in the memory afterwards; a mapping is gone at once. */
TEST_F(pages, an_unbind_waits_for_a_pin)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	char path[] = "/tmp/rdax_unbind_XXXXXX", *page = self->map + SZ_2M, *again;
	struct io_uring_sqe *sqe;
	struct ring ring;
	pid_t child;
	int fd, result;

	fd = mkstemp(path);
	ASSERT_GE(fd, 0);
	unlink(path);
	rdax_fill(self->map, 0, 2 * SZ_2M, SZ_4K, SEED);
	ASSERT_EQ(SZ_4K, pwrite(fd, self->map, SZ_4K, 0));
	ASSERT_EQ(0, pin(&ring, page, SZ_4K));
	child = waiter_begin(waiter, &ring.fd, unbind_it);
	ASSERT_LT(0, child);
	/* Until the mapping is gone, the unbind has not come so far. */
	for (int i = 0; i < RDAX_PATIENCE * 100 && !rdax_load(page); i++)
		usleep(10000);
	EXPECT_EQ(SIGBUS, rdax_load(page));
	EXPECT_TRUE(waiter_waits(waiter));
	sqe = ring_queue(&ring, IORING_OP_READ_FIXED, fd, page, SZ_4K, 0, 0);
	sqe->buf_index = 0;
	ASSERT_EQ(0, ring_run(&ring, &result, 1));
	EXPECT_EQ(SZ_4K, result);
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_EQ(0, unpin(&ring));
	EXPECT_EQ(0, waiter_end(child));
	close(ring.fd);
	close(fd);

	ASSERT_EQ(0, rdax_bind());
	close(self->fd);
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	again = rdax_map(self->fd, 0, 2 * SZ_2M);
	ASSERT_NE(MAP_FAILED, again);
	/* The words of page 0, where the pin has put them. */
	EXPECT_EQ(0, rdax_wrong(again, 0, SZ_2M, SZ_4K, SEED));
	EXPECT_EQ(0, memcmp(again, again + SZ_2M, SZ_4K));
	EXPECT_EQ(0, rdax_wrong(again + SZ_2M + SZ_4K, SZ_2M + SZ_4K, SZ_2M - SZ_4K, SZ_4K, SEED));
	munmap(again, 2 * SZ_2M);
}

static sigjmp_buf broken;
static siginfo_t told;

static void on_broken(int sig, siginfo_t *info, void *context)
{
	told = *info;
	siglongjmp(broken, 1);
}

/* 0, also if a signal tells of it, or -errno. */
static int break_page(char *page)
{
	return !sigsetjmp(broken, 1) && madvise(page, SZ_4K, MADV_HWPOISON) ? -errno : 0;
}

/* A task that maps a page that breaks is told. The page is not mapped again; those around it are. */
TEST_F(pages, a_page_breaks)
{
	struct sigaction act = { .sa_sigaction = on_broken, .sa_flags = SA_SIGINFO }, was;
	char *bad = self->map + 5 * SZ_4K;
	uint64_t broke = 0;

	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, sigaction(SIGBUS, &act, &was));
	/* Nobody is told if rdax unmaps the page first, 50 ms after the error: then try another. */
	told.si_code = 0;
	while (!told.si_code && broke < WINDOW / SZ_2M - 1) {
		bad += SZ_2M;
		broke++;
		if (break_page(bad) == -EINVAL)
			SKIP(return, "the kernel cannot inject memory errors");
	}
	ASSERT_EQ(0, sigaction(SIGBUS, &was, NULL));
	EXPECT_EQ(BUS_MCEERR_AR, told.si_code);
	EXPECT_EQ(bad - (bad - self->map) % (1 << told.si_addr_lsb), told.si_addr);
	EXPECT_TRUE(rdax_goes_bad(bad));
	/* All the others are as they were. */
	EXPECT_EQ(broke, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
	EXPECT_EQ(-1, pread(self->fd, self->map, SZ_4K, bad - self->map));
	EXPECT_EQ(EIO, errno);
}

/* The ioctl is for page frames; the kernel's own call is there for pages. */
TEST_F(pages, populate)
{
	uint64_t was;

	EXPECT_EQ(0, madvise(self->map, WINDOW, MADV_POPULATE_WRITE));
	was = rdax_attr("faults/pmd_mapped") + rdax_attr("faults/pte_mapped");
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	EXPECT_EQ(was, rdax_attr("faults/pmd_mapped") + rdax_attr("faults/pte_mapped"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
