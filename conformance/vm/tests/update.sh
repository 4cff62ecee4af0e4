#!/bin/bash
# update.sh HOIST RUNC: update, pause and resume where all controllers of cgroup2 are: every limit is
# changed and read back from the kernel, and compared with what runc makes of the same command.
set -u
hoist=$1 runc=${2:-}
dir=$(mktemp -d)
id=update-$$
top=/sys/fs/cgroup/$id
clean() {
    "$hoist" --root "$dir/state" delete --force "$id" 2>/dev/null
    [ -z "$runc" ] || "$runc" --root "$dir/runc" delete --force "$id-runc" 2>/dev/null
    rmdir "$top-runc" "$top" 2>/dev/null
    rm -rf "$dir"
}
trap clean EXIT
cd "$dir" || exit 1

number=0 failed=0
check() { # check NAME STATUS-OF-THE-TEST
    number=$((number + 1))
    if [ "$2" = 0 ]; then echo "ok $number $1"; else echo "not ok $number $1"; failed=1; fi
}
same() { # same NAME GOT WANTED
    local status=0
    [ "$2" = "$3" ] || status=1
    check "$1" $status
    [ $status = 0 ] || printf '    got: %s\n    not: %s\n' "$2" "$3"
}
h() { "$hoist" --root "$dir/state" "$@" 2>&1; }
r() { "$runc" --root "$dir/runc" "$@" 2>&1; }
cg() { cat "$top/$1"; }

mkdir -p rootfs/{bin,proc,sys,dev,tmp}
cp /bin/busybox rootfs/bin/
for applet in sh sleep true cat; do ln -s busybox "rootfs/bin/$applet"; done
"$hoist" spec
config() { jq "$@" config.json >changed && mv changed config.json; }
config '.process.terminal = false | .process.args = ["sh", "-c", "sleep 1000 & sleep 1000 & wait"]
    | .linux.cgroupsPath = $path' --arg path "/$id"
config '.linux.resources.memory = {"limit": 67108864, "swap": 134217728}
    | .linux.resources.cpu = {"shares": 512, "quota": 50000, "period": 100000}
    | .linux.resources.pids.limit = 100'
h run --detach "$id" </dev/null >log
check "run" $?
# runc gets each command too.
if [ -n "$runc" ]; then
    cp config.json config.hoist
    config '.linux.cgroupsPath += "-runc"'
    r run --detach "$id-runc" </dev/null >>log || { cat log; runc=; }
    cp config.hoist config.json
fi

files='cpu.max cpu.max.burst cpu.weight cpu.idle cpuset.cpus cpuset.mems io.weight memory.high
    memory.low memory.max memory.swap.max pids.max hugetlb.2MB.max'
all() { # all DIRECTORY
    local file
    for file in $files; do [ ! -e "$1/$file" ] || echo "$file $(cat "$1/$file")"; done
}

# update NAME FILE EXPECTED OPTION…
update() {
    local name=$1 file=$2 expected=$3
    shift 3
    h update "$id" "$@" >log || cat log
    same "update $name" "$(cg "$file")" "$expected"
    [ -n "$runc" ] || return
    r update "$id-runc" "$@" >>log || return
    # Debian's runc 1.1 has the old formula of weights and no --cpu-burst. What is not compared below
    # has changed in later versions, or in runc an update without a quota forgets that there is one.
    if [ "$file" != cpu.weight ] && [ "${compare:-}" != no ]; then
        same "update $name: as runc" "$(cg "$file")" "$(cat "$top-runc/$file")"
    fi
}
update --memory memory.max 104857600 --memory 100M
compare=no update "--memory, the sum with swap stays" memory.swap.max 29360128 --memory 100M
update --memory-swap memory.swap.max 52428800 --memory-swap 150M
update --memory-reservation memory.low 33554432 --memory-reservation 32M
update "--memory-swap -1" memory.swap.max max --memory-swap -1
update "--memory -1" memory.max max --memory -1
compare=no update --cpu-period cpu.max "50000 200000" --cpu-period 200000
update --cpu-quota cpu.max "30000 200000" --cpu-quota 30000
update "--cpu-quota -1" cpu.max "max 200000" --cpu-quota -1
update "quota and period" cpu.max "20000 40000" --cpu-quota 20000 --cpu-period 40000
update --cpu-burst cpu.max.burst 10000 --cpu-burst 10000
update "less quota, less burst" cpu.max.burst 1000 --cpu-quota 5000 --cpu-burst 1000
update --cpu-share cpu.weight 100 --cpu-share 1024
update --cpuset-cpus cpuset.cpus 0 --cpuset-cpus 0
update --cpuset-mems cpuset.mems 0 --cpuset-mems 0
update --pids-limit pids.max 42 --pids-limit 42
compare=no update "--pids-limit 0" pids.max 1 --pids-limit 0
update "--pids-limit -1" pids.max max --pids-limit -1
# Where the scheduler bfq is, the weight is its own.
if [ -e "$top/io.bfq.weight" ]; then
    update --blkio-weight io.bfq.weight "default 500" --blkio-weight 500
else
    update --blkio-weight io.weight "default 4950" --blkio-weight 500
fi
update "--cpu-share again" cpu.weight 59 --cpu-share 512
update "--cpu-idle 1" cpu.idle 1 --cpu-idle 1
update "--cpu-idle 0" cpu.idle 0 --cpu-idle 0
same "and the shares are there again" "$(cg cpu.weight)" 59
echo '{"unified": {"memory.high": "90000000", "cpu.max": "max 100000"},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}' >resources
update "--resources" memory.high 89997312 --resources resources
same "two of unified" "$(cg cpu.max)" "max 100000"
[ ! -e "$top/hugetlb.2MB.max" ] || same "huge pages" "$(cg hugetlb.2MB.max)" 4194304
disk=$(lsblk -dno MAJ:MIN | head -1 | tr -d ' ')
echo "{\"blockIO\": {\"throttleReadBpsDevice\": [{\"major\": ${disk%:*}, \"minor\": ${disk#*:}, \"rate\": 1048576}]}}" >resources
compare=no update "throttling" io.max "$disk rbps=1048576 wbps=max riops=max wiops=max" -r resources

# One refused value, and everything is as it was.
h update "$id" --memory 100M --memory-swap 100M --cpu-quota 50000 --cpu-period 100000 >/dev/null
before=$(all "$top"; cg io.max)
refused() { # refused NAME WORDS OPTION…
    local name=$1 words=$2 status=0
    shift 2
    h update "$id" "$@" >log && status=1
    grep -qF -- "$words" log || status=1
    check "refused: $name" $status
    [ $status = 0 ] || cat log
    same "refused: $name: all is as it was" "$(all "$top"; cg io.max)" "$before"
}
refused "a CPU that isn't there" cpuset.cpus --cpuset-cpus 4000 --memory 50M --cpu-share 99 \
    --cpu-quota 9000 --pids-limit 9 --blkio-weight 77
refused "an idle cgroup with a CPU that isn't there" cpuset.cpus --cpu-idle 1 --cpuset-cpus 4000
refused "more burst than quota" "/linux/resources/cpu/burst" --cpu-burst 90000 --pids-limit 9 --memory 50M
echo "{\"memory\": {\"limit\": 4096, \"checkBeforeUpdate\": true}, \"pids\": {\"limit\": 9}}" >resources
refused "less memory than is in use" "rejecting memory limit 4096 <= usage" -r resources
echo "{\"memory\": {\"limit\": 4096, \"swap\": 8192, \"checkBeforeUpdate\": true}}" >resources
refused "less memory and swap" "rejecting memory+swap limit 8192 <= usage" -r resources
echo "{\"blockIO\": {\"throttleReadBpsDevice\": [{\"major\": ${disk%:*}, \"minor\": ${disk#*:}, \"rate\": 5}]},
    \"unified\": {\"memory.high\": \"5000000\", \"memory.nonsense\": \"1\"}}" >resources
refused "a file that isn't there" /linux/resources/unified/memory.nonsense -r resources
refused "less swap than memory" "memory+swap limit should be >= memory limit" \
    --memory 50M --memory-swap 40M
same "it still runs" "$(h state "$id" | jq -r .status)" running

# Freezing, with cgroups below.
mkdir "$top/below" "$top/below/deeper"
tail -1 "$top/cgroup.procs" >"$top/below/deeper/cgroup.procs" 2>log
check "a cgroup below" $?
h pause "$id"
check "pause" $?
same "paused" "$(h state "$id" | jq -r .status)" paused
same "all of it" "$(grep -h frozen "$top/cgroup.events" "$top/below/deeper/cgroup.events" | tr '\n' ' ')" \
    "frozen 1 frozen 1 "
h exec "$id" true >log && false || grep -qF "cannot exec in a paused container" log
check "exec is refused" $?
h update "$id" --pids-limit 77 >log
same "update of a paused one" "$(cg pids.max) $(h state "$id" | jq -r .status)" "77 paused"
(sleep 2; "$hoist" --root "$dir/state" resume "$id") &
same "exec --ignore-paused waits" "$(h exec --ignore-paused "$id" sh -c 'echo done' </dev/null)" "done"
wait
same "resumed" "$(h state "$id" | jq -r .status)" running
h pause "$id"
h kill "$id" KILL
for _ in $(seq 100); do
    [ "$(h state "$id" | jq -r .status)" = stopped ] && break
    sleep 0.1
done
same "a paused one is killed" "$(h state "$id" | jq -r .status)" stopped
h delete "$id"
check "delete" $?
[ ! -e "$top" ]
check "no cgroup is left" $?
exit $failed
