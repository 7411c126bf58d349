// SPDX-License-Identifier: GPL-2.0
/*
 * The log of stores and syncs, and its check: see history.h.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kselftest.h"
#include "history.h"
#include "rdax.h"

int history_store(struct history_log *log, char *map, uint64_t offset, uint64_t at)
{
	struct history_store *store = &log->stores[log->count];
	int sig;

	if (log->count == HISTORY_STORES)
		return -1;
	store->at = at;
	store->before = trace_now();
	sig = rdax_store(map + (at - offset));
	store->after = trace_now();
	store->done = !sig;
	/* Others only read it when its writer is gone, or was killed in between. */
	__atomic_store_n(&log->count, log->count + 1, __ATOMIC_RELEASE);
	return sig;
}

bool history_full(const struct history *h)
{
	return __atomic_load_n(&h->calls_count, __ATOMIC_RELAXED) > HISTORY_CALLS - 100;
}

size_t history_syncs(const struct history *h)
{
	size_t calls = __atomic_load_n(&h->calls_count, __ATOMIC_RELAXED);
	size_t syncs = 0;

	for (size_t i = 0; i < calls && i < HISTORY_CALLS; i++)
		syncs += h->calls[i].what == HISTORY_SYNC &&
			 __atomic_load_n(&h->calls[i].ok, __ATOMIC_RELAXED);
	return syncs;
}

struct history_call *history_begin(struct history *h, enum history_what what,
				   uint64_t first, uint64_t behind)
{
	size_t i = __atomic_fetch_add(&h->calls_count, 1, __ATOMIC_RELAXED);
	struct history_call *call = &h->calls[i];

	if (i >= HISTORY_CALLS)
		ksft_exit_fail_msg("too many calls to keep\n");
	*call = (struct history_call) {
		.what = what,
		.tid = what == HISTORY_UNBIND ? 0 : gettid(),
		.begin = trace_now(),
		.end = UINT64_MAX,
		.first = first,
		.behind = behind,
	};
	return call;
}

void history_end(struct history_call *call, bool ok)
{
	call->end = trace_now();
	call->ok = ok;
}

/*
 * The check
 */

/* Calls by the time that they began: which one that began later ended first? */
struct spans {
	struct span {
		uint64_t begin, end;
	} *all;
	size_t count;
	uint64_t first, behind;		/* all of one range */
};

#define MAX_RANGES	64	/* of syncs */

struct check {
	struct history_verdict *v;
	const struct trace_call *trace;
	size_t count;
	struct {
		uint64_t last_write, last_flush;
		bool failed;
	} *seen;			/* of the calls */
	/* Of the trace: the call that it was done in, or -1; and had somebody stored? */
	long *calls_of;
	bool *needed;

	/* For each page its write-backs, as indices in the trace, in their order. */
	size_t pages, *begins;
	uint32_t *writes;

	struct spans flushes, syncs[MAX_RANGES];
	size_t ranges;
	uint64_t unbound;		/* when nobody could store any more */
	long unbind;			/* the call of the unbind, or -1 */
	struct history_call *calls;	/* by the time that they began */
	size_t calls_count;
};

static void *need(void *p)
{
	if (!p)
		ksft_exit_fail_msg("no memory for the check\n");
	return p;
}

#define wrong(c, what, fmt, ...) do {						\
	if (!history_wrong((c)->v))						\
		snprintf((c)->v->example, sizeof((c)->v->example),		\
			 #what ": " fmt, ##__VA_ARGS__);			\
	(c)->v->what++;								\
} while (0)

static int by_begin(const void *left, const void *right)
{
	const struct span *l = left, *r = right;

	return l->begin < r->begin ? -1 : l->begin > r->begin;
}

static void add_span(struct spans *spans, uint64_t begin, uint64_t end)
{
	if (!(spans->count & (spans->count - 1)))
		spans->all = need(realloc(spans->all, (spans->count * 2 ?: 1) *
					  sizeof(*spans->all)));
	spans->all[spans->count++] = (struct span) { begin, end };
}

/* From now on the end of each is the first end of those that begin no earlier. */
static void settle(struct spans *spans)
{
	if (!spans->count)
		return;
	qsort(spans->all, spans->count, sizeof(*spans->all), by_begin);
	for (size_t i = spans->count - 1; i; i--)
		if (spans->all[i - 1].end > spans->all[i].end)
			spans->all[i - 1].end = spans->all[i].end;
}

/* When the first of those that began after `time` has ended; never: UINT64_MAX. */
static uint64_t first_end_after(const struct spans *spans, uint64_t time)
{
	size_t low = 0, high = spans->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (spans->all[middle].begin > time)
			high = middle;
		else
			low = middle + 1;
	}
	return low < spans->count ? spans->all[low].end : UINT64_MAX;
}

static int calls_by_begin(const void *left, const void *right)
{
	const struct history_call *l = left, *r = right;

	return l->begin < r->begin ? -1 : l->begin > r->begin;
}

static void add_sync(struct check *c, const struct history_call *call)
{
	size_t i = 0;

	while (i < c->ranges && (c->syncs[i].first != call->first ||
				 c->syncs[i].behind != call->behind))
		i++;
	if (i == MAX_RANGES)
		ksft_exit_fail_msg("too many ranges to check\n");
	if (i == c->ranges) {
		c->ranges++;
		c->syncs[i].first = call->first;
		c->syncs[i].behind = call->behind;
	}
	add_span(&c->syncs[i], call->begin, call->end);
}

static void learn_calls(struct check *c, const struct history *h)
{
	size_t size = h->calls_count * sizeof(*h->calls);

	c->calls_count = h->calls_count;
	c->calls = need(malloc(size + 1));
	memcpy(c->calls, h->calls, size);
	qsort(c->calls, c->calls_count, sizeof(*c->calls), calls_by_begin);
	c->seen = need(calloc(c->calls_count + 1, sizeof(*c->seen)));
	c->unbound = UINT64_MAX;
	c->unbind = -1;
	for (size_t i = 0; i < c->calls_count; i++) {
		const struct history_call *call = &c->calls[i];

		if (!call->ok)
			continue;
		if (call->what == HISTORY_SYNC)
			add_sync(c, call);
		if (call->what == HISTORY_UNBIND && c->unbound > call->end) {
			c->unbound = call->end;
			c->unbind = i;
		}
		c->v->syncs += call->what == HISTORY_SYNC;
	}
	for (size_t i = 0; i < c->ranges; i++)
		settle(&c->syncs[i]);
}

/* The call in which a thread did that, or -1 if it was in none. */
static long call_of(const struct check *c, const struct trace_call *t)
{
	size_t low = 0, high = c->calls_count;
	long found = -1;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->calls[middle].begin > t->begin)
			high = middle;
		else
			low = middle + 1;
	}
	/* The unbind is long: many others may have begun since. */
	if (c->unbind >= 0 && c->unbind < (long)low && c->calls[c->unbind].end >= t->end)
		found = c->unbind;
	/* Otherwise it is one of the last that began, because few threads make calls. */
	for (size_t n = 0; low-- && n < 1000; n++) {
		const struct history_call *call = &c->calls[low];

		if (call->end < t->end)
			continue;
		if (call->tid == t->tid)
			return low;
	}
	return found;
}

/* By page, and for each page by time. */
static void learn_trace(struct check *c, const struct history *h)
{
	size_t *next;

	for (size_t i = 0; i < HISTORY_LOGS; i++)
		for (size_t n = 0; n < h->logs[i].count; n++)
			if (c->pages <= h->logs[i].stores[n].at / SZ_4K)
				c->pages = h->logs[i].stores[n].at / SZ_4K + 1;
	c->begins = need(calloc(c->pages + 2, sizeof(*c->begins)));
	for (int pass = 0; pass < 2; pass++) {
		next = c->begins + 1 - pass;
		for (size_t i = 0; i < c->count; i++) {
			const struct trace_call *t = &c->trace[i];
			uint64_t page = t->first / SZ_4K;

			if (t->what != TRACE_WB)
				continue;
			for (; page < c->pages && page * SZ_4K < t->behind; page++) {
				if (pass)
					c->writes[next[page]] = i;
				next[page]++;
			}
		}
		if (pass)
			break;
		for (size_t page = 0; page < c->pages; page++)
			c->begins[page + 1] += c->begins[page];
		c->writes = need(calloc(c->begins[c->pages] + 1, sizeof(*c->writes)));
	}
	/* The second pass has moved each to where the next begins. */
	memmove(c->begins + 1, c->begins, c->pages * sizeof(*c->begins));
	c->begins[0] = 0;

	c->needed = need(calloc(c->count + 1, sizeof(*c->needed)));
	c->calls_of = need(calloc(c->count + 1, sizeof(*c->calls_of)));
	for (size_t i = 0; i < c->count; i++)
		c->calls_of[i] = call_of(c, &c->trace[i]);
	for (size_t i = 0; i < c->count; i++)
		if (c->trace[i].what == TRACE_FLUSH && !c->trace[i].ret)
			add_span(&c->flushes, c->trace[i].begin, c->trace[i].end);
	settle(&c->flushes);
}

/* The first of the page's write-backs from..to that began after `time`. */
static size_t first_write_after(const struct check *c, size_t from, size_t to, uint64_t time)
{
	while (from < to) {
		size_t middle = (from + to) / 2;

		if (c->trace[c->writes[middle]].begin > time)
			to = middle;
		else
			from = middle + 1;
	}
	return from;
}

static bool covers(const struct trace_call *t, uint64_t at)
{
	return t->first <= at && at < t->behind;
}

/* The first return of a sync that promised this store; UINT64_MAX: none did. */
static uint64_t promised(const struct check *c, const struct history_store *s)
{
	uint64_t first = c->unbound;

	for (size_t i = 0; i < c->ranges; i++) {
		uint64_t end;

		if (s->at < c->syncs[i].first || s->at >= c->syncs[i].behind)
			continue;
		end = first_end_after(&c->syncs[i], s->after);
		first = end < first ? end : first;
	}
	return first;
}

static void check_store(struct check *c, const struct history_store *s)
{
	size_t page = s->at / SZ_4K, from = c->begins[page], to = c->begins[page + 1];
	size_t i = first_write_after(c, from, to, s->before);
	const struct trace_call *written = NULL, *t;
	uint64_t promise, flushed;

	/* Who wrote that back: perhaps while the store was waiting for its page. */
	for (size_t n = i; n < to; n++) {
		t = &c->trace[c->writes[n]];
		if (!covers(t, s->at))
			continue;
		written = written ?: t;
		c->needed[c->writes[n]] = true;
		if (t->begin > s->after)
			break;
	}
	if (!s->done)
		return;
	c->v->stores++;

	while (i-- > from) {
		long call = c->calls_of[c->writes[i]];

		t = &c->trace[c->writes[i]];
		if (!covers(t, s->at))
			continue;
		/* A punch may write back what it zeroes of a page that stays mapped. */
		if (s->after < t->end && (call < 0 || c->calls[call].what != HISTORY_PUNCH))
			wrong(c, while_written, "byte %#" PRIx64 " stored to at %" PRIu64
			      "..%" PRIu64 ", written back by %d at %" PRIu64 "..%" PRIu64,
			      s->at, s->before, s->after, t->tid, t->begin, t->end);
		break;
	}

	promise = promised(c, s);
	if (promise == UINT64_MAX)
		return;
	if (!written || written->end > promise) {
		wrong(c, not_written, "byte %#" PRIx64 " stored to at %" PRIu64 "..%" PRIu64
		      ", promised at %" PRIu64, s->at, s->before, s->after, promise);
		return;
	}
	flushed = first_end_after(&c->flushes, written->end);
	if (flushed > promise)
		wrong(c, not_flushed, "byte %#" PRIx64 " stored to at %" PRIu64 "..%" PRIu64
		      ", written back at %" PRIu64 ", promised at %" PRIu64,
		      s->at, s->before, s->after, written->end, promise);
}

static void check_write(struct check *c, size_t i)
{
	const struct trace_call *t = &c->trace[i];
	const struct history_call *call;
	uint64_t size = t->behind - t->first;
	long n = c->calls_of[i];

	c->v->writebacks++;
	if (n < 0) {
		wrong(c, astray, "%d wrote back %#" PRIx64 "..%#" PRIx64 " at %" PRIu64,
		      t->tid, t->first, t->behind, t->begin);
		return;
	}
	call = &c->calls[n];
	c->seen[n].last_write = t->end;
	/* A punch writes its zeroes back. */
	if (call->what == HISTORY_PUNCH && call->first <= t->first && t->behind <= call->behind)
		return;
	if (!size || size % SZ_4K || t->first % size || t->behind <= call->first ||
	    t->first >= call->behind)
		wrong(c, astray, "%d wrote back %#" PRIx64 "..%#" PRIx64 " for %#" PRIx64
		      "..%#" PRIx64, t->tid, t->first, t->behind, call->first, call->behind);
	if (!c->needed[i])
		wrong(c, clean, "%d wrote back %#" PRIx64 "..%#" PRIx64 " at %" PRIu64,
		      t->tid, t->first, t->behind, t->begin);
}

static void check_calls(struct check *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct trace_call *t = &c->trace[i];
		long n;

		if (t->what == TRACE_WB) {
			check_write(c, i);
			continue;
		}
		n = c->calls_of[i];
		if (n < 0)
			continue;
		c->seen[n].last_flush = t->begin;
		c->seen[n].failed |= t->ret != 0;
	}
	for (size_t i = 0; i < c->calls_count; i++) {
		const struct history_call *call = &c->calls[i];

		if (call->ok && (!c->seen[i].last_flush || c->seen[i].failed ||
				 c->seen[i].last_flush < c->seen[i].last_write))
			wrong(c, no_flush, "call %zu of %d, at %" PRIu64 "..%" PRIu64, i,
			      call->tid, call->begin, call->end);
	}
}

void history_check(const struct history *h, const struct trace_call *trace, size_t count,
		   struct history_verdict *v)
{
	struct check c = { .v = v, .trace = trace, .count = count };

	memset(v, 0, sizeof(*v));
	learn_calls(&c, h);
	learn_trace(&c, h);
	for (size_t i = 0; i < HISTORY_LOGS; i++)
		for (size_t n = 0; n < h->logs[i].count; n++)
			check_store(&c, &h->logs[i].stores[n]);
	check_calls(&c);

	free(c.calls);
	free(c.seen);
	free(c.needed);
	free(c.calls_of);
	free(c.begins);
	free(c.writes);
	free(c.flushes.all);
	for (size_t i = 0; i < c.ranges; i++)
		free(c.syncs[i].all);
}

uint64_t history_wrong(const struct history_verdict *v)
{
	return v->not_written + v->not_flushed + v->while_written + v->clean + v->astray +
	       v->no_flush;
}
