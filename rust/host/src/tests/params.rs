// SPDX-License-Identifier: GPL-2.0

use crate::dax::params::{align, dax_name, extent, find, minor, number, Identity, Listed};
use crate::kernel_ext::units::{Order, RegionOffset};

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

const UUID: &str = "0f3a9c4e-1b2d-4e5f-8a9b-c0d1e2f30415";

fn find_in(list: &str, name: &str, uuid: Option<&str>, size: u64) -> Listed {
    let identity = Identity {
        name: name.as_bytes(),
        uuid: uuid.map(str::as_bytes),
        size,
    };
    find(list.as_bytes(), &identity)
}

#[test]
fn lists_of_names() {
    let list = "namespace0.0, namespace1.0 ,namespace10.0";
    for (name, listed) in [
        ("namespace0.0", Listed::Yes),
        ("namespace1.0", Listed::Yes),
        ("namespace10.0", Listed::Yes),
        ("namespace0", Listed::No),
        ("namespace0.01", Listed::No),
        ("namespace2.0", Listed::No),
        ("space0.0", Listed::No),
    ] {
        assert_eq!(find_in(list, name, None, 4096), listed, "{name}");
    }
    for list in ["", ",", "all", UUID] {
        assert_eq!(find_in(list, "namespace0.0", None, 4096), Listed::No);
    }
    let many = (0..200)
        .map(|n| format!("namespace{n}.0"))
        .collect::<Vec<_>>();
    assert_eq!(
        find_in(&many.join(","), "namespace199.0", None, 4096),
        Listed::Yes
    );
}

#[test]
fn lists_of_names_with_sizes() {
    let four = 4 << 30;
    for (list, listed) in [
        ("namespace0.0:4G", Listed::Yes),
        ("namespace0.0:4294967296", Listed::Yes),
        ("namespace0.0:4096m", Listed::Yes),
        ("namespace0.0:1G", Listed::OtherSize(1 << 30)),
        ("namespace0.0:1G,namespace0.0:4G", Listed::Yes),
        ("namespace0.0:4G,namespace0.0:1G", Listed::Yes),
        ("namespace0.0:1G,namespace0.0", Listed::Yes),
        (
            "namespace0.0:1G,namespace1.0:4G",
            Listed::OtherSize(1 << 30),
        ),
        ("namespace0.01:4G", Listed::No),
        ("namespace0.0:", Listed::No),
        ("namespace0.0:x", Listed::No),
        ("namespace0.0 :4G", Listed::No),
        ("namespace0.0:16777216T", Listed::No),
    ] {
        assert_eq!(find_in(list, "namespace0.0", None, four), listed, "{list}");
    }
}

#[test]
fn lists_of_uuids() {
    let upper = UUID.to_uppercase();
    let other = UUID.replace("0f3a", "0f3b");
    for (list, listed) in [
        (UUID, Listed::Yes),
        (&*upper, Listed::Yes),
        (&*other, Listed::No),
        (&*format!(" {UUID} "), Listed::Yes),
        (&*format!("{other},{UUID}"), Listed::Yes),
        (&*format!("namespace0.0,{UUID}"), Listed::Yes),
        (&*format!("{UUID},namespace0.0"), Listed::Yes),
        (&*format!("{UUID}0"), Listed::No),
        ("namespace0.0", Listed::NotByUuid),
        ("namespace0.0:4K", Listed::NotByUuid),
        ("namespace0.0:8K", Listed::NotByUuid),
        (&*format!("namespace0.0,{other}"), Listed::NotByUuid),
        ("namespace0.01", Listed::No),
        ("namespace1.0", Listed::No),
        ("", Listed::No),
    ] {
        let found = find_in(list, "namespace0.0", Some(UUID), 4096);
        assert_eq!(found, listed, "{list}");
    }
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
        ("rdax1048576", Some(1_048_576)),
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
        let value = value.map(|(offset, len)| (RegionOffset::new(offset), len));
        assert_eq!(extent(text.as_bytes()), value, "{text:?}");
    }
    assert_eq!(extent(b"\xff\xfe 4096"), None);
}

#[test]
fn names_on_the_dax_bus() {
    for (text, value) in [
        ("dax0.0", Some((0, 0))),
        ("dax3.12", Some((3, 12))),
        ("dax3", None),
        ("dax3.", None),
        ("dax.3", None),
        ("dax3.0.1", None),
        ("dax-1.0", None),
        ("rdax3.0", None),
        ("", None),
    ] {
        assert_eq!(dax_name(text.as_bytes()), value, "{text:?}");
    }
}
