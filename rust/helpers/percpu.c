// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu.h>

u64 __percpu *rust_helper_alloc_percpu_counters(size_t number)
{
	return (u64 __percpu *)__alloc_percpu_gfp(array_size(number, sizeof(u64)), sizeof(u64),
						  GFP_KERNEL_ACCOUNT);
}

void rust_helper_free_percpu_counters(u64 __percpu *counters)
{
	free_percpu(counters);
}

void notrace rust_helper_inc_percpu_counter(u64 __percpu *counters, size_t index)
{
	this_cpu_inc(counters[index]);
}

void rust_helper_add_percpu_counter(u64 __percpu *counters, size_t index, u64 number)
{
	this_cpu_add(counters[index], number);
}

u64 rust_helper_sum_percpu_counter(u64 __percpu *counters, size_t index)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(counters + index, cpu));
	return sum;
}
