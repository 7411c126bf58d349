# SPDX-License-Identifier: GPL-2.0
#
# rdax: see README.md. `make help` lists what there is; scripts/lab does the work.
# (The module's own rules are in Kbuild.)

# LINUX=VERSION: with that kernel of scripts/kernel.lock instead of the first. KERNEL=debug or kasan:
# with that kernel, built from the source of the other.
# A misspelt variable would silently mean nothing. (With KDIR=, Kbuild's own are allowed.)
variables := LINUX KERNEL KDIR SUITES BENCH MUTANTS TORTURE FUZZ PARTS RDAX_CACHE RDAX_MIRROR
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
unknown := $(if $(KDIR),,$(filter-out $(variables),$(filter-out -%,$(given))))
$(if $(unknown),$(error there is no variable $(firstword $(unknown)); there are: $(variables)))
# So would one of a goal that is not made.
goals_of_SUITES := test
goals_of_BENCH := bench bench-check
goals_of_MUTANTS := test-mutants
goals_of_TORTURE := torture
goals_of_FUZZ := fuzz
goals_of_PARTS := bench-locks
ignored := $(foreach name,$(given),$(if $(goals_of_$(name)),$(if \
	$(filter $(goals_of_$(name)),$(MAKECMDGOALS)),,$(name))))
$(foreach name,$(firstword $(ignored)),$(error $(name)= has an effect only on: $(goals_of_$(name))))

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

run run-cxl shell setup deb test-install htmldocs pictures distclean clean:
	@$(LAB) $@

# make intree KDIR=/usr/src/linux: as a part of that kernel
intree:
	@scripts/intree/install $(KDIR)

# make test SUITES="host guest:odd persist"
test:
	@$(LAB) test $(SUITES)

# Goes on where it was interrupted.
test-all:
	@$(LAB) $@

# make bench BENCH="instructions fault-2m-write"; make bench BENCH=coherence
bench:
	@$(LAB) bench $(BENCH)

# make bench-check BENCH="munmap-4k munmap-2m"
bench-check:
	@$(LAB) bench --check $(BENCH)

# make torture TORTURE="--time 600 --seed 7 oracle"
torture:
	@$(LAB) torture $(TORTURE)

# make fuzz FUZZ="--time 28800 --publish"
fuzz:
	@$(LAB) fuzz $(FUZZ)

# make test-mutants MUTANTS="fault lost-at-unbind"
test-mutants:
	@$(LAB) mutants $(MUTANTS)

# make bench-locks PARTS="instructions memory throughput mixed fairness meetings exclusion coherence"
bench-locks:
	@$(LAB) bench-locks $(PARTS)

clippy fmtcheck checkpatch shellcheck mypy mutants layers docs:
	@$(LAB) check $@

check:
	@$(LAB) check all

help:
	@echo 'make               build rdax.ko for the lab'"'"'s kernel'
	@echo 'make KDIR=DIR      build it for this kernel tree, without the lab'
	@echo 'make intree KDIR=DIR  copy it into this kernel tree, and build it there'
	@echo 'make run           the demonstration: write, boot again, find the data'
	@echo 'make run-cxl       the same on CXL memory: write, bind again, find the data'
	@echo 'make test          the tests; the last line counts them (SUITES=)'
	@echo 'make test-all      all tests, mutants, torture, on each kernel: most of a day'
	@echo 'make test-mutants  put known bugs back; a test must catch each (MUTANTS=)'
	@echo 'make test-install  install the packages in a fresh Debian, and boot it'
	@echo 'make torture       random load for hours: an oracle, a fuzzer (TORTURE=)'
	@echo 'make fuzz          fuzzing that coverage guides, on debug (FUZZ=)'
	@echo 'make bench         what operations cost, beside others (BENCH=)'
	@echo 'make bench-check   fail if one costs more than it did (BENCH=)'
	@echo 'make bench-locks   measure the locks of samples/lock-comparison (PARTS=)'
	@echo 'make shell         a guest with the module loaded, and a prompt'
	@echo 'make check         all static checks; each can be run by its name:'
	@echo '                   clippy fmtcheck checkpatch shellcheck mypy mutants'
	@echo '                   layers docs'
	@echo 'make htmldocs      render the documentation into Documentation/output'
	@echo 'make pictures      draw Documentation/images/*.svg from the .dot files'
	@echo 'make deb           the Debian packages rdax-dkms and rdax-tools, in deb/'
	@echo 'make setup         only get what is missing'
	@echo 'make clean         remove what was built'
	@echo 'make distclean     remove that and the cache'
	@echo
	@echo 'LINUX=VERSION      use another kernel of scripts/kernel.lock'
	@echo 'KERNEL=NAME        use the kernel debug or kasan, built from its source'
	@echo 'SUITES="NAME..."   host guest torture persist (default), more brief, guest:odd'
	@echo 'BENCH="NAME..."    instructions bind bus parallel, operations, coherence'
	@echo 'MUTANTS="NAME..."  areas or names of scripts/mutants/README.md'
	@echo 'TORTURE="ARG..."   --short --time SECONDS --seed N ... PHASE...'
	@echo 'FUZZ="ARG..."      --time SECONDS --seed N --publish'
	@echo 'PARTS="NAME..."    instructions memory throughput mixed fairness exclusion'
	@echo 'RDAX_CACHE=DIR     where the lab is kept (default ~/.cache/rdax)'
	@echo 'RDAX_MIRROR=URL    the Debian mirror (default: this machine'"'"'s)'

.PHONY: all modules intree run run-cxl shell setup deb test-install test test-all torture fuzz test-mutants bench bench-check bench-locks clippy \
	fmtcheck checkpatch shellcheck mypy mutants layers docs check htmldocs pictures clean distclean help
