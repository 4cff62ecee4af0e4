# What the scripts that run in `enter` share: engines are started and stopped, and checks are printed as TAP.
# shellcheck shell=bash
[[ -e /etc/hoist-engines ]] || { echo "$0: to be run by conformance/engines/enter: it takes over containerd and Docker" >&2; exit 2; }
# Expects RUNTIME: hoist, or runc to calibrate.
RUNTIME=${RUNTIME:-hoist}
logs=/tmp/engines
mkdir -p "$logs"
number=0 failed=0
case $RUNTIME in
    hoist) shim=io.containerd.hoist.v2 ;;
    *) shim=io.containerd.runc.v2 ;;
esac

# check TITLE COMMAND…: `ok` if it succeeds. What it said is shown when it doesn't.
check() {
    local title=$1 status=0
    shift
    # Not in a subshell: a check may set what later ones use.
    "$@" >"$logs/check" 2>&1 </dev/null || status=$?
    number=$((number + 1))
    if ((status == 0)); then
        echo "ok $number $title"
    else
        failed=$((failed + 1))
        echo "not ok $number $title"
        echo "# status $status: $*"
        tail -n 20 "$logs/check" | sed 's/^/# /'
    fi
}

skip() { # skip TITLE REASON
    number=$((number + 1))
    echo "ok $number $1 # skip $2"
}

# The plan, and the status of the whole. The last line of a script.
finish() {
    echo "1..$number"
    exit $((failed > 0))
}

# same WANTED GOT: says what there is instead.
same() {
    [[ $1 == "$2" ]] || { printf 'wanted: %s\ngot:    %s\n' "$1" "$2"; return 1; }
}

# prints WANTED COMMAND…: exactly that on its standard output, and succeeds.
prints() {
    local wanted=$1 got status=0
    shift
    got=$("$@") || status=$?
    ((status == 0)) || echo "status $status"
    same "$wanted" "$got" && ((status == 0))
}

# all COMMANDS: a line of shell.
all() { eval "$1"; }

# typed WHAT COMMAND: on a terminal, on which somebody types that and then leaves it alone.
typed() { typed_when '' "$@"; }

# typed_when SHOWN WHAT COMMAND: types $first, and WHAT once that is shown.
typed_when() {
    local status=0 keyboard typist
    rm -f "$logs/keyboard"
    mkfifo "$logs/keyboard"
    : >"$logs/screen"
    exec {keyboard}<>"$logs/keyboard"
    printf '%s' "${first:-}" >&$keyboard
    { [[ -z $1 ]] || wait_for grep -q -- "$1" "$logs/screen"; printf '%s' "$2" >&$keyboard; } &
    typist=$!
    timeout 20 script -qefc "$3" "$logs/screen" <&$keyboard >/dev/null || status=$?
    kill $typist 2>/dev/null
    wait $typist
    exec {keyboard}>&-
    tr -d '\r' <"$logs/screen"
    return "$status"
}

# says WORDS COMMAND…: it prints these words, whatever its status is.
says() {
    local words=$1 said
    shift
    said=$("$@" 2>&1) || true
    [[ $said == *"$words"* ]] || { printf 'wanted: %s\nsaid:   %s\n' "$words" "$said"; return 1; }
}

# exits STATUS COMMAND…
exits() {
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    ((status == wanted)) || { echo "status $status, wanted $wanted"; return 1; }
}

# wait_for [SECONDS] COMMAND…: until it succeeds; 10 seconds unless it says otherwise. The last try is shown.
wait_for() {
    local seconds=10 end
    if [[ $1 =~ ^[0-9]+$ ]]; then seconds=$1; shift; fi
    end=$((SECONDS + seconds))
    until "$@" >"$logs/waited" 2>&1; do
        if ((SECONDS >= end)); then
            echo "not within $seconds s: $*"
            cat "$logs/waited"
            return 1
        fi
        sleep 0.05
    done
}

# start_containerd [CONFIG-FILE] [PROGRAM]: and waits until it answers. Its PID is $containerd, its log
# $logs/containerd.
start_containerd() {
    local program=${2:-containerd}
    [[ -z ${1:-} ]] || cp "$1" /etc/containerd/config.toml
    # One that was killed has left its socket.
    rm -f /run/containerd/containerd.sock
    # Its own: what interrupts a check is not for it.
    setsid "$program" >>"$logs/containerd" 2>&1 </dev/null &
    containerd=$!
    wait_for 30 ctr version || { tail "$logs/containerd"; return 1; }
}

# start_dockerd [DAEMON.JSON [OPTION…]]: the same. Without a file: $RUNTIME is what containers run with.
# It starts a containerd of its own unless there is one. Its PID is $dockerd, its log $logs/dockerd.
start_dockerd() {
    if [[ -n ${1:-} ]]; then
        cp "$1" /etc/docker/daemon.json
    elif [[ ! -e /etc/docker/daemon.json ]]; then
        daemon_json >/etc/docker/daemon.json
    fi
    setsid dockerd "${@:2}" >>"$logs/dockerd" 2>&1 </dev/null &
    dockerd=$!
    wait_for 30 docker version || { tail "$logs/dockerd"; return 1; }
}

# daemon_json [MORE]: the configuration as the README has it, and more members.
daemon_json() {
    echo '{"runtimes": {'
    [[ $RUNTIME != hoist ]] || cat <<'JSON'
        "hoist": {"runtimeType": "io.containerd.hoist.v2"},
        "hoist-path": {"path": "/usr/local/bin/hoist"}
JSON
    echo "}, \"default-runtime\": \"$RUNTIME\"${1:+, $1}}"
}

# stop PID: as a service manager would, and waits for it.
stop() {
    kill "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || true
}
