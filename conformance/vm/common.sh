# Sourced by the scripts of this directory.
# shellcheck shell=bash
vm=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
repository=$(readlink -f "$vm/../..")
cache=${HOIST_VM_CACHE:-$repository/target/vm}
profile=${HOIST_VM_PROFILE:-base}
image=$cache/$profile
tools=$cache/tools

# The machine's release. What it runs doesn't depend on the host's.
suite=trixie

say() { printf '==> %s\n' "$*"; }
fail() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# The status of a script that says: there can be no virtual machine here.
readonly UNAVAILABLE=77
unavailable() { printf '%s: no virtual machine here: %s\n' "$(basename "$0")" "$*" >&2; exit $UNAVAILABLE; }

# The Debian mirror is the one that this machine gets its own packages from.
mirror() {
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ -n "${HOIST_VM_MIRROR:-}" ] && echo "$HOIST_VM_MIRROR" && return
    apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
        awk -v release="$codename" '$1 == release && !found++ {print $2}'
}

# Programs that were unpacked beside the system, with their libraries.
unpacked() {
    local arch
    arch=$(uname -m)-linux-gnu
    PATH=$tools/usr/sbin:$tools/usr/bin:$PATH \
        LD_LIBRARY_PATH=$tools/usr/lib/$arch:$tools/lib/$arch "$@"
}
