// SPDX-License-Identifier: GPL-2.0
/*
 * Write faults of 4 KiB by several threads at the same time. All of them together have
 * always the same number of faults, and what it takes is the time from the first
 * one's begin to the last one's end.
 */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define AREA		(2 * GiB)
#define MAPPINGS	4096	/* of one page */

/* In memory that processes share. */
struct worker {
	struct crew *crew;
	char *map;		/* or NULL: one of its own */
	struct pages_list pages;
	uint64_t begin, end;
};

struct crew {
	const struct target *target;
	unsigned int ready;
	struct worker workers[];
};

static struct crew *new_crew(const struct target *target)
{
	size_t size = sizeof(struct crew) + target->threads * sizeof(struct worker);
	struct crew *crew = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				 -1, 0);

	if (crew == MAP_FAILED)
		err(EXIT_FAILURE, "no memory");
	crew->target = target;
	for (unsigned int i = 0; i < target->threads; i++)
		crew->workers[i].crew = crew;
	return crew;
}

static void *work(void *data)
{
	struct worker *worker = data;
	struct crew *crew = worker->crew;

	if (!worker->map) {
		worker->map = map_target(crew->target, AREA, SMALL);
		touch(worker->map, table_makers(AREA), true);
	}
	/* nobody begins while another is not there yet, and nobody sleeps */
	__atomic_add_fetch(&crew->ready, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&crew->ready, __ATOMIC_ACQUIRE) < crew->target->threads)
		;
	worker->begin = now();
	touch(worker->map, worker->pages, true);
	worker->end = now();
	return NULL;
}

static void in_threads(struct crew *crew)
{
	unsigned int count = crew->target->threads;
	pthread_t *threads = calloc(count, sizeof(*threads));

	if (!threads)
		err(EXIT_FAILURE, "no memory");
	for (unsigned int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, work, &crew->workers[i]))
			errx(EXIT_FAILURE, "no thread");
	for (unsigned int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

static void in_processes(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->target->threads; i++) {
		pid_t child = fork();

		if (child < 0)
			err(EXIT_FAILURE, "fork");
		if (!child) {
			work(&crew->workers[i]);
			_exit(EXIT_SUCCESS);
		}
	}
	for (unsigned int i = 0; i < crew->target->threads; i++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
			errx(EXIT_FAILURE, "a process failed");
	}
}

/* OPERATION-THREADS */
static const char *with_threads(const char *operation, const struct target *target)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s-%u", operation, target->threads);
	return name;
}

static void report_crew(const char *operation, const struct crew *crew)
{
	uint64_t begin = UINT64_MAX, end = 0, count = 0;

	for (unsigned int i = 0; i < crew->target->threads; i++) {
		const struct worker *worker = &crew->workers[i];

		if (worker->begin < begin)
			begin = worker->begin;
		if (worker->end > end)
			end = worker->end;
		count += worker->pages.count;
	}
	report(with_threads(operation, crew->target), end - begin, count);
}

/* Each worker has a part of the area to itself. */
static void share_out(struct crew *crew, char *map)
{
	uint64_t part = AREA / crew->target->threads / LEAF * LEAF;

	for (unsigned int i = 0; i < crew->target->threads; i++) {
		crew->workers[i].map = map;
		crew->workers[i].pages = scattered(i * part, part);
	}
}

static void threads_disjoint(const struct target *target)
{
	struct crew *crew = new_crew(target);
	char *map = map_target(target, AREA, SMALL);

	touch(map, table_makers(AREA), true);
	share_out(crew, map);
	in_threads(crew);
	report_crew("threads-disjoint", crew);
}

static void processes_disjoint(const struct target *target)
{
	struct crew *crew = new_crew(target);

	share_out(crew, NULL);
	in_processes(crew);
	report_crew("processes-disjoint", crew);
}

/* The page is mapped side by side, MAPPINGS times, and each thread touches its share of them. */
static void threads_one_page(const struct target *target)
{
	struct crew *crew = new_crew(target);
	size_t share = MAPPINGS / target->threads;
	char *area;

	if (!target->path)
		cannot(with_threads("threads-one-page", target), "not shared");
	area = map_target(target, MAPPINGS * PAGE, SMALL);
	for (size_t i = 0; i < MAPPINGS; i++)
		if (mmap(area + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 target->fd, 0) == MAP_FAILED)
			err(EXIT_FAILURE, "mmap");
	for (unsigned int i = 0; i < target->threads; i++) {
		crew->workers[i].map = area;
		crew->workers[i].pages = sequential(i * share * PAGE, PAGE, share);
	}
	in_threads(crew);
	report_crew("threads-one-page", crew);
}

const struct operation parallel_operations[] = {
	{ "threads-disjoint", threads_disjoint },
	{ "processes-disjoint", processes_disjoint },
	{ "threads-one-page", threads_one_page },
	{ }
};
