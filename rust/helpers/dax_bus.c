// SPDX-License-Identifier: GPL-2.0

#include <linux/btf.h>
#include <linux/build_bug.h>
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/libnvdimm.h>
#include <linux/pfn.h>

#include "dax_bus.h"

/* Both headers are private, so helpers.c includes both or none. */
#ifdef __DAX_PRIVATE_H__
#define RDAX_DAX_COMPARED true
#define COMPARE_SIZE(type, ours) static_assert(sizeof(struct type) == sizeof(struct ours))
#define COMPARE(type, ours, member)							\
	static_assert(offsetof(struct type, member) == offsetof(struct ours, member) &&	\
		      sizeof_field(struct type, member) == sizeof_field(struct ours, member))

COMPARE_SIZE(dax_device_driver, rdax_dax_driver);
COMPARE(dax_device_driver, rdax_dax_driver, drv);
COMPARE(dax_device_driver, rdax_dax_driver, ids);
COMPARE(dax_device_driver, rdax_dax_driver, type);
COMPARE(dax_device_driver, rdax_dax_driver, probe);
COMPARE(dax_device_driver, rdax_dax_driver, remove);
COMPARE_SIZE(dev_dax_range, rdax_dax_range);
COMPARE(dev_dax_range, rdax_dax_range, pgoff);
COMPARE(dev_dax_range, rdax_dax_range, range);
COMPARE_SIZE(dev_dax, rdax_dev_dax);
COMPARE(dev_dax, rdax_dev_dax, dax_dev);
COMPARE(dev_dax, rdax_dev_dax, align);
COMPARE(dev_dax, rdax_dev_dax, dev);
COMPARE(dev_dax, rdax_dev_dax, pgmap);
COMPARE(dev_dax, rdax_dev_dax, nr_range);
COMPARE(dev_dax, rdax_dev_dax, ranges);
#else
#define RDAX_DAX_COMPARED false
#endif

static struct rdax_dev_dax *restated(struct dev_dax *dev_dax)
{
	return (struct rdax_dev_dax *)dev_dax;
}

#if IS_ENABLED(CONFIG_DAX)

/* The driver that is registered. A module has one. */
static struct rdax_dax_driver *registered;

#ifdef CONFIG_BPF_SYSCALL
/*
 * Compares a structure with the kernel's BTF: its size, the number of its members, and where each begins.
 * Names of members can't be reached from a module.
 *
 * The reference to the BTF is kept, because btf_put() is not exported. That costs nothing if the bus is built
 * in: the kernel's own BTF is never freed.
 */
static enum rdax_dax_bus compare(const char *name, size_t size, const size_t *offsets,
				 unsigned int members)
{
	const struct btf_type *type;
	const struct btf_member *member;
	struct btf *btf = NULL;
	s32 id = bpf_find_btf_id(name, BTF_KIND_STRUCT, &btf);
	unsigned int i;

	if (id < 0)
		return RDAX_DAX_BUS_UNKNOWN;
	type = btf_type_by_id(btf, id);
	if (!type || type->size != size || btf_type_vlen(type) != members)
		return RDAX_DAX_BUS_DIFFERS;
	member = btf_type_member(type);
	for (i = 0; i < members; i++) {
		if (__btf_member_bit_offset(type, member + i) != offsets[i] * BITS_PER_BYTE)
			return RDAX_DAX_BUS_DIFFERS;
	}
	return RDAX_DAX_BUS_KNOWN;
}

static enum rdax_dax_bus compare_all(void)
{
	static const size_t driver[] = {
		offsetof(struct rdax_dax_driver, drv),
		offsetof(struct rdax_dax_driver, ids),
		offsetof(struct rdax_dax_driver, type),
		offsetof(struct rdax_dax_driver, probe),
		offsetof(struct rdax_dax_driver, remove),
	};
	static const size_t range[] = {
		offsetof(struct rdax_dax_range, pgoff),
		offsetof(struct rdax_dax_range, range),
		offsetof(struct rdax_dax_range, mapping),
	};
	static const size_t device[] = {
		offsetof(struct rdax_dev_dax, region),
		offsetof(struct rdax_dev_dax, dax_dev),
		offsetof(struct rdax_dev_dax, cached_size),
		offsetof(struct rdax_dev_dax, align),
		offsetof(struct rdax_dev_dax, target_node),
		offsetof(struct rdax_dev_dax, dyn_id),
		offsetof(struct rdax_dev_dax, id),
		offsetof(struct rdax_dev_dax, ida),
		offsetof(struct rdax_dev_dax, dev),
		offsetof(struct rdax_dev_dax, pgmap),
		offsetof(struct rdax_dev_dax, memmap_on_memory),
		offsetof(struct rdax_dev_dax, nr_range),
		offsetof(struct rdax_dev_dax, ranges),
	};
	enum rdax_dax_bus found;

	found = compare("dax_device_driver", sizeof(struct rdax_dax_driver), driver,
			ARRAY_SIZE(driver));
	if (found == RDAX_DAX_BUS_KNOWN)
		found = compare("dev_dax_range", sizeof(struct rdax_dax_range), range,
				ARRAY_SIZE(range));
	if (found == RDAX_DAX_BUS_KNOWN)
		found = compare("dev_dax", sizeof(struct rdax_dev_dax), device, ARRAY_SIZE(device));
	return found;
}
#else
static enum rdax_dax_bus compare_all(void)
{
	return RDAX_DAX_BUS_UNKNOWN;
}
#endif

/* Whether the bus's structures are as dax_bus.h has them. Sleeps. */
enum rdax_dax_bus rust_helper_dax_bus(void)
{
	enum rdax_dax_bus found = compare_all();

	/* A kernel without BTF: the module was built from its source. */
	if (found == RDAX_DAX_BUS_UNKNOWN && RDAX_DAX_COMPARED)
		return RDAX_DAX_BUS_KNOWN;
	return found;
}

int rust_helper_dax_bus_register(struct rdax_dax_driver *drv, struct module *module,
				 const char *name)
{
	int ret;

	drv->type = RDAX_DAX_TYPE;
	registered = drv;
	ret = __dax_driver_register((struct dax_device_driver *)drv, module, name);
	if (ret)
		registered = NULL;
	return ret;
}

void rust_helper_dax_bus_unregister(struct rdax_dax_driver *drv)
{
	dax_driver_unregister((struct dax_device_driver *)drv);
	registered = NULL;
}

/*
 * Whether a device that is being bound is what its structure says, as far as that can be told from outside:
 * its driver is ours, its number is that of its DAX inode, and its ranges are those that the bus itself finds.
 */
bool rust_helper_dev_dax_is_sane(struct dev_dax *dev_dax)
{
	struct rdax_dev_dax *dax = restated(dev_dax);
	int i;

	if (!registered || dax->dev.driver != &registered->drv)
		return false;
	if (dax->nr_range < 1 || !dax->ranges || dax->dev.devt != dax_inode(dax->dax_dev)->i_rdev)
		return false;
	for (i = 0; i < dax->nr_range; i++) {
		const struct range *range = &dax->ranges[i].range;

		if (range->end < range->start ||
		    dax_pgoff_to_phys(dev_dax, dax->ranges[i].pgoff, range_len(range)) != range->start)
			return false;
	}
	return true;
}

/*
 * Whether a file that device_dax or fsdev_dax has opened is still open. It uses the operations and the pages of
 * that driver, and so does each further open of the same inode.
 */
bool rust_helper_dev_dax_is_open(struct dev_dax *dev_dax)
{
	struct cdev *cdev = dax_inode(restated(dev_dax)->dax_dev)->i_cdev;

	return cdev && kref_read(&cdev->kobj.kref) != 0;
}

/* The persistent region that has the memory of a device, or NULL. It stays as long as the device does. */
struct nd_region *rust_helper_dev_dax_nd_region(struct dev_dax *dev_dax)
{
	struct device *parent = restated(dev_dax)->dev.parent;
	struct device *region = parent ? parent->parent : NULL;

	/* drivers/dax/pmem.c: the parent is a dax device of libnvdimm, and the parent of that its region. */
	if (!static_dev_dax(dev_dax) || !region || !region->bus || !region->type)
		return NULL;
	if (strcmp(region->bus->name, "nd") || strcmp(region->type->name, "nd_pmem"))
		return NULL;
	return to_nd_region(region);
}

#else /* !CONFIG_DAX */

enum rdax_dax_bus rust_helper_dax_bus(void)
{
	return RDAX_DAX_BUS_ABSENT;
}

int rust_helper_dax_bus_register(struct rdax_dax_driver *drv, struct module *module,
				 const char *name)
{
	return -EOPNOTSUPP;
}

void rust_helper_dax_bus_unregister(struct rdax_dax_driver *drv)
{
}

bool rust_helper_dev_dax_is_sane(struct dev_dax *dev_dax)
{
	return false;
}

bool rust_helper_dev_dax_is_open(struct dev_dax *dev_dax)
{
	return false;
}

struct nd_region *rust_helper_dev_dax_nd_region(struct dev_dax *dev_dax)
{
	return NULL;
}

#endif

struct device *rust_helper_dev_dax_device(struct dev_dax *dev_dax)
{
	return &restated(dev_dax)->dev;
}

unsigned int rust_helper_dev_dax_align(struct dev_dax *dev_dax)
{
	return restated(dev_dax)->align;
}

/* The range INDEX of a device, in the order of its page offsets. False if there is none. */
bool rust_helper_dev_dax_range(struct dev_dax *dev_dax, unsigned int index, struct range *range)
{
	struct rdax_dev_dax *dax = restated(dev_dax);

	if (index >= (unsigned int)dax->nr_range)
		return false;
	*range = dax->ranges[index].range;
	return true;
}
