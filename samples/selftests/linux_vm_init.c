// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of a Linux whose memory is a device of rdax (linux_vm.sh): fills most of what is free with
 * words, reads them back, says so on the console, and powers off.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <unistd.h>

#define MARK 0x7264617876006d00ULL

int main(void)
{
	uint64_t *words;
	size_t count, i, wrong = 0;

	count = sysconf(_SC_AVPHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE) / sizeof(*words);
	words = mmap(NULL, count * sizeof(*words), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (words == MAP_FAILED)
		return 1;
	for (i = 0; i < count; i++)
		words[i] = MARK ^ i;
	for (i = 0; i < count; i++)
		wrong += words[i] != (MARK ^ i);
	printf("linux_vm: %zu words, %zu wrong\n", count, wrong);
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
