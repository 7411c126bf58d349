# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The kernels: which ones scripts/kernel.lock names, and how the cache gets what one needs. A kernel
# has three pieces there:
#
#   linux-HASH            the choice: suite, version, release, cc, and the root that has its compilers
#   root-HASH-COMPILERS   a Debian root; kernels that the same compilers built share it
#   kernel-VERSION-HASH   vmlinuz, modules, and the source, prepared to build modules

lock=$top/scripts/kernel.lock

# locked: the lines of kernel.lock.
locked() {
	grep -vE '^(#|$)' "$lock"
}

# upstream_of VERSION: of a package's version, 7.1.2 in 7.1.2-1~bpo13+1.
upstream_of() {
	echo "${1%%-*}"
}

# locked_kernel [BEGINNING]: sets suite and pinned, a version: those of the first line, or of the first
# whose version begins so; and default, the version of the first line.
locked_kernel() {
	default=
	while read -r suite pinned _; do
		default=${default:-$pinned}
		if [[ $(upstream_of "$pinned"). == "${1:+$1.}"* ]]; then
			return
		fi
	done < <(locked)
	die "There is no kernel '$1' in scripts/kernel.lock; there are: $(locked_versions | xargs)."
}

# locked_versions: the upstream versions, the default first.
locked_versions() {
	local version
	while read -r _ version _; do
		upstream_of "$version"
	done < <(locked)
}

hash_of() {
	sha256sum | cut -c1-"$1"
}

# value NAME FILE
value() {
	sed -n "s/^$1=//p" "$2"
}

# The Debian whose compilers built the kernels of a suite.
base_of() {
	echo "${1%-backports}"
}

# Where a kernel of a Debian may find its compilers: any root of this kind, whose name goes on.
roots_of() {
	echo "root-$(cat "$top"/scripts/{packages,host/root-setup,inside/compilers} | hash_of 12)-$1"
}

# kernel_chosen: is the choice for the pinned kernel made? Sets what it says.
kernel_chosen() {
	choice=linux-$(cat <(echo "$suite $pinned") \
		"$top"/scripts/{packages,host/root-setup,inside/compilers} | hash_of 12)
	[ -e "$cache/$choice" ] || return
	chosen_read "$cache/$choice"
}

chosen_read() {
	version=$(value version "$1")
	root_name=$(value root "$1")
	kernel_name=kernel-$version-$(hash_of 8 <"$top/scripts/inside/kernel-prepare")
	debs_name=debs-$version
}

kernel_whole() {
	kernel_chosen && [ -e "$cache/$root_name" ] && [ -e "$cache/$kernel_name" ]
}

# With the cache locked exclusively: what is missing of the pinned kernel.
make_kernel() {
	local begun=$SECONDS
	say "setting up in $cache; an interruption loses only the step it falls in"
	cache_old
	tmp=$(mktemp -d "$cache/tmp.setup.XXXXXX")
	chmod 755 "$tmp"
	mkdir "$tmp/choice"
	steps_all=1
	# without its packages a kernel can't be prepared
	if ! kernel_chosen || ! [ -e "$cache/$root_name" ] || ! [ -e "$cache/$debs_name" ]; then
		steps_all=5
		choose_and_download
	fi
	[ -e "$cache/$kernel_name" ] || prepare_kernel
	cache_remove "$tmp" "$cache/$debs_name"
	tmp=
	say "set up in $(clock $((SECONDS - begun))), $(megabytes "$cache")"
}

# The root of $base that asks Debian: one that is there, or a new one. Sets root.
asking_root() {
	local found
	found=$(find "$cache" -maxdepth 1 -name "$(roots_of "$base")-*" | sort | head -n 1)
	root=$tmp/root
	if [ -n "$found" ]; then
		root=$found
		step "a Debian $base root is here already"
	else
		step "a Debian $base root with build tools, QEMU and the guest's programs"
		make_root "$tmp" "$base"
	fi
}

# in_asking_root [OPTION...] -- COMMAND...: with the choice's directory as /work.
in_asking_root() {
	enter "$root" --rw --ro "$top" /rdax --bind "$tmp/choice" /work "$@"
}

# In a root of Debian $base, the choice of a kernel, if possible the pinned one.
root_and_choice() {
	asking_root
	step "which kernel"
	lists_size() { megabytes "$root/var/lib/apt/lists"; }
	with_progress "$tmp/choose.log" lists_size \
		in_asking_root -- /rdax/scripts/inside/kernel-choose "$suite" "$pinned" ||
		die "No Debian kernel could be chosen: read the lines above (network? a mirror without trixie-backports, forky and sid? set RDAX_MIRROR)."
	suite=$(value suite "$tmp/choice/kernel")
	version=$(value version "$tmp/choice/kernel")
	printf '     linux %s, %s\n' "$version" "$suite" >&2
}

choose_and_download() {
	local size base root compilers
	base=$(base_of "$suite")
	root_and_choice
	if [ "$(base_of "$suite")" != "$base" ]; then
		base=$(base_of "$suite")
		say "the compilers of that kernel are in Debian $base: another root"
		[ "$root" != "$tmp/root" ] || cache_remove "$root"
		steps_all=$((steps_all + 2))
		root_and_choice
	fi
	debs_name=debs-$version

	if [ ! -e "$cache/$debs_name" ]; then
		size=$(in_asking_root -- /rdax/scripts/inside/kernel-debs --list)
		step "its image, modules, headers and source, $size MB"
		mkdir "$tmp/debs"
		debs_size() { printf '%s of %s' "$(megabytes "$tmp/debs")" "$size"; }
		with_progress "$tmp/debs.log" debs_size \
			in_asking_root --bind "$tmp/debs" /debs -- /rdax/scripts/inside/kernel-debs ||
			die "The kernel's packages couldn't be downloaded: read the lines above and run this again."
		cache_whole "$tmp/debs" "$debs_name"
	else
		step "its packages are here already"
	fi

	compilers=$(in_asking_root --ro "$cache/$debs_name" /debs -- /rdax/scripts/inside/compilers --list)
	root_name=$(roots_of "$base")-$(hash_of 8 <<<"$compilers")
	if [ -e "$cache/$root_name" ]; then
		step "the compilers that built it are here already"
	else
		step "the compilers that built it"
		if [ "$root" != "$tmp/root" ]; then
			say "they are others than those of ${root##*/}: another root"
			make_root "$tmp" "$base"
			root=$tmp/root
			in_asking_root -- /rdax/scripts/inside/kernel-choose "$suite" "$version" >"$tmp/choose.log" 2>&1 ||
				die "The kernel can't be found again: read $tmp/choose.log."
		fi
		root_size() { printf '%s on disk' "$(megabytes "$root")"; }
		with_progress "$tmp/compilers.log" root_size \
			in_asking_root --ro "$cache/$debs_name" /debs -- /rdax/scripts/inside/compilers ||
			die "The compilers that built this kernel can't be had: read the lines above; another kernel can be chosen with 'scripts/lab relock'."
		cache_whole "$root" "$root_name"
	fi
	{
		cat "$tmp/choice/kernel"
		sed -n 's/^cc=/cc=/p' <<<"$compilers"
		echo "root=$root_name"
	} >"$tmp/choice/whole"
	cache_whole "$tmp/choice/whole" "$choice"
	chosen_read "$cache/$choice"
}

prepare_kernel() {
	steps_done=$((steps_all - 1))
	step "its source, prepared for modules, with the Rust metadata made anew (no kernel is compiled)"
	mkdir -p "$tmp/kernel/modules"
	cp "$cache/$choice" "$tmp/kernel/info"
	prepared() {
		printf '%d files unpacked' "$(grep -c '^linux-source' "$tmp/kernel.log")"
		sed -n '/^== prepare/,$p' "$tmp/kernel.log" | grep -cE '^ +[A-Z]' |
			sed 's/^0$//; s/^\([0-9]\+\)$/, \1 build steps/' | tr -d '\n'
	}
	with_progress "$tmp/kernel.log" prepared \
		enter "$cache/$root_name" --ro "$top" /rdax --ro "$cache/$debs_name" /debs \
		--bind "$tmp/kernel" /kernel --bind "$tmp/kernel/modules" /usr/lib/modules \
		-- /rdax/scripts/inside/kernel-prepare ||
		die "The kernel's source couldn't be prepared: read the lines above (disk space at $cache?)."
	cache_whole "$tmp/kernel" "$kernel_name"
}

# The kernel that --kernel names: built at its first use, by one lab at a time. It grows
# under a name that no sweep removes, so that an interrupted build is not lost.
torture_kernel() {
	local name=$1 piece part begun=$SECONDS
	case "$name" in
	debug | kasan) ;;
	*) die "There is no kernel '$name': there are debug and kasan." ;;
	esac
	piece=$name-$version-$(cat "$top"/scripts/{inside/kernel-torture,configs/{lean,"$name"}.config} |
		hash_of 8)
	part=$cache/part.$piece
	if [ ! -e "$cache/$piece" ]; then
		exec 8>>"$cache/lock.$name-$version"
		flock --nonblock 8 || {
			say "another lab builds the kernel '$name'; waiting for it to end"
			flock 8
		}
	fi
	if [ ! -e "$cache/$piece" ]; then
		say "building the kernel '$name' in $cache; an interrupted build goes on where it was"
		mkdir -p "$part/modules"
		local log=$cache/$name-$version.log
		steps() { printf '%d build steps' "$(grep -cE '^ +[A-Z]' "$log")"; }
		with_progress "$log" steps \
			enter "$cache/$root_name" --ro "$top" /rdax --ro "$cache/$kernel_name" /debs \
			--bind "$part" /kernel --bind "$part/modules" /usr/lib/modules \
			-- nice -n 15 /rdax/scripts/inside/kernel-torture "$name" ||
			die "The kernel '$name' couldn't be built: read the lines above, and $log."
		cache_whole "$part" "$piece"
		say "built the kernel '$name' in $(clock $((SECONDS - begun))), $(megabytes "$cache/$piece")"
	fi
	exec 8>&-
	touch "$cache/$piece"
	kernel_name=$piece
}

# relock: the newest kernels that Debian has, to kernel.lock. In a root of its own, for it must
# not matter what the cache has.
relock() {
	tmp=$(mktemp -d "$cache/tmp.relock.XXXXXX")
	chmod 755 "$tmp"
	mkdir "$tmp/choice"
	make_root "$tmp" trixie
	root=$tmp/root
	in_asking_root -- /rdax/scripts/inside/kernel-choose --relock >&2 ||
		die "No Debian kernel could be chosen: read the lines above."
	{
		grep '^#' "$lock"
		cat "$tmp/choice/lock"
	} >"$tmp/lock"
	cp "$tmp/lock" "$lock"
	say "scripts/kernel.lock now has: $(locked_versions | xargs)"
}
