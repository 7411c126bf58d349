// SPDX-License-Identifier: GPL-2.0

#include <linux/delay.h>
#include <linux/huge_mm.h>
#include <linux/memory-failure.h>
#include <linux/mm.h>
#include <linux/mmap_lock.h>
#include <linux/pgtable.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

void rust_helper_vma_start_write(struct vm_area_struct *vma)
{
	vma_start_write(vma);
}

void rust_helper_zap_special_vma_range(struct vm_area_struct *vma, unsigned long address,
				       unsigned long size)
{
	zap_special_vma_range(vma, address, size);
}

unsigned long rust_helper_zero_pfn(unsigned long addr)
{
	return page_to_pfn(ZERO_PAGE(addr));
}

unsigned long rust_helper_page_to_pfn(const struct page *page)
{
	return page_to_pfn(page);
}

bool rust_helper_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

/* Not signal_pending(), which is also true for io_uring's task work. */
bool rust_helper_task_sigpending(void)
{
	return task_sigpending(current);
}

void rust_helper_sleep(unsigned int ms)
{
	msleep(ms);
}

/*
 * Sleeps; returns earlier, within 20 ms, if the task has a signal to handle. No interruptible sleep:
 * that would end at once as long as there is task work of io_uring, which only the way back to the
 * program does.
 */
void rust_helper_sleep_interruptible(unsigned int ms)
{
	while (ms && !task_sigpending(current)) {
		unsigned int slice = min(ms, 20U);

		schedule_timeout_idle(msecs_to_jiffies(slice));
		ms -= slice;
	}
}

void rust_helper_cond_resched(void)
{
	cond_resched();
}

int rust_helper_register_pfn_address_space(struct pfn_address_space *pfn_space)
{
	return register_pfn_address_space(pfn_space);
}

void rust_helper_unregister_pfn_address_space(struct pfn_address_space *pfn_space)
{
	unregister_pfn_address_space(pfn_space);
}
