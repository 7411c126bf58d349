/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine of one CPU, without an operating system: each call lets it execute one routine
 * of a few instructions on one address of its memory.
 */
#ifndef RDAX_SELFTEST_VM_H
#define RDAX_SELFTEST_VM_H

#include <stdbool.h>
#include <stdint.h>

enum vm_op {
	VM_LOAD,	/* 8 bytes */
	VM_MOV,		/* a store of 8 bytes */
	VM_MOVQ,	/* the same from an SSE register: KVM cannot emulate it */
	VM_MOVDQU,	/* the value twice, 16 bytes */
	VM_MOVNTDQ,	/* the same past the caches; the address must be a multiple of 16 */
	VM_XADD,	/* add the value, `times` times; each returns what was there before */
	VM_OPS
};

/* The stores among them. */
#define VM_STORES(op)	enum vm_op op = VM_MOV; op < VM_OPS; op++

struct vm {
	int kvm, fd, cpu;
	struct kvm_run *run;
	char *low;		/* its code and page tables */
	uint64_t data;		/* the address of its memory */
	uint64_t len;		/* of that, in bytes */
	uint64_t value;		/* what the last routine returned */
};

/* Its routines. */
extern const char vm_code[], vm_code_end[];

/* Is there /dev/kvm? Loads the modules. */
bool vm_possible(void);

/*
 * Call first in main(): is there /dev/kvm? If so, keeps a machine until the program ends.
 *
 * With the first machine and after the last, KVM switches static keys: it patches code of the scheduler.
 * Without KVM on the host, QEMU sometimes executes the breakpoint of such a patch on another CPU when that
 * is gone already, and the kernel stops ("Oops: int3" in finish_task_switch()).
 */
bool vm_hold(void);

/* 0, or -errno. The memory is a mapping of at most 3 GiB. */
int vm_make(struct vm *vm, void *memory, uint64_t len);
void vm_end(struct vm *vm);

/* Other memory in the same place, of the same length; with or without KVM's log of stores. */
int vm_memory(struct vm *vm, void *memory, bool log);

/* A bit for each 4 KiB that was stored to since the last call: 0, or -errno. */
int vm_log(struct vm *vm, uint64_t *bits);

/*
 * "ok", or why the machine stopped: "EFAULT" and the like from KVM_RUN, "SIGBUS" (see rdax_signal()),
 * "internal error N", where 1 is an instruction that KVM had to emulate and could not.
 */
const char *vm_do(struct vm *vm, enum vm_op op, uint64_t offset, uint64_t value);
const char *vm_add(struct vm *vm, uint64_t offset, uint64_t value, uint64_t times);

#endif /* RDAX_SELFTEST_VM_H */
