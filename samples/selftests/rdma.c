// SPDX-License-Identifier: GPL-2.0
/*
 * The device's memory is registered for RDMA (ibv_reg_mr()) and written over a connection. Registration
 * pins pages: a sync writes back what was received, and a punch and an unbind wait until the memory is
 * deregistered. Page frames and tracked pages cannot be registered.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"
#include "remote.h"
#include "waiter.h"

#define WINDOW	(2 * SZ_2M)
#define SEED	7
/* A page in each folio of 2 MiB. */
#define FIRST	(3 * SZ_4K)
#define SECOND	(SZ_2M + 5 * SZ_4K)

FIXTURE(rdma)
{
	struct remote remote;
	struct ibv_mr *mr, *own;
	struct waiter *unbinder;
	pid_t child;	/* the unbinder, until it has ended */
	int fd;
	char *map, *buffer;
};

FIXTURE_VARIANT(rdma)
{
	const char *memory, *align;
	int refused;	/* -errno of a registration */
};

FIXTURE_VARIANT_ADD(rdma, frames)
{
	.memory = "frames",
	.align = "4K",
	.refused = -EFAULT,
};

FIXTURE_VARIANT_ADD(rdma, tracked)
{
	.memory = "tracked",
	.align = "2M",
	.refused = -EFAULT,
};

FIXTURE_VARIANT_ADD(rdma, folios)
{
	.memory = "pages",
	.align = "2M",
};

FIXTURE_VARIANT_ADD(rdma, single)
{
	.memory = "pages",
	.align = "4K",
};

/*
 * The process that unbinds. It exists before the RDMA device is opened: a copy of its file and of its
 * rings would keep the pins if the test were killed, and the unbind would wait for itself.
 */
static int unbind_when_told(const struct waiter *waiter)
{
	while (!waiter_enough(waiter)) {
		if (getppid() == 1)
			return -ECHILD;
		usleep(1000);
	}
	return rdax_unbind();
}

/* The page of the other end is registered, and the window filled. */
FIXTURE_SETUP(rdma)
{
	bool frames = !strcmp(variant->memory, "frames");

	self->fd = -1;
	self->map = MAP_FAILED;
	if (!rdax_on_dax_bus())
		SKIP(return, "needs a device of the dax bus: scripts/lab guest --machine vfio");
	ASSERT_EQ(0, rdax_write_file(RDAX_PARAMS "/pages",
				     frames ? "" : strrchr(RDAX_NODE, '/') + 1));
	ASSERT_EQ(0, rdax_fresh(variant->align));
	if (!frames)
		ASSERT_EQ(0, rdax_write_file(rdax_attr_path("rdax/memory"), variant->memory));
	self->unbinder = rdax_shared(sizeof(*self->unbinder));
	self->child = waiter_begin(self->unbinder, NULL, unbind_when_told);
	ASSERT_LT(0, self->child);
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	rdax_fill(self->map, 0, WINDOW, SZ_4K, SEED);
	ASSERT_EQ(0, remote_open(&self->remote));
	self->buffer = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->buffer);
	ASSERT_EQ(0, remote_register(&self->remote, self->buffer, SZ_4K, &self->own));
	ASSERT_EQ(variant->refused, remote_register(&self->remote, self->map, WINDOW, &self->mr));
}

static int deregister(struct ibv_mr **mr)
{
	int ret = *mr ? -ibv_dereg_mr(*mr) : 0;

	*mr = NULL;
	return ret;
}

FIXTURE_TEARDOWN(rdma)
{
	deregister(&self->mr);
	deregister(&self->own);
	remote_close(&self->remote);
	if (self->child > 0) {
		kill(self->child, SIGKILL);
		waiter_end(self->child);
	}
	close(self->fd);
	munmap(self->map, WINDOW);
	EXPECT_EQ(0, rdax_bound() ? rdax_unbind() : 0);
	rdax_write_file(RDAX_PARAMS "/pages", "");
}

/* The other end writes a page of these bytes. */
static int writes(FIXTURE_DATA(rdma) *self, uint64_t at, uint64_t seed)
{
	bytes_make(self->buffer, at, SZ_4K, seed);
	return remote_writes(&self->remote, self->mr, at, self->own, SZ_4K);
}

static bool has(const char *page, uint64_t at, uint64_t seed)
{
	return bytes_right(page, at, SZ_4K, seed) == SZ_4K;
}

static bool file_has(int fd, uint64_t at, uint64_t seed)
{
	static char page[SZ_4K];

	return pread(fd, page, sizeof(page), at) == sizeof(page) && has(page, at, seed);
}

TEST_F(rdma, there_and_back)
{
	if (variant->refused)
		SKIP(return, "%s is not pinned for long, see the set-up", variant->memory);
	EXPECT_EQ(0, writes(self, FIRST, 1));
	EXPECT_TRUE(has(self->map + FIRST, FIRST, 1));
	EXPECT_TRUE(file_has(self->fd, FIRST, 1));
	bytes_make(self->map + SECOND, SECOND, SZ_4K, 2);
	EXPECT_EQ(0, remote_reads(&self->remote, self->mr, SECOND, self->own, SZ_4K));
	EXPECT_TRUE(has(self->buffer, SECOND, 2));
	/* No other page. */
	EXPECT_EQ(0, rdax_wrong(self->map, 0, FIRST, SZ_4K, SEED));
	EXPECT_EQ(0, rdax_wrong(self->map + FIRST + SZ_4K, FIRST + SZ_4K, SECOND - FIRST - SZ_4K,
				SZ_4K, SEED));
	EXPECT_EQ(0, rdax_wrong(self->map + SECOND + SZ_4K, SECOND + SZ_4K, WINDOW - SECOND - SZ_4K,
				SZ_4K, SEED));
}

/* The registration wrote nothing, and pinned nothing: what is mapped stays, and can be synced. */
TEST_F(rdma, refused)
{
	if (!variant->refused)
		SKIP(return, "pages are registered");
	EXPECT_EQ(0, rdax_wrong(self->map, 0, WINDOW, SZ_4K, SEED));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "dirty"));
	EXPECT_EQ(0, rdax_punch(self->fd, 0, WINDOW));
	EXPECT_EQ(SZ_4K, bytes_zero(self->map + FIRST, SZ_4K));
}

/* The kernel does not tell when something comes, so each sync writes back all that is registered. */
TEST_F(rdma, a_sync)
{
	uint64_t was, first;

	if (variant->refused)
		SKIP(return, "%s is not pinned for long, see the set-up", variant->memory);
	was = rdax_attr("entries/writebacks");
	EXPECT_EQ(0, fsync(self->fd));
	first = rdax_attr("entries/writebacks") - was;
	EXPECT_LT(0, first);
	for (uint64_t seed = 1; seed <= 2; seed++) {
		EXPECT_EQ(0, writes(self, FIRST, seed));
		was = rdax_attr("entries/writebacks");
		EXPECT_EQ(0, fsync(self->fd));
		EXPECT_EQ(first, rdax_attr("entries/writebacks") - was);
		EXPECT_NE(NULL, strstr(rdax_entries(), "dirty"));
		EXPECT_TRUE(file_has(self->fd, FIRST, seed));
	}
}

static int punch_it(const struct waiter *waiter)
{
	return rdax_punch(*(const int *)waiter->arg, 0, SZ_2M);
}

TEST_F(rdma, a_punch_waits)
{
	struct waiter *waiter = rdax_shared(sizeof(*waiter));
	pid_t child;

	if (variant->refused)
		SKIP(return, "%s is not pinned for long, see the set-up", variant->memory);
	child = waiter_begin(waiter, &self->fd, punch_it);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, writes(self, FIRST, 1));
	EXPECT_TRUE(waiter_waits(waiter));
	/* No data is lost until then: a signal ends the wait. */
	EXPECT_EQ(-EINTR, waiter_interrupt(child));
	EXPECT_TRUE(has(self->map + FIRST, FIRST, 1));

	child = waiter_begin(waiter, &self->fd, punch_it);
	ASSERT_LT(0, child);
	EXPECT_EQ(0, writes(self, FIRST, 2));
	EXPECT_TRUE(waiter_waits(waiter));
	EXPECT_TRUE(has(self->map + FIRST, FIRST, 2));
	EXPECT_EQ(0, deregister(&self->mr));
	EXPECT_EQ(0, waiter_end(child));
	EXPECT_EQ(SZ_4K, bytes_zero(self->map + FIRST, SZ_4K));
	EXPECT_EQ(0, rdax_wrong(self->map + SZ_2M, SZ_2M, SZ_2M, SZ_4K, SEED));
}

/* What comes while it waits is there when the device is bound again. */
TEST_F(rdma, an_unbind_waits)
{
	if (variant->refused)
		SKIP(return, "%s is not pinned for long, see the set-up", variant->memory);
	waiter_stop(self->unbinder);
	for (int i = 0; i < RDAX_PATIENCE * 100 && !rdax_load(self->map + FIRST); i++)
		usleep(10000);
	EXPECT_EQ(SIGBUS, rdax_load(self->map + FIRST));
	EXPECT_TRUE(waiter_waits(self->unbinder));
	EXPECT_EQ(0, writes(self, FIRST, 3));
	EXPECT_TRUE(waiter_waits(self->unbinder));
	EXPECT_EQ(0, deregister(&self->mr));
	EXPECT_EQ(0, waiter_end(self->child));
	self->child = 0;
	munmap(self->map, WINDOW);
	close(self->fd);
	ASSERT_EQ(0, rdax_bind());
	ASSERT_EQ(0, rdax_open_mapped(&self->fd, &self->map, WINDOW));
	EXPECT_TRUE(has(self->map + FIRST, FIRST, 3));
	EXPECT_EQ(0, rdax_wrong(self->map + SZ_2M, SZ_2M, SZ_2M, SZ_4K, SEED));
}

int main(int argc, char **argv)
{
	const char *why = remote_take();

	if (why) {
		ksft_print_header();
		ksft_exit_skip("%s\n", why);
	}
	rdax_begin();
	return test_harness_run(argc, argv);
}
