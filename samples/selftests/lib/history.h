/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What programs did to the device, each thing with the time before and after it,
 * and the check of a recording (trace.h) against that: was everything durable
 * when a sync said so, and was nothing written back in vain?
 *
 * The proof is the trace: an emulated NVDIMM keeps also what was never written
 * back, so that no reboot would show a loss.
 */
#ifndef RDAX_SELFTEST_HISTORY_H
#define RDAX_SELFTEST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "trace.h"

#define HISTORY_LOGS	8
#define HISTORY_STORES	(1 << 16)	/* in each log */
#define HISTORY_CALLS	(1 << 16)

/* A store of one byte; ended by a signal, it may have made its page dirty. */
struct history_store {
	uint64_t before, after;		/* ns of CLOCK_MONOTONIC */
	uint64_t at;			/* byte of the device */
	bool done;
};

struct history_call {
	enum history_what {
		HISTORY_SYNC,		/* of the entries that reach into its range */
		HISTORY_PUNCH,
		HISTORY_UNBIND,		/* nobody can store when it returns */
	} what;
	bool ok;			/* it has returned, and without an error */
	pid_t tid;			/* who did it; 0: a thread not known */
	uint64_t begin, end;
	uint64_t first, behind;		/* bytes of the device */
};

/* To be shared by all who take part: see rdax_shared(). */
struct history {
	struct history_log {
		size_t count;
		struct history_store stores[HISTORY_STORES];
	} logs[HISTORY_LOGS];
	size_t calls_count;
	struct history_call calls[HISTORY_CALLS];
};

/*
 * Store to `map`, whose first byte is `offset` on the device, at byte `at` of the
 * device. A log has one writer at a time. 0, the signal that it raised, or -1
 * when the log is full.
 */
int history_store(struct history_log *log, char *map, uint64_t offset, uint64_t at);

/* Before and behind a call. Few more can be kept when it is full. */
bool history_full(const struct history *h);
/* How many syncs have returned without an error. */
size_t history_syncs(const struct history *h);
struct history_call *history_begin(struct history *h, enum history_what what,
				   uint64_t first, uint64_t behind);
void history_end(struct history_call *call, bool ok);

/* What is wrong, each with the number of cases; all 0 when it is right. */
struct history_verdict {
	/* Stores, and a sync began after one and returned before it was durable: */
	uint64_t not_written;		/* no write-back since the store */
	uint64_t not_flushed;		/* one, but no flush of the region behind it */
	uint64_t while_written;		/* stores to what was just being written back */
	/* Write-backs: */
	uint64_t clean;			/* nobody had stored there since the last */
	uint64_t astray;		/* by nobody who was asked to, or beyond the range */
	/* Syncs: */
	uint64_t no_flush;		/* none behind its last write-back, or it failed */

	/* What there was to check. */
	uint64_t stores, syncs, writebacks;
	char example[256];		/* of the first that is wrong */
};

void history_check(const struct history *h, const struct trace_call *trace, size_t count,
		   struct history_verdict *v);
/* The sum of what is wrong. */
uint64_t history_wrong(const struct history_verdict *v);

#endif /* RDAX_SELFTEST_HISTORY_H */
