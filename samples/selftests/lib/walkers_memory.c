// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of the test `walkers` that tell the kernel what to do with memory: where it
 * should be, what it is for, what it may be used for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kselftest.h"
#include "rdax.h"
#include "walkers.h"

#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node	450
#endif

static int answer(long ret)
{
	return ret == -1 ? -errno : 0;
}

/*
 * Policies
 */

#define NODE_1		(1 << 16)
#define NO_NODE		(1 << 17)
#define POLICY(arg)	((arg) >> 8 & 0xff)
#define FLAGS(arg)	((arg) & 0xff)

static int bind_memory(const struct walked *w, long arg)
{
	unsigned long nodes = arg & NODE_1 ? 2 : arg & NO_NODE ? 0 : 1;

	return answer(syscall(SYS_mbind, w->map, w->len, POLICY(arg), &nodes, 64, FLAGS(arg)));
}

/* Each policy, one after the other. */
static int bind_each(const struct walked *w, long arg)
{
	static const int policies[] = {
		MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED_MANY,
		MPOL_WEIGHTED_INTERLEAVE, MPOL_LOCAL | NO_NODE >> 8, MPOL_DEFAULT | NO_NODE >> 8,
	};
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(policies); i++)
		ret = bind_memory(w, (long)policies[i] << 8 | arg) ?: ret;
	return ret;
}

/* Of a part of each leaf. */
static int bind_part(const struct walked *w, long arg)
{
	unsigned long nodes = 1;

	return answer(syscall(SYS_mbind, w->map + w->len / 4, w->len / 2, POLICY(arg), &nodes, 64,
			      FLAGS(arg)));
}

static int get_policy(const struct walked *w, long arg)
{
	unsigned long nodes;
	int mode;

	return answer(syscall(SYS_get_mempolicy, &mode, arg & MPOL_F_NODE ? NULL : &nodes, 64,
			      w->map, arg));
}

static int set_home_node(const struct walked *w, long arg)
{
	int ret = bind_memory(w, MPOL_BIND << 8);

	return ret ?: answer(syscall(SYS_set_mempolicy_home_node, w->map, w->len, 0, 0));
}

/* From the nodes in the first byte to those in the second. */
static int migrate(const struct walked *w, long arg)
{
	unsigned long from = arg >> 8, to = arg & 0xff;

	return answer(syscall(SYS_migrate_pages, 0, 64, &from, &to));
}

/* What it says of both pages: that they are not there, or not pages. */
static int move(const struct walked *w, long arg)
{
	void *pages[2] = { w->map, w->map + w->len - SZ_4K };
	int nodes[2] = { 0, 0 }, status[2] = { 99, 99 };
	long ret = syscall(SYS_move_pages, 0, 2, pages, arg ? nodes : NULL, status, (int)arg);

	if (ret == -1)
		return -errno;
	if (status[0] != status[1])
		return -ERANGE;
	return status[0] == -ENOENT ? -EFAULT : status[0];
}

#define ALL	MPOL_MF_MOVE_ALL
#define STRICT	MPOL_MF_STRICT

/*
 * A strict call on the zeroes of a large hole finds a folio up to Linux 7.2, on
 * whatever node it is.
 */
const struct walk policy_walks[] = {
	{ "mbind", bind_each, 0, 0, 0 },
	{ "mbind move", bind_each, MPOL_MF_MOVE, 0, 0 },
	{ "mbind move all", bind_each, ALL, -EPERM, 0 },
	{ "mbind strict", bind_each, STRICT, EITHER, EITHER, NOT_FOR_PMD },
	{ "mbind strict move", bind_each, STRICT | MPOL_MF_MOVE, EITHER, EITHER, NOT_FOR_PMD },
	{ "mbind strict move all", bind_each, STRICT | ALL, -EPERM, EITHER, NOT_FOR_PMD },
	/* EINVAL where there is one node. */
	{ "mbind node 1", bind_memory, MPOL_BIND << 8 | NODE_1, EITHER, EITHER },
	{ "mbind node 1 move", bind_memory, MPOL_BIND << 8 | NODE_1 | MPOL_MF_MOVE,
	  EITHER, EITHER },
	{ "mbind node 1 strict", bind_memory, MPOL_BIND << 8 | NODE_1 | STRICT, EITHER, EITHER,
	  NOT_FOR_PMD },
	{ "mbind node 1 strict move", bind_memory,
	  MPOL_BIND << 8 | NODE_1 | STRICT | MPOL_MF_MOVE, EITHER, EITHER, NOT_FOR_PMD },
	{ "mbind node 1 strict move all", bind_memory, MPOL_BIND << 8 | NODE_1 | STRICT | ALL,
	  EITHER, EITHER, NOT_FOR_PMD },
	{ "mbind a part", bind_part, MPOL_BIND << 8, 0, 0, CUTS },
	{ "mbind a part strict", bind_part, MPOL_BIND << 8 | STRICT, EITHER, EITHER,
	  NOT_FOR_PMD | CUTS },
	{ "mbind no flags known", bind_memory, MPOL_BIND << 8 | 0x80, -EINVAL, -EINVAL },
	{ "get_mempolicy", get_policy, MPOL_F_ADDR, 0, 0 },
	{ "get_mempolicy node", get_policy, MPOL_F_ADDR | MPOL_F_NODE, -EFAULT, -EFAULT },
	{ "set_mempolicy_home_node", set_home_node, 0, 0, 0 },
	{ "migrate_pages to its node", migrate, 1 << 8 | 1, 0, 0 },
	{ "migrate_pages to node 1", migrate, 1 << 8 | 2, EITHER, EITHER },
	{ "migrate_pages from node 1", migrate, 2 << 8 | 1, EITHER, EITHER },
	{ "move_pages asked", move, 0, -EFAULT, -EFAULT },
	{ "move_pages", move, MPOL_MF_MOVE, -EFAULT, -EFAULT },
	{ "move_pages all", move, ALL, -EPERM, -EFAULT },
	{ NULL },
};

/*
 * Advice
 */

static int advise(const struct walked *w, long arg)
{
	return answer(madvise(w->map, w->len, arg));
}

/* Any that there may be. */
static int advise_process(const struct walked *w, long arg)
{
	struct iovec iov = { w->map, w->len };
	int self = syscall(SYS_pidfd_open, getpid(), 0);

	if (self < 0)
		return -errno;
	for (int advice = 0; advice < 128; advice++)
		syscall(SYS_process_madvise, self, &iov, 1, advice, 0);
	close(self);
	return 0;
}

static int lock_memory(const struct walked *w, long arg)
{
	int ret = answer(arg < 0 ? mlock(w->map, w->len) :
				   syscall(SYS_mlock2, w->map, w->len, arg));

	return ret ?: answer(munlock(w->map, w->len));
}

static int lock_all(const struct walked *w, long arg)
{
	return answer(mlockall(arg)) ?: answer(munlockall());
}

static int in_core(const struct walked *w, long arg)
{
	static unsigned char vec[SZ_1G / SZ_4K];

	return answer(mincore(w->map, w->len, vec));
}

static int protect(const struct walked *w, long arg)
{
	int ret = answer(mprotect(w->map, w->len, arg));

	return ret ?: answer(mprotect(w->map, w->len, PROT_READ | PROT_WRITE));
}

static int protect_part(const struct walked *w, long arg)
{
	char *p = w->map + w->len / 4;
	int ret = answer(mprotect(p, SZ_4K, arg));

	return ret ?: answer(mprotect(p, SZ_4K, PROT_READ | PROT_WRITE));
}

/* To a place that suits leaves of each size, and back. */
static int remap(const struct walked *w, long arg)
{
	char *room = mmap(NULL, w->len + 2 * SZ_1G, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *to;

	if (room == MAP_FAILED)
		return -errno;
	to = (char *)(((uintptr_t)room + SZ_1G - 1) & ~(SZ_1G - 1)) + (uintptr_t)w->map % SZ_1G;
	if (mremap(w->map, w->len, w->len, MREMAP_MAYMOVE | MREMAP_FIXED | arg, to) != to)
		return -errno;
	return mremap(to, w->len, w->len, MREMAP_MAYMOVE | MREMAP_FIXED, w->map) == w->map ?
	       0 : -errno;
}

static int remap_larger(const struct walked *w, long arg)
{
	return mremap(w->map, w->len, w->len + SZ_2M, MREMAP_MAYMOVE) == MAP_FAILED ? -errno : 0;
}

static int remap_copy(const struct walked *w, long arg)
{
	return mremap(w->map, 0, w->len, MREMAP_MAYMOVE) == MAP_FAILED ? -errno : 0;
}

static int remap_pages(const struct walked *w, long arg)
{
	return answer(syscall(SYS_remap_file_pages, w->map, w->len, 0, w->offset / SZ_4K, 0));
}

static int synchronize(const struct walked *w, long arg)
{
	return answer(msync(w->map, w->len, arg));
}

#define ADVICE(name, result)						\
	{ "madvise " #name, advise, MADV_##name, result, result }

#define SOFT_OFFLINE	101
#define GUARD_INSTALL	102
#define GUARD_REMOVE	103

const struct walk advice_walks[] = {
	ADVICE(NORMAL, 0),
	ADVICE(RANDOM, 0),
	ADVICE(SEQUENTIAL, 0),
	ADVICE(WILLNEED, 0),
	ADVICE(DONTNEED, -EINVAL),
	{ "madvise 5", advise, 5, -EINVAL, -EINVAL },
	{ "madvise 6", advise, 6, -EINVAL, -EINVAL },
	{ "madvise 7", advise, 7, -EINVAL, -EINVAL },
	ADVICE(FREE, -EINVAL),
	ADVICE(REMOVE, -ENODEV),
	ADVICE(DONTFORK, 0),
	/* Whether the driver's mappings may be copied and dumped is the driver's. */
	ADVICE(DOFORK, EITHER),
	ADVICE(MERGEABLE, 0),
	ADVICE(UNMERGEABLE, 0),
	ADVICE(HUGEPAGE, EITHER),
	{ "madvise NOHUGEPAGE", advise, MADV_NOHUGEPAGE, 0, 0, CUTS },
	ADVICE(DONTDUMP, 0),
	ADVICE(DODUMP, EITHER),
	ADVICE(WIPEONFORK, -EINVAL),
	ADVICE(KEEPONFORK, 0),
	ADVICE(COLD, -EINVAL),
	ADVICE(PAGEOUT, -EINVAL),
	ADVICE(POPULATE_READ, -EINVAL),
	ADVICE(POPULATE_WRITE, -EINVAL),
	ADVICE(DONTNEED_LOCKED, -EINVAL),
	ADVICE(COLLAPSE, -EINVAL),
	{ "madvise 26", advise, 26, -EINVAL, -EINVAL },
	/* These take hold of pages first, and so find none to spoil. */
	{ "madvise HWPOISON", advise, MADV_HWPOISON, -EPERM, -EFAULT },
	{ "madvise SOFT_OFFLINE", advise, SOFT_OFFLINE, -EPERM, -EFAULT },
	{ "madvise GUARD_INSTALL", advise, GUARD_INSTALL, -EINVAL, -EINVAL },
	{ "madvise GUARD_REMOVE", advise, GUARD_REMOVE, -EINVAL, -EINVAL },
	{ "process_madvise", advise_process, 0, 0, 0, CUTS },
	{ "mlock", lock_memory, -1, 0, 0 },
	{ "mlock2", lock_memory, 0, 0, 0 },
	{ "mlock2 on fault", lock_memory, MLOCK_ONFAULT, 0, 0 },
	{ "mlockall", lock_all, MCL_CURRENT, 0, 0 },
	{ "mlockall future, on fault", lock_all, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT, 0, 0 },
	{ "mincore", in_core, 0, 0, 0 },
	{ "mprotect to nothing and back", protect, PROT_NONE, 0, 0 },
	{ "mprotect to reading and back", protect, PROT_READ, 0, 0 },
	{ "mprotect a page to nothing and back", protect_part, PROT_NONE, 0, 0, CUTS },
	{ "mprotect a page to reading and back", protect_part, PROT_READ, 0, 0, CUTS },
	{ "mremap and back", remap, 0, 0, 0 },
	{ "mremap, leaving it", remap, MREMAP_DONTUNMAP, EITHER, EITHER },
	{ "mremap larger", remap_larger, 0, -EFAULT, -EFAULT },
	{ "mremap a copy", remap_copy, 0, -EFAULT, -EFAULT },
	{ "remap_file_pages", remap_pages, 0, EITHER, EITHER },
	{ "msync", synchronize, MS_SYNC, 0, 0 },
	{ NULL },
};
