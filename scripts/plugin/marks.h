/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a program in the guest, or a module of its kernel, tells the plugin coherence.so
 * what to record: by a NOP with an operand that no compiler makes, which does nothing
 * without the plugin.
 */
#ifndef MARKS_H
#define MARKS_H

/* nopl MARK(%rax): three bytes, then the mark, least significant byte first. */
#define MARK_OPCODE	"\x0f\x1f\x80"
#define MARK_MAGIC	0x5eed0000
#define MARK_SIZE	7

enum mark {
	MARK_ARM = 1,	/* begin a trace file; soon, not at once */
	MARK_DISARM,	/* end it */
	MARK_WARM_UP,	/* this CPU begins an operation that is not counted, */
	MARK_OPERATION,	/* or one that is; */
	MARK_END,	/* and ends it */
};

#define mark(which) ({							\
	asm volatile("nopl %c0(%%rax)" : : "i" (MARK_MAGIC + (which)) : "memory"); \
})

#endif /* MARKS_H */
