# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The root: a Debian made by mmdebstrap, and how it is entered.

# in_namespace COMMAND...: as root of a mount and process namespace of its own
# (and for an ordinary user of a user namespace), gone with everything in it when
# this shell ends, however it ends.
in_namespace() {
	local ns=(setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child)
	[ "$(id -u)" = 0 ] || ns+=(--map-auto --map-root-user)
	"${ns[@]}" "$@"
}

# Says in one sentence what this machine lacks.
namespace_check() {
	local tool
	for tool in setpriv unshare flock mount chroot; do
		command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin
		command -v "$tool" >/dev/null ||
			die "There is no '$tool' here: install Debian's util-linux, mount and coreutils."
	done
	if [ "$(id -u)" != 0 ]; then
		command -v newuidmap >/dev/null ||
			die "An ordinary user needs newuidmap: install Debian's uidmap, or run as root."
		local name
		name=$(id -un)
		{ grep -q "^$name:" /etc/subuid && grep -q "^$name:" /etc/subgid; } 2>/dev/null ||
			die "$name has no subordinate ids: run 'usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $name' as root, or run as root."
	fi
	in_namespace mount -t proc proc /proc 2>/dev/null || {
		[ "$(id -u)" = 0 ] ||
			die "This machine doesn't let an ordinary user make namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces, AppArmor): allow it, or run as root."
		die "This machine doesn't let root make a mount namespace (a container without CAP_SYS_ADMIN?): run outside the container, or in one with --privileged."
	}
}

# enter ROOT OPTION... -- COMMAND...: see host/enter.
enter() {
	local root=$1
	shift
	in_namespace "$top/scripts/host/enter" "$root" "$@"
}

# The machine's own Debian mirror, if it is a Debian; nothing otherwise.
mirror() {
	if [ -n "${RDAX_MIRROR:-}" ]; then
		echo "$RDAX_MIRROR"
		return
	fi
	command -v apt-get >/dev/null || return 0
	# shellcheck disable=SC2016 # apt's variables
	# origin and label are empty as long as no list was downloaded
	apt-get indextargets --format '$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null |
		awk -F'|' '$1 ~ /^(bullseye|bookworm|trixie|forky|sid|(old)*stable|testing|unstable)$/ &&
			$2 == "main" && ($3 == "" || $3 == "Debian") && ($4 == "" || $4 == "Debian") &&
			$5 ~ /^(https?|file|copy|ftp|mirror[+a-z]*|tor[+a-z]*):/ { print $5; exit }'
}

# The machine's apt options for fetching: a proxy, time-outs, checks left out.
apt_options() {
	command -v apt-config >/dev/null || return 0
	apt-config dump 2>/dev/null |
		grep -E '^Acquire::(http|https|ftp|Retries|Queue-Mode|Check-Valid-Until|Check-Date|Max-ValidTime|ForceIPv[46]|PDiffs|By-Hash)' |
		grep -vE 'Proxy-Auto-Detect|ProxyAutoDetect| "";$' || true
}

# mmdebstrap_path TMP: where mmdebstrap is; if not installed, it is unpacked into
# the cache by the machine's own apt, with lists of its own.
mmdebstrap_path() {
	local tmp=$1 state
	if command -v mmdebstrap; then
		return
	fi
	if [ ! -x "$cache/mmdebstrap/usr/bin/mmdebstrap" ]; then
		command -v apt-get >/dev/null ||
			die "There is neither mmdebstrap nor apt-get here: install mmdebstrap."
		say "mmdebstrap is not installed; fetching it into the cache"
		state=$tmp/apt
		mkdir -p "$state/lists/partial" "$state/archives/partial" "$tmp/mmdebstrap"
		(
			cd "$state"
			options=(-q -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state"
				-o "Dir::Cache::Archives=$state/archives" -o APT::Sandbox::User=)
			apt-get "${options[@]}" update
			apt-get "${options[@]}" download mmdebstrap
			dpkg-deb -x mmdebstrap_*.deb "$tmp/mmdebstrap"
		) >"$cache/mmdebstrap.log" 2>&1 || {
			tail -n 5 "$cache/mmdebstrap.log" >&2
			die "mmdebstrap couldn't be fetched by apt: install mmdebstrap, or put the network or apt's sources right."
		}
		cache_whole "$tmp/mmdebstrap" mmdebstrap
	fi
	echo "$cache/mmdebstrap/usr/bin/mmdebstrap"
}

# make_root TMP SUITE [PACKAGE...]: a Debian in TMP/root with these packages, otherwise with those of
# scripts/packages, and the places that the lab uses later.
make_root() {
	local tmp=$1 suite=$2 bootstrap url packages root=$1/root
	shift 2
	bootstrap=$(mmdebstrap_path "$tmp")
	perl -e 1 2>/dev/null || die "mmdebstrap needs perl: install perl."
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
		die "Debian's keys are missing: install debian-archive-keyring."
	url=$(mirror)
	apt_options >"$tmp/apt.conf"
	packages=$({ [ $# = 0 ] && sed 's/#.*//' "$top/scripts/packages" || echo "$@"; } | xargs | tr ' ' ,)
	mkdir "$root"
	root_size() { printf '%s on disk, %s' "$(megabytes "$root")" "$(grep '^I: ' "$tmp/root.log" | tail -n 1 | cut -c4-60)"; }
	# shellcheck disable=SC2086 # no mirror: mmdebstrap takes its default
	with_progress "$tmp/root.log" root_size \
		in_namespace "$bootstrap" --mode=root --variant=apt --format=directory \
		--aptopt="$tmp/apt.conf" --include="$packages" \
		"$suite" "$root" $url ||
		die "The Debian root couldn't be made: read the lines above (network? RDAX_MIRROR? disk space at $cache?)."
	in_namespace "$top/scripts/host/root-setup" "$root"
}
