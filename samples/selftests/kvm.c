// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual machine whose memory is a mapping of the device. KVM takes a read-only leaf for memory
 * that the machine must not write, and does not ask for a write fault: it emulates the instruction,
 * which works for some, and ends the machine for others. So no store of the machine may find such a
 * leaf, after a read of the page by any task and after a sync. The next sync writes back what the machine
 * stores after one. What happens to one page must not end a machine that uses another.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "uapi/rdax.h"
#include "vm.h"

/* What a machine does while something else happens. */
#define ADDS	1500

static uint64_t written_back(void)
{
	return rdax_attr("entries/writebacks");
}

/* Lines of the index that say so. */
static unsigned int dirty_lines(void)
{
	const char *p = rdax_entries();
	unsigned int n = 0;

	while ((p = strstr(p, " dirty"))) {
		p++;
		n++;
	}
	return n;
}

/* Units are what a leaf maps. A word in one, at a multiple of 16 bytes. */
static uint64_t place(uint64_t u, uint64_t bytes)
{
	return u * bytes + (u * 37 + 5) * 4112 % bytes / 16 * 16;
}

FIXTURE(kvm)
{
	struct vm vm;
	int fd;
	uint64_t units, len;
	char *map;
};

FIXTURE_VARIANT(kvm)
{
	uint64_t bytes, units;
};

FIXTURE_VARIANT_ADD(kvm, pte)
{
	.bytes = SZ_4K,
	.units = 64,
};

FIXTURE_VARIANT_ADD(kvm, pmd)
{
	.bytes = SZ_2M,
	.units = 6,
};

FIXTURE_VARIANT_ADD(kvm, pud)
{
	.bytes = SZ_1G,
	.units = 2,
};

/* Nothing is mapped, no entry is dirty. Each unit has a word that is its number plus 1000. */
FIXTURE_SETUP(kvm)
{
	self->vm.kvm = -1;
	if (rdax_memory_is_pages() && variant->bytes == SZ_1G)
		SKIP(return, "pages have no leaves of 1 GiB");
	ASSERT_EQ(0, rdax_fresh(rdax_memory_is_pages() && variant->bytes == SZ_2M ? "2M" : "4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->units = variant->units;
	self->len = variant->units * variant->bytes;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "device too small or not aligned for this size");
	for (uint64_t u = 0; u < self->units; u++) {
		uint64_t word = u + 1000;

		ASSERT_EQ(sizeof(word), pwrite(self->fd, &word, sizeof(word),
					       place(u, variant->bytes)));
	}
	ASSERT_EQ(0, fsync(self->fd));
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(kvm)
{
	close(self->fd);
}

#define AT(u)	place(u, variant->bytes)
#define MAKE()	ASSERT_EQ(0, vm_make(&self->vm, self->map, self->len))

/* What the device has at an offset, by a call and not by a mapping. */
static uint64_t word(int fd, uint64_t offset)
{
	uint64_t word = 0;

	return pread(fd, &word, sizeof(word), offset) == sizeof(word) ? word : UINT64_MAX;
}

/* Nothing is mapped in this mapping, and nothing is dirty. */
static int as_new(FIXTURE_DATA(kvm) *self)
{
	return fsync(self->fd) ||
	       mmap(self->map, self->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self->fd,
		    0) != self->map;
}

/* The machine stores to each unit, each in one way. */
static void stores_work(struct __test_metadata *_metadata, FIXTURE_DATA(kvm) *self,
			const FIXTURE_VARIANT(kvm) *variant, enum vm_op op)
{
	for (uint64_t u = 0; u < self->units; u++) {
		uint64_t was = word(self->fd, AT(u)), value = 7777 * (op + 1) + u;

		EXPECT_STREQ("ok", vm_do(&self->vm, op, AT(u), value))
			TH_LOG("store %d, unit %" PRIu64, op, u);
		EXPECT_EQ(op == VM_XADD ? was + value : value, word(self->fd, AT(u)))
			TH_LOG("store %d, unit %" PRIu64, op, u);
	}
}

/* It runs at all, in pages of this size, and what it stores is what the file has. */
TEST_F(kvm, runs)
{
	struct rdax_counts before, d;

	MAKE();
	rdax_counts(&before);
	for (uint64_t u = 0; u < self->units; u++) {
		EXPECT_STREQ("ok", vm_do(&self->vm, VM_XADD, AT(u), 1));
		EXPECT_EQ(u + 1000, self->vm.value);
		EXPECT_EQ(u + 1001, word(self->fd, AT(u)));
		EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, AT(u), 0));
		EXPECT_EQ(u + 1001, self->vm.value);
	}
	rdax_delta(&before, &d);
	EXPECT_EQ(self->units, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(0, rdax_sigbus(&d));
}

TEST_F(kvm, load_then_store)
{
	MAKE();
	for (VM_STORES(op)) {
		ASSERT_EQ(0, as_new(self));
		for (uint64_t u = 0; u < self->units; u++)
			EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, AT(u), 0));
		stores_work(_metadata, self, variant, op);
	}
}

/*
 * What the process itself read, by access or by a call, before the machine is there and while it is.
 */

enum reader { ACCESS, PREFAULT, READERS };

static int host_reads(FIXTURE_DATA(kvm) *self, const FIXTURE_VARIANT(kvm) *variant,
		      enum reader reader)
{
	struct rdax_prefault prefault = {
		.size = sizeof(prefault),
		.address = (uintptr_t)self->map,
		.length = self->len,
	};

	switch (reader) {
	case ACCESS:
		for (uint64_t u = 0; u < self->units; u++)
			if (rdax_load(self->map + AT(u)))
				return -EFAULT;
		return 0;
	default:
		if (rdax_memory_is_pages())
			return madvise(self->map, self->len, MADV_POPULATE_READ) ? -errno : 0;
		return ioctl(self->fd, RDAX_IOC_PREFAULT, &prefault) ? -errno : 0;
	}
}

TEST_F(kvm, host_read_before)
{
	for (enum reader reader = 0; reader < READERS; reader++) {
		for (VM_STORES(op)) {
			ASSERT_EQ(0, as_new(self));
			ASSERT_EQ(0, host_reads(self, variant, reader));
			MAKE();
			stores_work(_metadata, self, variant, op);
			vm_end(&self->vm);
		}
	}
}

/* The first fault of the machine's process ends the read-only leaves that it made before. */
TEST_F(kvm, host_read_before_a_fault)
{
	uint64_t last = self->units - 1;

	for (uint64_t u = 0; u < last; u++)
		ASSERT_EQ(0, rdax_load(self->map + AT(u)));
	EXPECT_EQ(0, rdax_attr("faults/maps_writable"));
	MAKE();
	EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, AT(last), 0));
	if (!rdax_memory_is_pages())
		EXPECT_EQ(1, rdax_attr("faults/maps_writable"));
	for (uint64_t u = 0; u < last; u++)
		EXPECT_STREQ("ok", vm_do(&self->vm, VM_MOVQ, AT(u), u));
	/* Until it is closed. */
	vm_end(&self->vm);
	munmap(self->map, self->len);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, rdax_attr("faults/maps_writable"));
}

/* For a process that has no fault after it: the attribute. */
TEST_F(kvm, map_writable)
{
	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "1"));
	for (uint64_t u = 0; u < self->units; u++)
		ASSERT_EQ(0, rdax_load(self->map + AT(u)));
	MAKE();
	for (uint64_t u = 0; u < self->units; u++)
		EXPECT_STREQ("ok", vm_do(&self->vm, VM_MOVQ, AT(u), u));
	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("faults/map_writable"), "0"));
	EXPECT_EQ(-EINVAL, rdax_write_file(rdax_attr_path("faults/map_writable"), "2"));
}

TEST_F(kvm, host_read_meanwhile)
{
	MAKE();
	for (enum reader reader = 0; reader < READERS; reader++) {
		for (VM_STORES(op)) {
			ASSERT_EQ(0, as_new(self));
			ASSERT_EQ(0, host_reads(self, variant, reader));
			stores_work(_metadata, self, variant, op);
		}
	}
}

/*
 * mprotect() gives write access back without a fault. The leaves of what was read meanwhile stay
 * read-only.
 */
static void protected(struct __test_metadata *_metadata, FIXTURE_DATA(kvm) *self,
		      const FIXTURE_VARIANT(kvm) *variant, bool sync)
{
	MAKE();
	for (VM_STORES(op)) {
		ASSERT_EQ(0, as_new(self));
		stores_work(_metadata, self, variant, VM_XADD);
		ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ));
		EXPECT_EQ(0, sync ? fsync(self->fd) : 0);
		for (uint64_t u = 0; u < self->units; u++)
			EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, AT(u), 0));
		ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ | PROT_WRITE));
		stores_work(_metadata, self, variant, op);
		EXPECT_NE(0, dirty_lines());
	}
}

TEST_F(kvm, protected_for_a_while)
{
	protected(_metadata, self, variant, false);
}

TEST_F(kvm, protected_and_synced)
{
	protected(_metadata, self, variant, true);
}

/*
 * Syncs
 */

enum how { FSYNC, MSYNC, BY_ANOTHER, HOWS };

static int sync_there(void *arg)
{
	int fd = open(RDAX_NODE, O_RDWR | O_CLOEXEC);

	return fd < 0 || fsync(fd);
}

static int sync_all(FIXTURE_DATA(kvm) *self, enum how how)
{
	switch (how) {
	case FSYNC:
		return fsync(self->fd);
	case MSYNC:
		return msync(self->map, self->len, MS_SYNC);
	default:
		return rdax_bounded(sync_there, NULL, RDAX_PATIENCE);
	}
}

/* Each store after a sync succeeds, and makes its entry dirty, so that the next sync writes it back. */
TEST_F(kvm, sync_between_stores)
{
	uint64_t done;

	if (rdax_memory_is_pages())
		SKIP(return, "dirty entries are not exact with pages");
	MAKE();
	for (enum how how = 0; how < HOWS; how++) {
		for (VM_STORES(op)) {
			stores_work(_metadata, self, variant, op);
			done = written_back();
			EXPECT_NE(0, dirty_lines());
			EXPECT_EQ(0, sync_all(self, how));
			EXPECT_EQ(0, dirty_lines());
			EXPECT_EQ(done + self->units, written_back());
			/* One only. */
			EXPECT_STREQ("ok", vm_do(&self->vm, op, AT(1), 5));
			EXPECT_EQ(1, dirty_lines());
			EXPECT_EQ(0, sync_all(self, how));
			EXPECT_EQ(0, dirty_lines());
			EXPECT_EQ(done + self->units + 1, written_back());
		}
	}
}

/* What the machine read between a sync and its store. */
TEST_F(kvm, load_after_sync)
{
	MAKE();
	for (VM_STORES(op)) {
		stores_work(_metadata, self, variant, op);
		EXPECT_EQ(0, fsync(self->fd));
		for (uint64_t u = 0; u < self->units; u++)
			EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, AT(u), 0));
		stores_work(_metadata, self, variant, op);
		EXPECT_NE(0, dirty_lines());
	}
}

/*
 * While the machine runs in another thread
 */

struct runner {
	struct vm *vm;
	uint64_t offset;
	uint64_t adds, until;	/* how many there were, and are to be */
	const char *end;
	bool ended;
};

static void *keep_running(void *arg)
{
	struct runner *r = arg;

	while (r->adds < r->until) {
		r->end = vm_add(r->vm, r->offset, 1, 1);
		if (strcmp(r->end, "ok"))
			break;
		__atomic_fetch_add(&r->adds, 1, __ATOMIC_RELAXED);
	}
	/* That may be this thread's own. */
	r->end = strdup(r->end);
	__atomic_store_n(&r->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

/* Repeats `step` while the machine adds to a word. Returns how often the step failed. */
static int meanwhile(struct __test_metadata *_metadata, struct vm *vm, uint64_t offset, int fd,
		     int (*step)(void *arg), void *arg)
{
	struct runner r = {
		.vm = vm,
		.offset = offset,
		/* A sync of 1 GiB takes long. */
		.until = vm->len >= SZ_1G ? ADDS / 30 : ADDS,
	};
	uint64_t was = word(fd, offset);
	pthread_t thread;
	int failed = 0;

	if (pthread_create(&thread, NULL, keep_running, &r))
		return -1;
	while (!__atomic_load_n(&r.ended, __ATOMIC_ACQUIRE)) {
		uint64_t adds = __atomic_load_n(&r.adds, __ATOMIC_RELAXED);

		for (int i = 0; i < 5 && !__atomic_load_n(&r.ended, __ATOMIC_ACQUIRE); i++)
			failed += step(arg) != 0;
		/* KVM repeats its fault until it finds the leaf. Let it make progress. */
		while (adds == __atomic_load_n(&r.adds, __ATOMIC_RELAXED) &&
		       !__atomic_load_n(&r.ended, __ATOMIC_ACQUIRE))
			sched_yield();
	}
	pthread_join(thread, NULL);
	EXPECT_STREQ("ok", r.end)
		TH_LOG("after %" PRIu64 " additions", r.adds);
	EXPECT_EQ(was + r.adds, word(fd, offset));
	return failed;
}

static int sync_step(void *arg)
{
	return fsync(*(int *)arg);
}

TEST_F(kvm, syncs_meanwhile)
{
	uint64_t done;

	if (rdax_memory_is_pages())
		SKIP(return, "dirty entries are not exact with pages");
	MAKE();
	EXPECT_EQ(0, meanwhile(_metadata, &self->vm, AT(0), self->fd, sync_step, &self->fd));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, dirty_lines());
	done = written_back();
	EXPECT_STREQ("ok", vm_do(&self->vm, VM_MOVQ, AT(0), 3));
	EXPECT_EQ(1, dirty_lines());
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(done + 1, written_back());
}

struct beside {
	int fd;
	uint64_t offset;
	char *map;
};

/*
 * There is something to punch each time: large, so that the machine's page is unmapped, too. The store
 * is by another mapping, so that only the machine maps its own.
 */
static int punch_step(void *arg)
{
	struct beside *b = arg;

	return rdax_store(b->map + b->offset) || rdax_punch(b->fd, b->offset, SZ_4K);
}

static int zero_step(void *arg)
{
	struct beside *b = arg;

	return rdax_zero(b->fd, b->offset, SZ_4K);
}

/* A page of the same 2 MiB. */
static uint64_t neighbour(uint64_t offset)
{
	return (offset ^ SZ_4K) / SZ_4K * SZ_4K;
}

static void beside(struct __test_metadata *_metadata, FIXTURE_DATA(kvm) *self,
		   const FIXTURE_VARIANT(kvm) *variant, int (*step)(void *arg))
{
	struct beside b = { self->fd, neighbour(AT(0)), rdax_map(self->fd, 0, self->len) };

	ASSERT_NE(MAP_FAILED, b.map);
	MAKE();
	EXPECT_EQ(0, meanwhile(_metadata, &self->vm, AT(0), self->fd, step, &b));
	EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, b.offset, 0));
	EXPECT_EQ(0, self->vm.value);
	stores_work(_metadata, self, variant, VM_XADD);
}

TEST_F(kvm, punches_beside_it)
{
	beside(_metadata, self, variant, punch_step);
}

TEST_F(kvm, zeroes_beside_it)
{
	beside(_metadata, self, variant, zero_step);
}

/* At most 2 MiB, since zeroing takes time. */
static int punch_around(int fd, uint64_t offset, uint64_t bytes)
{
	uint64_t len = bytes < SZ_2M ? bytes : SZ_2M;

	return rdax_punch(fd, offset / len * len, len);
}

/* Of the page itself: the machine reads zeroes then, and stores. */
TEST_F(kvm, punch_of_its_page)
{
	MAKE();
	for (VM_STORES(op)) {
		stores_work(_metadata, self, variant, op);
		for (uint64_t u = 0; u < self->units; u++) {
			ASSERT_EQ(0, punch_around(self->fd, AT(u), variant->bytes));
			EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, AT(u), 0));
			EXPECT_EQ(0, self->vm.value);
		}
		stores_work(_metadata, self, variant, op);
		EXPECT_NE(0, dirty_lines());
	}
}

/* It reads a hole that the process had read before, and stores. */
TEST_F(kvm, hole_that_was_read)
{
	MAKE();
	for (VM_STORES(op)) {
		for (uint64_t u = 0; u < self->units; u++) {
			uint64_t got = 1;

			ASSERT_EQ(0, punch_around(self->fd, AT(u), variant->bytes));
			EXPECT_EQ(0, rdax_get((uint64_t *)(self->map + AT(u)), &got));
			EXPECT_EQ(0, got);
		}
		stores_work(_metadata, self, variant, op);
		EXPECT_NE(0, dirty_lines());
	}
}

/* KVM's own log of the machine's stores, and the device's dirty entries: each has all of them. */
TEST_F(kvm, dirty_log)
{
	uint64_t *bits = calloc(1, self->len / SZ_4K / 8 + sizeof(uint64_t));

	if (rdax_memory_is_pages())
		SKIP(return, "dirty entries are not exact with pages");
	ASSERT_NE(NULL, bits);
	MAKE();
	ASSERT_EQ(0, vm_memory(&self->vm, self->map, true));
	for (VM_STORES(op)) {
		stores_work(_metadata, self, variant, op);
		EXPECT_EQ(0, vm_log(&self->vm, bits));
		for (uint64_t u = 0; u < self->units; u++) {
			uint64_t page = AT(u) / SZ_4K;

			EXPECT_NE(0, bits[page / 64] & UINT64_C(1) << page % 64);
		}
		EXPECT_NE(0, dirty_lines());
		EXPECT_EQ(0, fsync(self->fd));
		EXPECT_EQ(0, dirty_lines());
		EXPECT_EQ(0, vm_log(&self->vm, bits));
		EXPECT_STREQ("ok", vm_do(&self->vm, op, AT(1), 5));
		EXPECT_EQ(1, dirty_lines());
		EXPECT_EQ(0, vm_log(&self->vm, bits));
		EXPECT_NE(0, bits[AT(1) / SZ_4K / 64] & UINT64_C(1) << AT(1) / SZ_4K % 64);
		EXPECT_EQ(0, bits[AT(0) / SZ_4K / 64] & UINT64_C(1) << AT(0) / SZ_4K % 64);
	}
	free(bits);
}

/*
 * What ends
 */

TEST_F(kvm, unbind)
{
	uint64_t last = AT(self->units - 1);

	MAKE();
	stores_work(_metadata, self, variant, VM_MOVQ);
	ASSERT_EQ(0, rdax_unbind());
	for (enum vm_op op = 0; op < VM_OPS; op++)
		EXPECT_STREQ("EFAULT", vm_do(&self->vm, op, last, 1));
	/* Bound again, and mapped in the same place. */
	close(self->fd);
	ASSERT_EQ(0, rdax_bind());
	EXPECT_STREQ("EFAULT", vm_do(&self->vm, VM_LOAD, last, 0));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, as_new(self));
	EXPECT_STREQ("ok", vm_do(&self->vm, VM_LOAD, last, 0));
	EXPECT_EQ(7777 * (VM_MOVQ + 1) + self->units - 1, self->vm.value);
	for (VM_STORES(op))
		stores_work(_metadata, self, variant, op);
}

/* The last unit is cut off, and comes back. */
TEST_F(kvm, shrink)
{
	uint64_t size = rdax_size(), last = AT(self->units - 1);
	uint64_t less = (self->units - 1) * variant->bytes;
	char text[32];

	if (rdax_on_dax_bus())
		SKIP(return, "the bus resizes only what is not bound");
	MAKE();
	stores_work(_metadata, self, variant, VM_MOVQ);
	snprintf(text, sizeof(text), "%" PRIu64, less);
	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("size"), text));
	for (enum vm_op op = 0; op < VM_OPS; op++)
		EXPECT_STREQ("EFAULT", vm_do(&self->vm, op, last, 1));
	for (VM_STORES(op))
		EXPECT_STREQ("ok", vm_do(&self->vm, op, AT(0), 1));
	snprintf(text, sizeof(text), "%" PRIu64, size);
	ASSERT_EQ(0, rdax_write_file(rdax_attr_path("size"), text));
	for (VM_STORES(op))
		stores_work(_metadata, self, variant, op);
}

/* A page of the first unit is bad: the machine's access to it ends, and the others go on. */
TEST_F(kvm, memory_error)
{
	uint64_t bad = AT(0), phys = rdax_attr("resource") + bad;

	if (!rdax_can_report_error())
		SKIP(return, "no hard_offline_page");
	MAKE();
	stores_work(_metadata, self, variant, VM_MOVQ);
	ASSERT_EQ(0, rdax_report_error(phys));
	ASSERT_TRUE(rdax_goes_bad(self->map + bad));
	for (enum vm_op op = 0; op < VM_OPS; op++) {
		EXPECT_STREQ(rdax_memory_is_pages() ? "SIGBUS" : "EFAULT",
			     vm_do(&self->vm, op, bad, 1));
		if (op == VM_LOAD)
			continue;
		EXPECT_STREQ("ok", vm_do(&self->vm, op, neighbour(bad), 1));
		EXPECT_STREQ("ok", vm_do(&self->vm, op, AT(1), 1));
	}
	EXPECT_EQ(0, fsync(self->fd));
	for (VM_STORES(op)) {
		EXPECT_STREQ("ok", vm_do(&self->vm, op, neighbour(bad), 1));
		EXPECT_STREQ("ok", vm_do(&self->vm, op, AT(1), 1));
	}
}

/*
 * 4 KiB entries become one of 2 MiB under the machine, and are made anew by a punch.
 */
TEST(upgrade)
{
	uint64_t word_of = 5 * 4112;
	struct vm vm;
	char *small, *large;
	int fd;

	if (rdax_memory_is_pages())
		SKIP(return, "dirty entries are not exact with pages");
	ASSERT_EQ(0, rdax_fresh("4K"));
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	if (!rdax_fits(SZ_2M))
		SKIP(return, "not aligned");
	small = rdax_map(fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, small);
	ASSERT_EQ(0, madvise(small, SZ_2M, MADV_NOHUGEPAGE));
	large = rdax_map(fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, large);
	ASSERT_EQ(0, vm_make(&vm, small, SZ_2M));
	for (VM_STORES(op)) {
		uint64_t upgrades = rdax_event("upgrades");

		EXPECT_STREQ("ok", vm_do(&vm, VM_MOVQ, word_of, op));
		EXPECT_NE(NULL, strstr(rdax_entries(), "order 0 mapped dirty"));
		EXPECT_EQ(0, rdax_store(large + SZ_4K));
		EXPECT_EQ(upgrades + 1, rdax_event("upgrades"));
		EXPECT_STREQ("0x0 1 order 9 mapped dirty\n", rdax_entries());
		EXPECT_STREQ("ok", vm_do(&vm, VM_LOAD, word_of, 0));
		EXPECT_EQ(op, vm.value);
		EXPECT_STREQ("ok", vm_do(&vm, op, word_of, 9));
		EXPECT_EQ(0, fsync(fd));
		EXPECT_STREQ("", rdax_entries());
		EXPECT_STREQ("ok", vm_do(&vm, op, word_of, 9));
		EXPECT_STREQ("0x5 1 order 0 mapped dirty\n", rdax_entries());
		EXPECT_EQ(0, rdax_punch(fd, 0, SZ_2M));
	}
	close(fd);
}

/* A fault that maps more than its page, too. */
TEST(around)
{
	uint64_t len = 64 * SZ_4K;
	struct vm vm;
	char *map;
	int fd;

	if (rdax_memory_is_pages())
		SKIP(return, "dirty entries are not exact with pages");
	ASSERT_EQ(0, rdax_fault_around("65536"));
	ASSERT_EQ(0, rdax_fresh("4K"));
	fd = rdax_open();
	ASSERT_GE(fd, 0);
	map = rdax_map(fd, 0, len);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, len, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, vm_make(&vm, map, len));
	for (VM_STORES(op)) {
		/* In order, so that more are mapped each time; then all are stored to. */
		for (uint64_t at = 0; at < len; at += SZ_4K)
			EXPECT_STREQ("ok", vm_do(&vm, VM_LOAD, at, 0));
		for (uint64_t at = 0; at < len; at += SZ_4K) {
			EXPECT_STREQ("ok", vm_do(&vm, op, at, at + op));
			EXPECT_EQ(0, rdax_load(map + (at + SZ_4K) % len));
		}
		EXPECT_EQ(0, fsync(fd));
		EXPECT_EQ(0, dirty_lines());
		EXPECT_STREQ("ok", vm_do(&vm, op, 33 * SZ_4K, 1));
		EXPECT_NE(0, dirty_lines());
		ASSERT_EQ(map, mmap(map, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
		ASSERT_EQ(0, madvise(map, len, MADV_NOHUGEPAGE));
		EXPECT_EQ(0, rdax_punch(fd, 0, len));
	}
	rdax_fault_around("0");
	close(fd);
}

int main(int argc, char **argv)
{
	if (!vm_hold()) {
		ksft_print_header();
		ksft_exit_skip("no /dev/kvm\n");
	}
	rdax_begin();
	return test_harness_run(argc, argv);
}
