// SPDX-License-Identifier: GPL-2.0
/*
 * See edu.h. QEMU describes the registers in its docs/specs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kselftest.h"
#include "edu.h"
#include "rdax.h"

#define DEVICES	"/sys/bus/pci/devices"
#define DRIVER	"/sys/bus/pci/drivers/vfio-pci"
#define ID	"0x1234 0x11e8"

#define IDENTIFICATION	0x00
#define DMA_SOURCE	0x80
#define DMA_DESTINATION	0x88
#define DMA_COUNT	0x90
#define DMA_COMMAND	0x98
#define DMA_START	(1 << 0)
#define DMA_TO_MEMORY	(1 << 1)
#define BUFFER		0x40000

/* Its address on the bus, e.g. 0000:00:01.0. */
static char address[32];

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), DEVICES "/%s/%s", address, name);
	return path;
}

static bool find(void)
{
	glob_t found;

	if (glob(DEVICES "/*", 0, NULL, &found))
		return false;
	*address = '\0';
	for (size_t i = 0; i < found.gl_pathc && !*address; i++) {
		char id[32], path[160];

		snprintf(path, sizeof(path), "%s/vendor", found.gl_pathv[i]);
		snprintf(id, sizeof(id), "%.6s ", rdax_text(path));
		snprintf(path, sizeof(path), "%s/device", found.gl_pathv[i]);
		strncat(id, rdax_text(path), 6);
		if (!strcmp(id, ID))
			snprintf(address, sizeof(address), "%s", strrchr(found.gl_pathv[i], '/') + 1);
	}
	globfree(&found);
	return *address;
}

static pid_t taker;

static void release(void)
{
	if (getpid() != taker)
		return;
	rdax_write_file(DRIVER "/unbind", address);
	rdax_write_file(path_of("driver_override"), "\n");
}

const char *edu_take(void)
{
	if (!find())
		return "no PCI device edu: scripts/lab guest --machine vfio";
	if (access(path_of("iommu_group"), F_OK))
		return "the PCI device edu is not behind an IOMMU";
	if (system("modprobe -qa vfio_iommu_type1 vfio-pci"))
		return "no modules vfio_iommu_type1 and vfio-pci";
	taker = getpid();
	atexit(release);
	if (rdax_write_file(path_of("driver_override"), "vfio-pci") ||
	    rdax_write_file(DRIVER "/bind", address)) {
		ksft_print_header();
		ksft_exit_fail_msg("vfio-pci does not take the PCI device edu\n");
	}
	return NULL;
}

static int open_group(void)
{
	char link[256], path[64];
	ssize_t n = readlink(path_of("iommu_group"), link, sizeof(link) - 1);

	if (n < 0)
		return -errno;
	link[n] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	return open(path, O_RDWR | O_CLOEXEC);
}

static uint32_t get(struct edu *edu, unsigned int reg)
{
	return __atomic_load_n((uint32_t *)(edu->regs + reg), __ATOMIC_RELAXED);
}

static void set(struct edu *edu, unsigned int reg, uint64_t value)
{
	__atomic_store_n((uint64_t *)(edu->regs + reg), value, __ATOMIC_RELAXED);
}

/* Its registers are mapped, and it may do DMA. */
static int start(struct edu *edu)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info config = { .argsz = sizeof(config),
					   .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	void *regs;

	if (ioctl(edu->device, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(edu->device, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    pwrite(edu->device, &command, sizeof(command), config.offset + PCI_COMMAND) !=
		    sizeof(command))
		return -errno;
	regs = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, edu->device, bar.offset);
	if (regs == MAP_FAILED)
		return -errno;
	edu->regs = regs;
	return (get(edu, IDENTIFICATION) & 0xff) == 0xed ? 0 : -ENODEV;
}

/* The character device of its own that VFIO makes for it, in place of the group. */
static int open_device(void)
{
	char path[64] = "";
	glob_t found;

	if (!glob(path_of("vfio-dev/vfio*"), 0, NULL, &found)) {
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
			 strrchr(found.gl_pathv[0], '/') + 1);
		globfree(&found);
	}
	return open(path, O_RDWR | O_CLOEXEC);
}

bool edu_has_iommufd(void)
{
	return !access("/dev/iommu", F_OK) && !access(path_of("vfio-dev"), F_OK);
}

static int open_type1(struct edu *edu)
{
	edu->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	edu->group = open_group();
	if (edu->container < 0 || edu->group < 0 ||
	    ioctl(edu->group, VFIO_GROUP_SET_CONTAINER, &edu->container) ||
	    ioctl(edu->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	edu->device = ioctl(edu->group, VFIO_GROUP_GET_DEVICE_FD, address);
	return edu->device < 0 ? -errno : 0;
}

static int open_iommufd(struct edu *edu)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };

	edu->container = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	edu->device = open_device();
	bind.iommufd = edu->container;
	if (edu->container < 0 || edu->device < 0 ||
	    ioctl(edu->device, VFIO_DEVICE_BIND_IOMMUFD, &bind) ||
	    ioctl(edu->container, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	edu->ioas = alloc.out_ioas_id;
	attach.pt_id = edu->ioas;
	return ioctl(edu->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ? -errno : 0;
}

int edu_open(struct edu *edu, bool iommufd)
{
	int ret;

	*edu = EDU_CLOSED;
	edu->iommufd = iommufd;
	ret = (iommufd ? open_iommufd(edu) : open_type1(edu)) ?: start(edu);
	if (ret)
		edu_close(edu);
	return ret;
}

void edu_close(struct edu *edu)
{
	if (edu->regs)
		munmap(edu->regs, SZ_4K);
	close(edu->device);
	close(edu->group);
	close(edu->container);
	*edu = EDU_CLOSED;
}

static int map_type1(struct edu *edu, uint64_t iova, void *memory, uint64_t len, bool writable)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | (writable ? VFIO_DMA_MAP_FLAG_WRITE : 0),
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = len,
	};

	return ioctl(edu->container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int map_iommufd(struct edu *edu, uint64_t iova, void *memory, uint64_t len, bool writable)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 (writable ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = edu->ioas,
		.user_va = (uintptr_t)memory,
		.length = len,
		.iova = iova,
	};

	return ioctl(edu->container, IOMMU_IOAS_MAP, &map) ? -errno : 0;
}

int edu_map(struct edu *edu, uint64_t iova, void *memory, uint64_t len, bool writable)
{
	return (edu->iommufd ? map_iommufd : map_type1)(edu, iova, memory, len, writable);
}

static int unmap_type1(struct edu *edu, uint64_t iova, uint64_t len)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = len,
	};

	if (ioctl(edu->container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		return -errno;
	return unmap.size == len ? 0 : -ENOENT;
}

static int unmap_iommufd(struct edu *edu, uint64_t iova, uint64_t len)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = edu->ioas,
		.iova = iova,
		.length = len,
	};

	if (ioctl(edu->container, IOMMU_IOAS_UNMAP, &unmap))
		return -errno;
	return unmap.length == len ? 0 : -ENOENT;
}

int edu_unmap(struct edu *edu, uint64_t iova, uint64_t len)
{
	return (edu->iommufd ? unmap_iommufd : unmap_type1)(edu, iova, len);
}

/* It takes 100 ms. */
static int copy(struct edu *edu, uint64_t source, uint64_t destination, uint64_t direction)
{
	set(edu, DMA_SOURCE, source);
	set(edu, DMA_DESTINATION, destination);
	set(edu, DMA_COUNT, SZ_4K);
	set(edu, DMA_COMMAND, DMA_START | direction);
	for (int i = 0; i < RDAX_PATIENCE * 1000; i++) {
		if (!(get(edu, DMA_COMMAND) & DMA_START))
			return 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

int edu_load(struct edu *edu, uint64_t iova)
{
	return copy(edu, iova, BUFFER, 0);
}

int edu_store(struct edu *edu, uint64_t iova)
{
	return copy(edu, BUFFER, iova, DMA_TO_MEMORY);
}
