# SPDX-License-Identifier: GPL-2.0
#
# rdax: see README.md. `make help` lists what there is; scripts/lab does the work.
# (The module's own rules are in Kbuild.)

# LINUX=VERSION: with that kernel of scripts/kernel.lock instead of the first. KERNEL=debug or kasan:
# with that kernel, built from the source of the other.
LAB := scripts/lab$(if $(LINUX), --linux $(LINUX))$(if $(KERNEL), --kernel $(KERNEL))

all: modules

# With KDIR=, a kernel tree that was built or prepared with CONFIG_RUST, nothing of
# the lab is needed. What the tree lacks is said first.
ifdef KDIR
modules:
	@scripts/kernel-tree --check $(KDIR)
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules
else
modules:
	@$(LAB) build
endif

run shell setup deb test-install distclean clean:
	@$(LAB) $@

# make test SUITES="host guest persist"
test:
	@$(LAB) test $(SUITES)

# make bench BENCH="instructions fault-2m-write"
bench:
	@$(LAB) bench $(BENCH)

# make bench-check BENCH="munmap-4k munmap-2m"
bench-check:
	@$(LAB) bench --check $(BENCH)

# make torture TORTURE="--time 600 --seed 7 oracle"
torture:
	@$(LAB) torture $(TORTURE)

# make test-mutants MUTANTS="01 20"
test-mutants:
	@$(LAB) mutants $(MUTANTS)

# make bench-locks PARTS="instructions memory throughput mixed fairness exclusion"
bench-locks:
	@$(LAB) bench-locks $(PARTS)

clippy fmtcheck checkpatch shellcheck mutants:
	@$(LAB) check $@

check:
	@$(LAB) check all

help:
	@echo 'make             build rdax.ko, against KDIR= if given, else for the kernel of the lab'
	@echo 'make run         boot a guest, map its persistent memory, boot again, show that the data is there'
	@echo 'make test        every test, on the host and in the guest; the last line counts them'
	@echo 'make test-mutants  put known bugs back one by one, and see that a test catches each'
	@echo 'make bench       what operations cost, beside device_dax, ext4 -o dax and anonymous memory'
	@echo 'make bench-check  fail if one of them costs more than it did, by the same comparison'
	@echo 'make bench-locks  measure the locks of samples/lock-comparison beside each other'
	@echo 'make torture     random load from many processes for long, an oracle, a fuzzer'
	@echo 'make shell       a guest with the module loaded, and a prompt'
	@echo 'make check       all of: clippy fmtcheck checkpatch shellcheck mutants (each patch applies)'
	@echo 'make deb         the Debian packages rdax-dkms and rdax-tools, in deb/'
	@echo 'make test-install  install them in a fresh Debian, boot it, update its kernel, remove them'
	@echo 'make setup       only get what is missing'
	@echo 'make clean       remove what was built'
	@echo 'make distclean   that, and the cache'
	@echo
	@echo 'LINUX=VERSION    with any of these: another kernel of scripts/kernel.lock'
	@echo 'KERNEL=NAME      with any of these: the kernel debug or kasan instead of Debian'"'"'s own'
	@echo 'RDAX_CACHE=DIR   where the lab is kept (default ~/.cache/rdax)'
	@echo 'RDAX_MIRROR=URL  the Debian mirror (default: the one of this machine)'

.PHONY: all modules run shell setup deb test-install test torture test-mutants bench bench-check bench-locks clippy \
	fmtcheck checkpatch shellcheck mutants check clean distclean help
