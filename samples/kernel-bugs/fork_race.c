// SPDX-License-Identifier: GPL-2.0
/*
 * fork_race DEVICE [COUNT]: a fork copies a PMD leaf that another thread has removed meanwhile.
 * Here the thread punches a hole; the child then has the memory that was there, and others
 * the zeroes of the hole: what the child stores they never see. The driver must let
 * a fork copy its page tables.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map.h"
#include "uapi/rdax.h"

static int fd;
static pthread_barrier_t start;

static void set(uint64_t *p, uint64_t word)
{
	__atomic_store_n(p, word, __ATOMIC_RELAXED);
}

static uint64_t get(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void *punch(void *arg)
{
	struct rdax_range range = { sizeof(range), 0, 0, SZ_2M };

	pthread_barrier_wait(&start);
	usleep((uintptr_t)arg % 64 * 20);
	if (ioctl(fd, RDAX_IOC_PUNCH, &range))
		err(1, "punch");
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000, lost = 0;
	uint64_t *map;

	fd = open_device(argc, argv);
	map = (uint64_t *)map_first(fd, SZ_2M);
	pthread_barrier_init(&start, NULL, 2);
	for (unsigned long i = 0; i < count; i++) {
		int ended[2], status;
		pthread_t thread;
		pid_t child;
		char c = 0;

		set(map, 1);
		if (pipe(ended) || pthread_create(&thread, NULL, punch, (void *)i))
			err(1, "pthread_create");
		pthread_barrier_wait(&start);
		child = fork();
		if (!child) {
			/* The hole is there, and the parent has its zeroes mapped. */
			if (read(ended[0], &c, 1) != 1)
				_exit(1);
			set(map, 2);
			_exit(0);
		}
		pthread_join(thread, NULL);
		if (child < 0 || get(map) || write(ended[1], &c, 1) != 1 ||
		    waitpid(child, &status, 0) != child || status)
			errx(1, "something else is wrong");
		lost += get(map) != 2;
		close(ended[0]);
		close(ended[1]);
	}
	printf("%lu of %lu stores by a child were lost\n", lost, count);
	return lost != 0;
}
