# Sourced by the scripts of this directory.
# shellcheck shell=bash
vm=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$vm/../common.sh"
subject="virtual machine"
cache=$(readlink -m "${HOIST_VM_CACHE:-$cache/vm}")
profile=${HOIST_VM_PROFILE:-base}
image=$cache/$profile
tools=$cache/tools

# Programs that were unpacked beside the system, with their libraries.
unpacked() {
    local arch
    arch=$(uname -m)-linux-gnu
    PATH=$tools/usr/sbin:$tools/usr/bin:$PATH \
        LD_LIBRARY_PATH=$tools/usr/lib/$arch:$tools/lib/$arch "$@"
}
