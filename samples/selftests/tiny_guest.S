/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A kernel for a guest whose memory is a device of the dax bus (dax_tools.sh): it fills 1 MiB at
 * 16 MiB with words, reads them back, and ends QEMU with the status 33 if they were right, and
 * with 35 otherwise. Multiboot: QEMU loads it by -kernel; no libraries, no operating system.
 */
#define MAGIC	0x1badb002
#define START	(16 << 20)
#define END	(17 << 20)
#define MASK	0x5ad0da7a
#define EXIT	0xf4	/* -device isa-debug-exit,iobase=0xf4 */

	.section .text
	.code32
	.globl _start
	.align 4
	.long MAGIC, 0, -MAGIC
_start:
	cli
	mov $START, %edi
1:	mov %edi, %eax
	xor $MASK, %eax
	mov %eax, (%edi)
	add $4, %edi
	cmp $END, %edi
	jb 1b
	mov $START, %edi
2:	mov %edi, %eax
	xor $MASK, %eax
	cmp %eax, (%edi)
	jne 3f
	add $4, %edi
	cmp $END, %edi
	jb 2b
	mov $16, %al
	jmp 4f
3:	mov $17, %al
4:	out %al, $EXIT
5:	hlt
	jmp 5b
	.section .note.GNU-stack, "", @progbits
