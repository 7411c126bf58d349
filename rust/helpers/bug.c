// SPDX-License-Identifier: GPL-2.0

#include <linux/bug.h>

void rust_helper_warn_at(const char *file, size_t len, unsigned int line)
{
	WARN(1, "%.*s:%u\n", (int)len, file, line);
}
