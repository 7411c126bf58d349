// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters that are visible in sysfs: the kernel crate's module! macro
 * supports only integers, without a sysfs file.
 *
 * A bad value that is written to sysfs is refused. A bad value at load is ignored,
 * because nd_pmem would bind every namespace if the module failed to load.
 */

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pgtable.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uuid.h>

/* The maximum number of bytes of a bad value in the log. */
#define RDAX_PARAM_SHOWN 128

/* The sysfs files are made after the parameters of the load are set. */
static bool at_load(const struct kernel_param *kp)
{
	return !kp->mod->mkobj.mp;
}

/* Logs a bad value, or a bad item of a list. Returns the result of the set operation. */
static int bad_value(const struct kernel_param *kp, const char *val, const char *why)
{
	bool ignored = at_load(kp);
	int len = 0;

	/* Without "=" there is no value. */
	if (val)
		len = min_t(size_t, strcspn(val, "\n"), RDAX_PARAM_SHOWN);
	pr_err("rdax: parameter %s: '%*pE' %s: %s\n", kp->name, len, val ?: "",
	       ignored ? "ignored" : "refused", why);
	return ignored ? 0 : -EINVAL;
}

/* Parses a number of bytes: decimal, with or without a suffix. Returns 0 if the text is invalid. */
static u64 bytes_of(const char *text)
{
	static const char units[] = "KMGT";
	size_t digits = strspn(text, "0123456789");
	const char *unit;
	char *end;
	u64 bytes;

	/* memparse() parses numbers that begin with 0 as octal or hexadecimal. */
	if (!digits || *text == '0')
		return 0;
	/* Below 10^16, nothing overflows. */
	unit = isalpha(text[digits]) ? strchr(units, toupper(text[digits])) : NULL;
	if (digits + (unit ? 3 * (unit - units + 1) : 0) > 16)
		return 0;
	bytes = memparse(text, &end);
	if (end != text + digits + !!unit || *skip_spaces(end))
		return 0;
	return bytes;
}

/*
 * Lists of namespaces, or of devices of the dax bus
 */

/* NULL is the empty list. Protected by the lock of the module's parameters. */
static char *rdax_lists[RDAX_PARAM_LISTS];

/* Returns what follows the digits in text, or NULL if there is none, or more than an int has. */
static const char *after_number(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && digits <= 10 ? text + digits : NULL;
}

/* Returns what follows a name like namespaceX.Y in item, or NULL if that is no such name. */
static const char *after_name(const char *item, const char *prefix)
{
	size_t len = str_has_prefix(item, prefix);

	if (!len)
		return NULL;
	item = after_number(item + len);
	if (!item || *item != '.')
		return NULL;
	return after_number(item + 1);
}

/* Whether item is a UUID, namespaceX.Y or namespaceX.Y:SIZE. */
static bool is_namespace(const char *item)
{
	const char *rest;

	if (strlen(item) == UUID_STRING_LEN && uuid_is_valid(item))
		return true;
	rest = after_name(item, "namespace");
	return rest && (!*rest || (*rest == ':' && bytes_of(rest + 1)));
}

/* Whether item is daxX.Y. */
static bool is_dax(const char *item)
{
	const char *rest = after_name(item, "dax");

	return rest && !*rest;
}

/* Items are separated by commas. Spaces around them are removed. */
static int set_list(const char *val, const struct kernel_param *kp)
{
	char **list = kp->arg;
	bool dax = list == &rdax_lists[RDAX_PARAM_PAGES];
	char *kept, *end, *rest, *item;
	size_t len;
	int ret;

	if (!val)
		return bad_value(kp, val, "a list is missing");
	len = strlen(val);
	/* kernfs splits a longer write into several. */
	if (!at_load(kp) && len >= PAGE_SIZE)
		return bad_value(kp, val, "longer than a page");

	kept = kvmalloc(len + 1, GFP_KERNEL);
	if (!kept)
		return -ENOMEM;
	memcpy(kept, val, len + 1);

	/* Valid items move to the front, over those that were checked. */
	end = kept;
	rest = strim(kept);
	if (!*rest)
		rest = NULL;
	while ((item = strsep(&rest, ","))) {
		item = strim(item);
		if (dax ? !is_dax(item) : !is_namespace(item)) {
			ret = bad_value(kp, item,
					dax ? "not daxX.Y" :
					      "not namespaceX.Y, namespaceX.Y:SIZE or a UUID");
			if (ret) {
				kvfree(kept);
				return ret;
			}
			continue;
		}
		if (end != kept)
			*end++ = ',';
		len = strlen(item);
		memmove(end, item, len);
		end += len;
	}
	*end = '\0';

	kvfree(*list);
	*list = kept;
	return 0;
}

/* Shows as many items as fit into a page. */
static int get_list(char *buf, const struct kernel_param *kp)
{
	const char *list = *(char **)kp->arg ?: "";
	size_t len = strlen(list);

	/* No item is that long. */
	if (len > PAGE_SIZE - 2)
		for (len = PAGE_SIZE - 2; len && list[len] != ','; len--)
			;
	return sysfs_emit(buf, "%.*s\n", (int)len, list);
}

static void free_list(void *arg)
{
	char **list = arg;

	kvfree(*list);
	*list = NULL;
}

/* NOARG: the kernel itself would refuse to load the module for a parameter without "=". */
static const struct kernel_param_ops list_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_list,
	.get = get_list,
	.free = free_list,
};

module_param_cb(bind, &list_ops, &rdax_lists[RDAX_PARAM_BIND], 0444);
__MODULE_PARM_TYPE(bind, "string");
MODULE_PARM_DESC(bind, "namespaces to bind at load or when they appear, separated by commas: UUID, or namespaceX.Y[:SIZE] where there is no UUID (default: none)");

module_param_cb(force, &list_ops, &rdax_lists[RDAX_PARAM_FORCE], 0600);
__MODULE_PARM_TYPE(force, "string");
MODULE_PARM_DESC(force, "namespaces to bind although they hold known data, as in bind (default: none)");

module_param_cb(divided, &list_ops, &rdax_lists[RDAX_PARAM_DIVIDED], 0600);
__MODULE_PARM_TYPE(divided, "string");
MODULE_PARM_DESC(divided, "namespaces to bind without a first device, as in bind (default: none)");

module_param_cb(pages, &list_ops, &rdax_lists[RDAX_PARAM_PAGES], 0600);
__MODULE_PARM_TYPE(pages, "string");
MODULE_PARM_DESC(pages, "devices of the dax bus to bind with a struct page for each page, separated by commas: daxX.Y (default: none)");

/* The list does not change until rust_helper_params_unlock(). */
const char *rust_helper_params_lock(enum rdax_param param, size_t *len)
{
	const char *list;

	kernel_param_lock(THIS_MODULE);
	list = rdax_lists[param] ?: "";
	*len = strlen(list);
	return list;
}

void rust_helper_params_unlock(void)
{
	kernel_param_unlock(THIS_MODULE);
}

/*
 * Sizes of leaves: the order
 */

static const struct {
	const char *name;
	unsigned int order;
} leaves[] = {
	{ "4K", 0 },
	{ "2M", PMD_ORDER },
	{ "1G", PUD_ORDER },
};

static int set_leaf(const char *val, const struct kernel_param *kp)
{
	u64 bytes = val ? bytes_of(val) : 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(leaves); i++) {
		if (bytes == PAGE_SIZE << leaves[i].order) {
			WRITE_ONCE(*(unsigned int *)kp->arg, leaves[i].order);
			return 0;
		}
	}
	return bad_value(kp, val, "not 4K, 2M or 1G");
}

static int get_leaf(char *buf, const struct kernel_param *kp)
{
	unsigned int order = READ_ONCE(*(unsigned int *)kp->arg);

	for (unsigned int i = 0; i < ARRAY_SIZE(leaves); i++)
		if (leaves[i].order == order)
			return sysfs_emit(buf, "%s\n", leaves[i].name);
	return -EINVAL;
}

static const struct kernel_param_ops leaf_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_leaf,
	.get = get_leaf,
};

static unsigned int rdax_align;
module_param_cb(align, &leaf_ops, &rdax_align, 0600);
__MODULE_PARM_TYPE(align, "string");
MODULE_PARM_DESC(align, "alignment of the devices bound from now on: 4K, 2M or 1G (default: 4K)");

unsigned int rdax_max_leaf = PUD_ORDER;
module_param_cb(max_leaf, &leaf_ops, &rdax_max_leaf, 0644);
__MODULE_PARM_TYPE(max_leaf, "string");
MODULE_PARM_DESC(max_leaf, "the largest page-table leaf that faults map from now on: 4K, 2M or 1G (default: 1G)");

unsigned int rust_helper_param_align(void)
{
	return READ_ONCE(rdax_align);
}

/*
 * Others
 */

static int set_upgrade(const char *val, const struct kernel_param *kp)
{
	bool upgrade;

	if (kstrtobool(val ?: "1", &upgrade))
		return bad_value(kp, val, "neither Y nor N");
	WRITE_ONCE(*(bool *)kp->arg, upgrade);
	return 0;
}

static const struct kernel_param_ops upgrade_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_upgrade,
	.get = param_get_bool,
};

static bool rdax_upgrade = true;
module_param_cb(upgrade, &upgrade_ops, &rdax_upgrade, 0644);
__MODULE_PARM_TYPE(upgrade, "bool");
MODULE_PARM_DESC(upgrade, "whether a 2 MiB fault replaces unlocked smaller entries in its range (default: yes)");

static int set_fault_around(const char *val, const struct kernel_param *kp)
{
	unsigned int bytes;

	if (!val || kstrtouint(val, 0, &bytes) || bytes % PAGE_SIZE || bytes > SZ_2M)
		return bad_value(kp, val, "not a multiple of 4096 up to 2097152");
	WRITE_ONCE(*(unsigned int *)kp->arg, bytes);
	return 0;
}

static const struct kernel_param_ops fault_around_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = set_fault_around,
	.get = param_get_uint,
};

unsigned int rdax_fault_around = SZ_64K;
module_param_cb(fault_around, &fault_around_ops, &rdax_fault_around, 0644);
__MODULE_PARM_TYPE(fault_around, "uint");
MODULE_PARM_DESC(fault_around, "bytes that a 4 KiB fault maps where memory is touched in order, a multiple of 4096, at most 2 MiB; 0: one page (default: 65536)");

bool rust_helper_param_upgrade(void)
{
	return READ_ONCE(rdax_upgrade);
}
