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
	int enough;	/* see waiter_stop() */
};

/*
 * Runs fn in a child, where SIGTERM interrupts calls and does nothing else. Returns the pid when the child
 * is about to call fn, or -errno. FN returns 0, or -errno.
 */
pid_t waiter_begin(struct waiter *waiter, const void *arg, int (*fn)(const struct waiter *waiter));
/* Whether fn is still running after 0.1 s. */
bool waiter_waits(const struct waiter *waiter);
/* What fn returned, or -ETIMEDOUT. The second interrupts it by SIGTERM first. */
int waiter_end(pid_t child);
int waiter_interrupt(pid_t child);

/* Tells fn to go on, or to end a loop: waiter_enough() is true there from now on. */
void waiter_stop(struct waiter *waiter);
bool waiter_enough(const struct waiter *waiter);

#endif /* RDAX_SELFTEST_WAITER_H */
