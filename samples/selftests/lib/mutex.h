/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pthread mutexes that lie in a mapping of the device, shared with a child that maps it elsewhere.
 */
#ifndef RDAX_SELFTEST_MUTEX_H
#define RDAX_SELFTEST_MUTEX_H

#include <stdint.h>

enum mutex_kind {
	MUTEX_PLAIN,
	MUTEX_ROBUST,
	MUTEX_KINDS
};

/* How many times each of two processes counts. */
#define MUTEX_ROUNDS	UINT64_C(5000)

/*
 * These take a mutex at a byte `offset` of the device, in the mapping `map` of its first `len` bytes.
 * "ok", or what went wrong.
 */

/* Two processes count, and each sees what the other has counted. */
const char *mutex_counts(char *map, uint64_t len, uint64_t offset, enum mutex_kind kind);

/*
 * A process that waits for the mutex sleeps in the kernel until it is unlocked, or, if it is robust,
 * until its owner has died: EOWNERDEAD. That of another mutex at byte `other` sleeps on.
 */
const char *mutex_sleeps(char *map, uint64_t len, uint64_t offset, uint64_t other,
			 enum mutex_kind kind);

/* The owner of a robust mutex dies, and who takes it then is told so. Nobody waits. */
const char *mutex_owner_dies(char *map, uint64_t len, uint64_t offset);

/* The signal that ended a process that had to wait for the mutex, or 0. */
int mutex_kills(char *map, uint64_t len, uint64_t offset, enum mutex_kind kind);

#endif /* RDAX_SELFTEST_MUTEX_H */
