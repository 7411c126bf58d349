// SPDX-License-Identifier: GPL-2.0

//! Stand-ins for the few names of the kernel crate that `rust/dax/mapping.rs` uses.

pub mod error {
    /// An error number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(pub i32);

    impl From<core::convert::Infallible> for Error {
        fn from(never: core::convert::Infallible) -> Self {
            match never {}
        }
    }
}

pub mod prelude {
    pub use crate::{error::Error, try_pin_init};
    pub use pinned_init::{pin_data, PinInit};

    pub type Result<T = (), E = Error> = core::result::Result<T, E>;
    pub const ENOMEM: Error = Error(-12);
}

pub mod sync {
    pub mod atomic {
        //! Counters only: the model checker need not interleave at them.

        use std::sync::atomic::{AtomicU64, Ordering};

        pub struct Relaxed;

        pub struct Atomic<T>(AtomicU64, core::marker::PhantomData<T>);

        impl Atomic<u64> {
            pub const fn new(value: u64) -> Self {
                Self(AtomicU64::new(value), core::marker::PhantomData)
            }

            pub fn fetch_add(&self, value: u64, _: Relaxed) -> u64 {
                self.0.fetch_add(value, Ordering::Relaxed)
            }

            pub fn load(&self, _: Relaxed) -> u64 {
                self.0.load(Ordering::Relaxed)
            }
        }
    }
}

#[doc(hidden)]
pub use pinned_init;

/// As the kernel crate's: the error type is [`error::Error`].
#[macro_export]
macro_rules! try_pin_init {
    ($($init:tt)*) => {
        $crate::pinned_init::try_pin_init!($($init)* ? $crate::error::Error)
    };
}

/// A warning fails the test.
#[macro_export]
macro_rules! warn_on {
    ($cond:expr) => {
        assert!(!$cond, "WARN_ON({})", stringify!($cond))
    };
}

/// A warning fails the test.
#[macro_export]
macro_rules! pr_warn_once {
    ($($message:tt)*) => {
        assert!(::std::hint::black_box(false), $($message)*)
    };
}
