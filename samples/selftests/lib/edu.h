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
	/* Of type 1 a container and a group; or iommufd, which has no group, and an address space in it. */
	int container, group, device;
	uint32_t ioas;
	bool iommufd;
	char *regs;
};

#define EDU_CLOSED	((struct edu){ .container = -1, .group = -1, .device = -1 })

/*
 * Gives the machine's edu to vfio-pci until the program ends. Returns NULL, or what is missing.
 */
const char *edu_take(void);

/* Has the kernel iommufd, and does it give it devices of VFIO? After edu_take(). */
bool edu_has_iommufd(void);

/* A process opens it, with an IOMMU of type 1 or iommufd. Nothing is mapped for DMA then. */
int edu_open(struct edu *edu, bool iommufd);
void edu_close(struct edu *edu);

/*
 * VFIO_IOMMU_MAP_DMA or IOMMU_IOAS_MAP, writable or not, and VFIO_IOMMU_UNMAP_DMA or IOMMU_IOAS_UNMAP.
 * An iova is less than 256 MiB.
 */
int edu_map(struct edu *edu, uint64_t iova, void *memory, uint64_t len, bool writable);
int edu_unmap(struct edu *edu, uint64_t iova, uint64_t len);

/*
 * DMA of one page to the device's buffer, or from it. The only error is -ETIMEDOUT, because nobody is
 * told that the IOMMU refuses an address.
 */
int edu_load(struct edu *edu, uint64_t iova);
int edu_store(struct edu *edu, uint64_t iova);

#endif /* RDAX_SELFTEST_EDU_H */
