// SPDX-License-Identifier: GPL-2.0
/*
 * Holes: a read of one maps zeroes that stand in for the media, and makes no
 * more of its entry; the first write puts the media in their place for all who
 * have the zeroes mapped. Those zeroes are shared by all holes, and the small
 * ones by the whole system: written once, they would be wrong everywhere.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define START	SZ_2M
#define LEN	(4 * SZ_2M)
#define HOLES	4
#define READERS	3

FIXTURE(holes)
{
	int fd;
	uint64_t stride;	/* from hole to hole */
	char *reader, *writer;
};

FIXTURE_VARIANT(holes)
{
	uint64_t hole, read, write;	/* sizes */
	const char *punched, *written;	/* the index */
};

/* Single pages with data between them. */
FIXTURE_VARIANT_ADD(holes, pages)
{
	.hole = SZ_4K,
	.read = SZ_4K,
	.write = SZ_4K,
	.punched = "0x200 1 order 0 zero\n"
		   "0x201 1 order 0 mapped dirty\n"
		   "0x202 1 order 0 zero\n"
		   "0x203 1 order 0 mapped dirty\n"
		   "0x204 1 order 0 zero\n"
		   "0x205 1 order 0 mapped dirty\n"
		   "0x206 1 order 0 zero\n"
		   "0x207 1 order 0 mapped dirty\n",
	.written = "0x200 8 order 0 mapped dirty\n",
};

#define BIG_HOLES	"0x200 4 order 9 zero\n"
#define BIG_WRITES	"0x200 4 order 9 mapped dirty\n"
/* A small write splits: the rest of the 2 MiB has no entry then. */
#define SMALL_WRITES				\
	"0x205 1 order 0 mapped dirty\n"	\
	"0x405 1 order 0 mapped dirty\n"	\
	"0x605 1 order 0 mapped dirty\n"	\
	"0x805 1 order 0 mapped dirty\n"

FIXTURE_VARIANT_ADD(holes, read_4k_write_4k)
{
	.hole = SZ_2M,
	.read = SZ_4K,
	.write = SZ_4K,
	.punched = BIG_HOLES,
	.written = SMALL_WRITES,
};

FIXTURE_VARIANT_ADD(holes, read_4k_write_2m)
{
	.hole = SZ_2M,
	.read = SZ_4K,
	.write = SZ_2M,
	.punched = BIG_HOLES,
	.written = BIG_WRITES,
};

FIXTURE_VARIANT_ADD(holes, read_2m_write_4k)
{
	.hole = SZ_2M,
	.read = SZ_2M,
	.write = SZ_4K,
	.punched = BIG_HOLES,
	.written = SMALL_WRITES,
};

FIXTURE_VARIANT_ADD(holes, read_2m_write_2m)
{
	.hole = SZ_2M,
	.read = SZ_2M,
	.write = SZ_2M,
	.punched = BIG_HOLES,
	.written = BIG_WRITES,
};

static char *map_by(int fd, uint64_t bytes, int prot)
{
	char *map = mmap(NULL, LEN, prot, MAP_SHARED, fd, START);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, LEN, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

FIXTURE_SETUP(holes)
{
	bool small = variant->hole == SZ_4K;

	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (!rdax_fits(SZ_2M) || rdax_size() < START + LEN)
		SKIP(return, "namespace too small or not aligned");
	self->stride = small ? 2 * SZ_4K : SZ_2M;
	self->reader = map_by(self->fd, variant->read, PROT_READ | PROT_WRITE);
	self->writer = map_by(self->fd, variant->write, PROT_READ | PROT_WRITE);
	ASSERT_NE(MAP_FAILED, self->reader);
	ASSERT_NE(MAP_FAILED, self->writer);
	rdax_fill(self->writer, START, small ? 8 * SZ_4K : LEN, SZ_4K, 1);
	for (uint64_t i = 0; i < HOLES; i++)
		ASSERT_EQ(0, rdax_punch(self->fd, START + i * self->stride, variant->hole));
	ASSERT_STREQ(variant->punched, rdax_entries());
}

/* The kernel's own zero page, as everybody has it. */
FIXTURE_TEARDOWN(holes)
{
	uint64_t *zeroes = mmap(NULL, SZ_2M, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int bad = 0;

	for (uint64_t i = 0; i < SZ_2M / 8; i++)
		bad += zeroes[i] != 0;
	EXPECT_EQ(0, bad);
	munmap(zeroes, SZ_2M);
	close(self->fd);
}

/* The one word of a hole that will be written: in its page 5, or its only one. */
static uint64_t word_in(uint64_t hole)
{
	return (hole > SZ_4K ? 5 * SZ_4K : 0) + 72;
}

static uint64_t value_of(uint64_t i)
{
	return 0xdada0000 + i;
}

/*
 * What is wrong in the holes when `written` of them, from the first on, have
 * their word: a word in each page is looked at, and all of a written page.
 */
static int wrong(const char *map, uint64_t hole, uint64_t stride, uint64_t written)
{
	uint64_t at, i, n, step;
	int bad = 0;

	for (i = 0; i < HOLES; i++) {
		for (at = 0; at < hole; at += step) {
			const char *p = map + i * stride + at;

			/* Words: all of a page that has one to be found, else its first. */
			step = at / SZ_4K == word_in(hole) / SZ_4K ? 8 : SZ_4K;
			n = at == word_in(hole) && i < written ? value_of(i) : 0;
			bad += rdax_load(p) ||
			       __atomic_load_n((uint64_t *)p, __ATOMIC_RELAXED) != n;
		}
	}
	return bad;
}

static void write_hole(char *map, uint64_t hole, uint64_t stride, uint64_t i)
{
	__atomic_store_n((uint64_t *)(map + i * stride + word_in(hole)), value_of(i),
			 __ATOMIC_SEQ_CST);
}

TEST_F(holes, reads_leave_them)
{
	uint64_t pages = HOLES * variant->hole / variant->read;
	struct rdax_counts before, d;

	rdax_counts(&before);
	EXPECT_EQ(0, wrong(self->reader, variant->hole, self->stride, 0));
	EXPECT_STREQ(variant->punched, rdax_entries());
	rdax_delta(&before, &d);
	EXPECT_EQ(pages, rdax_mapped(&d, variant->read));
	EXPECT_EQ(d.pte_mapped + d.pmd_mapped, rdax_mapped(&d, variant->read));
	EXPECT_EQ(0, d.created);

	/* Another mapping of the same. */
	EXPECT_EQ(0, wrong(self->writer, variant->hole, self->stride, 0));
	EXPECT_STREQ(variant->punched, rdax_entries());
}

TEST_F(holes, first_write_makes_media)
{
	uint64_t splits = rdax_event("splits");
	struct rdax_counts before, d;

	rdax_counts(&before);
	for (uint64_t i = 0; i < HOLES; i++)
		write_hole(self->writer, variant->hole, self->stride, i);
	EXPECT_STREQ(variant->written, rdax_entries());
	EXPECT_EQ(variant->hole > variant->write ? HOLES : 0, rdax_event("splits") - splits);
	rdax_delta(&before, &d);
	EXPECT_EQ(HOLES, rdax_mapped(&d, variant->write));
	EXPECT_EQ(HOLES, d.pte_mapped + d.pmd_mapped);
	EXPECT_EQ(0, wrong(self->reader, variant->hole, self->stride, HOLES));
}

/* The same where the writer has the zeroes mapped itself. */
TEST_F(holes, write_after_own_read)
{
	EXPECT_EQ(0, wrong(self->writer, variant->hole, self->stride, 0));
	for (uint64_t i = 0; i < HOLES; i++)
		write_hole(self->writer, variant->hole, self->stride, i);
	EXPECT_STREQ(variant->written, rdax_entries());
	EXPECT_EQ(0, wrong(self->writer, variant->hole, self->stride, HOLES));
}

/*
 * Processes
 */

struct viewer {
	uint64_t hole, read, stride;
	char *map;	/* its parent's, or NULL */
};

#define WRITE	100

/* Steps: look at the holes with that many written; or write that hole. */
static int view(void *arg, int step)
{
	struct viewer *v = arg;

	if (!v->map)
		v->map = map_by(rdax_open(), v->read, PROT_READ | PROT_WRITE);
	if (v->map == MAP_FAILED)
		return 255;
	if (step < WRITE)
		return wrong(v->map, v->hole, v->stride, step) != 0;
	write_hole(v->map, v->hole, v->stride, step - WRITE);
	return 0;
}

/* All have zeroes mapped; each write is seen by all at once. */
TEST_F(holes, all_see_the_first_write)
{
	struct viewer own = { variant->hole, variant->read, self->stride }, forked = own;
	struct rdax_peer peers[READERS];
	uint64_t i, n;

	EXPECT_EQ(0, wrong(self->reader, variant->hole, self->stride, 0));
	EXPECT_EQ(0, wrong(self->writer, variant->hole, self->stride, 0));
	/* One that got its page tables, and the zeroes in them, by the fork. */
	forked.map = self->reader;
	for (i = 0; i < READERS; i++) {
		ASSERT_EQ(0, rdax_peer_start(&peers[i], view, i ? &own : &forked));
		EXPECT_EQ(0, rdax_peer_step(&peers[i], 0));
	}

	for (n = 0; n < HOLES; n++) {
		/* The last one by the child that inherited the zeroes. */
		if (n < HOLES - 1)
			write_hole(self->writer, variant->hole, self->stride, n);
		else
			ASSERT_EQ(0, rdax_peer_step(&peers[0], WRITE + n));
		for (i = 0; i < READERS; i++) {
			EXPECT_EQ(0, rdax_peer_step(&peers[i], n + 1))
				TH_LOG("reader %d, write %d", (int)i, (int)n);
		}
		EXPECT_EQ(0, wrong(self->reader, variant->hole, self->stride, n + 1));
		EXPECT_EQ(0, wrong(self->writer, variant->hole, self->stride, n + 1));
	}
	for (i = 0; i < READERS; i++)
		rdax_peer_end(&peers[i]);
}

/* Write access given later must not reach the zeroes that are mapped already. */
TEST_F(holes, mprotect)
{
	uint64_t stride = self->stride, hole = variant->hole;
	char *map = map_by(self->fd, variant->read, PROT_READ);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, wrong(map, hole, stride, 0));
	EXPECT_EQ(SIGSEGV, rdax_store(map + word_in(hole)));
	ASSERT_EQ(0, mprotect(map, LEN, PROT_READ | PROT_WRITE));
	EXPECT_STREQ(variant->punched, rdax_entries());

	write_hole(map, hole, stride, 0);
	EXPECT_EQ(NULL, strstr(rdax_entries(), "0x200 1 order 0 zero"));
	EXPECT_NE(NULL, strstr(rdax_entries(), "mapped dirty"));
	EXPECT_EQ(0, wrong(map, hole, stride, 1));
	EXPECT_EQ(0, wrong(self->reader, hole, stride, 1));

	/* And back: a page that was written, and one that wasn't. */
	ASSERT_EQ(0, mprotect(map, LEN, PROT_READ));
	EXPECT_EQ(SIGSEGV, rdax_store(map + word_in(hole)));
	EXPECT_EQ(SIGSEGV, rdax_store(map + stride + word_in(hole)));
	ASSERT_EQ(0, mprotect(map, LEN, PROT_READ | PROT_WRITE));
	write_hole(map, hole, stride, 1);
	EXPECT_EQ(0, wrong(self->writer, hole, stride, 2));
}

/* Zeroes that were moved with their mapping are found as well. */
TEST_F(holes, moved)
{
	uint64_t stride = self->stride, hole = variant->hole;
	char *room, *to;

	EXPECT_EQ(0, wrong(self->reader, hole, stride, 0));
	room = mmap(NULL, LEN + SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	to = (char *)(((uintptr_t)room + SZ_2M - 1) & ~(SZ_2M - 1));
	ASSERT_EQ(to, mremap(self->reader, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(0, wrong(to, hole, stride, 0));
	write_hole(self->writer, hole, stride, 0);
	EXPECT_EQ(0, wrong(to, hole, stride, 1));
	write_hole(to, hole, stride, 1);
	EXPECT_EQ(0, wrong(self->writer, hole, stride, 2));
}

/* A write, a punch, a write: each in everybody's eyes. */
TEST_F(holes, punched_again)
{
	uint64_t stride = self->stride, hole = variant->hole;

	for (int round = 0; round < 3; round++) {
		EXPECT_EQ(0, wrong(self->reader, hole, stride, 0));
		write_hole(self->writer, hole, stride, 0);
		EXPECT_EQ(0, wrong(self->reader, hole, stride, 1));
		ASSERT_EQ(0, rdax_punch(self->fd, START, hole));
	}
	EXPECT_EQ(0, wrong(self->reader, hole, stride, 0));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
