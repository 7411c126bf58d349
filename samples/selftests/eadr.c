// SPDX-License-Identifier: GPL-2.0
/*
 * A platform that writes the CPU caches back when the power fails (eADR): what is
 * stored is durable as soon as it is flushed from the CPU's buffers. A sync writes
 * nothing back, takes write access from nobody, and only flushes the region.
 *
 * Not run by default: it needs a machine that has this, as QEMU has with
 * -machine nvdimm-persistence=cpu.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "trace.h"

FIXTURE(eadr)
{
	int fd;
	uint64_t units, len;
	char *map;
};

FIXTURE_VARIANT(eadr)
{
	uint64_t bytes, units;
};

FIXTURE_VARIANT_ADD(eadr, pte)
{
	.bytes = SZ_4K,
	.units = 64,
};

FIXTURE_VARIANT_ADD(eadr, pmd)
{
	.bytes = SZ_2M,
	.units = 4,
};

FIXTURE_VARIANT_ADD(eadr, pud)
{
	.bytes = SZ_1G,
	.units = 2,
};

static void store_all(struct __test_metadata *_metadata, FIXTURE_DATA(eadr) *self,
		      const FIXTURE_VARIANT(eadr) *variant)
{
	for (uint64_t u = 0; u < self->units; u++)
		ASSERT_EQ(0, rdax_store(self->map + u * variant->bytes));
}

/* All units are mapped and were written to. */
FIXTURE_SETUP(eadr)
{
	struct rdax_counts d;

	if (rdax_has_cache())
		SKIP(return, "the platform does not write the CPU caches back");
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	self->units = variant->units;
	self->len = self->units * variant->bytes;
	if (!rdax_fits(variant->bytes) || rdax_size() < self->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->map = rdax_map(self->fd, 0, self->len);
	ASSERT_NE(MAP_FAILED, self->map);
	store_all(_metadata, self, variant);
	rdax_counts(&d);
	ASSERT_EQ(self->units, rdax_mapped(&d, variant->bytes));
	trace_start();
}

FIXTURE_TEARDOWN(eadr)
{
	close(self->fd);
}

/* Since the recording began: flushes that worked. Nothing was written back; zeroes need not be. */
static void expect_flushes(struct __test_metadata *_metadata, size_t expected)
{
	const struct trace_call *calls;
	size_t count = trace_stop(&calls), flushes = 0;

	for (size_t i = 0; i < count; i++) {
		if (calls[i].zeroes)
			continue;
		flushes++;
		EXPECT_EQ(TRACE_FLUSH, calls[i].what);
		EXPECT_EQ(0, calls[i].ret);
	}
	EXPECT_EQ(expected, flushes);
	trace_start();
}

TEST_F(eadr, sync)
{
	struct rdax_counts before, d;

	rdax_counts(&before);
	EXPECT_EQ(0, fsync(self->fd));
	expect_flushes(_metadata, 1);
	store_all(_metadata, self, variant);
	EXPECT_EQ(0, fdatasync(self->fd));
	expect_flushes(_metadata, 1);
	store_all(_metadata, self, variant);
	EXPECT_EQ(0, msync(self->map, self->len, MS_SYNC));
	expect_flushes(_metadata, 1);
	store_all(_metadata, self, variant);
	rdax_delta(&before, &d);
	EXPECT_EQ(0, d.pte_mapped + d.pmd_mapped + d.pud_mapped);
	EXPECT_EQ(0, rdax_attr("entries/writebacks"));
}

/* What need not be written back need not be found: but for a 1 GiB leaf there is no entry. */
TEST_F(eadr, no_entries)
{
	EXPECT_STREQ(variant->bytes == SZ_1G ? "0x0 2 order 18 mapped\n" : "",
		     rdax_entries());
	/* A hole that is written to becomes media. */
	ASSERT_EQ(0, rdax_punch(self->fd, 0, SZ_4K));
	EXPECT_EQ(0, rdax_load(self->map));
	rdax_fill(self->map, 0, SZ_4K, SZ_4K, 3);
	EXPECT_EQ(0, rdax_wrong(self->map, 0, SZ_4K, SZ_4K, 3));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "zero"));
}

TEST_F(eadr, punch_and_zero)
{
	EXPECT_EQ(0, rdax_zero(self->fd, 100, SZ_4K));
	expect_flushes(_metadata, 1);
	EXPECT_EQ(0, rdax_punch(self->fd, 100, 3 * SZ_4K));
	expect_flushes(_metadata, 1);
	EXPECT_EQ(0, *(uint64_t *)(self->map + 2 * SZ_4K));
}

TEST_F(eadr, unbind)
{
	ASSERT_EQ(0, rdax_unbind());
	expect_flushes(_metadata, 1);
	EXPECT_EQ(-1, fsync(self->fd));
	EXPECT_EQ(ENXIO, errno);
	expect_flushes(_metadata, 0);
}

int main(int argc, char **argv)
{
	rdax_begin();
	trace_begin();
	return test_harness_run(argc, argv);
}
