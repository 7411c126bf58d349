// SPDX-License-Identifier: GPL-2.0
/*
 * fsync, fdatasync and msync: they write back the entries that are dirty, no
 * others, and take away write access wherever these are mapped, so that the next
 * store is seen. A mapping that stays writable is data that no later sync will
 * ever write back. What the kernel really writes back is sync_trace's affair;
 * here it is counters and content.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "uapi/rdax.h"

#ifndef MAP_SYNC
#define MAP_SYNC	0x80000
#endif
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE	3
#endif

static uint64_t written_back(void)
{
	return rdax_attr("entries/writebacks");
}

/* Units are what an entry stands for. A store somewhere in unit `u`. */
static char *place(char *map, uint64_t u, uint64_t bytes)
{
	return map + u * bytes + (u * 37 + 5) * 4104 % bytes;
}

/* How many faults one store to each of the units from..to takes, or one load. */
static uint64_t faults(char *map, uint64_t from, uint64_t to, uint64_t bytes, bool store)
{
	struct rdax_counts before, d;

	rdax_counts(&before);
	for (uint64_t u = from; u < to; u++)
		if (store ? rdax_store(place(map, u, bytes)) : rdax_load(place(map, u, bytes)))
			return UINT64_MAX;
	rdax_delta(&before, &d);
	return d.pte_mapped + d.pmd_mapped + d.pud_mapped;
}

#define stores_fault(map, from, to)	faults(map, from, to, variant->bytes, true)
#define loads_fault(map, from, to)	faults(map, from, to, variant->bytes, false)

FIXTURE(sync)
{
	int fd;
	uint64_t units, len;
	char *map;
};

FIXTURE_VARIANT(sync)
{
	uint64_t bytes, units;
};

FIXTURE_VARIANT_ADD(sync, pte)
{
	.bytes = SZ_4K,
	.units = 64,
};

FIXTURE_VARIANT_ADD(sync, pmd)
{
	.bytes = SZ_2M,
	.units = 6,
};

FIXTURE_VARIANT_ADD(sync, pud)
{
	.bytes = SZ_1G,
	.units = 3,
};

/* All units are mapped and dirty. */
FIXTURE_SETUP(sync)
{
	struct rdax_counts before, d;

	if (rdax_memory_is_pages() && variant->bytes == SZ_1G)
		SKIP(return, "pages have no leaves of 1 GiB");
	ASSERT_EQ(0, rdax_fresh(rdax_memory_is_pages() && variant->bytes == SZ_2M ? "2M" : "4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->units = variant->units;
	self->len = self->units * variant->bytes;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_counts(&before);
	ASSERT_EQ(self->units, stores_fault(self->map, 0, self->units));
	rdax_delta(&before, &d);
	ASSERT_EQ(self->units, rdax_mapped(&d, variant->bytes));
	ASSERT_EQ(0, stores_fault(self->map, 0, self->units));
	ASSERT_EQ(0, written_back());
}

FIXTURE_TEARDOWN(sync)
{
	close(self->fd);
}

enum how { FSYNC, FDATASYNC, MSYNC, HOWS };

static int sync_all(enum how how, int fd, char *map, uint64_t len)
{
	int ret = how == FSYNC ? fsync(fd) :
		  how == FDATASYNC ? fdatasync(fd) : msync(map, len, MS_SYNC);

	return ret ? errno : 0;
}

TEST_F(sync, next_store_faults)
{
	for (enum how how = 0; how < HOWS; how++) {
		EXPECT_EQ(0, sync_all(how, self->fd, self->map, self->len));
		EXPECT_EQ((how + 1) * self->units, written_back());
		/* Nobody has stored since: nothing to do. */
		EXPECT_EQ(0, sync_all(how, self->fd, self->map, self->len));
		EXPECT_EQ((how + 1) * self->units, written_back());
		/* Who only reads never notices, unless the leaf had to go. */
		EXPECT_EQ(variant->bytes == SZ_1G ? self->units : 0,
			  loads_fault(self->map, 0, self->units));
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
		EXPECT_EQ(0, stores_fault(self->map, 0, self->units));
	}
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
}

/* msync of part of the mapping: the entries that reach into it, to the byte. */
TEST_F(sync, part)
{
	uint64_t bytes = variant->bytes, last = self->units - 1, done = 0;
	const struct {
		uint64_t from, to;	/* bytes of the mapping */
		uint64_t first, behind;	/* units */
	} parts[] = {
		{ bytes, bytes + SZ_4K, 1, 2 },
		{ 2 * bytes - SZ_4K, 2 * bytes, 1, 2 },
		{ bytes, 2 * bytes, 1, 2 },
		{ bytes - SZ_4K, bytes + SZ_4K, 0, 2 },
		{ bytes - SZ_4K, 2 * bytes + 1, 0, 3 },
		{ 0, 1, 0, 1 },
		{ bytes, self->len, 1, last + 1 },
		{ self->len - SZ_4K, self->len, last, last + 1 },
		{ 0, self->len - bytes, 0, last },
		{ SZ_4K, SZ_4K, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		uint64_t first = parts[i].first, behind = parts[i].behind;

		ASSERT_EQ(0, msync(self->map + parts[i].from, parts[i].to - parts[i].from,
				   MS_SYNC));
		done += behind - first;
		EXPECT_EQ(done, written_back())
			TH_LOG("part %zu", i);
		EXPECT_EQ(0, stores_fault(self->map, 0, first))
			TH_LOG("part %zu", i);
		EXPECT_EQ(behind - first, stores_fault(self->map, first, behind))
			TH_LOG("part %zu", i);
		EXPECT_EQ(0, stores_fault(self->map, behind, self->units))
			TH_LOG("part %zu", i);
	}
}

/* A page of each unit only, by a small mapping: the unit is what counts. */
TEST_F(sync, small_mapping_of_a_part)
{
	char *page = rdax_map(self->fd, variant->bytes, SZ_4K);

	if (rdax_memory_is_pages() && variant->bytes != SZ_4K)
		SKIP(return, "the bus has a device with such folios at a larger alignment");
	ASSERT_NE(MAP_FAILED, page);
	EXPECT_EQ(0, msync(page, SZ_4K, MS_SYNC));
	EXPECT_EQ(1, written_back());
	EXPECT_EQ(0, stores_fault(self->map, 0, 1));
	EXPECT_EQ(1, stores_fault(self->map, 1, self->units));
	/* It never had the page mapped; now it has, and loses write access like the other. */
	EXPECT_EQ(0, rdax_store(page));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(1, faults(page, 0, 1, SZ_4K, true));
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
}

/* Some are read, some written: what is clean is left alone, and not even locked. */
TEST_F(sync, clean_is_left)
{
	uint64_t done, grabs, dirty = 0;

	EXPECT_EQ(0, fsync(self->fd));
	loads_fault(self->map, 0, self->units);
	for (uint64_t u = 0; u < self->units; u += 3, dirty++)
		EXPECT_EQ(1, stores_fault(self->map, u, u + 1));
	done = written_back();
	grabs = rdax_event("grabs");
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(done + dirty, written_back());
	EXPECT_EQ(grabs + dirty, rdax_event("grabs"));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(grabs + dirty, rdax_event("grabs"));
	EXPECT_EQ(done + dirty, rdax_event("writebacks"));
}

TEST_F(sync, other_flags)
{
	EXPECT_EQ(0, msync(self->map, self->len, MS_ASYNC));
	EXPECT_EQ(0, msync(self->map, self->len, MS_INVALIDATE));
	EXPECT_EQ(0, msync(self->map, self->len, MS_ASYNC | MS_INVALIDATE));
	EXPECT_EQ(0, msync(self->map, self->len, 0));
	EXPECT_EQ(0, written_back());
	EXPECT_EQ(0, stores_fault(self->map, 0, self->units));
	/* They are as dirty as before. */
	EXPECT_EQ(0, msync(self->map, self->len, MS_SYNC | MS_INVALIDATE));
	EXPECT_EQ(self->units, written_back());
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	EXPECT_EQ(0, msync(self->map, self->len, MS_ASYNC));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(2 * self->units, written_back());
}

/* fsync is no write: any open file will do, and a mapping for reading too. */
TEST_F(sync, any_open_file)
{
	int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	char *map;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		fd = open(RDAX_NODE, modes[i] | O_CLOEXEC);
		ASSERT_GE(fd, 0);
		EXPECT_EQ(0, i % 2 ? fdatasync(fd) : fsync(fd));
		EXPECT_EQ((i + 1) * self->units, written_back());
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
		close(fd);
	}
	map = mmap(NULL, self->len, PROT_READ, MAP_SHARED, self->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, msync(map, self->len, MS_SYNC));
	EXPECT_EQ(4 * self->units, written_back());
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
}

TEST_F(sync, mapping_of_a_closed_file)
{
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, msync(self->map, self->len, MS_SYNC));
	EXPECT_EQ(self->units, written_back());
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
}

/* Whoever stored has unmapped it, and another has ended: what they wrote is dirty still. */
TEST_F(sync, writers_are_gone)
{
	int status;
	pid_t pid;

	EXPECT_EQ(0, munmap(self->map, self->len));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(self->units, written_back());
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(self->units, written_back());

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		self->map = rdax_map(self->fd, 0, self->len);
		_exit(stores_fault(self->map, 0, self->units) != self->units);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(2 * self->units, written_back());
}

/* A mapping that only pages of other sizes serve: 4 KiB, or what fits. */
static char *map_otherwise(int fd, uint64_t len)
{
	char *map = rdax_map(fd, 0, len);

	if (map != MAP_FAILED && madvise(map, len, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

/* What is in memory is never touched by it. */
TEST_F(sync, content)
{
	uint64_t step = variant->bytes / 8, seed;
	char *other = map_otherwise(self->fd, self->len);

	ASSERT_NE(MAP_FAILED, other);
	for (seed = 1; seed < 5; seed++) {
		rdax_fill(seed % 2 ? self->map : other, 0, self->len, step, seed);
		EXPECT_EQ(0, sync_all(seed % HOWS, self->fd, self->map, self->len));
		EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, step, seed));
		EXPECT_EQ(0, rdax_wrong(other, 0, self->len, step, seed));
	}
	rdax_fill(other, 0, self->len, step, seed);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, step, seed));
	munmap(other, self->len);
	munmap(self->map, self->len);
	close(self->fd);
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, self->len, step, seed));
}

/*
 * Wherever it is mapped
 */

struct view {
	int fd;
	char *map;
	uint64_t units, bytes;
};

enum { STORE, SYNC };

static int use(void *arg, int step)
{
	struct view *v = arg;

	if (!v->map)
		v->map = rdax_map(v->fd, 0, v->units * v->bytes);
	if (v->map == MAP_FAILED)
		return 1;
	if (step == SYNC)
		return fsync(v->fd) ? errno : 0;
	return faults(v->map, 0, v->units, v->bytes, true) == UINT64_MAX;
}

static uint64_t all_mapped(void)
{
	struct rdax_counts c;

	rdax_counts(&c);
	return c.pte_mapped + c.pmd_mapped + c.pud_mapped;
}

/* How many faults the stores of another process take. */
static uint64_t peer_stores_fault(struct rdax_peer *peer)
{
	uint64_t before = all_mapped();

	return rdax_peer_step(peer, STORE) ? UINT64_MAX : all_mapped() - before;
}

static void expect_both_lose(struct __test_metadata *_metadata, struct rdax_peer *peer,
			     FIXTURE_DATA(sync) *self, const FIXTURE_VARIANT(sync) *variant)
{
	uint64_t done = written_back();

	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(done + self->units, written_back());
	EXPECT_EQ(self->units, peer_stores_fault(peer));
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	EXPECT_EQ(0, peer_stores_fault(peer));

	EXPECT_EQ(0, rdax_peer_step(peer, SYNC));
	EXPECT_EQ(done + 2 * self->units, written_back());
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	EXPECT_EQ(self->units, peer_stores_fault(peer));

	/* Only the other one stores. */
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(self->units, peer_stores_fault(peer));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(done + 4 * self->units, written_back());
	EXPECT_EQ(self->units, peer_stores_fault(peer));
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
}

TEST_F(sync, child)
{
	struct view v = { self->fd, self->map, self->units, variant->bytes };
	struct rdax_peer peer;

	ASSERT_EQ(0, rdax_peer_start(&peer, use, &v));
	/* It has its parent's mapping, and nothing mapped in it. */
	EXPECT_EQ(self->units, peer_stores_fault(&peer));
	expect_both_lose(_metadata, &peer, self, variant);
	rdax_peer_end(&peer);
}

TEST_F(sync, other_process)
{
	struct view v = { self->fd, NULL, self->units, variant->bytes };
	struct rdax_peer peer;

	ASSERT_EQ(0, rdax_peer_start(&peer, use, &v));
	EXPECT_EQ(self->units, peer_stores_fault(&peer));
	expect_both_lose(_metadata, &peer, self, variant);
	rdax_peer_end(&peer);
}

/* Forked when it was clean: neither may write unseen. */
TEST_F(sync, child_of_a_clean_parent)
{
	struct view v = { self->fd, self->map, self->units, variant->bytes };
	struct rdax_peer peer;

	EXPECT_EQ(0, fsync(self->fd));
	loads_fault(self->map, 0, self->units);
	ASSERT_EQ(0, rdax_peer_start(&peer, use, &v));
	EXPECT_EQ(self->units, peer_stores_fault(&peer));
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(2 * self->units, written_back());
	rdax_peer_end(&peer);
}

/* An address with this remainder modulo 1 GiB, where a mapping fits that ends there too. */
static char *room(uint64_t len, uint64_t remainder)
{
	char *all = mmap(NULL, len + 2 * SZ_1G, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t at = ((uint64_t)all + SZ_1G - 1) / SZ_1G * SZ_1G + remainder;

	if (all == MAP_FAILED)
		return MAP_FAILED;
	munmap(all, len + 2 * SZ_1G);
	return (char *)at;
}

/* Moved while it is writable, to where pages of its size fit, and to where they don't. */
TEST_F(sync, moved)
{
	uint64_t remainders[] = { 0, SZ_4K, 0 }, done = 0;
	char *to;

	if (rdax_memory_is_pages() && variant->bytes != SZ_4K)
		SKIP(return, "the bus has a device with such folios at a larger alignment");
	for (size_t i = 0; i < ARRAY_SIZE(remainders); i++) {
		to = room(self->len, remainders[i]);
		ASSERT_NE(MAP_FAILED, to);
		self->map = mremap(self->map, self->len, self->len,
				   MREMAP_MAYMOVE | MREMAP_FIXED, to);
		ASSERT_EQ(to, self->map);
		EXPECT_EQ(0, fsync(self->fd));
		done += self->units;
		EXPECT_EQ(done, written_back());
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
		EXPECT_EQ(0, stores_fault(self->map, 0, self->units));

		/* Moved when it is clean. */
		EXPECT_EQ(0, fsync(self->fd));
		done += self->units;
		to = room(self->len, remainders[i]);
		self->map = mremap(self->map, self->len, self->len,
				   MREMAP_MAYMOVE | MREMAP_FIXED, to);
		ASSERT_EQ(to, self->map);
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	}
}

/* Address and offset don't agree: 4 KiB of an entry that another has mapped as a whole. */
TEST_F(sync, odd_address)
{
	char *odd = room(self->len, SZ_4K);
	struct view v = { self->fd, NULL, self->units, variant->bytes };
	struct rdax_peer peer;

	if (rdax_memory_is_pages() && variant->bytes != SZ_4K)
		SKIP(return, "the bus has a device with such folios at a larger alignment");
	ASSERT_EQ(0, rdax_peer_start(&peer, use, &v));
	EXPECT_EQ(self->units, peer_stores_fault(&peer));
	odd = mmap(odd, self->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE,
		   self->fd, 0);
	ASSERT_NE(MAP_FAILED, odd);
	EXPECT_EQ(self->units, stores_fault(odd, 0, self->units));

	for (uint64_t round = 1; round < 3; round++) {
		/* One entry for all three. */
		EXPECT_EQ(0, msync(odd, self->len, MS_SYNC));
		EXPECT_EQ(round * self->units, written_back());
		EXPECT_EQ(self->units, stores_fault(odd, 0, self->units));
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
		EXPECT_EQ(self->units, peer_stores_fault(&peer));
	}
	/* Only the small page was stored to, and all of its entry is dirty. */
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(self->units, stores_fault(odd, 0, self->units));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(4 * self->units, written_back());
	rdax_peer_end(&peer);
}

/* Many small pages of each entry, in one mapping: each of them loses write access. */
TEST_F(sync, many_small_pages)
{
	char *small = map_otherwise(self->fd, self->len);
	uint64_t pages = variant->bytes / SZ_4K, step = pages / 16 ?: 1, n = 0;

	ASSERT_NE(MAP_FAILED, small);
	for (int round = 0; round < 2; round++) {
		uint64_t before = all_mapped();

		n = 0;
		for (uint64_t page = 0; page < self->len / SZ_4K; page += step, n += 2) {
			/* The last of one step, and the first of the next. */
			ASSERT_EQ(0, rdax_store(small + page * SZ_4K));
			ASSERT_EQ(0, rdax_store(small + (page + step - 1) * SZ_4K));
		}
		if (step == 1)
			n /= 2;
		EXPECT_EQ(n, all_mapped() - before);
		EXPECT_EQ(0, fsync(self->fd));
		/* The first time the entries are those of the setup, the second time of the stores. */
		EXPECT_EQ(self->units + round * n, written_back());
	}
}

/*
 * A protection that comes back must not bring write access with it: the kernel
 * gives it to what it finds dirty in the page table.
 */
TEST_F(sync, protection_changes)
{
	int protections[] = { PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE | PROT_EXEC };

	for (size_t i = 0; i < ARRAY_SIZE(protections); i++) {
		ASSERT_EQ(0, mprotect(self->map, self->len, protections[i]));
		EXPECT_EQ(0, fsync(self->fd));
		EXPECT_EQ((2 * i + 1) * self->units, written_back());
		ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ | PROT_WRITE));
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));

		EXPECT_EQ(0, fsync(self->fd));
		EXPECT_EQ((2 * i + 2) * self->units, written_back());
		ASSERT_EQ(0, mprotect(self->map, self->len, protections[i]));
		ASSERT_EQ(0, mprotect(self->map, self->len, PROT_READ | PROT_WRITE));
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	}
}

/* Two mappings of it in one process, and one of them cut into three. */
TEST_F(sync, several_mappings)
{
	char *other = rdax_map(self->fd, 0, self->len);

	ASSERT_NE(MAP_FAILED, other);
	EXPECT_EQ(self->units, stores_fault(other, 0, self->units));
	ASSERT_EQ(0, munmap(other + variant->bytes, variant->bytes));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(self->units, written_back());
	EXPECT_EQ(1, stores_fault(other, 0, 1));
	EXPECT_EQ(self->units - 2, stores_fault(other, 2, self->units));
	EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	EXPECT_EQ(-1, msync(other, self->len, MS_SYNC));
	EXPECT_EQ(ENOMEM, errno);
	/* Which syncs what is there. */
	EXPECT_EQ(2 * self->units - 1, written_back());
}

TEST_F(sync, map_sync)
{
	char *map = mmap(NULL, self->len, PROT_READ | PROT_WRITE,
			 MAP_SHARED_VALIDATE | MAP_SYNC, self->fd, 0);

	if (map == MAP_FAILED && errno == EOPNOTSUPP)
		SKIP(return, "the region is not synchronous");
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(self->units, stores_fault(map, 0, self->units));
	for (uint64_t round = 1; round < 3; round++) {
		EXPECT_EQ(0, msync(map, self->len, MS_SYNC));
		EXPECT_EQ(round * self->units, written_back());
		EXPECT_EQ(self->units, stores_fault(map, 0, self->units));
		EXPECT_EQ(self->units, stores_fault(self->map, 0, self->units));
	}
}

/*
 * Entries that change
 */

/* A hole is never dirty; once written it is. */
TEST_F(sync, holes)
{
	uint64_t grabs;

	if (rdax_memory_is_pages())
		SKIP(return, "with pages no holes are recorded");
	ASSERT_EQ(0, rdax_punch(self->fd, 0, self->len < 4 * SZ_2M ? self->len : 4 * SZ_2M));
	EXPECT_EQ(0, fsync(self->fd));
	grabs = rdax_event("grabs");
	for (uint64_t at = 0; at < 64 * SZ_4K; at += SZ_4K)
		EXPECT_EQ(0, rdax_load(self->map + at));
	grabs = rdax_event("grabs");
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(grabs, rdax_event("grabs"));
	EXPECT_NE(NULL, strstr(rdax_entries(), "zero"));

	uint64_t done = written_back();

	EXPECT_EQ(0, rdax_store(self->map));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(done + 1, written_back());
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(done + 1, written_back());
	EXPECT_EQ(1, faults(self->map, 0, 1, SZ_4K, true));
}

/* Small dirty entries become a large one, for a reader: it is dirty, and not writable. */
TEST(upgraded)
{
	int fd;
	char *small, *large;

	if (rdax_memory_is_pages())
		SKIP(return, "the bus has a device with folios of 2 MiB at that alignment");
	ASSERT_EQ(0, rdax_fresh("4K"));
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/upgrade", "Y"));
	if (!rdax_fits(SZ_2M))
		SKIP(return, "not aligned");
	fd = rdax_open();
	small = map_otherwise(fd, SZ_2M);
	large = rdax_map(fd, 0, SZ_2M);
	ASSERT_NE(MAP_FAILED, small);
	ASSERT_NE(MAP_FAILED, large);
	EXPECT_EQ(3, faults(small, 0, 3, 100 * SZ_4K, true));
	EXPECT_EQ(1, faults(large, 0, 1, SZ_2M, true));
	EXPECT_STREQ("0x0 1 order 9 mapped dirty\n", rdax_entries());
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(1, written_back());
	EXPECT_STREQ("", rdax_entries());
	EXPECT_EQ(1, faults(large, 0, 1, SZ_2M, true));
	EXPECT_EQ(3, faults(small, 0, 3, 100 * SZ_4K, true));
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(2, written_back());
	close(fd);
}

/*
 * The cost follows what is dirty: thousands of entries that were only read are not
 * looked at, neither next to dirty ones nor alone.
 */
TEST(cost)
{
	static const uint64_t dirty[] = { 0, 1, 511, 512, 2900, 4095 };
	uint64_t pages = 4096, grabs;
	char *map;
	int fd;

	ASSERT_EQ(0, rdax_fresh("4K"));
	if (rdax_size() < pages * SZ_4K)
		SKIP(return, "namespace too small");
	fd = rdax_open();
	map = map_otherwise(fd, pages * SZ_4K);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(pages, faults(map, 0, pages, SZ_4K, false));
	grabs = rdax_event("grabs");
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(grabs, rdax_event("grabs"));

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(dirty); i++)
			EXPECT_EQ(1, faults(map, dirty[i], dirty[i] + 1, SZ_4K, true));
		grabs = rdax_event("grabs");
		EXPECT_EQ(0, fsync(fd));
		EXPECT_EQ(grabs + ARRAY_SIZE(dirty), rdax_event("grabs"));
		EXPECT_EQ((round + 1) * ARRAY_SIZE(dirty), written_back());
	}
	EXPECT_EQ(pages, faults(map, 0, pages, SZ_4K, true));
	close(fd);
}

/*
 * Its end
 */

TEST_F(sync, device_is_gone)
{
	ASSERT_EQ(0, rdax_unbind());
	for (enum how how = 0; how < HOWS; how++)
		EXPECT_EQ(ENXIO, sync_all(how, self->fd, self->map, self->len));
	EXPECT_EQ(0, msync(self->map, self->len, MS_ASYNC));
	/* The next device isn't theirs. */
	ASSERT_EQ(0, rdax_bind());
	for (enum how how = 0; how < HOWS; how++)
		EXPECT_EQ(ENXIO, sync_all(how, self->fd, self->map, self->len));
	EXPECT_EQ(0, written_back());
}

FIXTURE(long_sync)
{
	int fd;
	uint64_t size, units;
	char *map;
	pid_t pid;
};

/*
 * Without a store: the media may be slow at the first touch of a page. Returns how
 * many faults that took.
 */
static uint64_t make_dirty(int fd, char *map, uint64_t len)
{
	struct rdax_prefault prefault = {
		.size = sizeof(prefault),
		.flags = RDAX_PREFAULT_WRITE,
		.address = (uint64_t)map,
		.length = len,
	};
	uint64_t before = all_mapped();

	if (ioctl(fd, RDAX_IOC_PREFAULT, &prefault))
		return UINT64_MAX;
	return all_mapped() - before;
}

/* The whole device dirty, in pages of 2 MiB, and a child that syncs it. */
static void begin_sync(struct __test_metadata *_metadata, FIXTURE_DATA(long_sync) *self)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->size = rdax_size();
	self->units = self->size / SZ_2M;
	self->map = room(self->size, SZ_2M);
	self->map = mmap(self->map, self->size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(self->units, make_dirty(self->fd, self->map, self->size));

	self->pid = fork();
	ASSERT_GE(self->pid, 0);
	if (!self->pid)
		_exit(fsync(self->fd) ? errno : 0);
	while (written_back() < 20)
		usleep(100);
}

FIXTURE_SETUP(long_sync)
{
	if (rdax_memory_is_pages())
		SKIP(return, "the prefault is for page frames");
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < 2 * SZ_1G)
		SKIP(return, "needs some GiB at a multiple of 2 MiB");
	begin_sync(_metadata, self);
}

FIXTURE_TEARDOWN(long_sync)
{
	kill(self->pid, SIGKILL);
	close(self->fd);
}

/* The child's status once it has ended; -1 if it hasn't. */
static int status_of(pid_t pid)
{
	int status = -1;

	for (int i = 0; i < RDAX_PATIENCE * 100 && waitpid(pid, &status, WNOHANG) != pid; i++)
		usleep(10000);
	return status;
}

/* It ends at once; what it has not done is as dirty as before, and done by the next. */
TEST_F(long_sync, killed)
{
	uint64_t done;
	int status;

	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	status = status_of(self->pid);
	ASSERT_NE(-1, status);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	done = written_back();
	EXPECT_GT(self->units, done)
		TH_LOG("it was done before it was killed");
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(self->units, written_back());
	EXPECT_EQ(self->units, make_dirty(self->fd, self->map, self->size));
}

/* An unbind does not wait for all of it, and leaves nothing dirty to its successor. */
TEST_F(long_sync, unbound)
{
	int status;

	ASSERT_EQ(0, rdax_unbind());
	status = status_of(self->pid);
	/* The sync may be over before the device is dead. */
	for (int again = 0; again < 10 && !status; again++) {
		close(self->fd);
		begin_sync(_metadata, self);
		ASSERT_EQ(0, rdax_unbind());
		status = status_of(self->pid);
	}
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(ENXIO, WEXITSTATUS(status));
}

/* Stores go on meanwhile, and those that it finds dirty again do not keep it for ever. */
TEST_F(long_sync, while_storing)
{
	uint64_t before = all_mapped(), n = 0;
	int status;

	while (!waitpid(self->pid, &status, WNOHANG))
		for (uint64_t u = 0; u < self->units; u += 64, n++)
			ASSERT_EQ(0, rdax_store(place(self->map, u, SZ_2M)));
	EXPECT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status));
	EXPECT_LT(0, n);
	EXPECT_LT(before, all_mapped());
	EXPECT_LE(self->units, written_back());
}

int main(int argc, char **argv)
{
	rdax_begin();
	if (!rdax_has_cache()) {
		ksft_print_header();
		ksft_exit_skip("the platform writes the caches back itself: see eadr.c\n");
	}
	return test_harness_run(argc, argv);
}
