#!/bin/bash
# rootless-systemd.sh HOIST RUNC: units of a user's own systemd.
set -u
hoist=$1
dir=$(mktemp -d)
spec_options=--rootless
systemctl="systemctl --user"
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
clean() {
    for left in $("$hoist" --root "$dir/state" list -q 2>/dev/null); do
        "$hoist" --root "$dir/state" delete --force "$left"
    done
    rm -rf "$dir"
}
trap clean EXIT
cd "$dir" || exit 1
. "$(dirname "$(readlink -f "$0")")/systemd-common.sh"
manager=/user.slice/user-$(id -u).slice/user@$(id -u).service

config "" '.' 'id -u; cat /proc/self/cgroup'
same "run: root inside" "$(run run a </dev/null)" "0
0::/"
start_container a "" '.'
same "without cgroupsPath" "$(show hoist-a.scope ControlGroup)" "$manager/user.slice/hoist-a.scope"
run delete --force a
gone "delete --force" hoist-a.scope
start_container a "test-a.slice:pre:a" '.linux.resources += {memory: {limit: 67108864}, pids: {limit: 50}}
    | .annotations = {"org.systemd.property.TimeoutStopSec": "uint64 7"}'
cgroup=$manager/test.slice/test-a.slice/pre-a.scope
same "the unit is below the user's manager" "$(show pre-a.scope ControlGroup)" "$cgroup"
for pair in MemoryMax=67108864 TasksMax=50 TimeoutStopUSec=7s; do
    same "unit: $pair" "$($systemctl show pre-a.scope -p "${pair%=*}")" "$pair"
done
same "memory.max" "$(cat "/sys/fs/cgroup$cgroup/memory.max")" 67108864
same "exec" "$(run exec a cat /proc/self/cgroup </dev/null)" 0::/
run exec -d a sleep 1234 </dev/null
same "exec: the process is in the unit" "$(wc -l <"/sys/fs/cgroup$cgroup/cgroup.procs")" 2
same "exec needs no environment" "$(env -u XDG_RUNTIME_DIR "$hoist" --root "$dir/state" exec a cat /proc/self/cgroup </dev/null)" 0::/
run update --memory 50331648 a
same "update" "$(show pre-a.scope MemoryMax) $(cat "/sys/fs/cgroup$cgroup/memory.max")" "50331648 50331648"
run pause a
same "pause" "$(status a)" paused
run resume a
run kill a KILL
await "kill" a stopped
run delete a
check "delete" $?
gone "delete" pre-a.scope

DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus env -u XDG_RUNTIME_DIR \
    "$hoist" --root "$dir/state" --systemd-cgroup run -d a </dev/null >log 2>&1
check "run by the user's bus" $?
same "… and exec" "$(run exec a cat /proc/self/cgroup </dev/null)" 0::/
run delete --force a
gone "… and delete" pre-a.scope
nowhere() { env -u DBUS_SESSION_BUS_ADDRESS XDG_RUNTIME_DIR=/nowhere "$hoist" --root "$dir/state" --systemd-cgroup run a; }
fails "no user manager" "enable-linger" nowhere
system() { env -u XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket "$hoist" --root "$dir/state" --systemd-cgroup run a; }
fails "the system's manager says no" "/run/dbus/system_bus_socket" system
exit $failed
