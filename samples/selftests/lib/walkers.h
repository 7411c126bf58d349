/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The calls of the test `walkers`: each makes the kernel look at the page tables of
 * a mapping of the device.
 */
#ifndef RDAX_SELFTEST_WALKERS_H
#define RDAX_SELFTEST_WALKERS_H

#include <stdbool.h>
#include <stdint.h>

/* A mapping, all of which has been touched. */
struct walked {
	int fd;
	char *map;
	uint64_t offset, len;
	uint64_t bytes;		/* of each leaf */
	bool hole;
	int direct;		/* a block device, open with O_DIRECT, or -1 */
};

/* A result that says nothing: what must hold is that nothing breaks. */
#define EITHER	1

/* Of `flags`. */
#define ROOT		1	/* for root only */
#define NOT_FOR_PMD	2	/* crashes kernels before 7.3 on PMD leaves of page frames */
#define CUTS		4	/* leaves become smaller ones */
#define DAMON		8	/* in kernels with CONFIG_DAMON_SYSFS */

struct walk {
	const char *name;
	int (*call)(const struct walked *w, long arg);	/* 0, or -errno */
	long arg;
	int user, root;		/* what the call returns to each, or EITHER */
	int flags;
};

/* Each ends with a NULL name. */
extern const struct walk policy_walks[], advice_walks[], proc_walks[], access_walks[],
	daemon_walks[];

/* What the children of a call do to the mapping that they have: 0, or -errno. */
int walked_touch(const struct walked *w);

static inline long word_of(const struct walked *w, uint64_t at)
{
	return w->hole ? 0 : (long)((w->offset + at) * UINT64_C(0x9e3779b97f4a7c15)) | 1;
}

#endif /* RDAX_SELFTEST_WALKERS_H */
