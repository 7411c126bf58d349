// SPDX-License-Identifier: GPL-2.0

//! What module parameters mean.

use super::order::Order;

/// Whether the comma-separated `list` names `name`.
pub(crate) fn names(list: &[u8], name: &[u8]) -> bool {
    list.split(|&byte| byte == b',')
        .any(|item| item.trim_ascii() == name)
}

/// The alignment that `text` says: `4K`, `2M`, `1G`, or one of these in bytes.
pub(crate) fn align(text: &[u8]) -> Option<Order> {
    let (digits, shift) = match text {
        [digits @ .., b'K' | b'k'] => (digits, 10),
        [digits @ .., b'M' | b'm'] => (digits, 20),
        [digits @ .., b'G' | b'g'] => (digits, 30),
        digits => (digits, 0),
    };
    let number: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    Order::from_bytes(number.checked_mul(1 << shift)?)
}
