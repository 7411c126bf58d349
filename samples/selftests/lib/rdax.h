/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every C test of rdax needs: a freshly bound device, its fault counters,
 * accesses that survive SIGBUS, recognisable data, and a limit on how long
 * anything may take.
 */
#ifndef RDAX_SELFTEST_H
#define RDAX_SELFTEST_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SZ_4K	(UINT64_C(1) << 12)
#define SZ_2M	(UINT64_C(1) << 21)
#define SZ_1G	(UINT64_C(1) << 30)

/*
 * The device under test: /dev/rdax0 on a namespace, or the device of the dax bus that $RDAX_DAX_DEVICE
 * names. Tests that run on both (DAX_PROGS in the Makefile) use nothing else of its path.
 */
#define RDAX_NODE	rdax_node()
const char *rdax_node(void);
bool rdax_on_dax_bus(void);
/* Does it have pages? $RDAX_DAX_MEMORY says so: "frames", the default, "pages", or "tracked". */
bool rdax_memory_is_pages(void);

/* Of the device on a namespace only. */
#define RDAX_CLASS	"/sys/class/dax/rdax0"
#define RDAX_PARAMS	"/sys/module/rdax/parameters"
#define ND_DEVICES	"/sys/bus/nd/devices"
#define ND_DRIVER	"/sys/bus/nd/drivers/rdax"
#define DAX_DEVICES	"/sys/bus/dax/devices"
#define DAX_DRIVER	"/sys/bus/dax/drivers/rdax"

/* How many times slower the kernel is, with its checks, than Debian's own. */
#ifndef RDAX_SLOWER
#define RDAX_SLOWER	1
#endif

/* A bind, an unbind or a race takes far less even under TCG, with others at work on the host. */
#define RDAX_PATIENCE	(60 * RDAX_SLOWER)	/* seconds */

/* Opens a disk in RAM of at least 4 MiB with O_DIRECT, or returns -1 where there is none. */
int rdax_ram_disk(void);

/* /sys/class/dax/rdax0/{faults,entries}/ */
struct rdax_counts {
	uint64_t pte_mapped, pmd_mapped, pud_mapped;
	uint64_t pmd_fallback, pud_fallback;
	uint64_t pte_sigbus, pmd_sigbus, pud_sigbus;
	uint64_t oom, raced;
	uint64_t created, waits, wakes;
};

/* The namespace under test, $RDAX_NS or namespace0.0: its data is lost. */
const char *rdax_ns(void);

/*
 * Call first in main(): loads the module, or ends the program with SKIP where
 * there is nothing to test. Unbinds and unloads at exit, and fails if it can't.
 */
void rdax_begin(void);

/*
 * For tests that take the module away, as rdax_begin() does it; unloading returns
 * 0, or -errno at once when it is in use.
 */
void rdax_load_module(void);
int rdax_unload_module(void);

/*
 * Bind the device anew with that `align` parameter ("4K", "2M", "1G"): no
 * index entries, all counters 0. These return 0, -errno, or -ETIMEDOUT when the
 * kernel hasn't come back after RDAX_PATIENCE.
 */
int rdax_fresh(const char *align);
int rdax_bind(void);
int rdax_unbind(void);
/* After its region was enabled: another thread of the kernel adds the namespace then. */
int rdax_wait_for_ns(void);
bool rdax_bound(void);
int rdax_write_file(const char *path, const char *text);

/*
 * How much a fault maps where pages are touched in order: when the tests load the module, one page.
 * "65536" is what it is otherwise.
 */
int rdax_fault_around(const char *bytes);

int rdax_open(void);
void *rdax_map(int fd, uint64_t offset, uint64_t len);
/* Both, from the first byte on: 0, or -errno. */
int rdax_open_mapped(int *fd, char **map, uint64_t len);
/* The path of an attribute: valid until the next call. */
const char *rdax_attr_path(const char *name);
uint64_t rdax_attr(const char *name);
uint64_t rdax_size(void);
/* Can offsets and media agree modulo `bytes`, and does one such page fit? */
bool rdax_fits(uint64_t bytes);
/* Are CPU caches to be written back, or does the platform do that (eADR)? */
bool rdax_has_cache(void);

void rdax_counts(struct rdax_counts *now);
void rdax_delta(const struct rdax_counts *before, struct rdax_counts *delta);
uint64_t rdax_mapped(const struct rdax_counts *c, uint64_t bytes);
uint64_t rdax_sigbus(const struct rdax_counts *c);

/* One access; 0, or the number of the signal that it raised. */
int rdax_load(const void *p);
int rdax_store(void *p);
/* Of a word, which is there if it raised none. */
int rdax_get(const uint64_t *p, uint64_t *word);
int rdax_store_word(uint64_t *p, uint64_t word);

/* The same for a call that makes accesses, or lets others make them. */
int rdax_try(void (*fn)(void *arg), void *arg);

/* What the kernel told about the last of these. */
const siginfo_t *rdax_signal(void);

/*
 * Do a load and a store each raise the SIGBUS of a memory error in that page? In
 * the second, do they after a while? Mappings of what is reported go one by one.
 */
bool rdax_poisoned(void *p);
bool rdax_goes_bad(void *p);

/* What is in a file, or why it can't be read: valid until the next call. */
const char *rdax_text(const char *path);

/*
 * Does every call on this open file, and every access to this mapping of it, find
 * the device gone (ENXIO, SIGBUS)? NULL, or the first that does not.
 */
const char *rdax_file_alive(int fd);
const char *rdax_map_alive(char *map, uint64_t len);

/*
 * Reports a memory error at a physical address, from a child: it has our mappings, so it is told by
 * a signal. 0, or -errno.
 */
int rdax_report_error(uint64_t phys);
bool rdax_can_report_error(void);

/*
 * Words that say which offset and which seed they belong to, one in each `step`
 * bytes of a mapping whose first byte is `offset` on the device (both multiples
 * of `step`). The check returns how many are wrong; a signal counts as wrong.
 */
void rdax_fill(void *map, uint64_t offset, uint64_t len, uint64_t step,
	       uint64_t seed);
uint64_t rdax_wrong(const void *map, uint64_t offset, uint64_t len,
		    uint64_t step, uint64_t seed);

/*
 * Run fn in a child with no ties to our output, so that a task which the kernel
 * never wakes up again can't hold up the test run. Returns what fn returned
 * (0 to 255), -EINTR if a signal ended it, or -ETIMEDOUT.
 */
int rdax_bounded(int (*fn)(void *arg), void *arg, unsigned int seconds);

/* Memory that a bounded child shares with its parent, zeroed. */
void *rdax_shared(size_t size);

/*
 * The ioctls: 0, or -errno.
 */
int rdax_punch(int fd, uint64_t offset, uint64_t len);
int rdax_zero(int fd, uint64_t offset, uint64_t len);

/* The index, as debugfs shows it: valid until the next call. */
const char *rdax_entries(void);
/* A line of debugfs' `events`. */
uint64_t rdax_event(const char *name);

/*
 * Another process that does a step each time it is told to. It has what its
 * parent had when it was started. A step returns 0 to 255; -EIO means that it
 * died, -ETIMEDOUT that it did not come back.
 */
struct rdax_peer {
	pid_t pid;
	int tell, answer;
};

int rdax_peer_start(struct rdax_peer *peer, int (*step)(void *arg, int n), void *arg);
int rdax_peer_step(struct rdax_peer *peer, int n);
void rdax_peer_end(struct rdax_peer *peer);

#endif /* RDAX_SELFTEST_H */
