// SPDX-License-Identifier: GPL-2.0
/*
 * What maps an address, for leaf.c: write an address of this process to the parameter `address`,
 * and read the bits of its leaf there, in hexadecimal, and how many bytes it maps. 0 if nothing is
 * mapped.
 */
#include <linux/mm.h>
#include <linux/module.h>

static unsigned long bits, size;

static int leaf_set(const char *text, const struct kernel_param *kp)
{
	struct follow_pfnmap_args args = {};
	unsigned long address;
	int ret = kstrtoul(text, 0, &address);

	if (ret)
		return ret;
	bits = 0;
	size = 0;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, address);
	args.address = address;
	if (args.vma && !follow_pfnmap_start(&args)) {
		bits = pgprot_val(args.pgprot);
		size = ~args.addr_mask + 1;
		follow_pfnmap_end(&args);
	}
	mmap_read_unlock(current->mm);
	return 0;
}

static int leaf_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%#lx %lu\n", bits, size);
}

static const struct kernel_param_ops leaf_ops = { .set = leaf_set, .get = leaf_get };
module_param_cb(address, &leaf_ops, NULL, 0600);

MODULE_DESCRIPTION("The bits of the leaf that maps an address");
MODULE_LICENSE("GPL");
