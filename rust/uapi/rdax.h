/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ioctls of /dev/rdaxN.
 *
 * Each takes a structure that begins with its own size, so that it can grow. A
 * program built with an older header passes a smaller one, whose missing fields
 * count as zero. A larger one is accepted if all fields that this kernel does not
 * know are zero, and refused with E2BIG otherwise.
 */
#ifndef _UAPI_RDAX_H
#define _UAPI_RDAX_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct rdax_range - a range of the device
 * @size: sizeof(struct rdax_range)
 * @flags: must be 0
 * @offset: its start, in bytes
 * @length: its length in bytes
 */
struct rdax_range {
	__u32 size;
	__u32 flags;
	__aligned_u64 offset;
	__aligned_u64 length;
};

/* Map for writing, not only for reading. */
#define RDAX_PREFAULT_WRITE	(1 << 0)

/**
 * struct rdax_prefault - a part of the caller's memory
 * @size: sizeof(struct rdax_prefault)
 * @flags: 0, or RDAX_PREFAULT_WRITE
 * @address: its start, a multiple of the page size (4096)
 * @length: its length in bytes, a multiple of the page size
 * @done: set by the kernel: the number of bytes that are mapped, from @address
 */
struct rdax_prefault {
	__u32 size;
	__u32 flags;
	__aligned_u64 address;
	__aligned_u64 length;
	__aligned_u64 done;
};

#define RDAX_IOC_MAGIC	0xDA

/*
 * RDAX_IOC_PUNCH - punch holes into the whole pages of a range, and zero the rest
 * of it. When the call returns, the zeroes are durable. Mappings of the range are
 * unmapped; the next access through them reads zeroes.
 *
 * RDAX_IOC_ZERO - zero a range. When the call returns, the zeroes are durable.
 * Mappings stay.
 *
 * Errors: EINVAL (length 0, overflow, flags, size), E2BIG (see above), EFBIG
 * (past the end of the device), EBADF (not open for writing), EROFS (the region
 * is read-only), ENXIO (the device is gone), EIO (a bad block that could not be
 * cleared, or a part of one), EINTR (by a fatal signal; while a punch waits for a
 * page that is pinned, by any whose handler has no SA_RESTART). After an error, a
 * part of the range may have been changed.
 */
#define RDAX_IOC_PUNCH	_IOW(RDAX_IOC_MAGIC, 1, struct rdax_range)
#define RDAX_IOC_ZERO	_IOW(RDAX_IOC_MAGIC, 2, struct rdax_range)

/*
 * RDAX_IOC_PREFAULT - map a part of the caller's memory now, in the largest
 * pages that fit, as if each page had been read (or written). All of it must be
 * mappings of this device. The content of the memory is not changed.
 *
 * Errors, with @done set: EINVAL (not of this device), ENOMEM (not mapped, or no
 * memory), EACCES (its protection forbids the access), EFAULT (the access would
 * raise SIGBUS), EINTR (by a fatal signal). Without it: EINVAL (length 0,
 * overflow, alignment, flags, size), E2BIG (see above), ENXIO (the device is
 * gone), EROFS (for writing, and the region is read-only), EOPNOTSUPP (the
 * device was bound with pages: use madvise() with MADV_POPULATE_READ or _WRITE).
 */
#define RDAX_IOC_PREFAULT	_IOWR(RDAX_IOC_MAGIC, 3, struct rdax_prefault)

#endif /* _UAPI_RDAX_H */
