#!/bin/bash
# systemd.sh HOIST RUNC: cgroups that systemd makes, as units of the system's manager.
set -u
hoist=$1
dir=$(mktemp -d)
clean() {
    for left in $("$hoist" --root "$dir/state" list -q 2>/dev/null); do
        "$hoist" --root "$dir/state" delete --force "$left"
    done
    [ ! -e /run/systemd/private.off ] || mv /run/systemd/private.off /run/systemd/private
    rm -rf "$dir"
}
trap clean EXIT
cd "$dir" || exit 1
. "$(dirname "$(readlink -f "$0")")/systemd-common.sh"
cgroup=/sys/fs/cgroup/test.slice/test-a.slice
# A device that only its rules keep from the container.
touch rootfs/kmsg
jq '.mounts += [{destination: "/kmsg", type: "bind", source: "/dev/kmsg", options: ["bind"]}]' spec.json >s && mv s spec.json

# Names.
config "" '.' 'cat /proc/self/cgroup; cat /proc/1/cgroup'
same "run: the container is in its own namespace" "$(run run a </dev/null)" "0::/
0::/"
start_container a "test-a.slice:pre:a" '.'
same "the unit is in the slice" "$(show pre-a.scope ControlGroup)" /test.slice/test-a.slice/pre-a.scope
same "the process is in the unit" "$(cat $cgroup/pre-a.scope/cgroup.procs)" "$(pid a)"
same "the unit is the container's own" "$(show pre-a.scope Delegate)" yes
same "exec" "$(run exec a cat /proc/self/cgroup </dev/null)" 0::/
run --systemd-cgroup=false exec -d a sleep 1234 </dev/null
same "later calls need no flag" "$(wc -l <$cgroup/pre-a.scope/cgroup.procs)" 2
fails "a second container in the same unit" "not empty" run create b
same "… and the first one lives on" "$(status a)" running
run kill a KILL
await "kill" a stopped
run delete a
check "delete" $?
gone "delete" pre-a.scope
config "test-a.slice:pre:a" '.' 'true'
mkdir -p $cgroup/pre-a.scope
echo 1 >$cgroup/pre-a.scope/cgroup.freeze
fails "a cgroup that is there and frozen" "unexpectedly frozen" timeout 20 "$hoist" --root "$dir/state" --systemd-cgroup run a
rmdir $cgroup/pre-a.scope
check "… and it is left as it was" $?
systemctl start test-a.slice
echo 1 >$cgroup/cgroup.freeze
fails "a slice that is frozen" "unexpectedly frozen" timeout 20 "$hoist" --root "$dir/state" --systemd-cgroup run a
gone "… and nothing is left" pre-a.scope
echo 0 >$cgroup/cgroup.freeze
start_container a "" '.'
same "without cgroupsPath" "$(show hoist-a.scope ControlGroup)" /system.slice/hoist-a.scope
run delete --force a
check "delete --force" $?
gone "delete --force" hoist-a.scope
for path in /a/b a.slice:b a:b:c a--b.slice:b:c a.slice:b:c/d a.slice:b:c.slice; do
    config "$path" '.' 'true'
    fails "cgroupsPath $path" /linux/cgroupsPath run create a
done

# Limits and properties.
start_container a "test-a.slice:pre:a" '.linux.resources += {memory: {limit: 67108864, reservation: 33554432},
    cpu: {shares: 512, quota: 50001, period: 100000, cpus: "0"}, pids: {limit: 50},
    unified: {"memory.high": "50331648"}} | .annotations = {
    "org.systemd.property.TimeoutStopSec": "uint64 7", "org.systemd.property.CollectMode": "'"'inactive-or-failed'"'",
    "org.systemd.property.MemoryMax": "uint64 4096", "org.systemd.property.Wants": "@as []"}'
for pair in MemoryMax=67108864 MemoryLow=33554432 MemoryHigh=50331648 CPUWeight=59 \
    CPUQuotaPerSecUSec=510ms CPUQuotaPeriodUSec=100ms AllowedCPUs=0 TasksMax=50 \
    TimeoutStopUSec=7s CollectMode=inactive-or-failed DevicePolicy=strict; do
    same "unit: $pair" "$(systemctl show pre-a.scope -p "${pair%=*}")" "$pair"
done
same "memory.max" "$(cat $cgroup/pre-a.scope/memory.max)" 67108864
same "memory.high" "$(cat $cgroup/pre-a.scope/memory.high)" 50331648
same "cpu.max is what systemd keeps" "$(cat $cgroup/pre-a.scope/cpu.max)" "51000 100000"
run exec a sh -c 'echo >/dev/null' </dev/null
check "devices: what is allowed" $?
fails "devices: what is not" "not permitted" run exec a sh -c ': >/kmsg'
systemctl daemon-reload
for pair in memory.max=67108864 memory.high=50331648 pids.max=50 cpuset.cpus=0; do
    same "after a daemon-reload: $pair" "$(cat "$cgroup/pre-a.scope/${pair%=*}")" "${pair#*=}"
done
fails "devices after a daemon-reload" "not permitted" run exec a sh -c ': >/kmsg'

# Updates.
run update --memory 50331648 --pids-limit 60 --cpu-quota 20000 a
check "update" $?
for pair in MemoryMax=50331648 TasksMax=60 CPUQuotaPerSecUSec=200ms; do
    same "update: $pair" "$(systemctl show pre-a.scope -p "${pair%=*}")" "$pair"
done
same "update: memory.max" "$(cat $cgroup/pre-a.scope/memory.max)" 50331648
same "update: pids.max" "$(cat $cgroup/pre-a.scope/pids.max)" 60
echo '{"memory":{"limit":41943040},"unified":{"memory.nothing":"1"}}' >resources.json
fails "update: a file that is not there" memory.nothing run update --resources resources.json a
same "… the unit has what it had" "$(show pre-a.scope MemoryMax)" 50331648
same "… and the file" "$(cat $cgroup/pre-a.scope/memory.max)" 50331648
fails "update: a CPU that is not there" cpus run update --cpuset-cpus 500 a
same "… the unit has what it had" "$(show pre-a.scope AllowedCPUs)" 0
same "… and the file" "$(cat $cgroup/pre-a.scope/cpuset.cpus)" 0
echo '{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"rw"}]}' >resources.json
run update --resources resources.json a
check "update: devices" $?
same "… systemd knows of it" "$(show pre-a.scope DeviceAllow | grep -c char/1:11)" 1
run exec a sh -c ': >/kmsg'
check "… the container may" $?
echo '{"devices":[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"rw"}]}' >resources.json
run update --resources resources.json a
same "… what systemd can't say hoist alone enforces" "$(show pre-a.scope DevicePolicy)" auto
fails "… it does" "not permitted" run exec a sh -c ': >/kmsg'
run pause a
same "pause" "$(status a)" paused
run resume a
same "resume" "$(status a)" running
run delete --force a
gone "delete after updates" pre-a.scope

# What can't be had.
config "test-a.slice:pre:a" '.annotations = {"org.systemd.property.Nonsense": "true"}' 'true'
fails "a property that doesn't exist" /annotations/org.systemd.property.Nonsense run run a
gone "… and" pre-a.scope
for pair in 'X=1' 'TimeoutStopSec=true' 'After=[' 'MemoryMax=lots' 'PIDs=[uint32 1]'; do
    config "test-a.slice:pre:a" '.annotations = {($name): $value}' 'true' \
        --arg name "org.systemd.property.${pair%%=*}" --arg value "${pair#*=}"
    fails "annotation $pair" "/annotations/org.systemd.property.${pair%%=*}" run run a
done
config "test-a.slice:pre:a" '.linux.resources.unified = {"memory.nothing": "1"}' 'true'
fails "a limit that doesn't exist" memory.nothing run run a
gone "… and" pre-a.scope
config "test-a.slice:pre:a" '.linux.resources.cpu = {cpus: "500"}' 'true'
fails "a CPU that doesn't exist" /linux/resources/cpu/cpus run run a
gone "… and" pre-a.scope
config "test-a.slice:pre:a" '.' 'true'
config_command /nowhere
fails "a program that doesn't exist" nowhere run run a
gone "… and" pre-a.scope

# Without a cgroup namespace the unit's cgroup is bound, which is made when the user namespace is there.
config "test-a.slice:pre:a" '.linux.namespaces |= map(select(.type != "cgroup")) + [{type: "user"}]
    | .linux.uidMappings = [{hostID: 100000, containerID: 0, size: 65536}] | .linux.gidMappings = .linux.uidMappings' \
    'read -r first </sys/fs/cgroup/cgroup.procs; echo $first'
chown 100000 "$dir" rootfs
chmod a+x "$dir"
same "a user namespace and no cgroup namespace" "$(run run a </dev/null)" 1
chown 0 "$dir" rootfs

# A unit that somebody else has.
systemd-run --quiet --scope --unit=pre-a.scope --slice=other.slice sleep 1000 &
for _ in $(seq 100); do [ "$(show pre-a.scope ActiveState)" = active ] && break; sleep 0.1; done
config "test-a.slice:pre:a" '.' 'true'
fails "a unit that is somebody else's" "is active" run run a
same "… and lives on" "$(show pre-a.scope ActiveState)" active
systemctl stop pre-a.scope
wait
# One that has failed, and that systemd keeps.
start_container a "test-a.slice:pre:a" '.linux.resources.memory = {limit: 16777216}'
run exec a sh -c 'tail /dev/zero' </dev/null >/dev/null
run delete --force a
gone "a unit that was OOM-killed" pre-a.scope
start_container a "test-a.slice:pre:a" '.'
same "… and can be used again" "$(show pre-a.scope ActiveState)" active
run delete --force a

# Bad days.
config "test-a.slice:pre:a" '.' 'sleep 1000'
left=
for ms in 1 3 5 8 12 16 20 25 30 40 50 70 100 150; do
    (timeout --signal=KILL "0.$(printf %03d $ms)" "$hoist" --root "$dir/state" --systemd-cgroup create a </dev/null >/dev/null 2>&1)
    run delete --force a >/dev/null
    if [ "$(run list -q)" != "" ] || ! is_gone pre-a.scope; then
        left="$left $ms"
    fi
done 2>/dev/null
same "hoist killed after so many milliseconds leaves nothing" "$left" ""
start_container a "test-a.slice:pre:a" '.'
mv /run/systemd/private /run/systemd/private.off
run delete --force a
check "delete by the bus" $?
mv /run/systemd/private.off /run/systemd/private
gone "delete by the bus" pre-a.scope
mv /run/systemd/private /run/systemd/private.off
start_container a "test-a.slice:pre:a" '.'
mount --bind "$dir" /run/dbus
run exec a true </dev/null
check "exec without any systemd" $?
run delete --force a
check "delete without any systemd" $?
config "test-a.slice:pre:a" '.' 'true'
fails "create without any systemd" "/run/dbus/system_bus_socket" run run a
same "… nothing is touched" "$(ls state)" ""
umount /run/dbus
mv /run/systemd/private.off /run/systemd/private
gone "delete without any systemd" pre-a.scope

# The name is free again when a container has ended. Who has it then is left alone.
start_container a "test-a.slice:pre:a" '.'
run kill a KILL >/dev/null
await "the container has ended" a stopped
systemd-run --quiet --scope --unit pre-a.scope --slice test-a.slice sleep 1000 &
for _ in $(seq 100); do [ "$(show pre-a.scope ActiveState)" = active ] && break; sleep 0.1; done
run kill --all a KILL >/dev/null
run delete --force a
check "delete while another unit has the name" $?
same "… which is left alone" "$(show pre-a.scope ActiveState)" active
same "… with its process" "$(wc -l <"/sys/fs/cgroup$(show pre-a.scope ControlGroup)/cgroup.procs")" 1
systemctl stop pre-a.scope
wait $!

# Many at once.
config "" '.' 'sleep 1000'
for n in $(seq 10); do run create "m$n" </dev/null >/dev/null & done
wait
same "ten at once" "$(run list -q | wc -l)" 10
for n in $(seq 10); do run delete --force "m$n" & done
wait
same "ten deleted at once" "$(systemctl list-units --all --plain --no-legend 'hoist-m*.scope')$(run list -q)" ""
# Slices are systemd's, and stay.
systemctl stop test.slice other.slice
exit $failed
