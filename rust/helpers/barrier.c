// SPDX-License-Identifier: GPL-2.0

#include <asm/barrier.h>

void rust_helper_wmb(void)
{
	/* For callers that state the pairing. The selftests put a probe here. */
	wmb();
}
