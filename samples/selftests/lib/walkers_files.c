// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of the test `walkers` by files of the kernel, and its daemons.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "rdax.h"
#include "walkers.h"

static int put(const char *path, const char *format, ...)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), len, ret;
	char text[128];
	va_list args;

	if (fd < 0)
		return -errno;
	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ret = write(fd, text, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

static long number_in(const char *path)
{
	return atol(rdax_text(path));
}

static int read_all(const char *path)
{
	static char buf[SZ_4K];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf, sizeof(buf));
	} while (n > 0);
	close(fd);
	return n ? -errno : 0;
}

/*
 * /proc
 */

static const char * const maps[] = {
	"/proc/self/maps", "/proc/self/smaps", "/proc/self/smaps_rollup", "/proc/self/numa_maps",
};

static int show(const struct walked *w, long arg)
{
	return read_all(maps[arg]);
}

static int show_pagemap(const struct walked *w, long arg)
{
	size_t size = w->len / SZ_4K * sizeof(uint64_t);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), ret = 0;
	void *buf = malloc(size);

	if (fd < 0 || !buf)
		return -errno;
	if (pread(fd, buf, size, (uintptr_t)w->map / SZ_4K * sizeof(uint64_t)) != (ssize_t)size)
		ret = -EIO;
	close(fd);
	return ret;
}

static int scan(const struct walked *w, long arg)
{
	static struct page_region regions[64];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.flags = arg,
		.start = (uintptr_t)w->map,
		.end = (uintptr_t)w->map + w->len,
		.vec = (uintptr_t)regions,
		.vec_len = ARRAY_SIZE(regions),
		.category_anyof_mask = arg & PM_SCAN_WP_MATCHING ? PAGE_IS_WRITTEN : 0x7f,
		.return_mask = 0x7f,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, PAGEMAP_SCAN, &scan) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int clear(const struct walked *w, long arg)
{
	return put("/proc/self/clear_refs", "%ld", arg);
}

/*
 * Files for root
 */

static int split_pages(const struct walked *w, long arg)
{
	return put("/sys/kernel/debug/split_huge_pages", "%d,0x%lx,0x%lx", getpid(),
		   (unsigned long)w->map, (unsigned long)(w->map + w->len));
}

static uint64_t frame_of(const struct walked *w)
{
	return (rdax_attr("resource") + w->offset) / SZ_4K;
}

static int page_file(const struct walked *w, long arg)
{
	static const char * const files[] = {
		"/proc/kpageflags", "/proc/kpagecount", "/proc/kpagecgroup",
		"/sys/kernel/mm/page_idle/bitmap",
	};
	off_t at = arg == 3 ? frame_of(w) / 64 * 8 : frame_of(w) * 8;
	uint64_t words[64] = { 0 };
	int fd = open(files[arg], arg == 3 ? O_RDWR : O_RDONLY), ret;

	if (fd < 0)
		return -errno;
	ret = pread(fd, words, sizeof(words), at) < 0 ? -errno : 0;
	/* All of them are idle. */
	memset(words, 0xff, sizeof(words));
	if (arg == 3 && pwrite(fd, words, sizeof(words), at) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int soft_offline(const struct walked *w, long arg)
{
	return put("/sys/devices/system/memory/soft_offline_page", "0x%llx",
		   (unsigned long long)frame_of(w) * SZ_4K);
}

static int uprobe(const struct walked *w, long arg)
{
	char probe[96];

	snprintf(probe, sizeof(probe), "p:walkers %s:0x0", RDAX_NODE);
	return put("/sys/kernel/debug/tracing/uprobe_events", probe);
}

static int reclaim_node(const struct walked *w, long arg)
{
	return put("/sys/devices/system/node/node0/reclaim", "8M");
}

static int compact(const struct walked *w, long arg)
{
	return put("/proc/sys/vm/compact_memory", "1");
}

#define WP_ASYNC	(PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC)

const struct walk proc_walks[] = {
	{ "maps", show, 0, 0, 0 },
	{ "smaps", show, 1, 0, 0 },
	{ "smaps_rollup", show, 2, 0, 0 },
	{ "numa_maps", show, 3, 0, 0 },
	{ "pagemap", show_pagemap, 0, 0, 0 },
	{ "PAGEMAP_SCAN", scan, 0, 0, 0 },
	{ "PAGEMAP_SCAN, protecting", scan, PM_SCAN_WP_MATCHING, 0, 0 },
	{ "PAGEMAP_SCAN, protecting or failing", scan, WP_ASYNC, -EPERM, -EPERM },
	{ "clear_refs 1", clear, 1, 0, 0 },
	{ "clear_refs 2", clear, 2, 0, 0 },
	{ "clear_refs 3", clear, 3, 0, 0 },
	{ "clear_refs 4", clear, 4, 0, 0 },
	{ "clear_refs 5", clear, 5, 0, 0 },
	/* Not in every kernel. */
	{ "split_huge_pages", split_pages, 0, 0, EITHER, ROOT },
	{ "kpageflags", page_file, 0, 0, EITHER, ROOT },
	{ "kpagecount", page_file, 1, 0, EITHER, ROOT },
	{ "kpagecgroup", page_file, 2, 0, EITHER, ROOT },
	{ "page_idle", page_file, 3, 0, EITHER, ROOT },
	{ "soft_offline_page", soft_offline, 0, 0, EITHER, ROOT },
	{ "uprobe_events", uprobe, 0, 0, EITHER, ROOT },
	{ "reclaim", reclaim_node, 0, 0, EITHER, ROOT },
	{ "compact_memory", compact, 0, 0, EITHER, ROOT },
	{ NULL },
};

/*
 * Daemons
 */

/*
 * Until it has begun and ended a scan since; -ETIME if it never does. It does not run for
 * memory that it can do nothing with: so there is other memory, beside.
 */
static int full_scan(const struct walked *w, const char *path, int advice)
{
	char *other = mmap(NULL, 2 * SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	long first;

	if (other == MAP_FAILED || madvise(other, 2 * SZ_2M, advice))
		return -errno;
	memset(other, 1, 2 * SZ_2M);
	madvise(w->map, w->len, advice);
	first = number_in(path);
	for (int i = 0; i < RDAX_PATIENCE * 50; i++) {
		if (walked_touch(w))
			return -EFAULT;
		if (number_in(path) >= first + 2)
			return 0;
		usleep(20000);
	}
	return -ETIME;
}

static int ksmd(const struct walked *w, long arg)
{
	return full_scan(w, "/sys/kernel/mm/ksm/full_scans", MADV_MERGEABLE);
}

static int collapsed(const struct walked *w, long arg)
{
	return full_scan(w, "/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans",
			 MADV_HUGEPAGE);
}

/* NUMA balancing looks at a process's memory as it runs. */
static int balanced(const struct walked *w, long arg)
{
	uint64_t word;

	for (int i = 0; i < 2000; i++) {
		for (uint64_t at = 0; at < w->len; at += w->len / 64)
			if (rdax_get((uint64_t *)(w->map + at / 8 * 8), &word))
				return -EFAULT;
	}
	return 0;
}

#define KDAMONDS	"/sys/kernel/mm/damon/admin/kdamonds/"
#define CONTEXT	KDAMONDS "0/contexts/0/"
#define SCHEME	CONTEXT "schemes/0/"

static const char * const actions[] = {
	"stat", "willneed", "cold", "pageout", "hugepage", "nohugepage",
};

static int monitor(const struct walked *w, const char *operations, const char *action)
{
	const struct {
		const char *path, *text;
	} settings[] = {
		{ KDAMONDS "nr_kdamonds", "1" },
		{ KDAMONDS "0/contexts/nr_contexts", "1" },
		{ CONTEXT "operations", operations },
		{ CONTEXT "monitoring_attrs/intervals/sample_us", "1000" },
		{ CONTEXT "monitoring_attrs/intervals/aggr_us", "10000" },
		{ CONTEXT "monitoring_attrs/intervals/update_us", "50000" },
		{ CONTEXT "targets/nr_targets", "1" },
		{ CONTEXT "schemes/nr_schemes", "1" },
		{ SCHEME "action", action },
		{ SCHEME "access_pattern/sz/max", "18446744073709551615" },
		{ SCHEME "access_pattern/nr_accesses/max", "4294967295" },
		{ SCHEME "access_pattern/age/max", "4294967295" },
	};
	uintptr_t start = (uintptr_t)w->map;
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(settings); i++)
		ret = put(settings[i].path, "%s", settings[i].text);
	if (!strcmp(operations, "paddr"))
		start = frame_of(w) * SZ_4K;
	else
		ret = ret ?: put(CONTEXT "targets/0/pid_target", "%d", getpid());
	ret = ret ?: put(CONTEXT "targets/0/regions/nr_regions", "1");
	ret = ret ?: put(CONTEXT "targets/0/regions/0/start", "%lu", (unsigned long)start);
	ret = ret ?: put(CONTEXT "targets/0/regions/0/end", "%lu", (unsigned long)(start + w->len));
	return ret ?: put(KDAMONDS "0/state", "on");
}

/* Until an action has been tried on its regions. */
static int tried(const struct walked *w)
{
	for (int i = 0; i < RDAX_PATIENCE * 50; i++) {
		if (walked_touch(w))
			return -EFAULT;
		if (put(KDAMONDS "0/state", "update_schemes_stats"))
			return -EIO;
		if (number_in(SCHEME "stats/nr_tried") > 2)
			return 0;
		usleep(20000);
	}
	return -ETIME;
}

static int damon(const struct walked *w, long arg)
{
	int ret = monitor(w, arg < 0 ? "paddr" : "fvaddr", actions[arg < 0 ? 0 : arg]);

	ret = ret ?: tried(w);
	put(KDAMONDS "0/state", "off");
	put(KDAMONDS "nr_kdamonds", "0");
	return ret;
}

const struct walk daemon_walks[] = {
	{ "ksmd", ksmd, 0, 0, 0 },
	{ "khugepaged", collapsed, 0, 0, 0 },
	{ "NUMA balancing", balanced, 0, 0, 0 },
	{ "DAMON stat", damon, 0, 0, 0, ROOT | DAMON },
	{ "DAMON willneed", damon, 1, 0, 0, ROOT | DAMON },
	{ "DAMON cold", damon, 2, 0, 0, ROOT | DAMON },
	{ "DAMON pageout", damon, 3, 0, 0, ROOT | DAMON },
	/* Advice for parts of the mapping, at any page. */
	{ "DAMON hugepage", damon, 4, 0, 0, ROOT | CUTS | DAMON },
	{ "DAMON nohugepage", damon, 5, 0, 0, ROOT | CUTS | DAMON },
	{ "DAMON of physical memory", damon, -1, 0, 0, ROOT | DAMON },
	{ NULL },
};
