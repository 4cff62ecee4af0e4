#!/bin/bash
# rootless.sh HOIST RUNC: containers of a user who is nobody special, in the cgroup that systemd has
# delegated to them.
set -u
hoist=$1
dir=$(mktemp -d)
id=rootless-$$
clean() {
    "$hoist" --root "$dir/state" delete --force "$id" 2>/dev/null
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
    [ "$2" = "$3" ]
    check "$1" $? || true
    [ "$2" = "$3" ] || echo "    got: $2"
}
config() { jq "$@" config.json >changed && mv changed config.json; }
run() { "$hoist" --root "$dir/state" "$@" 2>&1; }

mkdir -p rootfs/{bin,proc,sys,dev,tmp}
cp /bin/busybox rootfs/bin/
for applet in sh id sleep cat grep; do ln -s busybox "rootfs/bin/$applet"; done
"$hoist" spec --rootless
check "spec --rootless" $?

config '.process.terminal = false | .process.args = ["sh", "-c", "id -u; cat /proc/self/uid_map"]'
same "run: root inside, the user outside" "$(run run "$id" </dev/null | tr -s ' \n' ' ')" "0 0 $(id -u) 1 "

config '.process.args = ["sleep", "1000"]'
run create "$id" </dev/null >/dev/null
check "create" $?
same "state after create" "$(run state "$id" | jq -r .status)" created
run start "$id"
check "start" $?
same "exec" "$(run exec "$id" id -u </dev/null)" 0
run kill "$id" KILL
check "kill" $?
for _ in $(seq 100); do
    [ "$(run state "$id" | jq -r .status)" = stopped ] && break
    sleep 0.1
done
same "state after kill" "$(run state "$id" | jq -r .status)" stopped
run delete "$id"
check "delete" $?

# More ids than the own one, by newuidmap: then the process belongs to somebody else.
subordinate() { awk -F: -v name="$(id -un)" '$1 == name {print $2; exit}' "$1"; }
config --argjson uid "$(subordinate /etc/subuid)" --argjson gid "$(subordinate /etc/subgid)" '
    .linux.uidMappings += [{containerID: 1, hostID: $uid, size: 1000}]
    | .linux.gidMappings += [{containerID: 1, hostID: $gid, size: 1000}]
    | .process.user = {uid: 5, gid: 7} | .process.args = ["id"]'
same "run as another user" "$(run run "$id" </dev/null)" "uid=5 gid=7"
config '.process.args = ["sleep", "1000"]'
run create "$id" </dev/null >/dev/null
# Its init can be traced by what runs inside (decision 0009).
said=$(run exec --user 8:9 "$id" id </dev/null)
grep -q "cannot exec in a container that was created without privileges and not started" <<<"$said"
check "… exec before start is refused" $?
run start "$id"
same "… and after it" "$(run exec --user 8:9 "$id" id </dev/null)" "uid=8 gid=9"
same "… as the same user" "$(run exec "$id" id </dev/null)" "uid=5 gid=7"
run delete --force "$id"
config '.linux.uidMappings |= map(if .containerID == 0 then .hostID = $uid + 2000 else . end)
    | .process.user = {uid: 0, gid: 0} | .process.args = ["id", "-u"]' \
    --argjson uid "$(subordinate /etc/subuid)"
chmod 755 "$dir"
same "run: the caller is not even root inside" "$(run run "$id" </dev/null)" 0
same "nothing is left" "$(run list -q)$(ls -A state 2>/dev/null)" ""
exit $failed
