// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/topology.h>

#include "../../rust/helpers/helpers.h"
#include "../../scripts/plugin/marks.h"
#include "helpers.h"

/* Those of the driver's that its files here call. */
#include "../../rust/helpers/bug.c"
#include "../../rust/helpers/lockdep.c"
#include "../../rust/helpers/percpu.c"
#include "../../rust/helpers/wait.c"

/* One more of these, which is in mm.c with much else. */
void rust_helper_cond_resched(void)
{
	cond_resched();
}

void rust_helper_set_task_uninterruptible(void)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
}

unsigned int rust_helper_num_possible_cpus(void)
{
	return num_possible_cpus();
}

bool rust_helper_cpu_online(unsigned int cpu)
{
	return cpu_online(cpu);
}

int rust_helper_cpu_to_node(unsigned int cpu)
{
	return cpu_to_node(cpu);
}

int rust_helper_numa_node_id(void)
{
	return numa_node_id();
}

unsigned int rust_helper_nr_node_ids(void)
{
	return nr_node_ids;
}

/* Whole pages, of all nodes; kept in pages, whatever the names say. */
unsigned long rust_helper_slab_bytes(void)
{
	return (global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) +
		global_node_page_state_pages(NR_SLAB_UNRECLAIMABLE_B)) << PAGE_SHIFT;
}

void rust_helper_mark_warm_up(void)
{
	mark(MARK_WARM_UP);
}

void rust_helper_mark_operation(void)
{
	mark(MARK_OPERATION);
}

void rust_helper_mark_end(void)
{
	mark(MARK_END);
}
