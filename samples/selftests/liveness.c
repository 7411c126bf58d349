// SPDX-License-Identifier: GPL-2.0
/*
 * Taking the device away, in each way that there is, from whoever uses it, in
 * each state that a user can be in. The taking away always comes back; what is
 * left answers ENXIO and SIGBUS and never anything else, also after the next
 * bind, which is a working device with all that was written before. A module is
 * not taken away from users, and goes as soon as the last one has ended.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "rdax.h"
#include "ring.h"
#include "uapi/rdax.h"

/* What every user maps at first: words in its first half, nothing in the other. */
#define HEAD		(2 * SZ_2M)
#define STEP		(8 * SZ_4K)
#define SEED		77

/* Where the busy ones are busy. */
#define PLACE		SZ_1G
#define THREADS		12
#define ENOUGH		THREADS		/* turns until they all are at it */

/*
 * Ways
 */

static const char *region_of_ns(void)
{
	static char link[512];
	char path[128];
	ssize_t n;

	snprintf(path, sizeof(path), ND_DEVICES "/%s", rdax_ns());
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return NULL;
	link[n] = '\0';
	*strrchr(link, '/') = '\0';
	return strrchr(link, '/') + 1;
}

#define REGION_DRIVER	"/sys/bus/nd/drivers/nd_region"
#define NDCTL		"/usr/bin/ndctl"
#define PROVIDER_DRIVER	"/sys/bus/platform/drivers/acpi-nfit"
#define PROVIDER	"ACPI0012:00"

static char region[64];		/* of the namespace, also when that is not there */

static int ndctl(void *command)
{
	const char *of = strstr(command, "region") ? region : rdax_ns();

	execl(NDCTL, "ndctl", command, of, NULL);
	return 127;
}

static int take_by_ndctl(char *command)
{
	int ret;

	/* It opens what node it finds first, which another may have deleted. */
	for (int i = 0; i < 20; i++) {
		ret = rdax_bounded(ndctl, command, RDAX_PATIENCE);
		if (ret == -ETIMEDOUT || !rdax_bound())
			return ret;
	}
	return -EBUSY;
}

static int take_namespace(void)
{
	return take_by_ndctl("disable-namespace");
}

static int take_region(void)
{
	return take_by_ndctl("disable-region");
}

/* `ndctl enable-region` does no more than that. */
static int give_region(void)
{
	return rdax_write_file(REGION_DRIVER "/bind", region) ?: rdax_wait_for_ns();
}

/* The whole bus, with all DIMMs and regions. */
static int take_bus(void)
{
	return rdax_write_file(PROVIDER_DRIVER "/unbind", PROVIDER);
}

static int give_bus(void)
{
	return rdax_write_file(PROVIDER_DRIVER "/bind", PROVIDER) ?: rdax_wait_for_ns();
}

static int give_namespace(void)
{
	return 0;
}

static int give_module(void)
{
	rdax_load_module();
	return 0;
}

struct way {
	int (*take)(void);
	int (*give)(void);
	bool refused;	/* while a file is open */
};

/*
 * The user: a process that the test can do without, should it hang
 */

enum phase {
	BUSY,	/* use the device */
	STOP,	/* end: it was not taken away */
	GONE,	/* it was taken away */
	BACK,	/* and another is there in its place */
};

struct user {
	enum phase phase;	/* as the test says */
	enum phase seen;	/* and the user has checked */
	uint64_t turns;		/* of work done */
	uint64_t stored[THREADS];	/* the last word that each thread has stored */
	int line, error;	/* where something was not as it should be, */
	char what[80];		/* and perhaps what */
};

/* What the user has, in its own process. */
static struct {
	int fd;
	char *map, *place;
} my;

struct state {
	/* Get there; false if that failed. */
	bool (*begin)(struct user *u);
	/* Work that is under way all the time, by threads: 0, -errno or a signal. */
	int (*turns[THREADS])(struct user *u, int thread);
	/* What else must be so before the device is taken away. */
	bool (*ready)(struct user *u);
	/* Check what is left of it, in each phase but BUSY. */
	bool (*end)(struct user *u, enum phase phase);
	bool idle;	/* nothing is held */
};

static enum phase phase_of(struct user *u)
{
	return __atomic_load_n(&u->phase, __ATOMIC_SEQ_CST);
}

static void set_phase(struct user *u, enum phase phase)
{
	__atomic_store_n(&u->phase, phase, __ATOMIC_SEQ_CST);
}

static enum phase wait_while(struct user *u, enum phase phase)
{
	while (phase_of(u) == phase)
		usleep(1000);
	return phase_of(u);
}

static void turn_done(struct user *u)
{
	__atomic_fetch_add(&u->turns, 1, __ATOMIC_SEQ_CST);
}

static uint64_t turns_of(struct user *u)
{
	return __atomic_load_n(&u->turns, __ATOMIC_SEQ_CST);
}

static bool wrong(struct user *u, int line, int error)
{
	if (!u->line) {
		u->line = line;
		u->error = error;
	}
	return false;
}

/* Is that true? Otherwise the test will say where it was not. */
#define WELL(what)	(errno = 0, (what) || wrong(u, __LINE__, errno))

struct worker {
	struct user *u;
	int (*turn)(struct user *u, int thread);
	int number;
};

static bool died(int ret)
{
	return ret == -ENXIO || ret == SIGBUS;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct user *u = w->u;
	enum phase phase;
	int ret;

	do {
		phase = phase_of(u);
		if (phase == STOP)
			return NULL;
		ret = w->turn(u, w->number);
		if (!ret) {
			turn_done(u);
			if (phase != BUSY)
				wrong(u, __LINE__, w->number);
		}
	} while (!ret && phase == BUSY);

	/* A call may have lost its buffer, which is a mapping of the device. */
	if (!died(ret) && ret != -EFAULT)
		wrong(u, __LINE__, ret);
	if (wait_while(u, BUSY) == STOP)
		wrong(u, __LINE__, ret);
	for (int i = 0; i < 3; i++) {
		ret = w->turn(u, w->number);
		if (!died(ret))
			wrong(u, __LINE__, ret);
	}
	return NULL;
}

/* What is left of the file and the mapping that every user begins with. */
static bool still_dead(struct user *u)
{
	const char *alive = my.fd < 0 ? NULL : rdax_file_alive(my.fd);

	if (!alive && my.map)
		alive = rdax_map_alive(my.map, HEAD);
	if (!alive)
		return true;
	snprintf(u->what, sizeof(u->what), "%s", alive);
	return wrong(u, __LINE__, 0);
}

static bool let_go_of_file(struct user *u)
{
	if (!WELL(!close(my.fd)))
		return false;
	my.fd = -1;
	return true;
}

static bool let_go_of_map(struct user *u)
{
	if (!WELL(!munmap(my.map, HEAD)))
		return false;
	my.map = NULL;
	return true;
}

static bool live_through(struct user *u, const struct state *s)
{
	struct worker workers[THREADS];
	pthread_t threads[THREADS];
	enum phase phase;
	int n;

	my.fd = rdax_open();
	if (!WELL(my.fd >= 0))
		return false;
	my.map = rdax_map(my.fd, 0, HEAD);
	if (!WELL(my.map != MAP_FAILED))
		return false;
	rdax_fill(my.map, 0, SZ_2M, STEP, SEED);
	if (s->begin && !s->begin(u))
		return false;

	for (n = 0; n < THREADS && s->turns[n]; n++) {
		workers[n] = (struct worker){ u, s->turns[n], n };
		if (!WELL(!pthread_create(&threads[n], NULL, work, &workers[n])))
			return false;
	}
	if (!n)
		__atomic_store_n(&u->turns, ENOUGH, __ATOMIC_SEQ_CST);
	phase = wait_while(u, BUSY);
	while (n--)
		if (!WELL(!pthread_join(threads[n], NULL)))
			return false;
	if (u->line)
		return false;
	for (;;) {
		if (phase != STOP && !still_dead(u))
			return false;
		if (s->end && !s->end(u, phase))
			return false;
		__atomic_store_n(&u->seen, phase, __ATOMIC_SEQ_CST);
		if (phase != GONE)
			return true;
		phase = wait_while(u, GONE);
	}
}

/* In a process of its own, which a test that has failed can leave behind. */
static pid_t start(struct user *u, const struct state *s)
{
	pid_t pid;
	int null;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		_exit(live_through(u, s) ? 0 : 1);
	}
	return pid;
}

/* Its exit status, or -ETIMEDOUT. */
static int end_of(pid_t pid)
{
	struct pollfd ended = { .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int status, ready = poll(&ended, 1, RDAX_PATIENCE * 1000);

	close(ended.fd);
	if (ready != 1) {
		kill(pid, SIGKILL);
		return -ETIMEDOUT;
	}
	waitpid(pid, &status, 0);
	return status;
}

static bool wait_until_at_it(struct user *u, const struct state *s, uint64_t enough)
{
	for (int i = 0; i < RDAX_PATIENCE * 1000 && !u->line; i++) {
		if (turns_of(u) >= enough && (!s->ready || s->ready(u)))
			return true;
		usleep(1000);
	}
	return false;
}

static bool wait_until_seen(struct user *u, enum phase phase)
{
	for (int i = 0; i < RDAX_PATIENCE * 1000 && !u->line; i++) {
		if (__atomic_load_n(&u->seen, __ATOMIC_SEQ_CST) == phase)
			return true;
		usleep(1000);
	}
	return false;
}

/*
 * The test
 */

static void take_from(struct __test_metadata *_metadata, pid_t *user, const struct way *way,
		      const struct state *s)
{
	struct user *u = rdax_shared(sizeof(*u));
	bool refused = way->refused && !s->idle;
	char *map;
	pid_t pid;
	int fd, ret;

#define FAILED	TH_LOG("line %d: %d %s", u->line, u->error, u->what)
	pid = start(u, s);
	ASSERT_LT(0, pid);
	*user = pid;
	ASSERT_TRUE(wait_until_at_it(u, s, ENOUGH)) FAILED;

	ASSERT_EQ(refused ? -EAGAIN : 0, way->take());
	if (refused) {
		/* As if nothing had been. */
		if (s->turns[0])
			EXPECT_TRUE(wait_until_at_it(u, s, turns_of(u) + ENOUGH)) FAILED;
		set_phase(u, STOP);
		EXPECT_EQ(0, end_of(pid)) FAILED;
		*user = 0;
		/* What the kernel lets go of for a task that has ended, it does by and by. */
		for (int i = 0; (ret = way->take()) == -EAGAIN && i < RDAX_PATIENCE * 50; i++)
			usleep(20000);
		ASSERT_EQ(0, ret);
	}
	EXPECT_EQ(-1, rdax_open());
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, access(RDAX_CLASS, F_OK));
	if (!refused) {
		set_phase(u, GONE);
		EXPECT_TRUE(wait_until_seen(u, GONE)) FAILED;
	}

	/* Another is there, and knows all that was written to the first. */
	ASSERT_EQ(0, way->give());
	ASSERT_EQ(0, rdax_bind());
	fd = rdax_open();
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, rdax_attr("entries/created"));
	map = rdax_map(fd, 0, rdax_size());
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, STEP, SEED));
	for (int i = 0; i < THREADS; i++) {
		uint64_t word = u->stored[i] ? *(uint64_t *)(map + PLACE + i * SZ_2M) : 0;

		/* One more, if the process was interrupted before it could say so. */
		EXPECT_TRUE(word == u->stored[i] || word == u->stored[i] + 1)
			TH_LOG("thread %d: %" PRIu64 " instead of %" PRIu64, i, word, u->stored[i]);
	}
	rdax_fill(map, 0, SZ_2M, STEP, SEED + 1);
	if (!refused) {
		set_phase(u, BACK);
		EXPECT_EQ(0, end_of(pid)) FAILED;
		*user = 0;
	}
	EXPECT_EQ(0, rdax_wrong(map, 0, SZ_2M, STEP, SEED + 1));
	munmap(map, rdax_size());
	close(fd);
}

FIXTURE(used)
{
	pid_t user;
};

FIXTURE_VARIANT(used)
{
	struct state state;
};

FIXTURE_SETUP(used)
{
	/* Also after a test that failed half-way. */
	if (access("/sys/module/rdax", F_OK))
		rdax_load_module();
	if (!region_of_ns() && !access(PROVIDER_DRIVER, F_OK) &&
	    access(PROVIDER_DRIVER "/" PROVIDER, F_OK))
		ASSERT_EQ(0, give_bus());
	if (!region_of_ns())
		ASSERT_EQ(0, give_region());
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_1G) || rdax_size() < PLACE + SZ_1G)
		SKIP(return, "needs 2 GiB at a multiple of 1 GiB");
}

/* Who is still there after a test that has failed may be what the kernel waits for. */
FIXTURE_TEARDOWN(used)
{
	if (self->user > 0)
		kill(self->user, SIGKILL);
}

/*
 * Held, and nothing done
 */

static bool hold_nothing(struct user *u)
{
	return let_go_of_map(u) && let_go_of_file(u);
}

FIXTURE_VARIANT_ADD(used, idle)
{
	.state.begin = hold_nothing,
	.state.idle = true,
};

FIXTURE_VARIANT_ADD(used, open)
{
	.state.begin = let_go_of_map,
};

FIXTURE_VARIANT_ADD(used, mapped)
{
	.state.begin = let_go_of_file,
};

static pid_t child;

/* The child of a user has what that has, and touches more of it. */
static bool fork_one(struct user *u)
{
	child = fork();
	if (!WELL(child >= 0))
		return false;
	if (!child) {
		if (rdax_store(my.map + SZ_2M) || rdax_load(my.map))
			_exit(1);
		turn_done(u);
		if (wait_while(u, BUSY) == STOP)
			_exit(rdax_load(my.map) || rdax_store(my.map + HEAD - 1) ? 4 : 0);
		if (!still_dead(u))
			_exit(2);
		wait_while(u, GONE);
		_exit(still_dead(u) ? 0 : 3);
	}
	/* The child alone has touched the second half, and the parent has let go of all. */
	while (!turns_of(u) && !waitpid(child, NULL, WNOHANG))
		usleep(1000);
	if (!WELL(turns_of(u)))
		return false;
	return let_go_of_map(u) && let_go_of_file(u);
}

static bool end_fork(struct user *u, enum phase phase)
{
	int status;

	if (phase == GONE)
		return true;
	if (!WELL(waitpid(child, &status, 0) == child))
		return false;
	return !status || wrong(u, __LINE__, status);
}

FIXTURE_VARIANT_ADD(used, forked)
{
	.state.begin = fork_one,
	.state.end = end_fork,
};

static char *moved;

/* A part of a 2 MiB page to an address where it can't be one, another part away. */
static bool remap(struct user *u)
{
	char *room = mmap(NULL, SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!WELL(room != MAP_FAILED))
		return false;
	if (!WELL(!rdax_store(my.map + SZ_2M)))
		return false;
	moved = mremap(my.map + SZ_2M + 5 * SZ_4K, 9 * SZ_4K, 9 * SZ_4K,
		       MREMAP_MAYMOVE | MREMAP_FIXED, room + SZ_4K);
	if (!WELL(moved == room + SZ_4K))
		return false;
	/* Touched in part, there and where it was. */
	if (!WELL(!rdax_store(moved) && !rdax_load(moved + 3 * SZ_4K)))
		return false;
	if (!WELL(!rdax_load(my.map + SZ_2M + 4 * SZ_4K)))
		return false;
	if (!WELL(rdax_load(my.map + SZ_2M + 5 * SZ_4K) == SIGSEGV))
		return false;
	if (!WELL(!munmap(my.map + SZ_2M, SZ_2M)))
		return false;
	my.map = NULL;
	return let_go_of_file(u);
}

static bool end_remap(struct user *u, enum phase phase)
{
	char *room;

	if (phase == STOP) {
		if (!WELL(!rdax_load(moved + 8 * SZ_4K) && !rdax_store(moved)))
			return false;
		return true;
	}
	if (!WELL(!rdax_map_alive(moved, 9 * SZ_4K)))
		return false;
	/* What is dead can be moved, and stays so. */
	room = mmap(NULL, SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!WELL(room != MAP_FAILED))
		return false;
	moved = mremap(moved, 9 * SZ_4K, 9 * SZ_4K, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	if (!WELL(moved == room))
		return false;
	if (!WELL(!rdax_map_alive(moved, 9 * SZ_4K)))
		return false;
	return true;
}

FIXTURE_VARIANT_ADD(used, mremapped)
{
	.state.begin = remap,
	.state.end = end_remap,
};

static int sockets[2];

/* Nobody has the file but a message that nobody has received. */
static bool send_file(struct user *u)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { "x", 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &my.fd, sizeof(int));
	if (!WELL(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets)))
		return false;
	if (!WELL(sendmsg(sockets[0], &msg, 0) == 1))
		return false;
	return let_go_of_map(u) && let_go_of_file(u);
}

static bool receive_file(struct user *u, enum phase phase)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;

	if (phase == GONE)
		return true;
	if (!WELL(recvmsg(sockets[1], &msg, 0) == 1))
		return false;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!WELL(cmsg && cmsg->cmsg_type == SCM_RIGHTS))
		return false;
	memcpy(&my.fd, CMSG_DATA(cmsg), sizeof(int));
	if (phase != STOP)
		return still_dead(u);
	return WELL(read(my.fd, &byte, 1) == 1);
}

FIXTURE_VARIANT_ADD(used, in_a_socket)
{
	.state.begin = send_file,
	.state.end = receive_file,
};

/*
 * In the middle of something, again and again
 */

#define RET(call)	({ errno = 0; (call) == -1 ? -errno : 0; })

/* A mapping that is not yet touched; NULL with errno set. */
static char *fresh_map(struct user *u, uint64_t offset, uint64_t len, bool huge)
{
	char *map = rdax_map(my.fd, offset, len);

	if (map == MAP_FAILED)
		return NULL;
	if (!huge)
		madvise(map, len, MADV_NOHUGEPAGE);
	return map;
}

/* Faults of both sizes, on pages of one's own and of the neighbour. */
static int turn_fault(struct user *u, int thread)
{
	uint64_t turn = turns_of(u), at = PLACE + SZ_1G / 2 + (turn + thread) % 8 * SZ_2M;
	char *map = fresh_map(u, at, 2 * SZ_2M, turn % 3);
	int ret = 0;

	if (!map)
		return -errno;
	for (int n = 0; n < 32 && !ret; n++)
		ret = n % 2 ? rdax_load(map + n * 32 * SZ_4K) : rdax_store(map + n * 32 * SZ_4K);
	munmap(map, 2 * SZ_2M);
	return ret;
}

FIXTURE_VARIANT_ADD(used, mid_fault)
{
	.state.turns = { turn_fault, turn_fault, turn_fault, turn_fault },
};

/* Of one 2 MiB page, or of small ones. */
static uint64_t length_of_turn(struct user *u)
{
	return turns_of(u) % 3 ? SZ_2M : 64 * SZ_4K;
}

/* The buffer is never there, whether it is on other pages or on the same. */
static int turn_read(struct user *u, int thread)
{
	uint64_t to = PLACE + SZ_1G / 2 + thread / 2 * SZ_2M, len = length_of_turn(u);
	char *map = fresh_map(u, to, len, true);
	int ret;

	if (!map)
		return -errno;
	ret = RET(pread(my.fd, map, len, thread % 2 ? to : to + SZ_1G / 4 + 7));
	munmap(map, len);
	return ret;
}

FIXTURE_VARIANT_ADD(used, mid_read)
{
	.state.turns = { turn_read, turn_read, turn_read, turn_read },
};

static int turn_write(struct user *u, int thread)
{
	uint64_t from = PLACE + SZ_1G / 2 + thread / 2 * SZ_2M, len = length_of_turn(u);
	char *map = fresh_map(u, from, len, true);
	int ret;

	if (!map)
		return -errno;
	ret = RET(pwrite(my.fd, map, len, thread % 2 ? from : from + SZ_1G / 4 + 7));
	munmap(map, len);
	return ret;
}

FIXTURE_VARIANT_ADD(used, mid_write)
{
	.state.turns = { turn_write, turn_write, turn_write, turn_write },
};

static int turn_sync(struct user *u, int thread)
{
	return RET(fsync(my.fd));
}

/* Count, in a word of one's own. */
static int turn_store(struct user *u, int thread)
{
	uint64_t *word = (uint64_t *)(my.place + thread * SZ_2M);
	int ret = 0;

	for (int n = 0; n < 100 && !ret; n++) {
		ret = rdax_store_word(word, u->stored[thread] + 1);
		if (!ret)
			__atomic_fetch_add(&u->stored[thread], 1, __ATOMIC_RELAXED);
	}
	return ret;
}

/* A mapping to store to, made of 2 MiB pages. */
static bool map_place(struct user *u)
{
	my.place = rdax_map(my.fd, PLACE, THREADS * SZ_2M);
	if (!WELL(my.place != MAP_FAILED))
		return false;
	return true;
}

FIXTURE_VARIANT_ADD(used, mid_sync)
{
	.state.begin = map_place,
	.state.turns = { turn_sync, turn_store, turn_store, turn_sync, turn_store },
};

static int turn_punch(struct user *u, int thread)
{
	return rdax_punch(my.fd, PLACE + SZ_1G / 2 + 123, 8 * SZ_2M);
}

FIXTURE_VARIANT_ADD(used, mid_punch)
{
	.state.begin = map_place,
	.state.turns = { turn_punch, turn_fault, turn_punch, turn_store },
};

static int turn_prefault(struct user *u, int thread)
{
	uint64_t len = 2 * SZ_2M;
	char *map = fresh_map(u, PLACE + SZ_1G / 2 + thread * SZ_2M, len, turns_of(u) % 2);
	struct rdax_prefault p = {
		.size = sizeof(p),
		.flags = thread % 2 ? RDAX_PREFAULT_WRITE : 0,
		.address = (uintptr_t)map,
		.length = len,
	};
	int ret;

	if (!map)
		return -errno;
	ret = RET(ioctl(my.fd, RDAX_IOC_PREFAULT, &p));
	munmap(map, len);
	return ret;
}

FIXTURE_VARIANT_ADD(used, mid_prefault)
{
	.state.turns = { turn_prefault, turn_prefault, turn_prefault },
};

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = RET(write(fd, text, strlen(text)));
	close(fd);
	return ret;
}

/* An attribute that is not there any more, and one whose device is going. */
static int as_a_call(int ret)
{
	return ret == -ENOENT || ret == -ENODEV ? -ENXIO : ret;
}

static int turn_resize(struct user *u, int thread)
{
	static const char * const sizes[] = { "2G", "2050M", "3G" };

	return as_a_call(write_text(RDAX_CLASS "/size", sizes[turns_of(u) % 3]));
}

static int turn_create(struct user *u, int thread)
{
	char path[128], name[32] = "";
	int fd, ret;

	snprintf(path, sizeof(path), ND_DEVICES "/%s/rdax_region/create", rdax_ns());
	ret = write_text(path, "1");
	if (ret)
		return as_a_call(ret);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return as_a_call(-errno);
	ret = RET(read(fd, name, sizeof(name) - 1));
	close(fd);
	if (ret)
		return as_a_call(ret);
	snprintf(path, sizeof(path), ND_DEVICES "/%s/rdax_region/delete", rdax_ns());
	ret = as_a_call(write_text(path, name));
	/* ndctl has it open. */
	return ret == -EBUSY ? 0 : ret;
}

static int turn_look(struct user *u, int thread)
{
	static const char * const files[] = {
		RDAX_CLASS "/size", RDAX_CLASS "/badblocks", RDAX_CLASS "/entries/created",
		"/sys/kernel/debug/rdax/rdax0/entries", "/sys/kernel/debug/rdax/rdax0/extents",
	};
	char buf[256];
	int fd, ret;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		fd = open(files[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return as_a_call(-errno);
		ret = RET(read(fd, buf, sizeof(buf)));
		close(fd);
		/* debugfs, and what it finds dead: EIO. */
		if (ret)
			return ret == -EIO ? -ENXIO : as_a_call(ret);
	}
	return 0;
}

FIXTURE_VARIANT_ADD(used, mid_resize)
{
	.state.turns = { turn_resize, turn_create, turn_look, turn_fault },
};

/*
 * Waiting for an entry lock
 */

static uint64_t waits_before;

static bool some_wait(struct user *u)
{
	return rdax_event("waits") > waits_before + 10;
}

static int turn_one_page(struct user *u, int thread)
{
	char *map = fresh_map(u, PLACE, SZ_4K, false);
	int ret;

	if (!map)
		return -errno;
	ret = rdax_store(map);
	munmap(map, SZ_4K);
	return ret;
}

FIXTURE_VARIANT_ADD(used, on_one_page)
{
	.state.ready = some_wait,
	.state.turns = { [0 ... 7] = turn_one_page, turn_sync, turn_sync },
};

static bool map_gigabyte(struct user *u)
{
	my.place = rdax_map(my.fd, PLACE, SZ_1G);
	if (!WELL(my.place != MAP_FAILED))
		return false;
	if (!WELL(!rdax_store(my.place)))
		return false;
	if (!WELL(strstr(rdax_entries(), "order 18 mapped dirty")))
		return false;
	return true;
}

/* A sync holds it for long: these wait, at this moment. */
static bool locked_now(struct user *u)
{
	uint64_t waits = rdax_event("waits");

	if (waits < waits_before + 5)
		return false;
	return strstr(rdax_entries(), "order 18 mapped locked");
}

FIXTURE_VARIANT_ADD(used, on_one_gigabyte)
{
	.state.begin = map_gigabyte,
	.state.ready = locked_now,
	.state.turns = { turn_sync, [1 ... 7] = turn_store },
};

/*
 * Waiting for memory that somebody else would have to serve
 */

static struct {
	int uffd;
	char *buf;
	struct ring ring;
	pthread_t thread;
	long (*call)(struct user *u);
	bool done;
	long ret;	/* or -errno */
} served;

#define SERVED	(4 * SZ_4K)

static long served_read(struct user *u)
{
	return pread(my.fd, served.buf, SERVED, PLACE);
}

static long served_write(struct user *u)
{
	return pwrite(my.fd, served.buf, SERVED, PLACE);
}

static long served_punch(struct user *u)
{
	return ioctl(my.fd, RDAX_IOC_PUNCH, served.buf);
}

static long served_prefault(struct user *u)
{
	return ioctl(my.fd, RDAX_IOC_PREFAULT, served.buf);
}

static void *call_served(void *u)
{
	served.ret = served.call(u);
	if (served.ret == -1)
		served.ret = -errno;
	__atomic_store_n(&served.done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static bool unserved_memory(struct user *u)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.mode = UFFDIO_REGISTER_MODE_MISSING,
		.range.len = SERVED,
	};

	served.buf = mmap(NULL, SERVED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* One that may block cannot be polled. */
	served.uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (!WELL(served.buf != MAP_FAILED && served.uffd >= 0))
		return false;
	if (!WELL(!ioctl(served.uffd, UFFDIO_API, &api)))
		return false;
	reg.range.start = (uintptr_t)served.buf;
	if (!WELL(!ioctl(served.uffd, UFFDIO_REGISTER, &reg)))
		return false;
	return true;
}

static bool wait_for_fault(struct user *u)
{
	struct pollfd waits = { .fd = served.uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (!WELL(poll(&waits, 1, RDAX_PATIENCE * 1000) == 1))
		return false;
	if (!WELL(read(served.uffd, &msg, sizeof(msg)) == sizeof(msg)))
		return false;
	if (!WELL(msg.event == UFFD_EVENT_PAGEFAULT))
		return false;
	return true;
}

/* What a call is to find there in the end: an argument that is good for each of them. */
static bool serve(struct user *u)
{
	static union {
		struct rdax_range range;
		struct rdax_prefault prefault;
		char page[SZ_4K];
	} from;
	struct uffdio_copy copy = {
		.dst = (uintptr_t)served.buf,
		.src = (uintptr_t)&from,
		.len = SZ_4K,
	};

	if (served.call == served_punch)
		from.range = (struct rdax_range){ sizeof(from.range), 0, PLACE, SZ_4K };
	else
		from.prefault = (struct rdax_prefault){
			sizeof(from.prefault), 0, (uintptr_t)my.map, SZ_4K, 0
		};
	if (!WELL(!ioctl(served.uffd, UFFDIO_COPY, &copy)))
		return false;
	if (!WELL(!close(served.uffd)))
		return false;
	return true;
}

static bool begin_call(struct user *u, long (*call)(struct user *u))
{
	served.call = call;
	if (!unserved_memory(u))
		return false;
	if (!WELL(!pthread_create(&served.thread, NULL, call_served, u)))
		return false;
	return wait_for_fault(u);
}

static bool begin_read(struct user *u)
{
	return begin_call(u, served_read);
}

static bool begin_write(struct user *u)
{
	return begin_call(u, served_write);
}

static bool begin_punch(struct user *u)
{
	return begin_call(u, served_punch);
}

static bool begin_prefault(struct user *u)
{
	return begin_call(u, served_prefault);
}

/* The call waits until it is served, long after; then it finds the device as it is. */
static bool end_call(struct user *u, enum phase phase)
{
	long want = served.call == served_read || served.call == served_write ? SERVED : 0;

	if (phase == GONE) {
		if (!WELL(!__atomic_load_n(&served.done, __ATOMIC_SEQ_CST)))
			return false;
		return true;
	}
	if (!serve(u))
		return false;
	if (!WELL(!pthread_join(served.thread, NULL)))
		return false;
	if (served.ret != (phase == BACK ? -ENXIO : want))
		return wrong(u, __LINE__, served.ret);
	return true;
}

FIXTURE_VARIANT_ADD(used, unserved_read)
{
	.state.begin = begin_read,
	.state.end = end_call,
};

FIXTURE_VARIANT_ADD(used, unserved_write)
{
	.state.begin = begin_write,
	.state.end = end_call,
};

FIXTURE_VARIANT_ADD(used, unserved_punch)
{
	.state.begin = begin_punch,
	.state.end = end_call,
};

FIXTURE_VARIANT_ADD(used, unserved_prefault)
{
	.state.begin = begin_prefault,
	.state.end = end_call,
};

/*
 * Held by a ring
 */

static bool register_file(struct user *u, unsigned int flags)
{
	int ret = ring_setup(&served.ring, flags);

	if (ret)
		return wrong(u, __LINE__, ret);
	if (!WELL(!syscall(SYS_io_uring_register, served.ring.fd, IORING_REGISTER_FILES, &my.fd, 1)))
		return false;
	return let_go_of_map(u) && let_go_of_file(u);
}

static bool begin_ring(struct user *u)
{
	return register_file(u, 0);
}

static bool begin_polled_ring(struct user *u)
{
	return register_file(u, IORING_SETUP_SQPOLL);
}

/* Requests on the file that nobody has but the ring. */
static bool end_ring(struct user *u, enum phase phase)
{
	struct ring *r = &served.ring;
	static char buf[100];
	int results[5];

	ring_queue(r, IORING_OP_READ, 0, buf, sizeof(buf), PLACE, 0);
	ring_queue(r, IORING_OP_WRITE, 0, buf, sizeof(buf), PLACE, 1);
	ring_queue(r, IORING_OP_FSYNC, 0, NULL, 0, 0, 2);
	ring_queue(r, IORING_OP_READ, 0, buf, sizeof(buf), PLACE, 3);
	ring_queue(r, IORING_OP_WRITE, 0, buf, sizeof(buf), PLACE, 4);
	for (unsigned int i = 0; i < ARRAY_SIZE(results); i++) {
		uint32_t at = (*r->sq_tail + i) & *r->sq_mask;

		r->sqes[at].flags = IOSQE_FIXED_FILE | (i > 2 ? IOSQE_ASYNC : 0);
	}
	if (!WELL(!ring_run(r, results, ARRAY_SIZE(results))))
		return false;
	for (unsigned int i = 0; i < ARRAY_SIZE(results); i++)
		if (results[i] != (phase != STOP ? -ENXIO : i == 2 ? 0 : (int)sizeof(buf)))
			return wrong(u, __LINE__, results[i]);
	return true;
}

FIXTURE_VARIANT_ADD(used, ring)
{
	.state.begin = begin_ring,
	.state.end = end_ring,
};

/* A request that waits for its buffer. */
static bool begin_request(struct user *u, unsigned int flags)
{
	struct io_uring_sqe *sqe;

	if (!register_file(u, flags) || !unserved_memory(u))
		return false;
	sqe = ring_queue(&served.ring, IORING_OP_READ, 0, served.buf, SERVED, PLACE, 0);
	sqe->flags = IOSQE_FIXED_FILE;
	if (!WELL(!ring_submit(&served.ring, 0)))
		return false;
	return wait_for_fault(u);
}

static bool begin_ring_request(struct user *u)
{
	return begin_request(u, 0);
}

static bool begin_polled_request(struct user *u)
{
	return begin_request(u, IORING_SETUP_SQPOLL);
}

static bool end_request(struct user *u, enum phase phase)
{
	uint64_t number;
	int res;

	if (phase == GONE) {
		if (!WELL(!ring_take(&served.ring, &number, &res)))
			return false;
		return true;
	}
	if (!WELL(!close(served.uffd)))
		return false;
	if (!WELL(!ring_run(&served.ring, &res, 1)))
		return false;
	if (res != (phase == BACK ? -ENXIO : SERVED))
		return wrong(u, __LINE__, res);
	return end_ring(u, phase);
}

FIXTURE_VARIANT_ADD(used, ring_request)
{
	.state.begin = begin_ring_request,
	.state.end = end_request,
};

FIXTURE_VARIANT_ADD(used, polled_ring)
{
	.state.begin = begin_polled_ring,
	.state.end = end_ring,
};

FIXTURE_VARIANT_ADD(used, polled_ring_request)
{
	.state.begin = begin_polled_request,
	.state.end = end_request,
};

/*
 * Each of them, in each way
 */

TEST_F_TIMEOUT(used, unbind, 60)
{
	static const struct way way = { .take = rdax_unbind, .give = give_namespace };

	take_from(_metadata, &self->user, &way, &variant->state);
}

TEST_F_TIMEOUT(used, disable_namespace, 60)
{
	static const struct way way = { .take = take_namespace, .give = give_namespace };

	if (access(NDCTL, X_OK))
		SKIP(return, "no ndctl");
	take_from(_metadata, &self->user, &way, &variant->state);
}

TEST_F_TIMEOUT(used, disable_region, 60)
{
	static const struct way way = { .take = take_region, .give = give_region };

	if (access(NDCTL, X_OK))
		SKIP(return, "no ndctl");
	take_from(_metadata, &self->user, &way, &variant->state);
}

TEST_F_TIMEOUT(used, bus, 60)
{
	static const struct way way = { .take = take_bus, .give = give_bus };

	if (access(PROVIDER_DRIVER "/" PROVIDER, F_OK))
		SKIP(return, "the provider is not ACPI's NFIT");
	take_from(_metadata, &self->user, &way, &variant->state);
}

TEST_F_TIMEOUT(used, rmmod, 60)
{
	static const struct way way = {
		.take = rdax_unload_module,
		.give = give_module,
		.refused = true,
	};

	take_from(_metadata, &self->user, &way, &variant->state);
}

int main(int argc, char **argv)
{
	rdax_begin();
	snprintf(region, sizeof(region), "%s", region_of_ns());
	return test_harness_run(argc, argv);
}
