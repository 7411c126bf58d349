// SPDX-License-Identifier: GPL-2.0
/*
 * Shared by the tests that record what the kernel does: see trace.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "rdax.h"
#include "trace.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/rdax"
#define SLOW		TRACEFS "/instances/rdax_slow"
#define BUFFER_KB	"16384"		/* for each CPU */

#define fail(fmt, ...)	ksft_exit_fail_msg("trace: " fmt "\n", ##__VA_ARGS__)

enum kind { WB, WB_END, FLUSH, FLUSH_END, ZERO, FENCE_END, KINDS };

static const char * const names[KINDS] = {
	"rdax_wb", "rdax_wb_end", "rdax_flush", "rdax_flush_end", "rdax_zeroes", "rdax_fence_end",
};

static const char probes[] =
	"p:rdax/rdax_wb arch_wb_cache_pmem addr=$arg1:x64 size=$arg2:u64\n"
	"r:rdax/rdax_wb_end arch_wb_cache_pmem\n"
	"p:rdax/rdax_flush nvdimm_flush\n"
	"r:rdax/rdax_flush_end nvdimm_flush ret=$retval:s32\n"
	"p:rdax/rdax_zeroes rdax:rust_helper_zero_flushcache addr=$arg1:x64 size=$arg2:u64\n"
	"r:rdax/rdax_fence_end rdax:rust_helper_wmb\n";

/* Each takes its time in each call. */
#define SLOW_PROBES	16
#define SLOW_NAME	"rdax_slow%d"

/* Where the fields are in a record, as the kernel describes it. */
static struct {
	unsigned int id;
	size_t pid, addr, size, ret;
} formats[KINDS];

struct event {
	uint64_t time, addr, size;
	enum kind kind;
	pid_t tid;
	int ret;
};

static struct {
	struct event *all;
	size_t count, room;
} events;

static uint64_t media;

uint64_t trace_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

/*
 * Files of tracefs
 */

static int write_to(const char *path, int flags, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static void set(const char *name, const char *text)
{
	char path[128];
	int ret;

	snprintf(path, sizeof(path), INSTANCE "/%s", name);
	ret = write_to(path, O_TRUNC, text);
	if (ret)
		fail("%s: %s", path, strerror(-ret));
}

static const char *get(const char *path)
{
	static char buf[1 << 14];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, more;

	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	do {
		more = read(fd, buf + n, sizeof(buf) - 1 - n);
		n += more;
	} while (more > 0);
	close(fd);
	if (more < 0 || n == sizeof(buf) - 1)
		fail("%s: can't read it all", path);
	buf[n] = '\0';
	return buf;
}

static size_t offset_of(const char *format, const char *field)
{
	char what[64];
	size_t offset;
	const char *at;

	snprintf(what, sizeof(what), " %s;", field);
	at = strstr(format, what);
	at = at ? strstr(at, "offset:") : NULL;
	if (!at || sscanf(at, "offset:%zu;", &offset) != 1)
		fail("no field %s", field);
	return offset;
}

static void learn_formats(void)
{
	for (int i = 0; i < KINDS; i++) {
		const char *format;
		char path[128];

		snprintf(path, sizeof(path), INSTANCE "/events/rdax/%s/format", names[i]);
		format = get(path);
		if (sscanf(strstr(format, "ID:") ?: "", "ID: %u", &formats[i].id) != 1)
			fail("%s: no ID", path);
		formats[i].pid = offset_of(format, "common_pid");
		if (i == WB || i == ZERO) {
			formats[i].addr = offset_of(format, "addr");
			formats[i].size = offset_of(format, "size");
		}
		if (i == FLUSH_END)
			formats[i].ret = offset_of(format, "ret");
	}
}

static void remove_probe(const char *name)
{
	char text[64];

	snprintf(text, sizeof(text), "-:rdax/%s\n", name);
	write_to(TRACEFS "/kprobe_events", O_APPEND, text);
}

void trace_slow_end(void)
{
	char name[32];

	rmdir(SLOW);
	for (int i = 0; i < 2 * SLOW_PROBES; i++) {
		snprintf(name, sizeof(name), SLOW_NAME, i);
		remove_probe(name);
	}
}

/* Also what a program that was killed has left. */
static void remove_all(void)
{
	trace_slow_end();
	write_to(INSTANCE "/events/rdax/enable", 0, "0");
	rmdir(INSTANCE);
	for (int i = 0; i < KINDS; i++)
		remove_probe(names[i]);
}

static pid_t main_pid;

static void trace_end(void)
{
	if (getpid() == main_pid)
		remove_all();
}

void trace_begin(void)
{
	int ret;

	if (access(TRACEFS "/instances", F_OK))
		mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	if (access(TRACEFS "/kprobe_events", F_OK)) {
		ksft_print_header();
		ksft_exit_skip("the kernel has no kprobe events\n");
	}
	remove_all();
	main_pid = getpid();
	atexit(trace_end);
	ret = write_to(TRACEFS "/kprobe_events", O_APPEND, probes);
	if (!ret && mkdir(INSTANCE, 0700))
		ret = -errno;
	if (ret) {
		ksft_print_header();
		fail("can't set it up: %s", strerror(-ret));
	}
	set("tracing_on", "0");
	set("trace_clock", "mono");
	set("buffer_size_kb", BUFFER_KB);
	/* Rather lose the newest, and tell. */
	set("options/overwrite", "0");
	learn_formats();
	for (int i = 0; i < KINDS; i++) {
		char path[64];

		snprintf(path, sizeof(path), "events/rdax/%s/enable", names[i]);
		set(path, "1");
	}
}

/* Stack traces at each entry (p) or return (r) of these functions. */
static void set_slow(char where, const char *even, const char *odd, bool slow)
{
	int ret = slow && mkdir(SLOW, 0700) ? -errno : 0;
	char text[128];

	for (int i = 0; !ret && i < 2 * SLOW_PROBES; i++) {
		if (slow) {
			snprintf(text, sizeof(text), "%c:rdax/" SLOW_NAME " %s\n", where, i,
				 i % 2 ? odd : even);
			ret = write_to(TRACEFS "/kprobe_events", O_APPEND, text);
		}
		snprintf(text, sizeof(text), SLOW "/events/rdax/" SLOW_NAME "/trigger", i);
		ret = ret ?: write_to(text, O_APPEND, slow ? "stacktrace" : "!stacktrace");
	}
	if (ret)
		fail("slow %s: %s", even, strerror(-ret));
	if (!slow)
		trace_slow_end();
}

void trace_slow_faults(bool slow)
{
	set_slow('r', "vmf_insert_pfn_prot", "vmf_insert_pfn_pmd", slow);
}

void trace_slow_write_backs(bool slow)
{
	set_slow('p', "arch_wb_cache_pmem", "arch_wb_cache_pmem", slow);
}

/*
 * The ring buffer of a CPU, a page at a time: the time of the first event, the
 * length, and records with the time since the one before
 * (include/linux/ring_buffer.h in the kernel).
 */

#define PADDING		29
#define TIME_EXTEND	30
#define TIME_STAMP	31
#define MISSED		(UINT64_C(3) << 30)

static uint64_t u64_at(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t u32_at(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void add_event(uint64_t time, const char *record)
{
	unsigned int id = u32_at(record) & 0xffff;
	struct event *e;
	int i = 0;

	while (i < KINDS && formats[i].id != id)
		i++;
	if (i == KINDS)
		fail("an event of unknown type %u", id);
	if (events.count == events.room) {
		events.room = events.room * 2 ?: 4096;
		events.all = realloc(events.all, events.room * sizeof(*e));
		if (!events.all)
			fail("no memory");
	}
	e = &events.all[events.count++];
	*e = (struct event) {
		.time = time,
		.kind = i,
		.tid = (pid_t)u32_at(record + formats[i].pid),
	};
	if (i == WB || i == ZERO) {
		e->addr = u64_at(record + formats[i].addr);
		e->size = u64_at(record + formats[i].size);
	}
	if (i == FLUSH_END)
		e->ret = (int)u32_at(record + formats[i].ret);
}

static void add_page(const char *page, size_t size)
{
	uint64_t time = u64_at(page), length = u64_at(page + 8);
	const char *p = page + 16, *end;

	if (length & MISSED)
		fail("events were lost");
	end = p + length;
	if (end > page + size)
		fail("a page of %zu bytes with %" PRIu64, size, length);
	while (p < end) {
		uint32_t type = u32_at(p) & 31, delta = u32_at(p) >> 5;

		switch (type) {
		case PADDING:
			if (!delta)
				return;
			time += delta;
			p += 4 + u32_at(p + 4);
			break;
		case TIME_EXTEND:
			time += delta + ((uint64_t)u32_at(p + 4) << 27);
			p += 8;
			break;
		case TIME_STAMP:
			time = delta + ((uint64_t)u32_at(p + 4) << 27);
			p += 8;
			break;
		case 0:
			time += delta;
			add_event(time, p + 8);
			p += 4 + u32_at(p + 4);
			break;
		default:
			time += delta;
			add_event(time, p + 4);
			p += 4 + 4 * type;
		}
	}
}

static void read_cpu(int cpu)
{
	static char page[1 << 16];
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), INSTANCE "/per_cpu/cpu%d/trace_pipe_raw", cpu);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	while ((n = read(fd, page, sizeof(page))) > 0)
		add_page(page, n);
	if (n < 0 && errno != EAGAIN)
		fail("%s: %s", path, strerror(errno));
	close(fd);
}

/* Did the ring buffer have room, and each probe what it needs, for all events? */
static void nothing_lost(int cpu)
{
	static const char * const losses[] = {
		"\noverrun: ", "commit overrun: ", "dropped events: ",
	};
	const char *text, *at;
	uint64_t lost;
	char path[128];

	snprintf(path, sizeof(path), INSTANCE "/per_cpu/cpu%d/stats", cpu);
	text = get(path);
	for (size_t i = 0; i < ARRAY_SIZE(losses); i++) {
		at = strstr(text, losses[i]);
		if (!at || sscanf(at + strlen(losses[i]), "%" SCNu64, &lost) != 1 || lost)
			fail("events were lost on CPU %d:\n%s", cpu, text);
	}
	text = get(TRACEFS "/kprobe_profile");
	for (int i = 0; i < KINDS; i++) {
		snprintf(path, sizeof(path), " %s ", names[i]);
		at = strstr(text, path);
		if (!at || sscanf(at, " %*s %*u %" SCNu64, &lost) != 1 || lost)
			fail("probes were missed:\n%s", text);
	}
}

static int by_time(const void *left, const void *right)
{
	const struct event *l = left, *r = right;

	if (l->time != r->time)
		return l->time < r->time ? -1 : 1;
	return (int)l->kind - (int)r->kind;
}

void trace_start(void)
{
	set("tracing_on", "0");
	set("trace", "");
	set("tracing_on", "1");
}

/*
 * The return that belongs to the entry `at`: the next of that thread. For zeroes
 * that go around the caches it is that of a fence, before the thread does anything else.
 */
static const struct event *end_of(const struct event *at)
{
	const struct event *end = at + 1;

	while (end < events.all + events.count &&
	       (end->tid != at->tid || end->kind != at->kind + 1)) {
		if (end->tid == at->tid && at->kind == ZERO)
			fail("zeroes without a fence");
		end++;
	}
	return end < events.all + events.count ? end : NULL;
}

size_t trace_stop(const struct trace_call **result)
{
	static struct trace_call *calls;
	size_t count = 0, returns = 0, zeroes = 0;

	set("tracing_on", "0");
	events.count = 0;
	for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		nothing_lost(cpu);
		read_cpu(cpu);
	}
	qsort(events.all, events.count, sizeof(*events.all), by_time);

	free(calls);
	calls = calloc(events.count + 1, sizeof(*calls));
	if (!calls)
		fail("no memory");
	for (size_t i = 0; i < events.count; i++) {
		const struct event *e = &events.all[i], *end;
		struct trace_call *call = &calls[count];

		returns += e->kind == WB_END || e->kind == FLUSH_END;
		if (e->kind != WB && e->kind != FLUSH && e->kind != ZERO)
			continue;
		end = end_of(e);
		if (!end)
			fail("a call that did not return");
		count++;
		zeroes += e->kind == ZERO;
		call->what = e->kind == FLUSH ? TRACE_FLUSH : TRACE_WB;
		call->zeroes = e->kind == ZERO;
		call->tid = e->tid;
		call->begin = e->time;
		call->end = end->time;
		call->ret = end->ret;
		if (e->kind != FLUSH) {
			call->first = e->addr - media;
			call->behind = call->first + e->size;
		}
	}
	if (count != returns + zeroes)
		fail("%zu calls and %zu returns", count - zeroes, returns);
	*result = calls;
	return count;
}

void trace_find_media(int fd)
{
	const struct trace_call *calls;
	int ret;

	media = 0;
	trace_start();
	ret = rdax_zero(fd, 0, SZ_4K);
	if (ret)
		fail("can't zero a page: %s", strerror(-ret));
	if (trace_stop(&calls) < 1 || !calls->zeroes ||
	    calls->behind - calls->first != SZ_4K)
		fail("zeroing a page did not zero that page");
	media = calls->first;
}
