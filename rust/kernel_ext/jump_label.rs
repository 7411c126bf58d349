// SPDX-License-Identifier: GPL-2.0

//! Static keys: branches that cost a nop until the kernel patches them.
//!
//! C header: [`include/linux/jump_label.h`](srctree/include/linux/jump_label.h)

/// Whether a static key is enabled, which it seldom is.
///
/// * `key` - the path to the static variable that contains the `static_key`.
/// * `keytyp` - the type of `key`.
/// * `field` - the name of the field of `key` that contains the `static_key`.
///
/// The kernel crate's macro includes a file of the kernel's build directory
/// (`rust/kernel/generated_arch_static_branch_asm.rs`), which packages with Rust metadata lack.
///
/// # Safety
///
/// `key` must be defined by C, and part of this module.
macro_rules! static_branch_unlikely {
    ($key:path, $keytyp:ty, $field:ident) => {
        'key: {
            #[cfg(all(CONFIG_JUMP_LABEL, CONFIG_X86_64))]
            {
                // As `arch_static_branch()` in arch/x86/include/asm/jump_label.h: a nop of 5 bytes,
                // and an entry that says where it is, where the jump goes, and by which key.
                ::core::arch::asm!(
                    "2: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
                    ".pushsection __jump_table, \"aw\"",
                    ".balign 8",
                    ".long 2b - .",
                    ".long {enabled} - .",
                    ".quad {key} + {offset} - .",
                    ".popsection",
                    enabled = label {
                        break 'key true;
                    },
                    key = sym $key,
                    offset = const ::core::mem::offset_of!($keytyp, $field),
                    options(nomem, nostack, preserves_flags),
                );
                break 'key false;
            }

            #[cfg(not(all(CONFIG_JUMP_LABEL, CONFIG_X86_64)))]
            {
                let key: *const $keytyp = &raw const $key;
                let key = (&raw const (*key).$field).cast::<::kernel::bindings::static_key>();
                break 'key ::kernel::bindings::static_key_count(key.cast_mut()) > 0;
            }
        }
    };
}
pub(in crate::kernel_ext) use static_branch_unlikely;
