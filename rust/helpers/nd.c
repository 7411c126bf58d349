// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>
#include <linux/device/bus.h>
#include <linux/mmzone.h>
#include <linux/nd.h>
#include <linux/sprintf.h>
#include <linux/uuid.h>

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

/*
 * Formats the UUID of a namespace as its sysfs file uuid does: RDAX_UUID_SIZE bytes with the final 0.
 * Returns false if it has none. The caller holds the device lock, which uuid_store() takes, too.
 */
bool rust_helper_nd_namespace_uuid(struct device *dev, char *uuid)
{
	const uuid_t *found = nd_dev_to_uuid(dev);

	if (!found || uuid_is_null(found))
		return false;
	snprintf(uuid, RDAX_UUID_SIZE, "%pUb", found);
	return true;
}

/* Same as driver_match_device() of drivers/base/base.h. */
bool rust_helper_nd_driver_matches(const struct device_driver *drv, struct device *dev)
{
	return drv->bus->match(dev, drv) > 0;
}
