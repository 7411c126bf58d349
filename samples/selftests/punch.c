// SPDX-License-Identifier: GPL-2.0
/*
 * RDAX_IOC_PUNCH and RDAX_IOC_ZERO: what they zero, to the byte, on the media
 * and in the eyes of all who have it mapped; what they leave in the index; and
 * every way to refuse a call. A stale page-table entry, an entry too many or a
 * byte too many of zeroes is lost or leaked data for whoever uses the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "uapi/rdax.h"

#define WINDOW	(4 * SZ_2M)

/* From within page 5 into page 1033: 6 to 1032 are whole. */
#define FROM	(5 * SZ_4K + 123)
#define TO	(2 * SZ_2M + 9 * SZ_4K + 77)
#define HOLES				\
	"0x6 1 order 1 zero\n"		\
	"0x8 1 order 3 zero\n"		\
	"0x10 1 order 4 zero\n"		\
	"0x20 1 order 5 zero\n"		\
	"0x40 1 order 6 zero\n"		\
	"0x80 1 order 7 zero\n"		\
	"0x100 1 order 8 zero\n"	\
	"0x200 1 order 9 zero\n"	\
	"0x400 1 order 3 zero\n"	\
	"0x408 1 order 0 zero\n"

/* A word of the window: no byte of it is 0. */
static uint64_t word(uint64_t i, uint64_t seed)
{
	return (i + seed * 12345) * UINT64_C(0x9e3779b97f4a7c15) |
	       UINT64_C(0x0101010101010101);
}

/* The same once the bytes from..to are zeroed. */
static uint64_t word_after(uint64_t i, uint64_t from, uint64_t to, uint64_t seed)
{
	uint64_t at = i * 8, w = word(i, seed);

	if (at + 8 <= from || at >= to)
		return w;
	if (at >= from && at + 8 <= to)
		return 0;
	for (uint64_t n = 0; n < 8; n++)
		if (at + n >= from && at + n < to)
			w &= ~(UINT64_C(0xff) << 8 * n);
	return w;
}

static void fill(char *map, uint64_t seed)
{
	for (uint64_t i = 0; i < WINDOW / 8; i++)
		((uint64_t *)map)[i] = word(i, seed);
}

/* Words of the window that are not what they should be after from..to was zeroed. */
static uint64_t wrong(const char *map, uint64_t from, uint64_t to, uint64_t seed)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < WINDOW / 8; i++) {
		if (i % 512 == 0 && rdax_load(map + i * 8)) {
			n += 512;
			i += 511;
			continue;
		}
		n += __atomic_load_n((uint64_t *)map + i, __ATOMIC_RELAXED) !=
		     word_after(i, from, to, seed);
	}
	return n;
}

FIXTURE(punch)
{
	int fd;
	uint64_t len;
	char *map;
};

FIXTURE_VARIANT(punch)
{
	uint64_t bytes;		/* of the pages that map it */
	const char *filled;	/* the index when all is written, */
	const char *punched;	/* and after the punch; reading changes nothing */
};

FIXTURE_VARIANT_ADD(punch, pte)
{
	.bytes = SZ_4K,
	.filled = "0x0 2048 order 0 mapped dirty\n",
	.punched = "0x0 6 order 0 mapped dirty\n"
		   HOLES
		   "0x409 1015 order 0 mapped dirty\n",
};

FIXTURE_VARIANT_ADD(punch, pmd)
{
	.bytes = SZ_2M,
	.filled = "0x0 4 order 9 mapped dirty\n",
	.punched = HOLES
		   "0x600 1 order 9 mapped dirty\n",
};

FIXTURE_VARIANT_ADD(punch, pud)
{
	.bytes = SZ_1G,
	.filled = "0x0 1 order 18 mapped dirty\n",
	.punched = HOLES,
};

/* A mapping of the window that only pages of this size serve. */
static char *map_by(int fd, uint64_t bytes)
{
	char *map = rdax_map(fd, 0, bytes == SZ_1G ? SZ_1G : WINDOW);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, WINDOW, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

FIXTURE_SETUP(punch)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(variant->bytes) || rdax_size() < WINDOW)
		SKIP(return, "namespace too small or not aligned for this size");
	self->len = variant->bytes == SZ_1G ? SZ_1G : WINDOW;
	self->map = map_by(self->fd, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->map);
	fill(self->map, 1);
}

FIXTURE_TEARDOWN(punch)
{
	close(self->fd);
}

TEST_F(punch, whole_pages_become_holes)
{
	uint64_t rest = self->len - WINDOW;

	rdax_fill(self->map + WINDOW, WINDOW, rest, SZ_2M, 3);
	EXPECT_STREQ(variant->filled, rdax_entries());
	ASSERT_EQ(0, rdax_punch(self->fd, FROM, TO - FROM));
	EXPECT_STREQ(variant->punched, rdax_entries());
	EXPECT_EQ(0, wrong(self->map, FROM, TO, 1));
	EXPECT_STREQ(variant->punched, rdax_entries());
	EXPECT_EQ(0, rdax_wrong(self->map + WINDOW, WINDOW, rest, SZ_2M, 3));
}

/* One page out of the middle: the rest of its 2 MiB or 1 GiB keeps its data. */
TEST_F(punch, one_page)
{
	uint64_t at = SZ_2M + 77 * SZ_4K, writebacks = rdax_event("writebacks");

	ASSERT_EQ(0, rdax_punch(self->fd, at, SZ_4K));
	/* A large entry was synced before the punch kept out all faults. */
	EXPECT_EQ(writebacks + (variant->bytes == SZ_1G), rdax_event("writebacks"));
	if (variant->bytes == SZ_2M) {
		EXPECT_STREQ("0x0 1 order 9 mapped dirty\n"
			     "0x24d 1 order 0 zero\n"
			     "0x400 2 order 9 mapped dirty\n", rdax_entries());
	} else if (variant->bytes == SZ_1G) {
		EXPECT_STREQ("0x24d 1 order 0 zero\n", rdax_entries());
	}
	EXPECT_EQ(0, wrong(self->map, at, at + SZ_4K, 1));
}

/* Pages of an entry that goes because of another: who writes to them must fault. */
TEST_F(punch, rest_of_an_entry)
{
	char *writer = map_by(self->fd, SZ_4K), *reader = map_by(self->fd, SZ_4K);
	static const uint64_t pages[] = { 3, 100 };

	if (variant->bytes == SZ_4K)
		SKIP(return, "there is nothing but the page");
	ASSERT_NE(MAP_FAILED, writer);
	ASSERT_NE(MAP_FAILED, reader);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, rdax_store(writer + pages[i] * SZ_4K));
	ASSERT_EQ(0, rdax_punch(self->fd, 10 * SZ_4K, SZ_4K));
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, rdax_load(reader + pages[i] * SZ_4K));
	EXPECT_STREQ(variant->bytes == SZ_1G ?
		     "0xa 1 order 0 zero\n" :
		     "0xa 1 order 0 zero\n"
		     "0x200 3 order 9 mapped dirty\n", rdax_entries());
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		ASSERT_EQ(0, rdax_store(writer + pages[i] * SZ_4K));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x3 1 order 0 mapped dirty\n"));
	EXPECT_NE(NULL, strstr(rdax_entries(), "0x64 1 order 0 mapped dirty\n"));
}

/* Who had it mapped before the punch writes to what others have as a hole. */
TEST_F(punch, old_writer_new_reader)
{
	char *map = rdax_map(self->fd, SZ_2M, SZ_2M);
	uint64_t wrong = 0;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, rdax_punch(self->fd, SZ_2M, SZ_2M));
	for (uint64_t at = 0; at < SZ_2M; at += SZ_4K)
		wrong += *(uint64_t *)(map + at) != 0;
	EXPECT_EQ(0, wrong);
	for (uint64_t at = 0; at < SZ_2M; at += SZ_4K)
		*(uint64_t *)(self->map + SZ_2M + at) = at + 1;
	for (uint64_t at = 0; at < SZ_2M; at += SZ_4K)
		wrong += *(uint64_t *)(map + at) != at + 1;
	EXPECT_EQ(0, wrong);
}

/* All of it, twice: holes stay holes. Then only a part: what is a hole stays one. */
TEST_F(punch, holes_again)
{
	const char *holes = "0x0 4 order 9 zero\n";

	ASSERT_EQ(0, rdax_punch(self->fd, 0, WINDOW));
	EXPECT_STREQ(holes, rdax_entries());
	EXPECT_EQ(0, wrong(self->map, 0, WINDOW, 1));
	EXPECT_STREQ(holes, rdax_entries());
	ASSERT_EQ(0, rdax_punch(self->fd, 0, WINDOW));
	EXPECT_STREQ(holes, rdax_entries());
	ASSERT_EQ(0, rdax_punch(self->fd, SZ_2M + SZ_4K, SZ_4K));
	EXPECT_STREQ("0x0 1 order 9 zero\n"
		     "0x201 1 order 0 zero\n"
		     "0x400 2 order 9 zero\n", rdax_entries());
	EXPECT_EQ(0, wrong(self->map, 0, WINDOW, 1));
}

/* No whole page is in it: no hole, nobody's mapping goes. */
TEST_F(punch, less_than_a_page)
{
	uint64_t at = 5 * SZ_4K + 10;
	struct rdax_counts before, d;

	rdax_counts(&before);
	ASSERT_EQ(0, rdax_punch(self->fd, at, SZ_4K - 11));
	EXPECT_EQ(0, wrong(self->map, at, at + SZ_4K - 11, 1));
	fill(self->map, 1);
	ASSERT_EQ(0, rdax_punch(self->fd, at, SZ_4K));
	EXPECT_EQ(0, wrong(self->map, at, at + SZ_4K, 1));
	EXPECT_STREQ(variant->filled, rdax_entries());
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped + d.created);
}

TEST_F(punch, zero_keeps_mappings)
{
	struct rdax_counts before, d;

	rdax_counts(&before);
	ASSERT_EQ(0, rdax_zero(self->fd, FROM, TO - FROM));
	EXPECT_STREQ(variant->filled, rdax_entries());
	EXPECT_EQ(0, wrong(self->map, FROM, TO, 1));
	fill(self->map, 2);
	EXPECT_EQ(0, wrong(self->map, 0, 0, 2));
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped + d.created);
}

/* Zeroes in holes are what is there already. */
TEST_F(punch, zero_of_holes)
{
	ASSERT_EQ(0, rdax_punch(self->fd, FROM, TO - FROM));
	ASSERT_EQ(0, rdax_zero(self->fd, FROM, TO - FROM));
	EXPECT_STREQ(variant->punched, rdax_entries());
	EXPECT_EQ(0, wrong(self->map, FROM, TO, 1));
}

/* The next bind knows of no hole: it finds zeroes on the media. */
TEST_F(punch, on_the_media)
{
	ASSERT_EQ(0, rdax_punch(self->fd, FROM, TO - FROM));
	munmap(self->map, self->len);
	close(self->fd);
	ASSERT_EQ(0, rdax_fresh("4K"));
	EXPECT_STREQ("", rdax_entries());
	self->fd = rdax_open();
	self->map = map_by(self->fd, variant->bytes);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_EQ(0, wrong(self->map, FROM, TO, 1));
}

/*
 * Those who have it mapped already
 */

struct viewer {
	uint64_t bytes;	/* of its own mapping */
	char *map;	/* or that of its parent */
};

enum { LOOK, LOOK_AFTER, LOOK_AT_NEW };

static int look(void *arg, int step)
{
	struct viewer *v = arg;

	if (!v->map)
		v->map = map_by(rdax_open(), v->bytes);
	if (v->map == MAP_FAILED)
		return 2;
	switch (step) {
	case LOOK:
		return wrong(v->map, 0, 0, 1) != 0;
	case LOOK_AFTER:
		return wrong(v->map, FROM, TO, 1) != 0;
	default:
		return wrong(v->map, 0, 0, 2) != 0;
	}
}

TEST_F(punch, all_viewers_see_it)
{
	struct viewer viewers[] = {
		{ SZ_4K }, { SZ_2M }, { SZ_1G }, { .map = self->map },
	};
	struct rdax_peer peers[ARRAY_SIZE(viewers)];
	char *other;

	/* Not all memory of the dax bus has that much. */
	if (rdax_size() < SZ_1G)
		viewers[2].bytes = SZ_2M;
	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
		ASSERT_EQ(0, rdax_peer_start(&peers[i], look, &viewers[i]));
	other = map_by(self->fd, variant->bytes == SZ_4K ? SZ_2M : SZ_4K);
	ASSERT_NE(MAP_FAILED, other);

	EXPECT_EQ(0, wrong(other, 0, 0, 1));
	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
		EXPECT_EQ(0, rdax_peer_step(&peers[i], LOOK));

	ASSERT_EQ(0, rdax_punch(self->fd, FROM, TO - FROM));
	EXPECT_EQ(0, wrong(other, FROM, TO, 1));
	EXPECT_EQ(0, wrong(self->map, FROM, TO, 1));
	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++)
		EXPECT_EQ(0, rdax_peer_step(&peers[i], LOOK_AFTER));

	/* All have the holes mapped when they are written. */
	fill(self->map, 2);
	EXPECT_EQ(0, wrong(other, 0, 0, 2));
	for (size_t i = 0; i < ARRAY_SIZE(viewers); i++) {
		EXPECT_EQ(0, rdax_peer_step(&peers[i], LOOK_AT_NEW));
		rdax_peer_end(&peers[i]);
	}
}

/*
 * Refusals
 */

FIXTURE(refusal)
{
	int fd;
	uint64_t size;
};

FIXTURE_SETUP(refusal)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->size = rdax_size();
}

FIXTURE_TEARDOWN(refusal)
{
	close(self->fd);
}

static const unsigned int cmds[] = { RDAX_IOC_PUNCH, RDAX_IOC_ZERO };

static int call(int fd, unsigned int cmd, const void *arg)
{
	return ioctl(fd, cmd, arg) ? errno : 0;
}

TEST_F(refusal, ranges)
{
	const struct {
		struct rdax_range range;
		int error;
	} cases[] = {
		{ { 24, 0, 0, 0 }, EINVAL },
		{ { 24, 0, self->size, 0 }, EINVAL },
		{ { 24, 0, UINT64_MAX, 1 }, EINVAL },
		{ { 24, 0, SZ_4K, UINT64_MAX }, EINVAL },
		{ { 24, 0, UINT64_MAX - SZ_4K + 1, SZ_4K }, EINVAL },
		{ { 24, 1, 0, SZ_4K }, EINVAL },
		{ { 24, 1U << 31, 0, SZ_4K }, EINVAL },
		{ { 23, 0, 0, SZ_4K }, EINVAL },
		{ { 4, 0, 0, SZ_4K }, EINVAL },
		{ { 0, 0, 0, SZ_4K }, EINVAL },
		{ { 24, 0, self->size, 1 }, EFBIG },
		{ { 24, 0, self->size - 1, 2 }, EFBIG },
		{ { 24, 0, 0, self->size + 1 }, EFBIG },
		{ { 24, 0, UINT64_MAX - SZ_4K, SZ_4K }, EFBIG },
		{ { 24, 0, self->size - 1, 1 }, 0 },
		{ { 24, 0, self->size - SZ_4K, SZ_4K }, 0 },
	};
	uint64_t grabs = rdax_event("grabs");

	ASSERT_EQ(24, sizeof(struct rdax_range));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(cmds); j++) {
			EXPECT_EQ(cases[i].error, call(self->fd, cmds[j], &cases[i].range))
				TH_LOG("case %zu, ioctl %zu", i, j);
		}
	}
	/* Only the last one made an entry. */
	EXPECT_EQ(grabs + 1, rdax_event("grabs"));
}

/* A longer structure, of a program that knows more than this kernel. */
TEST_F(refusal, sizes)
{
	struct {
		struct rdax_range range;
		uint8_t tail[2 * SZ_4K];
	} longer = { .range = { .length = SZ_4K } };
	static const uint32_t known[] = { 24, 25, 32, 100, SZ_4K };

	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(known); j++) {
			longer.range.size = known[j];
			EXPECT_EQ(0, call(self->fd, cmds[i], &longer));
			longer.tail[known[j] - 24] = 1;
			EXPECT_EQ(0, call(self->fd, cmds[i], &longer));
			longer.tail[known[j] - 24] = 0;
			if (known[j] == 24)
				continue;
			longer.tail[known[j] - 25] = 1;
			EXPECT_EQ(E2BIG, call(self->fd, cmds[i], &longer));
			longer.tail[known[j] - 25] = 0;
		}
		longer.range.size = SZ_4K + 1;
		EXPECT_EQ(E2BIG, call(self->fd, cmds[i], &longer));
		longer.range.size = UINT32_MAX;
		EXPECT_EQ(E2BIG, call(self->fd, cmds[i], &longer));
	}
}

TEST_F(refusal, files)
{
	struct rdax_range range = { .size = 24, .length = SZ_4K };
	int reader = open(RDAX_NODE, O_RDONLY | O_CLOEXEC);
	int writer = open(RDAX_NODE, O_WRONLY | O_CLOEXEC);

	ASSERT_GE(reader, 0);
	ASSERT_GE(writer, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(EBADF, call(reader, cmds[i], &range));
		EXPECT_EQ(0, call(writer, cmds[i], &range));
	}
	EXPECT_EQ(ENOTTY, call(self->fd, _IOW(RDAX_IOC_MAGIC, 99, struct rdax_range), &range));
	EXPECT_EQ(ENOTTY, call(self->fd, _IOR(RDAX_IOC_MAGIC, 1, struct rdax_range), &range));
	EXPECT_EQ(ENOTTY, call(self->fd, _IOW(RDAX_IOC_MAGIC, 1, uint32_t), &range));
	EXPECT_EQ(ENOTTY, call(self->fd, _IOW(0xDB, 1, struct rdax_range), &range));
	close(reader);
	close(writer);
}

TEST_F(refusal, when_unbound)
{
	struct rdax_range range = { .size = 24, .length = SZ_4K };

	ASSERT_EQ(0, rdax_unbind());
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++)
		EXPECT_EQ(ENXIO, call(self->fd, cmds[i], &range));
	ASSERT_EQ(0, rdax_bind());
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++)
		EXPECT_EQ(ENXIO, call(self->fd, cmds[i], &range));
	EXPECT_STREQ("", rdax_entries());
}

TEST_F(refusal, bad_pointers)
{
	char *pages = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct rdax_range *edge;

	ASSERT_NE(MAP_FAILED, pages);
	munmap(pages + SZ_4K, SZ_4K);
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(EFAULT, call(self->fd, cmds[i], NULL));
		EXPECT_EQ(EFAULT, call(self->fd, cmds[i], (void *)-SZ_4K));
		EXPECT_EQ(EFAULT, call(self->fd, cmds[i], pages + SZ_4K - 2));
		/* A structure that ends in memory which isn't there. */
		edge = (void *)(pages + SZ_4K - 24);
		*edge = (struct rdax_range){ .size = 24, .length = SZ_4K };
		EXPECT_EQ(0, call(self->fd, cmds[i], edge));
		edge->size = 25;
		EXPECT_EQ(EFAULT, call(self->fd, cmds[i], edge));
		edge = (void *)(pages + SZ_4K - 16);
		edge->size = 24;
		EXPECT_EQ(EFAULT, call(self->fd, cmds[i], edge));
	}
}

/* The argument lies in the very page to be punched, and must be faulted in. */
static int punch_itself(void *arg)
{
	int fd = *(int *)arg;
	struct rdax_range *range;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		range = rdax_map(fd, SZ_2M, SZ_2M);
		if (range == MAP_FAILED)
			return 255;
		*range = (struct rdax_range){ .size = 24, .offset = SZ_2M, .length = SZ_4K };
		munmap(range, SZ_2M);
		range = rdax_map(fd, SZ_2M, SZ_2M);
		ret = call(fd, cmds[i], range);
		if (ret)
			return ret;
		if (range->size || range->length)
			return 254;
		/* A hole is a structure of size 0. */
		munmap(range, SZ_2M);
		range = rdax_map(fd, SZ_2M, SZ_2M);
		if (call(fd, cmds[i], range) != EINVAL)
			return 253;
	}
	return 0;
}

TEST_F(refusal, pointer_into_the_device)
{
	EXPECT_EQ(0, rdax_bounded(punch_itself, &self->fd, RDAX_PATIENCE));
}

/*
 * Ended before the end
 */

#define STEPS	(self->size / SZ_2M)

FIXTURE(long_punch)
{
	int fd;
	uint64_t size;
	char *map;
	pid_t pid;
};

/* A word at the head of each 2 MiB, in the middle of it, and at its end. */
static const uint64_t marks[] = { 0, SZ_2M / 2 + SZ_4K, SZ_2M - 8 };

static uint64_t *mark(char *map, uint64_t step, size_t i)
{
	return (uint64_t *)(map + step * SZ_2M + marks[i]);
}

/* The device with marks all over it, and a child that punches all of it. */
FIXTURE_SETUP(long_punch)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->size = rdax_size();
	if (!rdax_fits(SZ_1G) || self->size < 2 * SZ_1G || self->size % SZ_1G)
		SKIP(return, "needs some GiB at a multiple of 1 GiB");
	self->map = rdax_map(self->fd, 0, self->size);
	ASSERT_NE(MAP_FAILED, self->map);
	for (uint64_t step = 0; step < STEPS; step++)
		for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
			*mark(self->map, step, i) = step + 1;

	self->pid = fork();
	ASSERT_GE(self->pid, 0);
	if (!self->pid)
		_exit(-rdax_punch(self->fd, 0, self->size));
	while (rdax_event("created") < 20)
		usleep(1000);
}

FIXTURE_TEARDOWN(long_punch)
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

/*
 * Killed: it dies at once, not when all is done, and what it has done is whole
 * 2 MiB at the beginning. Before that it lets others fault between its steps.
 */
TEST_F(long_punch, killed)
{
	uint64_t done, zeroes, i, n;
	const char *entries;
	char *small, *behind;
	int status;

	small = rdax_map(self->fd, self->size - SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, small);
	ASSERT_EQ(0, madvise(small, SZ_2M, MADV_NOHUGEPAGE));
	for (n = 0; n < 100; n++)
		EXPECT_EQ(0, rdax_load(small + n * SZ_4K));
	EXPECT_EQ(0, waitpid(self->pid, NULL, WNOHANG));

	ASSERT_EQ(0, kill(self->pid, SIGKILL));
	status = status_of(self->pid);
	ASSERT_NE(-1, status);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	entries = rdax_entries();
	EXPECT_EQ(NULL, strstr(entries, "locked"));
	ASSERT_EQ(entries, strstr(entries, "0x0 "));
	done = strtoull(entries + 4, &behind, 10);
	ASSERT_EQ(behind, strstr(behind, " order 9 zero\n"));
	EXPECT_LE(16, done);
	EXPECT_GT(STEPS, done);
	/* What is not reached in its 1 GiB has no entry any more, the others have. */
	n = (done * SZ_2M + SZ_1G - 1) / SZ_1G;
	if (n * SZ_1G < self->size) {
		char line[64];

		snprintf(line, sizeof(line), "\n0x%" PRIx64 " %" PRIu64 " order 18 mapped dirty\n",
			 n * SZ_1G / SZ_4K, self->size / SZ_1G - n);
		EXPECT_STREQ(line, strchr(entries, '\n'));
	}

	munmap(self->map, self->size);
	self->map = rdax_map(self->fd, 0, self->size);
	ASSERT_NE(MAP_FAILED, self->map);
	for (n = 0; n < STEPS; n++) {
		zeroes = 0;
		for (i = 0; i < ARRAY_SIZE(marks); i++) {
			zeroes += *mark(self->map, n, i) == 0;
			EXPECT_TRUE(*mark(self->map, n, i) == 0 ||
				    *mark(self->map, n, i) == n + 1);
		}
		EXPECT_EQ(n < done ? ARRAY_SIZE(marks) : 0, zeroes)
			TH_LOG("2 MiB number %" PRIu64 ", %" PRIu64 " were punched", n, done);
	}
}

/* Unbound: the call ends between two of its steps, and unbind does not wait for all. */
TEST_F(long_punch, unbound)
{
	int status;

	ASSERT_EQ(0, rdax_unbind());
	status = status_of(self->pid);
	/* 0 if the unbind had waited for all. */
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == ENXIO);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
