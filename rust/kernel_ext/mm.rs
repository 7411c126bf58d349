// SPDX-License-Identifier: GPL-2.0

//! Mappings and their faults, page frames, memory errors.

pub(crate) mod fault;
pub(crate) mod frames;
pub(crate) mod memory_failure;
pub(crate) mod page;
pub(in crate::kernel_ext) mod pages;
pub(crate) mod populate;
pub(crate) mod puds;
pub(crate) mod vm_operations;
pub(crate) mod vma;
