// SPDX-License-Identifier: GPL-2.0

#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>

/* For root only, because debugfs_create_devm_seqfile() makes files that all may read. */
struct dentry *rust_helper_debugfs_create_private_dir(const char *name)
{
	struct dentry *dir = debugfs_create_dir(name, NULL);

	if (!IS_ERR_OR_NULL(dir))
		d_inode(dir)->i_mode = S_IFDIR | 0700;
	return dir;
}

/* Unlike debugfs_create_dir(), never in the root of debugfs. */
struct dentry *rust_helper_debugfs_create_subdir(const char *name, struct dentry *parent)
{
	return parent ? debugfs_create_dir(name, parent) : ERR_PTR(-ENODEV);
}

void rust_helper_debugfs_create_devm_seqfile(struct device *dev, const char *name,
					     struct dentry *parent,
					     int (*read_fn)(struct seq_file *s, void *data))
{
	if (parent)
		debugfs_create_devm_seqfile(dev, name, parent, read_fn);
}

void rust_helper_debugfs_remove(struct dentry *dentry)
{
	debugfs_remove(dentry);
}
