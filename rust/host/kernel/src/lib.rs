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

    pub use crate::alloc::{KBox, KVVec, KVec, PinInitBox, GFP_KERNEL, GFP_KERNEL_ACCOUNT};
}

pub mod alloc {
    //! Memory that may run out, when a test says so.

    use crate::error::Error;
    use std::{
        cell::Cell,
        ops::{
            Deref,
            DerefMut, //
        },
        pin::Pin, //
    };

    pub struct Flags;
    pub const GFP_KERNEL: Flags = Flags;
    pub const GFP_KERNEL_ACCOUNT: Flags = Flags;

    pub type KBox<T> = Box<T>;
    pub type KVVec<T> = KVec<T>;

    /// `KBox::pin_init()`, of what does not fail.
    pub trait PinInitBox<T> {
        fn pin_init(init: impl pinned_init::PinInit<T>, _: Flags) -> Result<Pin<Box<T>>, Error>;
    }

    impl<T> PinInitBox<T> for Box<T> {
        fn pin_init(init: impl pinned_init::PinInit<T>, _: Flags) -> Result<Pin<Box<T>>, Error> {
            <Self as pinned_init::InPlaceInit<T>>::pin_init(init).map_err(|_| Error(-12))
        }
    }

    thread_local! {
        static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    }

    /// How often vectors of this thread needed memory.
    pub fn allocations() -> usize {
        ALLOCATIONS.get()
    }

    /// A vector that grows only by [`KVec::reserve`] and [`KVec::push`].
    #[derive(Debug)]
    pub struct KVec<T> {
        items: Vec<T>,
        room: usize,
    }

    impl<T> KVec<T> {
        pub fn with_capacity(room: usize, flags: Flags) -> Result<Self, Error> {
            let mut this = Self::new();
            this.reserve(room, flags)?;
            Ok(this)
        }

        pub const fn new() -> Self {
            Self {
                items: Vec::new(),
                room: 0,
            }
        }

        pub fn reserve(&mut self, more: usize, _: Flags) -> Result<(), Error> {
            let needed = self.items.len() + more;
            if needed > self.room {
                self.room = needed;
                ALLOCATIONS.set(ALLOCATIONS.get() + 1);
            }
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
    //! The model checker need not interleave at these.

    use std::sync::OnceLock;

    pub struct SetOnce<T>(OnceLock<T>);

    impl<T> SetOnce<T> {
        pub const fn new() -> Self {
            Self(OnceLock::new())
        }

        pub fn as_ref(&self) -> Option<&T> {
            self.0.get()
        }

        pub fn populate(&self, value: T) -> bool {
            self.0.set(value).is_ok()
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
