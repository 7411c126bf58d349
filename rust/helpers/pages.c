// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of the dax bus with a struct page for each page, as device_dax has it.
 *
 * The pages are of type MEMORY_DEVICE_GENERIC: their reference count is 1 while nothing maps or pins them. Where
 * the device is aligned to 2 MiB or more, those of 2 MiB are one folio (vmemmap_shift), which takes a quarter of
 * the memory map if that is in RAM. Such a folio is also mapped by PTEs, but no larger leaf is.
 */

#include <linux/dax.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/set_memory.h>
#include <linux/xarray.h>

#include "dax_bus.h"
#include "pages.h"

/* Memory of 16 MiB in pages of 4 KiB, of 8 GiB in folios of 2 MiB. */
#define WRITTEN_GROUP	4096UL

/* Within this time after pages_memory_failure() the kernel removes the page from its direct map. */
#define REMOVE_MS	100

struct rdax_pages {
	/* Protects what follows, up to data. */
	struct mutex lock;
	bool ended;
	void (*broken)(void *data, unsigned long pfn);
	void (*put)(void *data);
	void *data;
	/*
	 * The pages that the kernel has removed from its direct map, or is about to (set_mce_nospec()), by their
	 * frame numbers: when they broke, in jiffies.
	 */
	struct xarray removed;
	/* Nonzero when the one value that maps these pages was made. */
	atomic_t taken;
	/*
	 * The folios that were written without a fault, by their numbers: see pages_dirty_folio(). A bit of "groups"
	 * is set if one of WRITTEN_GROUP folios has its bit set, so that a sync does not search the whole bitmap.
	 */
	unsigned long *written, *groups;
	/* The last, because its last member has any length. */
	struct dev_pagemap pgmap;
};

static void *time_now(void)
{
	return xa_mk_value(jiffies & LONG_MAX);
}

/* Whether the kernel may still be about to remove a page that broke at this time. */
static bool is_recent(void *entry)
{
	return ((jiffies - xa_to_value(entry)) & LONG_MAX) <= msecs_to_jiffies(REMOVE_MS);
}

static int pages_memory_failure(struct dev_pagemap *pgmap, unsigned long pfn, unsigned long nr, int flags)
{
	struct rdax_pages *pages = container_of(pgmap, struct rdax_pages, pgmap);
	int ret = 0;

	mutex_lock(&pages->lock);
	for (; nr && !ret; pfn++, nr--) {
		/* After an error the kernel does not remove the page. */
		ret = pages->ended ? -ENXIO : xa_err(xa_store(&pages->removed, pfn, time_now(), GFP_KERNEL));
		/* This makes the page known as bad. A task that then clears it must find it in "removed". */
		if (pages->broken)
			pages->broken(pages->data, pfn);
	}
	mutex_unlock(&pages->lock);
	/* The kernel then tells the tasks that map the folio, and unmaps it: mf_generic_kill_procs(). */
	return ret ?: -EOPNOTSUPP;
}

static const struct dev_pagemap_ops pages_ops = {
	.memory_failure = pages_memory_failure,
};

/*
 * Returns the number of a page's folio, as a bit of "written". The folios of a range have numbers one after the
 * other, whether they begin at a multiple of their size or not.
 */
static unsigned long folio_nr(const struct dev_pagemap *pgmap, unsigned long pfn)
{
	unsigned long before = 0;

	for (int i = 0; i < pgmap->nr_range; i++) {
		unsigned long first = PHYS_PFN(pgmap->ranges[i].start);
		unsigned long nr = PHYS_PFN(range_len(&pgmap->ranges[i]));

		if (pfn >= first && pfn - first < nr)
			return before + ((pfn - first) >> pgmap->vmemmap_shift);
		before += (nr >> pgmap->vmemmap_shift) + 1;
	}
	/* Not reached: the page is of this pgmap. There is a bit for it. */
	return before;
}

/*
 * Whether a folio is pinned (FOLL_PIN), or something other than mappings has a reference to it. The latter is a hint:
 * a mapping that comes or goes meanwhile counts as one, or hides one.
 */
static bool is_referenced(struct folio *folio)
{
	return folio_maybe_dma_pinned(folio) || folio_ref_count(folio) > 1 + folio_mapcount(folio);
}

#if IS_ENABLED(CONFIG_DAX)

static void written_free(void *written)
{
	kvfree(written);
}

/* A bitmap, until devres releases it. */
static unsigned long *written_alloc(struct device *dev, unsigned long nr)
{
	unsigned long *written = kvcalloc(BITS_TO_LONGS(nr), sizeof(long), GFP_KERNEL);

	return written && !devm_add_action_or_reset(dev, written_free, written) ? written : NULL;
}

/*
 * Puts the pages back into the direct map before it goes. Otherwise they would be missing for the next driver of this
 * memory, too: the kernel reuses page-table entries that are not empty (phys_pte_init()).
 */
static void put_back_all(void *data)
{
	struct rdax_pages *pages = data;
	bool recent = false;
	unsigned long pfn;
	void *entry;

	mutex_lock(&pages->lock);
	pages->ended = true;
	mutex_unlock(&pages->lock);
	xa_for_each(&pages->removed, pfn, entry)
		recent |= is_recent(entry);
	if (recent)
		msleep(REMOVE_MS);
	xa_for_each(&pages->removed, pfn, entry)
		clear_mce_nospec(pfn);
	xa_destroy(&pages->removed);
}

/*
 * The kernel marks each page of a device as reserved. VFIO takes such a page for one that it has not pinned, and
 * never gives it back (put_pfn() in vfio_iommu_type1.c).
 *
 * Nobody uses the pages yet. Where the memory map is shared, the rest of a folio's struct pages are the last that
 * has its own memory, over and over.
 */
static void clear_reserved(const struct range *range)
{
	unsigned long pfn = PHYS_PFN(range->start), end = PHYS_PFN(range->end + 1);

	while (pfn < end) {
		struct page *page = pfn_to_page(pfn);
		unsigned long nr = folio_nr_pages(page_folio(page));

		for (pfn += nr; nr && test_bit(PG_reserved, &page->flags.f); page++, nr--)
			__clear_bit(PG_reserved, &page->flags.f);
		cond_resched();
	}
}

/*
 * Makes the pages of a device's ranges, until devres releases them. The caller has requested the memory.
 *
 * The pgmap that the bus has for a static device is only read, because the next driver uses it, too. It says
 * where the memory map is to be (ndctl -M), and its range begins earlier: with the info block, and with the
 * memory map if that is on the media. Errors: -ENOMEM, -EINVAL, and those of memremap_pages().
 */
int rust_helper_dev_dax_memremap_pages(struct dev_dax *dev_dax, const struct range *ranges,
				       unsigned int nr, struct rdax_pages **made)
{
	struct rdax_dev_dax *dax = (struct rdax_dev_dax *)dev_dax;
	/* That of another device may be what an earlier driver has left. */
	const struct dev_pagemap *given = static_dev_dax(dev_dax) ? dax->pgmap : NULL;
	const struct range *mapped = ranges;
	struct rdax_pages *pages;
	unsigned long groups;
	void *addr;
	int ret;

	if (!nr)
		return -EINVAL;
	if (given) {
		if (nr != 1 || given->nr_range != 1 || !range_contains(&given->range, ranges))
			return -EINVAL;
		mapped = &given->range;
	}
	pages = devm_kzalloc(&dax->dev, size_add(sizeof(*pages), array_size(nr - 1, sizeof(*ranges))),
			     GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	mutex_init(&pages->lock);
	xa_init(&pages->removed);
	if (given) {
		pages->pgmap.flags = given->flags;
		memcpy(&pages->pgmap.altmap, &given->altmap, sizeof(pages->pgmap.altmap));
	}
	pages->pgmap.type = MEMORY_DEVICE_GENERIC;
	pages->pgmap.ops = &pages_ops;
	if (dax->align >= PMD_SIZE)
		pages->pgmap.vmemmap_shift = PMD_ORDER;
	pages->pgmap.nr_range = nr;
	memcpy(pages->pgmap.ranges, mapped, nr * sizeof(*mapped));
	groups = folio_nr(&pages->pgmap, ULONG_MAX) / WRITTEN_GROUP + 1;
	pages->written = written_alloc(&dax->dev, groups * WRITTEN_GROUP);
	pages->groups = written_alloc(&dax->dev, groups);
	if (!pages->written || !pages->groups)
		return -ENOMEM;
	addr = devm_memremap_pages(&dax->dev, &pages->pgmap);
	if (IS_ERR(addr))
		return PTR_ERR(addr);
	ret = devm_add_action_or_reset(&dax->dev, put_back_all, pages);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < nr; i++)
		clear_reserved(&ranges[i]);
	*made = pages;
	return 0;
}

/*
 * The inode of a device on the dax bus, with a reference, for mappings of its pages: memory_failure() knows its
 * kind (dax_lock_folio()). The bus has set S_DAX.
 */
struct inode *rust_helper_dev_dax_get_inode(struct dev_dax *dev_dax)
{
	struct inode *inode = dax_inode(((struct rdax_dev_dax *)dev_dax)->dax_dev);

	ihold(inode);
	return inode;
}

#else

int rust_helper_dev_dax_memremap_pages(struct dev_dax *dev_dax, const struct range *ranges,
				       unsigned int nr, struct rdax_pages **made)
{
	return -EOPNOTSUPP;
}

struct inode *rust_helper_dev_dax_get_inode(struct dev_dax *dev_dax)
{
	return NULL;
}

#endif

/*
 * Sets what is called with DATA when a page breaks, with a mutex held, and what then takes DATA back. It is called
 * at once for each page that broke before and was noted. With NULL, waits for calls that are running, and has DATA
 * taken back. Sleeps.
 */
void rust_helper_pages_listen(struct rdax_pages *pages,
			      void (*broken)(void *data, unsigned long pfn),
			      void (*put)(void *data), void *data)
{
	unsigned long pfn;
	void *entry;

	mutex_lock(&pages->lock);
	swap(pages->broken, broken);
	swap(pages->put, put);
	swap(pages->data, data);
	/* The kernel finds the pages before the driver has a device that could be told. */
	if (pages->broken)
		xa_for_each(&pages->removed, pfn, entry)
			pages->broken(pages->data, pfn);
	mutex_unlock(&pages->lock);
	if (put)
		put(data);
}

#ifdef CONFIG_AMD_MEM_ENCRYPT

static void pages_unmap(void *addr)
{
	iounmap((void __iomem __force *)addr);
}

/*
 * Maps memory with pages once more, write-back, until devres unmaps it. User space and the direct map have it
 * encrypted, as all memory is. memremap() does not encrypt what is not system RAM (arch_memremap_wb()).
 */
void *rust_helper_devm_map_pages(struct device *dev, phys_addr_t start, size_t len)
{
	void *addr = (void __force *)ioremap_encrypted(start, len);
	int ret;

	if (!addr)
		return ERR_PTR(-ENOMEM);
	ret = devm_add_action_or_reset(dev, pages_unmap, addr);
	return ret ? ERR_PTR(ret) : addr;
}

#else

void *rust_helper_devm_map_pages(struct device *dev, phys_addr_t start, size_t len)
{
	return devm_memremap(dev, start, len, MEMREMAP_WB);
}

#endif

/* Whether a page has broken, and was not put back since then. */
bool rust_helper_pages_is_removed(struct rdax_pages *pages, unsigned long pfn)
{
	return xa_load(&pages->removed, pfn);
}

/*
 * Puts a page that broke back into the direct map, because all of it was cleared. Sleeps.
 *
 * The kernel removes a page after it has told the tasks that map it, and does not report when it has. A task
 * that is told may clear the page at once. So this waits if the page broke less than REMOVE_MS ago.
 */
void rust_helper_pages_put_back(struct rdax_pages *pages, unsigned long pfn)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));
	unsigned long first = folio_pfn(folio), last = first + folio_nr_pages(folio) - 1;
	void *entry = xa_load(&pages->removed, pfn);

	while (entry) {
		void *found;

		if (is_recent(entry))
			msleep(REMOVE_MS);
		clear_mce_nospec(pfn);
		found = xa_cmpxchg(&pages->removed, pfn, entry, NULL, 0);
		/* NULL: another task has put it back. Another time: the page broke again. */
		if (found == entry)
			break;
		entry = found;
	}
	/* The kernel sets the mark for the whole folio, after pages_memory_failure(). */
	ClearPageHWPoison(&folio->page);
	/* If a page broke before the mark was cleared, it is found below. Otherwise the kernel sets the mark next. */
	smp_mb__after_atomic();
	if (xa_find(&pages->removed, &first, last, XA_PRESENT))
		SetPageHWPoison(&folio->page);
}

/*
 * Notes that the folio of this number was written. Returns whether the note is new.
 *
 * If it is not, the group's bit is tested nevertheless, because the task that made the note may not have set it yet.
 */
static bool note_written(struct rdax_pages *pages, unsigned long nr)
{
	/* A full barrier. It pairs with those in pages_clear_written() and group_is_clean(). */
	bool noted = test_and_set_bit(nr, pages->written);

	if (!test_bit(nr / WRITTEN_GROUP, pages->groups))
		set_bit(nr / WRITTEN_GROUP, pages->groups);
	return !noted;
}

/*
 * Whether no folio of a group has a note. If so, the group's bit is cleared.
 *
 * The caller serializes calls: while one call has cleared the bit and not yet set it again, another would not find a
 * note that was made meanwhile.
 */
static bool group_is_clean(struct rdax_pages *pages, unsigned long group)
{
	unsigned long first = group * WRITTEN_GROUP, end = first + WRITTEN_GROUP;

	if (find_next_bit(pages->written, end, first) < end)
		return false;
	clear_bit(group, pages->groups);
	/* Pairs with the barrier in note_written(): if a task found the bit still set, its note is found below. */
	smp_mb__after_atomic();
	if (find_next_bit(pages->written, end, first) >= end)
		return true;
	set_bit(group, pages->groups);
	return false;
}

/* Returns the number of the first folio with a note, from first up to and without end, or end. */
static unsigned long next_written(struct rdax_pages *pages, unsigned long first, unsigned long end)
{
	while (first < end) {
		unsigned long last = DIV_ROUND_UP(end, WRITTEN_GROUP);
		unsigned long group = find_next_bit(pages->groups, last, first / WRITTEN_GROUP);
		unsigned long next = min((group + 1) * WRITTEN_GROUP, end);

		if (group >= last)
			break;
		first = max(first, group * WRITTEN_GROUP);
		if (!group_is_clean(pages, group)) {
			first = find_next_bit(pages->written, next, first);
			if (first < next)
				return first;
		}
		first = next;
	}
	return end;
}

/*
 * Notes that a folio was written through a pin, without a fault: O_DIRECT, process_vm_writev(). An earlier sync may
 * have written back and forgotten the entry by which it was mapped. Also called where a dirty leaf goes, with a
 * page-table lock held. PG_dirty stays clear, because the end of a pin is not told where it is set.
 */
static bool pages_dirty_folio(struct address_space *mapping, struct folio *folio)
{
	const struct dev_pagemap *pgmap = page_pgmap(&folio->page);

	return note_written(container_of(pgmap, struct rdax_pages, pgmap), folio_nr(pgmap, folio_pfn(folio)));
}

static const struct address_space_operations pages_aops = {
	.dirty_folio = pages_dirty_folio,
};

/*
 * Finds the first folio that was written, of those with one of the nr pages from pfn, which are of one range. Sets
 * pfn and nr to its first page and the number of its pages. Returns whether there is one. The caller serializes calls.
 */
bool rust_helper_pages_find_written(struct rdax_pages *pages, unsigned long *pfn, unsigned long *nr)
{
	unsigned int shift = pages->pgmap.vmemmap_shift;
	unsigned long head = folio_pfn(page_folio(pfn_to_page(*pfn)));
	unsigned long first = folio_nr(&pages->pgmap, head);
	unsigned long end = first + ((*pfn + *nr - 1 - head) >> shift) + 1;
	unsigned long bit = next_written(pages, first, end);

	if (bit >= end)
		return false;
	*pfn = head + ((bit - first) << shift);
	*nr = 1UL << shift;
	return true;
}

/*
 * Forgets that folios were written, of those that are all in the nr pages from pfn, which are of one range. The
 * caller has made their mappings read-only, if writes are tracked, and then writes them back.
 *
 * A folio that someone has a reference to may be written until that goes, so its note stays. Not all who pin a page
 * tell of what they have written: AF_ALG never does, O_DIRECT may do so after it has said that it is done
 * (blkdev_bio_end_io_async()), and nobody does where KVM has set PG_dirty (kvm_set_page_dirty()). GUP-fast drops its
 * reference if the PTE has changed meanwhile, so a reference that counts is seen here.
 */
void rust_helper_pages_clear_written(struct rdax_pages *pages, unsigned long pfn, unsigned long nr)
{
	unsigned long size = 1UL << pages->pgmap.vmemmap_shift, end = pfn + nr;
	unsigned long head = folio_pfn(page_folio(pfn_to_page(pfn)));
	unsigned long bit = folio_nr(&pages->pgmap, head);

	for (; head < end; head += size, bit++) {
		struct folio *folio = page_folio(pfn_to_page(head));

		if (head >= pfn && head + size <= end && test_bit(bit, pages->written))
			clear_bit(bit, pages->written);
		/*
		 * Pairs with the barrier in note_written(): what was written before a note that is gone is
		 * written back.
		 */
		smp_mb();
		if (is_referenced(folio))
			note_written(pages, bit);
	}
}

/* Whether the caller is the first: one inode and one owner take care of these pages. */
bool rust_helper_pages_take(struct rdax_pages *pages)
{
	return !atomic_xchg(&pages->taken, 1);
}

void rust_helper_pages_give_back(struct rdax_pages *pages)
{
	atomic_set(&pages->taken, 0);
}

/* Before the first page is mapped. */
void rust_helper_dev_dax_enter_inode(struct inode *inode)
{
	inode->i_mapping->a_ops = &pages_aops;
}

/* When nothing maps or pins a page any more: the next driver of the device uses the inode, too. */
void rust_helper_dev_dax_leave_inode(struct inode *inode)
{
	inode->i_mapping->a_ops = &empty_aops;
}

/*
 * Maps the page or, if huge, the folio of 2 MiB that begins at pfn. The caller holds the lock of the entry, so no
 * other fault maps these pages in leaves of another size. A leaf that is there stays, but becomes writable if
 * write is true and the VMA allows it.
 */
vm_fault_t rust_helper_vmf_insert_pages(struct vm_fault *vmf, unsigned long pfn, bool huge,
					bool write)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);
	pmd_t pmd = pmdp_get_lockless(vmf->pmd);
	pgoff_t pgoff = vmf->pgoff;

	if (huge)
		pgoff = linear_page_index(vmf->vma, vmf->address & PMD_MASK);
	/* All faults on the folio find the same. */
	if (!READ_ONCE(folio->mapping)) {
		WRITE_ONCE(folio->index, pgoff - folio_page_idx(folio, page));
		/* memory_failure() uses the index only if there is a mapping. */
		smp_store_release(&folio->mapping, vmf->vma->vm_file->f_mapping);
	}
	if (huge) {
		if (folio_order(folio) != PMD_ORDER || &folio->page != page)
			return VM_FAULT_FALLBACK;
		/* insert_pmd() warns of a page table. The access is repeated, and finds it. */
		if (!pmd_none(pmd) && !pmd_leaf(pmd))
			return VM_FAULT_NOPAGE;
		return vmf_insert_folio_pmd(vmf, folio, write);
	}
	/* The kernel has allocated the page table. walk_to_pmd() has no use for a leaf. */
	if (pmd_none(pmd)) {
		install_ptes(vmf);
		pmd = pmdp_get_lockless(vmf->pmd);
	}
	if (pmd_none(pmd) || pmd_leaf(pmd))
		return VM_FAULT_NOPAGE;
	return vmf_insert_page_mkwrite(vmf, page, write);
}

/*
 * Whether nothing pins the folio of a page, apart from mappings if these are counted as idle. Stores how many pages
 * it has from this one. With mapped, it is a hint. Without, the caller has unmapped the folio and keeps it so, and
 * the answer stays true.
 *
 * GUP-fast takes a reference, and drops it if the PTE has changed meanwhile. So a reference that counts was taken
 * before the PTE was cleared, and is seen here: clearing a PTE is a full barrier.
 */
bool rust_helper_pages_are_idle(unsigned long pfn, bool mapped, unsigned long *nr)
{
	struct page *page = pfn_to_page(pfn);
	struct folio *folio = page_folio(page);

	*nr = folio_nr_pages(folio) - folio_page_idx(folio, page);
	return folio_ref_count(folio) <= 1 + (mapped ? folio_mapcount(folio) : 0);
}
