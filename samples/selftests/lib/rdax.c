// SPDX-License-Identifier: GPL-2.0
/*
 * Shared by the C tests: see rdax.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest.h"
#include "rdax.h"
#include "uapi/rdax.h"

static const struct {
	const char *file;
	size_t at;
} counters[] = {
#define COUNTER(dir, name) { #dir "/" #name, offsetof(struct rdax_counts, name) }
	COUNTER(faults, pte_mapped),
	COUNTER(faults, pmd_mapped),
	COUNTER(faults, pud_mapped),
	COUNTER(faults, pmd_fallback),
	COUNTER(faults, pud_fallback),
	COUNTER(faults, pte_sigbus),
	COUNTER(faults, pmd_sigbus),
	COUNTER(faults, pud_sigbus),
	COUNTER(faults, oom),
	COUNTER(faults, raced),
	COUNTER(entries, created),
	COUNTER(entries, waits),
	COUNTER(entries, wakes),
#undef COUNTER
};

static uint64_t *counter_of(struct rdax_counts *c, size_t i)
{
	return (uint64_t *)((char *)c + counters[i].at);
}

const char *rdax_ns(void)
{
	return getenv("RDAX_NS") ?: "namespace0.0";
}

static const char *dax_device(void)
{
	return getenv("RDAX_DAX_DEVICE");
}

bool rdax_on_dax_bus(void)
{
	return dax_device();
}

const char *rdax_node(void)
{
	static char path[64];

	if (!dax_device())
		return "/dev/rdax0";
	snprintf(path, sizeof(path), "/dev/%s", dax_device());
	return path;
}

/*
 * Files
 */

static int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	return 0;
}

const char *rdax_text(const char *path)
{
	static char buf[2 * SZ_4K];
	int ret = read_file(path, buf, sizeof(buf));

	if (ret)
		snprintf(buf, sizeof(buf), "%s: %s", path, strerror(-ret));
	return buf;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

struct text_to {
	const char *path, *text;
};

static int write_child(void *arg)
{
	const struct text_to *to = arg;

	return -write_file(to->path, to->text);
}

int rdax_write_file(const char *path, const char *text)
{
	struct text_to to = { path, text };
	int ret = rdax_bounded(write_child, &to, RDAX_PATIENCE);

	return ret > 0 ? -ret : ret;
}

/* What the bus has no attribute for is in a directory of its own there. */
const char *rdax_attr_path(const char *name)
{
	static char path[160];
	bool own = !strcmp(name, "extents") || !strcmp(name, "badblocks");

	if (dax_device())
		snprintf(path, sizeof(path), DAX_DEVICES "/%s/%s%s", dax_device(),
			 own ? "rdax/" : "", name);
	else
		snprintf(path, sizeof(path), RDAX_CLASS "/%s", name);
	return path;
}

uint64_t rdax_attr(const char *name)
{
	const char *path = rdax_attr_path(name);
	char buf[64];
	uint64_t value;
	int ret;

	ret = read_file(path, buf, sizeof(buf));
	if (ret || sscanf(buf, "%" SCNi64, (int64_t *)&value) != 1)
		ksft_exit_fail_msg("%s: can't read a number: %s\n", path,
				   strerror(-ret));
	return value;
}

uint64_t rdax_size(void)
{
	return rdax_attr("size");
}

bool rdax_fits(uint64_t bytes)
{
	return rdax_attr("resource") % bytes == 0 && rdax_size() >= bytes;
}

bool rdax_has_cache(void)
{
	char path[128], domain[64];

	if (dax_device())
		return true;
	snprintf(path, sizeof(path), ND_DEVICES "/%s/../persistence_domain", rdax_ns());
	return read_file(path, domain, sizeof(domain)) || strcmp(domain, "cpu_cache\n");
}

/*
 * Module and namespace
 */

static void skip_all(const char *why)
{
	ksft_print_header();
	ksft_exit_skip("%s\n", why);
}

static bool in_qemu(void)
{
	char vendor[64];

	return !read_file("/sys/class/dmi/id/sys_vendor", vendor, sizeof(vendor)) &&
	       !strncmp(vendor, "QEMU", 4);
}

static bool module_loaded(void)
{
	return !access("/sys/module/rdax", F_OK);
}

/* The directory of what is bound. */
static const char *bound_path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s/%s", dax_device() ? DAX_DEVICES : ND_DEVICES,
		 dax_device() ?: rdax_ns(), name);
	return path;
}

static int driver_of_device(char *link, size_t size)
{
	const char *path = bound_path("driver");
	ssize_t n;

	n = readlink(path, link, size - 1);
	if (n < 0)
		return -errno;
	link[n] = '\0';
	return 0;
}

bool rdax_bound(void)
{
	char link[256];

	return !driver_of_device(link, sizeof(link)) &&
	       !strcmp(strrchr(link, '/') ?: "", "/rdax");
}

/* The bus binds by new_id, too, but only bind tells of an error. */
static bool memory_is(const char *memory)
{
	return !strcmp(getenv("RDAX_DAX_MEMORY") ?: "frames", memory);
}

int rdax_wait_for_ns(void)
{
	char path[128], idle[256];

	snprintf(path, sizeof(path), ND_DEVICES "/%s", rdax_ns());
	snprintf(idle, sizeof(idle), "%s/../../wait_probe", path);
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		/* The link is there before it can be bound; this waits until then. */
		if (!access(path, F_OK) && !strcmp(rdax_text(idle), "1\n"))
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

int rdax_bind(void)
{
	int ret;

	if (!dax_device())
		return rdax_write_file(ND_DRIVER "/bind", rdax_ns());
	if (rdax_bound())
		return -EBUSY;
	ret = rdax_write_file(DAX_DRIVER "/new_id", dax_device());
	if (!ret && !rdax_bound())
		ret = rdax_write_file(DAX_DRIVER "/bind", dax_device());
	if (!ret && memory_is("tracked"))
		ret = rdax_write_file(rdax_attr_path("rdax/memory"), "tracked");
	return ret;
}

int rdax_unbind(void)
{
	if (dax_device())
		return rdax_write_file(DAX_DRIVER "/unbind", dax_device());
	return rdax_write_file(ND_DRIVER "/unbind", rdax_ns());
}

/* On the dax bus the alignment is the device's. Of a namespace in devdax mode, that is in its info block. */
static int set_align(const char *align)
{
	uint64_t bytes = !strcmp(align, "4K") ? SZ_4K : !strcmp(align, "2M") ? SZ_2M : SZ_1G;
	char text[256], namespace[64];

	if (!dax_device())
		return rdax_write_file(RDAX_PARAMS "/align", align);
	if (rdax_attr("align") == bytes)
		return 0;
	/* libnvdimm's device has another number when the namespace was made again. */
	snprintf(text, sizeof(text), DAX_DEVICES "/%s/../namespace", dax_device());
	if (!read_file(text, namespace, sizeof(namespace))) {
		namespace[strcspn(namespace, "\n")] = '\0';
		snprintf(text, sizeof(text),
			 "ndctl create-namespace -f -e %s -m devdax -M mem -a %s >/dev/null 2>&1",
			 namespace, align);
		return system(text) ? -EINVAL : 0;
	}
	snprintf(text, sizeof(text), "%" PRIu64, bytes);
	return rdax_write_file(rdax_attr_path("align"), text);
}

int rdax_fresh(const char *align)
{
	int ret = rdax_bound() ? rdax_unbind() : 0;

	ret = ret ?: set_align(align);
	if (ret)
		return ret;
	/* If it was made again, a driver has it: rdax, because of its name, or device_dax, because of its type. */
	if (dax_device())
		rdax_write_file("/sys/bus/dax/drivers/device_dax/unbind", dax_device());
	if (!rdax_bound())
		return rdax_bind();
	return memory_is("tracked") ? rdax_write_file(rdax_attr_path("rdax/memory"), "tracked") : 0;
}

/* What earlier tests left at the head might look like a file system. */
static void allow_any_head(void)
{
	rdax_write_file(RDAX_PARAMS "/force", rdax_ns());
}

/* What counts faults means those of one page each: see rdax_fault_around(). */
void rdax_load_module(void)
{
	const char *ko = getenv("RDAX_KO") ?: "../../rdax.ko";
	int fd = open(ko, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		ksft_print_header();
		ksft_exit_fail_msg("%s: %s (set RDAX_KO)\n", ko, strerror(errno));
	}
	if (syscall(SYS_finit_module, fd, "fault_around=0", 0)) {
		ksft_print_header();
		ksft_exit_fail_msg("loading %s: %s\n", ko, strerror(errno));
	}
	close(fd);
	allow_any_head();
	if (dax_device() && rdax_memory_is_pages())
		rdax_write_file(RDAX_PARAMS "/pages", dax_device());
}

bool rdax_memory_is_pages(void)
{
	return memory_is("pages") || memory_is("tracked");
}

int rdax_ram_disk(void)
{
	if (access("/dev/ram0", F_OK) && system("modprobe -q brd rd_nr=1 rd_size=4096"))
		return -1;
	return open("/dev/ram0", O_RDWR | O_DIRECT | O_CLOEXEC);
}

static int unload(void *arg)
{
	return syscall(SYS_delete_module, "rdax", O_NONBLOCK) ? errno : 0;
}

int rdax_unload_module(void)
{
	int ret = rdax_bounded(unload, NULL, RDAX_PATIENCE);

	return ret > 0 ? -ret : ret;
}

static pid_t main_pid;

static void rdax_end(void)
{
	int ret = 0;

	if (getpid() != main_pid)
		return;
	if (rdax_bound())
		ret = rdax_unbind();
	/* A task that has just ended may let its file go a moment later. */
	for (int i = 0; !ret && i < RDAX_PATIENCE * 100; i++) {
		if (!syscall(SYS_delete_module, "rdax", O_NONBLOCK))
			break;
		if (errno != EAGAIN || i == RDAX_PATIENCE * 100 - 1)
			ret = -errno;
		usleep(10000);
	}
	if (ret) {
		ksft_print_msg("can't unbind and unload: %s\n", strerror(-ret));
		fflush(stdout);
		_exit(KSFT_FAIL);
	}
}

void rdax_begin(void)
{
	char link[256];

	if (geteuid())
		skip_all("must be root");
	if (!in_qemu() && !getenv("RDAX_NS"))
		skip_all("not in QEMU: name a namespace to overwrite in RDAX_NS");
	if (!dax_device() && access("/sys/bus/nd", F_OK) && system("modprobe -q nfit"))
		skip_all("no libnvdimm bus and no nfit module");
	if (access(bound_path(""), F_OK))
		skip_all("the namespace, or the device of the dax bus, isn't there");
	if (!rdax_bound() && !driver_of_device(link, sizeof(link)))
		skip_all("it has another driver");

	if (module_loaded())
		allow_any_head();
	else
		rdax_load_module();
	main_pid = getpid();
	atexit(rdax_end);
}

/*
 * The device
 */

int rdax_open(void)
{
	return open(RDAX_NODE, O_RDWR | O_CLOEXEC);
}

void *rdax_map(int fd, uint64_t offset, uint64_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    (off_t)offset);
}

int rdax_open_mapped(int *fd, char **map, uint64_t len)
{
	*fd = rdax_open();
	if (*fd < 0)
		return -errno;
	*map = rdax_map(*fd, 0, len);
	return *map == MAP_FAILED ? -errno : 0;
}

void rdax_counts(struct rdax_counts *now)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		*counter_of(now, i) = rdax_attr(counters[i].file);
}

void rdax_delta(const struct rdax_counts *before, struct rdax_counts *delta)
{
	struct rdax_counts was = *before;

	rdax_counts(delta);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		*counter_of(delta, i) -= *counter_of(&was, i);
}

uint64_t rdax_mapped(const struct rdax_counts *c, uint64_t bytes)
{
	return bytes == SZ_4K ? c->pte_mapped :
	       bytes == SZ_2M ? c->pmd_mapped : c->pud_mapped;
}

uint64_t rdax_sigbus(const struct rdax_counts *c)
{
	return c->pte_sigbus + c->pmd_sigbus + c->pud_sigbus;
}

/*
 * Accesses
 */

static __thread sigjmp_buf on_signal;
static __thread siginfo_t last_signal;

static void handler(int sig, siginfo_t *info, void *context)
{
	last_signal = *info;
	siglongjmp(on_signal, sig);
}

/* SA_NODEFER: then a jump out of the handler need not restore a signal mask. */
__attribute__((constructor)) static void catch_signals(void)
{
	struct sigaction sa = {
		.sa_sigaction = handler,
		.sa_flags = SA_NODEFER | SA_SIGINFO,
	};

	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
}

int rdax_load(const void *p)
{
	int sig = sigsetjmp(on_signal, 0);

	if (!sig)
		(void)__atomic_load_n((const char *)p, __ATOMIC_RELAXED);
	return sig;
}

int rdax_store(void *p)
{
	int sig = sigsetjmp(on_signal, 0);

	if (!sig)
		__atomic_store_n((char *)p, 1, __ATOMIC_RELAXED);
	return sig;
}

int rdax_try(void (*fn)(void *arg), void *arg)
{
	int sig = sigsetjmp(on_signal, 0);

	if (!sig)
		fn(arg);
	return sig;
}

const siginfo_t *rdax_signal(void)
{
	return &last_signal;
}

static bool memory_error_at(const void *p, int sig)
{
	uintptr_t page = (uintptr_t)p & -SZ_4K;

	return sig == SIGBUS && last_signal.si_code == BUS_MCEERR_AR &&
	       ((uintptr_t)last_signal.si_addr & -SZ_4K) == page &&
	       last_signal.si_addr_lsb == 12;
}

bool rdax_poisoned(void *p)
{
	return memory_error_at(p, rdax_load(p)) && memory_error_at(p, rdax_store(p));
}

bool rdax_goes_bad(void *p)
{
	for (int i = 0; i < RDAX_PATIENCE * 100; i++) {
		if (rdax_load(p))
			return rdax_poisoned(p);
		usleep(1000);
	}
	return false;
}

#define HARD_OFFLINE	"/sys/devices/system/memory/hard_offline_page"

static void ignore(int sig)
{
}

static int report(void *arg)
{
	struct sigaction sa = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	char text[32];

	sigaction(SIGBUS, &sa, NULL);
	snprintf(text, sizeof(text), "0x%" PRIx64, *(uint64_t *)arg);
	return -rdax_write_file(HARD_OFFLINE, text);
}

int rdax_report_error(uint64_t phys)
{
	int ret = rdax_bounded(report, &phys, RDAX_PATIENCE);

	return ret > 0 ? -ret : ret;
}

bool rdax_can_report_error(void)
{
	return !access(HARD_OFFLINE, W_OK);
}

int rdax_get(const uint64_t *p, uint64_t *word)
{
	int sig = sigsetjmp(on_signal, 0);

	if (!sig)
		*word = __atomic_load_n(p, __ATOMIC_RELAXED);
	return sig;
}

int rdax_store_word(uint64_t *p, uint64_t word)
{
	int sig = sigsetjmp(on_signal, 0);

	if (!sig)
		__atomic_store_n(p, word, __ATOMIC_RELAXED);
	return sig;
}

/* splitmix64: neighbouring offsets give unrelated words. */
static uint64_t word_at(uint64_t offset, uint64_t seed)
{
	uint64_t z = seed * UINT64_C(0x9e3779b97f4a7c15) + offset;

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Each word lies in another page of its step and at another place in the page. */
static uint64_t place(uint64_t offset, uint64_t step)
{
	return offset / step * 4104 % step;
}

void rdax_fill(void *map, uint64_t offset, uint64_t len, uint64_t step,
	       uint64_t seed)
{
	for (uint64_t done = 0; done < len; done += step) {
		uint64_t at = done + place(offset + done, step);

		__atomic_store_n((uint64_t *)((char *)map + at),
				 word_at(offset + at, seed), __ATOMIC_RELAXED);
	}
}

uint64_t rdax_wrong(const void *map, uint64_t offset, uint64_t len,
		    uint64_t step, uint64_t seed)
{
	uint64_t wrong = 0;

	for (uint64_t done = 0; done < len; done += step) {
		uint64_t at = done + place(offset + done, step);
		const uint64_t *p = (const void *)((const char *)map + at);

		if (rdax_load(p) ||
		    __atomic_load_n(p, __ATOMIC_RELAXED) != word_at(offset + at, seed))
			wrong++;
	}
	return wrong;
}

/*
 * Time
 */

int rdax_bounded(int (*fn)(void *arg), void *arg, unsigned int seconds)
{
	struct pollfd ended = { .events = POLLIN };
	int status, null, ready;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		_exit(fn(arg));
	}
	ended.fd = syscall(SYS_pidfd_open, pid, 0);
	ready = poll(&ended, 1, seconds * 1000);
	close(ended.fd);
	if (ready != 1) {
		kill(pid, SIGKILL);
		return -ETIMEDOUT;
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

void *rdax_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		ksft_exit_fail_msg("%zu bytes of shared memory: %s\n", size,
				   strerror(errno));
	return p;
}

/*
 * The ioctls, and what debugfs shows of the index
 */

static int range_ioctl(int fd, unsigned long cmd, uint64_t offset, uint64_t len)
{
	struct rdax_range range = {
		.size = sizeof(range),
		.offset = offset,
		.length = len,
	};

	return ioctl(fd, cmd, &range) ? -errno : 0;
}

int rdax_punch(int fd, uint64_t offset, uint64_t len)
{
	return range_ioctl(fd, RDAX_IOC_PUNCH, offset, len);
}

int rdax_zero(int fd, uint64_t offset, uint64_t len)
{
	return range_ioctl(fd, RDAX_IOC_ZERO, offset, len);
}

/*
 * What is left of a device that is gone
 */

const char *rdax_file_alive(int fd)
{
	struct rdax_range range = { .size = sizeof(range), .length = SZ_4K };
	struct rdax_prefault prefault = { .size = sizeof(prefault), .length = SZ_4K };
	char buf[16] = "";

#define ALIVE(call) (errno = 0, (call) != -1 || errno != ENXIO)
	if (ALIVE(read(fd, buf, 1)) || ALIVE(pread(fd, buf, sizeof(buf), SZ_2M - 1)))
		return "read";
	if (ALIVE(write(fd, buf, 1)) || ALIVE(pwrite(fd, buf, sizeof(buf), SZ_2M - 1)))
		return "write";
	if (ALIVE(lseek(fd, 0, SEEK_SET)) || ALIVE(lseek(fd, 0, SEEK_END)))
		return "lseek";
	if (ALIVE(fsync(fd)) || ALIVE(fdatasync(fd)))
		return "fsync";
	if (ALIVE(ioctl(fd, RDAX_IOC_PUNCH, &range)) || ALIVE(ioctl(fd, RDAX_IOC_ZERO, &range)) ||
	    ALIVE(ioctl(fd, RDAX_IOC_PREFAULT, &prefault)))
		return "ioctl";
	if (ALIVE((intptr_t)mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, fd, 0)) ||
	    ALIVE((intptr_t)rdax_map(fd, SZ_2M, SZ_2M)))
		return "mmap";
#undef ALIVE
	return NULL;
}

const char *rdax_map_alive(char *map, uint64_t len)
{
	uint64_t step = len / 4 ?: 1;

	for (uint64_t at = 0; at < len; at += step) {
		if (rdax_load(map + at) != SIGBUS)
			return "a load";
		if (rdax_store(map + at) != SIGBUS)
			return "a store";
	}
	if (rdax_store(map + len - 1) != SIGBUS)
		return "a store at the end";
	errno = 0;
	if (msync(map, len, MS_SYNC) != -1 || errno != ENXIO)
		return "msync";
	return NULL;
}

#define DEBUGFS	"/sys/kernel/debug"

static void read_view(const char *name, char *buf, size_t size)
{
	size_t have = 0;
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), DEBUGFS "/rdax/%s/%s", dax_device() ?: "rdax0", name);
	if (access(DEBUGFS "/rdax", F_OK))
		mount("debugfs", DEBUGFS, "debugfs", 0, NULL);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	do {
		n = read(fd, buf + have, size - 1 - have);
		have += n > 0 ? n : 0;
	} while (n > 0);
	close(fd);
	if (n < 0 || have == size - 1)
		ksft_exit_fail_msg("%s: can't read it all\n", path);
	buf[have] = '\0';
}

int rdax_fault_around(const char *bytes)
{
	return rdax_write_file(RDAX_PARAMS "/fault_around", bytes);
}

const char *rdax_entries(void)
{
	static char buf[1 << 18];

	read_view("entries", buf, sizeof(buf));
	return buf;
}

uint64_t rdax_event(const char *name)
{
	char buf[4096], *line;

	read_view("events", buf, sizeof(buf));
	line = strtok(buf, "\n");
	while (line) {
		size_t len = strlen(name);

		if (!strncmp(line, name, len) && line[len] == ' ')
			return strtoull(line + len, NULL, 10);
		line = strtok(NULL, "\n");
	}
	ksft_exit_fail_msg("no event '%s'\n", name);
}

/*
 * Peers
 */

static void serve_steps(int told, int answer, int (*step)(void *arg, int n), void *arg)
{
	int n, ret;

	while (read(told, &n, sizeof(n)) == sizeof(n)) {
		ret = step(arg, n);
		if (write(answer, &ret, sizeof(ret)) != sizeof(ret))
			break;
	}
	_exit(0);
}

int rdax_peer_start(struct rdax_peer *peer, int (*step)(void *arg, int n), void *arg)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		return -errno;
	fflush(stdout);
	peer->pid = fork();
	if (peer->pid < 0)
		return -errno;
	if (!peer->pid) {
		close(to[1]);
		close(from[0]);
		serve_steps(to[0], from[1], step, arg);
	}
	close(to[0]);
	close(from[1]);
	peer->tell = to[1];
	peer->answer = from[0];
	return 0;
}

int rdax_peer_step(struct rdax_peer *peer, int n)
{
	struct pollfd answered = { .fd = peer->answer, .events = POLLIN };
	int ret;

	if (write(peer->tell, &n, sizeof(n)) != sizeof(n))
		return -EIO;
	if (poll(&answered, 1, RDAX_PATIENCE * 1000) != 1)
		return -ETIMEDOUT;
	return read(peer->answer, &ret, sizeof(ret)) == sizeof(ret) ? ret : -EIO;
}

/* One that never comes back must not hold us up: it isn't waited for. */
void rdax_peer_end(struct rdax_peer *peer)
{
	kill(peer->pid, SIGKILL);
	close(peer->tell);
	close(peer->answer);
	for (int i = 0; i < RDAX_PATIENCE * 100 && !waitpid(peer->pid, NULL, WNOHANG); i++)
		usleep(10000);
}
