/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of the dax bus with a struct page for each page: pages.c. */
#ifndef _RDAX_PAGES_H
#define _RDAX_PAGES_H

#include <linux/mm_types.h>
#include <linux/range.h>
#include <linux/types.h>

struct dev_dax;
struct device;
struct inode;
struct rdax_pages;

int rust_helper_dev_dax_memremap_pages(struct dev_dax *dev_dax, const struct range *ranges,
				       unsigned int nr, struct rdax_pages **made);
void rust_helper_pages_listen(struct rdax_pages *pages,
			      void (*broken)(void *data, unsigned long pfn),
			      void (*put)(void *data), void *data);
void *rust_helper_devm_map_pages(struct device *dev, phys_addr_t start, size_t len);
bool rust_helper_pages_is_removed(struct rdax_pages *pages, unsigned long pfn);
void rust_helper_pages_put_back(struct rdax_pages *pages, unsigned long pfn);
struct inode *rust_helper_dev_dax_get_inode(struct dev_dax *dev_dax);
void rust_helper_dev_dax_enter_inode(struct inode *inode);
void rust_helper_dev_dax_leave_inode(struct inode *inode);
vm_fault_t rust_helper_vmf_insert_pages(struct vm_fault *vmf, unsigned long pfn, bool huge,
					bool write);
bool rust_helper_pages_take(struct rdax_pages *pages);
void rust_helper_pages_give_back(struct rdax_pages *pages);
bool rust_helper_pages_find_written(struct rdax_pages *pages, unsigned long *pfn, unsigned long *nr);
void rust_helper_pages_clear_written(struct rdax_pages *pages, unsigned long pfn, unsigned long nr);
bool rust_helper_pages_are_idle(unsigned long pfn, bool mapped, unsigned long *nr);

#endif /* _RDAX_PAGES_H */
