/* SPDX-License-Identifier: GPL-2.0 */
/*
 * io_uring without a library.
 */
#ifndef RDAX_RING_H
#define RDAX_RING_H

#include <errno.h>
#include <linux/posix_types.h>
#include <linux/stddef.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES	64

struct ring {
	int fd;
	unsigned int flags;	/* it was set up with */
	uint32_t *sq_tail, *sq_mask, *sq_array;
	uint32_t *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned int unseen;	/* by the kernel, whose thread may look at any time */
	unsigned int queued;	/* not submitted yet */
};

static inline int ring_setup(struct ring *r, unsigned int flags)
{
	struct io_uring_params p = { .flags = flags, .sq_thread_idle = 100 };
	char *rings;

	memset(r, 0, sizeof(*r));
	r->flags = flags;
	r->fd = syscall(SYS_io_uring_setup, RING_ENTRIES, &p);
	if (r->fd < 0)
		return -errno;
	rings = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
		     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, r->fd, IORING_OFF_SQES);
	if (rings == MAP_FAILED || r->sqes == MAP_FAILED)
		return -errno;
	r->sq_tail = (uint32_t *)(rings + p.sq_off.tail);
	r->sq_mask = (uint32_t *)(rings + p.sq_off.ring_mask);
	r->sq_array = (uint32_t *)(rings + p.sq_off.array);
	r->cq_head = (uint32_t *)(rings + p.cq_off.head);
	r->cq_tail = (uint32_t *)(rings + p.cq_off.tail);
	r->cq_mask = (uint32_t *)(rings + p.cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
	return 0;
}

/*
 * The next request; its number comes back with the answer. It may be changed until
 * it is submitted.
 */
static inline struct io_uring_sqe *ring_queue(struct ring *r, int op, int fd, const void *addr,
					      unsigned int len, uint64_t offset, uint64_t number)
{
	uint32_t at = (*r->sq_tail + r->unseen) & *r->sq_mask;
	struct io_uring_sqe *sqe = &r->sqes[at];

	*sqe = (struct io_uring_sqe){
		.opcode = op,
		.fd = fd,
		.addr = (uintptr_t)addr,
		.len = len,
		.off = offset,
		.user_data = number,
	};
	r->sq_array[at] = at;
	r->unseen++;
	r->queued++;
	return sqe;
}

/* 0, or -errno. One that is refused at once ends the submission: the rest is left. */
static inline int ring_submit(struct ring *r, unsigned int wait_for)
{
	unsigned int flags = IORING_ENTER_GETEVENTS;
	int ret;

	__atomic_store_n(r->sq_tail, *r->sq_tail + r->unseen, __ATOMIC_RELEASE);
	r->unseen = 0;
	if (r->flags & IORING_SETUP_SQPOLL)
		flags |= IORING_ENTER_SQ_WAKEUP;
	ret = syscall(SYS_io_uring_enter, r->fd, r->queued, wait_for, flags, NULL, 0);
	if (ret < 0)
		return -errno;
	r->queued -= ret;
	return 0;
}

/* One that has ended: false if there is none. */
static inline bool ring_take(struct ring *r, uint64_t *number, int *res)
{
	uint32_t head = *r->cq_head;
	struct io_uring_cqe *cqe;

	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	cqe = &r->cqes[head & *r->cq_mask];
	*number = cqe->user_data;
	*res = cqe->res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

/* Submit all, wait for all, and keep what each returned. */
static inline int ring_run(struct ring *r, int *results, unsigned int count)
{
	unsigned int ended = 0;
	uint64_t number;
	int res, ret;

	while (ended < count) {
		ret = ring_submit(r, 1);
		if (ret)
			return ret;
		while (ring_take(r, &number, &res)) {
			if (number >= count)
				return -ERANGE;
			results[number] = res;
			ended++;
		}
	}
	return 0;
}

#endif /* RDAX_RING_H */
