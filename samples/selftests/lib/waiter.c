// SPDX-License-Identifier: GPL-2.0
/*
 * See waiter.h.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdax.h"
#include "waiter.h"

static void ignore(int sig)
{
}

pid_t waiter_begin(struct waiter *waiter, const void *arg, int (*fn)(const struct waiter *waiter))
{
	struct sigaction sa = { .sa_handler = ignore };
	pid_t child;

	*waiter = (struct waiter){ arg };
	child = fork();
	if (!child) {
		int ret;

		sigaction(SIGTERM, &sa, NULL);
		__atomic_store_n(&waiter->started, 1, __ATOMIC_RELEASE);
		ret = fn(waiter);
		__atomic_store_n(&waiter->ended, 1, __ATOMIC_RELEASE);
		_exit(-ret);
	}
	while (child > 0 && !__atomic_load_n(&waiter->started, __ATOMIC_ACQUIRE))
		usleep(1000);
	return child < 0 ? -errno : child;
}

bool waiter_waits(const struct waiter *waiter)
{
	usleep(100000);
	return !__atomic_load_n(&waiter->ended, __ATOMIC_ACQUIRE);
}

/* Sends a signal again and again, because one that arrives before the call does not interrupt it. */
static int reap(pid_t child, int sig)
{
	int status = 0;

	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		if (sig)
			kill(child, sig);
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
		usleep(10000);
	}
	kill(child, SIGKILL);
	return -ETIMEDOUT;
}

int waiter_end(pid_t child)
{
	return reap(child, 0);
}

int waiter_interrupt(pid_t child)
{
	return reap(child, SIGTERM);
}

void waiter_stop(struct waiter *waiter)
{
	__atomic_store_n(&waiter->enough, 1, __ATOMIC_RELEASE);
}

bool waiter_enough(const struct waiter *waiter)
{
	return __atomic_load_n(&waiter->enough, __ATOMIC_ACQUIRE);
}
