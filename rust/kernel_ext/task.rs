// SPDX-License-Identifier: GPL-2.0

//! The current task.
//!
//! C header: [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::kernel_ext::bindings;
use kernel::{
    ffi::c_uint,
    fmt,
    str::BStr, //
};

/// The name of a task, as it was at one moment.
pub(crate) struct Name([u8; bindings::TASK_COMM_LEN as usize]);

impl Name {
    /// Returns the name of the current task. Any context.
    pub(crate) fn current() -> Self {
        // SAFETY: The current task is valid. Another task may change the name meanwhile. A mixture
        // of two names is valid, because each byte was stored there at some time.
        Self(unsafe {
            (&raw const (*bindings::get_current()).comm)
                .cast::<[u8; _]>()
                .read_volatile()
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        fmt::Display::fmt(BStr::from_bytes(name), f)
    }
}

/// Whether the current task is being killed. Any context.
pub(crate) fn fatal_signal_pending() -> bool {
    // SAFETY: The C function only accesses the current task.
    unsafe { bindings::fatal_signal_pending() }
}

/// Whether the current task has a signal to handle. Any context.
pub(crate) fn signal_pending() -> bool {
    // SAFETY: The C function only accesses the current task.
    unsafe { bindings::task_sigpending() }
}

/// Sleeps for `ms` milliseconds.
pub(crate) fn sleep(ms: c_uint) {
    // SAFETY: The caller may sleep.
    unsafe { bindings::sleep(ms) };
}

/// Sleeps for `ms` milliseconds, or until 20 ms after the task got a signal to handle.
pub(crate) fn sleep_interruptible(ms: c_uint) {
    // SAFETY: The caller may sleep.
    unsafe { bindings::sleep_interruptible(ms) };
}

/// Lets another task run, if one should and this kernel does not preempt automatically. Sleeps.
pub(crate) fn cond_resched() {
    // SAFETY: The caller may sleep.
    unsafe { bindings::cond_resched() };
}
