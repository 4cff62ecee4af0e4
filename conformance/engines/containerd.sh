# Sourced by the scripts that drive containerd itself, after lib.sh: tests that collect what is wrong, events, and
# what is left. ENGINE is another containerd than sid's: containerd-1.6, which the root has, or a directory that has
# containerd, ctr and shims (BIND it).
# shellcheck shell=bash
ENGINE=${ENGINE:-}
case $ENGINE in
    '') ;;
    /*) PATH=$ENGINE:$PATH ;;
    *) PATH=/opt/$ENGINE/usr/bin:$PATH ;;
esac
# shellcheck disable=SC2154 # lib.sh has it
[[ $ENGINE != */* || $RUNTIME != runc ]] || shim=io.containerd.runc.v2

# No random name: `xargs -I N` would find its N in some.
work=/var/lib/containerd/conformance
mkdir -p "$work"
export CONTAINERD_NAMESPACE=conformance
# Newer ones say at each call that cgroup v1 is old.
export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1
busybox=docker.io/library/busybox:latest

# --- tests ---------------------------------------------------------------------------------------------

# In a test: how often something was wrong, why it can't be run, what is worth telling.
problems=0 reason='' notes=()
problem() { echo "$*"; problems=$((problems + 1)); }
note() { notes+=("$*"); }
cannot() { reason=$*; }
is() { [[ $2 == "$3" ]] || problem "$1: '$2', not '$3'"; }
# shellcheck disable=SC2053 # the third is a pattern
like() { [[ $2 == $3 ]] || problem "$1: '$2', not like '$3'"; }
between() { [[ $2 =~ ^[0-9]+$ ]] && (($2 >= $3 && $2 <= $4)) || problem "$1: '$2', not from $3 to $4"; }
yes() { local what=$1; shift; "$@" || problem "$what"; }

test_run() { # NAME: runs the function test_NAME
    problems=0 reason='' notes=()
    "test_$1" >"$logs/test" 2>&1 </dev/null
    if [[ -n $reason ]]; then skip "$1" "$reason"
    elif ((problems)); then
        number=$((number + 1)) failed=$((failed + 1))
        echo "not ok $number $1"
        sed 's/^/# /' "$logs/test"
    else
        number=$((number + 1))
        echo "ok $number $1"
    fi
    ((!${#notes[@]})) || printf '# %s\n' "${notes[@]}"
}

tests_run() { # NAME…: these tests of the script, or all in the order in which they stand there
    local name names=("$@")
    (($#)) || mapfile -t names < <(sed -n 's/^test_\([a-z0-9_]*\)().*/\1/p' "$0")
    echo "# $(containerd --version | cut -d' ' -f1,3), $shim"
    planned=${#names[@]}
    for name in "${names[@]}"; do test_run "$name"; done
}
# A mistake in arithmetic makes bash go on after tests_run: that must not look like success.
tests_end() {
    ((number == planned)) || { echo "Bail out! only $number of $planned tests were run"; exit 1; }
    finish
}

# --- containerd ----------------------------------------------------------------------------------------

# Traced, it tells of every event that it got.
cat >"$work/config.toml" <<'TOML'
version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[debug]
  level = "trace"
TOML
daemon_start() {
    start_containerd "$work/config.toml" "$(command -v containerd)" && return
    echo "Bail out! containerd doesn't start"
    exit 1
}
# bash would tell of one that is killed and not waited for.
daemon_kill() { kill -KILL "$containerd" && wait "$containerd"; } 2>/dev/null

c() { timeout --kill-after 5 "${LIMIT:-60}" ctr "$@"; }
# ctr asks for the default CPU shares, which takes a controller that the light unified view lacks.
shares=()
limits() { [[ ${#shares[@]} == 0 ]] || { cannot "no controllers in this view"; return 1; }; }
[[ ! -e /sys/fs/cgroup/cgroup.controllers || $(</sys/fs/cgroup/cgroup.controllers) == *cpu* ]] || shares=(--cpu-shares 0)
run() { c run --runtime "$shim" "${shares[@]}" "$@"; }
# Whatever is left of these containers.
remove() {
    local id
    for id; do
        c task delete --force "$id"
        c container delete "$id"
    done >/dev/null 2>&1
}
# The code that deleting a task tells, by ctr's own or by its words (2.x).
deletion() { # ID
    local said code
    said=$(c task delete "$1" 2>&1)
    code=$?
    [[ ! $said =~ exit\ code\ ([0-9]+) ]] || code=${BASH_REMATCH[1]}
    echo "$code"
}
status() { c task ls 2>/dev/null | awk -v id="$1" '$1 == id {print $3}'; }
status_is() { [[ $(status "$1") == "$2" ]]; }
pid() { c task ls 2>/dev/null | awk -v id="$1" '$1 == id {print $2}'; }

# --- events --------------------------------------------------------------------------------------------

events_watch() { # `ctr events` into $work/events
    ctr events >>"$work/events" 2>/dev/null </dev/null &
    watcher=$!
    wait_for events_arrive
}
# An event that nothing else causes shows that the subscription stands.
events_arrive() { ctr namespaces create "watch-$RANDOM$RANDOM" && grep -q /namespaces/create "$work/events"; }
events_end() { kill "$watcher" && wait "$watcher"; } 2>/dev/null

# tasks_events: one a line: the container, the topic's last word, the process (- is the first), the status.
tasks_events() {
    jq -Rr --arg namespace "$CONTAINERD_NAMESPACE" '
        capture("(?<namespace>[^ ]+) /tasks/(?<topic>[a-z-]+) (?<event>[{].*)$") | select(.namespace == $namespace)
        | .topic as $topic | .event | fromjson
        | [.container_id, $topic, ((.exec_id // .id // "") as $id | if $id == .container_id or $id == "" then "-" else $id end),
            if $topic == "exit" or $topic == "delete" then .exit_status // 0 else "-" end] | join(" ")' "$work/events"
}
events_of() { tasks_events | awk -v id="$1" '$1 == id {print $2, $3, $4}'; } # CONTAINER
# forwarded NAMESPACE TOPIC: how many such events containerd has got, by its log.
forwarded() { grep -c "msg=\"event \(forwarded\|published\)\".* ns=$1 topic=/tasks/$2 " "$logs/containerd"; }

# --- what is left --------------------------------------------------------------------------------------

# Nobody else has any in this PID namespace.
shims() { pgrep -x containerd-shim; }
shim_count_is() { [[ $(shims | wc -l) == "$1" ]]; }
cgroups() { find /sys/fs/cgroup -mindepth 2 -type d -path "*/$CONTAINERD_NAMESPACE*/*"; }
mounts() { awk '$5 ~ "/io.containerd.runtime.v2.task/" {print $5}' /proc/self/mountinfo; }
sockets() { find /run/containerd/s -type s; }
bundles() { find /run/containerd/io.containerd.runtime.v2.task /var/lib/containerd/io.containerd.runtime.v2.task -mindepth 2 -maxdepth 2; }
none() { [[ -z $("$@" 2>/dev/null) ]]; }
nothing_is_left() { # SECONDS: after all containers have been removed
    local what
    for what in shims cgroups mounts bundles sockets; do
        # The socket of runc's shim stays when that was killed.
        [[ $what != sockets || $RUNTIME == hoist ]] || continue
        wait_for "$1" none $what || problem "$what: $($what 2>/dev/null | head -n 5 | tr '\n' ' ')"
    done
}
