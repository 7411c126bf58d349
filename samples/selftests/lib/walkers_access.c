// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of the test `walkers` that want to reach the memory itself: by pages, which it
 * does not have, or by its mapping; and what becomes of it with the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdax.h"
#include "ring.h"
#include "walkers.h"

static int answer(long ret)
{
	return ret == -1 ? -errno : 0;
}

/* What a child returned: 0, or -errno; -EINTR if a signal ended it. */
static int child(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

/*
 * By its pages
 */

/* Within the process, so that the other side is ordinary memory. */
static int vm_copy(const struct walked *w, long arg)
{
	static char buf[SZ_4K];
	struct iovec ours = { buf, sizeof(buf) }, its = { w->map, sizeof(buf) };

	return answer(arg ? process_vm_writev(getpid(), &ours, 1, &its, 1, 0) :
			    process_vm_readv(getpid(), &ours, 1, &its, 1, 0));
}

/* The memory is the caller's own, and a plain one is to be reached. */
static int vm_copy_local(const struct walked *w, long arg)
{
	static char buf[SZ_4K];
	struct iovec ours = { w->map, sizeof(buf) }, its = { buf, sizeof(buf) };

	memcpy(buf, w->map, sizeof(buf));
	return answer(arg ? process_vm_writev(getpid(), &ours, 1, &its, 1, 0) :
			    process_vm_readv(getpid(), &ours, 1, &its, 1, 0));
}

static int splice_memory(const struct walked *w, long arg)
{
	struct iovec iov = { w->map, SZ_4K };
	int ends[2], ret;

	if (pipe(ends))
		return -errno;
	ret = answer(vmsplice(ends[1], &iov, 1, arg));
	close(ends[0]);
	close(ends[1]);
	return ret;
}

static int register_buffer(const struct walked *w, long arg)
{
	struct iovec iov = { w->map, w->len };
	struct ring ring;
	int ret = ring_setup(&ring, 0);

	if (ret)
		return ret;
	ret = answer(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1));
	close(ring.fd);
	return ret;
}

static int wait_for_word(const struct walked *w, long arg)
{
	uint32_t word = *(uint32_t *)w->map;

	/* Another word is there: with a key it returns at once. */
	return answer(syscall(SYS_futex, w->map, arg, word ^ 1, NULL, NULL, 0));
}

static int wake_word(const struct walked *w, long arg)
{
	return answer(syscall(SYS_futex, w->map, arg, INT_MAX, NULL, NULL, 0));
}

static int direct(const struct walked *w, long arg)
{
	if (w->direct < 0)
		return -EFAULT;
	return answer(arg ? pwrite(w->direct, w->map, SZ_4K, 0) :
			    pread(w->direct, w->map, SZ_4K, 0));
}

/*
 * By its mapping
 */

static int through_mem(const struct walked *w, long arg)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC), ret;
	long word, want = word_of(w, 0);

	if (fd < 0)
		return -errno;
	ret = answer(pread(fd, &word, sizeof(word), (uintptr_t)w->map));
	if (!ret && word != want)
		ret = -EBADMSG;
	if (!ret && arg)
		ret = answer(pwrite(fd, &word, sizeof(word), (uintptr_t)w->map));
	close(fd);
	return ret;
}

static int trace(pid_t pid, const struct walked *w)
{
	long word;

	if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, NULL, __WALL) != pid)
		return -errno;
	errno = 0;
	word = ptrace(PTRACE_PEEKDATA, pid, w->map, 0);
	if (errno)
		return -errno;
	if (word != word_of(w, 0))
		return -EBADMSG;
	if (ptrace(PTRACE_POKEDATA, pid, w->map, word) || ptrace(PTRACE_DETACH, pid, 0, 0))
		return -errno;
	return 0;
}

/* A child looks at its parent. */
static int traced(const struct walked *w, long arg)
{
	pid_t pid;

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pid = fork();
	if (!pid)
		_exit(-trace(getppid(), w));
	return child(pid);
}

/*
 * userfaultfd
 */

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif
/* Since Linux 7.3. */
#define MODE_RWP	(UINT64_C(1) << 3)

static int uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

static int watch(const struct walked *w, long arg)
{
	struct uffdio_register reg = { { (uintptr_t)w->map, w->len }, arg };
	int fd = uffd(), ret;

	if (fd < 0)
		return -errno;
	ret = answer(ioctl(fd, UFFDIO_REGISTER, &reg));
	close(fd);
	return ret;
}

/* Nothing is registered, but the calls are made all the same. */
static int fill(const struct walked *w, long arg)
{
	char *from = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t at = (uintptr_t)w->map;
	struct uffdio_copy copy = { at, (uintptr_t)from, SZ_4K };
	struct uffdio_zeropage zero = { { at, SZ_4K } };
	struct uffdio_writeprotect protect = { { at, w->len }, UFFDIO_WRITEPROTECT_MODE_WP };
	struct uffdio_continue more = { { at, SZ_4K } };
	struct uffdio_poison poison = { { at, SZ_4K } };
	struct uffdio_move to = { at, (uintptr_t)from, SZ_4K }, away = { (uintptr_t)from, at, SZ_4K };
	int fd = uffd(), ret = 0;

	if (fd < 0)
		return -errno;
	*from = 1;
	if (!ioctl(fd, UFFDIO_COPY, &copy) || !ioctl(fd, UFFDIO_ZEROPAGE, &zero) ||
	    !ioctl(fd, UFFDIO_WRITEPROTECT, &protect) || !ioctl(fd, UFFDIO_CONTINUE, &more) ||
	    !ioctl(fd, UFFDIO_POISON, &poison) || !ioctl(fd, UFFDIO_MOVE, &to) ||
	    !ioctl(fd, UFFDIO_MOVE, &away))
		ret = -EBADE;
	close(fd);
	return ret;
}

/*
 * With the process
 */

static int forked(const struct walked *w, long arg)
{
	pid_t pid = fork();

	if (!pid)
		_exit(-walked_touch(w));
	return child(pid);
}

static int executed(const struct walked *w, long arg)
{
	pid_t pid = fork();

	if (!pid) {
		if (!walked_touch(w))
			execl("/bin/true", "true", NULL);
		_exit(EIO);
	}
	return child(pid);
}

static int dumped(const struct walked *w, long arg)
{
	pid_t pid;
	int status, fd;

	pid = fork();
	if (!pid) {
		fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0x1ff", 5) != 5 || walked_touch(w))
			_exit(EIO);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	unlink("/tmp/walkers.core");
	if (!WIFSIGNALED(status))
		return -WEXITSTATUS(status);
	return WCOREDUMP(status) ? 0 : -ENOENT;
}

/* Killed, and its memory taken away before it gets round to that. */
static int released(const struct walked *w, long arg)
{
	int ends[2], pidfd, ret;
	char c;
	pid_t pid;

	if (pipe(ends))
		return -errno;
	pid = fork();
	if (!pid) {
		c = walked_touch(w) ? 1 : 0;
		if (write(ends[1], &c, 1) == 1)
			pause();
		_exit(1);
	}
	if (pid < 0 || read(ends[0], &c, 1) != 1 || c)
		return -EIO;
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	kill(pid, SIGKILL);
	ret = answer(syscall(SYS_process_mrelease, pidfd, 0));
	waitpid(pid, NULL, 0);
	return ret;
}

#define MISSING	UFFDIO_REGISTER_MODE_MISSING
#define WP	UFFDIO_REGISTER_MODE_WP
#define MINOR	UFFDIO_REGISTER_MODE_MINOR

const struct walk access_walks[] = {
	{ "process_vm_readv", vm_copy, 0, -EFAULT, -EFAULT },
	{ "process_vm_writev", vm_copy, 1, -EFAULT, -EFAULT },
	{ "process_vm_readv into it", vm_copy_local, 0, 0, 0 },
	{ "process_vm_writev from it", vm_copy_local, 1, 0, 0 },
	{ "vmsplice", splice_memory, 0, -EFAULT, -EFAULT },
	{ "vmsplice, given", splice_memory, SPLICE_F_GIFT, -EFAULT, -EFAULT },
	{ "io_uring buffer", register_buffer, 0, -EFAULT, -EFAULT },
	{ "futex, shared", wait_for_word, FUTEX_WAIT, -EFAULT, -EFAULT },
	{ "futex, private", wait_for_word, FUTEX_WAIT_PRIVATE, -EAGAIN, -EAGAIN },
	{ "futex woken, shared", wake_word, FUTEX_WAKE, -EFAULT, -EFAULT },
	{ "O_DIRECT read", direct, 0, -EFAULT, -EFAULT },
	{ "O_DIRECT write", direct, 1, -EFAULT, -EFAULT },
	{ "/proc/self/mem read", through_mem, 0, 0, 0 },
	{ "/proc/self/mem written", through_mem, 1, 0, 0 },
	{ "ptrace", traced, 0, 0, 0 },
	{ "userfaultfd missing", watch, MISSING, -EINVAL, -EINVAL },
	{ "userfaultfd write protection", watch, WP, -EINVAL, -EINVAL },
	{ "userfaultfd minor", watch, MINOR, -EINVAL, -EINVAL },
	{ "userfaultfd all", watch, MISSING | WP | MINOR, -EINVAL, -EINVAL },
	{ "userfaultfd access", watch, MODE_RWP, -EINVAL, -EINVAL },
	{ "userfaultfd calls", fill, 0, 0, 0 },
	{ "fork", forked, 0, 0, 0 },
	{ "exec", executed, 0, 0, 0 },
	{ "core dump", dumped, 0, 0, 0 },
	{ "process_mrelease", released, 0, EITHER, EITHER },
	{ NULL },
};
