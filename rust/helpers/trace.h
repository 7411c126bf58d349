/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events. Documentation/tracing.rst lists them; rust/kernel_ext/trace.rs emits them.
 *
 * As in include/trace/events/fs_dax.h, pgoff is an offset in pages, and result an errno, except that of a
 * fault. name is that of the node; minor is the N of rdaxN, and UINT_MAX for a device of the dax bus.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rdax

#if !defined(_RDAX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _RDAX_TRACE_H

#include <linux/device.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sprintf.h>
#include <linux/tracepoint.h>

#ifndef _RDAX_TRACE_ENUMS
#define _RDAX_TRACE_ENUMS
/* The results of a fault, with the names of the counters in sysfs. */
enum rdax_fault {
	RDAX_FAULT_MAPPED,
	RDAX_FAULT_RACED,
	RDAX_FAULT_FALLBACK,
	RDAX_FAULT_OOM,
	RDAX_FAULT_SIGBUS,
	RDAX_FAULT_HWPOISON,
};

/* The longest name: daxX.Y with two numbers of 32 bits. */
#define RDAX_NAME_SIZE	28

/* How an event is told which device it is about: N for rdaxN; this bit, X << 32 and Y for daxX.Y, X < 2^31. */
#define RDAX_ON_DAX_BUS	(1UL << 63)

static inline void rdax_name(char *name, unsigned long device)
{
	if (device & RDAX_ON_DAX_BUS)
		snprintf(name, RDAX_NAME_SIZE, "dax%u.%u",
			 (unsigned int)((device & ~RDAX_ON_DAX_BUS) >> 32), (unsigned int)device);
	else
		snprintf(name, RDAX_NAME_SIZE, "rdax%u", (unsigned int)device);
}

static inline unsigned int rdax_minor(unsigned long device)
{
	return device & RDAX_ON_DAX_BUS ? UINT_MAX : device;
}
#endif

TRACE_DEFINE_ENUM(RDAX_FAULT_MAPPED);
TRACE_DEFINE_ENUM(RDAX_FAULT_RACED);
TRACE_DEFINE_ENUM(RDAX_FAULT_FALLBACK);
TRACE_DEFINE_ENUM(RDAX_FAULT_OOM);
TRACE_DEFINE_ENUM(RDAX_FAULT_SIGBUS);
TRACE_DEFINE_ENUM(RDAX_FAULT_HWPOISON);

/* For programs that format events themselves: perf, trace-cmd. */
TRACE_DEFINE_ENUM(FAULT_FLAG_WRITE);
TRACE_DEFINE_ENUM(FAULT_FLAG_MKWRITE);
TRACE_DEFINE_ENUM(FAULT_FLAG_ALLOW_RETRY);
TRACE_DEFINE_ENUM(FAULT_FLAG_RETRY_NOWAIT);
TRACE_DEFINE_ENUM(FAULT_FLAG_KILLABLE);
TRACE_DEFINE_ENUM(FAULT_FLAG_TRIED);
TRACE_DEFINE_ENUM(FAULT_FLAG_USER);
TRACE_DEFINE_ENUM(FAULT_FLAG_REMOTE);
TRACE_DEFINE_ENUM(FAULT_FLAG_INSTRUCTION);
TRACE_DEFINE_ENUM(FAULT_FLAG_INTERRUPTIBLE);
TRACE_DEFINE_ENUM(FAULT_FLAG_VMA_LOCK);

TRACE_EVENT(rdax_fault,
	TP_PROTO(unsigned long device, const struct vm_fault *vmf, unsigned int order,
		 enum rdax_fault result),
	TP_ARGS(device, vmf, order, result),
	TP_STRUCT__entry(
		__field(unsigned long, address)
		__field(unsigned long, vm_start)
		__field(unsigned long, vm_end)
		__field(pgoff_t, pgoff)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(unsigned int, order)
		__field(unsigned int, flags)
		__field(unsigned int, result)
	),
	TP_fast_assign(
		__entry->address = vmf->address;
		__entry->vm_start = vmf->vma->vm_start;
		__entry->vm_end = vmf->vma->vm_end;
		__entry->pgoff = vmf->pgoff;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->order = order;
		__entry->flags = vmf->flags;
		__entry->result = result;
	),
	TP_printk("%s %s address %#lx vm_start %#lx vm_end %#lx pgoff %#lx order %u %s",
		__entry->name,
		__print_flags(__entry->flags, "|", FAULT_FLAG_TRACE),
		__entry->address,
		__entry->vm_start,
		__entry->vm_end,
		__entry->pgoff,
		__entry->order,
		__print_symbolic(__entry->result,
			{ RDAX_FAULT_MAPPED, "mapped" },
			{ RDAX_FAULT_RACED, "raced" },
			{ RDAX_FAULT_FALLBACK, "fallback" },
			{ RDAX_FAULT_OOM, "oom" },
			{ RDAX_FAULT_SIGBUS, "sigbus" },
			{ RDAX_FAULT_HWPOISON, "hwpoison" })
	)
);

/* pgoff and order: the run of the entry. */
DECLARE_EVENT_CLASS(rdax_entry_class,
	TP_PROTO(unsigned long device, pgoff_t pgoff, unsigned int order),
	TP_ARGS(device, pgoff, order),
	TP_STRUCT__entry(
		__field(pgoff_t, pgoff)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(unsigned int, order)
	),
	TP_fast_assign(
		__entry->pgoff = pgoff;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->order = order;
	),
	TP_printk("%s pgoff %#lx order %u",
		__entry->name,
		__entry->pgoff,
		__entry->order
	)
)

#define DEFINE_RDAX_ENTRY_EVENT(name) \
DEFINE_EVENT(rdax_entry_class, name, \
	TP_PROTO(unsigned long device, pgoff_t pgoff, unsigned int order), \
	TP_ARGS(device, pgoff, order))

DEFINE_RDAX_ENTRY_EVENT(rdax_entry_create);
DEFINE_RDAX_ENTRY_EVENT(rdax_entry_upgrade);
DEFINE_RDAX_ENTRY_EVENT(rdax_entry_delete);
DEFINE_RDAX_ENTRY_EVENT(rdax_entry_writeback);
DEFINE_RDAX_ENTRY_EVENT(rdax_entry_conflict);

TRACE_EVENT(rdax_entry_split,
	TP_PROTO(unsigned long device, pgoff_t pgoff, unsigned int order, pgoff_t to_pgoff,
		 unsigned int to_order),
	TP_ARGS(device, pgoff, order, to_pgoff, to_order),
	TP_STRUCT__entry(
		__field(pgoff_t, pgoff)
		__field(pgoff_t, to_pgoff)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(unsigned int, order)
		__field(unsigned int, to_order)
	),
	TP_fast_assign(
		__entry->pgoff = pgoff;
		__entry->to_pgoff = to_pgoff;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->order = order;
		__entry->to_order = to_order;
	),
	TP_printk("%s pgoff %#lx order %u to pgoff %#lx order %u",
		__entry->name,
		__entry->pgoff,
		__entry->order,
		__entry->to_pgoff,
		__entry->to_order
	)
);

TRACE_EVENT(rdax_entry_wait,
	TP_PROTO(unsigned long device, pgoff_t pgoff, unsigned int order, u64 ns),
	TP_ARGS(device, pgoff, order, ns),
	TP_STRUCT__entry(
		__field(u64, ns)
		__field(pgoff_t, pgoff)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(unsigned int, order)
	),
	TP_fast_assign(
		__entry->ns = ns;
		__entry->pgoff = pgoff;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->order = order;
	),
	TP_printk("%s pgoff %#lx order %u %llu ns",
		__entry->name,
		__entry->pgoff,
		__entry->order,
		__entry->ns
	)
);

/* The pages from start up to end were asked for. */
TRACE_EVENT(rdax_sync,
	TP_PROTO(unsigned long device, pgoff_t start, pgoff_t end, unsigned long runs, u64 bytes,
		 int result),
	TP_ARGS(device, start, end, runs, bytes, result),
	TP_STRUCT__entry(
		__field(u64, bytes)
		__field(pgoff_t, start)
		__field(pgoff_t, end)
		__field(unsigned long, runs)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->bytes = bytes;
		__entry->start = start;
		__entry->end = end;
		__entry->runs = runs;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->result = result;
	),
	TP_printk("%s start %#lx end %#lx runs %lu bytes %llu result %d",
		__entry->name,
		__entry->start,
		__entry->end,
		__entry->runs,
		__entry->bytes,
		__entry->result
	)
);

DECLARE_EVENT_CLASS(rdax_range_class,
	TP_PROTO(unsigned long device, u64 offset, u64 length, int result),
	TP_ARGS(device, offset, length, result),
	TP_STRUCT__entry(
		__field(u64, offset)
		__field(u64, length)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->offset = offset;
		__entry->length = length;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->result = result;
	),
	TP_printk("%s offset %#llx length %#llx result %d",
		__entry->name,
		__entry->offset,
		__entry->length,
		__entry->result
	)
)

#define DEFINE_RDAX_RANGE_EVENT(name) \
DEFINE_EVENT(rdax_range_class, name, \
	TP_PROTO(unsigned long device, u64 offset, u64 length, int result), \
	TP_ARGS(device, offset, length, result))

DEFINE_RDAX_RANGE_EVENT(rdax_punch);
DEFINE_RDAX_RANGE_EVENT(rdax_zero);

TRACE_EVENT(rdax_bad_block,
	TP_PROTO(unsigned long device, u64 offset, u64 length),
	TP_ARGS(device, offset, length),
	TP_STRUCT__entry(
		__field(u64, offset)
		__field(u64, length)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
	),
	TP_fast_assign(
		__entry->offset = offset;
		__entry->length = length;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
	),
	TP_printk("%s offset %#llx length %#llx",
		__entry->name,
		__entry->offset,
		__entry->length
	)
);

TRACE_EVENT(rdax_resize,
	TP_PROTO(unsigned long device, u64 from, u64 to, int result),
	TP_ARGS(device, from, to, result),
	TP_STRUCT__entry(
		__field(u64, from)
		__field(u64, to)
		__array(char, name, RDAX_NAME_SIZE)
		__field(unsigned int, minor)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->from = from;
		__entry->to = to;
		rdax_name(__entry->name, device);
		__entry->minor = rdax_minor(device);
		__entry->result = result;
	),
	TP_printk("%s from %llu to %llu result %d",
		__entry->name,
		__entry->from,
		__entry->to,
		__entry->result
	)
);

TRACE_EVENT(rdax_bind,
	TP_PROTO(const struct device *dev, u64 size, u64 align),
	TP_ARGS(dev, size, align),
	TP_STRUCT__entry(
		__string(name, dev_name(dev))
		__field(u64, size)
		__field(u64, align)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->size = size;
		__entry->align = align;
	),
	TP_printk("%s size %llu align %llu",
		__get_str(name),
		__entry->size,
		__entry->align
	)
);

TRACE_EVENT(rdax_unbind,
	TP_PROTO(const struct device *dev),
	TP_ARGS(dev),
	TP_STRUCT__entry(
		__string(name, dev_name(dev))
	),
	TP_fast_assign(
		__assign_str(name);
	),
	TP_printk("%s", __get_str(name))
);

#endif /* _RDAX_TRACE_H */

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
/* This part must be outside protection */
#include <trace/define_trace.h>
