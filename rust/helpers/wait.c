// SPDX-License-Identifier: GPL-2.0

#include <linux/wait.h>

bool notrace rust_helper_waitqueue_active(struct wait_queue_head *wq_head)
{
	/* The caller describes what this pairs with: rust/kernel_ext/sync/wait.rs. */
	return waitqueue_active(wq_head);
}
