/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the parts of the benchmark: the target, its mappings, pages in an
 * order, time stamps and results. What each operation does is said where it is
 * defined.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KiB	(UINT64_C(1) << 10)
#define MiB	(UINT64_C(1) << 20)
#define GiB	(UINT64_C(1) << 30)

#define PAGE	(4 * KiB)
#define LEAF	(2 * MiB)

/* All operations stay in the first of these, but for the 1 GiB faults. */
#define RANGE	GiB

/* What is measured: a device, a file or, without a path, anonymous memory. */
struct target {
	const char *path;
	int fd;
	bool regular;
	unsigned int threads;	/* for the operations that have some */
	const char *operation;	/* what is to be done */
};

struct operation {
	const char *name;
	void (*run)(const struct target *target);
};

extern const struct operation fault_operations[];
extern const struct operation huge_operations[];
extern const struct operation map_operations[];
extern const struct operation sync_operations[];
extern const struct operation punch_operations[];
extern const struct operation rw_operations[];
extern const struct operation memory_operations[];
extern const struct operation parallel_operations[];
extern const struct operation coherence_operations[];

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/*
 * Time, in nanoseconds; where QEMU counts instructions, it is those. The cost of
 * looking at the clock is taken off.
 */
uint64_t now(void);
uint64_t since(uint64_t begin);

/* One result: what COUNT repetitions took together. */
void report(const char *operation, uint64_t total, uint64_t count);
void report_bytes(const char *operation, int64_t bytes);

/* The target can't do this; ends the program. */
_Noreturn void cannot(const char *operation, const char *why);

/* What a SIGBUS makes unavailable. */
void expect_sigbus(const char *operation);

/* What was put off by all that was done before is done now, not while something is timed. */
void settle(void);

/* How many faults this thread has had. */
uint64_t faults(void);

/*
 * A mapping of the target's first LENGTH bytes, in pages of at most that size: small
 * ones where nothing larger is allowed, 2 MiB where the address is no multiple of
 * 1 GiB, but this much above.
 */
enum pages { SMALL, HUGE, GIANT };
#define SHIFT	LEAF
char *map_target(const struct target *target, uint64_t length, enum pages pages);
void unmap(char *map, uint64_t length);

/* Offsets of pages, in the order in which to touch them. */
struct pages_list {
	size_t count;
	uint64_t *offsets;
};

/* COUNT pages, STEP bytes apart, from FROM on. */
struct pages_list sequential(uint64_t from, uint64_t step, size_t count);

/*
 * Random pages, always the same: one in each 256 KiB but the first of each 2 MiB, in
 * random order. Whatever a touch maps around itself, it maps none of the others, as
 * long as it stays in an aligned 256 KiB.
 */
struct pages_list scattered(uint64_t from, uint64_t length);

/*
 * COUNT pages, the second of each two from FROM on, in random order. A touch maps none of the others if
 * it maps ahead of itself only from the first of two.
 */
struct pages_list every_other(uint64_t from, size_t count);

struct pages_list backwards(struct pages_list pages);

/* The first page of each 2 MiB: with these, there are page tables for the others. */
struct pages_list table_makers(uint64_t length);

void touch(char *map, struct pages_list pages, bool write);

/* RUN in a child process, and wait for its end. */
void in_another_process(void (*run)(const struct target *target, void *argument),
			const struct target *target, void *argument);

#endif /* BENCH_H */
