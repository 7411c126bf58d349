// SPDX-License-Identifier: GPL-2.0
/*
 * Leaves of page frames in the page tables of a fault.
 *
 * Like insert_pfn() and insert_pmd() of the kernel's mm/, with three differences: several PTEs are set at
 * once; the caller may check its own state between taking the lock and setting the leaf; and the memory type
 * tables are not asked each time, as vmf_insert_pfn*() does, because the frames are known to be mapped
 * write-back (kernel_ext/mm/frames.rs, Frames).
 *
 * The VMA is locked at least for read, and its page tables map only this device. So a page table stays until
 * that lock is dropped: khugepaged and MADV_DONTNEED, which free tables of an existing VMA, do not touch
 * VM_PFNMAP. Only install_ptes() is also for mappings of pages (pages.c).
 */

#include <linux/mm.h>
#include <linux/pgalloc.h>
#include <linux/pgtable.h>

#include "prot.h"

pgprot_t rust_helper_media_prot(pgprot_t prot)
{
	return rdax_media_prot(prot);
}

/*
 * Installs the page table that the kernel allocated before it called the driver (__do_fault()), so that
 * nothing is allocated under the driver's locks. Same as pmd_install(), which is not exported.
 */
static void install_ptes(struct vm_fault *vmf)
{
	struct mm_struct *mm = vmf->vma->vm_mm;
	spinlock_t *ptl = pmd_lock(mm, vmf->pmd);

	if (vmf->prealloc_pte && pmd_none(pmdp_get(vmf->pmd))) {
		mm_inc_nr_ptes(mm);
		/* Pairs with the address dependency of a walk without the lock: it sees a cleared table. */
		smp_wmb();
		pmd_populate(mm, vmf->pmd, vmf->prealloc_pte);
		vmf->prealloc_pte = NULL;
	}
	spin_unlock(ptl);
}

/*
 * Locks the page table of the fault's PTE, after installing the preallocated one if there is none. NULL if a
 * leaf was set, or was removed after the kernel found that no table was needed: the access is repeated.
 */
spinlock_t *rust_helper_vmf_lock_ptes(struct vm_fault *vmf)
{
	pmd_t pmd = pmdp_get_lockless(vmf->pmd);
	spinlock_t *ptl;

	if (unlikely(pmd_none(pmd))) {
		install_ptes(vmf);
		pmd = pmdp_get_lockless(vmf->pmd);
	}
	if (unlikely(pmd_none(pmd) || pmd_leaf(pmd)))
		return NULL;
	ptl = pte_lockptr(vmf->vma->vm_mm, &pmd);
	spin_lock(ptl);
	return ptl;
}

/* Locks the page table of the fault's PMD. */
spinlock_t *rust_helper_vmf_lock_pmd(struct vm_fault *vmf)
{
	return pmd_lock(vmf->vma->vm_mm, vmf->pmd);
}

static pgprot_t leaf_prot(const struct vm_area_struct *vma, enum rdax_leaf leaf)
{
	/* Read-only so that the first write faults: vma_wants_writenotify(). */
	return leaf == RDAX_LEAF_ZERO ? rdax_zero_prot(vma->vm_flags) : vma->vm_page_prot;
}

/*
 * Maps nr pages from addr, in one page table, which is locked. Existing entries stay, but become writable if
 * leaf is RDAX_LEAF_WRITE.
 */
void rust_helper_vmf_set_ptes(struct vm_fault *vmf, unsigned long addr, unsigned long pfn,
			      unsigned int nr, enum rdax_leaf leaf)
{
	pgprot_t prot = leaf_prot(vmf->vma, leaf);
	pte_t entry = pte_mkyoung(pte_mkspecial(pfn_pte(pfn, prot)));
	bool write = leaf == RDAX_LEAF_WRITE;
	pte_t *pte = pte_offset_kernel(vmf->pmd, addr);

	if (write)
		entry = pte_mkwrite_novma(pte_mkdirty(entry));
	for (;; pte++, addr += PAGE_SIZE) {
		pte_t old = ptep_get(pte);

		/* No TLB flush: a stale read-only entry only causes a spurious fault. */
		if (pte_none(old) ||
		    (write && !pte_write(old) && !WARN_ON_ONCE(pte_pfn(old) != pte_pfn(entry))))
			set_pte_at(vmf->vma->vm_mm, addr, pte, entry);
		if (!--nr)
			break;
		entry = pte_next_pfn(entry);
	}
}

/* Maps a PMD leaf in the same way. Returns whether there is one now. */
bool rust_helper_vmf_set_pmd(struct vm_fault *vmf, unsigned long pfn, enum rdax_leaf leaf)
{
	pmd_t entry = pmd_mkhuge(pfn_pmd(pfn, leaf_prot(vmf->vma, leaf)));
	pmd_t old = pmdp_get(vmf->pmd);
	bool write = leaf == RDAX_LEAF_WRITE;

	entry = pmd_mkyoung(pmd_mkspecial(entry));
	if (write)
		entry = pmd_mkwrite_novma(pmd_mkdirty(entry));
	if (!pmd_none(old)) {
		if (!pmd_trans_huge(old))
			return false;
		if (!write || pmd_write(old))
			return true;
		if (WARN_ON_ONCE(pmd_pfn(old) != pfn))
			return false;
	}
	/* No table is deposited: only powerpc has both PMD pfn leaves and arch_needs_pgtable_deposit(). */
	set_pmd_at(vmf->vma->vm_mm, vmf->address & PMD_MASK, vmf->pmd, entry);
	return true;
}

/* Locks the page table of the fault's PUD. */
spinlock_t *rust_helper_vmf_lock_pud(struct vm_fault *vmf)
{
	return pud_lock(vmf->vma->vm_mm, vmf->pud);
}

/*
 * Maps a PUD leaf of media in the same way. insert_pud(), unlike this, takes a page table for a leaf that is
 * there already, and the kernel may make one for a smaller fault at any time.
 */
bool rust_helper_vmf_set_pud(struct vm_fault *vmf, unsigned long pfn, bool write)
{
	pud_t entry = pud_mkhuge(pfn_pud(pfn, vmf->vma->vm_page_prot));
	pud_t old = pudp_get(vmf->pud);

	entry = pud_mkyoung(pud_mkspecial(entry));
	if (write)
		entry = pud_mkwrite(pud_mkdirty(entry));
	if (!pud_none(old)) {
		if (!pud_trans_huge(old))
			return false;
		if (!write || pud_write(old))
			return true;
		if (WARN_ON_ONCE(pud_pfn(old) != pfn))
			return false;
	}
	set_pud_at(vmf->vma->vm_mm, vmf->address & PUD_MASK, vmf->pud, entry);
	return true;
}

/*
 * Whether the page before the faulting one allows such an access, as far as this PMD table tells. Lockless: a hint.
 */
bool rust_helper_vmf_follows(const struct vm_fault *vmf)
{
	unsigned long before = vmf->address - PAGE_SIZE;
	pmd_t *pmdp = vmf->pmd;
	pmd_t pmd;
	pte_t pte;

	if (!pte_index(vmf->address)) {
		if (!pmd_index(vmf->address))
			return false;
		pmdp--;
	}
	pmd = pmdp_get_lockless(pmdp);
	/* The page before may be in another VMA, whose tables may be freed when they are empty. */
	if (before < vmf->vma->vm_start || pmd_none(pmd) || pmd_leaf(pmd))
		return false;
	pte = ptep_get(pte_offset_kernel(pmdp, before));
	return pte_present(pte) && (!(vmf->flags & FAULT_FLAG_WRITE) || pte_write(pte));
}
