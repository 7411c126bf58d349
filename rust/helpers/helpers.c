// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros that Rust cannot call: one file for each C header
 * or concept, as in the kernel's own rust/helpers/. Those that each fault calls for an inline function
 * are notrace, because the inline function can't be traced either.
 */

#include "helpers.h"

#if __has_include(<../../drivers/nvdimm/nd.h>)
#include <../../drivers/nvdimm/nd.h>
#endif

#if __has_include(<../../drivers/dax/dax-private.h>)
#include <../../drivers/dax/bus.h>
#include <../../drivers/dax/dax-private.h>
#endif

#include "barrier.c"
#include "bug.c"
#include "chrdev.c"
#include "dax_bus.c"
#include "debugfs.c"
#include "ida.c"
#include "lockdep.c"
#include "mm.c"
#include "nd.c"
#include "params.c"
#include "percpu.c"
#include "percpu_rwsem.c"
#include "pgtable.c"
#include "pages.c"
#include "ratelimit.c"
#include "srcu.c"
#include "uio.c"
#include "wait.c"
