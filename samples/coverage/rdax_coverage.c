// SPDX-License-Identifier: GPL-2.0
/*
 * Which basic blocks of rdax.ko ran, in any task. (KCOV tells of one task only.) rdax.ko has to be
 * built with -fsanitize-coverage=trace-pc; what the compiler calls then is here.
 *
 * /sys/kernel/debug/rdax_coverage/base is where rdax.ko was loaded last, and reached has a line for
 * each address behind such a call, relative to that: the same in each load.
 */
#include <linux/bitops.h>
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#include "rdax_coverage.h"

#define MAX_TEXT (4UL << 20)

static unsigned long base;
static DECLARE_BITMAP(reached, MAX_TEXT);

notrace void __sanitizer_cov_trace_pc(void)
{
	unsigned long at = _RET_IP_ - READ_ONCE(base);

	/* Most places are noted already: no write, so no cache line moves. */
	if (at < MAX_TEXT && !test_bit(at, reached))
		set_bit(at, reached);
}
EXPORT_SYMBOL_GPL(__sanitizer_cov_trace_pc);

static int module_changes(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *mod = data;

	if (state == MODULE_STATE_COMING && !strcmp(mod->name, "rdax"))
		WRITE_ONCE(base, (unsigned long)mod->mem[MOD_TEXT].base);
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = module_changes };

static int reached_show(struct seq_file *m, void *unused)
{
	unsigned long at;

	for_each_set_bit(at, reached, MAX_TEXT)
		seq_printf(m, "%lx\n", at);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(reached);

static int base_show(struct seq_file *m, void *unused)
{
	seq_printf(m, "%lx\n", base);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(base);

static struct dentry *directory;

static int __init rdax_coverage_init(void)
{
	int error = register_module_notifier(&notifier);

	if (error)
		return error;
	directory = debugfs_create_dir("rdax_coverage", NULL);
	debugfs_create_file("base", 0400, directory, NULL, &base_fops);
	debugfs_create_file("reached", 0400, directory, NULL, &reached_fops);
	return 0;
}
module_init(rdax_coverage_init);

static void __exit rdax_coverage_exit(void)
{
	debugfs_remove(directory);
	unregister_module_notifier(&notifier);
}
module_exit(rdax_coverage_exit);

MODULE_DESCRIPTION("Which basic blocks of rdax.ko ran");
MODULE_LICENSE("GPL");
