// SPDX-License-Identifier: GPL-2.0
/*
 * See mutex.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutex.h"
#include "rdax.h"

struct shared {
	pthread_mutex_t mutex;
	uint64_t count;
	uint64_t begun;
};

/* How a child ends that finds something wrong; otherwise what it found, or 0. */
#define NO_MAPPING	100
#define LOST		101

static struct shared *make(char *at, enum mutex_kind kind)
{
	struct shared *shared = (struct shared *)at;
	pthread_mutexattr_t attr;

	memset(shared, 0, sizeof(*shared));
	if (pthread_mutexattr_init(&attr) ||
	    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_mutexattr_setrobust(&attr, kind == MUTEX_ROBUST ? PTHREAD_MUTEX_ROBUST
								    : PTHREAD_MUTEX_STALLED) ||
	    pthread_mutex_init(&shared->mutex, &attr))
		return NULL;
	return shared;
}

/* A child that does fn with a mapping of its own, at another address. It ends with what that returned. */
static pid_t start(int (*fn)(struct shared *shared), uint64_t len, uint64_t offset)
{
	pid_t pid = fork();
	char *map;
	int fd;

	if (pid)
		return pid;
	/* Before the harness ends the test. */
	alarm(RDAX_PATIENCE / 3);
	fd = rdax_open();
	map = rdax_map(fd, 0, len);
	_exit(map == MAP_FAILED ? NO_MAPPING : fn((struct shared *)(map + offset)));
}

/* How it ended: a status of exit(), or a signal as a negative number. */
static int end_of(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return NO_MAPPING;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int count(struct shared *shared)
{
	__atomic_add_fetch(&shared->begun, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&shared->begun, __ATOMIC_SEQ_CST) < 2)
		usleep(100);
	for (uint64_t i = 0; i < MUTEX_ROUNDS; i++) {
		uint64_t was;

		if (pthread_mutex_lock(&shared->mutex))
			return LOST;
		was = __atomic_load_n(&shared->count, __ATOMIC_RELAXED);
		/* Sometimes the other has to wait. */
		if (i % 50 == 0)
			usleep(1);
		__atomic_store_n(&shared->count, was + 1, __ATOMIC_RELAXED);
		if (pthread_mutex_unlock(&shared->mutex))
			return LOST;
	}
	return 0;
}

const char *mutex_counts(char *map, uint64_t len, uint64_t offset, enum mutex_kind kind)
{
	struct shared *shared = make(map + offset, kind);
	int ends[2];
	pid_t pids[2];

	if (!shared)
		return "no mutex";
	for (int i = 0; i < 2; i++)
		pids[i] = start(count, len, offset);
	for (int i = 0; i < 2; i++)
		ends[i] = end_of(pids[i]);
	if (ends[0] || ends[1])
		return ends[0] == LOST || ends[1] == LOST ? "a call failed" : "a process ended";
	return shared->count == 2 * MUTEX_ROUNDS ? "ok" : "counts are lost";
}

static int take(struct shared *shared)
{
	int ret = pthread_mutex_lock(&shared->mutex);

	if (ret == EOWNERDEAD && pthread_mutex_consistent(&shared->mutex))
		return LOST;
	if (ret && ret != EOWNERDEAD)
		return LOST;
	__atomic_add_fetch(&shared->count, 1, __ATOMIC_SEQ_CST);
	return pthread_mutex_unlock(&shared->mutex) ? LOST : ret;
}

/* Does that process sleep in a futex? It may end instead. */
static bool sleeps_in_futex(pid_t pid)
{
	siginfo_t ended = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		if (strtol(rdax_text(path), NULL, 10) == SYS_futex)
			return true;
		if (waitid(P_PID, pid, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
			return false;
		usleep(10000);
	}
	return false;
}

/* Owns it until it is killed. */
static int own(struct shared *shared)
{
	if (pthread_mutex_lock(&shared->mutex))
		return LOST;
	__atomic_store_n(&shared->begun, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

static pid_t start_owner(struct shared *shared, uint64_t len, uint64_t offset)
{
	pid_t pid = start(own, len, offset);

	while (pid > 0 && !__atomic_load_n(&shared->begun, __ATOMIC_SEQ_CST))
		usleep(1000);
	return pid;
}

const char *mutex_sleeps(char *map, uint64_t len, uint64_t offset, uint64_t other,
			 enum mutex_kind kind)
{
	struct shared *shared = make(map + offset, kind), *beside = make(map + other, kind);
	pid_t owner = 0, waiter, bystander;
	const char *wrong = NULL;
	int end;

	if (!shared || !beside || pthread_mutex_lock(&beside->mutex))
		return "no mutex";
	if (kind == MUTEX_ROBUST)
		owner = start_owner(shared, len, offset);
	else if (pthread_mutex_lock(&shared->mutex))
		return "it is not free";
	/* It came first: if both were one futex, it would be woken instead. */
	bystander = start(take, len, other);
	if (!sleeps_in_futex(bystander))
		wrong = "the bystander does not sleep";
	waiter = start(take, len, offset);
	if (!sleeps_in_futex(waiter))
		wrong = "it does not sleep";
	if (shared->count || beside->count)
		wrong = "two own it";
	if (owner) {
		kill(owner, SIGKILL);
		end_of(owner);
	} else {
		pthread_mutex_unlock(&shared->mutex);
	}
	end = end_of(waiter);
	if (end != (kind == MUTEX_ROBUST ? EOWNERDEAD : 0))
		wrong = wrong ?: "it is not woken, or not told";
	if (shared->count != 1 || beside->count)
		wrong = wrong ?: "the wrong one was woken";
	pthread_mutex_unlock(&beside->mutex);
	if (end_of(bystander) || beside->count != 1)
		wrong = wrong ?: "the bystander is not woken";
	return wrong ?: "ok";
}

const char *mutex_owner_dies(char *map, uint64_t len, uint64_t offset)
{
	struct shared *shared = make(map + offset, MUTEX_ROBUST);
	pid_t owner = shared ? start_owner(shared, len, offset) : -1;

	if (owner < 0)
		return "no mutex";
	kill(owner, SIGKILL);
	if (end_of(owner) != -SIGKILL)
		return "its owner lives";
	return take(shared) == EOWNERDEAD ? "ok" : "nobody is told";
}

int mutex_kills(char *map, uint64_t len, uint64_t offset, enum mutex_kind kind)
{
	struct shared *shared = make(map + offset, kind);
	int end;

	if (!shared || pthread_mutex_lock(&shared->mutex))
		return 0;
	end = end_of(start(take, len, offset));
	pthread_mutex_unlock(&shared->mutex);
	return end < 0 ? -end : 0;
}
