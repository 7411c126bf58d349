// SPDX-License-Identifier: GPL-2.0
/*
 * See remote.h.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kselftest.h"
#include "rdax.h"
#include "remote.h"

#define DEVICE	"rdax_rxe"
#define NETWORK	"rdax_dummy"
/* For documents and examples (RFC 5737). */
#define ADDRESS	"192.0.2.1"
#define PORT	1

static const uint8_t gid_of_address[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };

static pid_t taker;

/* Also what an earlier program left because it was killed. */
static void unmake(void)
{
	if (system("rdma link delete " DEVICE " 2>/dev/null; ip link delete " NETWORK " 2>/dev/null"))
		return;
}

static void release(void)
{
	if (getpid() == taker)
		unmake();
}

const char *remote_take(void)
{
	if (system("modprobe -qa dummy rdma_rxe ib_uverbs"))
		return "no modules dummy, rdma_rxe and ib_uverbs";
	if (system("command -v ip rdma >/dev/null"))
		return "no programs ip and rdma";
	unmake();
	taker = getpid();
	atexit(release);
	if (system("ip link add " NETWORK " type dummy && ip address add " ADDRESS "/24 dev " NETWORK
		   " && ip link set " NETWORK " up && rdma link add " DEVICE
		   " type rxe netdev " NETWORK)) {
		ksft_print_header();
		ksft_exit_fail_msg("no device of type rxe can be made\n");
	}
	return NULL;
}

static struct ibv_context *open_device(void)
{
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct ibv_context *context = NULL;

	for (int i = 0; devices && devices[i] && !context; i++)
		if (!strcmp(ibv_get_device_name(devices[i]), DEVICE))
			context = ibv_open_device(devices[i]);
	if (devices)
		ibv_free_device_list(devices);
	return context;
}

static int gid_index(struct ibv_context *context, union ibv_gid *gid)
{
	for (int i = 0; i < 16; i++)
		if (!ibv_query_gid(context, PORT, i, gid) &&
		    !memcmp(gid->raw, gid_of_address, sizeof(gid_of_address)))
			return i;
	return -ENOENT;
}

static struct ibv_qp *make_qp(struct remote *remote)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = remote->cq, .recv_cq = remote->cq, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};

	return ibv_create_qp(remote->pd, &attr);
}

/* The three steps to a connection that sends. */
static int connect_qp(struct ibv_qp *qp, uint32_t other, const union ibv_gid *gid, int index)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT, .port_num = PORT,
		.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
	};

	if (ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
			  IBV_QP_ACCESS_FLAGS))
		return -EIO;
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_1024, .dest_qp_num = other,
		.max_dest_rd_atomic = 1, .min_rnr_timer = 1,
		.ah_attr = { .is_global = 1, .port_num = PORT,
			     .grh = { .dgid = *gid, .sgid_index = index, .hop_limit = 1 } },
	};
	if (ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		return -EIO;
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTS, .timeout = 18, .retry_cnt = 7, .rnr_retry = 7,
		.max_rd_atomic = 1,
	};
	return ibv_modify_qp(qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
			     IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) ? -EIO : 0;
}

int remote_open(struct remote *remote)
{
	union ibv_gid gid;
	int index, ret;

	*remote = (struct remote){ open_device() };
	if (!remote->context)
		return -ENODEV;
	remote->pd = ibv_alloc_pd(remote->context);
	remote->cq = ibv_create_cq(remote->context, 4, NULL, NULL, 0);
	if (!remote->pd || !remote->cq)
		return -ENOMEM;
	remote->near = make_qp(remote);
	remote->far = make_qp(remote);
	if (!remote->near || !remote->far)
		return -ENOMEM;
	index = gid_index(remote->context, &gid);
	if (index < 0)
		return index;
	ret = connect_qp(remote->near, remote->far->qp_num, &gid, index);
	return ret ?: connect_qp(remote->far, remote->near->qp_num, &gid, index);
}

void remote_close(struct remote *remote)
{
	if (remote->near)
		ibv_destroy_qp(remote->near);
	if (remote->far)
		ibv_destroy_qp(remote->far);
	if (remote->cq)
		ibv_destroy_cq(remote->cq);
	if (remote->pd)
		ibv_dealloc_pd(remote->pd);
	if (remote->context)
		ibv_close_device(remote->context);
	*remote = (struct remote){ NULL };
}

int remote_register(struct remote *remote, void *memory, size_t len, struct ibv_mr **mr)
{
	*mr = ibv_reg_mr(remote->pd, memory, len, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
						  IBV_ACCESS_REMOTE_READ);
	return *mr ? 0 : -errno;
}

static int copy(struct remote *remote, enum ibv_wr_opcode opcode, struct ibv_mr *other, size_t at,
		struct ibv_mr *own, size_t len)
{
	struct ibv_sge sge = { .addr = (uintptr_t)own->addr, .length = len, .lkey = own->lkey };
	struct ibv_send_wr *bad, wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = opcode, .send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = (uintptr_t)other->addr + at, .rkey = other->rkey },
	};
	struct ibv_wc wc;

	if (ibv_post_send(remote->far, &wr, &bad))
		return -EIO;
	for (int i = 0; i < RDAX_PATIENCE * 1000; i++) {
		int n = ibv_poll_cq(remote->cq, 1, &wc);

		if (n)
			return n == 1 && wc.status == IBV_WC_SUCCESS ? 0 : -EIO;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

int remote_writes(struct remote *remote, struct ibv_mr *to, size_t at, struct ibv_mr *own, size_t len)
{
	return copy(remote, IBV_WR_RDMA_WRITE, to, at, own, len);
}

int remote_reads(struct remote *remote, struct ibv_mr *from, size_t at, struct ibv_mr *own, size_t len)
{
	return copy(remote, IBV_WR_RDMA_READ, from, at, own, len);
}
