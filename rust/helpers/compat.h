/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Differences between the kernels that the module supports, Linux 7.0 to 7.3. Each one states which
 * versions need it, and when it may go. No other file checks the version.
 */
#ifndef _RDAX_COMPAT_H
#define _RDAX_COMPAT_H

#include <linux/device.h>
#include <linux/mm.h>
#include <linux/version.h>

/*
 * Before Linux 7.1, zap_vma_ptes() does the same, and is the one that is exported. May go with support for
 * 7.0.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 1, 0)
static inline void zap_special_vma_range(struct vm_area_struct *vma, unsigned long address,
					 unsigned long size)
{
	zap_vma_ptes(vma, address, size);
}
#endif

/*
 * Before Linux 7.3, mbind() with MPOL_MF_STRICT takes a huge leaf without a struct page for a folio
 * (queue_folios_pmd()): an oops with the page table's lock held. May go with support for 7.2.
 */
#define RDAX_MBIND_TAKES_HUGE_PFNS (LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0))

/*
 * struct device_attribute, as bindgen sees it up to Linux 7.1: since 7.2 its two functions are in unions,
 * whose names in the bindings depend on bindgen. May go with support for 7.1.
 */
struct rdax_device_attribute {
	struct attribute attr;
	ssize_t (*show)(struct device *dev, struct device_attribute *attr, char *buf);
	ssize_t (*store)(struct device *dev, struct device_attribute *attr, const char *buf,
			 size_t count);
};

static_assert(sizeof(struct rdax_device_attribute) == sizeof(struct device_attribute));
static_assert(offsetof(struct rdax_device_attribute, attr) ==
	      offsetof(struct device_attribute, attr));
static_assert(offsetof(struct rdax_device_attribute, show) ==
	      offsetof(struct device_attribute, show));
static_assert(offsetof(struct rdax_device_attribute, store) ==
	      offsetof(struct device_attribute, store));

/*
 * The kernel crate has Device::name() since Linux 7.1, and with it a helper of this name. May go with
 * support for 7.0.
 */
const char *rust_helper_dev_name(const struct device *dev);

#endif /* _RDAX_COMPAT_H */
