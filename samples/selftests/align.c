// SPDX-License-Identifier: GPL-2.0
/*
 * A device bound with a larger alignment takes only mappings that keep it, and
 * splits none below it; yet a fault of order 0 is served all the same, since
 * MADV_NOHUGEPAGE and PR_SET_THP_DISABLE make them on any device.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

#define RW	(PROT_READ | PROT_WRITE)

FIXTURE(align)
{
	int fd;
};

FIXTURE_VARIANT(align)
{
	const char *text;
	uint64_t bytes;
};

FIXTURE_VARIANT_ADD(align, align_2M)
{
	.text = "2M",
	.bytes = SZ_2M,
};

FIXTURE_VARIANT_ADD(align, align_1G)
{
	.text = "1G",
	.bytes = SZ_1G,
};

FIXTURE_SETUP(align)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(variant->bytes) || rdax_size() < 2 * variant->bytes)
		SKIP(return, "namespace too small or not aligned");
	ASSERT_EQ(0, rdax_fresh(variant->text));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(align)
{
	close(self->fd);
}

static int try_map(int fd, void *addr, uint64_t len, uint64_t offset)
{
	int flags = MAP_SHARED | (addr ? MAP_FIXED_NOREPLACE : 0);
	void *map = mmap(addr, len, RW, flags, fd, (off_t)offset);

	if (map == MAP_FAILED)
		return errno;
	munmap(map, len);
	return 0;
}

TEST_F(align, attribute)
{
	EXPECT_EQ(variant->bytes, rdax_attr("align"));
	EXPECT_EQ(0, rdax_size() % variant->bytes);
}

TEST_F(align, unaligned_mmap_refused)
{
	uint64_t align = variant->bytes;
	char *room, *at;

	EXPECT_EQ(0, try_map(self->fd, NULL, align, 0));
	EXPECT_EQ(0, try_map(self->fd, NULL, align, align));
	EXPECT_EQ(EINVAL, try_map(self->fd, NULL, align, SZ_4K));
	EXPECT_EQ(EINVAL, try_map(self->fd, NULL, align, align / 2));
	EXPECT_EQ(EINVAL, try_map(self->fd, NULL, SZ_4K, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, NULL, align - SZ_4K, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, NULL, align + SZ_4K, 0));

	/* Room for a whole unit at an aligned and at an unaligned address. */
	room = mmap(NULL, 3 * align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	ASSERT_EQ(0, munmap(room, 3 * align));
	at = (char *)(((uintptr_t)room + align - 1) & ~(align - 1));
	EXPECT_EQ(0, try_map(self->fd, at, align, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, at + SZ_4K, align, 0));
	EXPECT_EQ(EINVAL, try_map(self->fd, at + align / 2, align, 0));
}

TEST_F(align, faults_of_that_size)
{
	struct rdax_counts before, d;
	char *map = rdax_map(self->fd, 0, variant->bytes);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, (uintptr_t)map % variant->bytes);
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_store(map + variant->bytes - 1));
	rdax_delta(&before, &d);
	EXPECT_EQ(1, rdax_mapped(&d, variant->bytes));
	EXPECT_EQ(1, d.pte_mapped + d.pmd_mapped + d.pud_mapped);
}

/* mremap() puts a mapping where mmap() would: the old one stays as it was. */
TEST_F(align, unaligned_move_refused)
{
	uint64_t align = variant->bytes;
	char *map = rdax_map(self->fd, 0, align), *room, *at;

	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, align, align / 2, 1);
	room = mmap(NULL, 3 * align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	at = (char *)(((uintptr_t)room + align - 1) & ~(align - 1));
	for (uint64_t off = align / 2; off >= SZ_4K; off /= 16) {
		EXPECT_EQ(MAP_FAILED,
			  mremap(map, align, align, MREMAP_MAYMOVE | MREMAP_FIXED, at + off));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(0, rdax_wrong(map, 0, align, align / 2, 1));
	}
	/* There is no copy, whose old length is 0. */
	EXPECT_EQ(MAP_FAILED, mremap(map, 0, align, MREMAP_MAYMOVE | MREMAP_FIXED, at));
	EXPECT_EQ(EFAULT, errno);

	EXPECT_EQ(at, mremap(map, align, align, MREMAP_MAYMOVE | MREMAP_FIXED, at));
	EXPECT_EQ(0, rdax_wrong(at, 0, align, align / 2, 1));
	EXPECT_EQ(SIGSEGV, rdax_load(map));
}

TEST_F(align, split_refused)
{
	uint64_t align = variant->bytes;
	char *map = rdax_map(self->fd, 0, 2 * align);

	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, 2 * align, align / 2, 1);

	EXPECT_EQ(-1, munmap(map + SZ_4K, SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, munmap(map, align + SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, mprotect(map, SZ_4K, PROT_READ));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, rdax_wrong(map, 0, 2 * align, align / 2, 1));

	EXPECT_EQ(0, munmap(map, align));
	EXPECT_EQ(0, rdax_wrong(map + align, align, align, align / 2, 1));
	EXPECT_EQ(SIGSEGV, rdax_load(map));
}

/* C device-dax raises SIGBUS here (peers' complaint): rdax serves 4 KiB pages. */
TEST_F(align, order_0_is_served)
{
	struct rdax_counts before, d;
	char *advised, *disabled;

	advised = rdax_map(self->fd, 0, variant->bytes);
	ASSERT_NE(MAP_FAILED, advised);
	ASSERT_EQ(0, madvise(advised, variant->bytes, MADV_NOHUGEPAGE));
	rdax_counts(&before);
	rdax_fill(advised, 0, variant->bytes, variant->bytes / 16, 2);
	rdax_delta(&before, &d);
	EXPECT_EQ(16, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped + rdax_sigbus(&d));

	ASSERT_EQ(0, prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	disabled = rdax_map(self->fd, 0, variant->bytes);
	ASSERT_NE(MAP_FAILED, disabled);
	rdax_counts(&before);
	EXPECT_EQ(0, rdax_wrong(disabled, 0, variant->bytes, variant->bytes / 16, 2));
	rdax_delta(&before, &d);
	EXPECT_EQ(16, d.pte_mapped);
	EXPECT_EQ(0, d.pmd_mapped + d.pud_mapped + rdax_sigbus(&d));
}

/* The parameter itself: text or bytes, and nothing else. */
TEST(align_parameter)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "4096", SZ_4K }, { "2097152", SZ_2M }, { "2M", SZ_2M }, { "4K", SZ_4K },
	};
	static const char * const bad[] = { "3M", "0", "8K", "4M", "many", "2G" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ASSERT_EQ(0, rdax_fresh(good[i].text));
		EXPECT_EQ(good[i].bytes, rdax_attr("align"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, rdax_fresh(bad[i])) TH_LOG("align=%s", bad[i]);
		EXPECT_EQ(-1, access(RDAX_NODE, F_OK));
	}
	EXPECT_EQ(0, rdax_fresh("4K"));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
