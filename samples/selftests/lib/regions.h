/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Regions with more than one device: their files in sysfs, the places of their
 * extents, and how to get a device whose extents lie where a test wants them.
 * What rdax.h has is about rdax0, which is the device under test here too.
 */
#ifndef RDAX_SELFTEST_REGIONS_H
#define RDAX_SELFTEST_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rdax.h"

/* A part of a region, in pages. */
struct region_part {
	uint64_t first, pages;
};

/*
 * Another namespace, $RDAX_NS2, or namespace1.0 if no RDAX_NS is named either: its data
 * is lost too. NULL if there is none that may be used.
 */
const char *region_other(void);

/* rdax_region/NAME of a namespace. Numbers end the test program when they can't be read. */
uint64_t region_number(const char *ns, const char *name);
int region_write(const char *ns, const char *name, const char *text);

/* Of the region of rdax_ns(), in libnvdimm. */
int region_set_read_only(bool read_only);

/* The minor number of a new device of rdax_ns(), or -errno. */
int region_create(void);
/* That of the name rdaxN: 0, or -errno. */
int region_create_named(int minor);
int region_delete(int minor);

/* /sys/class/dax/rdaxN/NAME. */
uint64_t dev_number(int minor, const char *name);
int dev_write(int minor, const char *name, const char *text);
int dev_resize(int minor, uint64_t bytes);
/* Add these bytes of the region to its end. */
int dev_append(int minor, uint64_t offset, uint64_t len);

int dev_open(int minor);

/* Its extents: how many, of which at most `max` are noted. */
size_t dev_parts(int minor, struct region_part *parts, size_t max);

/* Its extents as sysfs lists them: valid until the next call of text_of(). */
const char *dev_extents(int minor);

/* As rdax_text(), without the end of the last line. */
const char *text_of(const char *path);

/*
 * Bind the namespace anew, and make rdax0 of these parts in this order. Whatever
 * else the region has, between them and behind, belongs to other devices, one
 * for each gap, so that nothing is free. Returns 0, or -errno.
 */
int region_arrange(const struct region_part *parts, size_t n);
/* The device that has this page of the region, or -ENOENT. */
int region_holder(uint64_t page);

/*
 * As rdax_fill() and rdax_wrong() of all of a device, at its own offsets, through a
 * mapping made for that. The second also of what was one, whose parts are found in
 * rdax0 now, which is the whole region.
 */
int dev_fill(int minor, uint64_t seed);
uint64_t dev_wrong(int minor, uint64_t seed);
uint64_t region_wrong(const struct region_part *parts, size_t n, uint64_t seed);

/* Is there such a line in the kernel log, after the last call of any? How many are there? */
void log_from_here(void);
unsigned int count_logged(const char *text);
bool logged(const char *text);

#endif /* RDAX_SELFTEST_REGIONS_H */
