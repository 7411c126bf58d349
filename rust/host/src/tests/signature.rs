// SPDX-License-Identifier: GPL-2.0

use crate::signature::{find, SIGNATURES};

/// As much of the head as any signature reaches into.
const HEAD: usize = 128 << 10;

fn find_in(media: &[u8]) -> Option<&'static str> {
    let found = find(|offset, buf| {
        let offset = offset as usize;
        let bytes = media.get(offset..offset + buf.len()).ok_or(())?;
        buf.copy_from_slice(bytes);
        Ok::<_, ()>(())
    });
    found.unwrap().map(|signature| signature.name)
}

#[test]
fn each_is_found_where_it_stands() {
    for signature in SIGNATURES {
        let mut media = vec![0; HEAD];
        let offset = signature.offset as usize;
        media[offset..offset + signature.magic.len()].copy_from_slice(signature.magic);
        assert_eq!(find_in(&media), Some(signature.name));
        // Not when one bit is another, nor one byte further.
        media[offset] ^= 1;
        assert_eq!(find_in(&media), None, "{signature:?}");
        media[offset..offset + 1].fill(0);
        media[offset + 1..offset + 1 + signature.magic.len()].copy_from_slice(signature.magic);
        assert_eq!(find_in(&media), None, "{signature:?}");
    }
}

#[test]
fn nothing_in_nothing() {
    assert_eq!(find_in(&vec![0; HEAD]), None);
    assert_eq!(find_in(&vec![0xff; HEAD]), None);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let mut reads = 0;
    let found = find(|_, _| {
        reads += 1;
        if reads == SIGNATURES.len() {
            Err("bad block")
        } else {
            Ok(())
        }
    });
    assert_eq!(found.unwrap_err(), "bad block");
}
