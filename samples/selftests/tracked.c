// SPDX-License-Identifier: GPL-2.0
/*
 * Pages whose writes are tracked: reads and syncs as with page frames. What a
 * short pin writes (O_DIRECT, process_vm_writev()) is written back by the next
 * sync, even if the page was clean by then, in the kernel's own record of what it
 * wrote back. Long pins for writing are refused.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "mutex.h"
#include "rdax.h"
#include "ring.h"
#include "trace.h"
#include "vm.h"

#define WINDOW	(4 * SZ_2M)
#define SEED	11

FIXTURE(tracked)
{
	int fd;
	char *map;
	uint64_t unit;	/* that an entry has */
};

FIXTURE_VARIANT(tracked)
{
	const char *align;	/* of 2 MiB or more makes folios of 2 MiB */
};

FIXTURE_VARIANT_ADD(tracked, folios)
{
	.align = "2M",
};

FIXTURE_VARIANT_ADD(tracked, single)
{
	.align = "4K",
};

static const char *memory_attr(void)
{
	return rdax_attr_path("rdax/memory");
}

FIXTURE_SETUP(tracked)
{
	int ret;

	if (!rdax_on_dax_bus())
		SKIP(return, "needs a device of the dax bus: scripts/lab guest --machine hmem");
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/pages", strrchr(RDAX_NODE, '/') + 1));
	ret = rdax_fresh(variant->align);
	if (ret == -EINVAL)
		SKIP(return, "the bus does not allow an align of %s here", variant->align);
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, rdax_write_file(memory_attr(), "tracked"));
	EXPECT_STREQ("tracked\n", rdax_text(memory_attr()));
	self->unit = rdax_attr("align");
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	trace_find_media(self->fd);
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(tracked)
{
	trace_slow_end();
	close(self->fd);
	munmap(self->map, WINDOW);
	rdax_unbind();
	rdax_write_file(RDAX_PARAMS "/pages", "");
}

/* How many bytes of a range of the device were written back since trace_start(), and of others. */
static uint64_t written_back(uint64_t first, uint64_t len, uint64_t *others)
{
	const struct trace_call *calls;
	size_t count = trace_stop(&calls);
	uint64_t in = 0;

	*others = 0;
	for (size_t i = 0; i < count; i++) {
		if (calls[i].what != TRACE_WB)
			continue;
		if (calls[i].first >= first && calls[i].behind <= first + len)
			in += calls[i].behind - calls[i].first;
		else
			*others += calls[i].behind - calls[i].first;
	}
	return in;
}

#define expect_sync(fd, first, len, bytes) do {				\
	uint64_t __others;						\
									\
	trace_start();							\
	EXPECT_EQ(0, fsync(fd));					\
	EXPECT_EQ(bytes, written_back(first, len, &__others));		\
	EXPECT_EQ(0, __others);						\
} while (0)

static uint64_t mapped(void)
{
	return rdax_attr("faults/pmd_mapped") + rdax_attr("faults/pte_mapped");
}

/* A read leaves no record; a write is seen although the page is mapped; a sync cleans. */
TEST_F(tracked, as_page_frames)
{
	uint64_t was;

	EXPECT_EQ(0, rdax_load(self->map + self->unit));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	for (int round = 0; round < 3; round++) {
		was = mapped();
		self->map[self->unit + 8] = round;
		EXPECT_EQ(was + 1, mapped());
		self->map[self->unit + 9] = round;
		EXPECT_EQ(was + 1, mapped());
		EXPECT_NE(NULL, strstr(rdax_entries(), "dirty"));
		expect_sync(self->fd, self->unit, self->unit, self->unit);
		EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
		expect_sync(self->fd, self->unit, self->unit, 0);
		EXPECT_EQ(0, rdax_load(self->map + self->unit));
		EXPECT_EQ(was + 1, mapped());
	}
}

/* mprotect() does not make a clean page writable. */
TEST_F(tracked, protection_changes)
{
	uint64_t was;

	self->map[0] = 1;
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, mprotect(self->map, WINDOW, PROT_READ));
	EXPECT_EQ(1, self->map[0]);
	EXPECT_EQ(0, mprotect(self->map, WINDOW, PROT_READ | PROT_WRITE));
	was = mapped();
	self->map[0] = 2;
	EXPECT_EQ(was + 1, mapped());
	expect_sync(self->fd, 0, self->unit, self->unit);
}

/* Two mappings, by leaves of both sizes. */
TEST_F(tracked, both_sizes)
{
	char *second = rdax_map(self->fd, 0, WINDOW);
	uint64_t was;

	ASSERT_NE(MAP_FAILED, second);
	ASSERT_EQ(0, madvise(second, WINDOW, MADV_NOHUGEPAGE));
	rdax_fill(self->map, 0, SZ_2M, SZ_4K, SEED);
	rdax_fill(second, 0, SZ_2M, SZ_4K, SEED);
	expect_sync(self->fd, 0, SZ_2M, SZ_2M);
	for (int i = 0; i < 2; i++) {
		char *map = i ? self->map : second;

		EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, SZ_4K, SEED));
		was = mapped();
		map[5 * SZ_4K + 8] = 0;
		EXPECT_EQ(was + 1, mapped());
		EXPECT_EQ(0, fsync(self->fd));
	}
	munmap(second, WINDOW);
}

/* Registers a buffer, which pins it for long, and lets it go. */
static int pin(char *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct ring ring;
	int ret = ring_setup(&ring, 0);

	if (ret)
		return ret;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1) ||
	    syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0))
		ret = -errno;
	close(ring.fd);
	return ret;
}

/* It is chosen while nothing is open. */
TEST_F(tracked, chosen_before_the_first_open)
{
	rdax_fill(self->map, 0, SZ_4K, SZ_4K, SEED);
	EXPECT_EQ(-EFAULT, pin(self->map, SZ_4K));
	EXPECT_EQ(-EBUSY, rdax_write_file(memory_attr(), "pages"));
	close(self->fd);
	EXPECT_EQ(-EBUSY, rdax_write_file(memory_attr(), "pages"));
	munmap(self->map, WINDOW);
	EXPECT_EQ(-EINVAL, rdax_write_file(memory_attr(), "frames"));
	EXPECT_EQ(0, rdax_write_file(memory_attr(), "pages"));
	EXPECT_STREQ("pages\n", rdax_text(memory_attr()));
	self->fd = rdax_open();
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_fill(self->map, 0, SZ_4K, SZ_4K, SEED);
	EXPECT_EQ(0, pin(self->map, SZ_4K));
}

TEST(page_frames_are_not_tracked)
{
	if (!rdax_on_dax_bus())
		SKIP(return, "needs a device of the dax bus: scripts/lab guest --machine hmem");
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_STREQ("frames\n", rdax_text(memory_attr()));
	EXPECT_EQ(-EOPNOTSUPP, rdax_write_file(memory_attr(), "tracked"));
	EXPECT_EQ(-EOPNOTSUPP, rdax_write_file(memory_attr(), "pages"));
	EXPECT_STREQ("frames\n", rdax_text(memory_attr()));
	rdax_unbind();
}

/* They sleep on shared futexes. Those of the first page of two folios are not the same. */
TEST_F(tracked, mutexes)
{
	for (enum mutex_kind kind = 0; kind < MUTEX_KINDS; kind++) {
		EXPECT_STREQ("ok", mutex_counts(self->map, WINDOW, SZ_2M + 3 * SZ_4K, kind));
		EXPECT_STREQ("ok", mutex_sleeps(self->map, WINDOW, 0, SZ_2M, kind));
		EXPECT_STREQ("ok", mutex_sleeps(self->map, WINDOW, 0, SZ_4K, kind));
	}
	EXPECT_STREQ("ok", mutex_owner_dies(self->map, WINDOW, SZ_4K));
}

/* From the mapping to a disk, and back to a page that is clean and mapped. */
TEST_F(tracked, o_direct)
{
	int fd = rdax_ram_disk();

	if (fd < 0)
		SKIP(return, "no disk in RAM");
	rdax_fill(self->map, 0, SZ_2M, SZ_4K, SEED);
	EXPECT_EQ(SZ_2M, pwrite(fd, self->map, SZ_2M, 0));
	rdax_fill(self->map + SZ_2M, 0, SZ_2M, SZ_4K, SEED + 1);
	EXPECT_EQ(0, fsync(self->fd));
	/* After a longer call a worker ends the pins. */
	for (uint64_t at = 0; at < SZ_2M; at += SZ_2M / 2)
		EXPECT_EQ(SZ_2M / 2, pread(fd, self->map + SZ_2M + at, SZ_2M / 2, at));
	/* Once, although both an entry and the pin say so. */
	expect_sync(self->fd, SZ_2M, SZ_2M, SZ_2M);
	expect_sync(self->fd, SZ_2M, SZ_2M, 0);
	EXPECT_EQ(0, rdax_wrong(self->map + SZ_2M, 0, SZ_2M, SZ_4K, SEED));
	close(fd);
}

/*
 * A pin that lasts as long as we like: process_vm_writev() pins its target, and
 * then waits for us to give it the page that it copies from.
 */
struct held {
	int uffd;
	char *source, *target;
	pthread_t thread;
	ssize_t written;
};

static void *write_target(void *arg)
{
	struct held *held = arg;
	struct iovec local = { held->source, SZ_4K }, remote = { held->target, SZ_4K };

	held->written = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
	return NULL;
}

static int hold(struct held *held, char *target)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffd_msg msg;

	held->target = target;
	held->source = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	held->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (held->source == MAP_FAILED || held->uffd < 0 || ioctl(held->uffd, UFFDIO_API, &api))
		return -errno;
	reg.range = (struct uffdio_range){ (unsigned long)held->source, SZ_4K };
	if (ioctl(held->uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	if (pthread_create(&held->thread, NULL, write_target, held))
		return -EAGAIN;
	return read(held->uffd, &msg, sizeof(msg)) == sizeof(msg) &&
	       msg.event == UFFD_EVENT_PAGEFAULT ? 0 : -EIO;
}

static int let_go(struct held *held, int byte)
{
	char page[SZ_4K];
	struct uffdio_copy copy = { (unsigned long)held->source, (unsigned long)page, SZ_4K };

	memset(page, byte, SZ_4K);
	if (ioctl(held->uffd, UFFDIO_COPY, &copy))
		return -errno;
	pthread_join(held->thread, NULL);
	close(held->uffd);
	munmap(held->source, SZ_4K);
	return held->written == SZ_4K ? 0 : -EIO;
}

/* The page is clean and mapped read-only when the pin writes to it. */
TEST_F(tracked, a_pin_outlasts_a_sync)
{
	uint64_t at = SZ_2M + 3 * SZ_4K, folio = at - at % self->unit, others;
	struct held held;

	ASSERT_EQ(0, hold(&held, self->map + at));
	/* Twice: the entry, and what the pin may have written since. */
	expect_sync(self->fd, folio, self->unit, 2 * self->unit);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	expect_sync(self->fd, folio, self->unit, self->unit);
	ASSERT_EQ(0, let_go(&held, 'x'));
	EXPECT_EQ('x', self->map[at + 17]);
	/* A sync of other bytes leaves it. */
	trace_start();
	EXPECT_EQ(0, msync(self->map, SZ_4K, MS_SYNC));
	EXPECT_EQ(0, msync(self->map + 2 * SZ_2M, SZ_4K, MS_SYNC));
	EXPECT_EQ(0, written_back(folio, self->unit, &others));
	EXPECT_EQ(0, others);
	trace_start();
	EXPECT_EQ(0, msync(self->map + at, SZ_4K, MS_SYNC));
	EXPECT_EQ(self->unit, written_back(folio, self->unit, &others));
	EXPECT_EQ(0, others);
	expect_sync(self->fd, folio, self->unit, 0);
}

/*
 * A sync finds what a pin wrote at the first and last folio of a group of 4096, and in a group that an earlier
 * sync found clean. With folios of 2 MiB a group is 8 GiB, more than these devices have. A sync of one of two
 * folios of a group leaves the note of the other.
 */
TEST_F(tracked, pins_far_apart)
{
	uint64_t group = 4096 * self->unit, last = rdax_size() / self->unit * self->unit - self->unit;
	uint64_t places[] = { 0, group - self->unit, group, 2 * group + 5 * self->unit, last };

	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(places); i++) {
		uint64_t place = places[i % ARRAY_SIZE(places)], others;
		uint64_t other = place ? place - self->unit : self->unit;
		struct held held[2];
		char *map[2];

		if (place > last)
			continue;
		map[0] = rdax_map(self->fd, place, self->unit);
		map[1] = rdax_map(self->fd, other, self->unit);
		ASSERT_NE(MAP_FAILED, map[0]);
		ASSERT_NE(MAP_FAILED, map[1]);
		for (unsigned int n = 0; n < 2; n++)
			ASSERT_EQ(0, hold(&held[n], map[n]));
		EXPECT_EQ(0, fsync(self->fd));
		for (unsigned int n = 0; n < 2; n++)
			ASSERT_EQ(0, let_go(&held[n], 'a' + i));
		trace_start();
		EXPECT_EQ(0, msync(map[1], self->unit, MS_SYNC));
		EXPECT_EQ(self->unit, written_back(other, self->unit, &others));
		EXPECT_EQ(0, others);
		expect_sync(self->fd, place, self->unit, self->unit);
		expect_sync(self->fd, place, self->unit, 0);
		munmap(map[0], self->unit);
		munmap(map[1], self->unit);
	}
}

/* What else is written back of the folio is not what the pin has written. */
TEST_F(tracked, a_part_of_what_a_pin_wrote)
{
	char *second = rdax_map(self->fd, 0, WINDOW);
	uint64_t at = SZ_2M + 3 * SZ_4K;
	struct held held;

	ASSERT_NE(MAP_FAILED, second);
	ASSERT_EQ(0, madvise(second, WINDOW, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, hold(&held, self->map + at));
	EXPECT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, let_go(&held, 'w'));
	second[at + SZ_4K] = 1;
	expect_sync(self->fd, SZ_2M, SZ_2M, SZ_4K + self->unit);
	expect_sync(self->fd, SZ_2M, SZ_2M, 0);
	munmap(second, WINDOW);
}

/* KVM sets PG_dirty. The end of a pin of such a page is not told. */
TEST_F(tracked, a_pin_beside_a_virtual_machine)
{
	uint64_t at = SZ_2M + 3 * SZ_4K, folio = at - at % self->unit;
	struct held held;
	struct vm vm;

	if (!vm_possible())
		SKIP(return, "no /dev/kvm");
	ASSERT_EQ(0, vm_make(&vm, self->map, WINDOW));
	EXPECT_STREQ("ok", vm_do(&vm, VM_MOV, at, 7));
	ASSERT_EQ(0, hold(&held, self->map + at));
	expect_sync(self->fd, folio, self->unit, 2 * self->unit);
	ASSERT_EQ(0, let_go(&held, 'v'));
	expect_sync(self->fd, folio, self->unit, self->unit);
	expect_sync(self->fd, folio, self->unit, 0);
	vm_end(&vm);
}

/* So does an unbind, which ends the mapping first. */
TEST_F(tracked, a_pin_outlasts_a_mapping)
{
	uint64_t at = SZ_2M + 3 * SZ_4K, folio = at - at % self->unit, others;
	struct held held;

	ASSERT_EQ(0, hold(&held, self->map + at));
	EXPECT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, munmap(self->map, WINDOW));
	ASSERT_EQ(0, let_go(&held, 'y'));
	trace_start();
	EXPECT_EQ(0, rdax_unbind());
	EXPECT_EQ(self->unit, written_back(folio, self->unit, &others));
	EXPECT_EQ(0, others);
	ASSERT_EQ(0, rdax_bind());
}

/* A pin from the time before pages were tracked. Its end is not told; nor what it wrote meanwhile. */
TEST_F(tracked, pinned_for_long_before)
{
	char *target = self->map + SZ_2M;
	struct iovec iov = { target, SZ_4K };
	int result, disk = rdax_ram_disk();
	struct io_uring_sqe *sqe;
	struct ring ring;
	uint64_t others;

	if (disk < 0)
		SKIP(return, "no disk in RAM");
	close(self->fd);
	munmap(self->map, WINDOW);
	ASSERT_EQ(0, rdax_write_file(memory_attr(), "pages"));
	self->fd = rdax_open();
	ASSERT_EQ(self->map, mmap(self->map, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				  self->fd, 0));
	ASSERT_EQ(0, ring_setup(&ring, 0));
	ASSERT_EQ(0, syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1));
	close(self->fd);
	munmap(self->map, WINDOW);
	ASSERT_EQ(0, rdax_write_file(memory_attr(), "tracked"));
	self->fd = rdax_open();
	EXPECT_EQ(0, fsync(self->fd));
	for (int round = 0; round < 2; round++) {
		sqe = ring_queue(&ring, IORING_OP_READ_FIXED, disk, target, SZ_4K, 0, 0);
		sqe->buf_index = 0;
		ASSERT_EQ(0, ring_run(&ring, &result, 1));
		EXPECT_EQ(SZ_4K, result);
		expect_sync(self->fd, SZ_2M, self->unit, self->unit);
	}
	EXPECT_EQ(0, syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(ring.fd);
	close(disk);
	close(self->fd);
	trace_start();
	EXPECT_EQ(0, rdax_unbind());
	EXPECT_EQ(self->unit, written_back(SZ_2M, self->unit, &others));
	EXPECT_EQ(0, others);
	ASSERT_EQ(0, rdax_bind());
	self->fd = rdax_open();
	self->map = rdax_map(self->fd, 0, WINDOW);
}

#define SYNCS	100

static struct {
	char *at;
	int begun;
} beside;

static void *sync_beside(void *arg)
{
	__atomic_store_n(&beside.begun, 1, __ATOMIC_RELEASE);
	return msync(beside.at, SZ_4K, MS_SYNC) ? beside.at : NULL;
}

/* A sync does not end before another has written back what a pin wrote. */
TEST_F(tracked, two_syncs)
{
	uint64_t from[SYNCS], till[SYNCS];

	if (self->unit < SZ_2M)
		SKIP(return, "a page is written back at once");
	beside.at = self->map + SZ_2M;
	for (int round = 0; round < 20; round++) {
		const struct trace_call *calls;
		struct held held;
		pthread_t other;
		size_t count;
		void *failed;

		ASSERT_EQ(0, hold(&held, beside.at + 3 * SZ_4K));
		EXPECT_EQ(0, fsync(self->fd));
		ASSERT_EQ(0, let_go(&held, 'q'));
		beside.begun = 0;
		trace_start();
		ASSERT_EQ(0, pthread_create(&other, NULL, sync_beside, NULL));
		while (!__atomic_load_n(&beside.begun, __ATOMIC_ACQUIRE))
			;
		for (int i = 0; i < SYNCS; i++) {
			from[i] = trace_now();
			EXPECT_EQ(0, msync(beside.at, SZ_4K, MS_SYNC));
			till[i] = trace_now();
		}
		pthread_join(other, &failed);
		EXPECT_EQ(NULL, failed);
		count = trace_stop(&calls);
		for (size_t i = 0; i < count; i++)
			for (int j = 0; j < SYNCS && calls[i].what == TRACE_WB && calls[i].tid != gettid(); j++)
				EXPECT_FALSE(from[j] > calls[i].begin && till[j] < calls[i].end);
	}
}

static struct {
	char *noted;
	int ready, go, failed;
	uint64_t delay;	/* ns */
} entry_beside;

static void *store_and_sync(void *arg)
{
	uint64_t begun;

	__atomic_store_n(&entry_beside.ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&entry_beside.go, __ATOMIC_ACQUIRE))
		;
	begun = trace_now();
	while (trace_now() - begun < entry_beside.delay)
		;
	entry_beside.failed = rdax_store(entry_beside.noted) ||
			      msync(entry_beside.noted, SZ_4K, MS_SYNC);
	return NULL;
}

/*
 * A sync that has passed a clean entry does not end before another sync, of the entry that is dirty again, has
 * written back what a pin wrote there before. The other one has to come to its write-back just before the
 * first looks for what pins wrote: it starts the later, the earlier it came the last time.
 */
TEST_F_TIMEOUT(tracked, a_sync_beside_an_entry, 60)
{
	uint64_t end = trace_now() + RDAX_PATIENCE / 3 * UINT64_C(1000000000);
	int met = 0, rounds = 0;

	if (self->unit < SZ_2M)
		SKIP(return, "a page is written back at once");
	entry_beside.noted = self->map + SZ_2M;
	entry_beside.delay = 0;
	trace_slow_write_backs(true);
	while (met < 20 && trace_now() < end) {
		const struct trace_call *calls;
		bool by_us = false, late = false;
		struct held held;
		pthread_t other;
		uint64_t from, till, step;
		size_t count;

		ASSERT_EQ(0, hold(&held, entry_beside.noted + 3 * SZ_4K));
		EXPECT_EQ(0, fsync(self->fd));
		ASSERT_EQ(0, let_go(&held, 'q'));
		/* What it does meanwhile. */
		for (uint64_t at = 2 * SZ_2M; at < WINDOW; at += SZ_2M)
			ASSERT_EQ(0, rdax_store(self->map + at));
		entry_beside.ready = entry_beside.go = 0;
		trace_start();
		ASSERT_EQ(0, pthread_create(&other, NULL, store_and_sync, NULL));
		while (!__atomic_load_n(&entry_beside.ready, __ATOMIC_ACQUIRE))
			;
		__atomic_store_n(&entry_beside.go, 1, __ATOMIC_RELEASE);
		from = trace_now();
		EXPECT_EQ(0, msync(entry_beside.noted, WINDOW - SZ_2M, MS_SYNC));
		till = trace_now();
		pthread_join(other, NULL);
		EXPECT_EQ(0, entry_beside.failed);
		count = trace_stop(&calls);
		for (size_t i = 0; i < count; i++) {
			if (calls[i].what != TRACE_WB || calls[i].first >= 2 * SZ_2M)
				continue;
			by_us |= calls[i].tid == gettid();
			late |= calls[i].tid != gettid() && calls[i].end > till;
		}
		EXPECT_TRUE(by_us || !late)
			TH_LOG("round %d", rounds);
		step = (till - from) / 16;
		if (!by_us)
			entry_beside.delay += step;
		else
			entry_beside.delay -= step < entry_beside.delay ? step : entry_beside.delay;
		met += !by_us;
		rounds++;
	}
	trace_slow_write_backs(false);
	EXPECT_LT(0, met);
	TH_LOG("the other sync came first in %d of %d rounds", met, rounds);
}

static void *punch_target(void *arg)
{
	struct held *held = arg;
	int fd = rdax_open();

	held->written = rdax_punch(fd, SZ_2M, SZ_2M);
	close(fd);
	return NULL;
}

/* The pin writes nothing to what was punched. */
TEST_F(tracked, a_punch_waits)
{
	struct held held, punch = { .written = 1 };

	rdax_fill(self->map, 0, 2 * SZ_2M, SZ_4K, SEED);
	ASSERT_EQ(0, hold(&held, self->map + SZ_2M + 3 * SZ_4K));
	ASSERT_EQ(0, pthread_create(&punch.thread, NULL, punch_target, &punch));
	usleep(200000);
	EXPECT_EQ(1, __atomic_load_n(&punch.written, __ATOMIC_ACQUIRE));
	EXPECT_EQ(0, rdax_wrong(self->map, 0, 2 * SZ_2M, SZ_4K, SEED));
	ASSERT_EQ(0, let_go(&held, 'z'));
	pthread_join(punch.thread, NULL);
	EXPECT_EQ(0, punch.written);
	for (uint64_t i = 0; i < SZ_2M; i += SZ_4K)
		EXPECT_EQ(0, self->map[SZ_2M + i + 17]);
}

int main(int argc, char **argv)
{
	rdax_begin();
	if (rdax_on_dax_bus()) {
		trace_begin();
		vm_hold();
	}
	return test_harness_run(argc, argv);
}
