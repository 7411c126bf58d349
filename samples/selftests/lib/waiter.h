/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A call that waits, in a process of its own.
 */
#ifndef RDAX_SELFTEST_WAITER_H
#define RDAX_SELFTEST_WAITER_H

#include <stdbool.h>
#include <sys/types.h>

/* In memory that both share: rdax_shared(). */
struct waiter {
	const void *arg;
	int started, ended;
	int enough;	/* for who repeats it: waiter_enough() */
};

/*
 * Runs fn in a child, where SIGTERM ends calls and nothing else. It has begun: the pid, or -errno. FN
 * returns 0, or -errno.
 */
pid_t waiter_begin(struct waiter *waiter, const void *arg, int (*fn)(const struct waiter *waiter));
/* Has it not ended after a while? */
bool waiter_waits(const struct waiter *waiter);
/* What fn returned, or -ETIMEDOUT. */
int waiter_end(pid_t child);

void waiter_stop(struct waiter *waiter);
bool waiter_enough(const struct waiter *waiter);

#endif /* RDAX_SELFTEST_WAITER_H */
