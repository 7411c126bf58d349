// SPDX-License-Identifier: GPL-2.0

use crate::order::Order;
use crate::params::{align, extent, minor, names, number};

#[test]
fn alignments() {
    for (text, order) in [
        ("4K", Some(Order::PTE)),
        ("4k", Some(Order::PTE)),
        ("4096", Some(Order::PTE)),
        ("2M", Some(Order::PMD)),
        ("2m", Some(Order::PMD)),
        ("2048K", Some(Order::PMD)),
        ("2097152", Some(Order::PMD)),
        ("1G", Some(Order::PUD)),
        ("1g", Some(Order::PUD)),
        ("1024M", Some(Order::PUD)),
        ("", None),
        ("K", None),
        ("4", None),
        ("4T", None),
        ("4 K", None),
        ("-4K", None),
        ("8K", None),
        ("0", None),
        ("2G", None),
        ("4KK", None),
        ("18446744073709551615G", None),
        ("99999999999999999999", None),
        ("\u{664}K", None),
    ] {
        assert_eq!(align(text.as_bytes()), order, "{text:?}");
    }
    assert_eq!(align(b"\xff\xfeK"), None);
}

#[test]
fn lists_of_names() {
    let list = b"namespace0.0, namespace1.0 ,namespace10.0";
    for (name, named) in [
        ("namespace0.0", true),
        ("namespace1.0", true),
        ("namespace10.0", true),
        ("namespace0", false),
        ("namespace0.01", false),
        ("namespace2.0", false),
        ("space0.0", false),
    ] {
        assert_eq!(names(list, name.as_bytes()), named, "{name}");
    }
    assert!(!names(b"", b"namespace0.0"));
    assert!(!names(b",", b"namespace0.0"));
    assert!(!names(b"all", b"namespace0.0"));
}

#[test]
fn numbers() {
    for (text, value) in [
        ("0", Some(0)),
        ("4096", Some(4096)),
        ("4K", Some(4096)),
        ("3m", Some(3 << 20)),
        ("7G", Some(7 << 30)),
        ("2T", Some(2 << 40)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("16777216T", None),
        ("", None),
        ("K", None),
        ("-1", None),
        ("1 ", None),
        ("1GiB", None),
        ("0x10", None),
    ] {
        assert_eq!(number(text.as_bytes()), value, "{text:?}");
    }
}

#[test]
fn names_of_devices() {
    for (text, value) in [
        ("rdax0", Some(0)),
        ("rdax255", Some(255)),
        ("rdax", None),
        ("rdax01", None),
        ("rdax+1", None),
        ("rdax1x", None),
        ("dax1", None),
        ("rdax99999999999999999999", None),
    ] {
        assert_eq!(minor(text.as_bytes()), value, "{text:?}");
    }
}

#[test]
fn extents() {
    for (text, value) in [
        ("0 4096", Some((0, 4096))),
        ("4096 0", Some((4096, 0))),
        ("2M 3G", Some((2 << 20, 3 << 30))),
        ("18446744073709551615 1t", Some((u64::MAX, 1 << 40))),
        ("", None),
        (" ", None),
        ("4096", None),
        ("4096 ", None),
        (" 4096", None),
        ("0  4096", None),
        ("0 4096 ", None),
        (" 0 4096", None),
        ("0 4096 4096", None),
        ("0,4096", None),
        ("0\t4096", None),
        ("0 4096\n", None),
        ("0 4096\n4096 4096", None),
        ("-4096 4096", None),
        ("0 -4096", None),
        ("0x0 0x1000", None),
        ("0 18446744073709551616", None),
        ("16777216T 4096", None),
        ("K K", None),
    ] {
        assert_eq!(extent(text.as_bytes()), value, "{text:?}");
    }
    assert_eq!(extent(b"\xff\xfe 4096"), None);
}
