/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RDAX_COVERAGE_H
#define RDAX_COVERAGE_H

/* In <linux/kcov.h>, but only of kernels that have KCOV. */
void __sanitizer_cov_trace_pc(void);

#endif
