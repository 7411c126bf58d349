// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters that are strings and can be seen in sysfs: the kernel
 * crate's module! macro knows integers only, and gives them no sysfs file. A
 * value that can't be meant is refused when it is written.
 */

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/string.h>

/* Is it "namespace", a number, a dot and another number, of this length? */
static bool is_namespace(const char *name, size_t len)
{
	static const char digits[] = "0123456789";
	size_t prefix, first, second;

	prefix = str_has_prefix(name, "namespace");
	first = strspn(name + prefix, digits);
	if (!prefix || !first || name[prefix + first] != '.')
		return false;
	second = strspn(name + prefix + first + 1, digits);
	return second && prefix + first + 1 + second == len;
}

/* Names of namespaces, separated by commas, or nothing. */
static int set_names(const char *val, const struct kernel_param *kp)
{
	const char *item = skip_spaces(val);

	while (*item) {
		const char *comma = strchrnul(item, ',');
		size_t len = comma - item;

		while (len && isspace(item[len - 1]))
			len--;
		if (!is_namespace(item, len)) {
			pr_err("rdax: parameter %s: no name of a namespace: '%.*s'\n", kp->name,
			       (int)strcspn(item, ",\n"), item);
			return -EINVAL;
		}
		if (!*comma)
			break;
		item = skip_spaces(comma + 1);
		/* Nothing after a comma is no name, either. */
		if (!*item)
			return -EINVAL;
	}
	return param_set_copystring(val, kp);
}

static const struct kernel_param_ops names_ops = {
	.set = set_names,
	.get = param_get_string,
};

/* As align() of rust/dax/params.rs has it: 4K, 2M or 1G, or as many bytes in other units. */
static int set_align(const char *val, const struct kernel_param *kp)
{
	size_t digits = strspn(val, "0123456789");
	unsigned long long bytes = 0;
	const char *end = val;

	/* A 0 in front would mean that they are octal; so many can't wrap around. */
	if (digits && digits <= 10 && *val != '0')
		bytes = memparse(val, (char **)&end);
	if ((bytes != SZ_4K && bytes != SZ_2M && bytes != SZ_1G) || *skip_spaces(end)) {
		pr_err("rdax: parameter %s: not 4K, 2M or 1G: '%.*s'\n", kp->name,
		       (int)strcspn(val, "\n"), val);
		return -EINVAL;
	}
	return param_set_copystring(val, kp);
}

static const struct kernel_param_ops align_ops = {
	.set = set_align,
	.get = param_get_string,
};

static int set_fault_around(const char *val, const struct kernel_param *kp)
{
	return param_set_uint_minmax(val, kp, 0, SZ_2M);
}

static const struct kernel_param_ops fault_around_ops = {
	.set = set_fault_around,
	.get = param_get_uint,
};

/* As module_param_string(), but with operations that look at the value. */
#define string_param(name, ops, buf, perm)						\
	static const struct kparam_string name##_string = { sizeof(buf), buf };		\
	__module_param_call(MODULE_PARAM_PREFIX, name, ops, .str = &name##_string,	\
			    perm, -1, 0);						\
	__MODULE_PARM_TYPE(name, "string")

static char rdax_bind[RDAX_PARAM_LEN];
string_param(bind, &names_ops, rdax_bind, 0444);
MODULE_PARM_DESC(bind, "namespaces to take at load or when they appear, by name, separated by commas (default: none)");

static char rdax_force[RDAX_PARAM_LEN];
string_param(force, &names_ops, rdax_force, 0600);
MODULE_PARM_DESC(force, "namespaces to bind although something known lies at their head, by name, separated by commas (default: none)");

static char rdax_align[RDAX_PARAM_LEN] = "4K";
string_param(align, &align_ops, rdax_align, 0600);
MODULE_PARM_DESC(align, "alignment of the devices bound from now on: 4K, 2M or 1G (default: 4K)");

static char rdax_divided[RDAX_PARAM_LEN];
string_param(divided, &names_ops, rdax_divided, 0600);
MODULE_PARM_DESC(divided, "namespaces to bind without a first device, by name, separated by commas (default: none)");

static bool rdax_upgrade = true;
module_param_named(upgrade, rdax_upgrade, bool, 0644);
MODULE_PARM_DESC(upgrade, "whether a 2 MiB fault replaces unlocked smaller entries in its range (default: yes)");

static unsigned int rdax_fault_around = SZ_64K;
module_param_cb(fault_around, &fault_around_ops, &rdax_fault_around, 0644);
__MODULE_PARM_TYPE(fault_around, "uint");
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
