// SPDX-License-Identifier: GPL-2.0

#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/unroll.h>
#include <asm/barrier.h>

/*
 * Copies that stop where the user's memory is absent instead of faulting it in,
 * because its faults may take arbitrarily long.
 */

size_t rust_helper_copy_mc_to_iter_nofault(const void *addr, size_t bytes,
					   struct iov_iter *i)
{
	size_t copied;

	pagefault_disable();
	copied = _copy_mc_to_iter(addr, bytes, i);
	pagefault_enable();
	return copied;
}

size_t rust_helper_copy_from_iter_flushcache_nofault(void *addr, size_t bytes,
						     struct iov_iter *i)
{
	size_t copied;

	pagefault_disable();
	copied = _copy_from_iter_flushcache(addr, bytes, i);
	pagefault_enable();
	/* A copy from a user's memory ends with one. */
	if (!user_backed_iter(i)) {
		/* Orders the copy before all later stores. */
		wmb();
	}
	return copied;
}

void rust_helper_memcpy_flushcache(void *dst, const void *src, size_t size)
{
	memcpy_flushcache(dst, src, size);
}

/*
 * Zeroes without bringing the memory into the CPU caches. memcpy_flushcache()
 * would load what it stores, one word for each. The selftests put a probe here.
 */
void rust_helper_zero_flushcache(void *dst, size_t size)
{
	static const u64 zero;
	const size_t word = sizeof(zero), step = 32 * sizeof(zero);
	void *end = dst + size, *aligned = min(PTR_ALIGN(dst, word), end);

	if (dst != aligned)
		memcpy_flushcache(dst, &zero, aligned - dst);
	dst = aligned;
	for (void *whole = dst + round_down(end - dst, step); dst != whole; dst += step) {
		unrolled_full
		for (size_t i = 0; i < step; i += word)
			memcpy_flushcache(dst + i, &zero, sizeof(zero));
	}
	for (; end - dst >= word; dst += word)
		memcpy_flushcache(dst, &zero, sizeof(zero));
	if (dst != end)
		memcpy_flushcache(dst, &zero, end - dst);
}
