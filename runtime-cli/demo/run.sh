#!/usr/bin/env bash
# Makes a bundle from busybox and runs it with hoist: `run.sh path/to/hoist`.
set -euo pipefail

hoist=$(realpath "${1:?usage: run.sh HOIST}")
say() { printf '\n==> %s\n' "$*"; }
fail() { printf 'hoist demo: %s\n' "$*" >&2; exit 1; }

((EUID == 0)) || fail "run this as root: a container without a user namespace needs it"
busybox=$(command -v busybox) || fail "busybox is missing: apt-get install busybox-static"

bundle=$(mktemp -d /tmp/hoist-demo.XXXXXX)
id=demo-$$
cleanup() {
    "$hoist" --root "$bundle/state" delete --force "$id" 2>/dev/null || true
    rm -rf --one-file-system "$bundle"
}
trap cleanup EXIT

say "a bundle: a root filesystem and a config.json"
mkdir -p "$bundle/rootfs/bin"
cp "$busybox" "$bundle/rootfs/bin/busybox"
for applet in $("$busybox" --list); do
    [[ $applet == busybox ]] || ln "$bundle/rootfs/bin/busybox" "$bundle/rootfs/bin/$applet" 2>/dev/null || true
done
"$hoist" spec --bundle "$bundle"
python3 - "$bundle/config.json" <<'PYTHON' 2>/dev/null || fail "python3 is missing: apt-get install python3"
import json, sys
path = sys.argv[1]
config = json.load(open(path))
config["hostname"] = "hoisted"
config["process"]["terminal"] = False
config["process"]["args"] = ["sh", "-c", """
echo "I am process $$ of $(hostname), user $(id -u)"
echo "my root holds: $(echo /*)"
echo "processes I can see:"; ps -o pid,comm | sed 's/^/    /'
echo "memory limit: $(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max 2>/dev/null || echo none here) bytes"
echo "open files:   $(ulimit -n)"
grep -E '^(CapEff|NoNewPrivs)' /proc/self/status
echo 'writing to my root:' ; touch /file || true
"""]
resources = config["linux"].setdefault("resources", {})
if sys.argv[2:] != ["nolimit"]:
    resources["memory"] = {"limit": 67108864}
json.dump(config, open(path, "w"), indent="\t")
PYTHON
if [[ ! -e /sys/fs/cgroup/memory ]] && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
    say "no memory controller on this host: the demo goes without a memory limit"
    sed -i '/"memory": {/,/}/d' "$bundle/config.json"
fi
echo "    $bundle: $(du -sh "$bundle/rootfs" | cut -f1) root, $(wc -c <"$bundle/config.json") bytes of config.json"

say "hoist plan $bundle: what will be done (the first steps)"
"$hoist" plan "$bundle" | grep -E "^ *[0-9]+ " | sed -n "1,12p" | cut -c1-100
echo "    … $("$hoist" plan "$bundle" | grep -cE "^ *[0-9]+ ") steps in all"

say "hoist run --timings $id"
"$hoist" --root "$bundle/state" run --timings --bundle "$bundle" "$id"

say "nothing is left: hoist list says"
"$hoist" --root "$bundle/state" list
