# SPDX-License-Identifier: GPL-2.0
#
# $(call if_changed_dep,rdax_bindgen): bindings of a header, the first prerequisite,
# by the parameters in a file, the second. For the Kbuild files of all modules here.

# The same C flags that the kernel gives to bindgen: clang parses what gcc will
# compile, so what only gcc knows is dropped (rust/Makefile, bindgen_skip_c_flags).
rdax_bindgen_skip_c_flags := -mno-fp-ret-in-387 -mpreferred-stack-boundary=% \
	-mskip-rax-setup -mgeneral-regs-only -msign-return-address=% \
	-mindirect-branch=thunk-extern -mindirect-branch-register \
	-mfunction-return=thunk-extern -mrecord-mcount -mabi=lp64 \
	-mindirect-branch-cs-prefix -mstack-protector-guard% \
	-fconserve-stack -falign-jumps=% -falign-loops=% \
	-fno-ipa-cp-clone -fno-ipa-sra -fno-partial-inlining \
	-fno-reorder-blocks -fno-allow-store-data-races \
	-fzero-call-used-regs=% -fno-stack-clash-protection \
	-fno-inline-functions-called-once -fsanitize=bounds-strict \
	-fstrict-flex-arrays=% -fmin-function-alignment=% \
	-fzero-init-padding-bits=% -fdiagnostics-show-context \
	-fdiagnostics-show-context=% --param=% \
	-fno-isolate-erroneous-paths-dereference
rdax_bindgen_c_flags = $(if $(CONFIG_CC_IS_CLANG),$(c_flags), \
	$(filter-out $(rdax_bindgen_skip_c_flags),$(c_flags)) -w \
	--target=x86_64-linux-gnu)

# Types come from the kernel crate, so that there is one `struct device`
# (--no-recursive-allowlist, and the raw line that imports them).
quiet_cmd_rdax_bindgen = BINDGEN $@
      cmd_rdax_bindgen = \
	$(BINDGEN) $< $(shell grep -Ev '^#|^$$' $(word 2,$^)) \
		--rust-target 1.85 --use-core --with-derive-default \
		--ctypes-prefix ffi --no-layout-tests --no-debug '.*' \
		--enable-function-attribute-detection \
		-o $@ -- $(rdax_bindgen_c_flags) -fno-builtin -D__BINDGEN__ \
		-DMODULE ; \
	sed -Ei 's/pub const RUST_CONST_HELPER_([a-zA-Z0-9_]*)/pub const \1/g; \
		s/pub fn rust_helper_([a-zA-Z0-9_]*)/\#[link_name="rust_helper_\1"]\n    pub fn \1/g' $@
