// SPDX-License-Identifier: GPL-2.0
/*
 * First steps with an rdax device: the program to read and run before any other.
 *
 *	first_steps write  /dev/rdax0	leave a greeting and some data
 *	first_steps verify /dev/rdax0	look, after a reboot, whether they are there
 *
 * The device is persistent memory, or memory of the dax bus (/dev/dax0.0), as on a CXL
 * expander, which a reboot may clear. It can be read and written like a file, but what
 * it is for is this: a program maps a part of it with mmap() and then uses it like
 * any memory. The first access to each page is a fault, which rdax answers with the
 * largest page that fits: 4 KiB, 2 MiB or 1 GiB. How often it did so it counts in
 * sysfs. msync() makes durable what was stored.
 *
 * What this program makes of the device (all of its old content is fair game):
 *
 *	4 KiB	one page: a header with the greeting
 *	2 MiB	one 2 MiB page, filled
 *	1 GiB	one 1 GiB page, with a word in each 64 KiB
 *
 * Nothing here is particular to rdax but the paths in sysfs: it's all POSIX.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define KiB	(UINT64_C(1) << 10)
#define MiB	(UINT64_C(1) << 20)
#define GiB	(UINT64_C(1) << 30)

#define MAGIC	"rdax: first steps"

/* What the page at 4 KiB begins with. */
struct header {
	char magic[24];
	char greeting[160];
	char boot[40];		/* which boot of the machine wrote it */
	uint64_t seed;		/* of the data in the other two parts */
};

struct part {
	const char *name;
	uint64_t offset, length;
	uint64_t step;		/* one word each so many bytes */
};

static const struct part header_part = { "4 KiB", 4 * KiB, 4 * KiB, 0 };
static const struct part data_parts[] = {
	{ "2 MiB", 2 * MiB, 2 * MiB, sizeof(uint64_t) },
	{ "1 GiB", 1 * GiB, 1 * GiB, 64 * KiB },
};

static const char *device;

/*
 * What the kernel tells about the device: in /sys/class/dax/rdax0/, or for a device of the dax
 * bus in /sys/bus/dax/devices/dax0.0/. /sys/dev/char/ has both, by the number of the node.
 */

static bool attribute(const char *name, uint64_t *value)
{
	char path[256];
	struct stat st;
	FILE *file;
	bool ok;

	if (stat(device, &st))
		err(1, "can't find %s", device);
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/%s", major(st.st_rdev),
		 minor(st.st_rdev), name);
	file = fopen(path, "r");
	if (!file)
		return false;
	/* %i reads both kinds of numbers that are there: 4096 and 0x140000000. */
	ok = fscanf(file, "%" SCNi64, (int64_t *)value) == 1;
	fclose(file);
	return ok;
}

/* Faults that ended with a page of each size, since the device was bound. */
struct faults {
	uint64_t small, medium, large;
};

static struct faults count_faults(void)
{
	struct faults f;

	if (!attribute("faults/pte_mapped", &f.small) ||
	    !attribute("faults/pmd_mapped", &f.medium) ||
	    !attribute("faults/pud_mapped", &f.large))
		errx(1, "no fault counters for %s in sysfs: is it bound to rdax?", device);
	return f;
}

static void print_bytes(uint64_t bytes)
{
	if (bytes % GiB == 0)
		printf("%" PRIu64 " GiB", bytes / GiB);
	else
		printf("%" PRIu64 " MiB", bytes / MiB);
}

static void introduce(uint64_t size)
{
	uint64_t align, resource;

	printf("%s is ", device);
	print_bytes(size);
	if (attribute("align", &align))
		printf(", mapped in multiples of %" PRIu64 " bytes", align);
	/* Only root may know the physical address. */
	if (attribute("resource", &resource) && resource)
		printf(".\nIts media lies at the physical addresses 0x%" PRIx64
		       " to 0x%" PRIx64, resource, resource + size - 1);
	puts(".\n");
}

/*
 * Mapping, and seeing what it took
 */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* A device may be mapped only in multiples of its alignment: around the part, as much as that. */
static void whole_units(const struct part *part, uint64_t *offset, uint64_t *length)
{
	uint64_t align;

	if (!attribute("align", &align) || align < 4 * KiB)
		align = 4 * KiB;
	*offset = part->offset / align * align;
	*length = (part->offset + part->length + align - 1) / align * align - *offset;
}

static void *map_part(int fd, const struct part *part)
{
	uint64_t offset, length;
	char *p;

	whole_units(part, &offset, &length);
	/*
	 * MAP_SYNC: the mapping is of the media itself, so that data are safe
	 * once they have left the CPU's caches. It needs MAP_SHARED_VALIDATE.
	 * MAP_PRIVATE would be refused: there is nothing to copy pages into.
	 */
	p = mmap(NULL, length, PROT_READ | PROT_WRITE,
		 MAP_SHARED_VALIDATE | MAP_SYNC, fd, (off_t)offset);
	if (p == MAP_FAILED && errno == EOPNOTSUPP)
		p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
			 fd, (off_t)offset);
	if (p == MAP_FAILED)
		err(1, "can't map %s of %s", part->name, device);
	return p + (part->offset - offset);
}

static void unmap_part(void *p, const struct part *part)
{
	uint64_t offset, length;

	whole_units(part, &offset, &length);
	munmap((char *)p - (part->offset - offset), length);
}

/* From the CPU's caches to the media: what is there from here on outlives a power failure. */
static void make_durable(void *start, uint64_t length)
{
	if (msync(start, length, MS_SYNC))
		err(1, "can't make %" PRIu64 " bytes durable", length);
}

static void print_faults(const struct faults *before, double since)
{
	struct faults f = count_faults();
	double took = now() - since;
	const char *sep = "";

	printf(" in %.1f ms; faults answered with ", took);
	if (f.small != before->small) {
		printf("4 KiB pages: %" PRIu64, f.small - before->small);
		sep = ", ";
	}
	if (f.medium != before->medium) {
		printf("%s2 MiB pages: %" PRIu64, sep, f.medium - before->medium);
		sep = ", ";
	}
	if (f.large != before->large) {
		printf("%s1 GiB pages: %" PRIu64, sep, f.large - before->large);
		sep = ", ";
	}
	puts(*sep ? "." : "none.");
}

/* The words are different with each seed and at each place. */
static uint64_t word(uint64_t seed, uint64_t at)
{
	uint64_t z = seed + at * UINT64_C(0x9e3779b97f4a7c15);

	return (z ^ (z >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
}

static bool fits(const struct part *part, uint64_t size)
{
	if (part->offset + part->length <= size)
		return true;
	printf("%s: left out, the device ends before ", part->name);
	print_bytes(part->offset + part->length);
	puts(".");
	return false;
}

/*
 * The two commands
 */

static void read_boot(char *id, size_t size)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

	if (!file || !fgets(id, size, file))
		errx(1, "can't read which boot this is");
	fclose(file);
	id[strcspn(id, "\n")] = '\0';
}

static void write_part(int fd, const struct part *part, uint64_t seed)
{
	struct faults before = count_faults();
	double start = now();
	char *p = map_part(fd, part);

	for (uint64_t at = 0; at < part->length; at += part->step)
		*(uint64_t *)(p + at) = word(seed, part->offset + at);
	make_durable(p, part->length);
	printf("%s: wrote %" PRIu64 " words", part->name,
	       part->length / part->step);
	print_faults(&before, start);
	unmap_part(p, part);
}

static void write_all(int fd, uint64_t size)
{
	struct faults before = count_faults();
	struct header *header;
	double start = now();
	time_t date = time(NULL);
	char text[32];

	header = map_part(fd, &header_part);
	memset(header, 0, sizeof(*header));
	memcpy(header->magic, MAGIC, sizeof(MAGIC));
	read_boot(header->boot, sizeof(header->boot));
	if (getrandom(&header->seed, sizeof(header->seed), 0) < 0)
		err(1, "no random number");
	strftime(text, sizeof(text), "%F %T UTC", gmtime(&date));
	snprintf(header->greeting, sizeof(header->greeting),
		 "Hello from %s, seed %016" PRIx64 ". This is memory, and it stays.",
		 text, header->seed);
	make_durable(header, sizeof(*header));
	printf("4 KiB: wrote a greeting");
	print_faults(&before, start);

	for (size_t i = 0; i < sizeof(data_parts) / sizeof(*data_parts); i++)
		if (fits(&data_parts[i], size))
			write_part(fd, &data_parts[i], header->seed);

	printf("\nThe greeting: \"%s\"\n", header->greeting);
	unmap_part(header, &header_part);
}

static uint64_t verify_part(int fd, const struct part *part, uint64_t seed)
{
	struct faults before = count_faults();
	double start = now();
	char *p = map_part(fd, part);
	uint64_t wrong = 0;

	for (uint64_t at = 0; at < part->length; at += part->step)
		wrong += *(uint64_t *)(p + at) != word(seed, part->offset + at);
	printf("%s: read %" PRIu64 " words, %s", part->name,
	       part->length / part->step, wrong ? "NOT all as written," : "all as written,");
	print_faults(&before, start);
	unmap_part(p, part);
	return wrong;
}

static int verify_all(int fd, uint64_t size)
{
	struct faults before = count_faults();
	struct header *header;
	double start = now();
	uint64_t wrong = 0;
	char boot[40];

	header = map_part(fd, &header_part);
	if (strncmp(header->magic, MAGIC, sizeof(header->magic)))
		errx(1, "there is no greeting on %s: run `first_steps write` first", device);
	printf("4 KiB: found a greeting");
	print_faults(&before, start);

	for (size_t i = 0; i < sizeof(data_parts) / sizeof(*data_parts); i++)
		if (fits(&data_parts[i], size))
			wrong += verify_part(fd, &data_parts[i], header->seed);

	read_boot(boot, sizeof(boot));
	printf("\nThe greeting: \"%.*s\"\n", (int)sizeof(header->greeting),
	       header->greeting);
	if (strncmp(boot, header->boot, sizeof(boot)))
		printf("It was written in boot %.36s; this is boot %s:\n"
		       "the data have outlived a reboot.\n", header->boot, boot);
	else
		puts("It was written in this boot. A reboot keeps it if the memory is persistent.");
	unmap_part(header, &header_part);
	if (wrong)
		printf("%" PRIu64 " words are WRONG.\n", wrong);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	bool write = argc == 3 && !strcmp(argv[1], "write");
	off_t size;
	int fd, ret = 0;

	if (!write && (argc != 3 || strcmp(argv[1], "verify"))) {
		fprintf(stderr, "usage: first_steps write|verify /dev/rdax0\n");
		return 2;
	}
	device = argv[2];
	fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "can't open %s", device);
	/* A file's size is where its end is; stat() has none for a device. */
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		err(1, "can't find the size of %s", device);

	introduce(size);
	if (write)
		write_all(fd, size);
	else
		ret = verify_all(fd, size);
	close(fd);
	return ret;
}
