// SPDX-License-Identifier: GPL-2.0

#include <linux/ratelimit.h>

/* One limit for all that user space can make the module say. */
bool rust_helper_log_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(rs, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&rs);
}
