// SPDX-License-Identifier: GPL-2.0

//! Stand-ins for the few names of the kernel crate that `rust/dax/entries/table.rs` uses.

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
    pub use pinned_init::{pin_data, pin_init, PinInit};

    pub type Result<T = (), E = Error> = core::result::Result<T, E>;
    pub const ENOMEM: Error = Error(-12);
    pub const EBUSY: Error = Error(-16);
    pub const ENOSPC: Error = Error(-28);

    pub use crate::alloc::{KVec, GFP_KERNEL};
}

pub mod alloc {
    //! Memory that may run out, when a test says so.

    use crate::error::Error;
    use std::ops::{Deref, DerefMut};

    pub struct Flags;
    pub const GFP_KERNEL: Flags = Flags;

    /// A vector that grows only by [`KVec::reserve`] and [`KVec::push`].
    #[derive(Debug)]
    pub struct KVec<T> {
        items: Vec<T>,
        room: usize,
    }

    impl<T> KVec<T> {
        pub const fn new() -> Self {
            Self {
                items: Vec::new(),
                room: 0,
            }
        }

        pub fn reserve(&mut self, more: usize, _: Flags) -> Result<(), Error> {
            self.room = self.room.max(self.items.len() + more);
            Ok(())
        }

        pub fn push(&mut self, item: T, flags: Flags) -> Result<(), Error> {
            self.reserve(1, flags)?;
            self.items.push(item);
            Ok(())
        }

        pub fn push_within_capacity(&mut self, item: T) -> Result<(), T> {
            self.insert_within_capacity(self.items.len(), item)
        }

        pub fn insert_within_capacity(&mut self, index: usize, item: T) -> Result<(), T> {
            if self.items.len() >= self.room {
                return Err(item);
            }
            self.items.insert(index, item);
            Ok(())
        }

        pub fn remove(&mut self, index: usize) -> Result<T, Error> {
            Ok(self.items.remove(index))
        }

        pub fn extend_from_slice(&mut self, more: &[T], flags: Flags) -> Result<(), Error>
        where
            T: Clone,
        {
            self.reserve(more.len(), flags)?;
            self.items.extend_from_slice(more);
            Ok(())
        }

        pub fn truncate(&mut self, len: usize) {
            self.items.truncate(len);
        }
    }

    impl<T> Deref for KVec<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.items
        }
    }

    impl<T> DerefMut for KVec<T> {
        fn deref_mut(&mut self) -> &mut [T] {
            &mut self.items
        }
    }
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
macro_rules! pr_warn_once {
    ($($message:tt)*) => {
        assert!(::std::hint::black_box(false), $($message)*)
    };
}
