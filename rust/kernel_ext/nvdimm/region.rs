// SPDX-License-Identifier: GPL-2.0

//! Attributes of a namespace's region.
//!
//! C header: [`include/linux/libnvdimm.h`](srctree/include/linux/libnvdimm.h)

use crate::kernel_ext::bindings;
use kernel::{
    container_of,
    prelude::*, //
};

/// Whether a region is read-only: one of its DIMMs is not armed (a power failure would lose its
/// writes), or its attribute `read_only` was set. May sleep.
///
/// `nd_region` is private to libnvdimm, and no function returns this (`nvdimm_check_and_set_ro()`
/// is for a gendisk). So this calls the attribute's `show`, as a reader of the file would. If the
/// attribute cannot be read, the region counts as read-only, which is safe.
///
/// # Safety
///
/// `region` is the valid device of a region.
pub(in crate::kernel_ext) unsafe fn is_read_only(region: *mut bindings::device) -> bool {
    // SAFETY: By the requirements of this function; a device on the bus has a type. Lists of groups
    // and of attributes end in a null, and the attributes of a device are `struct
    // device_attribute`s.
    unsafe {
        let mut groups = (*(*region).type_).groups;
        while !groups.is_null() && !(*groups).is_null() {
            let mut attrs = (**groups).__bindgen_anon_2.attrs;
            while !attrs.is_null() && !(*attrs).is_null() {
                if CStr::from_char_ptr((**attrs).name) == c"read_only" {
                    let attr = container_of!(*attrs, bindings::rdax_device_attribute, attr);
                    return show(region, attr) != Ok(*b"0\n");
                }
                attrs = attrs.add(1);
            }
            groups = groups.add(1);
        }
    }
    true
}

/// Returns the first two bytes that an attribute shows. May sleep. Errors: `ENOMEM`, those of the
/// attribute.
///
/// # Safety
///
/// `attr` is an attribute of the valid device `dev`.
unsafe fn show(
    dev: *mut bindings::device,
    attr: *mut bindings::rdax_device_attribute,
) -> Result<[u8; 2]> {
    // A page, aligned as one, because kmalloc() aligns a power of two to its size.
    let mut page = KVec::from_elem(0u8, bindings::PAGE_SIZE, GFP_KERNEL)?;
    // SAFETY: By the requirements of this function; what shows an attribute is given a page (CAST:
    // as `compat.h` has it, the one struct is the other).
    let shown = unsafe {
        let show = (*attr).show.ok_or(EIO)?;
        show(dev, attr.cast(), page.as_mut_ptr().cast())
    };
    match page.first_chunk() {
        Some(text) if shown >= 0 => Ok(*text),
        _ => Err(EIO),
    }
}
