// SPDX-License-Identifier: GPL-2.0

//! Stand-in for `rust/kernel_ext/bug.rs`: a warning fails the test.

#[track_caller]
pub(crate) fn warn_on(condition: bool) {
    assert!(!condition, "WARN_ON()");
}
