// SPDX-License-Identifier: GPL-2.0
/*
 * The module's trace events: each operation emits its events with the right fields, as
 * often as the counters say, and nothing while they are disabled.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
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
#include "regions.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/rdax_events"
#define EVENTS		INSTANCE "/events/rdax"
#define UPGRADE		RDAX_PARAMS "/upgrade"
#define HARD_OFFLINE	"/sys/devices/system/memory/hard_offline_page"

/* 8 MiB from 4 MiB on. */
#define START		(2 * SZ_2M)
#define LEN		(4 * SZ_2M)
#define FIRST		(START / SZ_4K)

static int enable(const char *event, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), EVENTS "/%s%senable", event, *event ? "/" : "");
	return rdax_write_file(path, on ? "1" : "0");
}

static int forget_recorded(void)
{
	int fd = open(INSTANCE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	return fd < 0 ? -errno : close(fd);
}

/* Only these events, separated by spaces; none of what was recorded before. */
static int record(const char *events)
{
	char names[256], *name, *rest = names;
	int ret = enable("", false);

	snprintf(names, sizeof(names), "%s", events);
	while (!ret && (name = strsep(&rest, " ")))
		ret = enable(name, true);
	return ret ?: forget_recorded();
}

/*
 * What was recorded, from the name of each event on without "rdax_": a line each, valid
 * until the next call.
 */
static const char *recorded(void)
{
	static char text[1 << 18];
	FILE *f = fopen(INSTANCE "/trace", "r");
	char line[512];
	size_t n = 0;

	text[0] = '\0';
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, ": rdax_");

		if (line[0] == '#' || !at)
			continue;
		if (strlen(at) > sizeof(text) - n)
			return "too much";
		n += sprintf(text + n, "%s", at + strlen(": rdax_"));
	}
	if (!f || ferror(f))
		return "can't be read";
	fclose(f);
	return text;
}

static size_t count_of(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* A fault, as its event shows it. `map` maps the device from START on. */
static const char *fault_line(const char *map, uint64_t page, int order, const char *result)
{
	static char text[256];

	snprintf(text, sizeof(text),
		 " address %#lx vm_start %#lx vm_end %#lx pgoff %#" PRIx64 " order %d %s\n",
		 (unsigned long)map + page * SZ_4K, (unsigned long)map,
		 (unsigned long)map + LEN, FIRST + page, order, result);
	return text;
}

FIXTURE(events)
{
	int fd;
	char *small, *large;
};

FIXTURE_SETUP(events)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + LEN)
		SKIP(return, "namespace too small or not aligned");
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->small = rdax_map(self->fd, START, LEN);
	self->large = rdax_map(self->fd, START, LEN);
	ASSERT_NE(MAP_FAILED, self->small);
	ASSERT_NE(MAP_FAILED, self->large);
	ASSERT_EQ(0, madvise(self->small, LEN, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, rdax_write_file(UPGRADE, "Y"));
	ASSERT_EQ(0, record("rdax_fault"));
}

FIXTURE_TEARDOWN(events)
{
	rdax_write_file(UPGRADE, "Y");
	enable("", false);
	close(self->fd);
}

TEST_F(events, fault)
{
	static const uint64_t pages[] = { 3, 10, 17, 700, 1 };
	struct rdax_counts before, d;
	const char *line, *text;

	rdax_counts(&before);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, rdax_store(self->small + pages[i] * SZ_4K + 5));
	ASSERT_EQ(0, rdax_load(self->small + 9 * SZ_4K));
	rdax_delta(&before, &d);
	EXPECT_EQ(ARRAY_SIZE(pages) + 1, d.pte_mapped);
	text = recorded();
	EXPECT_EQ(ARRAY_SIZE(pages) + 1, count_of(text, "\n"));
	EXPECT_EQ(ARRAY_SIZE(pages), count_of(text, "fault: rdax0 WRITE|"));
	EXPECT_EQ(ARRAY_SIZE(pages) + 1, count_of(text, "USER"));
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		line = fault_line(self->small, pages[i], 0, "mapped");
		EXPECT_EQ(1, count_of(text, line)) TH_LOG("no%sin %s", line, text);
	}
	EXPECT_EQ(1, count_of(text, fault_line(self->small, 9, 0, "mapped")));

	ASSERT_EQ(0, record("rdax_fault"));
	ASSERT_EQ(0, rdax_store(self->large + SZ_2M + 7 * SZ_4K));
	text = recorded();
	EXPECT_EQ(1, count_of(text, "\n"));
	line = fault_line(self->large, 519, 9, "mapped");
	EXPECT_EQ(1, count_of(text, line)) TH_LOG("no%sin %s", line, text);
}

/* One access, an event for each size that was tried. */
TEST_F(events, fallback)
{
	const char *text;

	ASSERT_EQ(0, rdax_write_file(UPGRADE, "N"));
	ASSERT_EQ(0, rdax_store(self->small));
	ASSERT_EQ(0, record("rdax_fault rdax_entry_conflict"));
	ASSERT_EQ(0, rdax_store(self->large + SZ_4K));
	text = recorded();
	EXPECT_EQ(3, count_of(text, "\n"));
	EXPECT_EQ(text, strstr(text, "entry_conflict: rdax0 pgoff 0x400 order 9\n"));
	EXPECT_EQ(1, count_of(text, fault_line(self->large, 1, 9, "fallback")));
	EXPECT_EQ(1, count_of(text, fault_line(self->large, 1, 0, "mapped")));
	EXPECT_LT(strstr(text, "fallback"), strstr(text, "mapped"));
}

TEST_F(events, sigbus)
{
	uint64_t size = rdax_size();
	const char *text;

	ASSERT_EQ(0, dev_resize(0, START + SZ_2M));
	ASSERT_EQ(0, record("rdax_fault"));
	ASSERT_EQ(SIGBUS, rdax_load(self->small + SZ_2M));
	text = recorded();
	EXPECT_EQ(1, count_of(text, "\n"));
	EXPECT_EQ(1, count_of(text, fault_line(self->small, 512, 0, "sigbus")));
	ASSERT_EQ(0, dev_resize(0, size));
}

TEST_F(events, disabled)
{
	ASSERT_EQ(0, record("rdax_punch"));
	ASSERT_EQ(0, rdax_store(self->small));
	ASSERT_EQ(0, rdax_store(self->large));
	ASSERT_EQ(0, fsync(self->fd));
	ASSERT_EQ(0, dev_resize(0, rdax_size() - SZ_2M));
	EXPECT_STREQ("", recorded());
	ASSERT_EQ(0, enable("", false));
	ASSERT_EQ(0, forget_recorded());
	ASSERT_EQ(0, rdax_store(self->small));
	ASSERT_EQ(0, rdax_punch(self->fd, 0, SZ_2M));
	EXPECT_STREQ("", recorded());
}

#define ENTRY_EVENTS	"rdax_entry_create rdax_entry_split rdax_entry_upgrade rdax_entry_delete " \
			"rdax_entry_writeback"

TEST_F(events, entries)
{
	ASSERT_EQ(0, record(ENTRY_EVENTS));
	ASSERT_EQ(0, rdax_store(self->small + 3 * SZ_4K));
	ASSERT_EQ(0, rdax_store(self->large + SZ_2M));
	EXPECT_STREQ("entry_create: rdax0 pgoff 0x403 order 0\n"
		     "entry_create: rdax0 pgoff 0x600 order 9\n", recorded());

	ASSERT_EQ(0, record(ENTRY_EVENTS));
	ASSERT_EQ(0, rdax_store(self->large + 9 * SZ_4K));
	EXPECT_STREQ("entry_upgrade: rdax0 pgoff 0x400 order 9\n", recorded());

	ASSERT_EQ(0, record(ENTRY_EVENTS));
	ASSERT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("entry_writeback: rdax0 pgoff 0x400 order 9\n"
		     "entry_writeback: rdax0 pgoff 0x600 order 9\n", recorded());

	ASSERT_EQ(0, rdax_store(self->small + 8 * SZ_4K));
	ASSERT_EQ(0, record(ENTRY_EVENTS));
	ASSERT_EQ(0, rdax_punch(self->fd, START, SZ_2M));
	EXPECT_STREQ("entry_delete: rdax0 pgoff 0x408 order 0\n"
		     "entry_create: rdax0 pgoff 0x400 order 9\n", recorded());

	/* A hole gives way. */
	ASSERT_EQ(0, record(ENTRY_EVENTS));
	ASSERT_EQ(0, rdax_store(self->small + 5 * SZ_4K));
	EXPECT_STREQ("entry_split: rdax0 pgoff 0x400 order 9 to pgoff 0x405 order 0\n"
		     "entry_create: rdax0 pgoff 0x405 order 0\n", recorded());
}

TEST_F(events, sync)
{
	static const uint64_t pages[] = { 3, 4, 9, 600 };

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, rdax_store(self->small + pages[i] * SZ_4K));
	ASSERT_EQ(0, rdax_store(self->large + 2 * SZ_2M));
	ASSERT_EQ(0, record("rdax_sync rdax_entry_writeback"));
	ASSERT_EQ(0, msync(self->small, 16 * SZ_4K, MS_SYNC));
	EXPECT_STREQ("entry_writeback: rdax0 pgoff 0x403 order 0\n"
		     "entry_writeback: rdax0 pgoff 0x404 order 0\n"
		     "entry_writeback: rdax0 pgoff 0x409 order 0\n"
		     "sync: rdax0 start 0x400 end 0x410 runs 2 bytes 12288 result 0\n", recorded());
	ASSERT_EQ(0, record("rdax_sync"));
	ASSERT_EQ(0, msync(self->small, LEN, MS_SYNC));
	ASSERT_EQ(0, msync(self->small, LEN, MS_SYNC));
	EXPECT_STREQ("sync: rdax0 start 0x400 end 0xc00 runs 2 bytes 2101248 result 0\n"
		     "sync: rdax0 start 0x400 end 0xc00 runs 0 bytes 0 result 0\n", recorded());
}

TEST_F(events, ranges)
{
	uint64_t size = rdax_size();
	char text[256];

	ASSERT_EQ(0, record("rdax_punch rdax_zero"));
	ASSERT_EQ(0, rdax_punch(self->fd, START, SZ_2M + SZ_4K));
	ASSERT_EQ(0, rdax_zero(self->fd, START + 100, 50));
	ASSERT_EQ(-EFBIG, rdax_punch(self->fd, size, SZ_4K));
	snprintf(text, sizeof(text),
		 "punch: rdax0 offset 0x400000 length 0x201000 result 0\n"
		 "zero: rdax0 offset 0x400064 length 0x32 result 0\n"
		 "punch: rdax0 offset %#" PRIx64 " length 0x1000 result %d\n", size, -EFBIG);
	EXPECT_STREQ(text, recorded());
}

TEST_F(events, resize)
{
	uint64_t size = rdax_size(), less = size - SZ_2M;
	char text[256];

	ASSERT_EQ(0, record("rdax_resize"));
	ASSERT_EQ(0, dev_resize(0, less));
	ASSERT_EQ(-ENOSPC, dev_resize(0, size + SZ_2M));
	ASSERT_EQ(0, dev_append(0, less, SZ_2M));
	snprintf(text, sizeof(text),
		 "resize: rdax0 from %" PRIu64 " to %" PRIu64 " result 0\n"
		 "resize: rdax0 from %" PRIu64 " to %" PRIu64 " result %d\n"
		 "resize: rdax0 from %" PRIu64 " to %" PRIu64 " result 0\n",
		 size, less, less, size + SZ_2M, -ENOSPC, less, size);
	EXPECT_STREQ(text, recorded());
}

TEST_F(events, bind)
{
	uint64_t size = rdax_size();
	char text[128];

	ASSERT_EQ(0, record("rdax_bind rdax_unbind"));
	ASSERT_EQ(0, rdax_unbind());
	ASSERT_EQ(0, rdax_bind());
	snprintf(text, sizeof(text), "unbind: %s\nbind: %s size %" PRIu64 " align 4096\n",
		 rdax_ns(), rdax_ns(), size);
	EXPECT_STREQ(text, recorded());
}

/* The events tell which device it was. */
TEST_F(events, minor)
{
	int minor, fd;
	char text[128];

	ASSERT_EQ(0, dev_resize(0, START + LEN));
	minor = region_create();
	ASSERT_GT(minor, 0);
	ASSERT_EQ(0, dev_resize(minor, SZ_2M));
	fd = dev_open(minor);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, record("rdax_punch rdax_entry_create"));
	ASSERT_EQ(0, rdax_punch(fd, 0, SZ_2M));
	snprintf(text, sizeof(text), "entry_create: rdax%d pgoff 0x0 order 9\n"
		 "punch: rdax%d offset 0x0 length 0x200000 result 0\n", minor, minor);
	EXPECT_STREQ(text, recorded());
	close(fd);
}

static void note_signal(int sig)
{
}

static uint64_t vm_event(const char *name)
{
	static char text[1 << 16];
	FILE *f = fopen("/proc/vmstat", "r");
	const char *at;

	text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
	if (f)
		fclose(f);
	at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static void read_file(const char *path)
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* All of pagemap would be too much. */
	for (int i = 0; i < 64 && read(fd, text, sizeof(text)) > 0; i++)
		;
	close(fd);
}

/* What readers do to leaves of 1 GiB is seen in /proc/vmstat, and by the faults that follow. */
TEST_F(events, readers)
{
	static const struct {
		const char *path;
		bool may_unmap;
	} files[] = {
		{ "/proc/self/maps", false }, { "/proc/self/pagemap", false },
		{ "/proc/self/smaps", true }, { "/proc/self/smaps_rollup", true },
		{ "/proc/self/numa_maps", true },
	};
	uint64_t splits;
	char *map;

	if (!rdax_fits(SZ_1G))
		SKIP(return, "namespace too small or not aligned");
	map = rdax_map(self->fd, 0, SZ_1G);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, rdax_store(map));
	ASSERT_EQ(1, count_of(recorded(), "order 18 mapped\n"));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		splits = vm_event("\nthp_split_pud ");
		ASSERT_EQ(0, record("rdax_fault"));
		read_file(files[i].path);
		splits = vm_event("\nthp_split_pud ") - splits;
		EXPECT_LE(splits, files[i].may_unmap);
		ASSERT_EQ(0, rdax_store(map + 123 * SZ_4K));
		EXPECT_EQ(splits, count_of(recorded(), "order 18 mapped\n"));
		EXPECT_EQ(splits, count_of(recorded(), "\n")) TH_LOG("%s", files[i].path);
	}
}

/* In a child that maps the page, because it gets the signal. */
static int report_bad(void *arg)
{
	struct sigaction sa = { .sa_handler = note_signal, .sa_flags = SA_RESTART };
	const char *text = arg;
	int device = rdax_open(), fd = open(HARD_OFFLINE, O_WRONLY | O_CLOEXEC);

	if (rdax_map(device, START, LEN) == MAP_FAILED)
		return 1;
	sigaction(SIGBUS, &sa, NULL);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : 1;
}

TEST_F(events, bad_block)
{
	uint64_t offset = START + 5 * SZ_4K;
	char text[128];

	if (access(HARD_OFFLINE, W_OK))
		SKIP(return, "no " HARD_OFFLINE);
	snprintf(text, sizeof(text), "%#" PRIx64, rdax_attr("resource") + offset);
	/* The parent gets it, too. */
	ASSERT_EQ(0, munmap(self->small, LEN));
	ASSERT_EQ(0, munmap(self->large, LEN));
	ASSERT_EQ(0, record("rdax_bad_block"));
	ASSERT_EQ(0, rdax_bounded(report_bad, text, RDAX_PATIENCE));
	for (int i = 0; i < 10 * RDAX_PATIENCE && !*recorded(); i++)
		usleep(100000);
	snprintf(text, sizeof(text), "bad_block: rdax0 offset %#" PRIx64 " length 0x1000\n", offset);
	EXPECT_STREQ(text, recorded());
}

/* While syncs hold 2 MiB entries, another task faults in them. */

struct contention {
	int fd;
	char *large, *small;
	bool end;
};

static void *sync_on(void *arg)
{
	struct contention *c = arg;

	while (!__atomic_load_n(&c->end, __ATOMIC_RELAXED)) {
		for (uint64_t at = 0; at < LEN; at += SZ_2M)
			rdax_store(c->large + at);
		if (fsync(c->fd))
			break;
	}
	return NULL;
}

static int contend(void *arg)
{
	struct contention *c = arg;
	pthread_t thread;
	uint64_t page = 0;

	if (pthread_create(&thread, NULL, sync_on, c))
		return 1;
	while (count_of(recorded(), " order 9 ") < 3)
		for (int i = 0; i < 1000; i++) {
			page = (page + 331) % (LEN / SZ_4K);
			if (rdax_store(c->small + page * SZ_4K))
				return 2;
		}
	__atomic_store_n(&c->end, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	return 0;
}

TEST_F_TIMEOUT(events, wait, 120)
{
	struct contention c = { .fd = self->fd, .large = self->large, .small = self->small };
	struct rdax_counts start, d;
	unsigned long pgoff, order;
	unsigned long long ns;
	const char *text;
	int fields;

	rdax_counts(&start);
	ASSERT_EQ(0, record("rdax_entry_wait"));
	ASSERT_EQ(0, rdax_bounded(contend, &c, RDAX_PATIENCE));
	rdax_delta(&start, &d);
	text = recorded();
	EXPECT_LE(3, d.waits);
	EXPECT_EQ(d.waits, count_of(text, "\n"));
	for (; *text; text = strchr(text, '\n') + 1) {
		fields = sscanf(text, "entry_wait: rdax0 pgoff %lx order %lu %llu ns\n",
				&pgoff, &order, &ns);
		ASSERT_EQ(3, fields) TH_LOG("in %s", text);
		/* The entry that was waited for, and for how long. */
		EXPECT_TRUE(order == 0 || order == 9);
		EXPECT_EQ(0, pgoff % (1UL << order));
		EXPECT_LE(FIRST, pgoff);
		EXPECT_GT(FIRST + LEN / SZ_4K, pgoff);
		EXPECT_LT(0, ns);
		EXPECT_GT(RDAX_PATIENCE * 1000000000ULL, ns);
	}
}

static void remove_instance(void)
{
	enable("", false);
	rmdir(INSTANCE);
}

int main(int argc, char **argv)
{
	rdax_begin();
	if (access(TRACEFS "/instances", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	rmdir(INSTANCE);
	if (mkdir(INSTANCE, 0700) || access(EVENTS, F_OK)) {
		ksft_print_header();
		ksft_exit_skip("the kernel has no trace events\n");
	}
	atexit(remove_instance);
	return test_harness_run(argc, argv);
}
