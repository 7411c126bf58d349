// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters that are strings and can be seen in sysfs: the kernel
 * crate's module! macro knows integers only, and gives them no sysfs file.
 */

#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/string.h>

static char rdax_bind[RDAX_PARAM_LEN];
module_param_string(bind, rdax_bind, sizeof(rdax_bind), 0444);
MODULE_PARM_DESC(bind, "namespaces to take at load or when they appear, by name, separated by commas (default: none)");

static char rdax_force[RDAX_PARAM_LEN];
module_param_string(force, rdax_force, sizeof(rdax_force), 0600);
MODULE_PARM_DESC(force, "namespaces to bind although something known lies at their head, by name, separated by commas (default: none)");

static char rdax_align[RDAX_PARAM_LEN] = "4K";
module_param_string(align, rdax_align, sizeof(rdax_align), 0600);
MODULE_PARM_DESC(align, "alignment of the devices bound from now on: 4K, 2M or 1G (default: 4K)");

static char rdax_divided[RDAX_PARAM_LEN];
module_param_string(divided, rdax_divided, sizeof(rdax_divided), 0600);
MODULE_PARM_DESC(divided, "namespaces to bind without a first device, by name, separated by commas (default: none)");

static bool rdax_upgrade = true;
module_param_named(upgrade, rdax_upgrade, bool, 0644);
MODULE_PARM_DESC(upgrade, "whether a 2 MiB fault replaces unlocked smaller entries in its range (default: yes)");

static unsigned int rdax_fault_around = SZ_64K;
module_param_named(fault_around, rdax_fault_around, uint, 0644);
MODULE_PARM_DESC(fault_around, "bytes that a 4 KiB fault maps where memory is touched in order, at most 2 MiB; 0: one page (default: 65536)");

static const char *const leaf_names[] = { "4K", "2M", "1G" };
static const unsigned int leaf_orders[] = { 0, PMD_ORDER, PUD_ORDER };
static unsigned int rdax_max_leaf = ARRAY_SIZE(leaf_names) - 1;

static int max_leaf_set(const char *val, const struct kernel_param *kp)
{
	int found = sysfs_match_string(leaf_names, val);

	if (found < 0)
		return found;
	WRITE_ONCE(rdax_max_leaf, found);
	return 0;
}

static int max_leaf_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%s\n", leaf_names[READ_ONCE(rdax_max_leaf)]);
}

static const struct kernel_param_ops max_leaf_ops = {
	.set = max_leaf_set,
	.get = max_leaf_get,
};
module_param_cb(max_leaf, &max_leaf_ops, NULL, 0644);
MODULE_PARM_DESC(max_leaf, "the largest page-table leaf that faults map from now on: 4K, 2M or 1G (default: 1G)");

/* The order of the largest leaf. */
unsigned int rust_helper_param_max_leaf(void)
{
	return leaf_orders[READ_ONCE(rdax_max_leaf)];
}

unsigned int rust_helper_param_fault_around(void)
{
	return READ_ONCE(rdax_fault_around);
}

bool rust_helper_param_upgrade(void)
{
	return READ_ONCE(rdax_upgrade);
}

size_t rust_helper_param_read(enum rdax_param param, char *buf, size_t len)
{
	static char *const params[] = {
		[RDAX_PARAM_BIND] = rdax_bind,
		[RDAX_PARAM_FORCE] = rdax_force,
		[RDAX_PARAM_ALIGN] = rdax_align,
		[RDAX_PARAM_DIVIDED] = rdax_divided,
	};
	ssize_t copied;

	kernel_param_lock(THIS_MODULE);
	copied = strscpy(buf, params[param], len);
	kernel_param_unlock(THIS_MODULE);

	return copied < 0 ? 0 : copied;
}
