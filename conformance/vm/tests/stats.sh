#!/bin/bash
# stats.sh HOIST RUNC: statistics and OOM events on a machine with all of cgroup2's controllers (run it
# as root in the VM). A busy container under each runtime; the keys of `events --stats` are compared, the
# figures have to be plausible, and OOM events as many as the kernel has counted.
# Prints TAP's lines, exits 1 if one is "not ok". Needs jq, busybox.
set -u
HOIST=$1 RUNC=$2
WORK=$(mktemp -d -p /var/tmp) FAILED=0 NUMBER=0 NAME=hoist-vm-stats
LIMIT=33554432

ok() { # WHAT CONDITION…
  local what=$1; shift
  NUMBER=$((NUMBER + 1))
  if "$@"; then echo "ok $NUMBER $what"; else echo "not ok $NUMBER $what: $*"; FAILED=1; fi
}
runtime() { local bin=$1; shift; "$bin" --root "$WORK/state-${bin##*/}" "$@"; }
cleanup() {
  for bin in "$HOIST" "$RUNC"; do runtime "$bin" delete -f $NAME 2>/dev/null; done
  rm -rf --one-file-system "$WORK"
}
trap cleanup EXIT
until_true() { # SECONDS COMMAND…: tries again and again
  local end=$((SECONDS + $1)); shift
  until "$@" 2>/dev/null; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}

bundle() { # DIR SCRIPT
  mkdir -p "$1/rootfs"/{bin,dev,proc,sys,tmp}
  cp "$(command -v busybox)" "$1/rootfs/bin/busybox"
  for applet in sh dd sleep sync rm; do ln -sf busybox "$1/rootfs/bin/$applet"; done
  (cd "$1" && "$RUNC" spec)
  jq --arg script "$2" --arg path "/$NAME" --argjson limit $LIMIT '
    .process.terminal = false | .root.readonly = false | .process.args = ["/bin/sh", "-c", $script]
    | .linux.cgroupsPath = $path
    | .linux.resources = {memory: {limit: $limit, swap: $limit}, pids: {limit: 50},
        cpu: {quota: 50000, period: 100000}}' "$1/config.json" > "$1/new" && mv "$1/new" "$1/config.json"
}
CGROUP=/sys/fs/cgroup/$NAME
key() { awk -v key="$2" '$1 == key { print $2 }' "$CGROUP/$1"; }

throttled() { [ "$(key cpu.stat nr_throttled)" -gt 0 ]; }
start() { # RUNTIME BUNDLE
  runtime "$1" run -d -b "$WORK/$2" $NAME </dev/null >/dev/null 2>"$WORK/log" && return
  echo "not ok $((NUMBER + 1)) $1 can't run a container: $(cat "$WORK/log")"
  exit 1
}
status_is() { [ "$(runtime "$HOIST" state $NAME 2>/dev/null | jq -r .status)" = "$1" ]; }

# Keys; the index of a list makes no difference.
keys() { jq -r 'paths | map(if type == "number" then "[]" else . end) | join(".")' "$1" | sort -u; }
get() { jq -r "$2" "$WORK/$1.json"; }
between() { [ "$1" -ge "$2" ] && [ "$1" -le "$3" ]; }

bundle "$WORK/busy" 'dd if=/dev/zero of=/tmp/x bs=64k count=64; sync; rm /tmp/x
  sleep 1000 & : > /tmp/ready; while :; do :; done'
for bin in "$HOIST" "$RUNC"; do
  name=${bin##*/} && [ "$bin" = "$HOIST" ] && name=hoist
  rm -f "$WORK/busy/rootfs/tmp/ready"
  start "$bin" busy
  ok "$name: the container is busy" until_true 60 test -e "$WORK/busy/rootfs/tmp/ready"
  ok "$name: it is throttled" until_true 60 throttled
  sleep 1
  runtime "$bin" events --stats $NAME > "$WORK/$name.json"
  usage=$(key cpu.stat usage_usec)
  ok "$name: cpu" between "$(get $name .data.cpu.usage.total)" 1000000 "$((usage * 1000))"
  ok "$name: throttled" between "$(get $name .data.cpu.throttling.throttledPeriods)" 1 "$(key cpu.stat nr_throttled)"
  ok "$name: memory" between "$(get $name .data.memory.usage.usage)" 4096 $LIMIT
  ok "$name: memory limit" test "$(get $name .data.memory.usage.limit)" = $LIMIT
  ok "$name: memory and swap limit" test "$(get $name .data.memory.swap.limit)" = $LIMIT
  ok "$name: memory peak" between "$(get $name .data.memory.usage.max)" 4096 $LIMIT
  ok "$name: pids" test "$(get $name .data.pids.current)/$(get $name .data.pids.limit)" = 2/50
  ok "$name: block device" between "$(get $name '[.data.blkio.ioServiceBytesRecursive[]? | select(.op == "Write") | .value] | add')" \
    4194304 16777216
  runtime "$bin" delete -f $NAME
  keys "$WORK/$name.json" > "$WORK/$name.keys"
done
runc=${RUNC##*/}
version=$("$RUNC" --version | awk 'NR == 1 { print $3 }')
if [ "$(printf '%s\n' 1.3 "$version" | sort -V | head -1)" = 1.3 ]; then
  # The cache is left out when it is 0.
  ok "hoist has all keys of runc" test -z "$(comm -13 "$WORK/hoist.keys" "$WORK/$runc.keys" | grep -vx data.memory.cache | tee "$WORK/missing")"
  sed 's/^/# missing: /' "$WORK/missing"
  # runc tells of networks only what it has made itself, which it hasn't for years.
  ok "hoist has no others" test -z "$(comm -23 "$WORK/hoist.keys" "$WORK/$runc.keys" | grep -v '^data\.network_interfaces\.' | tee "$WORK/others")"
  sed 's/^/# other: /' "$WORK/others"
  ok "the members are in runc's order" test "$(jq -c '[.data | keys_unsorted, (.[] | objects | keys_unsorted - ["psi", "max"])]' "$WORK/hoist.json")" = \
    "$(jq -c '[.data | keys_unsorted, (.[] | objects | keys_unsorted - ["psi", "max"])]' "$WORK/$runc.json")"
else
  echo "SKIP the keys beside runc's: they are those of 1.3 and newer, and runc is $version here"
fi
pressure() { jq -e '.data.cpu.psi.some | has("avg10") and .total > 0' "$WORK/hoist.json" >/dev/null; }
ok "hoist: pressure" pressure

# OOM events: each consumer prints as many as the kernel has counted, and ends with the container.
bundle "$WORK/oom" 'sleep 1000'
start "$HOIST" oom
consumers=()
for number in 1 2; do
  runtime "$HOIST" events --interval 200ms $NAME > "$WORK/events$number" & consumers+=($!)
done
for number in 1 2; do ok "consumer $number watches" until_true 60 grep -q '"type":"stats"' "$WORK/events$number"; done
for number in 1 2 3; do
  runtime "$HOIST" exec $NAME dd if=/dev/zero of=/dev/null bs=128M count=1 2>/dev/null
done
kills=$(key memory.events oom_kill)
ok "the kernel has killed" test "$kills" -ge 3
runtime "$HOIST" kill $NAME KILL
for number in 1 2; do
  ok "consumer $number has ended with the container" wait "${consumers[number - 1]}"
  ok "consumer $number has seen each kill" test "$(grep -cx '{"type":"oom","id":"'$NAME'"}' "$WORK/events$number")" = "$kills"
done
until_true 30 status_is stopped
runtime "$HOIST" delete $NAME

# Its own first process is the victim: the last event is not lost.
bundle "$WORK/hog" 'while [ ! -e /tmp/go ]; do sleep 0.1; done; exec dd if=/dev/zero of=/dev/null bs=128M count=1'
hog() { # hog [OPTION…]
  rm -f "$WORK/hog/rootfs/tmp/go"
  (runtime "$HOIST" run "$@" -b "$WORK/hog" $NAME </dev/null; echo $? > "$WORK/code") >/dev/null 2>&1 & running=$!
  # A container that is still being created has a state, but no events.
  until_true 60 status_is running
  runtime "$HOIST" events --interval 200ms $NAME > "$WORK/events" & consumer=$!
  until_true 60 grep -q '"type":"stats"' "$WORK/events"
  : > "$WORK/hog/rootfs/tmp/go"
}
hog --detach
ok "the consumer has ended" wait $consumer
ok "its end was seen" grep -qx '{"type":"oom","id":"'$NAME'"}' "$WORK/events"
runtime "$HOIST" delete $NAME
wait $running
# `run` deletes at once, and the kernel's count is gone with the cgroup: whether a consumer has
# seen the kill is a matter of microseconds, but it ends.
hog
wait $running
ok "the hog was killed" test "$(cat "$WORK/code")" = 137
ok "the consumer has ended with the container" wait $consumer
ok "no cgroup is left" test ! -e "$CGROUP"
exit $FAILED
