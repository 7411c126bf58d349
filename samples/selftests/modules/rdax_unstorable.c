// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that can be faulted in for writing and not stored to, for rw.c: a user shadow
 * stack is that, and needs hardware which QEMU does not emulate. A fault that a store
 * raises gets SIGBUS; one that fault_in_safe_writeable() handles succeeds, and leaves the
 * page read-only. fixup_user_fault() is the only caller without FAULT_FLAG_INTERRUPTIBLE.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

static vm_fault_t unstorable_fault(struct vm_fault *vmf)
{
	pgprot_t read_only = vm_get_page_prot(vmf->vma->vm_flags & ~VM_WRITE);
	unsigned long pfn = page_to_pfn(ZERO_PAGE(vmf->address));

	return vmf_insert_pfn_prot(vmf->vma, vmf->address & PAGE_MASK, pfn, read_only);
}

static vm_fault_t unstorable_pfn_mkwrite(struct vm_fault *vmf)
{
	return vmf->flags & FAULT_FLAG_INTERRUPTIBLE ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

static const struct vm_operations_struct unstorable_vm_ops = {
	.fault = unstorable_fault,
	.pfn_mkwrite = unstorable_pfn_mkwrite,
};

static int unstorable_mmap(struct file *file, struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &unstorable_vm_ops;
	return 0;
}

static const struct file_operations unstorable_fops = {
	.owner = THIS_MODULE,
	.mmap = unstorable_mmap,
};

static struct miscdevice unstorable_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "rdax_unstorable",
	.fops = &unstorable_fops,
};
module_misc_device(unstorable_dev);

MODULE_DESCRIPTION("Memory that can be faulted in for writing and not stored to");
MODULE_LICENSE("GPL");
