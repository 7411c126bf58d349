// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel chooses the address (mmap with NULL) so that large pages can be
 * used: congruent with the file offset modulo the largest page that fits into
 * the range of offsets. Without rdax's get_unmapped_area that is one chance in
 * 512 a try.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"

FIXTURE(area)
{
	int fd;
};

FIXTURE_VARIANT(area)
{
	uint64_t len;
};

FIXTURE_VARIANT_ADD(area, len_2M)
{
	.len = SZ_2M,
};

FIXTURE_VARIANT_ADD(area, len_4M_less_4K)
{
	.len = 2 * SZ_2M - SZ_4K,
};

FIXTURE_VARIANT_ADD(area, len_1G_less_2M)
{
	.len = SZ_1G - SZ_2M,
};

FIXTURE_VARIANT_ADD(area, len_2G_less_4K)
{
	.len = 2 * SZ_1G - SZ_4K,
};

FIXTURE_VARIANT_ADD(area, len_1G)
{
	.len = SZ_1G,
};

FIXTURE_VARIANT_ADD(area, len_1G_and_4K)
{
	.len = SZ_1G + SZ_4K,
};

FIXTURE_SETUP(area)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	self->fd = rdax_open();
	ASSERT_GE(self->fd, 0);
	if (rdax_size() < variant->len + 2 * SZ_2M)
		SKIP(return, "namespace too small");
}

FIXTURE_TEARDOWN(area)
{
	close(self->fd);
}

/* Is there a whole page of this size among the offsets? */
static bool holds(uint64_t offset, uint64_t len, uint64_t bytes)
{
	return (offset + bytes - 1) / bytes * bytes + bytes <= offset + len;
}

static uint64_t modulus(uint64_t offset, uint64_t len)
{
	return holds(offset, len, SZ_1G) ? SZ_1G : holds(offset, len, SZ_2M) ? SZ_2M : SZ_4K;
}

TEST_F(area, congruent_with_offset)
{
	static const uint64_t offsets[] = {
		0, SZ_4K, 511 * SZ_4K, SZ_2M, SZ_2M + 5 * SZ_4K,
	};

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint64_t mod = modulus(offsets[i], variant->len);

		/* Pages in between move the next free place about. */
		for (int again = 0; again < 4; again++) {
			void *map = rdax_map(self->fd, offsets[i], variant->len);

			ASSERT_NE(MAP_FAILED, map);
			EXPECT_EQ(offsets[i] % mod,
				  (uintptr_t)map % mod);
			ASSERT_NE(MAP_FAILED, mmap(NULL, SZ_4K, PROT_READ,
						   MAP_PRIVATE | MAP_ANONYMOUS,
						   -1, 0));
		}
	}
}

/* A hint that fits is taken. */
TEST_F(area, hint_is_honoured)
{
	char *hint = rdax_map(self->fd, 0, variant->len);

	ASSERT_NE(MAP_FAILED, hint);
	ASSERT_EQ(0, munmap(hint, variant->len));
	EXPECT_EQ(hint, mmap(hint, variant->len, PROT_READ, MAP_SHARED, self->fd, 0));
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
