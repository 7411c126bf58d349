// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes of the node, and what happens meanwhile: a punch of the
 * range, faults of others, a signal, an unbind; with buffers that are a mapping
 * of the very device, and with buffers whose faults nobody serves. A write puts
 * the bytes on the media while the index may still say that there is a hole: if
 * it ever went on saying so, mappings would show zeroes, and reads the bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "bytes.h"
#include "rdax.h"

#define START	SZ_2M
#define WINDOW	(3 * SZ_2M)

static char *map_by(uint64_t bytes)
{
	char *map = rdax_map(rdax_open(), START, WINDOW);

	if (map != MAP_FAILED && bytes == SZ_4K && madvise(map, WINDOW, MADV_NOHUGEPAGE))
		return MAP_FAILED;
	return map;
}

/* All that there is to find out with which seed a byte was made, or that it is 0. */
static bool made_or_zero(const char *p, uint64_t offset, uint64_t len, uint64_t seed)
{
	uint64_t done = 0;

	while (done < len) {
		done += bytes_right(p + done, offset + done, len - done, seed);
		if (done < len && p[done])
			return false;
		done += bytes_zero(p + done, len - done);
	}
	return true;
}

/*
 * Writes and punches of the same range
 */

#define THREADS	4

enum { WRITER, PUNCHER, READER_4K, READER_2M };

struct race {
	int fd;
	char *maps[2];		/* at 4 KiB and at 2 MiB */
	uint64_t rounds, from, len;	/* of the range, on the device */
	uint64_t punch_from, punch_len;
	unsigned int delay;	/* us, of the writer */
	uint64_t round;
	bool done[READER_4K];	/* the writer, the puncher, in this round */
	pthread_barrier_t begin, end;
	/* The first that was wrong. */
	int what, error;
	uint64_t at;
	/* Who came last, by the byte in the middle; and rounds that are some of each. */
	uint64_t data, zeroes, mixed;
};

static void found(struct race *r, int what, uint64_t at)
{
	if (!r->what) {
		r->what = what;
		r->error = errno;
		r->at = at;
	}
}

/* Touch the pages again and again while the others are at it. */
static void look_around(struct race *r, const char *map)
{
	for (int n = 0; n < 20; n++)
		for (uint64_t at = 0; at < r->len; at += r->len / 8 + 1)
			if (rdax_load(map + r->from - START + at))
				found(r, 10, at);
}

/* In two of eight rounds one waits for the other; else who comes first just changes. */
static void wait_a_bit(struct race *r, int me)
{
	if (r->round % 8 == (uint64_t)me)
		while (!__atomic_load_n(&r->done[!me], __ATOMIC_SEQ_CST))
			sched_yield();
	for (uint64_t n = 0; n < (r->round * (me + 1)) % 7 * 300; n++)
		__atomic_load_n(&r->round, __ATOMIC_SEQ_CST);
	if (me == WRITER && r->delay)
		usleep(r->round % 6 * r->delay);
}

static void take_part(struct race *r, int me, char *buf)
{
	if (me < READER_4K)
		wait_a_bit(r, me);
	if (me == WRITER && pwrite(r->fd, buf, r->len, r->from) != (ssize_t)r->len)
		found(r, 1, 0);
	if (me == PUNCHER && rdax_punch(r->fd, r->punch_from, r->punch_len))
		found(r, 2, 0);
	if (me >= READER_4K)
		look_around(r, r->maps[me == READER_2M]);
	if (me < READER_4K)
		__atomic_store_n(&r->done[me], true, __ATOMIC_SEQ_CST);
}

/* When both are done: what mappings show is what reads show, and is one or the other. */
static void compare(struct race *r, char *got, uint64_t seed)
{
	uint64_t right, zeroes;
	char *map;

	if (pread(r->fd, got, r->len, r->from) != (ssize_t)r->len)
		found(r, 3, 0);
	for (int i = 0; i < 2; i++) {
		right = bytes_same(got, r->maps[i] + r->from - START, r->len);
		if (right < r->len)
			found(r, 4 + i, right);
	}
	/* One made now as well. */
	map = rdax_map(r->fd, START, WINDOW);
	right = bytes_same(got, map + r->from - START, r->len);
	if (right < r->len)
		found(r, 6, right);
	munmap(map, WINDOW);
	if (!made_or_zero(got, r->from, r->len, seed))
		found(r, 7, 0);
	zeroes = bytes_zero(got + r->len / 2, 1);
	r->zeroes += zeroes;
	r->data += !zeroes;
	r->mixed += bytes_zero(got, r->len) != r->len &&
		    bytes_right(got, r->from, r->len, seed) != r->len;
	if (r->round % 8 == WRITER && bytes_right(got, r->from, r->len, seed) != r->len)
		found(r, 20, 0);
	if (r->round % 8 == PUNCHER && !zeroes)
		found(r, 21, 0);
}

struct racer {
	struct race *race;
	int me;
};

static void *racer(void *arg)
{
	struct racer *it = arg;
	struct race *r = it->race;
	char *buf = malloc(r->len), *got = malloc(r->len);

	for (uint64_t round = 0; round < r->rounds; round++) {
		if (it->me == WRITER)
			bytes_make(buf, r->from, r->len, round + 1);
		if (it->me == PUNCHER) {
			r->round = round;
			memset(r->done, 0, sizeof(r->done));
			/* Half the time it is a hole already, and mapped as such. */
			if (round % 2 && rdax_punch(r->fd, r->punch_from, r->punch_len))
				found(r, 8, 0);
			look_around(r, r->maps[round / 2 % 2]);
		}
		pthread_barrier_wait(&r->begin);
		take_part(r, it->me, buf);
		pthread_barrier_wait(&r->end);
		if (it->me == WRITER)
			compare(r, got, round + 1);
		if (__atomic_load_n(&r->what, __ATOMIC_SEQ_CST) && it->me == WRITER)
			_exit(1);
		pthread_barrier_wait(&r->end);
	}
	return NULL;
}

static int write_and_punch(void *arg)
{
	struct race *r = arg;
	struct racer racers[THREADS];
	pthread_t threads[THREADS];

	r->fd = rdax_open();
	r->maps[0] = map_by(SZ_4K);
	r->maps[1] = map_by(SZ_2M);
	if (r->maps[0] == MAP_FAILED || r->maps[1] == MAP_FAILED)
		return 2;
	pthread_barrier_init(&r->begin, NULL, THREADS);
	pthread_barrier_init(&r->end, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){ r, i };
		if (pthread_create(&threads[i], NULL, racer, &racers[i]))
			return 3;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return r->what;
}

FIXTURE(punched)
{
	struct race *race;
};

FIXTURE_VARIANT(punched)
{
	uint64_t rounds, from, len, punch_from, punch_len;
	unsigned int delay;
};

FIXTURE_VARIANT_ADD(punched, page)
{
	.rounds = 250,
	.from = START + 5 * SZ_4K,
	.len = SZ_4K,
	.punch_from = START + 5 * SZ_4K,
	.punch_len = SZ_4K,
};

FIXTURE_VARIANT_ADD(punched, odd_part_of_a_page)
{
	.rounds = 250,
	.from = START + 5 * SZ_4K + 1001,
	.len = 77,
	.punch_from = START + 5 * SZ_4K,
	.punch_len = SZ_4K,
};

FIXTURE_VARIANT_ADD(punched, pages)
{
	.rounds = 150,
	.from = START + 100 * SZ_4K + 17,
	.len = 10 * SZ_4K,
	.punch_from = START + 98 * SZ_4K,
	.punch_len = 10 * SZ_4K,
};

FIXTURE_VARIANT_ADD(punched, part_of_2m)
{
	.rounds = 70,
	.from = START + SZ_2M - 3 * SZ_4K,
	.len = 6 * SZ_4K,
	.punch_from = START,
	.punch_len = 2 * SZ_2M,
	.delay = 1000,
};

FIXTURE_VARIANT_ADD(punched, all_of_2m)
{
	.rounds = 40,
	.from = START,
	.len = SZ_2M,
	.punch_from = START,
	.punch_len = SZ_2M,
	.delay = 300,
};

FIXTURE_SETUP(punched)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + WINDOW)
		SKIP(return, "namespace too small or not aligned");
	self->race = rdax_shared(sizeof(*self->race));
	self->race->rounds = variant->rounds;
	self->race->from = variant->from;
	self->race->len = variant->len;
	self->race->punch_from = variant->punch_from;
	self->race->punch_len = variant->punch_len;
	self->race->delay = variant->delay;
}

FIXTURE_TEARDOWN(punched)
{
}

TEST_F_TIMEOUT(punched, while_written, 120)
{
	struct race *r = self->race;

	ASSERT_EQ(0, rdax_bounded(write_and_punch, r, RDAX_PATIENCE))
		TH_LOG("round %" PRIu64 ": what %d, byte %" PRIu64 ", %s", r->round, r->what,
		       r->at, strerror(r->error));
	EXPECT_EQ(NULL, strstr(rdax_entries(), "locked"));
	TH_LOG("%" PRIu64 " rounds: %" PRIu64 " data, %" PRIu64 " zeroes, %" PRIu64 " mixed",
	       r->rounds, r->data, r->zeroes, r->mixed);
}

/*
 * Buffers whose faults are served by hand
 */

struct served {
	int uffd;
	char *buf;
	uint64_t len;
	uint64_t missing;	/* where what is missing begins; all before it is there */
};

/* Memory that is there but for what is behind `missing`; nobody serves that. */
static int serve_by_hand(struct served *s, uint64_t len, uint64_t missing)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	s->len = len;
	s->missing = missing;
	s->buf = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* One that may block cannot be polled. */
	s->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (s->buf == MAP_FAILED || s->uffd < 0 || ioctl(s->uffd, UFFDIO_API, &api))
		return -1;
	madvise(s->buf, len, MADV_NOHUGEPAGE);
	reg.range.start = (uintptr_t)s->buf;
	reg.range.len = len;
	memset(s->buf, 0, missing);
	return ioctl(s->uffd, UFFDIO_REGISTER, &reg);
}

/* Until somebody waits for what is missing. */
static int wait_for_fault(struct served *s)
{
	struct pollfd waits = { .fd = s->uffd, .events = POLLIN };
	struct uffd_msg msg;

	/* Less than rdax_bounded() waits: the caller says where it ended. */
	if (poll(&waits, 1, RDAX_PATIENCE * 500) != 1)
		return -1;
	return read(s->uffd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -1;
}

static int serve(struct served *s, const char *from)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)s->buf + s->missing,
		.src = (uintptr_t)from,
		.len = s->len - s->missing,
	};

	return ioctl(s->uffd, UFFDIO_COPY, &copy);
}

struct waiting {
	int fd;
	bool write;
	struct served served;
	uint64_t offset;
	ssize_t ret;		/* or -errno */
	pid_t tid;
};

static void *move_served(void *arg)
{
	struct waiting *w = arg;

	w->tid = syscall(SYS_gettid);
	w->ret = w->write ? pwrite(w->fd, w->served.buf, w->served.len, w->offset) :
			    pread(w->fd, w->served.buf, w->served.len, w->offset);
	if (w->ret < 0)
		w->ret = -errno;
	return NULL;
}

#define SERVED	(SZ_2M + 8 * SZ_4K)

FIXTURE(served)
{
	struct waiting *w;
};

FIXTURE_VARIANT(served)
{
	bool write;
	uint64_t missing;
};

FIXTURE_VARIANT_ADD(served, read_none)
{
	.write = false,
	.missing = 0,
};

FIXTURE_VARIANT_ADD(served, read_tail)
{
	.write = false,
	.missing = SZ_2M + 3 * SZ_4K,
};

FIXTURE_VARIANT_ADD(served, write_some)
{
	.write = true,
	.missing = 5 * SZ_4K,
};

FIXTURE_VARIANT_ADD(served, write_tail)
{
	.write = true,
	.missing = SZ_2M + 3 * SZ_4K,
};

FIXTURE_SETUP(served)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (!rdax_fits(SZ_2M) || rdax_size() < START + WINDOW)
		SKIP(return, "namespace too small or not aligned");
	self->w = rdax_shared(sizeof(*self->w));
	*self->w = (struct waiting){
		.fd = rdax_open(),
		.write = variant->write,
		.offset = START + 100,
		.served.missing = variant->missing,
	};
}

FIXTURE_TEARDOWN(served)
{
	close(self->w->fd);
}

/* Begin the call, and come back when it waits for the buffer. */
static int begin_waiting(struct waiting *w, pthread_t *thread)
{
	if (serve_by_hand(&w->served, SERVED, w->served.missing))
		return 100;
	bytes_make(w->served.buf, w->offset, w->served.missing, 2);
	if (pthread_create(thread, NULL, move_served, w))
		return 101;
	return wait_for_fault(&w->served) ? 102 : 0;
}

static int unbind_meanwhile(void *arg)
{
	struct timespec limit = {};
	struct waiting *w = arg;
	pthread_t thread;
	char *rest = malloc(SERVED);
	int ret;

	bytes_make(rest, w->offset + w->served.missing, SERVED - w->served.missing, 2);
	ret = begin_waiting(w, &thread);
	if (ret)
		return ret;
	/* Must not wait for the buffer. */
	if (rdax_unbind())
		return 1;
	if (w->ret)
		return 2;
	if (serve(&w->served, rest))
		return 3;
	limit.tv_sec = time(NULL) + RDAX_PATIENCE / 4;
	return pthread_timedjoin_np(thread, NULL, &limit) ? 4 : 0;
}

TEST_F(served, unbound)
{
	struct waiting *w = self->w;
	char *map = map_by(SZ_2M);

	ASSERT_NE(MAP_FAILED, map);
	bytes_make(map, START, WINDOW, 1);
	/* Not to be taken for what the call returns. */
	w->ret = 0;
	ASSERT_EQ(0, rdax_bounded(unbind_meanwhile, w, RDAX_PATIENCE));
	EXPECT_TRUE(w->ret == -ENXIO || (w->ret > 0 && w->ret <= (ssize_t)variant->missing))
		TH_LOG("returned %zd", w->ret);

	/* What was counted was written, and nothing behind it. */
	ASSERT_EQ(0, rdax_bind());
	map = map_by(SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	if (variant->write && w->ret > 0) {
		EXPECT_EQ(w->ret, bytes_right(map + 100, START + 100, w->ret, 2));
		map += variant->missing;
		EXPECT_EQ(SZ_2M, bytes_right(map + 100, START + 100 + variant->missing, SZ_2M, 1));
	} else if (!variant->write) {
		EXPECT_EQ(WINDOW, bytes_right(map, START, WINDOW, 1));
	}
}

/* Others fault, write, read and punch, on the same pages. */
static int work_meanwhile(void *arg)
{
	struct waiting *w = arg;
	uint64_t missing = w->served.missing, at;
	char *small = map_by(SZ_4K), *large = map_by(SZ_2M), *rest = malloc(SERVED);
	char *got = malloc(WINDOW);
	pthread_t thread;
	int ret;

	bytes_make(rest, w->offset + missing, SERVED - missing, 2);
	bytes_make(large, START, WINDOW, 1);
	ret = begin_waiting(w, &thread);
	if (ret)
		return ret;
	if (pwrite(w->fd, "x", 1, START + 3 * SZ_4K) != 1 ||
	    pread(w->fd, got, WINDOW, START) != (ssize_t)WINDOW)
		return 1;
	if (rdax_punch(w->fd, START, WINDOW))
		return 2;
	/* All have zeroes mapped now. */
	for (at = 0; at < WINDOW; at += SZ_4K)
		if (small[at] || large[at] || pread(w->fd, got, 1, START + at) != 1 || *got)
			return 3;
	if (serve(&w->served, rest))
		return 4;
	pthread_join(thread, NULL);
	if (w->ret != (ssize_t)SERVED)
		return 5;

	if (pread(w->fd, got, WINDOW, START) != (ssize_t)WINDOW ||
	    bytes_same(got, small, WINDOW) != WINDOW ||
	    bytes_same(got, large, WINDOW) != WINDOW)
		return 6;
	if (!w->write) {
		/* From where it waited on, it has read what was there then. */
		at = missing;
		return bytes_zero(w->served.buf + at, SERVED - at) == SERVED - at ? 0 : 7;
	}
	at = w->offset - START;
	if (bytes_zero(got, at) != at || !made_or_zero(got + at, w->offset, SERVED, 2) ||
	    bytes_right(got + at + missing, w->offset + missing, SERVED - missing, 2) !=
		    SERVED - missing)
		return 8;
	at += SERVED;
	return bytes_zero(got + at, WINDOW - at) == WINDOW - at ? 0 : 9;
}

TEST_F(served, others_go_on)
{
	EXPECT_EQ(0, rdax_bounded(work_meanwhile, self->w, RDAX_PATIENCE))
		TH_LOG("returned %zd", self->w->ret);
}

/* The media under a waiting call is that of the next binding: it is not reached. */
static int rebind_meanwhile(void *arg)
{
	struct waiting *w = arg;
	char *rest = calloc(1, SERVED);
	pthread_t thread;
	int ret;

	ret = begin_waiting(w, &thread);
	if (ret)
		return ret;
	if (rdax_unbind() || rdax_bind())
		return 1;
	if (serve(&w->served, rest))
		return 2;
	pthread_join(thread, NULL);
	return w->ret == -ENXIO || w->ret > 0 ? 0 : 3;
}

TEST_F(served, rebound)
{
	char *map = map_by(SZ_2M);

	bytes_make(map, START, WINDOW, 1);
	EXPECT_EQ(0, rdax_bounded(rebind_meanwhile, self->w, RDAX_PATIENCE));
	map = map_by(SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	/* What is behind the place where it waited. */
	map += variant->missing + 100;
	EXPECT_EQ(SZ_2M, bytes_right(map, START + 100 + variant->missing, SZ_2M, 1));
}

/* Killed while it waits: it goes, and nothing is held. */
static int wait_for_ever(void *arg)
{
	struct waiting *w = arg;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!begin_waiting(w, &thread))
		__atomic_store_n(&w->ret, 1, __ATOMIC_SEQ_CST);
	pause();
	return 0;
}

static int kill_meanwhile(void *arg)
{
	struct waiting *w = arg;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(wait_for_ever(w));
	while (!__atomic_load_n(&w->ret, __ATOMIC_SEQ_CST))
		usleep(1000);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		return 1;
	return rdax_unbind() ? 2 : 0;
}

TEST_F(served, killed)
{
	EXPECT_EQ(0, rdax_bounded(kill_meanwhile, self->w, RDAX_PATIENCE));
}

/*
 * Signals
 */

#define LONG	(12 * SZ_2M)

static int signals;

static void on_alarm(int sig)
{
	__atomic_fetch_add(&signals, 1, __ATOMIC_RELAXED);
}

struct interrupted {
	bool write, restart;
	uint64_t calls, shorts, again;
	ssize_t ret;
	int error;
	uint64_t right;
};

/* A long read or write by an interval timer that interrupts it: nothing is lost. */
static int move_with_signals(void *arg)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval every = { { 0, 500 }, { 0, 500 } }, never = { };
	struct interrupted *in = arg;
	int fd = rdax_open();
	char *buf = malloc(LONG), *map = rdax_map(fd, 0, LONG);
	uint64_t done = 0;

	if (map == MAP_FAILED)
		return 1;
	memset(buf, 0, LONG);
	bytes_make(in->write ? buf : map, 0, LONG, 3);
	sa.sa_flags = in->restart ? SA_RESTART : 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	while (done < LONG) {
		in->calls++;
		in->ret = in->write ? write(fd, buf + done, LONG - done) :
				      read(fd, buf + done, LONG - done);
		in->error = errno;
		if (in->ret < 0 && in->error == EINTR && !in->restart) {
			in->again++;
			continue;
		}
		if (in->ret <= 0)
			return 2;
		done += in->ret;
		in->shorts += done < LONG;
		if (lseek(fd, 0, SEEK_CUR) != (off_t)done)
			return 3;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	in->right = bytes_right(in->write ? map : buf, 0, LONG, 3);
	if (in->right != LONG)
		return 4;
	return 0;
}

FIXTURE(signals)
{
	struct interrupted *in;
};

FIXTURE_VARIANT(signals)
{
	bool write, restart;
};

FIXTURE_VARIANT_ADD(signals, read)
{
	.write = false,
	.restart = false,
};

FIXTURE_VARIANT_ADD(signals, read_restarted)
{
	.write = false,
	.restart = true,
};

FIXTURE_VARIANT_ADD(signals, write)
{
	.write = true,
	.restart = false,
};

FIXTURE_VARIANT_ADD(signals, write_restarted)
{
	.write = true,
	.restart = true,
};

FIXTURE_SETUP(signals)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (rdax_size() < LONG)
		SKIP(return, "namespace too small");
	self->in = rdax_shared(sizeof(*self->in));
	self->in->write = variant->write;
	self->in->restart = variant->restart;
}

FIXTURE_TEARDOWN(signals)
{
}

TEST_F_TIMEOUT(signals, nothing_lost, 120)
{
	struct interrupted *in = self->in;

	/* A busy host may deliver no signal before a call has ended. */
	for (int i = 0; i < 20 && !in->shorts; i++)
		EXPECT_EQ(0, rdax_bounded(move_with_signals, in, RDAX_PATIENCE))
			TH_LOG("returned %zd (%s), %" PRIu64 " right", in->ret,
			       strerror(in->error), in->right);
	/* It was interrupted, and said how far it had come. */
	EXPECT_LT(0, in->shorts);
	TH_LOG("%" PRIu64 " calls, %" PRIu64 " short ones, %" PRIu64 " EINTR", in->calls,
	       in->shorts, in->again);
}

/* The same memory again and again: calls that move far more than there is memory. */
#define MANY	512
#define PIECE	SZ_2M

static ssize_t move_many(int fd, bool write, char *buf)
{
	static struct iovec iov[MANY];

	for (int i = 0; i < MANY; i++)
		iov[i] = (struct iovec){ buf, PIECE };
	return write ? pwritev(fd, iov, MANY, 0) : preadv(fd, iov, MANY, 0);
}

/* Killed in the middle: it ends there, not when all is done. */
static int kill_writer(void *arg)
{
	char *buf = rdax_shared(PIECE), *map = rdax_map(rdax_open(), 0, MANY * PIECE);
	int *written = arg, status;
	pid_t pid;

	if (map == MAP_FAILED)
		return 1;
	for (int i = 0; i < MANY; i++)
		map[i * PIECE] = map[(i + 1) * PIECE - 1] = 0;
	bytes_make(buf, 0, PIECE, 1);
	pid = fork();
	if (!pid)
		_exit(move_many(rdax_open(), true, buf) != (ssize_t)(MANY * PIECE));
	while (!__atomic_load_n(map + 3 * PIECE, __ATOMIC_RELAXED))
		;
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return 2;
	for (*written = 0; *written < MANY && map[*written * PIECE]; (*written)++)
		;
	/* Steps are whole, and in turn. */
	for (int i = *written; i < MANY; i++)
		if (map[i * PIECE] || map[(i + 1) * PIECE - 1])
			return 3;
	return WIFSIGNALED(status) ? 0 : 4;
}

TEST(killed_while_writing)
{
	int *written = rdax_shared(sizeof(*written));

	ASSERT_EQ(0, rdax_fresh("4K"));
	if (rdax_size() < MANY * PIECE)
		SKIP(return, "namespace too small");
	EXPECT_EQ(0, rdax_bounded(kill_writer, written, RDAX_PATIENCE));
	EXPECT_LE(3, *written);
	EXPECT_GT(MANY, *written);
	TH_LOG("%d of %d", *written, MANY);
}

static int kill_reader(void *arg)
{
	char *buf = rdax_shared(PIECE), *map = rdax_map(rdax_open(), 0, MANY * PIECE);
	int status;
	pid_t pid;

	if (map == MAP_FAILED)
		return 1;
	for (int i = 0; i < MANY; i++)
		map[i * PIECE] = 1;
	pid = fork();
	if (!pid)
		_exit(move_many(rdax_open(), false, buf) != (ssize_t)(MANY * PIECE));
	while (!__atomic_load_n(buf, __ATOMIC_RELAXED))
		;
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return 2;
	return WIFSIGNALED(status) ? 0 : 3;
}

TEST(killed_while_reading)
{
	ASSERT_EQ(0, rdax_fresh("4K"));
	if (rdax_size() < MANY * PIECE)
		SKIP(return, "namespace too small");
	EXPECT_EQ(0, rdax_bounded(kill_reader, NULL, RDAX_PATIENCE));
}

/*
 * Unbound
 */

TEST(unbound)
{
	char buf[100] = "";
	struct iovec iov = { buf, sizeof(buf) };
	int fd, ret;

	ASSERT_EQ(0, rdax_fresh("4K"));
	fd = rdax_open();
	EXPECT_EQ(100, pread(fd, buf, 100, 0));
	for (int round = 0; round < 2; round++) {
		ret = round ? rdax_bind() : rdax_unbind();
		ASSERT_EQ(0, ret);
#define GONE(call) do {					\
		EXPECT_EQ(-1, (call));			\
		EXPECT_EQ(ENXIO, errno);		\
	} while (0)
		GONE(read(fd, buf, 100));
		GONE(write(fd, buf, 100));
		GONE(pread(fd, buf, 100, 4096));
		GONE(pwrite(fd, buf, 100, 4096));
		GONE(readv(fd, &iov, 1));
		GONE(writev(fd, &iov, 1));
		GONE(preadv2(fd, &iov, 1, 0, RWF_NOWAIT));
		GONE(pwritev2(fd, &iov, 1, 0, RWF_DSYNC));
		GONE(pread(fd, buf, 100, INT64_MAX - 100));
		GONE(pwrite(fd, buf, 100, INT64_MAX - 100));
		GONE(lseek(fd, 0, SEEK_END));
		GONE(fsync(fd));
		GONE(fdatasync(fd));
#undef GONE
		EXPECT_EQ(-ENXIO, rdax_punch(fd, 0, 4096));
		EXPECT_EQ(-ENXIO, rdax_zero(fd, 0, 4096));
	}
	close(fd);
}

/*
 * Unbound under load
 */

#define MOVERS		4
#define BINDINGS	6

struct load {
	int fd;
	char *map;
	bool gone;		/* unbind has returned */
	int odd, odd_errno;	/* anything that may not be */
	int served_after;	/* bytes moved by calls that began after that */
	uint64_t moved;
};

struct mover {
	struct load *load;
	int me;
};

/* Between the device and its mapping, or memory; the same range, or another. */
static void *move_loop(void *arg)
{
	struct mover *m = arg;
	struct load *l = m->load;
	char *own = malloc(SZ_2M);
	uint64_t len = 3 * SZ_4K + 5;

	for (uint64_t i = 0;; i++) {
		uint64_t at = (i * 77777) % (SZ_2M - len);
		char *buf = m->me & 2 ? own : l->map + (i % 2 ? at : at / 2);
		bool was_gone = __atomic_load_n(&l->gone, __ATOMIC_SEQ_CST);
		ssize_t ret;

		if (i % 16 == 0)
			len = i % 32 ? SZ_2M - 1000 : 3 * SZ_4K + 5;
		ret = m->me & 1 ? pwrite(l->fd, buf, len, START + at) :
				  pread(l->fd, buf, len, START + at);
		if (ret > 0 && was_gone)
			__atomic_fetch_add(&l->served_after, 1, __ATOMIC_SEQ_CST);
		if (ret > 0)
			__atomic_fetch_add(&l->moved, 1, __ATOMIC_SEQ_CST);
		/* EFAULT: the buffer is gone. The next call says that all is. */
		if (ret < 0 && errno == ENXIO)
			break;
		if (!ret || (ret < 0 && errno != EFAULT)) {
			l->odd_errno = ret ? errno : 0;
			__atomic_fetch_add(&l->odd, 1, __ATOMIC_SEQ_CST);
			break;
		}
	}
	free(own);
	return NULL;
}

static int unbind_under_load(void *arg)
{
	struct mover movers[MOVERS];
	pthread_t threads[MOVERS];
	struct load *l = arg;
	int ret, i;

	l->fd = rdax_open();
	l->map = rdax_map(l->fd, START, SZ_2M * 2);
	if (l->map == MAP_FAILED)
		return 1;
	for (i = 0; i < MOVERS; i++) {
		movers[i] = (struct mover){ l, i };
		if (pthread_create(&threads[i], NULL, move_loop, &movers[i]))
			return 2;
	}
	while (__atomic_load_n(&l->moved, __ATOMIC_RELAXED) < 50)
		usleep(500);
	ret = rdax_unbind();
	__atomic_store_n(&l->gone, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < MOVERS; i++)
		pthread_join(threads[i], NULL);
	return ret ? 3 : 0;
}

TEST(unbound_while_moving)
{
	struct load *l = rdax_shared(sizeof(*l));

	for (int i = 0; i < BINDINGS; i++) {
		memset(l, 0, sizeof(*l));
		ASSERT_EQ(0, rdax_fresh("4K"));
		ASSERT_EQ(0, rdax_bounded(unbind_under_load, l, RDAX_PATIENCE));
		EXPECT_EQ(0, l->served_after);
		EXPECT_EQ(0, l->odd)
			TH_LOG("errno %d", l->odd_errno);
	}
}

int main(int argc, char **argv)
{
	rdax_begin();
	rdax_fault_around("65536");
	return test_harness_run(argc, argv);
}
