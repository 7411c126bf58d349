// SPDX-License-Identifier: GPL-2.0

#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

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
	return copied;
}

void rust_helper_memcpy_flushcache(void *dst, const void *src, size_t size)
{
	memcpy_flushcache(dst, src, size);
}
