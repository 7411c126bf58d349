// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that can't be had, at each place where the module asks for some: the
 * first allocation fails, then in the next try the second, and so on until an
 * operation gets by without one that fails (/proc/PID/fail-nth); and the first
 * one, the first two, and so on, for what asks again. The outcome is ENOMEM, or
 * a fault that the kernel repeats by itself; no entry stays locked; and the next
 * try works. What is lost, kmemleak tells when the guest ends; what is held,
 * lockdep.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "regions.h"
#include "uapi/rdax.h"

#define DEBUGFS	"/sys/kernel/debug"
#define REGION_DRIVER	"/sys/bus/nd/drivers/nd_region"
/* More places than an operation has; each try uses nodes and page tables of its own. */
#define MOST	60
#define STRIDE	(32 * SZ_2M)

static int set(const char *attr, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "/%s/%s", attr, name);
	return rdax_write_file(path, text);
}

/* Only what is asked for with a function of the module on the stack, or everything. */
static int only_the_module(bool only)
{
	static const char * const attrs[] = { "failslab", "fail_page_alloc" };
	char start[32] = "0", end[32] = "18446744073709551615";
	unsigned long size, at;
	char line[512];
	FILE *f;
	int ret = only ? -ENOENT : 0;

	f = only ? fopen("/proc/modules", "r") : NULL;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "rdax %lu %*s %*s %*s %lx", &size, &at) != 2)
			continue;
		snprintf(start, sizeof(start), "%lu", at);
		snprintf(end, sizeof(end), "%lu", at + size);
		ret = 0;
	}
	if (f)
		fclose(f);
	for (size_t i = 0; i < ARRAY_SIZE(attrs) && !ret; i++) {
		ret = set(attrs[i], "require-end", end);
		ret = ret ?: set(attrs[i], "require-start", start);
	}
	return ret;
}

static int begin(void)
{
	int ret = 0;

	/* Also what may sleep, and in silence. */
	ret = ret ?: set("failslab", "ignore-gfp-wait", "N");
	ret = ret ?: set("failslab", "verbose", "0");
	ret = ret ?: set("failslab", "task-filter", "Y");
	ret = ret ?: set("failslab", "stacktrace-depth", "32");
	ret = ret ?: set("fail_page_alloc", "ignore-gfp-wait", "N");
	ret = ret ?: set("fail_page_alloc", "ignore-gfp-highmem", "N");
	ret = ret ?: set("fail_page_alloc", "min-order", "0");
	ret = ret ?: set("fail_page_alloc", "verbose", "0");
	return ret ?: set("fail_page_alloc", "stacktrace-depth", "32");
}

struct try {
	int nth;		/* file: /proc/thread-self/fail-nth */
	uint64_t n, offset;
	int fd, opened, minor;
	char *small, *large;
};

/* Of this task, from now on: the n-th fails. */
static bool arm(struct try *t, uint64_t n)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%" PRIu64, n);

	return pwrite(t->nth, text, len, 0) == len;
}

/* None fails any more. Did it? */
static bool disarm(struct try *t, bool *failed)
{
	char text[32] = "";

	if (pread(t->nth, text, sizeof(text) - 1, 0) <= 0 || !arm(t, 0))
		return false;
	*failed = !strtoull(text, NULL, 10);
	return true;
}

/* In this task, not in a child as rdax_bind() does it. */
static int write_here(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/*
 * Operations: what comes before, the one that may fail, what must be so when it
 * did not, and what comes after
 */

static int unbound(struct try *t)
{
	close(t->fd);
	t->fd = -1;
	return rdax_bound() ? rdax_unbind() : 0;
}

static int do_bind(struct try *t)
{
	return write_here(ND_DRIVER "/bind", rdax_ns());
}

static bool is_bound(struct try *t)
{
	return rdax_bound() && rdax_size() == region_number(rdax_ns(), "size");
}

static int bound(struct try *t)
{
	return rdax_bound() ? 0 : rdax_bind();
}

static int do_unbind(struct try *t)
{
	return write_here(ND_DRIVER "/unbind", rdax_ns());
}

static bool is_unbound(struct try *t)
{
	return !rdax_bound();
}

static int nothing(struct try *t)
{
	return 0;
}

static bool fine(struct try *t)
{
	return true;
}

static int do_open(struct try *t)
{
	t->opened = rdax_open();
	return t->opened < 0 ? -errno : 0;
}

static void close_it(struct try *t)
{
	close(t->opened);
}

static int do_mmap(struct try *t)
{
	t->large = rdax_map(t->fd, t->offset, SZ_2M);
	return t->large == MAP_FAILED ? -errno : 0;
}

static void unmap_large(struct try *t)
{
	munmap(t->large, SZ_2M);
}

/* Two mappings of 2 MiB that nobody has touched, one without huge pages. */
static int mapped(struct try *t)
{
	/* Exactly there: both fit huge pages. */
	t->large = rdax_map(t->fd, t->offset, SZ_2M);
	t->small = rdax_map(t->fd, t->offset, SZ_2M);
	if (t->large == MAP_FAILED || t->small == MAP_FAILED ||
	    madvise(t->small, SZ_2M, MADV_NOHUGEPAGE))
		return -errno;
	return 0;
}

static void unmap_both(struct try *t)
{
	munmap(t->large, SZ_2M);
	munmap(t->small, SZ_2M);
}

static int do_read_small(struct try *t)
{
	return rdax_load(t->small + 5 * SZ_4K);
}

static int do_write_small(struct try *t)
{
	return rdax_store_word((uint64_t *)(t->small + 5 * SZ_4K), t->n);
}

static int do_read_large(struct try *t)
{
	return rdax_load(t->large + 5 * SZ_4K);
}

static int do_write_large(struct try *t)
{
	return rdax_store_word((uint64_t *)(t->large + 5 * SZ_4K), t->n);
}

static bool word_is(char *map, uint64_t wanted)
{
	uint64_t word = ~wanted;

	return !rdax_get((uint64_t *)(map + 5 * SZ_4K), &word) && word == wanted;
}

static bool was_written(struct try *t)
{
	return word_is(t->small, t->n) && word_is(t->large, t->n);
}

/* A 2 MiB hole, read at 2 MiB. */
static int hole(struct try *t)
{
	int ret = mapped(t);

	ret = ret ?: rdax_punch(t->fd, t->offset, SZ_2M);
	return ret ?: rdax_load(t->large);
}

static bool was_split(struct try *t)
{
	uint64_t word;

	return was_written(t) && !rdax_get((uint64_t *)t->large, &word) && !word;
}

/* Some pages of 4 KiB, dirty. */
static int small_ones(struct try *t)
{
	int ret = mapped(t);

	ret = ret ?: do_write_small(t);
	return ret ?: rdax_store(t->small + SZ_2M - SZ_4K);
}

static bool was_upgraded(struct try *t)
{
	char line[64];

	snprintf(line, sizeof(line), "0x%" PRIx64 " 1 order 9 mapped dirty\n",
		 t->offset / SZ_4K);
	return was_written(t) && strstr(rdax_entries(), line);
}

/* One of 2 MiB, dirty. */
static int large_one(struct try *t)
{
	int ret = mapped(t);

	ret = ret ?: do_write_large(t);
	return ret ?: rdax_store_word((uint64_t *)(t->large + SZ_2M - SZ_4K), t->n);
}

static int do_punch(struct try *t)
{
	return rdax_punch(t->fd, t->offset + SZ_4K, 9 * SZ_4K);
}

static bool was_punched(struct try *t)
{
	uint64_t word;

	return word_is(t->small, 0) &&
	       !rdax_get((uint64_t *)(t->small + SZ_2M - SZ_4K), &word) && word == t->n;
}

static int do_zero(struct try *t)
{
	return rdax_zero(t->fd, t->offset + SZ_4K, 9 * SZ_4K);
}

static int do_prefault(struct try *t)
{
	struct rdax_prefault p = {
		.size = sizeof(p),
		.flags = RDAX_PREFAULT_WRITE,
		.address = (uintptr_t)t->small,
		.length = 16 * SZ_4K,
	};

	if (ioctl(t->fd, RDAX_IOC_PREFAULT, &p))
		return -errno;
	return p.done == p.length ? 0 : -EIO;
}

static int do_fsync(struct try *t)
{
	return fsync(t->fd) ? -errno : 0;
}

static bool is_clean(struct try *t)
{
	return !strstr(rdax_entries(), " dirty") && was_written(t);
}

static int do_pwrite(struct try *t)
{
	static char buf[2 * SZ_4K];
	ssize_t n;

	memset(buf, 0, sizeof(buf));
	*(uint64_t *)buf = t->n;
	n = pwrite(t->fd, buf, sizeof(buf), t->offset + 5 * SZ_4K);
	return n < 0 ? -errno : n == sizeof(buf) ? 0 : -EIO;
}

static int do_pread(struct try *t)
{
	static char buf[2 * SZ_4K];
	ssize_t n;

	/* Or its pages would be faulted in by the call. */
	memset(buf, 0, sizeof(buf));
	n = pread(t->fd, buf, sizeof(buf), t->offset + 5 * SZ_4K);
	if (n < 0)
		return -errno;
	return n == sizeof(buf) && *(uint64_t *)buf == t->n ? 0 : -EIO;
}

/* rdax0 has half of the region. */
static int half(struct try *t)
{
	return dev_resize(0, region_number(rdax_ns(), "size") / 2 / SZ_2M * SZ_2M);
}

static int do_create(struct try *t)
{
	t->minor = region_create();
	return t->minor < 0 ? t->minor : 0;
}

static int created(struct try *t)
{
	int ret = half(t);

	return ret ?: do_create(t);
}

static bool has_nothing_yet(struct try *t)
{
	int fd = dev_open(t->minor);
	bool there = fd >= 0 && !dev_number(t->minor, "size");

	close(fd);
	return there;
}

static int do_delete(struct try *t)
{
	return region_delete(t->minor);
}

static void delete_it(struct try *t)
{
	region_delete(t->minor);
}

static int do_grow(struct try *t)
{
	return dev_resize(t->minor, SZ_1G / 2);
}

static bool has_grown(struct try *t)
{
	int fd = dev_open(t->minor);
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			 SZ_1G / 2 - SZ_2M);
	bool well = map != MAP_FAILED && !rdax_store(map) &&
		    dev_number(t->minor, "size") == SZ_1G / 2;

	munmap(map, SZ_2M);
	close(fd);
	return well;
}

static int do_append(struct try *t)
{
	return dev_append(t->minor, region_number(rdax_ns(), "size") / 2 / SZ_2M * SZ_2M, SZ_2M);
}

static bool was_appended(struct try *t)
{
	return dev_number(t->minor, "size") == SZ_2M && !dev_fill(t->minor, t->n) &&
	       !dev_wrong(t->minor, t->n);
}

/* With entries before and behind the new end, and one across it. */
static int grown(struct try *t)
{
	int ret = created(t);
	char *map;
	int fd;

	ret = ret ?: do_grow(t);
	if (ret)
		return ret;
	fd = dev_open(t->minor);
	map = mmap(NULL, 4 * SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	ret = rdax_store(map) ?: rdax_store(map + SZ_2M) ?: rdax_store(map + 2 * SZ_2M);
	munmap(map, 4 * SZ_2M);
	close(fd);
	return ret;
}

static int do_shrink(struct try *t)
{
	return dev_resize(t->minor, SZ_2M + SZ_4K);
}

static bool has_shrunk(struct try *t)
{
	return dev_number(t->minor, "size") == SZ_2M + SZ_4K;
}

FIXTURE(fail_nth)
{
	struct try try;
};

FIXTURE_VARIANT(fail_nth)
{
	int (*before)(struct try *t);
	int (*op)(struct try *t);
	bool (*well)(struct try *t);
	void (*after)(struct try *t);
	/* How many places there are at least: fewer means that nothing was tested. */
	unsigned int least;
	/* What else than ENOMEM some of them give. */
	int also[2];
	/* Those of the whole kernel, for calls in which the module has none. */
	bool everywhere;
	/* Of the other namespace, which is smaller: each 128 MiB takes some. */
	bool other;
	/* A fault, which the kernel repeats. Does it end with OOM if one allocation fails, or a few? */
	bool fault, oom_by_one, oom_by_few;
	/* The first of its GiB. */
	bool first;
};

FIXTURE_VARIANT_ADD(fail_nth, bind)
{
	.before = unbound, .op = do_bind, .well = is_bound, .other = true,
	/* devm_memremap() and request_mem_region() of libnvdimm do not say why. */
	.least = 20, .also = { -EBUSY, -ENXIO },
};

FIXTURE_VARIANT_ADD(fail_nth, unbind)
{
	.before = bound, .op = do_unbind, .well = is_unbound, .other = true,
};

FIXTURE_VARIANT_ADD(fail_nth, open)
{
	.before = nothing, .op = do_open, .well = fine,
	.after = close_it, .least = 2, .everywhere = true,
};

FIXTURE_VARIANT_ADD(fail_nth, mmap)
{
	.before = nothing, .op = do_mmap, .well = fine,
	.after = unmap_large, .least = 1, .everywhere = true,
};

FIXTURE_VARIANT_ADD(fail_nth, read_4k)
{
	.before = mapped, .op = do_read_small, .well = fine,
	.after = unmap_both, .fault = true,
};

FIXTURE_VARIANT_ADD(fail_nth, write_4k)
{
	.before = mapped, .op = do_write_small, .well = was_written,
	.after = unmap_both, .least = 2,
	.fault = true, .oom_by_few = true,
};

/* The first page of a GiB: the arrays for its entries are allocated, too, with no lock held. */
FIXTURE_VARIANT_ADD(fail_nth, write_first)
{
	.before = mapped, .op = do_write_small, .well = was_written,
	.after = unmap_both, .least = 2,
	.fault = true, .oom_by_one = true, .oom_by_few = true, .first = true,
};

FIXTURE_VARIANT_ADD(fail_nth, read_2m)
{
	.before = mapped, .op = do_read_large, .well = fine,
	.after = unmap_both, .fault = true,
};

FIXTURE_VARIANT_ADD(fail_nth, write_2m)
{
	.before = mapped, .op = do_write_large, .well = was_written,
	.after = unmap_both, .least = 1,
	.fault = true, .oom_by_few = true,
};

FIXTURE_VARIANT_ADD(fail_nth, split)
{
	.before = hole, .op = do_write_small, .well = was_split,
	.after = unmap_both, .least = 2,
	.fault = true, .oom_by_few = true,
};

FIXTURE_VARIANT_ADD(fail_nth, upgrade)
{
	.before = small_ones, .op = do_write_large, .well = was_upgraded,
	.after = unmap_both, .fault = true,
};

FIXTURE_VARIANT_ADD(fail_nth, punch)
{
	.before = large_one, .op = do_punch, .well = was_punched,
	.after = unmap_both, .least = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, zero)
{
	.before = large_one, .op = do_zero, .well = was_punched,
	.after = unmap_both,
};

FIXTURE_VARIANT_ADD(fail_nth, prefault)
{
	.before = mapped, .op = do_prefault, .well = fine,
	.after = unmap_both, .least = 2,
};

FIXTURE_VARIANT_ADD(fail_nth, fsync)
{
	.before = small_ones, .op = do_fsync, .well = is_clean,
	.after = unmap_both,
};

FIXTURE_VARIANT_ADD(fail_nth, pwrite)
{
	.before = mapped, .op = do_pwrite, .well = was_written,
	.after = unmap_both,
};

FIXTURE_VARIANT_ADD(fail_nth, pread)
{
	.before = small_ones, .op = do_pread, .well = fine,
	.after = unmap_both,
};

FIXTURE_VARIANT_ADD(fail_nth, create)
{
	.before = half, .op = do_create, .well = has_nothing_yet,
	.after = delete_it, .least = 10,
};

FIXTURE_VARIANT_ADD(fail_nth, delete)
{
	.before = created, .op = do_delete, .well = fine,
};

FIXTURE_VARIANT_ADD(fail_nth, grow)
{
	.before = created, .op = do_grow, .well = has_grown,
	.after = delete_it, .least = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, append)
{
	.before = created, .op = do_append, .well = was_appended,
	.after = delete_it, .least = 1,
};

FIXTURE_VARIANT_ADD(fail_nth, shrink)
{
	.before = grown, .op = do_shrink, .well = has_shrunk,
	.after = delete_it,
};

/* From now on, in this process, the namespace to work with is @other. */
static int use(const char *other)
{
	char both[128];
	int ret = rdax_bound() ? rdax_unbind() : 0;

	snprintf(both, sizeof(both), "%s,%s", rdax_ns(), other);
	ret = ret ?: rdax_write_file(RDAX_PARAMS "/force", both);
	return ret ?: setenv("RDAX_NS", other, 1);
}

/* A page of the first GiB. */
static int touch(int fd)
{
	char *map = rdax_map(fd, 0, SZ_4K);
	int ret;

	if (map == MAP_FAILED)
		return -errno;
	ret = rdax_store_word((uint64_t *)map, 0);
	munmap(map, SZ_4K);
	return ret;
}

FIXTURE_SETUP(fail_nth)
{
	struct try *t = &self->try;

	if (variant->other) {
		if (!region_other())
			SKIP(return, "no other namespace is named");
		ASSERT_EQ(0, use(region_other()));
	}
	t->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_GE(t->nth, 0);
	ASSERT_EQ(0, only_the_module(!variant->everywhere));
	ASSERT_EQ(0, rdax_fresh("4K"));
	t->fd = rdax_open();
	ASSERT_GE(t->fd, 0);
	if (!variant->other && (!rdax_fits(SZ_2M) || rdax_size() < MOST * STRIDE))
		SKIP(return, "namespace too small or not aligned");
	if (variant->fault && !variant->first)
		ASSERT_EQ(0, touch(t->fd));
}

FIXTURE_TEARDOWN(fail_nth)
{
	/* Those who come next load the module to another place. */
	only_the_module(false);
	close(self->try.nth);
	close(self->try.fd);
	if (variant->other && rdax_bound())
		rdax_unbind();
}

/* How the allocations of one try fail. */
struct means {
	bool (*arm)(struct try *t, uint64_t n);
	/* None fails any more. Had it not enough of them? */
	bool (*disarm)(struct try *t, bool *failed);
};

static void each_try(struct __test_metadata *_metadata, struct try *t,
		     const FIXTURE_VARIANT(fail_nth) *variant, const struct means *means,
		     uint64_t most, bool oom)
{
	unsigned int refused = 0, served = 0;
	struct rdax_counts before, d;
	bool failed = true;

	rdax_counts(&before);
	for (t->n = 1; failed && t->n < most; t->n++) {
		int ret;

		t->offset = t->n % MOST * STRIDE;
		ASSERT_EQ(0, variant->before(t));
		ASSERT_TRUE(means->arm(t, t->n));
		ret = variant->op(t);
		ASSERT_TRUE(means->disarm(t, &failed));
		if (ret) {
			if (ret != variant->also[0] && ret != variant->also[1])
				ASSERT_EQ(-ENOMEM, ret) TH_LOG("at place %" PRIu64, t->n);
			refused++;
			/* The next try works. */
			ASSERT_EQ(0, variant->op(t)) TH_LOG("after place %" PRIu64, t->n);
		} else {
			served += failed;
		}
		ASSERT_TRUE(variant->well(t)) TH_LOG("after place %" PRIu64, t->n);
		/* A bind has no entries yet; and where debugfs has no memory there is no view. */
		if (rdax_bound() && variant->op != do_bind)
			ASSERT_EQ(NULL, strstr(rdax_entries(), " locked"))
				TH_LOG("after place %" PRIu64, t->n);
		if (variant->after)
			variant->after(t);
	}
	TH_LOG("%" PRIu64 " tries: %u refused, %u did without", t->n - 1, refused, served);
	if (!variant->fault) {
		/* It got by. */
		EXPECT_FALSE(failed);
		return;
	}
	/* The kernel's own repetition (pagefault_out_of_memory()). */
	rdax_delta(&before, &d);
	EXPECT_EQ(0, refused);
	EXPECT_EQ(0, rdax_sigbus(&d));
	EXPECT_EQ(oom, d.oom > 0);
}

/* The n-th, for each n. */
TEST_F_TIMEOUT(fail_nth, one, 120)
{
	static const struct means means = { arm, disarm };

	/* One failed allocation of a node fails no fault: it tries with the xa_lock held, then without. */
	each_try(_metadata, &self->try, variant, &means, variant->fault ? MOST : 6 * MOST,
		 variant->oom_by_one);
	if (variant->fault)
		EXPECT_LT(self->try.n, MOST);
	/* The last try is the one without. */
	EXPECT_GE(self->try.n, variant->least + 2);
}

static bool arm_first(struct try *t, uint64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	return !set("failslab", "times", text) && !set("failslab", "probability", "100") &&
	       !write_here("/proc/thread-self/make-it-fail", "1");
}

static bool disarm_first(struct try *t, bool *failed)
{
	if (write_here("/proc/thread-self/make-it-fail", "0") ||
	    set("failslab", "probability", "0"))
		return false;
	*failed = !strtol(rdax_text(DEBUGFS "/failslab/times"), NULL, 10);
	return true;
}

/* The first, the first two, and so on. A fault begins anew, so that some always fail. */
TEST_F_TIMEOUT(fail_nth, first, 120)
{
	static const struct means means = { arm_first, disarm_first };

	if (variant->everywhere)
		SKIP(return, "also what tells them to fail needs memory");
	each_try(_metadata, &self->try, variant, &means, variant->fault ? 9 : 4 * MOST,
		 variant->oom_by_few);
}

/* What a try in another process found. */
#define TRY_REFUSED	1
#define TRY_FAILED	2	/* some allocation has */
#define TRY_WRONG	4

/* One that does not come back must not hold us up. */
static int try_to_create(void *arg)
{
	struct try t = { .n = *(uint64_t *)arg };
	bool failed = true;
	int ret;

	t.nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (t.nth < 0 || !arm(&t, t.n))
		return TRY_WRONG;
	ret = do_create(&t);
	if (!disarm(&t, &failed))
		return TRY_WRONG;
	if (!ret && region_delete(t.minor))
		return TRY_WRONG;
	if (ret && ret != -ENOMEM)
		return TRY_WRONG;
	return (ret ? TRY_REFUSED : 0) | (failed ? TRY_FAILED : 0);
}

/* Changes the size of the device as soon as there is a file for that, and for as long. */
static void write_sizes(void)
{
	static const char * const sizes[] = { "2M", "0", "4M" };

	for (unsigned int i = 0;; i++)
		write_here("/sys/class/dax/rdax1/size", sizes[i % ARRAY_SIZE(sizes)]);
}

/*
 * A node that can't be made after its attributes were: they are removed, which
 * waits for those that are being written.
 */
FIXTURE(written)
{
	pid_t writer;
};

FIXTURE_SETUP(written)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	ASSERT_EQ(0, half(NULL));
	ASSERT_EQ(0, only_the_module(true));
	self->writer = fork();
	if (!self->writer)
		write_sizes();
}

FIXTURE_TEARDOWN(written)
{
	kill(self->writer, SIGKILL);
	waitpid(self->writer, NULL, 0);
	only_the_module(false);
}

TEST_F_TIMEOUT(written, create, 120)
{
	unsigned int refused = 0;
	uint64_t available = region_number(rdax_ns(), "available_size"), n;
	int ret = TRY_FAILED;

	for (n = 1; ret & TRY_FAILED && n < 6 * MOST; n++) {
		ret = rdax_bounded(try_to_create, &n, RDAX_PATIENCE);
		ASSERT_LE(0, ret) TH_LOG("at place %" PRIu64, n);
		ASSERT_EQ(0, ret & TRY_WRONG) TH_LOG("at place %" PRIu64, n);
		refused += ret & TRY_REFUSED;
		/* Whatever size it has had. */
		ASSERT_EQ(available, region_number(rdax_ns(), "available_size"))
			TH_LOG("at place %" PRIu64, n);
	}
	TH_LOG("%" PRIu64 " places, %u refused", n, refused);
	EXPECT_EQ(0, ret & TRY_FAILED);
	EXPECT_LT(20, refused);
}

/* Where a function of the kernel begins, and where the next one does. */
static bool function_at(const char *name, unsigned long *start, unsigned long *end)
{
	static unsigned long all[1 << 19];
	char line[512], symbol[256];
	FILE *f = fopen("/proc/kallsyms", "r");
	size_t n = 0;

	*start = 0;
	while (f && n < ARRAY_SIZE(all) && fgets(line, sizeof(line), f)) {
		/* Functions, which are not modules'. */
		if (sscanf(line, "%lx %*[tT] %255s", &all[n], symbol) != 2)
			continue;
		if (!strcmp(symbol, name))
			*start = all[n];
		n++;
	}
	if (f)
		fclose(f);
	*end = -1UL;
	for (size_t i = 0; i < n; i++)
		if (all[i] > *start && all[i] < *end)
			*end = all[i];
	return *start;
}

/*
 * libnvdimm registers a namespace asynchronously, and in the context of the task that
 * makes it appear if there is no memory for that. A user who binds a region has
 * not asked for its namespaces.
 */
TEST(registered_in_a_users_context)
{
	char path[128], region[PATH_MAX], idle[PATH_MAX + 32], text[32];
	unsigned long start, end;
	struct try t = { .fd = -1 };
	bool failed = true;
	int n;

	if (!region_other())
		SKIP(return, "no other namespace is named");
	ASSERT_EQ(0, use(region_other()));
	if (rdax_bound())
		ASSERT_EQ(0, rdax_unbind());
	snprintf(path, sizeof(path), ND_DEVICES "/%s/..", rdax_ns());
	ASSERT_NE(NULL, realpath(path, region));
	snprintf(idle, sizeof(idle), "%s/../wait_probe", region);
	ASSERT_TRUE(function_at("async_schedule_node_domain", &start, &end));
	t.nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_GE(t.nth, 0);
	snprintf(text, sizeof(text), "%lu", end);
	ASSERT_EQ(0, set("failslab", "require-end", text));
	snprintf(text, sizeof(text), "%lu", start);
	ASSERT_EQ(0, set("failslab", "require-start", text));

	for (n = 1; failed && n < MOST; n++) {
		ASSERT_EQ(0, write_here(REGION_DRIVER "/unbind", strrchr(region, '/') + 1));
		ASSERT_TRUE(arm(&t, n));
		EXPECT_EQ(0, write_here(REGION_DRIVER "/bind", strrchr(region, '/') + 1));
		ASSERT_TRUE(disarm(&t, &failed));
		/*
		 * The read returns when the namespace is registered and probed. Until then it may
		 * seem bound to a driver that is about to refuse it.
		 */
		EXPECT_STREQ("1\n", rdax_text(idle));
		EXPECT_EQ(0, access(path, F_OK));
		EXPECT_FALSE(rdax_bound()) TH_LOG("after place %d", n);
	}
	/* The namespace, and what is to become another, a btt, a pfn and a dax device. */
	EXPECT_LE(3, n);
	EXPECT_FALSE(failed);
	EXPECT_EQ(0, rdax_bind());
	EXPECT_EQ(0, rdax_unbind());
	only_the_module(false);
	close(t.nth);
}

int main(int argc, char **argv)
{
	if (access("/proc/self/fail-nth", F_OK) || begin() || only_the_module(false)) {
		ksft_print_header();
		ksft_exit_skip("no fail-nth with a stack filter (CONFIG_FAULT_INJECTION...)\n");
	}
	rdax_begin();
	return test_harness_run(argc, argv);
}
