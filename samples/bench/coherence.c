// SPDX-License-Identifier: GPL-2.0
/*
 * Operations of several CPUs that have nothing in common: each worker has its own CPU
 * and its own 32 MiB of the target. The workers take turns, one operation each, so that
 * a line of the cache that one has written and the next one uses is seen as such. QEMU's
 * plugin (scripts/plugin) records what the kernel does between two marks. Without it
 * nothing is measured.
 *
 * The target of the operations lock-* is the file `step` of samples/lock-comparison: each
 * write locks and unlocks a page. The module makes the marks, so that only its lock counts.
 *
 * The others sleep meanwhile. The main program stays on CPU 0, which no worker has, so
 * that the kernel's threads have one for themselves: the guest needs a CPU more than there
 * are workers.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "../../scripts/plugin/marks.h"

#define SHARE		(32 * MiB)	/* of each worker */
#define WARM_UPS	16		/* operations that are not counted */
#define COUNTED		48
#define HUGE_WARM_UPS	3
#define HUGE_COUNTED	12
/* Zeroing 2 MiB makes records of 32,768 lines. */
#define ZEROED_COUNTED	3
#define MARK_DELAY	20000		/* microseconds; arming takes effect a little later */
#define READ_SIZE	PAGE
/* The first page of an index needs no node of it. */
#define NOT_FIRST	(7 * PAGE)
#define NAME		"coherence-%s-%s"

enum action { TOUCH_TO_READ, TOUCH_TO_WRITE, SYNC, READ, WRITE, LOCK };

/* What an operation is, and what was done to the pages before. */
struct kind {
	const char *name;
	enum pages pages;
	enum action action;
	bool dense;
	bool one_page;		/* again and again, */
	uint64_t apart;		/* this far from that of the next worker */
	bool read_before, written_before, written_by_another;
	bool only_files, only_shared;
};

static const struct kind kinds[] = {
	{ .name = "write-4k", .pages = SMALL, .action = TOUCH_TO_WRITE },
	{ .name = "write-4k-dense", .pages = SMALL, .action = TOUCH_TO_WRITE, .dense = true },
	{ .name = "write-2m", .pages = HUGE, .action = TOUCH_TO_WRITE },
	{ .name = "read-4k", .pages = SMALL, .action = TOUCH_TO_READ },
	{ .name = "write-after-read-4k", .pages = SMALL, .action = TOUCH_TO_WRITE,
	  .read_before = true },
	{ .name = "write-existing-4k", .pages = SMALL, .action = TOUCH_TO_WRITE,
	  .written_by_another = true, .only_shared = true },
	{ .name = "sync-4k", .pages = SMALL, .action = SYNC, .written_before = true,
	  .only_files = true, .only_shared = true },
	{ .name = "pread-4k", .pages = SMALL, .action = READ, .only_files = true,
	  .only_shared = true },
	{ .name = "pwrite-4k", .pages = SMALL, .action = WRITE, .only_files = true,
	  .only_shared = true },
	{ .name = "lock-own-page", .action = LOCK, .one_page = true, .apart = SHARE },
	{ .name = "lock-own-pages", .action = LOCK },
	{ .name = "lock-near-pages", .action = LOCK, .one_page = true, .apart = MiB },
	{ .name = "lock-same-page", .action = LOCK, .one_page = true },
};

/*
 * In memory that processes share. STEP has for each worker, and then for the main program, how far
 * it may go.
 */
struct turns {
	unsigned int faults;
	unsigned int step[];
};

/* A worker's steps: the first is to prepare its pages, each further one is an operation. */
enum { PREPARE = 1, FIRST_ROUND };

struct crew {
	const struct kind *kind;
	const struct target *target;
	struct turns *turns;
	unsigned int warm_ups, rounds;
	char *map;		/* or NULL: each worker has one of its own */
	struct pages_list *pages;	/* of each worker */
};

struct worker {
	const struct crew *crew;
	unsigned int number;
	pthread_t thread;
};

static uint64_t length_of(const struct crew *crew)
{
	return crew->target->threads * SHARE;
}

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(EXIT_FAILURE, "CPU %u", cpu);
}

/* False if STEP has not come in time. */
static bool await(unsigned int *step, unsigned int value, const struct timespec *timeout)
{
	unsigned int found;

	while ((found = __atomic_load_n(step, __ATOMIC_ACQUIRE)) < value)
		if (syscall(SYS_futex, step, FUTEX_WAIT, found, timeout, NULL, 0) &&
		    errno == ETIMEDOUT)
			return false;
	return true;
}

static void allow(unsigned int *step, unsigned int value)
{
	__atomic_store_n(step, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, step, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/*
 * The next one may take this step, and after the last one the first one the next step. Between
 * preparation and operations is the main program.
 */
static void pass_on(const struct crew *crew, unsigned int number, unsigned int step)
{
	unsigned int *steps = crew->turns->step;

	if (number + 1 < crew->target->threads || step == PREPARE)
		allow(&steps[number + 1], step);
	else
		allow(&steps[0], step + 1);
}

/*
 * For a worker: pages in different 256 KiB, or dense, every other one; or the leaves. The
 * first leaf is for its page tables.
 */
static struct pages_list pages_of(const struct crew *crew, unsigned int number)
{
	uint64_t from = number * SHARE;

	if (crew->kind->one_page)
		return sequential(NOT_FIRST + number * crew->kind->apart, 0, WARM_UPS + COUNTED);
	if (crew->kind->pages == HUGE)
		return sequential(from + LEAF, LEAF, SHARE / LEAF - 1);
	if (crew->kind->dense)
		return every_other(from + LEAF, WARM_UPS + COUNTED);
	return scattered(from, SHARE);
}

static void make_tables(const struct crew *crew, char *map, unsigned int number)
{
	uint64_t step = crew->kind->pages == HUGE ? SHARE : LEAF;

	for (uint64_t offset = 0; offset < SHARE; offset += step)
		if (crew->kind->action == TOUCH_TO_READ)
			(void)__atomic_load_n(map + number * SHARE + offset, __ATOMIC_RELAXED);
		else
			__atomic_store_n(map + number * SHARE + offset, 1, __ATOMIC_RELAXED);
}

static void lock_once(int fd, uint64_t offset, bool warm_up)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "page=%" PRIu64 " warm-up=%d", offset / PAGE,
			      warm_up);

	if (write(fd, line, length) != length)
		err(EXIT_FAILURE, "%s", line);
}

static void prepare(const struct crew *crew, char *map, int fd, unsigned int number)
{
	const struct kind *kind = crew->kind;

	if (kind->action == LOCK) {
		for (unsigned int i = 0; i < crew->rounds; i++)
			lock_once(fd, crew->pages[number].offsets[i], true);
		return;
	}
	if (kind->action == READ || kind->action == WRITE)
		return;
	make_tables(crew, map, number);
	if (kind->read_before)
		touch(map, crew->pages[number], false);
	if (kind->written_before)
		touch(map, crew->pages[number], true);
}

static void do_once(const struct kind *kind, char *map, int fd, uint64_t offset, char *buffer)
{
	switch (kind->action) {
	case TOUCH_TO_READ:
		(void)__atomic_load_n(map + offset, __ATOMIC_RELAXED);
		break;
	case TOUCH_TO_WRITE:
		__atomic_store_n(map + offset, 1, __ATOMIC_RELAXED);
		break;
	case SYNC:
		if (msync(map + offset, PAGE, MS_SYNC))
			err(EXIT_FAILURE, "msync");
		break;
	case READ:
		if (pread(fd, buffer, READ_SIZE, offset) != (ssize_t)READ_SIZE)
			err(EXIT_FAILURE, "pread");
		break;
	case WRITE:
		if (pwrite(fd, buffer, READ_SIZE, offset) != (ssize_t)READ_SIZE)
			err(EXIT_FAILURE, "pwrite");
		break;
	case LOCK:
		break;
	}
}

static void take_turns(const struct crew *crew, unsigned int number, char *map, int fd)
{
	static __thread char buffer[READ_SIZE];
	uint64_t before;

	memset(buffer, 1, sizeof(buffer));
	before = faults();
	for (unsigned int round = 0; round < crew->rounds; round++) {
		uint64_t offset = crew->pages[number].offsets[round];

		await(&crew->turns->step[number], FIRST_ROUND + round, NULL);
		if (crew->kind->action == LOCK) {
			lock_once(fd, offset, round < crew->warm_ups);
		} else if (round < crew->warm_ups) {
			mark(MARK_WARM_UP);
			do_once(crew->kind, map, fd, offset, buffer);
			mark(MARK_END);
		} else {
			mark(MARK_OPERATION);
			do_once(crew->kind, map, fd, offset, buffer);
			mark(MARK_END);
		}
		if (round == crew->rounds - 1)
			crew->turns->faults += faults() - before;
		pass_on(crew, number, FIRST_ROUND + round);
	}
	/* no worker ends before all are done: another one would get its memory */
	await(&crew->turns->step[number], FIRST_ROUND + crew->rounds, NULL);
	pass_on(crew, number, FIRST_ROUND + crew->rounds);
}

static void *work(void *data)
{
	struct worker *worker = data;
	const struct crew *crew = worker->crew;
	struct target own = *crew->target;
	char *map = crew->map;

	pin(worker->number + 1);
	if (!map) {
		if (own.path) {
			own.fd = open(own.path, O_RDWR | O_CLOEXEC);
			if (own.fd < 0)
				err(EXIT_FAILURE, "%s", own.path);
		}
		if (crew->kind->action != LOCK)
			map = map_target(&own, length_of(crew), crew->kind->pages);
	}
	/* one after the other, so that it is always the same */
	await(&crew->turns->step[worker->number], PREPARE, NULL);
	prepare(crew, map, own.fd, worker->number);
	pass_on(crew, worker->number, PREPARE);
	take_turns(crew, worker->number, map, own.fd);
	return NULL;
}

static void begin(const struct crew *crew)
{
	static const struct timespec poll = { .tv_sec = 1 };
	unsigned int *steps = crew->turns->step;

	allow(&steps[0], PREPARE);
	while (!await(&steps[crew->target->threads], PREPARE, &poll))
		if (waitpid(-1, NULL, WNOHANG) > 0)
			errx(EXIT_FAILURE, "a process failed");
	mark(MARK_ARM);
	usleep(MARK_DELAY);
	allow(&steps[0], FIRST_ROUND);
}

static void in_threads(struct crew *crew)
{
	unsigned int count = crew->target->threads;
	struct worker *workers = calloc(count, sizeof(*workers));

	if (!workers)
		err(EXIT_FAILURE, "no memory");
	crew->map = map_target(crew->target, length_of(crew), crew->kind->pages);
	for (unsigned int i = 0; i < count; i++) {
		workers[i] = (struct worker){ .crew = crew, .number = i };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			errx(EXIT_FAILURE, "no thread");
	}
	begin(crew);
	for (unsigned int i = 0; i < count; i++)
		pthread_join(workers[i].thread, NULL);
	free(workers);
}

static void in_processes(struct crew *crew)
{
	for (unsigned int i = 0; i < crew->target->threads; i++) {
		struct worker worker = { .crew = crew, .number = i };
		pid_t child = fork();

		if (child < 0)
			err(EXIT_FAILURE, "fork");
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(&worker);
			_exit(EXIT_SUCCESS);
		}
	}
	begin(crew);
	for (unsigned int i = 0; i < crew->target->threads; i++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
			errx(EXIT_FAILURE, "a process failed");
	}
}

static void touch_all(const struct target *target, void *data)
{
	struct crew *crew = data;
	char *map = map_target(target, length_of(crew), crew->kind->pages);

	for (unsigned int i = 0; i < target->threads; i++)
		touch(map, crew->pages[i], true);
}

static void must_be_able(const struct crew *crew)
{
	char byte;

	if (crew->kind->only_shared && !crew->target->path)
		cannot(crew->target->operation, "not shared");
	if (crew->kind->only_files && pread(crew->target->fd, &byte, 1, 0) != 1)
		cannot(crew->target->operation, "not a file");
}

static void rounds_of(struct crew *crew)
{
	if (crew->kind->pages != HUGE) {
		crew->warm_ups = WARM_UPS;
		crew->rounds = WARM_UPS + COUNTED;
		return;
	}
	crew->warm_ups = HUGE_WARM_UPS;
	crew->rounds = HUGE_WARM_UPS + (crew->target->path ? HUGE_COUNTED : ZEROED_COUNTED);
}

static struct pages_list *pages_of_all(const struct crew *crew)
{
	unsigned int count = crew->target->threads;
	struct pages_list *pages = calloc(count, sizeof(*pages));

	if (!pages)
		err(EXIT_FAILURE, "no memory");
	for (unsigned int i = 0; i < count; i++)
		pages[i] = pages_of(crew, i);
	return pages;
}

static const struct kind *kind_of(const char *operation, bool *threads)
{
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(name, sizeof(name), NAME, kinds[i].name, "threads");
		*threads = !strcmp(name, operation);
		if (*threads)
			return &kinds[i];
		snprintf(name, sizeof(name), NAME, kinds[i].name, "processes");
		if (!strcmp(name, operation))
			return &kinds[i];
	}
	errx(EXIT_FAILURE, "%s: no such operation", operation);
}

/* The plugin's trace is followed by a line that says so, whatever comes of it. */
static void run(const struct target *target)
{
	struct crew crew = { .target = target };
	size_t size = sizeof(*crew.turns) + (target->threads + 1) * sizeof(*crew.turns->step);
	bool threads;
	unsigned int all;

	crew.kind = kind_of(target->operation, &threads);
	must_be_able(&crew);
	rounds_of(&crew);
	all = crew.rounds * target->threads;
	crew.pages = pages_of_all(&crew);
	crew.turns = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (crew.turns == MAP_FAILED)
		err(EXIT_FAILURE, "no memory");
	pin(0);
	if (crew.kind->written_by_another)
		in_another_process(touch_all, target, &crew);
	if (threads)
		in_threads(&crew);
	else
		in_processes(&crew);
	mark(MARK_DISARM);
	usleep(MARK_DELAY);
	printf("{\"operation\": \"%s\", \"recorded\": %u}\n", target->operation, all);
	if (crew.kind->action <= TOUCH_TO_WRITE && crew.turns->faults < all)
		cannot(target->operation, "no fault");
	report(target->operation, 0, (crew.rounds - crew.warm_ups) * target->threads);
}

const struct operation coherence_operations[] = {
	{ "coherence-write-4k-processes", run },
	{ "coherence-write-4k-threads", run },
	{ "coherence-write-4k-dense-processes", run },
	{ "coherence-write-4k-dense-threads", run },
	{ "coherence-write-2m-processes", run },
	{ "coherence-write-2m-threads", run },
	{ "coherence-read-4k-processes", run },
	{ "coherence-read-4k-threads", run },
	{ "coherence-write-after-read-4k-processes", run },
	{ "coherence-write-after-read-4k-threads", run },
	{ "coherence-write-existing-4k-processes", run },
	{ "coherence-write-existing-4k-threads", run },
	{ "coherence-sync-4k-processes", run },
	{ "coherence-sync-4k-threads", run },
	{ "coherence-pread-4k-processes", run },
	{ "coherence-pread-4k-threads", run },
	{ "coherence-pwrite-4k-processes", run },
	{ "coherence-pwrite-4k-threads", run },
	{ "coherence-lock-own-page-processes", run },
	{ "coherence-lock-own-pages-processes", run },
	{ "coherence-lock-near-pages-processes", run },
	{ "coherence-lock-same-page-processes", run },
	{ }
};
