// SPDX-License-Identifier: GPL-2.0

#include <linux/cdev.h>
#include <linux/xarray.h>

/*
 * What the opens of a number find. Static, and so ready before the first cdev: an inode may keep a cdev that was
 * deleted, as long as another file has it open.
 */
static DEFINE_XARRAY(chrdevs);

int rust_helper_chrdevs_insert(dev_t number, void *entry)
{
	return xa_insert(&chrdevs, number, entry, GFP_KERNEL);
}

void rust_helper_chrdevs_erase(dev_t number)
{
	xa_erase(&chrdevs, number);
}

/* Returns what the number finds, or NULL. It stays there until chrdevs_unlock(). */
void *rust_helper_chrdevs_lock(dev_t number)
	__acquires(&chrdevs.xa_lock)
{
	xa_lock(&chrdevs);
	return xa_load(&chrdevs, number);
}

void rust_helper_chrdevs_unlock(void)
	__releases(&chrdevs.xa_lock)
{
	xa_unlock(&chrdevs);
}
