/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The dax bus. A driver on it needs drivers/dax/bus.h and drivers/dax/dax-private.h, which are private: a
 * headers package lacks them, but the symbols are exported. So they are restated here.
 *
 * Functions are compared by the compiler, where the whole source is present (helpers.c). Structures are
 * compared twice: by the compiler, and with the kernel's own description (BTF) when the module is loaded
 * (dax_bus.c). Without either, the module does not use the bus.
 */
#ifndef _RDAX_DAX_BUS_H
#define _RDAX_DAX_BUS_H

#include <linux/device.h>
#include <linux/idr.h>
#include <linux/list.h>
#include <linux/memremap.h>
#include <linux/range.h>
#include <linux/types.h>

struct dax_device;
struct dax_device_driver;
struct dev_dax;
struct inode;
struct module;
struct nd_region;

int __dax_driver_register(struct dax_device_driver *dax_drv, struct module *module,
			  const char *mod_name);
void dax_driver_unregister(struct dax_device_driver *dax_drv);
phys_addr_t dax_pgoff_to_phys(struct dev_dax *dev_dax, pgoff_t pgoff, unsigned long size);
bool static_dev_dax(struct dev_dax *dev_dax);
struct inode *dax_inode(struct dax_device *dax_dev);

/*
 * struct dax_device_driver. The bus compares the type with those that it knows, and the type is no other:
 * so it offers the driver only devices that a user has named in new_id.
 */
#define RDAX_DAX_TYPE 0x7264
struct rdax_dax_driver {
	struct device_driver drv;
	struct list_head ids;
	int type;
	int (*probe)(struct dev_dax *dev);
	void (*remove)(struct dev_dax *dev);
};

/* struct dev_dax_range */
struct rdax_dax_range {
	unsigned long pgoff;
	struct range range;
	void *mapping;
};

/* struct dev_dax */
struct rdax_dev_dax {
	void *region;
	struct dax_device *dax_dev;
	u64 cached_size;
	unsigned int align;
	int target_node;
	bool dyn_id;
	int id;
	struct ida ida;
	struct device dev;
	struct dev_pagemap *pgmap;
	bool memmap_on_memory;
	int nr_range;
	struct rdax_dax_range *ranges;
};

/* What is known of the bus's structures. */
enum rdax_dax_bus {
	/* They are as above. */
	RDAX_DAX_BUS_KNOWN,
	/* They differ. */
	RDAX_DAX_BUS_DIFFERS,
	/* Neither BTF nor source was there to compare with. */
	RDAX_DAX_BUS_UNKNOWN,
	/* The kernel has no dax bus. */
	RDAX_DAX_BUS_ABSENT,
};

enum rdax_dax_bus rust_helper_dax_bus(void);
int rust_helper_dax_bus_register(struct rdax_dax_driver *drv, struct module *module,
				 const char *name);
void rust_helper_dax_bus_unregister(struct rdax_dax_driver *drv);
struct device *rust_helper_dev_dax_device(struct dev_dax *dev_dax);
bool rust_helper_dev_dax_is_sane(struct dev_dax *dev_dax);
bool rust_helper_dev_dax_is_open(struct dev_dax *dev_dax);
unsigned int rust_helper_dev_dax_align(struct dev_dax *dev_dax);
int rust_helper_dev_dax_ranges(struct dev_dax *dev_dax, struct range *ranges, unsigned int room);
struct nd_region *rust_helper_dev_dax_nd_region(struct dev_dax *dev_dax);

#endif /* _RDAX_DAX_BUS_H */
