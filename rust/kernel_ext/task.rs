// SPDX-License-Identifier: GPL-2.0

//! The current task.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use super::bindings;

/// Whether the current task is being killed. Any context.
pub(crate) fn fatal_signal_pending() -> bool {
    // SAFETY: The C function looks at the current task only.
    unsafe { bindings::fatal_signal_pending() }
}

/// Whether the current task has a signal to handle. Any context.
pub(crate) fn signal_pending() -> bool {
    // SAFETY: The C function looks at the current task only.
    unsafe { bindings::task_sigpending() }
}

/// Lets another task run, if one should and this kernel does not see to it by itself. Sleeps.
pub(crate) fn cond_resched() {
    // SAFETY: May be called where sleeping is allowed.
    unsafe { bindings::cond_resched() };
}
