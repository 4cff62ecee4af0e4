#!/bin/bash
# restart.sh [TEST…]: containerd or the shim is killed at random moments, in `enter`. Containers go on without
# containerd, every exit is told exactly once, and of a dead shim nothing stays. ROUNDS of each test (20), the
# moments depend on SEED. RUNTIME, ENGINE and output as in ctr.sh.
# shellcheck disable=SC2016 # shells in containers expand these
set -u
engines=$(dirname "$(readlink -f "$0")")
. "$engines/lib.sh"
. "$engines/containerd.sh"
ROUNDS=${ROUNDS:-20}
SEED=${SEED:-$RANDOM}
RANDOM=$SEED

moment() { sleep "0.$(printf %03d $((RANDOM % $1)))"; } # less than MILLISECONDS
# Each round has a containerd namespace of its own: containerd's log tells events apart by that.
rounds() { # ROUND…: runs the test's round so often
    local test=$1 round
    for ((round = 1; round <= ROUNDS; round++)); do
        CONTAINERD_NAMESPACE=conformance-$test-$round
        c images import /images/busybox.tar >/dev/null || problem "round $round: no image"
        "round_$test" >"$logs/round" 2>&1
        [[ ! -s $logs/round ]] || sed "s/^/round $round: /" "$logs/round"
        ctr images rm $busybox >/dev/null 2>&1
    done
}
background() { # ID COMMAND…: tries to run a container, in the background
    run -d $busybox "$@" >/dev/null 2>&1 </dev/null &
    clients+=($!)
}
clients_end() { wait "${clients[@]}"; clients=(); } 2>/dev/null
sleepers() { pgrep -fx 'sleep 1000'; }
again() { # ID: it can be used, and nothing stays of it
    is "$1 once more" "$(run --rm $busybox "$1" echo again </dev/null 2>&1)" again
}
gone() { # after the containers were removed
    wait_for 20 none sleepers || problem "processes: $(sleepers | xargs)"
    nothing_is_left 20
}
# Without containerd no event arrives, so they can be counted after these.
events_are() { (($(forwarded "$CONTAINERD_NAMESPACE" "$1") == $2)); } # TOPIC COUNT
count() { # WHAT TOPIC WANTED: adds to lost and duplicated
    wait_for 5 events_are "$2" "$3" >/dev/null
    local got
    got=$(forwarded "$CONTAINERD_NAMESPACE" "$2")
    events=$((events + got))
    ((got >= $3)) || lost=$((lost + $3 - got))
    ((got <= $3)) || duplicated=$((duplicated + got - $3))
    is "$1: events $2" "$got" "$3"
}

# --- containerd is killed ------------------------------------------------------------------------------

round_create() {
    local id
    for id in one two three; do background $id sleep 1000; done
    moment 900
    daemon_kill
    clients_end
    daemon_start
    local running=0
    for id in one two three; do
        case $(status $id) in
        RUNNING)
            running=$((running + 1))
            is "exec in $id" "$(c task exec --exec-id e $id echo yes </dev/null 2>&1)" yes
            c task kill -s KILL $id
            wait_for status_is $id STOPPED || problem "$id doesn't stop"
            is "$id's code" "$(deletion $id)" 137
            ;;
        CREATED) created=$((created + 1)) ;;
        '') ;;
        *) problem "$id is $(status $id)" ;;
        esac
        remove $id
    done
    all=$((all + running))
    # Whatever was started has told so once; what was only created may end with an exit.
    between "starts" "$(forwarded "$CONTAINERD_NAMESPACE" start)" $running 3
    between "exits" "$(forwarded "$CONTAINERD_NAMESPACE" exit)" $running $((3 + running))
    gone
    again one
    gone
}
test_containerd_killed_during_create() {
    local all=0 created=0
    rounds create
    note "$ROUNDS rounds of 3 containers: $all ran, $created were only created, the others were not there"
}

round_execs() {
    local number before
    run -d $busybox main sleep 1000 >/dev/null 2>&1 </dev/null || problem "no container"
    before=$(pid main)
    for ((number = 1; number <= 8; number++)); do
        c task exec --exec-id "e$number" main sh -c "sleep 0.1; exit $number" >/dev/null 2>&1 </dev/null &
        clients+=($!)
    done
    moment 500
    daemon_kill
    clients_end
    daemon_start
    is status "$(status main)" RUNNING
    is pid "$(pid main)" "$before"
    is "exec after it" "$(c task exec --exec-id after main echo yes </dev/null 2>&1)" yes
    wait_for eval '[[ $(c task ps main | awk "NR > 1" | wc -l) == 1 ]]' || problem "processes: $(c task ps main)"
    c task kill -s KILL main
    wait_for status_is main STOPPED || problem "it doesn't stop"
    is "code" "$(deletion main)" 137
    local started
    started=$(forwarded "$CONTAINERD_NAMESPACE" exec-started)
    execs=$((execs + started))
    count execs exit $((started + 1))
    count all create 1
    count all start 1
    remove main
    gone
}
test_containerd_killed_during_execs() {
    local execs=0 events=0 lost=0 duplicated=0
    rounds execs
    note "$ROUNDS rounds, $execs execs: $events events, lost $lost, duplicated $duplicated"
}

round_exits() {
    local number
    for number in 1 2 3 4 5; do
        run -d $busybox "c$number" sh -c "sleep 0.$((RANDOM % 9)); exit $number" >/dev/null 2>&1 </dev/null &
        clients+=($!)
    done
    clients_end
    daemon_kill
    moment 999
    daemon_start
    for number in 1 2 3 4 5; do
        wait_for status_is "c$number" STOPPED || problem "c$number is '$(status "c$number")'"
        is "c$number's code" "$(deletion "c$number")" "$number"
    done
    count all create 5
    count all start 5
    count all exit 5
    remove c1 c2 c3 c4 c5
    gone
}
test_containerd_killed_while_containers_exit() {
    local events=0 lost=0 duplicated=0
    rounds exits
    note "$ROUNDS rounds of 5 containers: $events events, lost $lost, duplicated $duplicated"
}

fifty_have_stopped() {
    local number
    for ((number = 1; number <= 50; number++)); do
        CONTAINERD_NAMESPACE=conformance-away-$number
        status_is away STOPPED || return
    done
}
# Nobody can open the gate for reading before somebody has for writing: then all do at once.
test_containerd_away_while_fifty_exit() {
    local number events=0 lost=0 duplicated=0 root=$work/fifty
    mkdir -p "$root"/{bin,dev,proc,sys,tmp}
    cp "$(command -v busybox)" "$root/bin/sh"
    mkfifo "$root/gate"
    for ((number = 1; number <= 50; number++)); do
        CONTAINERD_NAMESPACE=conformance-away-$number
        run -d --rootfs "$root" away /bin/sh -c ": </gate; exit $number" >/dev/null 2>&1 </dev/null || problem "$number can't be run"
    done
    stop "$containerd"
    exec 7<>"$root/gate"
    sleep 10
    daemon_start
    wait_for 60 fifty_have_stopped || problem "in namespace $CONTAINERD_NAMESPACE"
    for ((number = 1; number <= 50; number++)); do
        CONTAINERD_NAMESPACE=conformance-away-$number
        is "$number's code" "$(deletion away)" $number
        count $number exit 1
        remove away
    done
    exec 7>&-
    gone
    note "50 containers: $events exits, lost $lost, duplicated $duplicated"
}

# --- the shim is killed --------------------------------------------------------------------------------

shims_kill() { shims | xargs -r kill -KILL; }

round_shim() {
    run -d $busybox main sh -c 'sleep 1000 & exec sleep 1000' >/dev/null 2>&1 </dev/null || problem "no container"
    c task exec -d --exec-id e main sleep 1000 >/dev/null 2>&1 </dev/null
    moment 100
    shims_kill
    wait_for 20 none status main || problem "it is still '$(status main)'"
    gone
    count all exit 1
    remove main
    again main
    gone
}
test_shim_killed() {
    local events=0 lost=0 duplicated=0
    rounds shim
    note "$ROUNDS rounds: $events exits, lost $lost, duplicated $duplicated"
}

round_shim_create() {
    background main sleep 1000
    wait_for eval '[[ $(shims) ]]' || problem "no shim"
    moment 150
    shims_kill
    clients_end
    remove main
    gone
    again main
    gone
}
test_shim_killed_during_create() {
    rounds shim_create
    note "$ROUNDS rounds"
}

round_shim_exec() {
    local number
    run -d $busybox main sleep 1000 >/dev/null 2>&1 </dev/null || problem "no container"
    for number in 1 2 3 4; do
        c task exec --exec-id "e$number" main sleep 1000 >/dev/null 2>&1 </dev/null &
        clients+=($!)
    done
    moment 200
    shims_kill
    clients_end
    wait_for 20 none status main || problem "it is still '$(status main)'"
    remove main
    gone
    again main
    gone
}
test_shim_killed_during_exec() {
    rounds shim_exec
    note "$ROUNDS rounds"
}

round_shim_pod() {
    local number
    for number in 1 2 3; do
        run -d --annotation io.containerd.runc.v2.group=c1 $busybox "c$number" sleep 1000 >/dev/null 2>&1 </dev/null || problem "no c$number"
    done
    is shims "$(shims | wc -l)" 1
    shims_kill
    for number in 1 2 3; do wait_for 20 none status "c$number" || problem "c$number is still '$(status "c$number")'"; done
    gone
    count all exit 3
    remove c1 c2 c3
    again c1
    gone
}
test_shim_of_a_pod_killed() {
    local events=0 lost=0 duplicated=0
    rounds shim_pod
    note "$ROUNDS rounds of 3 containers: $events exits, lost $lost, duplicated $duplicated"
}

round_both() {
    run -d $busybox main sleep 1000 >/dev/null 2>&1 </dev/null || problem "no container"
    moment 100
    daemon_kill
    shims_kill
    daemon_start
    wait_for 20 none status main || problem "it is still '$(status main)'"
    gone
    remove main
    again main
    gone
}
test_both_killed() {
    rounds both
    note "$ROUNDS rounds"
}

clients=()
daemon_start
echo "# SEED=$SEED ROUNDS=$ROUNDS"
tests_run "$@"
tests_end
