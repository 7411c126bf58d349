// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>
#include <linux/nd.h>
#include <linux/sched.h>

int rust_helper_nvdimm_read_bytes(struct nd_namespace_common *ndns,
				  resource_size_t offset, void *buf, size_t size)
{
	return nvdimm_read_bytes(ndns, offset, buf, size, 0);
}

int rust_helper_dev_to_node(const struct device *dev)
{
	return dev_to_node((struct device *)dev);
}

const char *rust_helper_dev_name(const struct device *dev)
{
	return dev_name(dev);
}

bool rust_helper_current_is_kthread(void)
{
	return current->flags & PF_KTHREAD;
}
