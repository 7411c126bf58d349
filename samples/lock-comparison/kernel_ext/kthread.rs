// SPDX-License-Identifier: GPL-2.0

//! Kernel threads that end before the function that started them.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::bindings;
use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::Completion, //
};

/// What a thread does.
#[pin_data]
struct Context<'a, F> {
    body: &'a F,
    index: usize,
    #[pin]
    done: Completion,
}

/// A thread and what it does. Dropping it waits for the thread's end.
///
/// # Invariants
///
/// `task` is a kernel thread made by [`Thread::new`] for `context`, and this holds a reference to
/// it. If not `woken`, it has never run, and won't.
struct Thread<'a, F: Fn(usize) + Sync> {
    task: *mut bindings::task_struct,
    woken: bool,
    context: Pin<KBox<Context<'a, F>>>,
}

impl<'a, F: Fn(usize) + Sync> Thread<'a, F> {
    /// A thread that doesn't run yet, bound to `cpu`.
    fn new(body: &'a F, index: usize, cpu: u32) -> Result<Self> {
        let context = KBox::pin_init(
            pin_init!(Context {
                body,
                index,
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let data = (&raw const *context).cast_mut().cast();
        // SAFETY: `data` points to the context that `run::<F>()` expects. It lives until the thread
        // has ended, by `drop()`.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(Self::run),
                data,
                bindings::NUMA_NO_NODE,
                c"lock_comparison".as_char_ptr(),
            )
        })?;
        // SAFETY: The thread is new and stopped: it can be bound, and hasn't gone.
        unsafe {
            bindings::kthread_bind(task, cpu);
            bindings::get_task_struct(task);
        }
        // INVARIANT: Made just above, with the reference.
        Ok(Self {
            task,
            woken: false,
            context,
        })
    }

    fn wake(&mut self) {
        self.woken = true;
        // SAFETY: There is a reference to the task, by the type invariants.
        unsafe { bindings::wake_up_process(self.task) };
    }

    /// # Safety
    ///
    /// `data` points to a `Context<'_, F>` that outlives the thread.
    unsafe extern "C" fn run(data: *mut c_void) -> c_int {
        // SAFETY: By the requirements of this function; others only read it, too.
        let context = unsafe { &*data.cast::<Context<'_, F>>() };
        (context.body)(context.index);
        context.done.complete_all();
        0
    }
}

impl<F: Fn(usize) + Sync> Drop for Thread<'_, F> {
    fn drop(&mut self) {
        // One that is stopped before it was scheduled for the first time would never run its body.
        if self.woken {
            self.context.done.wait_for_completion();
        }
        // SAFETY: The reference is there by the type invariants, and given up here. This returns when
        // the thread has left `run()`.
        unsafe { bindings::kthread_stop_put(self.task) };
    }
}

/// Runs `body(i)` in a thread bound to `cpus[i]`, for each `i`, and `meanwhile` in this task. Returns
/// when all have ended. Sleeps.
///
/// Errors: those of the making of a thread; then none has run, and `meanwhile` neither.
pub(crate) fn scope<F: Fn(usize) + Sync>(
    cpus: &[u32],
    body: &F,
    meanwhile: impl FnOnce(),
) -> Result {
    let mut threads = KVec::with_capacity(cpus.len(), GFP_KERNEL)?;
    for (index, &cpu) in cpus.iter().enumerate() {
        threads.push(Thread::new(body, index, cpu)?, GFP_KERNEL)?;
    }
    for thread in threads.iter_mut() {
        thread.wake();
    }
    meanwhile();
    Ok(())
}
