// SPDX-License-Identifier: GPL-2.0

//! The meaning of module parameters.

use crate::kernel_ext::units::{
    Order,
    RegionOffset, //
};

/// What identifies a namespace.
///
/// libnvdimm numbers regions and namespaces, so a name may belong to another namespace after some
/// were made, removed or plugged in. Labels have a UUID, which stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    /// The name on the bus, `namespace0.0`.
    pub(crate) name: &'a [u8],
    /// The UUID as text, if it has one.
    pub(crate) uuid: Option<&'a [u8]>,
    /// The size in bytes.
    pub(crate) size: u64,
}

/// What a list says about a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Nothing.
    No,
    /// An item names it.
    Yes,
    /// An item has its name, but the namespace has a UUID.
    NotByUuid,
    /// An item has its name with another size, in bytes.
    OtherSize(u64),
}

/// Returns what the comma-separated `list` says about a namespace.
///
/// A namespace with a UUID is named only by that. One without is named by its name, or by its name
/// and size (`namespace0.0:4G`).
pub(crate) fn find(list: &[u8], identity: &Identity<'_>) -> Listed {
    let mut found = Listed::No;
    for item in list.split(|&byte| byte == b',') {
        let item = item.trim_ascii();
        if identity
            .uuid
            .is_some_and(|uuid| item.eq_ignore_ascii_case(uuid))
        {
            return Listed::Yes;
        }
        let Some(rest) = item.strip_prefix(identity.name) else {
            continue;
        };
        found = match (rest, identity.uuid) {
            ([] | [b':', ..], Some(_)) => Listed::NotByUuid,
            ([], None) => return Listed::Yes,
            ([b':', size @ ..], None) => match number(size) {
                Some(size) if size == identity.size => return Listed::Yes,
                Some(size) => Listed::OtherSize(size),
                None => found,
            },
            // Another name, which begins like this one.
            _ => found,
        };
    }
    found
}

/// Parses a number: `4096`, or with a suffix `4K`, `2M`, `1G`, `1T`.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text {
        [digits @ .., b'K' | b'k'] => (digits, 10),
        [digits @ .., b'M' | b'm'] => (digits, 20),
        [digits @ .., b'G' | b'g'] => (digits, 30),
        [digits @ .., b'T' | b't'] => (digits, 40),
        digits => (digits, 0),
    };
    let number: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// Parses an alignment: `4K`, `2M`, `1G`, or one of these in bytes.
pub(crate) fn align(text: &[u8]) -> Option<Order> {
    Order::from_bytes(number(text)?)
}

/// Parses an offset and a length in bytes: two [numbers](number) with one space between them.
pub(crate) fn extent(text: &[u8]) -> Option<(RegionOffset, u64)> {
    let mut numbers = text.split(|&byte| byte == b' ').map(number);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(offset), Some(len), None) => offset.map(RegionOffset::new).zip(len),
        _ => None,
    }
}

/// Parses the name of a device of the dax bus: 3 and 0 for `dax3.0`.
pub(crate) fn dax_name(text: &[u8]) -> Option<(u32, u32)> {
    let text = core::str::from_utf8(text.strip_prefix(b"dax")?).ok()?;
    let (region, id) = text.split_once('.')?;
    Some((region.parse().ok()?, id.parse().ok()?))
}

/// Parses the name of a device, and returns its number: 3 for `rdax3`.
pub(crate) fn minor(text: &[u8]) -> Option<usize> {
    match text.strip_prefix(b"rdax")? {
        [b'0', _, ..] => None,
        digits if digits.iter().all(u8::is_ascii_digit) => {
            core::str::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    }
}
