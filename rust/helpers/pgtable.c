// SPDX-License-Identifier: GPL-2.0
/*
 * Leaves of page frames in the page tables of a fault.
 *
 * As insert_pfn() and insert_pmd() of the kernel's mm/, but for two things: several PTEs are set at once, and
 * the caller may look at something of its own between the lock and the leaf. And they leave out what vmf_insert_pfn*()
 * asks the memory type tables each time: the caller knows that the frames are mapped write-back
 * (kernel_ext/mm.rs, Frames).
 *
 * The VMA is locked at least for read and its page tables are those of nothing else than this device: a page
 * table that is there stays until that lock is dropped. Those who free one of a living VMA, khugepaged and
 * MADV_DONTNEED, leave VM_PFNMAP alone.
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
 * Puts the page table in place that the kernel allocated before it called the driver (__do_fault()), so that
 * nothing is allocated under the driver's locks. As pmd_install(), which is not exported.
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
 * Locks the page table of the fault's PTE, after putting the preallocated one there if there is none. NULL: a leaf
 * came in, or a leaf went after the kernel had found that no table was needed; the access is tried again.
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
	ptl = pte_lockptr(vmf->vma->vm_mm, vmf->pmd);
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
 * Maps nr pages from addr on, in one page table, which is locked. What is mapped already stays, but becomes
 * writable if that is wanted.
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

		/* Nothing need be flushed: who still has it as read-only just faults. */
		if (pte_none(old) ||
		    (write && !pte_write(old) && !WARN_ON_ONCE(pte_pfn(old) != pte_pfn(entry))))
			set_pte_at(vmf->vma->vm_mm, addr, pte, entry);
		if (!--nr)
			break;
		entry = pte_next_pfn(entry);
	}
}

/* Maps a PMD leaf, as above. Whether there is one now. */
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
	/* No deposited table: arch_needs_pgtable_deposit() is false where there are PMD pfn leaves but on powerpc. */
	set_pmd_at(vmf->vma->vm_mm, vmf->address & PMD_MASK, vmf->pmd, entry);
	return true;
}

/*
 * Does the page before the fault's allow such an access, as far as this PMD table tells? Without a lock: a hint.
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
	/* The page before may be another VMA's, whose tables go when they are empty. */
	if (before < vmf->vma->vm_start || pmd_none(pmd) || pmd_leaf(pmd))
		return false;
	pte = ptep_get(pte_offset_kernel(pmdp, before));
	return pte_present(pte) && (!(vmf->flags & FAULT_FLAG_WRITE) || pte_write(pte));
}
