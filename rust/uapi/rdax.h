/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ioctls of /dev/rdaxN.
 *
 * Each takes a structure that begins with its own size, so that it can grow: a
 * program built with an older header passes a smaller one, whose missing fields
 * count as zero; a larger one is accepted if what this kernel does not know is
 * zero, and refused with E2BIG otherwise.
 */
#ifndef _UAPI_RDAX_H
#define _UAPI_RDAX_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct rdax_range - a range of the device
 * @size: sizeof(struct rdax_range)
 * @flags: none is defined: 0
 * @offset: where it begins, in bytes
 * @length: how many bytes it has
 */
struct rdax_range {
	__u32 size;
	__u32 flags;
	__aligned_u64 offset;
	__aligned_u64 length;
};

#define RDAX_IOC_MAGIC	0xDA

/*
 * RDAX_IOC_PUNCH - make holes of the whole pages in a range, and zeroes of the
 * rest of it. The memory is zeroed, and that durable, when the call returns.
 * Mappings of the range are torn down; the next access to them reads zeroes.
 *
 * RDAX_IOC_ZERO - write zeroes. The memory is zeroed, and that durable, when the
 * call returns. Mappings stay.
 *
 * Errors: EINVAL (length 0, overflow, flags, size), E2BIG (see above), EFBIG
 * (beyond the end of the device), EBADF (not open for writing), ENXIO (the
 * device is gone), EIO (a bad block that could not be cleared, or a part of one),
 * EINTR (by a fatal signal). What was done so far is done.
 */
#define RDAX_IOC_PUNCH	_IOW(RDAX_IOC_MAGIC, 1, struct rdax_range)
#define RDAX_IOC_ZERO	_IOW(RDAX_IOC_MAGIC, 2, struct rdax_range)

#endif /* _UAPI_RDAX_H */
