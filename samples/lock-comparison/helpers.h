/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LOCK_COMPARISON_HELPERS_H
#define _LOCK_COMPARISON_HELPERS_H

#include <linux/types.h>

/* The inline functions and macros that Rust can't call: see helpers.c. */
void rust_helper_set_task_uninterruptible(void);
unsigned int rust_helper_num_possible_cpus(void);
bool rust_helper_cpu_online(unsigned int cpu);
int rust_helper_cpu_to_node(unsigned int cpu);
int rust_helper_numa_node_id(void);
unsigned int rust_helper_nr_node_ids(void);
unsigned long rust_helper_slab_bytes(void);
void rust_helper_mark_warm_up(void);
void rust_helper_mark_operation(void);
void rust_helper_mark_end(void);

#endif /* _LOCK_COMPARISON_HELPERS_H */
