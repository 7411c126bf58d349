/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _RDAX_HELPERS_H
#define _RDAX_HELPERS_H

#include <linux/dcache.h>
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/lockdep_types.h>
#include <linux/memory-failure.h>
#include <linux/mm_types.h>
#include <linux/nd.h>
#include <linux/percpu-rwsem.h>
#include <linux/range.h>
#include <linux/ratelimit_types.h>
#include <linux/seq_file.h>
#include <linux/srcu.h>
#include <linux/uio.h>
#include <linux/uuid.h>
#include <linux/wait.h>

#include "compat.h"
#include "dax_bus.h"
#include "pages.h"

/*
 * drivers/nvdimm/nd.h is private, so a headers package lacks it, but the symbols
 * are exported. Where the whole source is present (helpers.c), the compiler
 * compares these with the originals.
 */
struct nd_namespace_common *nvdimm_namespace_common_probe(struct device *dev);
int devm_namespace_enable(struct device *dev, struct nd_namespace_common *ndns,
			  resource_size_t size);
void nvdimm_badblocks_populate(struct nd_region *nd_region, struct badblocks *bb,
			       const struct range *range);
long nvdimm_clear_poison(struct device *dev, phys_addr_t phys, unsigned int len);
const uuid_t *nd_dev_to_uuid(struct device *dev);

/* barrier.c */
void rust_helper_wmb(void);

/* bug.c */
void rust_helper_warn_at(const char *file, size_t len, unsigned int line);

/* chrdev.c */
int rust_helper_chrdevs_insert(dev_t number, void *entry);
void rust_helper_chrdevs_erase(dev_t number);
void *rust_helper_chrdevs_lock(dev_t number);
void rust_helper_chrdevs_unlock(void);

/* debugfs.c */
struct dentry *rust_helper_debugfs_create_private_dir(const char *name);
struct dentry *rust_helper_debugfs_create_subdir(const char *name, struct dentry *parent);
void rust_helper_debugfs_create_devm_seqfile(struct device *dev, const char *name,
					     struct dentry *parent,
					     int (*read_fn)(struct seq_file *s, void *data));
void rust_helper_debugfs_remove(struct dentry *dentry);

/* ida.c */
void rust_helper_ida_init(struct ida *ida);

/* lockdep.c */
#ifdef CONFIG_LOCKDEP
void rust_helper_lockdep_init_map(struct lockdep_map *map, const char *name,
				  struct lock_class_key *key);
void rust_helper_might_lock(struct lockdep_map *map);
void rust_helper_rwsem_acquire(struct lockdep_map *map);
void rust_helper_rwsem_release(struct lockdep_map *map);
#endif

/* mm.c */
void rust_helper_vma_start_write(struct vm_area_struct *vma);
void rust_helper_zap_special_vma_range(struct vm_area_struct *vma, unsigned long address,
				       unsigned long size);

unsigned long rust_helper_zero_pfn(unsigned long addr);
unsigned long rust_helper_page_to_pfn(const struct page *page);
bool rust_helper_fatal_signal_pending(void);
bool rust_helper_task_sigpending(void);
void rust_helper_sleep(unsigned int ms);
void rust_helper_sleep_interruptible(unsigned int ms);
void rust_helper_cond_resched(void);
int rust_helper_register_pfn_address_space(struct pfn_address_space *pfn_space);
void rust_helper_unregister_pfn_address_space(struct pfn_address_space *pfn_space);

/* pgtable.c */
enum rdax_leaf { RDAX_LEAF_READ, RDAX_LEAF_WRITE, RDAX_LEAF_ZERO };
pgprot_t rust_helper_media_prot(pgprot_t prot);
spinlock_t *rust_helper_vmf_lock_ptes(struct vm_fault *vmf);
spinlock_t *rust_helper_vmf_lock_pmd(struct vm_fault *vmf);
void rust_helper_vmf_set_ptes(struct vm_fault *vmf, unsigned long addr, unsigned long pfn,
			      unsigned int nr, enum rdax_leaf leaf);
bool rust_helper_vmf_set_pmd(struct vm_fault *vmf, unsigned long pfn, enum rdax_leaf leaf);
spinlock_t *rust_helper_vmf_lock_pud(struct vm_fault *vmf);
bool rust_helper_vmf_set_pud(struct vm_fault *vmf, unsigned long pfn, bool write);
bool rust_helper_vmf_follows(const struct vm_fault *vmf);

/* nd.c */
bool rust_helper_pfn_valid(unsigned long pfn);
#define RDAX_UUID_SIZE (UUID_STRING_LEN + 1)
int rust_helper_dev_to_node(const struct device *dev);
bool rust_helper_nd_namespace_uuid(struct device *dev, char *uuid);
bool rust_helper_nd_driver_matches(const struct device_driver *drv, struct device *dev);

/* params.c */
enum rdax_param {
	RDAX_PARAM_BIND,
	RDAX_PARAM_FORCE,
	RDAX_PARAM_DIVIDED,
	RDAX_PARAM_PAGES,
	RDAX_PARAM_LISTS,
};
const char *rust_helper_params_lock(enum rdax_param param, size_t *len);
void rust_helper_params_unlock(void);
unsigned int rust_helper_param_align(void);
extern unsigned int rdax_max_leaf, rdax_fault_around;
bool rust_helper_param_upgrade(void);

/* percpu.c */
u64 __percpu *rust_helper_alloc_percpu_counters(size_t number);
void rust_helper_free_percpu_counters(u64 __percpu *counters);
void rust_helper_inc_percpu_counter(u64 __percpu *counters, size_t index);
void rust_helper_add_percpu_counter(u64 __percpu *counters, size_t index, u64 number);
u64 rust_helper_sum_percpu_counter(u64 __percpu *counters, size_t index);

/* percpu_rwsem.c */
void rust_helper_percpu_down_read(struct percpu_rw_semaphore *sem);
void rust_helper_percpu_up_read(struct percpu_rw_semaphore *sem);

/* ratelimit.c */
void rust_helper_ratelimit_default_init(struct ratelimit_state *rs);

/* srcu.c */
int rust_helper_init_srcu_struct_fast(struct srcu_struct *ssp, const char *name,
				      struct lock_class_key *key);
struct srcu_ctr __percpu *rust_helper_srcu_read_lock_fast(struct srcu_struct *ssp);
void rust_helper_srcu_read_unlock_fast(struct srcu_struct *ssp, struct srcu_ctr __percpu *scp);

/* uio.c */
size_t rust_helper_copy_mc_to_iter_nofault(const void *addr, size_t bytes,
					   struct iov_iter *i);
size_t rust_helper_copy_from_iter_flushcache_nofault(void *addr, size_t bytes,
						     struct iov_iter *i);
void rust_helper_memcpy_flushcache(void *dst, const void *src, size_t size);
void rust_helper_zero_flushcache(void *dst, size_t size);

/* wait.c */
bool rust_helper_waitqueue_active(struct wait_queue_head *wq_head);

#endif /* _RDAX_HELPERS_H */
