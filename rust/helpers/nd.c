// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>
#include <linux/device/bus.h>
#include <linux/nd.h>

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

/* As driver_match_device() of drivers/base/base.h. */
bool rust_helper_nd_driver_matches(const struct device_driver *drv, struct device *dev)
{
	return drv->bus->match(dev, drv) > 0;
}
