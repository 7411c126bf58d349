// SPDX-License-Identifier: GPL-2.0
/*
 * Who may do what: the modes of the node and of every file in sysfs and debugfs;
 * what a file that was opened for reading can never be made to write; that no
 * number which an ordinary user passes, at the edge of what is possible or far
 * beyond, reaches what lies beside the device on the media; and that the kernel
 * log, which many may read, has no addresses of the kernel in it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "ring.h"
#include "uapi/rdax.h"

#define NOBODY	65534

#define REGION	"rdax_region"

/* -errno, or what the call returned. */
static int64_t answer(int64_t ret)
{
	return ret == -1 ? -errno : ret;
}

/* What a child of an ordinary user has found. */
struct found {
	int line;
	int64_t answer;
	char what[200];
};

static struct found *found;

static bool report(int line, int64_t answer, const char *what)
{
	if (!found->line) {
		found->line = line;
		found->answer = answer;
		snprintf(found->what, sizeof(found->what), "%s", what);
	}
	return false;
}

#define CHECK(what)					\
	do {						\
		errno = 0;				\
		if (!(what))				\
			report(__LINE__, errno, #what);	\
	} while (0)

#define ANSWERS(want, call)					\
	do {							\
		int64_t got_ = answer((int64_t)(call));		\
								\
		if (got_ != (int64_t)(want))			\
			report(__LINE__, got_, #call);		\
	} while (0)

struct as_nobody {
	void (*fn)(void *arg);
	void *arg;
};

static int be_nobody(void *arg)
{
	struct as_nobody *as = arg;

	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return 2;
	as->fn(as->arg);
	return found->line ? 1 : 0;
}

/* In a child that is nobody: 0 if it has found all as it should be. */
static int as_nobody(void (*fn)(void *arg), void *arg)
{
	struct as_nobody as = { fn, arg };

	found = rdax_shared(sizeof(*found));
	return rdax_bounded(be_nobody, &as, RDAX_PATIENCE);
}

#define FOUND	TH_LOG("line %d: %s: %" PRId64, found->line, found->what, found->answer)

FIXTURE(node)
{
};

FIXTURE_SETUP(node)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
}

FIXTURE_TEARDOWN(node)
{
}

/*
 * The node
 */

static void open_each_way(void *arg)
{
	mode_t mode = *(mode_t *)arg;
	bool may_read = mode & 04, may_write = mode & 02;

	ANSWERS(may_read ? 0 : -EACCES, access(RDAX_NODE, R_OK));
	CHECK((open(RDAX_NODE, O_RDONLY) >= 0) == may_read);
	CHECK((open(RDAX_NODE, O_WRONLY) >= 0) == may_write);
	CHECK((open(RDAX_NODE, O_RDWR) >= 0) == (may_read && may_write));
	ANSWERS(-EPERM, chmod(RDAX_NODE, 0666));
}

TEST_F(node, modes)
{
	mode_t modes[] = { 0600, 0660, 0604, 0602, 0606, 0444 };
	struct stat st;

	/* Made by devtmpfs: for root alone, until udev or root says otherwise. */
	ASSERT_EQ(0, stat(RDAX_NODE, &st));
	EXPECT_EQ(0600, st.st_mode & 0777);
	EXPECT_EQ(0, st.st_uid);
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		ASSERT_EQ(0, chmod(RDAX_NODE, modes[i]));
		EXPECT_EQ(0, as_nobody(open_each_way, &modes[i])) FOUND;
	}
}

/*
 * Files opened for reading
 */

static void try_to_write(void *arg)
{
	struct rdax_range range = { sizeof(range), 0, 0, SZ_2M };
	struct rdax_prefault p = { sizeof(p), RDAX_PREFAULT_WRITE, 0, SZ_2M, 0 };
	int fd = *(int *)arg, pipes[2], results[2], status;
	struct iovec iov = { "xyz", 3 };
	char path[64], *map, *moved;
	struct ring ring;

	ANSWERS(-EBADF, write(fd, "x", 1));
	ANSWERS(-EBADF, pwrite(fd, "x", 1, 0));
	ANSWERS(-EBADF, pwritev2(fd, &iov, 1, 0, 0));
	CHECK(!pipe(pipes) && write(pipes[1], "x", 1) == 1);
	ANSWERS(-EBADF, splice(pipes[0], NULL, fd, NULL, 1, 0));
	ANSWERS(-EBADF, sendfile(fd, fd, NULL, 1));
	ANSWERS(-EINVAL, copy_file_range(fd, NULL, fd, NULL, 1, 0));
	ANSWERS(-EBADF, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SZ_4K));
	ANSWERS(-EINVAL, ftruncate(fd, 0));
	ANSWERS(-EBADF, ioctl(fd, RDAX_IOC_PUNCH, &range));
	ANSWERS(-EBADF, ioctl(fd, RDAX_IOC_ZERO, &range));
	/* Before the argument is looked at. */
	ANSWERS(-EBADF, ioctl(fd, RDAX_IOC_PUNCH, NULL));

	CHECK(!ring_setup(&ring, 0));
	ring_queue(&ring, IORING_OP_WRITE, fd, "x", 1, 0, 0);
	ring_queue(&ring, IORING_OP_WRITE, fd, "x", 1, 0, 1)->flags = IOSQE_ASYNC;
	CHECK(!ring_run(&ring, results, 2));
	CHECK(results[0] == -EBADF && results[1] == -EBADF);

	ANSWERS(-EACCES, mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	ANSWERS(-EACCES, mmap(NULL, SZ_2M, PROT_WRITE, MAP_SHARED, fd, 0));
	ANSWERS(-EACCES, mmap(NULL, SZ_2M, PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
	map = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	/* Before it is touched, and after. */
	for (int i = 0; i < 2; i++) {
		ANSWERS(-EACCES, mprotect(map, SZ_2M, PROT_READ | PROT_WRITE));
		ANSWERS(-EACCES, mprotect(map + SZ_4K, SZ_4K, PROT_WRITE));
		ANSWERS(SIGSEGV, rdax_store(map));
		p.address = (uintptr_t)map;
		ANSWERS(-EACCES, ioctl(fd, RDAX_IOC_PREFAULT, &p));
		ANSWERS(0, rdax_load(map));
	}
	ANSWERS(0, mprotect(map, SZ_4K, PROT_NONE));
	ANSWERS(-EACCES, mprotect(map, SZ_4K, PROT_READ | PROT_WRITE));
	moved = mremap(map + SZ_2M / 2, SZ_4K, SZ_4K, MREMAP_MAYMOVE | MREMAP_FIXED, map);
	CHECK(moved == map);
	ANSWERS(-EACCES, mprotect(moved, SZ_4K, PROT_READ | PROT_WRITE));
	ANSWERS(SIGSEGV, rdax_store(moved));
	if (!fork())
		_exit(mprotect(moved, SZ_4K, PROT_WRITE) || errno != EACCES ? 0 : 1);
	CHECK(wait(&status) > 0 && !status);
	/* As a debugger would. */
	CHECK(pwrite(open("/proc/self/mem", O_RDWR), "x", 1, (uintptr_t)moved) != 1);
	ANSWERS(0, rdax_load(moved));

	/* Nor opened anew by one who may not open it so. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(open(path, O_RDWR) < 0);
	CHECK(fcntl(fd, F_SETFL, O_RDWR) == 0);
	ANSWERS(-EBADF, write(fd, "x", 1));
}

TEST_F(node, read_only_files)
{
	int fd = open(RDAX_NODE, O_RDONLY | O_CLOEXEC), all = rdax_open();
	char *map = rdax_map(all, 0, SZ_2M);

	ASSERT_GE(fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	rdax_fill(map, 0, SZ_2M, 8 * SZ_4K, 3);
	/* Given by root to one who may not open it at all, and to one who may read. */
	EXPECT_EQ(0, as_nobody(try_to_write, &fd)) FOUND;
	ASSERT_EQ(0, chmod(RDAX_NODE, 0644));
	EXPECT_EQ(0, as_nobody(try_to_write, &fd)) FOUND;
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, 8 * SZ_4K, 3));
	close(fd);
	close(all);
}

/*
 * sysfs and debugfs
 */

/* An address of the kernel: 16 digits, ff and so on (ffff with four levels of page tables). */
static bool has_address(const char *text)
{
	for (; (text = strstr(text, "ff")); text++)
		if (strspn(text, "0123456789abcdef") >= 16)
			return true;
	return false;
}

/* Physical addresses, which a region's `resource` would show to root alone. */
static char resource[32];
static int files_seen, files_read;

static void look_at_file(const char *path, bool may_look)
{
	char buf[2 * SZ_4K];
	struct stat st;
	ssize_t n = -1;
	int fd;

	files_seen++;
	CHECK(!may_look || !stat(path, &st));
	fd = open(path, O_RDONLY);
	if (fd >= 0)
		n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (!may_look ? fd >= 0 : (fd >= 0) != !!(st.st_mode & 04))
		report(__LINE__, fd, path);
	if (n > 0) {
		files_read++;
		buf[n] = '\0';
		if (strcasestr(buf, resource) || has_address(buf))
			report(__LINE__, n, path);
	}
	fd = open(path, O_WRONLY);
	if (fd >= 0 || errno != EACCES)
		report(__LINE__, fd, path);
	fd = open(path, O_RDWR);
	if (fd >= 0 || errno != EACCES)
		report(__LINE__, fd, path);
	if (!chmod(path, 0666))
		report(__LINE__, 0, path);
}

/* All files below, but not what links lead to. */
static void look_at_all(const char *dir, bool may_look)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];

	if (!d) {
		report(__LINE__, -errno, dir);
		return;
	}
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_type == DT_DIR && e->d_name[0] != '.')
			look_at_all(path, may_look);
		else if (e->d_type == DT_REG)
			look_at_file(path, may_look);
	}
	closedir(d);
}

static void look_at_sysfs(void *arg)
{
	look_at_all(RDAX_CLASS "/", true);
	look_at_all(arg, true);
	look_at_all(RDAX_PARAMS, true);
	look_at_file(ND_DRIVER "/bind", true);
	look_at_file(ND_DRIVER "/unbind", true);
	/* More where the kernel has power management. */
	CHECK(files_seen > 25 && files_read > 15);
	/* What is root's to know. */
	ANSWERS(-EACCES, open(RDAX_CLASS "/resource", O_RDONLY));
}

TEST_F(node, sysfs)
{
	char dir[128];

	snprintf(resource, sizeof(resource), "%" PRIx64, rdax_attr("resource"));
	snprintf(dir, sizeof(dir), ND_DEVICES "/%s/" REGION, rdax_ns());
	EXPECT_EQ(0, as_nobody(look_at_sysfs, dir)) FOUND;
}

#define DEBUGFS	"/sys/kernel/debug/rdax/rdax0"

static void look_at_debugfs(void *arg)
{
	static const char * const files[] = { "entries", "events", "extents" };
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), DEBUGFS "/%s", files[i]);
		look_at_file(path, false);
	}
	ANSWERS(-EACCES, open(DEBUGFS, O_RDONLY));
}

TEST_F(node, debugfs)
{
	rdax_entries();
	ASSERT_EQ(0, access(DEBUGFS "/entries", R_OK));
	EXPECT_EQ(0, as_nobody(look_at_debugfs, NULL)) FOUND;
}

/*
 * One device between two others of its region
 */

#define PART		(4 * SZ_2M)	/* of each */
#define SEED		0xabcd
#define FILL		SZ_4K

FIXTURE(edges)
{
	int left, right;
	char *maps[2];		/* of the neighbours */
};

static int attr(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/dax/%s", name);
	return rdax_write_file(path, text);
}

/* rdax1, between rdax0 and rdax2. */
FIXTURE_SETUP(edges)
{
	char create[128], part[32];

	ASSERT_EQ(0, rdax_fresh("4K"));
	if (rdax_size() < 3 * PART)
		SKIP(return, "namespace too small");
	snprintf(create, sizeof(create), ND_DEVICES "/%s/" REGION "/create", rdax_ns());
	snprintf(part, sizeof(part), "%" PRIu64, (uint64_t)PART);
	ASSERT_EQ(0, attr("rdax0/size", part));
	ASSERT_EQ(0, rdax_write_file(create, "1"));
	ASSERT_EQ(0, attr("rdax1/size", part));
	ASSERT_EQ(0, rdax_write_file(create, "1"));
	ASSERT_EQ(0, attr("rdax2/size", part));
	self->left = open("/dev/rdax0", O_RDWR | O_CLOEXEC);
	self->right = open("/dev/rdax2", O_RDWR | O_CLOEXEC);
	self->maps[0] = rdax_map(self->left, 0, PART);
	self->maps[1] = rdax_map(self->right, 0, PART);
	ASSERT_NE(MAP_FAILED, self->maps[0]);
	ASSERT_NE(MAP_FAILED, self->maps[1]);
	rdax_fill(self->maps[0], 0, PART, FILL, SEED);
	rdax_fill(self->maps[1], 0, PART, FILL, SEED);
	ASSERT_EQ(0, chmod("/dev/rdax1", 0666));
}

FIXTURE_TEARDOWN(edges)
{
	/* The last page of the one and the first of the other as well as all between. */
	EXPECT_EQ(0, rdax_wrong(self->maps[0], 0, PART, FILL, SEED));
	EXPECT_EQ(0, rdax_wrong(self->maps[1], 0, PART, FILL, SEED));
	close(self->left);
	close(self->right);
}

/* Numbers at the edges of pages, of the device, and of what they are kept in. */
static const uint64_t numbers[] = {
	0, 1, 511, 4095, 4096, 4097, SZ_2M - 1, SZ_2M,
	PART - SZ_2M, PART - 4096, PART - 1, PART, PART + 1, PART + 4095, PART + 4096,
	2 * PART, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 43, (UINT64_C(1) << 52) - 4096,
	INT64_MAX - 4096, INT64_MAX, UINT64_C(1) << 63, (UINT64_C(1) << 63) + PART - 4096,
	UINT64_MAX - PART + 1, UINT64_MAX - 4095, UINT64_MAX,
};

#define N	ARRAY_SIZE(numbers)

/* How many bytes of a range lie on the device. */
static uint64_t inside(uint64_t offset, uint64_t len)
{
	if (offset >= PART)
		return 0;
	return len < PART - offset ? len : PART - offset;
}

#define ROOM	(4 * SZ_4K)	/* of the buffer: behind it there is nothing */

static void calls_at_edges(void *arg)
{
	int fd = open("/dev/rdax1", O_RDWR);
	char *buf = mmap(NULL, ROOM + SZ_4K, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int64_t got, most;

	CHECK(fd >= 0 && buf != MAP_FAILED);
	munmap(buf + ROOM, SZ_4K);
	for (size_t i = 0; i < N; i++) {
		uint64_t at = numbers[i];

		for (size_t j = 0; j < N; j++) {
			uint64_t len = numbers[j];
			struct rdax_range range = { sizeof(range), 0, at, len };
			struct iovec iov[2] = { { buf, len < ROOM ? len : ROOM }, { buf, ROOM } };

			most = inside(at, len);
			got = answer(pread(fd, buf, len, at));
			if (got > most || (got < 0 && got != -EINVAL && got != -EFAULT))
				report(__LINE__, got, "pread");
			got = answer(pwrite(fd, buf, len, at));
			if (got > most || (got < 0 && got != -EINVAL && got != -EFAULT &&
					   got != -ENOSPC))
				report(__LINE__, got, "pwrite");
			got = answer(preadv2(fd, iov, 2, at, 0));
			/* There -1 is the file's position. */
			if (at != UINT64_MAX && got > (int64_t)inside(at, ROOM + iov[0].iov_len))
				report(__LINE__, got, "preadv2");
			got = answer(pwritev2(fd, iov, 2, at, 0));
			if (at != UINT64_MAX && got > (int64_t)inside(at, ROOM + iov[0].iov_len))
				report(__LINE__, got, "pwritev2");
			CHECK(lseek(fd, 0, SEEK_SET) == 0);

			/* Zeroing much takes its time. */
			if (i && inside(at, len) == len && len > SZ_2M)
				continue;
			got = !len || at + len < at ? -EINVAL : at + len > PART ? -EFBIG : 0;
			ANSWERS(got, ioctl(fd, RDAX_IOC_PUNCH, &range));
			ANSWERS(got, ioctl(fd, RDAX_IOC_ZERO, &range));
		}
		got = answer(lseek(fd, at, SEEK_SET));
		if (got > (int64_t)PART)
			report(__LINE__, got, "lseek");
		got = answer(lseek(fd, at, SEEK_END));
		if (got > (int64_t)PART)
			report(__LINE__, got, "lseek to the end");
		CHECK(lseek(fd, PART, SEEK_SET) == PART);
		ANSWERS(0, read(fd, buf, 1));
		ANSWERS(-ENOSPC, write(fd, buf, 1));
	}
	close(fd);
}

TEST_F(edges, calls)
{
	EXPECT_EQ(0, as_nobody(calls_at_edges, NULL)) FOUND;
}

/* What is read at the very end is the device's, and none of the neighbour's. */
static void look_for_others(void *arg)
{
	int fd = open("/dev/rdax1", O_RDWR);
	static char buf[4 * SZ_4K];

	memset(buf, 0x5a, sizeof(buf));
	ANSWERS(0, rdax_zero(fd, 0, PART));
	ANSWERS(100, pread(fd, buf, sizeof(buf), PART - 100));
	for (size_t i = 0; i < sizeof(buf); i++)
		CHECK(buf[i] == (i < 100 ? 0 : 0x5a));
}

TEST_F(edges, read_to_the_end)
{
	EXPECT_EQ(0, as_nobody(look_for_others, NULL)) FOUND;
}

static void map_at_edges(void *arg)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };
	int fd = open("/dev/rdax1", O_RDWR);
	struct rdax_prefault p = { sizeof(p), RDAX_PREFAULT_WRITE, 0, 0, 0 };
	char *map, *more;
	int64_t got;

	for (size_t i = 0; i < N; i++) {
		for (size_t j = 0; j < N; j++) {
			uint64_t at = numbers[i], len = numbers[j];
			uint64_t whole = (len + SZ_4K - 1) / SZ_4K * SZ_4K;

			got = syscall(SYS_mmap, NULL, len, prots[(i + j) % 3], MAP_SHARED, fd, at);
			if (got == -1) {
				if (whole && inside(at, whole) == whole && at % SZ_4K == 0)
					report(__LINE__, -errno, "mmap refused");
				continue;
			}
			/* No more than there is; that is all there. */
			if (at % SZ_4K || inside(at, whole) != whole)
				report(__LINE__, at, "mmap");
			ANSWERS(0, rdax_load((char *)got + whole - 1));
			munmap((char *)got, whole);
		}
	}
	/* A mapping to its end, with nothing behind. */
	map = mmap(NULL, 4 * PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(map != MAP_FAILED && !munmap(map, 4 * PART));
	CHECK(mmap(map, PART, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == map);
	for (size_t i = 0; i < N; i++) {
		for (size_t j = 0; j < N; j++) {
			p.address = (uintptr_t)map + numbers[i];
			p.length = numbers[j];
			p.done = 0;
			got = answer(ioctl(fd, RDAX_IOC_PREFAULT, &p));
			if (got == 0 && inside(numbers[i], numbers[j]) != numbers[j])
				report(__LINE__, numbers[i], "prefault");
			if (p.done > inside(numbers[i], numbers[j]))
				report(__LINE__, p.done, "prefault has done");
		}
	}
	/* Made longer where it is, or elsewhere; made of a part, twice. */
	for (int flags = 0; flags <= MREMAP_MAYMOVE; flags++) {
		more = mremap(map, PART, 2 * PART, flags);
		if (more != MAP_FAILED) {
			for (uint64_t at = PART; at < 2 * PART; at += SZ_4K)
				CHECK(rdax_load(more + at) == SIGBUS &&
				      rdax_store(more + at) == SIGBUS);
			map = mremap(more, 2 * PART, PART, 0);
		}
	}
	more = mremap(map + PART - SZ_4K, 0, 2 * SZ_4K, MREMAP_MAYMOVE);
	if (more != MAP_FAILED)
		CHECK(rdax_store(more + SZ_4K) == SIGBUS && rdax_load(more + SZ_4K) == SIGBUS);
	got = answer(remap_file_pages(map, SZ_4K, 0, PART / SZ_4K, 0));
	CHECK(got < 0 || rdax_store(map) == SIGBUS);
	/* All of what was mapped is there all the same. */
	for (uint64_t at = SZ_4K; at < PART; at += SZ_4K)
		CHECK(!rdax_store(map + at));
}

TEST_F(edges, mappings)
{
	EXPECT_EQ(0, as_nobody(map_at_edges, NULL)) FOUND;
}

/* Arguments in memory that is not the user's, or that is not there. */
static void odd_arguments(void *arg)
{
	static const unsigned long cmds[] = { RDAX_IOC_PUNCH, RDAX_IOC_ZERO, RDAX_IOC_PREFAULT };
	const uintptr_t places[] = {
		0, 1, 4096, -4096UL, -1UL, 1UL << 63, 0xffff800000000000, 0xffffffff81000000,
		0x7ffffffff000, 0x7fffffffffff, 0x800000000000,
	};
	int fd = open("/dev/rdax1", O_RDWR);

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(cmds); j++)
			ANSWERS(-EFAULT, ioctl(fd, cmds[j], places[i]));
		ANSWERS(-EFAULT, syscall(SYS_pread64, fd, places[i], SZ_4K, 0));
		ANSWERS(-EFAULT, syscall(SYS_pwrite64, fd, places[i], SZ_4K, 0));
		ANSWERS(-EFAULT, syscall(SYS_preadv, fd, places[i], 1, 0, 0));
	}
	/* Numbers of calls that there are not. */
	for (unsigned long cmd = 0; cmd < 256; cmd++) {
		unsigned long known = _IOC_NR(RDAX_IOC_PREFAULT);

		if (cmd >= 1 && cmd <= known)
			continue;
		ANSWERS(-ENOTTY, ioctl(fd, _IOW(RDAX_IOC_MAGIC, cmd, struct rdax_range), NULL));
	}
}

TEST_F(edges, arguments)
{
	EXPECT_EQ(0, as_nobody(odd_arguments, NULL)) FOUND;
}

/*
 * The log
 */

static void refused_mappings(void *arg)
{
	int fd = *(int *)arg;

	CHECK(mmap(NULL, SZ_4K, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED);
	CHECK(mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, fd, 1UL << 40) == MAP_FAILED);
	CHECK(mmap(NULL, 1UL << 40, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
}

/* Lines of the log with this text, and with an address, behind the last that says `since`. */
static unsigned int log_lines(const char *since, const char *text, bool addresses)
{
	static char log[1 << 21];
	int n = klogctl(3, log, sizeof(log) - 1);
	unsigned int lines = 0;
	char *at, *line, *from = log;

	log[n > 0 ? n : 0] = '\0';
	while ((at = strstr(from, since)))
		from = at + 1;
	for (line = strtok(from, "\n"); line; line = strtok(NULL, "\n"))
		lines += strstr(line, text) && (!addresses || has_address(line));
	return lines;
}

TEST_F(node, no_addresses_in_the_log)
{
	char dir[96], path[160], where[64], mark[64];
	int fd = rdax_open(), log;

	log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	snprintf(mark, sizeof(mark), "permissions.c: begin %d", getpid());
	ASSERT_EQ((ssize_t)strlen(mark), write(log, mark, strlen(mark)));
	snprintf(where, sizeof(where), "%" PRIx64, rdax_attr("resource"));
	EXPECT_EQ(0, as_nobody(refused_mappings, &fd)) FOUND;
	EXPECT_EQ(-EINVAL, attr("rdax0/size", "12345"));
	EXPECT_EQ(-ENOSPC, attr("rdax0/size", "1T"));
	EXPECT_EQ(-EBUSY, attr("rdax0/align", "2M"));
	EXPECT_EQ(-EINVAL, attr("rdax0/align", "3"));
	snprintf(dir, sizeof(dir), ND_DEVICES "/%s/" REGION, rdax_ns());
	snprintf(path, sizeof(path), "%s/create", dir);
	EXPECT_EQ(-EINVAL, rdax_write_file(path, "2"));
	snprintf(path, sizeof(path), "%s/delete", dir);
	EXPECT_EQ(-EBUSY, rdax_write_file(path, "rdax0"));
	EXPECT_EQ(-ENXIO, rdax_write_file(path, "rdax99"));
	EXPECT_EQ(-EBUSY, rdax_bind());
	close(fd);
	ASSERT_EQ(0, rdax_unbind());
	EXPECT_EQ(-EINVAL, rdax_write_file(RDAX_PARAMS "/align", "3K"));
	EXPECT_EQ(-EINVAL, rdax_write_file(RDAX_PARAMS "/force", "all"));
	ASSERT_EQ(0, rdax_fresh("4K"));

	/* They are there, so that it means something what they do not say. */
	EXPECT_LE(5, log_lines(mark, "rdax", false));
	EXPECT_LE(3, log_lines(mark, "refused", false));
	EXPECT_EQ(0, log_lines(mark, "rdax", true));
	EXPECT_EQ(0, log_lines(mark, where, false)) TH_LOG("%s", where);
	close(log);
}

int main(int argc, char **argv)
{
	rdax_begin();
	return test_harness_run(argc, argv);
}
