# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The cache: a directory of our own outside the checkout. A piece is made under
# the name tmp.* and renamed when it is whole, so what has its final name can be
# used. One lock: held exclusively to make a piece, shared to use one. Whatever
# runs in the lab inherits the lock, so a survivor keeps its files.

cache=${RDAX_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or RDAX_CACHE}/.cache}/rdax}
marker=.rdax-cache

cache_open() {
	mkdir -p "$cache" 2>/dev/null ||
		die "Can't make the cache directory $cache: set RDAX_CACHE to a place that you may write to."
	cache=$(cd "$cache" && pwd -P)
	case "$cache/" in
	"$top"/*) die "RDAX_CACHE is inside the checkout: set it to a directory outside of it." ;;
	esac
	if [ ! -e "$cache/$marker" ]; then
		[ -z "$(ls -A "$cache")" ] ||
			die "$cache is not a cache of rdax and not empty: set RDAX_CACHE to an empty or new directory."
		echo "Made by rdax's scripts/lab, which may remove all of it." >"$cache/$marker"
	fi
	[ -w "$cache/$marker" ] ||
		die "The cache $cache belongs to another user: set RDAX_CACHE to a directory of your own."
	exec 9>>"$cache/lock"
	if flock --nonblock 9; then
		cache_sweep
		# a shell of the lab that lives on must not keep others from using it
		flock --shared 9
	else
		cache_lock --shared
	fi
}

cache_lock() {
	flock --nonblock "$1" 9 && return
	say "another lab is at work in $cache; waiting for it to end"
	flock "$1" 9
}

# What an interrupted lab left. Only with the lock held exclusively.
cache_sweep() {
	local left
	for left in "$cache"/tmp.*; do
		[ ! -e "$left" ] || cache_remove "$left"
	done
}

# Pieces for other versions of the checkout, unused for two weeks. Only with the lock held
# exclusively.
cache_old() {
	local old
	mkdir -p "$cache/build" "$cache/test-all"
	while IFS= read -r old; do
		say "removing ${old##*/}, not used for two weeks"
		cache_remove "$old"
	done < <(find "$cache" "$cache/build" "$cache/test-all" -mindepth 1 -maxdepth 1 -mtime +14 \
		\( -name 'root-*' -o -name 'linux-*' -o -name 'kernel-*' -o -name 'debs-*' \
		-o -name 'debug-*' -o -name 'kasan-*' -o -name 'part.*' -o -path "$cache/build/*" -o -path "$cache/test-all/*" \))
}

# An ordinary user's root holds files of the user's subordinate ids.
cache_remove() {
	[ -w "$1" ] || [ "$(id -u)" = 0 ] || chmod u+w "$1" 2>/dev/null || true
	rm -rf --one-file-system -- "$@" 2>/dev/null ||
		in_namespace rm -rf --one-file-system -- "$@"
}

# cache_whole TMP NAME: the piece TMP is whole; it is NAME from now on.
cache_whole() {
	sync -f "$1"
	mv -T -- "$1" "$cache/$2"
}

# distclean: everything, if it is ours.
cache_distclean() {
	if [ ! -d "$cache" ]; then
		say "there is no cache at $cache"
		return
	fi
	cache=$(cd "$cache" && pwd -P)
	[ -e "$cache/$marker" ] ||
		die "$cache was not made by rdax (it has no file $marker): nothing was removed there, remove it by hand."
	exec 9>>"$cache/lock"
	flock --nonblock 9 ||
		die "A lab is at work in $cache: end it, then run make distclean again."
	say "removing the cache $cache ($(megabytes "$cache"))"
	# the marker goes last: an interrupted distclean can be run again
	local part
	for part in "$cache"/*; do
		[ ! -e "$part" ] || cache_remove "$part"
	done
	rm -f -- "$cache/$marker"
	rmdir -- "$cache"
}
