/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel really does for durability: each range that it hands to the
 * cache write-back (arch_wb_cache_pmem()) and each flush of a region
 * (nvdimm_flush()), as kprobe events of the stock kernel record them in a
 * tracing instance of our own. Nothing of it depends on what rdax says of itself.
 * But zeroes go around the caches, by a function of the module's own, and need a
 * fence (wmb()) instead of a write-back.
 */
#ifndef RDAX_SELFTEST_TRACE_H
#define RDAX_SELFTEST_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One call, from its entry to its return, in ns of CLOCK_MONOTONIC. */
struct trace_call {
	enum { TRACE_WB, TRACE_FLUSH } what;
	pid_t tid;
	uint64_t begin, end;
	uint64_t first, behind;	/* of TRACE_WB: bytes of the device */
	int ret;		/* of TRACE_FLUSH */
	bool zeroes;		/* TRACE_WB that went around the caches, to the end of its fence */
};

/*
 * Call in main(), after rdax_begin(): ends the program with SKIP where the kernel
 * can't record. What was set up goes at exit.
 */
void trace_begin(void);

/*
 * Learn where the kernel sees the media that is bound now. The first page of the
 * device is zeroed for that, and the recording used.
 */
void trace_find_media(int fd);

/*
 * Record anew; stop and read: the calls by the time of their entry, valid until
 * the next call. An event that was lost ends the test program.
 */
void trace_start(void);
size_t trace_stop(const struct trace_call **calls);

/*
 * From now on a fault takes its time between the moment when the page is mapped and
 * the end of the handler: races with it are seen that else happen once in a year.
 */
void trace_slow_faults(bool slow);

/* The same for each write-back, from its entry on. Not both at once. */
void trace_slow_write_backs(bool slow);

/* Ends both, if a test that failed has left them. */
void trace_slow_end(void);

uint64_t trace_now(void);

#endif /* RDAX_SELFTEST_TRACE_H */
