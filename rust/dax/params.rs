// SPDX-License-Identifier: GPL-2.0

//! What module parameters mean.

use super::order::Order;

/// Whether the comma-separated `list` names `name`.
pub(crate) fn names(list: &[u8], name: &[u8]) -> bool {
    list.split(|&byte| byte == b',')
        .any(|item| item.trim_ascii() == name)
}

/// The number that `text` says: `4096`, or with a suffix `4K`, `2M`, `1G`, `1T`.
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

/// The alignment that `text` says: `4K`, `2M`, `1G`, or one of these in bytes.
pub(crate) fn align(text: &[u8]) -> Option<Order> {
    Order::from_bytes(number(text)?)
}

/// The offset and the length that `text` says: two [numbers](number) with one space between them.
pub(crate) fn extent(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = text.split(|&byte| byte == b' ').map(number);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(offset), Some(len), None) => offset.zip(len),
        _ => None,
    }
}

/// The number in the name `text` of a device: 3 in `rdax3`.
pub(crate) fn minor(text: &[u8]) -> Option<usize> {
    match text.strip_prefix(b"rdax")? {
        [b'0', _, ..] => None,
        digits if digits.iter().all(u8::is_ascii_digit) => {
            core::str::from_utf8(digits).ok()?.parse().ok()
        }
        _ => None,
    }
}
