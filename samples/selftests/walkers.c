// SPDX-License-Identifier: GPL-2.0
/*
 * Every system call, file and daemon of the kernel that looks at page tables meets
 * the leaves of the device, which have no struct page: PTE, PMD and PUD leaves,
 * and the zero pages of holes. Each call is made by an ordinary user and by root,
 * on a mapping of its own. It returns what the table says; afterwards the mapping
 * and the file have the same words as before, and the leaves have the same size.
 * The runner checks the kernel's console.
 *
 * Linux before 7.3 takes a PMD leaf for that of a folio in mbind(MPOL_MF_STRICT)
 * and crashes (Documentation/kernel-bugs.rst). There these calls are skipped, unless
 * the parameter max_leaf keeps the leaves small.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "walkers.h"

#define NOBODY	65534
#define WORDS	32	/* in each mapping */

/* Words lie at another place in each part of a mapping. */
static uint64_t place(const struct walked *w, unsigned int i)
{
	uint64_t part = w->len / WORDS;

	return i * part + i * 1032 % part / 8 * 8;
}

int walked_touch(const struct walked *w)
{
	uint64_t word;

	for (unsigned int i = 0; i < WORDS; i++) {
		char *p = w->map + place(w, i);

		if (w->hole ? rdax_get((uint64_t *)p, &word) :
			      rdax_store_word((uint64_t *)p, word_of(w, place(w, i))))
			return -EFAULT;
	}
	return 0;
}

/* The first word that is wrong, in the mapping or in the file; or WORDS. */
static unsigned int first_wrong(const struct walked *w)
{
	for (unsigned int i = 0; i < WORDS; i++) {
		uint64_t at = place(w, i), word, read;

		if (rdax_get((uint64_t *)(w->map + at), &word) ||
		    word != (uint64_t)word_of(w, at) ||
		    pread(w->fd, &read, sizeof(read), w->offset + at) != sizeof(read) ||
		    read != word)
			return i;
	}
	return WORDS;
}

/* Linux 7.3 mends queue_folios_pmd(). */
static bool mbind_crashes(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return true;
	return major < 7 || (major == 7 && minor < 3);
}

/* One call, in a process of its own. */
struct attempt {
	struct walked mapped;
	const struct walk *walk;
	bool user;
	/* What happened. */
	bool skipped;
	int setup, answer;
	unsigned int wrong;
	struct rdax_counts first, later;	/* the faults before it, and after it */
};

static int become_nobody(void)
{
	return setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	       setresuid(NOBODY, NOBODY, NOBODY);
}

static int attempt(void *arg)
{
	struct attempt *a = arg;
	struct walked *w = &a->mapped;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct rdax_counts before;

	a->setup = __LINE__;
	w->fd = rdax_open();
	if (w->fd < 0 || setrlimit(RLIMIT_MEMLOCK, &unlimited) ||
	    setrlimit(RLIMIT_CORE, &unlimited))
		return 1;
	a->setup = __LINE__;
	if (w->hole && rdax_punch(w->fd, w->offset, w->len))
		return 1;
	a->setup = __LINE__;
	if (a->user && become_nobody())
		return 1;
	prctl(PR_SET_DUMPABLE, 1);
	a->setup = __LINE__;
	w->map = rdax_map(w->fd, w->offset, w->len);
	if (w->map == MAP_FAILED)
		return 1;
	a->setup = __LINE__;
	rdax_counts(&before);
	if (walked_touch(w))
		return 1;
	rdax_delta(&before, &a->first);
	a->setup = 0;
	if ((a->walk->flags & NOT_FOR_PMD) && mbind_crashes() && a->first.pmd_mapped && !w->hole) {
		a->skipped = true;
		return 0;
	}
	rdax_counts(&before);
	a->answer = a->walk->call(w, a->walk->arg);
	a->wrong = first_wrong(w);
	rdax_delta(&before, &a->later);
	return 0;
}

FIXTURE(walkers)
{
	struct attempt *attempt;
	int direct;
	uint64_t leaf;	/* that max_leaf leaves of the variant's */
};

FIXTURE_VARIANT(walkers)
{
	uint64_t bytes, len, offset;
	bool hole, user;
};

FIXTURE_VARIANT_ADD(walkers, pte_user)
{
	SZ_4K, 16 * SZ_4K, SZ_1G + 8 * SZ_2M, false, true,
};

FIXTURE_VARIANT_ADD(walkers, pmd_user)
{
	SZ_2M, 2 * SZ_2M, SZ_1G + 16 * SZ_2M, false, true,
};

FIXTURE_VARIANT_ADD(walkers, pud_user)
{
	SZ_1G, SZ_1G, 0, false, true,
};

FIXTURE_VARIANT_ADD(walkers, pte_hole_user)
{
	SZ_4K, 16 * SZ_4K, SZ_1G + 24 * SZ_2M, true, true,
};

FIXTURE_VARIANT_ADD(walkers, pmd_hole_user)
{
	SZ_2M, 2 * SZ_2M, SZ_1G + 32 * SZ_2M, true, true,
};

FIXTURE_VARIANT_ADD(walkers, pte_root)
{
	SZ_4K, 16 * SZ_4K, SZ_1G + 8 * SZ_2M, false, false,
};

FIXTURE_VARIANT_ADD(walkers, pmd_root)
{
	SZ_2M, 2 * SZ_2M, SZ_1G + 16 * SZ_2M, false, false,
};

FIXTURE_VARIANT_ADD(walkers, pud_root)
{
	SZ_1G, SZ_1G, 0, false, false,
};

FIXTURE_VARIANT_ADD(walkers, pte_hole_root)
{
	SZ_4K, 16 * SZ_4K, SZ_1G + 24 * SZ_2M, true, false,
};

FIXTURE_VARIANT_ADD(walkers, pmd_hole_root)
{
	SZ_2M, 2 * SZ_2M, SZ_1G + 32 * SZ_2M, true, false,
};

static uint64_t at_most(void)
{
	const char *text = rdax_text(RDAX_PARAMS "/max_leaf");

	return !strncmp(text, "4K", 2) ? SZ_4K : !strncmp(text, "2M", 2) ? SZ_2M : SZ_1G;
}

/* So that the daemons look at everything, often. Not all are in every kernel. */
static const char * const daemons[][2] = {
	{ "/proc/sys/kernel/core_pattern", "/tmp/walkers.core" },
	{ "/proc/sys/kernel/numa_balancing", "1" },
	{ "/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "1" },
	{ "/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "10" },
	{ "/sys/kernel/mm/transparent_hugepage/enabled", "always" },
	{ "/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "0" },
	{ "/sys/kernel/mm/transparent_hugepage/khugepaged/alloc_sleep_millisecs", "0" },
	{ "/sys/kernel/mm/ksm/sleep_millisecs", "0" },
	{ "/sys/kernel/mm/ksm/pages_to_scan", "10000" },
	{ "/sys/kernel/mm/ksm/run", "1" },
	/* It would keep others from DAMON. */
	{ "/sys/module/damon_stat/parameters/enabled", "N" },
};

/* What they were set to, as this process has found it. Empty: not in this kernel. */
static char before[ARRAY_SIZE(daemons)][256];
static pid_t runner;

static void note_daemons(void)
{
	runner = getpid();
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++)
		if (!access(daemons[i][0], W_OK))
			snprintf(before[i], sizeof(before[i]), "%s", rdax_text(daemons[i][0]));
}

static void wake_daemons(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(daemons); i++)
		rdax_write_file(daemons[i][0], daemons[i][1]);
}

/* Other tests are not to live with what wake_daemons() has set. */
static void rest_daemons(void)
{
	char *chosen;

	for (size_t i = 0; getpid() == runner && i < ARRAY_SIZE(daemons); i++) {
		if (!*before[i])
			continue;
		/* Of several values, the one in brackets. */
		chosen = strchr(before[i], '[');
		if (chosen)
			chosen[strcspn(chosen, "]")] = '\0';
		rdax_write_file(daemons[i][0], chosen ? chosen + 1 : before[i]);
	}
}

FIXTURE_SETUP(walkers)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	wake_daemons();
	if (!rdax_fits(variant->bytes) || rdax_size() < variant->offset + variant->len)
		SKIP(return, "namespace too small or not aligned for this size");
	self->leaf = variant->bytes < at_most() ? variant->bytes : at_most();
	self->attempt = rdax_shared(sizeof(*self->attempt));
	self->direct = rdax_ram_disk();
}

FIXTURE_TEARDOWN(walkers)
{
	rdax_write_file("/sys/kernel/mm/ksm/run", "0");
	if (self->direct >= 0)
		close(self->direct);
}

static bool is(int want, int got)
{
	return want == EITHER || want == got;
}

static void run_all(struct __test_metadata *_metadata, FIXTURE_DATA(walkers) *self,
		    const FIXTURE_VARIANT(walkers) *variant, const struct walk *walks)
{
	struct attempt *a = self->attempt;

	for (const struct walk *walk = walks; walk->name; walk++) {
		uint64_t leaves = variant->len / self->leaf;
		struct rdax_counts *d = &a->later;

		if (variant->user && (walk->flags & ROOT))
			continue;
		if ((walk->flags & DAMON) && access("/sys/kernel/mm/damon/admin", F_OK)) {
			ksft_print_msg("skipped, not in this kernel: %s\n", walk->name);
			continue;
		}
		*a = (struct attempt){
			.mapped = { -1, NULL, variant->offset, variant->len, self->leaf,
				    variant->hole, self->direct },
			.walk = walk,
			.user = variant->user,
		};
		EXPECT_EQ(0, rdax_bounded(attempt, a, RDAX_PATIENCE))
			TH_LOG("%s: line %d", walk->name, a->setup);
		if (a->setup)
			continue;
		/* Words are fewer than leaves where a large mapping has small ones. */
		leaves = leaves < WORDS ? leaves : WORDS;
		EXPECT_EQ(leaves, rdax_mapped(&a->first, self->leaf))
			TH_LOG("%s: leaves at first", walk->name);
		if (a->skipped) {
			ksft_print_msg("skipped, it crashes this kernel: %s\n", walk->name);
			continue;
		}
		EXPECT_TRUE(is(variant->user ? walk->user : walk->root, a->answer))
			TH_LOG("%s: returned %d", walk->name, a->answer);
		EXPECT_EQ(WORDS, a->wrong)
			TH_LOG("%s: the word is wrong", walk->name);
		EXPECT_EQ(0, rdax_sigbus(d));
		if (walk->flags & CUTS)
			continue;
		EXPECT_EQ(rdax_mapped(d, self->leaf), d->pte_mapped + d->pmd_mapped + d->pud_mapped)
			TH_LOG("%s: leaves of other sizes", walk->name);
	}
}

TEST_F_TIMEOUT(walkers, policies, 300)
{
	run_all(_metadata, self, variant, policy_walks);
}

TEST_F_TIMEOUT(walkers, advice, 300)
{
	run_all(_metadata, self, variant, advice_walks);
}

TEST_F_TIMEOUT(walkers, files, 300)
{
	run_all(_metadata, self, variant, proc_walks);
}

TEST_F_TIMEOUT(walkers, accesses, 300)
{
	run_all(_metadata, self, variant, access_walks);
}

TEST_F_TIMEOUT(walkers, daemons, 300)
{
	run_all(_metadata, self, variant, daemon_walks);
}

int main(int argc, char **argv)
{
	rdax_begin();
	note_daemons();
	atexit(rest_daemons);
	return test_harness_run(argc, argv);
}
