/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Headers for what the kernel crate's bindings lack. bindgen reads this file;
 * rust/bindgen_parameters says what it keeps.
 */

/* Before the others, as in the kernel's own bindings_helper.h. */
#include <linux/hrtimer_types.h>

#include <linux/anon_inodes.h>
#include <linux/badblocks.h>
#include <linux/fs.h>
#include <linux/libnvdimm.h>
#include <linux/memory-failure.h>
#include <linux/nd.h>
#include <linux/ndctl.h>
#include <linux/range.h>
#include <linux/rmap.h>
#include <linux/xarray.h>

#include "../helpers/helpers.h"
#include "../helpers/trace.h"
#include "../uapi/rdax.h"

/* Macros that bindgen can't evaluate. */
const fop_flags_t RUST_CONST_HELPER_FOP_MMAP_SYNC = FOP_MMAP_SYNC;
const unsigned int RUST_CONST_HELPER_RDAX_IOC_PUNCH = RDAX_IOC_PUNCH;
const unsigned int RUST_CONST_HELPER_RDAX_IOC_ZERO = RDAX_IOC_ZERO;
const unsigned int RUST_CONST_HELPER_RDAX_IOC_PREFAULT = RDAX_IOC_PREFAULT;
const unsigned int RUST_CONST_HELPER_RDAX_PREFAULT_WRITE = RDAX_PREFAULT_WRITE;
const fmode_t RUST_CONST_HELPER_FMODE_WRITE = FMODE_WRITE;
const fmode_t RUST_CONST_HELPER_FMODE_CAN_ODIRECT = FMODE_CAN_ODIRECT;
const fmode_t RUST_CONST_HELPER_FMODE_NOWAIT = FMODE_NOWAIT;
const int RUST_CONST_HELPER_IOCB_APPEND = IOCB_APPEND;
const int RUST_CONST_HELPER_IOCB_DSYNC = IOCB_DSYNC;
const int RUST_CONST_HELPER_IOCB_NOWAIT = IOCB_NOWAIT;
const gfp_t RUST_CONST_HELPER___GFP_NORETRY = __GFP_NORETRY;
const bool RUST_CONST_HELPER_RDAX_MBIND_TAKES_HUGE_PFNS = RDAX_MBIND_TAKES_HUGE_PFNS;
const unsigned int RUST_CONST_HELPER_XA_CHUNK_SHIFT = XA_CHUNK_SHIFT;
const gfp_t RUST_CONST_HELPER_XA_FLAGS_ACCOUNT = XA_FLAGS_ACCOUNT;
const gfp_t RUST_CONST_HELPER_XA_FLAGS_MARK_0 = XA_FLAGS_MARK(XA_MARK_0);
