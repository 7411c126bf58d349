// SPDX-License-Identifier: GPL-2.0

//! Limits on what user space can make the module log.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::kernel_ext::bindings;
use kernel::{
    fmt,
    prelude::*,
    str::Formatter,
    types::Opaque, //
};

/// The longest name of a limit, in bytes, with the 0 at its end.
const NAME: usize = 64;

/// A limit on the messages of one kind about one object, so that they do not suppress others: 10 in
/// 5 s (`DEFAULT_RATELIMIT_BURST`).
///
/// # Invariants
///
/// `inner` is initialised.
#[pin_data]
pub(crate) struct RateLimit {
    #[pin]
    inner: Opaque<bindings::ratelimit_state>,
}

// SAFETY: A `ratelimit_state` may be used from any thread, and holds nothing.
unsafe impl Send for RateLimit {}
// SAFETY: What changes in it is atomic, or protected by its own lock.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// A limit that has not been used. Any context.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised here.
            //
            // SAFETY: The slot is valid for writes, and pinned.
            inner <- Opaque::ffi_init(|slot| unsafe { bindings::ratelimit_default_init(slot) }),
        })
    }

    /// Whether a message may be printed now. Any context.
    ///
    /// If messages were suppressed before, this logs how many, with `name`, which should name their
    /// object and kind. At most [`NAME`] bytes of it are logged.
    pub(crate) fn allows(&self, name: fmt::Arguments<'_>) -> bool {
        let mut text = [0; NAME];
        if let Some((_, most)) = text.split_last_mut() {
            // The last byte stays 0, even if the name is cut.
            let _ = fmt::Write::write_fmt(&mut Formatter::new(most), name);
        }
        // SAFETY: Initialised by the type invariants; `text` is a C string, which is only printed.
        unsafe { bindings::___ratelimit(self.inner.get(), text.as_ptr().cast()) != 0 }
    }
}
