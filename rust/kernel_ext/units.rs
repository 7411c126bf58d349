// SPDX-License-Identifier: GPL-2.0

//! Units: where a page or a byte is, and how many there are.
//!
//! Each is an integer with a type of its own, so that no call can swap two of them, and none is
//! used where another is meant. They cost nothing at run time. Numbers of bytes, and addresses of a
//! process, are plain integers.

use core::ops::{
    Add,
    AddAssign,
    Sub,
    SubAssign, //
};

/// The shift of the base page: 4 KiB on x86-64.
pub(crate) const PAGE_SHIFT: u32 = 12;
/// The size of the base page in bytes.
pub(crate) const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// A number of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Pages(usize);

impl Pages {
    pub(crate) const ZERO: Self = Self(0);
    pub(crate) const ONE: Self = Self(1);

    pub(crate) const fn new(number: usize) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> usize {
        self.0
    }

    /// Returns the number of whole pages in `bytes` bytes.
    pub(crate) const fn in_bytes(bytes: u64) -> Self {
        // 64 bits on both sides.
        Self((bytes >> PAGE_SHIFT) as usize)
    }

    /// Returns the number of bytes in them.
    pub(crate) const fn bytes(self) -> u64 {
        (self.0 as u64) << PAGE_SHIFT
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the largest multiple of `order` that is not larger.
    pub(crate) const fn align_down(self, order: Order) -> Self {
        Self(self.0 & !(order.pages().0 - 1))
    }

    /// Whether it is a multiple of `order`.
    pub(crate) const fn is_aligned(self, order: Order) -> bool {
        self.align_down(order).0 == self.0
    }

    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl Add for Pages {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Pages {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Pages {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl SubAssign for Pages {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl core::iter::Sum for Pages {
    fn sum<I: Iterator<Item = Self>>(pages: I) -> Self {
        pages.fold(Self::ZERO, Self::add)
    }
}

/// The size of a run: `1 << order` pages.
///
/// # Invariants
///
/// It is at most that of a PMD leaf, or that of a PUD leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u8);

impl Order {
    /// 4 KiB.
    pub(crate) const PTE: Self = Self(0);
    /// 2 MiB.
    pub(crate) const PMD: Self = Self(9);
    /// 1 GiB.
    pub(crate) const PUD: Self = Self(18);

    /// Returns the order of the page-table leaf of `bytes` bytes, if there is one.
    pub(crate) const fn from_bytes(bytes: u64) -> Option<Self> {
        let mut orders = [Self::PTE, Self::PMD, Self::PUD].as_slice();
        while let [order, rest @ ..] = orders {
            if order.bytes() as u64 == bytes {
                return Some(*order);
            }
            orders = rest;
        }
        None
    }

    /// Returns the order with that exponent, if it is that of a page-table leaf, or smaller than
    /// that of a PMD leaf.
    pub(crate) const fn new(order: u32) -> Option<Self> {
        match order {
            0..=9 | 18 => Some(Self(order as u8)),
            _ => None,
        }
    }

    /// Returns the largest order, up to that of a PMD leaf, of a run that may begin at `first` and
    /// has at most `pages` pages. `None` if `pages` is 0.
    pub(crate) const fn largest(first: PageOffset, pages: Pages) -> Option<Self> {
        if pages.is_zero() {
            return None;
        }
        let order = first.0.trailing_zeros();
        let order = if order < pages.0.ilog2() {
            order
        } else {
            pages.0.ilog2()
        };
        if order < Self::PMD.get() {
            Self::new(order)
        } else {
            Some(Self::PMD)
        }
    }

    /// Returns the exponent.
    pub(crate) const fn get(self) -> u32 {
        self.0 as u32
    }

    /// Returns the number of pages.
    pub(crate) const fn pages(self) -> Pages {
        Pages(1 << self.0)
    }

    /// Returns the number of bytes.
    pub(crate) const fn bytes(self) -> usize {
        self.pages().0 << PAGE_SHIFT
    }

    /// Whether `address` is a multiple of the number of bytes.
    pub(crate) const fn divides(self, address: usize) -> bool {
        address & (self.bytes() - 1) == 0
    }
}

/// Declares the number of a page, counted from some page.
macro_rules! page_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(transparent)]
        pub(crate) struct $name(usize);

        impl $name {
            pub(crate) const fn new(number: usize) -> Self {
                Self(number)
            }

            pub(crate) const fn get(self) -> usize {
                self.0
            }

            /// Returns how many pages it is after `first`. `None` if it is before that.
            pub(crate) fn checked_sub(self, first: Self) -> Option<Pages> {
                self.0.checked_sub(first.0).map(Pages)
            }
        }

        impl Add<Pages> for $name {
            type Output = Self;

            fn add(self, pages: Pages) -> Self {
                Self(self.0 + pages.0)
            }
        }

        impl AddAssign<Pages> for $name {
            fn add_assign(&mut self, pages: Pages) {
                self.0 += pages.0;
            }
        }

        impl Sub for $name {
            type Output = Pages;

            fn sub(self, first: Self) -> Pages {
                Pages(self.0 - first.0)
            }
        }
    };
}

page_number!(
    /// A page of a device, counted from the device's first: `pgoff_t`.
    PageOffset
);

page_number!(
    /// A page of a region, counted from the region's first.
    RegionPage
);

page_number!(
    /// A page frame of the machine.
    Pfn
);

impl PageOffset {
    /// The last page offset.
    pub(crate) const MAX: Self = Self(usize::MAX);

    /// Returns how many pages come before it.
    pub(crate) const fn pages_before(self) -> Pages {
        Pages(self.0)
    }

    /// Returns the page that is `pages` pages further.
    pub(crate) fn checked_add(self, pages: Pages) -> Option<Self> {
        self.0.checked_add(pages.0).map(Self)
    }

    /// Returns the first page of the aligned run of `order` around it.
    pub(crate) const fn align_down(self, order: Order) -> Self {
        Self(self.0 & !(order.pages().0 - 1))
    }

    /// Whether an aligned run of `order` begins at it.
    pub(crate) const fn is_aligned(self, order: Order) -> bool {
        self.align_down(order).0 == self.0
    }

    /// Returns the page before it. `None` for the first.
    pub(crate) fn before(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Returns the first page at which an aligned run of `order` begins, at or after it.
    pub(crate) fn align_up(self, order: Order) -> Option<Self> {
        self.0.checked_next_multiple_of(order.pages().0).map(Self)
    }
}

impl RegionPage {
    /// Returns how many pages come before it.
    pub(crate) const fn pages_before(self) -> Pages {
        Pages(self.0)
    }
}

impl Pfn {
    /// Whether a leaf of `order` may map the frames from it.
    pub(crate) const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages().0 - 1) == 0
    }

    /// Returns the frame that holds the byte at the physical address `address`.
    pub(crate) const fn at(address: u64) -> Self {
        Self((address >> PAGE_SHIFT) as usize)
    }

    /// Returns the physical address of its first byte.
    pub(crate) const fn address(self) -> u64 {
        (self.0 as u64) << PAGE_SHIFT
    }
}

/// Declares a byte offset, and the number of the page around it.
macro_rules! byte_offset {
    ($(#[$doc:meta])* $name:ident, $page:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(transparent)]
        pub(crate) struct $name(u64);

        impl $name {
            pub(crate) const fn new(offset: u64) -> Self {
                Self(offset)
            }

            pub(crate) const fn get(self) -> u64 {
                self.0
            }

            /// Returns the page that holds the byte.
            pub(crate) const fn page(self) -> $page {
                $page((self.0 >> PAGE_SHIFT) as usize)
            }

            /// Returns the offset `bytes` further.
            pub(crate) fn checked_add(self, bytes: u64) -> Option<Self> {
                self.0.checked_add(bytes).map(Self)
            }

            /// Returns how many bytes it is after `first`. 0 if it is before that.
            pub(crate) fn saturating_sub(self, first: Self) -> u64 {
                self.0.saturating_sub(first.0)
            }
        }

        impl Add<u64> for $name {
            type Output = Self;

            fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
        }

        impl AddAssign<u64> for $name {
            fn add_assign(&mut self, bytes: u64) {
                self.0 += bytes;
            }
        }

        impl Sub for $name {
            type Output = u64;

            fn sub(self, first: Self) -> u64 {
                self.0 - first.0
            }
        }

        impl $page {
            /// Returns the offset of its first byte.
            pub(crate) const fn byte(self) -> $name {
                $name((self.0 as u64) << PAGE_SHIFT)
            }
        }
    };
}

byte_offset!(
    /// A byte of a device, counted from the device's first: `loff_t`.
    DeviceOffset,
    PageOffset
);

byte_offset!(
    /// A byte of a region, or of the namespace that it is, counted from the first.
    RegionOffset,
    RegionPage
);

impl DeviceOffset {
    /// Returns the first page that begins at the byte or after it.
    pub(crate) const fn page_up(self) -> PageOffset {
        PageOffset(self.0.div_ceil(PAGE_SIZE) as usize)
    }
}

impl RegionOffset {
    /// Returns the offset `bytes` further, or the last there is.
    pub(crate) fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}
