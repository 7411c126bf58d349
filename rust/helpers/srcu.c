// SPDX-License-Identifier: GPL-2.0

#include <linux/srcu.h>

/*
 * The fast flavour: a reader has no full memory barrier, which the grace period, in an unbind or a resize,
 * makes up for by one of RCU.
 */

int rust_helper_init_srcu_struct_fast(struct srcu_struct *ssp)
{
	return init_srcu_struct_fast(ssp);
}

struct srcu_ctr __percpu *rust_helper_srcu_read_lock_fast(struct srcu_struct *ssp)
{
	return srcu_read_lock_fast(ssp);
}

void rust_helper_srcu_read_unlock_fast(struct srcu_struct *ssp, struct srcu_ctr __percpu *scp)
{
	srcu_read_unlock_fast(ssp, scp);
}
