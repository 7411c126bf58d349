#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Data outlive a reboot: `persist.sh write SEED` in one boot, `persist.sh verify
# SEED` in the next. Through pages of all sizes, read through other sizes than
# written. Not run by the kselftest runner, which knows one boot only.

# shellcheck source=lib/lib.sh
. "$(dirname "$0")/lib.sh"

[ $# = 2 ] || skip_all "usage: persist.sh write|verify SEED"
load || exit 1
[ "$(bind "$NS")" = ok ] || exit 1
pattern "$1" "$2"
