// SPDX-License-Identifier: GPL-2.0

#include <linux/btf.h>
#include <linux/build_bug.h>
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kref.h>
#include <linux/kstrtox.h>
#include <linux/libnvdimm.h>
#include <linux/minmax.h>
#include <linux/pfn.h>
#include <linux/range.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

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
 * its driver is ours, and its number is that of its DAX inode.
 */
bool rust_helper_dev_dax_is_sane(struct dev_dax *dev_dax)
{
	struct rdax_dev_dax *dax = restated(dev_dax);

	return registered && dax->dev.driver == &registered->drv &&
	       dax->dev.devt == dax_inode(dax->dax_dev)->i_rdev;
}

/*
 * Reads a device's size as sysfs does. For that the bus takes dax_dev_rwsem, which is not exported. So a
 * task that had begun to change the device's ranges has ended afterwards.
 */
static int bus_size(struct device *dev, char *page, u64 *size)
{
	const struct attribute_group *const *group = dev->type->groups;
	struct attribute *const *attr;
	ssize_t ret;

	for (; group && *group; group++) {
		for (attr = (*group)->attrs; attr && *attr; attr++) {
			if (strcmp((*attr)->name, "size"))
				continue;
			ret = dev->kobj.ktype->sysfs_ops->show(&dev->kobj, *attr, page);
			return ret < 0 ? ret : kstrtou64(page, 0, size);
		}
	}
	return -ENODEV;
}

/*
 * Copies up to ROOM of the ranges of a device that is being bound, in the order of their page offsets. Returns
 * how many there are, or -errno: EINTR after a signal; ENOMEM; ENODEV if they are not what the bus says.
 *
 * A device that has a driver can get further ranges at any time, by its attribute "mapping". mapping_store()
 * then holds dax_dev_rwsem, moves the list, and makes nr_range larger, perhaps before it has stored the range.
 * - The task that made nr_range what is read first has ended before the copy begins, so all these ranges are
 *   stored.
 * - A task that begins later has either ended, and nr_range differs (or the list, if the task has failed and taken
 *   the range back), or begins after the copy has ended.
 * In between, the copy may be of memory that has been freed.
 */
int rust_helper_dev_dax_ranges(struct dev_dax *dev_dax, struct range *ranges, unsigned int room)
{
	struct rdax_dev_dax *dax = restated(dev_dax);
	char *page = (char *)__get_free_page(GFP_KERNEL);
	const struct rdax_dax_range *from;
	unsigned int nr, i;
	u64 size, sum;
	int ret;

	if (!page)
		return -ENOMEM;
	do {
		nr = READ_ONCE(dax->nr_range);
		ret = bus_size(&dax->dev, page, &size);
		from = READ_ONCE(dax->ranges);
		sum = 0;
		for (i = 0; i < min(nr, room) && !ret; i++) {
			ret = copy_from_kernel_nofault(&ranges[i], &from[i].range, sizeof(*ranges));
			sum += ret ? 0 : range_len(&ranges[i]);
		}
		ret = bus_size(&dax->dev, page, &size) ?: ret;
	} while (ret != -EINTR && (READ_ONCE(dax->ranges) != from || READ_ONCE(dax->nr_range) != nr));
	free_page((unsigned long)page);
	if (ret || !nr || nr > INT_MAX || (nr <= room && sum != size))
		return ret == -EINTR ? ret : -ENODEV;
	return nr;
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

int rust_helper_dev_dax_ranges(struct dev_dax *dev_dax, struct range *ranges, unsigned int room)
{
	return -ENODEV;
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
