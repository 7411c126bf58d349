// SPDX-License-Identifier: GPL-2.0

#include <linux/srcu.h>

/*
 * The fast flavour: a reader has no full memory barrier. The grace period, in an unbind or a resize,
 * uses one of RCU instead.
 */

/* With the caller's class: the macro would make a single one for all callers. */
int rust_helper_init_srcu_struct_fast(struct srcu_struct *ssp, const char *name,
				      struct lock_class_key *key)
{
#ifdef CONFIG_DEBUG_LOCK_ALLOC
	return __init_srcu_struct_fast(ssp, name, key);
#else
	return init_srcu_struct_fast(ssp);
#endif
}

notrace struct srcu_ctr __percpu *rust_helper_srcu_read_lock_fast(struct srcu_struct *ssp)
{
	return srcu_read_lock_fast(ssp);
}

void notrace rust_helper_srcu_read_unlock_fast(struct srcu_struct *ssp, struct srcu_ctr __percpu *scp)
{
	srcu_read_unlock_fast(ssp, scp);
}
