// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU's TCG: which cache lines the guest's kernel reads and writes in each
 * operation that a program or a module has marked (marks.h), with the functions that do so.
 *
 *	-plugin file=coherence.so,out=DIRECTORY[,steps=on]
 *
 * DIRECTORY/kallsyms has to be there by the first MARK_ARM: the guest's /proc/kallsyms.
 * DIRECTORY/trace.N has what was marked between the Nth MARK_ARM and its MARK_DISARM: for
 * each operation, in the order in which they ended, a struct section and its records.
 * DIRECTORY/chains has the calls that records refer to. With steps=on, DIRECTORY/steps.N has
 * the address of each instruction of the operations, and 0 after each operation.
 * scripts/inside/coherence_trace.py reads all of them.
 *
 * It needs a QEMU thread for each CPU (-accel tcg,thread=multi): with one thread for all,
 * QEMU 10.0 takes the CPU that translated an instruction for the one that executes it. Two
 * operations at the same time are an error, so nothing is locked here. Only instructions
 * in the kernel's half of the address space are looked at, and of these not what is done for
 * an interrupt, from its entry to the iretq: a clock ticks when it likes. Code, accesses of
 * a device's registers, and what the CPU itself reads and writes (page tables) are not
 * seen.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marks.h"
#include "qemu_plugin.h"

#define LINE_SHIFT	6
#define VCPUS		512
#define DEPTH		4	/* of calls that are kept: the instruction, and three callers */
#define STACK		256
#define CHAINS		(1u << 18)
#define LONGEST_INSN	15
#define ENTRIES		128
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

/* Addresses: of the instruction, and of where it and its callers return to. */
struct chain {
	uint64_t address[DEPTH];
};

/* As it is in the file. FIRST and LAST count instructions since the operation's begin. */
struct record {
	uint64_t line;		/* physical address / 64 */
	uint64_t address;	/* virtual, of the first access */
	uint32_t used_by;	/* chain of the first access; */
	uint32_t written_by;	/* of the first that writes, or 0 */
	uint32_t first, last;
};

struct section {
	uint32_t vcpu, mark, instructions, records;
	uint32_t interrupts, unused;
};

struct vcpu {
	uint32_t mark;		/* or 0: nothing is recorded */
	uint64_t began;		/* instructions until then, and those for interrupts since */
	unsigned int depth;
	unsigned int nesting;	/* of interrupts */
	unsigned int interrupts;
	uint64_t interrupted;	/* instructions until then */
	uint64_t stack[STACK];
	struct record *records;
	uint32_t count, room;
	uint32_t *slots;	/* a hash table: indices of records, plus 1 */
	uint32_t slots_size;
};

static struct vcpu *vcpus[VCPUS];
static struct chain *chains;
static uint32_t *chain_slots;
static uint32_t chains_count = 1;	/* 0 is no chain */
static struct qemu_plugin_u64 instructions;
static const char *out = ".";
static FILE *trace, *chains_file, *steps_file;
static bool steps;
static unsigned int traces;
static struct vcpu *recording;

/* Where the kernel begins with an interrupt. */
static uint64_t entries[ENTRIES];
static unsigned int entries_count;
static const char *const entry_names[] = {
	"asm_sysvec_", "asm_common_interrupt", "asm_spurious_interrupt", "asm_exc_nmi",
};

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static void armed(uint64_t id);
static void disarmed(uint64_t id);

static void die(const char *what)
{
	fprintf(stderr, "coherence.so: %s\n", what);
	exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (!memory)
		die("no memory");
	return memory;
}

static FILE *create(const char *name, unsigned int number)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), number ? "%s/%s.%u" : "%s/%s", out, name, number);
	file = fopen(path, "wb");
	if (!file)
		die(path);
	return file;
}

static void put(FILE *file, const void *data, size_t size)
{
	if (size && fwrite(data, size, 1, file) != 1)
		die("a trace can't be written");
}

static uint64_t mix(uint64_t value)
{
	value *= UINT64_C(0x9e3779b97f4a7c15);
	return value ^ value >> 32;
}

static uint64_t executed(unsigned int index)
{
	char *part = qemu_plugin_scoreboard_find(instructions.score, index);

	return *(uint64_t *)(part + instructions.offset);
}

static struct vcpu *vcpu_of(unsigned int index)
{
	if (index >= VCPUS)
		die("too many CPUs");
	if (!vcpus[index])
		vcpus[index] = allocate(1, sizeof(*vcpus[index]));
	return vcpus[index];
}

/* The number of the chain that ends at the instruction at PC. */
static uint32_t chain_at(const struct vcpu *vcpu, uint64_t pc)
{
	struct chain chain = { { pc } };
	uint64_t hash = mix(pc);
	uint32_t slot;

	for (unsigned int i = 1; i < DEPTH && i <= vcpu->depth; i++) {
		chain.address[i] = vcpu->stack[(vcpu->depth - i) % STACK];
		hash = mix(hash + chain.address[i]);
	}
	for (slot = hash % (2 * CHAINS); chain_slots[slot]; slot = (slot + 1) % (2 * CHAINS))
		if (!memcmp(&chains[chain_slots[slot]], &chain, sizeof(chain)))
			return chain_slots[slot];
	if (chains_count == CHAINS)
		die("too many chains of calls");
	chains[chains_count] = chain;
	put(chains_file, &chain, sizeof(chain));
	chain_slots[slot] = chains_count;
	return chains_count++;
}

static uint32_t *slot_of(struct vcpu *vcpu, uint64_t line)
{
	uint32_t slot = mix(line) % vcpu->slots_size;

	while (vcpu->slots[slot] && vcpu->records[vcpu->slots[slot] - 1].line != line)
		slot = (slot + 1) % vcpu->slots_size;
	return &vcpu->slots[slot];
}

static void make_room(struct vcpu *vcpu)
{
	vcpu->room = vcpu->room ? 2 * vcpu->room : 1024;
	vcpu->records = realloc(vcpu->records, vcpu->room * sizeof(*vcpu->records));
	if (!vcpu->records)
		die("no memory");
	free(vcpu->slots);
	vcpu->slots_size = 4 * vcpu->room;
	vcpu->slots = allocate(vcpu->slots_size, sizeof(*vcpu->slots));
	for (uint32_t i = 0; i < vcpu->count; i++)
		*slot_of(vcpu, vcpu->records[i].line) = i + 1;
}

static void accessed(unsigned int index, uint32_t info, uint64_t address, void *data)
{
	struct vcpu *vcpu = index < VCPUS ? vcpus[index] : NULL;
	struct qemu_plugin_hwaddr *physical;
	struct record *record;
	uint64_t line;
	uint32_t *slot;

	if (!vcpu || !vcpu->mark || vcpu->nesting)
		return;
	physical = qemu_plugin_get_hwaddr(info, address);
	if (!physical || qemu_plugin_hwaddr_is_io(physical))
		return;
	line = qemu_plugin_hwaddr_phys_addr(physical) >> LINE_SHIFT;
	if (vcpu->count == vcpu->room)
		make_room(vcpu);
	slot = slot_of(vcpu, line);
	if (!*slot) {
		*slot = ++vcpu->count;
		record = &vcpu->records[*slot - 1];
		*record = (struct record){
			.line = line,
			.address = address,
			.used_by = chain_at(vcpu, (uintptr_t)data),
			.first = executed(index) - vcpu->began,
		};
	}
	record = &vcpu->records[*slot - 1];
	record->last = executed(index) - vcpu->began;
	if (!record->written_by && qemu_plugin_mem_is_store(info))
		record->written_by = chain_at(vcpu, (uintptr_t)data);
}

static void put_step(uint64_t address)
{
	put(steps_file, &address, sizeof(address));
}

static void stepped(unsigned int index, void *data)
{
	struct vcpu *vcpu = index < VCPUS ? vcpus[index] : NULL;

	if (vcpu && vcpu->mark == MARK_OPERATION && !vcpu->nesting)
		put_step((uintptr_t)data);
}

/* DATA is where the call returns to. */
static void called(unsigned int index, void *data)
{
	struct vcpu *vcpu = index < VCPUS ? vcpus[index] : NULL;

	if (vcpu && vcpu->mark && !vcpu->nesting)
		vcpu->stack[vcpu->depth++ % STACK] = (uintptr_t)data;
}

static void returned(unsigned int index, void *data)
{
	struct vcpu *vcpu = index < VCPUS ? vcpus[index] : NULL;

	(void)data;
	if (vcpu && vcpu->mark && !vcpu->nesting && vcpu->depth)
		vcpu->depth--;
}

static void interrupt_begins(unsigned int index, void *data)
{
	struct vcpu *vcpu = index < VCPUS ? vcpus[index] : NULL;

	(void)data;
	if (!vcpu || !vcpu->mark || vcpu->nesting++)
		return;
	vcpu->interrupts++;
	vcpu->interrupted = executed(index);
}

/* Before an iretq, whatever it returns from. */
static void interrupt_ends(unsigned int index, void *data)
{
	struct vcpu *vcpu = index < VCPUS ? vcpus[index] : NULL;

	(void)data;
	if (vcpu && vcpu->mark && vcpu->nesting && !--vcpu->nesting)
		vcpu->began += executed(index) - vcpu->interrupted;
}

static void begin(struct vcpu *vcpu, unsigned int index, uint32_t which)
{
	if (!trace)
		return;
	if (recording)
		die("two operations at the same time");
	recording = vcpu;
	vcpu->mark = which;
	vcpu->began = executed(index);
	vcpu->depth = 0;
	vcpu->nesting = 0;
	vcpu->interrupts = 0;
	vcpu->count = 0;
	if (vcpu->slots)
		memset(vcpu->slots, 0, vcpu->slots_size * sizeof(*vcpu->slots));
}

static void end(struct vcpu *vcpu, unsigned int index)
{
	struct section section = {
		.vcpu = index,
		.mark = vcpu->mark,
		.instructions = executed(index) - vcpu->began,
		.records = vcpu->count,
		.interrupts = vcpu->interrupts,
	};

	if (!vcpu->mark || !trace)
		return;
	vcpu->mark = 0;
	recording = NULL;
	put(trace, &section, sizeof(section));
	put(trace, vcpu->records, vcpu->count * sizeof(*vcpu->records));
	if (steps && section.mark == MARK_OPERATION)
		put_step(0);
}

static uint64_t plugin_id;

static void marked(unsigned int index, void *data)
{
	struct vcpu *vcpu = vcpu_of(index);
	uint32_t which = (uintptr_t)data;

	switch (which) {
	case MARK_ARM:
		if (!trace)
			qemu_plugin_reset(plugin_id, armed);
		break;
	case MARK_DISARM:
		if (trace)
			qemu_plugin_reset(plugin_id, disarmed);
		break;
	case MARK_WARM_UP:
	case MARK_OPERATION:
		begin(vcpu, index, which);
		break;
	case MARK_END:
		end(vcpu, index);
		break;
	}
}

/* Which mark an instruction is, or 0. */
static uint32_t mark_of(const uint8_t *bytes, size_t size)
{
	uint32_t operand;

	if (size != MARK_SIZE || memcmp(bytes, MARK_OPCODE, MARK_SIZE - sizeof(operand)))
		return 0;
	memcpy(&operand, bytes + MARK_SIZE - sizeof(operand), sizeof(operand));
	operand -= MARK_MAGIC;
	return operand <= MARK_END ? operand : 0;
}

enum branch { OTHER, CALL, RETURN, INTERRUPT_RETURN };

static enum branch branch_of(const uint8_t *bytes, size_t size)
{
	size_t i = 0;

	/* prefixes: segments (notrack), sizes, bnd, rep, rex */
	while (i + 1 < size && (bytes[i] == 0x2e || bytes[i] == 0x3e || bytes[i] == 0x66 ||
				bytes[i] == 0x67 || bytes[i] == 0xf2 || bytes[i] == 0xf3 ||
				(bytes[i] & 0xf0) == 0x40))
		i++;
	if (bytes[i] == 0xe8 || (bytes[i] == 0xff && i + 1 < size && (bytes[i + 1] >> 3 & 7) == 2))
		return CALL;
	if (bytes[i] == 0xcf)
		return INTERRUPT_RETURN;
	return bytes[i] == 0xc3 || bytes[i] == 0xc2 ? RETURN : OTHER;
}

static void watch_for_marks(struct qemu_plugin_insn *insn, const uint8_t *bytes, size_t size)
{
	uint32_t which = mark_of(bytes, size);

	if (which)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, marked, QEMU_PLUGIN_CB_NO_REGS,
						       (void *)(uintptr_t)which);
}

static bool is_entry(uint64_t pc)
{
	for (unsigned int i = 0; i < entries_count; i++)
		if (entries[i] == pc)
			return true;
	return false;
}

static void watch_kernel(struct qemu_plugin_insn *insn, const uint8_t *bytes, size_t size)
{
	uint64_t pc = qemu_plugin_insn_vaddr(insn);

	switch (branch_of(bytes, size)) {
	case CALL:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, called, QEMU_PLUGIN_CB_NO_REGS,
						       (void *)(pc + size));
		break;
	case RETURN:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, returned, QEMU_PLUGIN_CB_NO_REGS,
						       NULL);
		break;
	case INTERRUPT_RETURN:
		qemu_plugin_register_vcpu_insn_exec_cb(insn, interrupt_ends,
						       QEMU_PLUGIN_CB_NO_REGS, NULL);
		break;
	case OTHER:
		if (is_entry(pc))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, interrupt_begins,
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
		break;
	}
	if (steps)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, stepped, QEMU_PLUGIN_CB_NO_REGS,
						       (void *)pc);
	qemu_plugin_register_vcpu_mem_cb(insn, accessed, QEMU_PLUGIN_CB_NO_REGS,
					 QEMU_PLUGIN_MEM_RW, (void *)pc);
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[LONGEST_INSN] = { 0 };
		size_t size = qemu_plugin_insn_data(insn, bytes, sizeof(bytes));

		if (trace)
			qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
				insn, QEMU_PLUGIN_INLINE_ADD_U64, instructions, 1);
		watch_for_marks(insn, bytes, size);
		if (trace && qemu_plugin_insn_vaddr(insn) >> 63)
			watch_kernel(insn, bytes, size);
	}
}

static void find_entries(void)
{
	char path[512], line[512], name[256];
	uint64_t address;
	FILE *file;

	snprintf(path, sizeof(path), "%s/kallsyms", out);
	file = fopen(path, "r");
	if (!file)
		die(path);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%" SCNx64 " %*c %255s", &address, name) != 2)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(entry_names); i++)
			if (!strncmp(name, entry_names[i], strlen(entry_names[i])) &&
			    entries_count < ENTRIES)
				entries[entries_count++] = address;
	}
	fclose(file);
	if (!entries_count)
		die("kallsyms has no entries of interrupts");
}

/* What was translated before is thrown away by the reset, so all is seen from here on. */
static void armed(uint64_t id)
{
	if (!entries_count)
		find_entries();
	trace = create("trace", ++traces);
	if (steps)
		steps_file = create("steps", traces);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
}

static void disarmed(uint64_t id)
{
	if (fclose(trace) || fflush(chains_file) || (steps && fclose(steps_file)))
		die("a trace can't be written");
	trace = NULL;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
}

int qemu_plugin_install(uint64_t id, const struct qemu_info_t *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out = strdup(argv[i] + 4);
		else if (!strcmp(argv[i], "steps=on"))
			steps = true;
	}
	plugin_id = id;
	chains = allocate(CHAINS, sizeof(*chains));
	chain_slots = allocate(2 * CHAINS, sizeof(*chain_slots));
	chains_file = create("chains", 0);
	put(chains_file, &chains[0], sizeof(chains[0]));
	instructions.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
