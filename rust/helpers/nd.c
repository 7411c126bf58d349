// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>
#include <linux/device/bus.h>
#include <linux/mmzone.h>
#include <linux/nd.h>

bool rust_helper_pfn_valid(unsigned long pfn)
{
	return pfn_valid(pfn);
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
