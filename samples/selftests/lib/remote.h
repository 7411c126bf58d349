/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory that a remote machine writes and reads, by RDMA: the kernel's rdma_rxe on a dummy network
 * device, and a connection from it to itself. Errors are returned as -errno.
 */
#ifndef RDAX_SELFTEST_REMOTE_H
#define RDAX_SELFTEST_REMOTE_H

#include <stddef.h>
#include <infiniband/verbs.h>

struct remote {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *near, *far;
};

/* Makes the device until the program ends. Returns NULL, or what is missing. */
const char *remote_take(void);

int remote_open(struct remote *remote);
void remote_close(struct remote *remote);

/* Registers memory: the kernel pins it for long. */
int remote_register(struct remote *remote, void *memory, size_t len, struct ibv_mr **mr);

/*
 * The other end of the connection copies LEN bytes from its memory to ours, or back. Both ends belong to
 * this process.
 */
int remote_writes(struct remote *remote, struct ibv_mr *to, size_t at, struct ibv_mr *own, size_t len);
int remote_reads(struct remote *remote, struct ibv_mr *from, size_t at, struct ibv_mr *own, size_t len);

#endif /* RDAX_SELFTEST_REMOTE_H */
