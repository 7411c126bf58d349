// SPDX-License-Identifier: GPL-2.0
/*
 * See vm.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rdax.h"
#include "vm.h"

/* Each routine begins at a multiple of 32 bytes: address in rdi, value in rsi, count in rcx. */
#define ROUTINE	32
asm(".pushsection .rodata\n"
	"	.balign 32\n"
	"vm_code:\n"
	"	mov	(%rdi), %rax\n"
	"	hlt\n"
	"	.balign 32\n"
	"	mov	%rsi, (%rdi)\n"
	"	hlt\n"
	"	.balign 32\n"
	"	movq	%rsi, %xmm0\n"
	"	movq	%xmm0, (%rdi)\n"
	"	hlt\n"
	"	.balign 32\n"
	"	movq	%rsi, %xmm0\n"
	"	punpcklqdq %xmm0, %xmm0\n"
	"	movdqu	%xmm0, (%rdi)\n"
	"	hlt\n"
	"	.balign 32\n"
	"	movq	%rsi, %xmm0\n"
	"	punpcklqdq %xmm0, %xmm0\n"
	"	movntdq	%xmm0, (%rdi)\n"
	"	hlt\n"
	"	.balign 32\n"
	"1:	mov	%rsi, %rax\n"
	"	lock xadd %rax, (%rdi)\n"
	"	dec	%rcx\n"
	"	jnz	1b\n"
	"	hlt\n"
	"	.balign 32\n"
	"vm_code_end:\n"
	".popsection\n");

/* What lies where in its low memory. Virtual addresses are the physical ones. */
#define PML4	0x1000
#define PDPT	0x2000
#define PDS	0x3000	/* one for each GiB */
#define GIBS	8
#define CODE	0x10000
#define LOW	0x20000

/* The page tables of its own memory, and what it uses begins here at the earliest. */
#define DATA	(4 * SZ_1G)

#define PRESENT	(UINT64_C(1) << 0)
#define WRITE	(UINT64_C(1) << 1)
#define LARGE	(UINT64_C(1) << 7)

#define CR0_PE	(1U << 0)
#define CR0_MP	(1U << 1)
#define CR0_ET	(1U << 4)
#define CR0_NE	(1U << 5)
#define CR0_WP	(1U << 16)
#define CR0_PG	(1U << 31)
#define CR4_PAE	(1U << 5)
#define CR4_OSFXSR	(1U << 9)
#define CR4_OSXMMEXCPT	(1U << 10)
#define EFER_LME	(1U << 8)
#define EFER_LMA	(1U << 10)

#define CPUID_ENTRIES	256

bool vm_possible(void)
{
	return !access("/dev/kvm", R_OK | W_OK) ||
	       (!system("modprobe -q kvm_amd || modprobe -q kvm_intel") &&
		!access("/dev/kvm", R_OK | W_OK));
}

bool vm_hold(void)
{
	int kvm, vm;

	if (!vm_possible())
		return false;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	return vm >= 0 && ioctl(vm, KVM_CREATE_VCPU, 0) >= 0;
}

static int slot(struct vm *vm, unsigned int number, uint64_t at, uint64_t len, void *memory,
		bool log)
{
	struct kvm_userspace_memory_region region = {
		.slot = number,
		.flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = at,
		.memory_size = len,
		.userspace_addr = (uintptr_t)memory,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

static void map_everything(char *low)
{
	uint64_t *pml4 = (void *)(low + PML4), *pdpt = (void *)(low + PDPT);
	uint64_t *pd = (void *)(low + PDS);

	pml4[0] = PDPT | PRESENT | WRITE;
	for (uint64_t gib = 0; gib < GIBS; gib++)
		pdpt[gib] = (PDS + gib * SZ_4K) | PRESENT | WRITE;
	for (uint64_t i = 0; i < GIBS * 512; i++)
		pd[i] = i * SZ_2M | PRESENT | WRITE | LARGE;
}

static int start_cpu(struct vm *vm)
{
	struct kvm_segment flat = {
		.limit = UINT32_MAX, .selector = 8, .type = 3, .present = 1, .s = 1, .db = 1,
		.g = 1,
	};
	struct kvm_sregs sregs;
	struct kvm_cpuid2 *cpuid;
	int ret;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_ENTRIES * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = CPUID_ENTRIES;
	ret = ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid) ||
	      ioctl(vm->cpu, KVM_SET_CPUID2, cpuid) || ioctl(vm->cpu, KVM_GET_SREGS, &sregs);
	free(cpuid);
	if (ret)
		return -errno;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cs = flat;
	sregs.cs.type = 11;
	sregs.cs.l = 1;
	sregs.cs.db = 0;
	sregs.cr3 = PML4;
	sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	sregs.efer = EFER_LME | EFER_LMA;
	return ioctl(vm->cpu, KVM_SET_SREGS, &sregs) ? -errno : 0;
}

/* Large pages need an address that agrees with the process's. */
int vm_memory(struct vm *vm, void *memory, bool log)
{
	uint64_t at = DATA + (uintptr_t)memory % SZ_1G;
	int ret;

	if (vm->data) {
		ret = slot(vm, 1, vm->data, 0, NULL, false);
		if (ret)
			return ret;
	}
	vm->data = at;
	return slot(vm, 1, at, vm->len, memory, log);
}

int vm_make(struct vm *vm, void *memory, uint64_t len)
{
	int size;

	*vm = (struct vm){ .kvm = -1, .fd = -1, .cpu = -1, .len = len };
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return -errno;
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return -errno;
	vm->low = mmap(NULL, LOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->low == MAP_FAILED || slot(vm, 0, 0, LOW, vm->low, false) ||
	    vm_memory(vm, memory, false))
		return -errno;
	map_everything(vm->low);
	memcpy(vm->low + CODE, vm_code, vm_code_end - vm_code);
	vm->cpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vm->cpu < 0 || size < 0)
		return -errno;
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->cpu, 0);
	if (vm->run == MAP_FAILED)
		return -errno;
	return start_cpu(vm);
}

void vm_end(struct vm *vm)
{
	int size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	munmap(vm->run, size);
	close(vm->cpu);
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->low, LOW);
}

int vm_log(struct vm *vm, uint64_t *bits)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };

	return ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) ? -errno : 0;
}

struct run {
	struct vm *vm;
	int error;
};

static void run(void *arg)
{
	struct run *r = arg;

	r->error = ioctl(r->vm->cpu, KVM_RUN, 0) ? errno : 0;
}

static const char *execute(struct vm *vm, enum vm_op op, struct kvm_regs *regs)
{
	static __thread char why[64];
	struct run r = { .vm = vm };

	regs->rip = CODE + op * ROUTINE;
	regs->rflags = 2;
	if (ioctl(vm->cpu, KVM_SET_REGS, regs))
		return "no registers";
	switch (rdax_try(run, &r)) {
	case 0:
		break;
	case SIGBUS:
		return "SIGBUS";
	default:
		return "a signal";
	}
	if (r.error)
		return strerrorname_np(r.error);
	if (vm->run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		snprintf(why, sizeof(why), "internal error %u", vm->run->internal.suberror);
		return why;
	}
	if (vm->run->exit_reason != KVM_EXIT_HLT) {
		snprintf(why, sizeof(why), "exit %u", vm->run->exit_reason);
		return why;
	}
	if (ioctl(vm->cpu, KVM_GET_REGS, regs))
		return "no registers";
	vm->value = regs->rax;
	return "ok";
}

const char *vm_add(struct vm *vm, uint64_t offset, uint64_t value, uint64_t times)
{
	struct kvm_regs regs = { .rdi = vm->data + offset, .rsi = value, .rcx = times };

	return execute(vm, VM_XADD, &regs);
}

const char *vm_do(struct vm *vm, enum vm_op op, uint64_t offset, uint64_t value)
{
	struct kvm_regs regs = { .rdi = vm->data + offset, .rsi = value, .rcx = 1 };

	return execute(vm, op, &regs);
}
