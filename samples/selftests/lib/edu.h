/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's PCI device edu, through VFIO: it copies pages between memory and a buffer of its own, by
 * DMA behind an IOMMU. Errors are returned as -errno.
 */
#ifndef RDAX_SELFTEST_EDU_H
#define RDAX_SELFTEST_EDU_H

#include <stdbool.h>
#include <stdint.h>

struct edu {
	int container, group, device;
	char *regs;
};

/*
 * Gives the machine's edu to vfio-pci until the program ends. Returns NULL, or what is missing.
 */
const char *edu_take(void);

/* A process opens it, with an IOMMU of type 1. Nothing is mapped for DMA then. */
int edu_open(struct edu *edu);
void edu_close(struct edu *edu);

/* VFIO_IOMMU_MAP_DMA, writable or not, and VFIO_IOMMU_UNMAP_DMA. An iova is less than 256 MiB. */
int edu_map(struct edu *edu, uint64_t iova, void *memory, uint64_t len, bool writable);
int edu_unmap(struct edu *edu, uint64_t iova, uint64_t len);

/*
 * DMA of one page to the device's buffer, or from it. The only error is -ETIMEDOUT, because nobody is
 * told that the IOMMU refuses an address.
 */
int edu_load(struct edu *edu, uint64_t iova);
int edu_store(struct edu *edu, uint64_t iova);

#endif /* RDAX_SELFTEST_EDU_H */
