// SPDX-License-Identifier: GPL-2.0
/*
 * For dax_btf.sh: what rdax finds of the private structures of the dax bus in the kernel's BTF, or
 * concludes from it. Its code and the kernel's are those that always run; probes change a value that
 * goes in or comes out.
 *
 * instead=NAME  rdax looks up the structure NAME where it wants dev_dax
 * moved=N       the member N of dev_dax begins 8 bytes later
 * answer=N      what rdax finds is N, a value of enum rdax_dax_bus
 *
 * To be loaded before rdax. One of the parameters at a time.
 */
#include <linux/btf.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/ptrace.h>

#define MEMBERS	13	/* of struct dev_dax */

static char *instead;
module_param(instead, charp, 0400);
static int moved = -1;
module_param(moved, int, 0400);
static int answer = -1;
module_param(answer, int, 0400);

static int look_up(struct kprobe *probe, struct pt_regs *regs)
{
	const char *name = (const char *)regs_get_kernel_argument(regs, 0);

	if (!strcmp(name, "dev_dax"))
		regs->di = (unsigned long)instead;
	return 0;
}

static struct kprobe look_up_probe = {
	.symbol_name = "bpf_find_btf_id",
	.pre_handler = look_up,
};

static int move(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	static struct { struct btf_type type; struct btf_member members[MEMBERS]; } copy;
	const struct btf_type *type = (const void *)regs_return_value(regs);

	/* Nothing else is loaded meanwhile, and looks for a structure. */
	if (strcmp(current->comm, "insmod") || !type || !btf_type_is_struct(type) ||
	    btf_type_vlen(type) != MEMBERS)
		return 0;
	memcpy(&copy, type, sizeof(copy));
	copy.members[moved].offset += 64;
	regs_set_return_value(regs, (unsigned long)&copy);
	return 0;
}

static struct kretprobe move_probe = {
	.kp.symbol_name = "btf_type_by_id",
	.handler = move,
};

static int found(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	regs_set_return_value(regs, answer);
	return 0;
}

static struct kretprobe found_probe = {
	.kp.symbol_name = "rdax:rust_helper_dax_bus",
	.handler = found,
};
static bool found_probed;

/* The symbol is there when the module comes, and the probe is gone when it goes. */
static int module_event(struct notifier_block *block, unsigned long event, void *data)
{
	const struct module *mod = data;

	if (strcmp(mod->name, "rdax") || answer < 0)
		return NOTIFY_DONE;
	if (event == MODULE_STATE_COMING)
		found_probed = !register_kretprobe(&found_probe);
	if (event == MODULE_STATE_GOING && found_probed) {
		unregister_kretprobe(&found_probe);
		found_probed = false;
	}
	return NOTIFY_DONE;
}

/* After the kernel's own, which know of the module's functions then. */
static struct notifier_block modules = { .notifier_call = module_event, .priority = -1 };

static int __init rdax_btf_init(void)
{
	if (moved >= MEMBERS)
		return -EINVAL;
	if (instead)
		return register_kprobe(&look_up_probe);
	if (moved >= 0)
		return register_kretprobe(&move_probe);
	return register_module_notifier(&modules);
}
module_init(rdax_btf_init);

static void __exit rdax_btf_exit(void)
{
	if (instead) {
		unregister_kprobe(&look_up_probe);
	} else if (moved >= 0) {
		unregister_kretprobe(&move_probe);
	} else {
		unregister_module_notifier(&modules);
		if (found_probed)
			unregister_kretprobe(&found_probe);
	}
}
module_exit(rdax_btf_exit);

MODULE_DESCRIPTION("What rdax finds of the dax bus's structures");
MODULE_LICENSE("GPL");
