/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The page protection of leaves where memory may be encrypted (AMD SME, SEV). The kernel's mapping of the
 * media is not encrypted (memremap() of memory that is not system RAM). Its own pages, and so zeroes, are.
 * scripts/tests/test_prot.py compiles this with an encryption mask of its own.
 */
#ifndef _RDAX_PROT_H
#define _RDAX_PROT_H

/* For mappings of the media: prot is that of a mapping of system RAM. */
static inline pgprot_t rdax_media_prot(pgprot_t prot)
{
	return pgprot_decrypted(prot);
}

/* For zeroes in a mapping with these flags, which must stay read-only: not shared, so copy-on-write. */
static inline pgprot_t rdax_zero_prot(vm_flags_t flags)
{
	return vm_get_page_prot(flags & ~VM_SHARED);
}

#endif /* _RDAX_PROT_H */
