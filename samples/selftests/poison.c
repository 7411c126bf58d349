// SPDX-License-Identifier: GPL-2.0
/*
 * A page of the media turns out to be bad (hard_offline_page reports it as an
 * access that hits it would): every mapping of it goes, an access to it gets the
 * SIGBUS of a memory error and none to its neighbours, calls do what comes before
 * it, and what overwrites it as a whole clears it, where the bus lets us. Whoever
 * misses one of these hands broken data to a program as if they were good, or
 * takes good data away.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "uapi/rdax.h"

#define HARD_OFFLINE	"/sys/devices/system/memory/hard_offline_page"
#define BADBLOCKS	rdax_attr_path("badblocks")
#define BLOCK		512

#define WINDOW	(4 * SZ_2M)
/* The page that goes bad, in the second of four pieces. */
#define BAD	(SZ_2M + 77 * SZ_4K)
#define SEED	7

/*
 * Reports: in a child, since who reports a page that it maps gets the signal.
 */

struct report {
	uint64_t phys;
	int error;
	int signals;
	siginfo_t info;
};

static struct report *reported;

static void note_signal(int sig, siginfo_t *info, void *context)
{
	reported->signals++;
	reported->info = *info;
}

static void note_signals(void)
{
	struct sigaction sa = {
		.sa_sigaction = note_signal,
		.sa_flags = SA_SIGINFO | SA_RESTART,
	};

	reported->signals = 0;
	sigaction(SIGBUS, &sa, NULL);
}

static int write_address(uint64_t phys)
{
	int fd = open(HARD_OFFLINE, O_WRONLY | O_CLOEXEC);
	char text[32];
	int len = snprintf(text, sizeof(text), "0x%llx", (unsigned long long)phys);
	int ret = fd < 0 || write(fd, text, len) != len ? -errno : 0;

	close(fd);
	return ret;
}

static int report_child(void *arg)
{
	note_signals();
	reported->error = write_address(reported->phys);
	return 0;
}

/* In the eyes of all who have it mapped, and of the device: 0, or -errno. */
static int report(uint64_t offset)
{
	reported->phys = rdax_attr("resource") + offset;
	if (rdax_bounded(report_child, NULL, RDAX_PATIENCE))
		return -ETIMEDOUT;
	return reported->error;
}

static bool told(int code, const void *page)
{
	return reported->signals == 1 && reported->info.si_code == code &&
	       reported->info.si_addr == page && reported->info.si_addr_lsb == 12;
}

/* What the device's file is to say of `blocks` bad ones from this offset on. */
static const char *run(uint64_t offset, uint64_t blocks)
{
	static char text[64];

	snprintf(text, sizeof(text), "%llu %llu\n", (unsigned long long)offset / BLOCK,
		 (unsigned long long)blocks);
	return text;
}

static bool all(const char *buf, char c, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != c)
			return false;
	return true;
}

/* A mapping of the device that pages of this size serve. */
static char *map_by(int fd, uint64_t bytes)
{
	char *map = rdax_map(fd, 0, bytes == SZ_1G ? SZ_1G : WINDOW);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, WINDOW, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

static uint64_t poisoned_faults(void)
{
	return rdax_attr("faults/hwpoison");
}

/*
 * One device at a time, of the namespace that the variant wants.
 */

#define NFIT	"namespace0.0"
#define VIRTIO	"namespace2.0"

static bool use(const char *ns)
{
	static const char *const known[] = { NFIT, VIRTIO };
	char path[64];

	/* On the dax bus, nothing clears. */
	if (rdax_on_dax_bus())
		return !strcmp(ns, NFIT);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		setenv("RDAX_NS", known[i], 1);
		if (rdax_bound())
			rdax_unbind();
	}
	setenv("RDAX_NS", ns, 1);
	rdax_write_file(RDAX_PARAMS "/force", ns);
	snprintf(path, sizeof(path), ND_DEVICES "/%s", ns);
	return !access(path, F_OK);
}

FIXTURE(poison)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(poison)
{
	const char *ns;
	bool clears;
};

/* QEMU's firmware clears nothing. */
FIXTURE_VARIANT_ADD(poison, refused)
{
	.ns = NFIT,
};

/* A bus without commands for it: the kernel takes writing for clearing. */
FIXTURE_VARIANT_ADD(poison, cleared)
{
	.ns = VIRTIO,
	.clears = true,
};

FIXTURE_SETUP(poison)
{
	if (!use(variant->ns))
		SKIP(return, "there is no %s", variant->ns);
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	memset(self->map + BAD - SZ_4K, 'a', SZ_4K);
	memset(self->map + BAD + SZ_4K, 'c', SZ_4K);
}

FIXTURE_TEARDOWN(poison)
{
	close(self->fd);
	if (rdax_bound())
		rdax_unbind();
}

/* How many of the pages around it, and of the others, are not as they were. */
static uint64_t damaged(const char *map)
{
	uint64_t first = BAD - SZ_4K, behind = BAD + 2 * SZ_4K;

	return rdax_wrong(map, 0, first, SZ_4K, SEED) +
	       rdax_wrong(map + behind, behind, WINDOW - behind, SZ_4K, SEED) +
	       !all(map + BAD - SZ_4K, 'a', SZ_4K) + !all(map + BAD + SZ_4K, 'c', SZ_4K);
}

/*
 * Mappings
 */

TEST_F(poison, access)
{
	uint64_t faults;

	EXPECT_STREQ("", rdax_text(BADBLOCKS));
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));

	faults = poisoned_faults();
	EXPECT_TRUE(rdax_poisoned(self->map + BAD + 123));
	EXPECT_TRUE(rdax_poisoned(self->map + BAD + SZ_4K - 1));
	EXPECT_EQ(faults + 4, poisoned_faults());
	EXPECT_EQ(0, damaged(self->map));
	EXPECT_EQ(0, rdax_store(self->map + BAD - 1));
	EXPECT_EQ(0, rdax_store(self->map + BAD + SZ_4K));
	EXPECT_EQ(faults + 4, poisoned_faults());
}

/* Once more, then its neighbour. */
TEST_F(poison, more_of_it)
{
	ASSERT_EQ(0, report(BAD));
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
	ASSERT_EQ(0, report(BAD + SZ_4K));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD + SZ_4K));
	EXPECT_TRUE(rdax_poisoned(self->map + BAD));
	EXPECT_STREQ(run(BAD, 16), rdax_text(BADBLOCKS));
	EXPECT_EQ(0, rdax_load(self->map + BAD - SZ_4K));
	EXPECT_EQ(0, rdax_load(self->map + BAD + 2 * SZ_4K));
}

/* Who reports it learns at which of its addresses it was, wherever a mapping begins. */
static int report_elsewhere(void *arg)
{
	char *other, *map;

	munmap(*(char **)arg, WINDOW);
	other = rdax_map(rdax_open(), 2 * SZ_2M, SZ_2M);
	map = rdax_map(rdax_open(), BAD - 5 * SZ_4K, 16 * SZ_4K);
	if (other == MAP_FAILED || map == MAP_FAILED || rdax_load(other))
		return 2;
	note_signals();
	if (write_address(reported->phys))
		return 3;
	return !told(BUS_MCEERR_AR, map + 5 * SZ_4K);
}

TEST_F(poison, reporter_is_told)
{
	reported->phys = rdax_attr("resource") + BAD;
	EXPECT_EQ(0, rdax_bounded(report_elsewhere, &self->map, RDAX_PATIENCE));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
}

/* Others are told at once only if they want to be, and have it mapped. */
struct listener {
	bool wants;
	uint64_t from, len;
	char *window, *map;
};

static int listen(void *arg, int step)
{
	struct listener *l = arg;

	if (step)
		return l->wants && l->len == WINDOW ? !told(BUS_MCEERR_AO, l->map + BAD) :
						      reported->signals != 0;
	munmap(l->window, WINDOW);
	l->map = rdax_map(rdax_open(), l->from, l->len);
	if (l->map == MAP_FAILED || rdax_load(l->map))
		return 2;
	/* Not shared with the others. */
	reported = malloc(sizeof(*reported));
	note_signals();
	return l->wants && prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) ? 3 : 0;
}

TEST_F(poison, who_else_is_told)
{
	struct listener listeners[] = {
		{ true, 0, WINDOW }, { true, 0, SZ_2M }, { true, 2 * SZ_2M, SZ_2M },
		{ false, 0, WINDOW },
	};
	struct rdax_peer peers[ARRAY_SIZE(listeners)];

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		listeners[i].window = self->map;
		ASSERT_EQ(0, rdax_peer_start(&peers[i], listen, &listeners[i]));
		ASSERT_EQ(0, rdax_peer_step(&peers[i], 0));
	}
	ASSERT_EQ(0, report(BAD));
	EXPECT_TRUE(told(BUS_MCEERR_AR, self->map + BAD));
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		EXPECT_EQ(0, rdax_peer_step(&peers[i], 1)) TH_LOG("listener %zu", i);
		rdax_peer_end(&peers[i]);
	}
}

/* Nor does it matter what the device is busy with. */
struct puncher {
	int fd;
	atomic_int rounds;
	atomic_bool stop;
};

static void *keep_punching(void *arg)
{
	struct puncher *p = arg;
	int ret = 0;

	while (!ret && !p->stop) {
		ret = rdax_punch(p->fd, WINDOW, WINDOW);
		p->rounds++;
	}
	return (void *)(intptr_t)ret;
}

TEST_F(poison, told_during_punches)
{
	struct puncher puncher = { .fd = self->fd };
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_punching, &puncher));
	while (!puncher.rounds)
		sched_yield();
	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, report(BAD));
		EXPECT_TRUE(told(BUS_MCEERR_AR, self->map + BAD)) TH_LOG("report %d", i);
	}
	puncher.stop = true;
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
}

/* Those who had it mapped, by pages of each size, all lose it and nothing else. */
struct viewer {
	uint64_t bytes;
	char *map;
};

static int view(void *arg, int step)
{
	struct viewer *v = arg;

	if (step == 0) {
		v->map = v->bytes ? map_by(rdax_open(), v->bytes) : v->map;
		return v->map == MAP_FAILED || damaged(v->map) || rdax_load(v->map + BAD);
	}
	if (!rdax_goes_bad(v->map + BAD))
		return 2;
	return damaged(v->map) ? 3 : 0;
}

TEST_F(poison, everybody_loses_it)
{
	struct viewer viewers[] = {
		{ SZ_4K }, { SZ_2M }, { .map = self->map }, { SZ_1G },
	};
	struct rdax_peer peers[ARRAY_SIZE(viewers)];
	size_t count = ARRAY_SIZE(viewers) - !rdax_fits(SZ_1G);
	char *later;

	for (size_t i = 0; i < count; i++) {
		ASSERT_EQ(0, rdax_peer_start(&peers[i], view, &viewers[i]));
		ASSERT_EQ(0, rdax_peer_step(&peers[i], 0));
	}
	ASSERT_EQ(0, report(BAD));
	for (size_t i = 0; i < count; i++) {
		EXPECT_EQ(0, rdax_peer_step(&peers[i], 1)) TH_LOG("viewer %zu", i);
		rdax_peer_end(&peers[i]);
	}
	later = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, later);
	EXPECT_TRUE(rdax_poisoned(later + BAD));
	EXPECT_EQ(0, damaged(later));
}

/* What reads zeroes is no more to be trusted when the memory behind it is bad. */
TEST_F(poison, hole)
{
	ASSERT_EQ(0, rdax_punch(self->fd, SZ_2M, SZ_2M));
	ASSERT_EQ(0, rdax_load(self->map + BAD));
	ASSERT_EQ(0, report(BAD));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_EQ(0, *(self->map + BAD - SZ_4K));
	EXPECT_EQ(0, *(self->map + BAD + SZ_4K));
}

FIXTURE(leaf)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(leaf)
{
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(leaf, pte)
{
	.bytes = SZ_4K,
};

FIXTURE_VARIANT_ADD(leaf, pmd)
{
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(leaf, pud)
{
	.bytes = SZ_1G,
};

FIXTURE_SETUP(leaf)
{
	if (!use(NFIT))
		SKIP(return, "there is no " NFIT);
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(variant->bytes))
		SKIP(return, "namespace too small or not aligned for this size");
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = map_by(self->fd, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->map);
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
}

FIXTURE_TEARDOWN(leaf)
{
	close(self->fd);
	if (rdax_bound())
		rdax_unbind();
}

/* It goes as a whole, is served around the page by 4 KiB, and elsewhere as before. */
TEST_F(leaf, torn_down)
{
	struct rdax_counts first, before, d;

	rdax_counts(&first);
	EXPECT_EQ(variant->bytes == SZ_1G ? 1 : WINDOW / variant->bytes,
		  rdax_mapped(&first, variant->bytes));
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));

	rdax_counts(&before);
	EXPECT_EQ(0, rdax_store(self->map + BAD - SZ_4K + 2048));
	EXPECT_EQ(0, rdax_store(self->map + BAD + SZ_4K + 2048));
	rdax_delta(&before, &d);
	EXPECT_EQ(variant->bytes == SZ_4K ? 0 : 2, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped + rdax_sigbus(&d));

	rdax_counts(&before);
	EXPECT_EQ(0, rdax_store(self->map + 2048));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pud_mapped);
	EXPECT_EQ(variant->bytes == SZ_1G, d.pmd_mapped);
	rdax_delta(&first, &d);
	EXPECT_EQ(variant->bytes != SZ_4K, d.pmd_fallback != 0);
	EXPECT_EQ(variant->bytes == SZ_1G, d.pud_fallback != 0);
	/* The page itself, and no other. */
	EXPECT_EQ(1, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
}

/*
 * Calls
 */

TEST_F(poison, read)
{
	char buf[3 * SZ_4K];
	struct iovec iov[] = { { buf, 100 }, { buf + 100, SZ_4K } };
	off_t at = BAD - 300;
	int pipe_fds[2];

	ASSERT_EQ(0, report(BAD));
	EXPECT_EQ(SZ_4K, pread(self->fd, buf, sizeof(buf), BAD - SZ_4K));
	EXPECT_TRUE(all(buf, 'a', SZ_4K));
	EXPECT_EQ(100, pread(self->fd, buf, 1000, BAD - 100));
	EXPECT_EQ(300, preadv(self->fd, iov, 2, BAD - 300));
	EXPECT_TRUE(all(buf, 'a', 300));
	EXPECT_EQ(-1, pread(self->fd, buf, sizeof(buf), BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pread(self->fd, buf, 1, BAD + SZ_4K - 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(SZ_4K, pread(self->fd, buf, SZ_4K, BAD + SZ_4K));
	EXPECT_TRUE(all(buf, 'c', SZ_4K));

	EXPECT_EQ(BAD - 10, lseek(self->fd, BAD - 10, SEEK_SET));
	EXPECT_EQ(10, read(self->fd, buf, 100));
	EXPECT_EQ(BAD, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(-1, read(self->fd, buf, 100));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(BAD, lseek(self->fd, 0, SEEK_CUR));

	ASSERT_EQ(0, pipe(pipe_fds));
	EXPECT_EQ(300, sendfile(pipe_fds[1], self->fd, &at, SZ_4K));
	EXPECT_EQ(BAD, at);
	EXPECT_EQ(-1, sendfile(pipe_fds[1], self->fd, &at, SZ_4K));
	EXPECT_EQ(EIO, errno);
}

/* Half a block's data would make the other half look good. */
TEST_F(poison, write_to_a_part)
{
	char buf[SZ_4K];

	memset(buf, 'x', sizeof(buf));
	ASSERT_EQ(0, report(BAD));
	EXPECT_EQ(-1, pwrite(self->fd, buf, 100, BAD + 100));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buf, BLOCK - 1, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buf, SZ_4K - 1, BAD + 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(50, pwrite(self->fd, buf, 100, BAD - 50));
	EXPECT_EQ(SZ_4K - 50, pread(self->fd, buf, SZ_4K - 50, BAD - SZ_4K));
	EXPECT_TRUE(all(buf, 'a', SZ_4K - 50));
	EXPECT_TRUE(all(self->map + BAD - 50, 'x', 50));
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_TRUE(all(self->map + BAD + SZ_4K, 'c', SZ_4K));
}

/* All of it is good again: served in 2 MiB, and what was written is there. */
static void expect_good(struct __test_metadata *_metadata, int fd, char c)
{
	uint64_t faults = poisoned_faults();
	struct rdax_counts before, d;
	char buf[SZ_4K], *map;

	EXPECT_STREQ("", rdax_text(BADBLOCKS));
	rdax_counts(&before);
	map = rdax_map(fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_load(map + BAD));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, d.pmd_mapped);
	EXPECT_TRUE(all(map + BAD, c, SZ_4K));
	EXPECT_EQ(SZ_4K, pread(fd, buf, SZ_4K, BAD));
	EXPECT_TRUE(all(buf, c, SZ_4K));
	EXPECT_EQ(0, rdax_store(map + BAD));
	EXPECT_EQ(faults, poisoned_faults());
}

static void expect_bad(struct __test_metadata *_metadata, int fd, char *map)
{
	char byte;

	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
	EXPECT_TRUE(rdax_goes_bad(map + BAD));
	EXPECT_EQ(-1, pread(fd, &byte, 1, BAD));
	EXPECT_EQ(EIO, errno);
}

TEST_F(poison, write_over_it)
{
	char buf[3 * SZ_4K];

	memset(buf, 'x', sizeof(buf));
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));
	if (variant->clears) {
		EXPECT_EQ(sizeof(buf), pwrite(self->fd, buf, sizeof(buf), BAD - SZ_4K));
		EXPECT_TRUE(all(self->map + BAD - SZ_4K, 'x', sizeof(buf)));
		expect_good(_metadata, self->fd, 'x');
	} else {
		EXPECT_EQ(-1, pwrite(self->fd, buf, SZ_4K, BAD));
		EXPECT_EQ(EIO, errno);
		EXPECT_EQ(SZ_4K, pwrite(self->fd, buf, sizeof(buf), BAD - SZ_4K));
		EXPECT_TRUE(all(self->map + BAD - SZ_4K, 'x', SZ_4K));
		EXPECT_TRUE(all(self->map + BAD + SZ_4K, 'c', SZ_4K));
		expect_bad(_metadata, self->fd, self->map);
	}
}

/* Block by block; the page is good when the last is. */
TEST_F(poison, write_over_blocks)
{
	char buf[SZ_4K];

	if (!variant->clears)
		SKIP(return, "nothing is cleared here");
	memset(buf, 'x', sizeof(buf));
	ASSERT_EQ(0, report(BAD));
	/* The second block only in part. */
	EXPECT_EQ(BLOCK, pwrite(self->fd, buf, BLOCK + 100, BAD));
	EXPECT_STREQ(run(BAD + BLOCK, 7), rdax_text(BADBLOCKS));
	EXPECT_EQ(BLOCK, pwrite(self->fd, buf, BLOCK, BAD + 7 * BLOCK));
	EXPECT_STREQ(run(BAD + BLOCK, 6), rdax_text(BADBLOCKS));
	EXPECT_EQ(BLOCK, pread(self->fd, buf, SZ_4K, BAD));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_EQ(6 * BLOCK, pwrite(self->fd, buf, 6 * BLOCK, BAD + BLOCK));
	expect_good(_metadata, self->fd, 'x');
}

/*
 * A block that a write does not overwrite as a whole stays bad. Otherwise a read
 * would return what was there before, without an error.
 */

/* `len` bytes of 'x', and behind them memory that can't be read. */
static char *ends_after(size_t len)
{
	size_t size = (len + SZ_4K - 1) / SZ_4K * SZ_4K;
	char *at = mmap(NULL, size + SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);

	if (at == MAP_FAILED || mprotect(at + size, SZ_4K, PROT_NONE))
		return NULL;
	memset(at, 'x', size);
	return at + size - len;
}

TEST_F(poison, write_without_data)
{
	char *whole = ends_after(2 * SZ_4K), byte;

	ASSERT_NE(NULL, whole);
	ASSERT_EQ(0, report(BAD));
	EXPECT_EQ(-1, pwrite(self->fd, ends_after(0), SZ_4K, BAD));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(self->fd, ends_after(100), SZ_4K, BAD));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(self->fd, ends_after(BLOCK - 1), SZ_4K, BAD));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(BAD, lseek(self->fd, BAD, SEEK_SET));
	EXPECT_EQ(-1, write(self->fd, ends_after(0), SZ_4K));
	EXPECT_EQ(BAD, lseek(self->fd, 0, SEEK_CUR));
	/* What comes before it is written. */
	EXPECT_EQ(SZ_4K, pwrite(self->fd, ends_after(SZ_4K), 2 * SZ_4K, BAD - SZ_4K));
	EXPECT_EQ(SZ_4K, pwrite(self->fd, ends_after(SZ_4K + 100), 2 * SZ_4K, BAD - SZ_4K));
	EXPECT_TRUE(all(self->map + BAD - SZ_4K, 'x', SZ_4K));
	expect_bad(_metadata, self->fd, self->map);
	EXPECT_EQ(-1, pread(self->fd, &byte, 1, BAD + SZ_4K - 1));
	EXPECT_TRUE(all(self->map + BAD + SZ_4K, 'c', SZ_4K));
}

/* Three whole blocks are there, and a part of the fourth. */
TEST_F(poison, write_with_some_data)
{
	char buf[SZ_4K];

	if (!variant->clears)
		SKIP(return, "nothing is cleared here");
	ASSERT_EQ(0, report(BAD));
	EXPECT_EQ(3 * BLOCK, pwrite(self->fd, ends_after(3 * BLOCK + 100), SZ_4K, BAD));
	EXPECT_STREQ(run(BAD + 3 * BLOCK, 5), rdax_text(BADBLOCKS));
	EXPECT_EQ(3 * BLOCK, pread(self->fd, buf, SZ_4K, BAD));
	EXPECT_TRUE(all(buf, 'x', 3 * BLOCK));
	EXPECT_EQ(-1, pread(self->fd, buf, 1, BAD + 3 * BLOCK));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
}

/* A block's bytes come from several places. */
TEST_F(poison, write_of_vectors)
{
	char buf[SZ_4K], *first = ends_after(100), *second = ends_after(BLOCK);
	struct iovec iov[] = {
		{ first, 100 }, { buf, BLOCK - 100 }, { second, 2 * BLOCK },
	};
	struct iovec rest[] = { { buf, 1 }, { buf + 1, 5 * BLOCK - 2 }, { buf, SZ_4K } };

	memset(buf, 'x', sizeof(buf));
	ASSERT_EQ(0, report(BAD));
	if (!variant->clears) {
		EXPECT_EQ(-1, pwritev(self->fd, iov, 2, BAD));
		EXPECT_EQ(EIO, errno);
		expect_bad(_metadata, self->fd, self->map);
		return;
	}
	EXPECT_EQ(-1, pwritev(self->fd, iov, 1, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
	/* The last block is not there; what was taken of it goes back. */
	EXPECT_EQ(2 * BLOCK, pwritev(self->fd, iov, 3, BAD));
	EXPECT_STREQ(run(BAD + 2 * BLOCK, 6), rdax_text(BADBLOCKS));
	/* 5 * BLOCK - 1 bytes: four whole blocks. */
	EXPECT_EQ(4 * BLOCK, pwritev(self->fd, rest, 2, BAD + 2 * BLOCK));
	EXPECT_STREQ(run(BAD + 6 * BLOCK, 2), rdax_text(BADBLOCKS));
	EXPECT_EQ(5 * BLOCK - 2 + SZ_4K, pwritev(self->fd, &rest[1], 2, BAD + 6 * BLOCK));
	expect_good(_metadata, self->fd, 'x');
}

/* Its own data, from elsewhere on the device. */
TEST_F(poison, write_from_a_mapping)
{
	ssize_t ret;

	ASSERT_EQ(0, report(BAD));
	memset(self->map, 'x', SZ_4K);
	madvise(self->map, SZ_4K, MADV_NOHUGEPAGE);
	ret = pwrite(self->fd, rdax_map(self->fd, 0, SZ_4K), SZ_4K, BAD);
	if (!variant->clears) {
		EXPECT_EQ(-1, ret);
		EXPECT_EQ(EIO, errno);
		return;
	}
	EXPECT_EQ(SZ_4K, ret);
	expect_good(_metadata, self->fd, 'x');
	/* One that is bad itself has nothing to give. */
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));
	EXPECT_EQ(-1, pwrite(self->fd, self->map + BAD, SZ_4K, BAD));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
}

/* Data that nobody provides hold up nobody else. */
static void *write_a_page(void *arg)
{
	void **of = arg;

	return (void *)(intptr_t)(pwrite(*(int *)of[0], of[1], SZ_4K, BAD) == -1 ? -errno : 0);
}

TEST_F(poison, write_unserved)
{
	char *page = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = {
		.range = { (uintptr_t)page, SZ_4K },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_zeropage zero = { .range = reg.range };
	struct uffdio_api api = { .api = UFFD_API };
	/* One that may block cannot be polled. */
	struct pollfd waits = {
		.fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK),
		.events = POLLIN,
	};
	void *of[] = { &self->fd, page }, *ret;
	pthread_t thread;

	if (waits.fd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, ioctl(waits.fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(waits.fd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, report(BAD));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_a_page, of));
	ASSERT_EQ(1, poll(&waits, 1, RDAX_PATIENCE * 1000));
	EXPECT_EQ(POLLIN, waits.revents);
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
	EXPECT_EQ(0, rdax_unbind());
	ASSERT_EQ(0, ioctl(waits.fd, UFFDIO_ZEROPAGE, &zero));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ((void *)-ENXIO, ret);
}

/* Clearing takes its time. */
TEST_F(poison, write_without_waiting)
{
	char buf[2 * SZ_4K];
	struct iovec iov = { buf, sizeof(buf) };

	memset(buf, 'x', sizeof(buf));
	ASSERT_EQ(0, report(BAD));
	EXPECT_EQ(-1, pwritev2(self->fd, &iov, 1, BAD, RWF_NOWAIT));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(SZ_4K, pwritev2(self->fd, &iov, 1, BAD - SZ_4K, RWF_NOWAIT));
	EXPECT_TRUE(all(self->map + BAD - SZ_4K, 'x', SZ_4K));
	expect_bad(_metadata, self->fd, self->map);
}

/* A debugger's bytes are all at hand. */
TEST_F(poison, poke_over_it)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	uintptr_t bad = (uintptr_t)self->map + BAD;
	char buf[SZ_4K];

	ASSERT_GE(mem, 0);
	memset(buf, 'x', sizeof(buf));
	ASSERT_EQ(0, report(BAD));
	if (!variant->clears) {
		EXPECT_EQ(-1, pwrite(mem, buf, SZ_4K, bad));
		EXPECT_EQ(EIO, errno);
		expect_bad(_metadata, self->fd, self->map);
		return;
	}
	EXPECT_EQ(BLOCK, pwrite(mem, buf, BLOCK + 100, bad));
	EXPECT_STREQ(run(BAD + BLOCK, 7), rdax_text(BADBLOCKS));
	EXPECT_EQ(SZ_4K - BLOCK, pwrite(mem, buf, SZ_4K - BLOCK, bad + BLOCK));
	expect_good(_metadata, self->fd, 'x');
}

FIXTURE(zeroes)
{
	int fd;
	char *map;
};

FIXTURE_VARIANT(zeroes)
{
	const char *ns;
	int (*call)(int fd, uint64_t offset, uint64_t len);
};

FIXTURE_VARIANT_ADD(zeroes, punch_refused)
{
	.ns = NFIT,
	.call = rdax_punch,
};

FIXTURE_VARIANT_ADD(zeroes, punch_cleared)
{
	.ns = VIRTIO,
	.call = rdax_punch,
};

FIXTURE_VARIANT_ADD(zeroes, zero_refused)
{
	.ns = NFIT,
	.call = rdax_zero,
};

FIXTURE_VARIANT_ADD(zeroes, zero_cleared)
{
	.ns = VIRTIO,
	.call = rdax_zero,
};

FIXTURE_SETUP(zeroes)
{
	if (!use(variant->ns))
		SKIP(return, "there is no %s", variant->ns);
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
	memset(self->map + BAD - SZ_4K, 'a', 3 * SZ_4K);
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));
}

FIXTURE_TEARDOWN(zeroes)
{
	close(self->fd);
	if (rdax_bound())
		rdax_unbind();
}

TEST_F(zeroes, over_it)
{
	int ret = variant->call(self->fd, BAD - SZ_4K, 3 * SZ_4K);

	if (!strcmp(variant->ns, VIRTIO)) {
		EXPECT_EQ(0, ret);
		EXPECT_STREQ("", rdax_text(BADBLOCKS));
		EXPECT_EQ(0, rdax_load(self->map + BAD));
		EXPECT_TRUE(all(self->map + BAD - SZ_4K, 0, 3 * SZ_4K));
		EXPECT_EQ(0, rdax_store(self->map + BAD));
		munmap(self->map, WINDOW);
		memset(rdax_map(self->fd, 0, WINDOW) + BAD, 'x', SZ_4K);
		expect_good(_metadata, self->fd, 'x');
	} else {
		EXPECT_EQ(-EIO, ret);
		expect_bad(_metadata, self->fd, self->map);
	}
}

TEST_F(zeroes, over_a_part)
{
	EXPECT_EQ(-EIO, variant->call(self->fd, BAD + 100, 100));
	EXPECT_EQ(-EIO, variant->call(self->fd, BAD - 100, 200));
	EXPECT_EQ(-EIO, variant->call(self->fd, BAD + SZ_4K - 100, 200));
	expect_bad(_metadata, self->fd, self->map);
	EXPECT_TRUE(all(self->map + BAD - SZ_4K, 'a', SZ_4K - 100));
	EXPECT_TRUE(all(self->map + BAD + SZ_4K + 100, 'a', SZ_4K - 100));
}

static int prefault(int fd, char *at, uint64_t len, uint64_t *done)
{
	struct rdax_prefault range = {
		.size = sizeof(range),
		.address = (uintptr_t)at,
		.length = len,
		.done = 1234,
	};
	int ret = ioctl(fd, RDAX_IOC_PREFAULT, &range) ? -errno : 0;

	*done = range.done;
	return ret;
}

/*
 * The driver unmaps the bad page, and what its entry has around it, some time after
 * the report, so a first mapping can lose what it got.
 */
TEST_F(poison, prefault)
{
	struct rdax_counts before, d;
	uint64_t done;
	char *map;
	int i;

	ASSERT_EQ(0, report(BAD));
	for (i = 0; i < RDAX_PATIENCE * 50; i++) {
		map = rdax_map(self->fd, 0, WINDOW);
		ASSERT_NE(MAP_FAILED, map);
		EXPECT_EQ(-EFAULT, prefault(self->fd, map, WINDOW, &done));
		EXPECT_EQ(BAD, done);
		EXPECT_EQ(-EFAULT, prefault(self->fd, map + BAD, SZ_4K, &done));
		EXPECT_EQ(0, done);
		EXPECT_EQ(0, prefault(self->fd, map + BAD + SZ_4K, WINDOW - BAD - SZ_4K, &done));
		EXPECT_EQ(WINDOW - BAD - SZ_4K, done);

		rdax_counts(&before);
		EXPECT_EQ(0, damaged(map));
		rdax_delta(&before, &d);
		if (!d.pte_mapped && !d.pmd_mapped)
			break;
		ASSERT_EQ(0, munmap(map, WINDOW));
		usleep(20000);
	}
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped);
	EXPECT_TRUE(rdax_poisoned(map + BAD));
}

/* As a debugger reads and writes. */
TEST_F(poison, proc_mem)
{
	int mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	uintptr_t bad = (uintptr_t)self->map + BAD;
	char buf[2 * SZ_4K];

	ASSERT_GE(mem, 0);
	ASSERT_EQ(0, report(BAD));
	EXPECT_EQ(SZ_4K, pread(mem, buf, sizeof(buf), bad - SZ_4K));
	EXPECT_TRUE(all(buf, 'a', SZ_4K));
	EXPECT_EQ(100, pread(mem, buf, 200, bad - 100));
	EXPECT_EQ(-1, pread(mem, buf, 8, bad));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(mem, buf, 8, bad + 8));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(100, pwrite(mem, buf, 200, bad - 100));
	EXPECT_EQ(SZ_4K, pread(mem, buf, sizeof(buf) / 2, bad + SZ_4K));
	EXPECT_TRUE(all(buf, 'c', SZ_4K));
	EXPECT_STREQ(run(BAD, 8), rdax_text(BADBLOCKS));
}

static int idle(void *arg, int step)
{
	return 0;
}

TEST_F(poison, ptrace)
{
	struct rdax_peer peer;
	int status;
	long word;

	ASSERT_EQ(0, rdax_peer_start(&peer, idle, NULL));
	ASSERT_EQ(0, report(BAD));
	ASSERT_EQ(0, ptrace(PTRACE_ATTACH, peer.pid, NULL, NULL));
	ASSERT_EQ(peer.pid, waitpid(peer.pid, &status, 0));
	word = ptrace(PTRACE_PEEKDATA, peer.pid, self->map + BAD - 8, NULL);
	EXPECT_EQ(0x6161616161616161, word);
	EXPECT_EQ(-1, ptrace(PTRACE_PEEKDATA, peer.pid, self->map + BAD, NULL));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, peer.pid, self->map + BAD, 1L));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(0, ptrace(PTRACE_POKEDATA, peer.pid, self->map + BAD - 8, 1L));
	EXPECT_EQ(1, *(long *)(self->map + BAD - 8));
	ptrace(PTRACE_DETACH, peer.pid, NULL, NULL);
	rdax_peer_end(&peer);
}

/*
 * The list
 */

TEST_F(poison, list_is_readable)
{
	struct stat st;

	ASSERT_EQ(0, stat(BADBLOCKS, &st));
	EXPECT_EQ(0444, st.st_mode & 07777);
}

/* More runs than a sysfs file has room for: as many as fit. */
#define RUNS	420

static int report_many(void *arg)
{
	uint64_t phys = *(uint64_t *)arg;

	note_signals();
	for (uint64_t i = 0; i < RUNS; i++)
		if (write_address(phys + i * 2 * SZ_4K))
			return 1;
	return 0;
}

TEST_F(poison, long_list)
{
	uint64_t first = SZ_1G, phys = rdax_attr("resource") + first, i;
	const char *text;
	size_t at = 0;

	if (rdax_size() < 2 * SZ_1G)
		SKIP(return, "the namespace is too small for offsets of that length");
	ASSERT_NE(MAP_FAILED, rdax_map(self->fd, first, RUNS * 2 * SZ_4K));
	ASSERT_EQ(0, rdax_bounded(report_many, &phys, RDAX_PATIENCE));
	text = rdax_text(BADBLOCKS);
	for (i = 0; text[at]; i++) {
		const char *line = run(first + i * 2 * SZ_4K, 8);
		size_t left = strlen(text + at), len = strlen(line);

		ASSERT_EQ(0, strncmp(line, text + at, left < len ? left : len))
			TH_LOG("line %llu", (unsigned long long)i);
		at += left < len ? left : len;
	}
	EXPECT_GE(at, SZ_4K - 64);
}

/*
 * Races
 */

#define ROUNDS		16
#define FAULTERS	3

struct race {
	char *map;
	uint64_t phys;
	/* Shared by all. */
	bool begun;
	int round;
	uint64_t kept, odd;
};

static uint64_t place(int round)
{
	return (round + 1) * SZ_2M + (round * 31 + 1) * SZ_4K;
}

/* Whether a thread has the page mapped, and waits for the report. */
static bool race_keeps(struct race *race, uint64_t before)
{
	return __atomic_load_n(&race->kept, __ATOMIC_SEQ_CST) != before;
}

/*
 * Reports a page of its own mapping: some time after saying so, or, in each fourth round, when
 * a thread has mapped it.
 */
static int race_report(void *arg, int round)
{
	struct race *race = arg;
	uint64_t kept = __atomic_load_n(&race->kept, __ATOMIC_SEQ_CST);

	note_signals();
	__atomic_store_n(&race->begun, true, __ATOMIC_SEQ_CST);
	for (int i = 0; i < round % 8 * 500; i++)
		asm volatile("");
	for (int i = 0; round % 4 == 3 && i < RDAX_PATIENCE * 1000 && !race_keeps(race, kept); i++)
		usleep(1000);
	return write_address(race->phys + place(round));
}

/* Maps, faults and unmaps until the report; what it has mapped then must go. */
static void *race_fault(void *arg)
{
	struct race *race = arg;
	uint64_t at = place(race->round);
	static int number;
	int n = __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED), fd = rdax_open();
	char *map;

	for (;;) {
		map = rdax_map(fd, at / SZ_2M * SZ_2M, SZ_2M);
		if (map == MAP_FAILED || (n % 2 && madvise(map, SZ_2M, MADV_NOHUGEPAGE)))
			break;
		if (n % 3 ? rdax_load(map + at % SZ_2M) : rdax_store(map + at % SZ_2M))
			break;
		if (__atomic_load_n(&race->begun, __ATOMIC_SEQ_CST)) {
			__atomic_fetch_add(&race->kept, 1, __ATOMIC_RELAXED);
			break;
		}
		munmap(map, SZ_2M);
	}
	if (map == MAP_FAILED || !rdax_goes_bad(map + at % SZ_2M) ||
	    rdax_load(map + at % SZ_2M - SZ_4K) || rdax_load(map + at % SZ_2M + SZ_4K))
		__atomic_fetch_add(&race->odd, 1, __ATOMIC_RELAXED);
	munmap(map, SZ_2M);
	close(fd);
	return NULL;
}

static int race_all(void *arg)
{
	pthread_t threads[FAULTERS];
	struct race *race = arg;
	struct rdax_peer peer;
	int i;

	if (rdax_peer_start(&peer, race_report, race))
		return 1;
	for (race->round = 0; race->round < ROUNDS; race->round++) {
		race->begun = false;
		for (i = 0; i < FAULTERS; i++)
			if (pthread_create(&threads[i], NULL, race_fault, race))
				return 2;
		usleep(1000);
		if (rdax_peer_step(&peer, race->round))
			return 3;
		for (i = 0; i < FAULTERS; i++)
			pthread_join(threads[i], NULL);
	}
	rdax_peer_end(&peer);
	return 0;
}

TEST_F(poison, while_faulting)
{
	struct race *race = rdax_shared(sizeof(*race));

	munmap(self->map, WINDOW);
	race->phys = rdax_attr("resource");
	race->map = rdax_map(self->fd, 0, place(ROUNDS));
	ASSERT_NE(MAP_FAILED, race->map);
	ASSERT_EQ(0, rdax_bounded(race_all, race, 2 * RDAX_PATIENCE));
	EXPECT_EQ(0, race->odd);
	EXPECT_LE(ROUNDS / 4, race->kept);
}

/* Nobody asks a device that is gone; what an access has found is forgotten with it. */
TEST_F(poison, unbind)
{
	ASSERT_EQ(0, report(BAD));
	ASSERT_TRUE(rdax_goes_bad(self->map + BAD));
	reported->phys = rdax_attr("resource") + BAD;
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(SIGBUS, rdax_load(self->map + BAD));
	EXPECT_EQ(BUS_ADRERR, rdax_signal()->si_code);
	EXPECT_EQ(0, rdax_bounded(report_child, NULL, RDAX_PATIENCE));
	EXPECT_EQ(-EBUSY, reported->error);
	EXPECT_EQ(0, reported->signals);

	ASSERT_EQ(0, rdax_bind());
	EXPECT_STREQ("", rdax_text(BADBLOCKS));
	munmap(self->map, WINDOW);
	close(self->fd);
	self->fd = rdax_open();
	self->map = rdax_map(self->fd, 0, WINDOW);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_EQ(0, rdax_load(self->map + BAD));
	EXPECT_EQ(0, damaged(self->map));
	EXPECT_EQ(0, report(BAD));
	EXPECT_TRUE(rdax_goes_bad(self->map + BAD));
}

/* Before what follows from the report is done. */
TEST_F(poison, unbind_at_once)
{
	char *map;

	for (int i = 0; i < 10; i++) {
		ASSERT_EQ(0, rdax_fresh("4K"));
		map = rdax_map(rdax_open(), 0, WINDOW);
		ASSERT_NE(MAP_FAILED, map);
		ASSERT_EQ(0, rdax_store(map + BAD));
		ASSERT_EQ(0, report(BAD));
		ASSERT_EQ(0, rdax_unbind());
		EXPECT_EQ(SIGBUS, rdax_load(map + BAD));
	}
}

int main(int argc, char **argv)
{
	if (getenv("RDAX_NS")) {
		ksft_print_header();
		ksft_exit_skip("what can be cleared where is known of the lab's guest only\n");
	}
	if (access(HARD_OFFLINE, W_OK)) {
		ksft_print_header();
		ksft_exit_skip("a kernel without CONFIG_MEMORY_FAILURE\n");
	}
	rdax_begin();
	reported = rdax_shared(sizeof(*reported));
	return test_harness_run(argc, argv);
}
