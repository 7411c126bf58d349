// SPDX-License-Identifier: GPL-2.0
/*
 * What one user costs the others: memory that is charged to nobody or stays behind,
 * large entries of readers that writers would have to sync, and waiting for memory
 * under locks that others' faults need.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

/* One page of each node of the index, which spans 64. */
#define STRIDE		(64 * SZ_4K)
#define AREA		(2 * SZ_1G)
#define NODES		(AREA / STRIDE)
#define NODE_BYTES	UINT64_C(576)	/* struct xa_node */

#define CGROUPS		"/sys/fs/cgroup"
#define GROUP		CGROUPS "/rdax_burden"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/rdax_burden"

/* The value in the line of `path` that begins with `name`. */
static uint64_t value_in(const char *path, const char *name)
{
	uint64_t value = 0;
	char *line = NULL;
	size_t room = 0, len = strlen(name);
	FILE *f = fopen(path, "r");

	while (f && getline(&line, &room, f) > 0)
		if (!strncmp(line, name, len) && line[len] == ' ')
			value = strtoull(line + len, NULL, 10);
	free(line);
	if (f)
		fclose(f);
	return value;
}

static uint64_t nodes(void)
{
	return value_in("/proc/slabinfo", "radix_tree_node");
}

static uint64_t charged(void)
{
	return value_in(GROUP "/memory.stat", "slab");
}

static int set_up_group(void)
{
	if (mount("none", CGROUPS, "cgroup2", 0, NULL) && errno != EBUSY)
		return -1;
	if (rdax_write_file(CGROUPS "/cgroup.subtree_control", "+memory"))
		return -1;
	return mkdir(GROUP, 0755) && errno != EEXIST ? -1 : 0;
}

static char *map_small(int fd, uint64_t len)
{
	char *map = rdax_map(fd, 0, len);

	return map != MAP_FAILED && !madvise(map, len, MADV_NOHUGEPAGE) ? map : MAP_FAILED;
}

struct user {
	int fd;
	char *map;
};

enum { TOUCH, UNMAP };

static int user_step(void *arg, int step)
{
	struct user *user = arg;

	if (step == UNMAP)
		return munmap(user->map, AREA) != 0;
	user->map = map_small(user->fd, AREA);
	if (user->map == MAP_FAILED)
		return 1;
	for (uint64_t at = 0; at < AREA; at += STRIDE)
		if (rdax_store(user->map + at))
			return 2;
	return 0;
}

/* A process in the control group. */
static int start_user(struct rdax_peer *peer, struct user *user)
{
	char pid[16];
	int ret = rdax_peer_start(peer, user_step, user);

	snprintf(pid, sizeof(pid), "%d", peer->pid);
	return ret ?: rdax_write_file(GROUP "/cgroup.procs", pid);
}

FIXTURE(burden)
{
	int fd;
};

FIXTURE_SETUP(burden)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (rdax_size() < AREA)
		SKIP(return, "namespace too small");
}

FIXTURE_TEARDOWN(burden)
{
	close(self->fd);
	rmdir(GROUP);
}

/* The index is charged to the task that makes it grow, and a sync gives all of it back. */
TEST_F(burden, index)
{
	struct user user = { .fd = self->fd };
	struct rdax_peer peer;
	uint64_t before, grown, deadline;

	if (set_up_group())
		SKIP(return, "no memory control groups");
	before = nodes();
	ASSERT_NE(0, before);
	ASSERT_EQ(0, start_user(&peer, &user));
	grown = charged();
	ASSERT_EQ(0, rdax_peer_step(&peer, TOUCH));
	EXPECT_LE(NODES * NODE_BYTES * 9 / 10, charged() - grown);
	EXPECT_LE(NODES * 9 / 10, nodes() - before);
	EXPECT_EQ(NODES, rdax_event("created"));
	ASSERT_EQ(0, rdax_peer_step(&peer, UNMAP));
	rdax_peer_end(&peer);

	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("", rdax_entries());
	EXPECT_EQ(NODES, rdax_event("writebacks"));
	/* KASAN keeps what was freed for a while, and the slab counts that. */
	if (!system("grep -q ' kasan_quarantine_put' /proc/kallsyms"))
		return;
	/* Nodes are freed after a grace period; slabs keep a few free ones as if they were used. */
	deadline = time(NULL) + RDAX_PATIENCE;
	while (nodes() > before + NODES / 4 && time(NULL) < deadline)
		usleep(100000);
	EXPECT_GE(before + NODES / 4, nodes());
}

/* A byte that is read through 1 GiB does not make another's byte dirty as 1 GiB. */
TEST_F(burden, readers_large_entry)
{
	int reader = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);
	struct rdax_counts before, d;
	uint64_t writebacks;
	char *large, *small;

	if (!rdax_fits(SZ_1G))
		SKIP(return, "media not aligned");
	ASSERT_GE(reader, 0);
	small = rdax_map(self->fd, SZ_2M + 7 * SZ_4K, SZ_4K);
	large = mmap(NULL, SZ_1G, PROT_READ, MAP_SHARED, reader, 0);
	ASSERT_NE(MAP_FAILED, small);
	ASSERT_NE(MAP_FAILED, large);
	rdax_counts(&before);
	ASSERT_EQ(0, rdax_load(large + 99 * SZ_4K));
	rdax_delta(&before, &d);
	ASSERT_EQ(1, d.pud_mapped);
	EXPECT_STREQ("0x0 1 order 18 mapped\n", rdax_entries());

	rdax_fill(small, SZ_2M + 7 * SZ_4K, SZ_4K, SZ_4K, 5);
	EXPECT_STREQ("0x207 1 order 0 mapped dirty\n", rdax_entries());
	EXPECT_EQ(0, rdax_wrong(large + SZ_2M + 7 * SZ_4K, SZ_2M + 7 * SZ_4K, SZ_4K, SZ_4K, 5));
	writebacks = rdax_event("writebacks");
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_EQ(writebacks + 1, rdax_event("writebacks"));
	EXPECT_STREQ("", rdax_entries());

	/* What the reader has of it, in 2 MiB now, stayed. */
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_wrong(large + SZ_2M + 7 * SZ_4K, SZ_2M + 7 * SZ_4K, SZ_4K, SZ_4K, 5));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped);

	/* A store with the whole of it mapped to be read, by a PUD leaf that comes back. */
	munmap(large, SZ_1G);
	large = mmap(NULL, SZ_1G, PROT_READ, MAP_SHARED, reader, 0);
	ASSERT_NE(MAP_FAILED, large);
	ASSERT_EQ(0, rdax_load(large));
	EXPECT_STREQ("0x0 1 order 18 mapped\n", rdax_entries());
	ASSERT_EQ(0, rdax_store(small));
	EXPECT_STREQ("0x207 1 order 0 mapped dirty\n", rdax_entries());
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_EQ(writebacks + 2, rdax_event("writebacks"));
	close(reader);
}

/*
 * The driver's part of a fault allocates nothing for which it may have to wait: the kernel
 * records each allocation with its stack. If it cannot get a node of the index without waiting,
 * it waits for one later, with no lock held. So a failed attempt excuses the next node, and the
 * pages that are allocated for it.
 */
struct allocations {
	int all, by_driver, failed, waiting;
	bool excused;
};

static void count_allocation(struct allocations *it, const char *record, bool by_driver)
{
	bool node;

	if (!*record)
		return;
	it->all++;
	if (!by_driver)
		return;
	it->by_driver++;
	node = strstr(record, "kmem_cache_alloc:");
	/* As the kernel names the sets of flags with __GFP_DIRECT_RECLAIM. */
	if (strstr(record, "GFP_KERNEL") || strstr(record, "GFP_USER") ||
	    strstr(record, "DIRECT_RECLAIM")) {
		if (!it->excused) {
			it->waiting++;
			ksft_print_msg("%s", record);
		}
		it->excused = it->excused && !node;
	} else if (node && strstr(record, "ptr=0000000000000000")) {
		it->failed++;
		it->excused = true;
	}
}

TEST_F(burden, no_waiting_under_locks)
{
	char *line = NULL, *map, pid[16], record[512] = "";
	struct allocations seen = {};
	bool by_driver = false;
	size_t room = 0;
	FILE *f;

	if ((mount("none", TRACEFS, "tracefs", 0, NULL) && errno != EBUSY) ||
	    (mkdir(INSTANCE, 0700) && errno != EEXIST))
		SKIP(return, "no tracing");
	/* mmap() may wait for memory. */
	map = map_small(self->fd, AREA);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/buffer_size_kb", "8192"));
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/options/stacktrace", "1"));
	/* With it, and only then, the name of the module is shown. */
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/options/sym-offset", "1"));
	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/set_event_pid", pid));
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/events/kmem/kmem_cache_alloc/filter",
				     "bytes_req == 576"));
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/events/kmem/kmem_cache_alloc/enable", "1"));
	/*
	 * The first fault in each GiB allocates that part of the index with no lock held, so it may
	 * wait for a page of memory. It is then tried again, and may not wait for a node either.
	 */
	for (uint64_t at = 0; at < AREA; at += SZ_1G)
		ASSERT_EQ(0, rdax_store(map + at));
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/events/kmem/mm_page_alloc/enable", "1"));
	for (uint64_t at = 0; at < AREA; at += 16 * STRIDE)
		ASSERT_EQ(0, rdax_store(map + at));
	ASSERT_EQ(0, rdax_write_file(INSTANCE "/tracing_on", "0"));

	f = fopen(INSTANCE "/trace", "r");
	ASSERT_NE(NULL, f);
	while (getline(&line, &room, f) > 0) {
		if (strstr(line, "gfp_flags=")) {
			count_allocation(&seen, record, by_driver);
			snprintf(record, sizeof(record), "%s", line);
			by_driver = false;
		}
		by_driver = by_driver || strstr(line, "[rdax]");
	}
	count_allocation(&seen, record, by_driver);
	fclose(f);
	free(line);
	rmdir(INSTANCE);
	TH_LOG("%d allocations, %d by the driver, %d failed", seen.all, seen.by_driver,
	       seen.failed);
	EXPECT_LE(AREA / STRIDE / 16, seen.by_driver);
	EXPECT_EQ(0, seen.waiting);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
