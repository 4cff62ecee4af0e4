#!/bin/bash
# ctr.sh [TEST…]: containers through containerd's own client, in `enter`. RUNTIME is hoist or, to calibrate, runc;
# ENGINE another containerd than sid's. Prints TAP, exits 1 if a test has failed.
# shellcheck disable=SC2016 # shells in containers expand these
set -u
engines=$(dirname "$(readlink -f "$0")")
. "$engines/lib.sh"
. "$engines/containerd.sh"

detached() { # ID [OPTION…] -- [COMMAND…]: sleeps, unless told otherwise
    local id=$1 options=()
    shift
    while (($#)) && [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    (($#)) || set -- sleep 1000
    run -d "${options[@]}" $busybox "$id" "$@" </dev/null >/dev/null 2>"$work/stderr" ||
        problem "$id can't be run: $(<"$work/stderr")"
}
once() { run --rm "${options[@]}" $busybox "$@" </dev/null 2>&1; } # ID COMMAND…, with $options
MANY=${MANY:-200} # how many containers test_many_by_eight runs
in_it() { c task exec --exec-id "e$RANDOM$RANDOM" "$@" </dev/null 2>&1; } # [OPTION…] ID COMMAND…
line() { awk -v key="$1" '$1 == key {print $2; exit}'; }

# --- life ----------------------------------------------------------------------------------------------

test_image_import() { like images "$(c images ls -q)" "*$busybox*"; }

test_run_exit_codes() {
    local code
    for code in 0 1 7 137 255; do
        run --rm $busybox "code-$code" sh -c "exit $code" </dev/null >/dev/null 2>&1
        is "exit $code" $? $code
    done
}

test_run_streams_are_apart() {
    run --rm $busybox streams sh -c 'echo out; echo err >&2' </dev/null >"$work/out" 2>"$work/err"
    is stdout "$(<"$work/out")" out
    is stderr "$(<"$work/err")" err
}

test_run_loses_no_byte_at_exit() {
    is bytes "$(run --rm $busybox bytes sh -c 'dd if=/dev/zero bs=64k count=512 2>/dev/null; printf end' \
        </dev/null | wc -c)" $((512 * 65536 + 3))
    local round
    for round in 1 2 3 4 5 6 7 8 9 10; do
        is "round $round" "$(run --rm $busybox "last-$round" echo last </dev/null 2>&1)" last
    done
}

test_run_stdin() {
    # ctr forgets to pass on an end of file that it reads before the task is there.
    is piped "$({ printf 'one\ntwo\n'; wait_for status_is stdin RUNNING; } | run --rm $busybox stdin cat 2>&1)" $'one\ntwo'
    is "much of it" "$({ head -c 3000000 /dev/zero; wait_for status_is much RUNNING; } |
        run --rm $busybox much wc -c 2>&1)" 3000000
}

test_run_null_io() {
    local out
    out=$(run --rm --null-io $busybox null sh -c 'echo out; exit 3' </dev/null)
    is code $? 3
    is output "$out" ''
}

test_run_detached_ls_ps() {
    detached ls -- sh -c 'sleep 999 & exec sleep 1000'
    is status "$(status ls)" RUNNING
    local pid
    pid=$(pid ls)
    is command "$(tr '\0' ' ' <"/proc/$pid/cmdline")" 'sleep 1000 '
    is processes "$(c task ps ls | awk 'NR > 1' | wc -l)" 2
    yes "ps lacks $pid" grep -qw "^$pid" <(c task ps ls)
    remove ls
    is "status after deletion" "$(status ls)" ''
    yes "$pid lives" test ! -e "/proc/$pid"
}

test_run_missing_command() {
    local out
    out=$(run --rm $busybox missing /no/such/command </dev/null 2>&1)
    yes "it worked" test $? -ne 0
    like wording "${out,,}" '*no such file or directory*'
    out=$(run --rm $busybox missing nosuchcommand </dev/null 2>&1)
    like wording "$out" '*exec: "nosuchcommand": executable file not found in $PATH*'
    is "the id can be used again" "$(run --rm $busybox missing echo yes </dev/null 2>&1)" yes
}

test_run_of_an_id_that_is_there() {
    detached twice --
    like wording "$(run -d $busybox twice true </dev/null 2>&1)" '*already exists*'
    is status "$(status twice)" RUNNING
    remove twice
}

test_start_delete_codes() {
    detached codes -- sh -c 'exit 9'
    yes "it doesn't stop" wait_for status_is codes STOPPED
    is "the code of task delete" "$(deletion codes)" 9
    like "a task that is gone" "$(c task kill codes 2>&1)" '*not found*'
    c container delete codes
}

test_delete_force() {
    detached force --
    local pid
    pid=$(pid force)
    like "without force" "$(c task delete force 2>&1)" '*must be stopped before*'
    c task delete --force force >/dev/null 2>&1
    is "task ls" "$(status force)" ''
    yes "$pid lives" test ! -e "/proc/$pid"
    c container delete force
}

# --- terminals -----------------------------------------------------------------------------------------

in_terminal() { # SCRIPT TYPED: runs it in a terminal, types; $output, $code
    rm -f "$work/typed"
    mkfifo "$work/typed"
    echo "$1" >"$work/terminal"
    exec 9<>"$work/typed"
    printf '%s' "$2" >&9
    output=$(timeout 60 script -qec "bash $work/terminal" /dev/null <&9 | tr -d '\r')
    code=${PIPESTATUS[0]}
    exec 9>&-
}
mkdir "$work/mnt"
mnt=type=bind,src=$work/mnt,dst=/mnt,options=rbind:rw
# Prints the terminal's size when it is the one that is waited for, at the latest after ten seconds.
cat >"$work/mnt/await-size" <<'SH'
#!/bin/sh
for i in $(seq 200); do [ "$(stty size)" = "$*" ] && break; sleep 0.05; done
stty size
SH
chmod +x "$work/mnt/await-size"

test_tty_size() {
    local output code
    in_terminal "stty rows 33 cols 101
        ctr run -t --rm --runtime $shim ${shares[*]} --mount $mnt $busybox tty sh -c 'tty; test -t 2 && echo stderr; /mnt/await-size 33 101'" ''
    like size "$output" $'*33 101*'
    like "the terminal's name" "$output" '*/dev/*'
    like "stderr is the terminal, too" "$output" '*stderr*'
}

test_tty_resize() {
    local output code
    in_terminal "stty rows 33 cols 101
        (until grep -q ready $work/mnt/resize; do sleep 0.1; done; exec stty -F /dev/tty rows 44 cols 55) 2>/dev/null &
        ctr run -t --rm --runtime $shim ${shares[*]} --mount $mnt $busybox resize \
            sh -c '/mnt/await-size 33 101; echo ready >/mnt/resize; /mnt/await-size 44 55'" ''
    like "first size" "$output" $'*33 101*'
    like "second size" "$output" $'*44 55*'
}

test_tty_stdin_and_code() {
    local output
    in_terminal "ctr run -t --rm --runtime $shim ${shares[*]} $busybox typed sh; echo code=\$?" $'echo $((6 * 7))\nexit 5\n'
    like "what was typed" "$output" '*42*'
    like "exit code" "$output" '*code=5*'
}

test_exec_tty() {
    local output code
    detached exec-tty --mount "$mnt" --
    in_terminal "stty rows 20 cols 70
        ctr task exec -t --exec-id t exec-tty sh -c 'tty; /mnt/await-size 20 70; exit 4'; echo code=\$?" ''
    like size "$output" '*20 70*'
    like "exit code" "$output" '*code=4*'
    remove exec-tty
}

# --- exec ----------------------------------------------------------------------------------------------

test_exec() {
    local code
    detached exec --
    for code in 0 1 7 137; do
        in_it exec sh -c "exit $code" >/dev/null
        is "exit $code" $? $code
    done
    is output "$(in_it exec echo out)" out
    is stdin "$({ printf typed; wait_for eval 'c task ps exec | grep -q stdin'; } | c task exec --exec-id stdin exec cat 2>&1)" typed
    is user "$(in_it --user 1000:1000 exec id -u)" 1000
    is cwd "$(in_it --cwd /tmp exec pwd)" /tmp
    like "a missing command" "$(in_it exec nosuchcommand)" '*exec: "nosuchcommand": executable file not found in $PATH*'
    c task exec -d --exec-id d exec sh -c 'echo d >/tmp/d; sleep 1000' </dev/null >/dev/null 2>&1
    yes "a detached exec does nothing" wait_for eval '[[ $(in_it exec cat /tmp/d) == d ]]'
    like "ps shows it" "$(c task ps exec)" '*d*'
    yes "its kill" c task kill --exec-id d -s KILL exec
    like "an id that is there" "$(c task exec --exec-id e1 exec true 2>&1; c task exec -d --exec-id x exec sleep 9 2>&1
        c task exec --exec-id x exec true 2>&1)" '*already exists*'
    remove exec
}

test_exec_in_what_has_stopped() {
    detached stopped -- true
    wait_for status_is stopped STOPPED
    local out
    out=$(in_it stopped true)
    yes "it worked" test $? -ne 0
    like wording "$out" '*stopped*'
    remove stopped
}

test_exec_storm() {
    detached storm --
    local wrong
    wrong=$(seq 80 | xargs -P 8 -I N timeout 60 bash -c 'ctr task exec --exec-id s-N storm \
        sh -c "echo N; exit N" </dev/null >'"$work"'/storm-N 2>&1
        code=$?; [[ $code == N && $(<'"$work"'/storm-N) == N ]] || echo "N: $code $(<'"$work"'/storm-N)"')
    is "wrong codes" "$wrong" ''
    is "processes left" "$(c task ps storm | awk 'NR > 1' | wc -l)" 1
    note "80 execs by 8"
    remove storm
}

# --- signals, freezer ----------------------------------------------------------------------------------

test_kill() {
    detached kill -- sh -c 'trap "echo got >/tmp/got; exit 12" USR1; echo >/tmp/ready; while :; do sleep 0.05; done'
    yes "no trap" wait_for eval '[[ $(in_it kill ls /tmp/ready) == /tmp/ready ]]'
    yes "kill -s USR1" c task kill -s USR1 kill
    yes "it doesn't stop" wait_for status_is kill STOPPED
    is "the trap's code" "$(deletion kill)" 12
    c container delete kill
    detached term -- sleep 1000
    c task kill -s KILL term
    yes "KILL doesn't stop it" wait_for status_is term STOPPED
    like "a stopped task" "$(c task kill -s TERM term 2>&1)" '*already finished*'
    is "code of KILL" "$(deletion term)" 137
    c container delete term
}

test_kill_all() {
    detached all -- sh -c 'setsid sleep 998 & setsid sleep 999 & exec sleep 1000'
    wait_for eval '[[ $(c task ps all | wc -l) == 4 ]]'
    local pids
    pids=$(c task ps all | awk 'NR > 1 {print $1}')
    is processes "$(wc -w <<<"$pids")" 3
    yes "kill -a" c task kill -a -s KILL all
    yes "it doesn't stop" wait_for status_is all STOPPED
    for pid in $pids; do yes "$pid lives" test ! -e "/proc/$pid"; done
    remove all
}

# Without a pid namespace of its own nothing but the runtime ends what the first process leaves.
test_shared_pid_namespace() {
    local other pid
    detached shared --with-ns pid:/proc/1/ns/pid -- sh -c 'setsid sleep 998 & exec sleep 1'
    wait_for eval '[[ $(c task ps shared | wc -l) == 3 ]]'
    pid=$(pid shared)
    other=$(c task ps shared | awk -v pid="$pid" 'NR > 1 && $1 != pid {print $1}')
    yes "it doesn't stop" wait_for status_is shared STOPPED
    c task delete shared >/dev/null 2>&1
    yes "$other lives" wait_for test ! -e "/proc/$other"
    remove shared
}

test_pause_resume() {
    local before
    detached pause -- sh -c 'i=0; while :; do i=$((i + 1)); echo $i >>/tmp/ticks; sleep 0.02; done'
    wait_for eval '[[ $(in_it pause tail -n +3 /tmp/ticks) ]]'
    local ticks
    ticks=/proc/$(pid pause)/root/tmp/ticks
    yes pause c task pause pause
    is status "$(status pause)" PAUSED
    before=$(wc -l <"$ticks")
    sleep 0.3
    is "ticks of what is paused" "$(wc -l <"$ticks")" "$before"
    like "an exec" "$(in_it pause true)" '*paused*'
    yes resume c task resume pause
    is status "$(status pause)" RUNNING
    yes "it doesn't go on" wait_for eval '[[ $(wc -l <"'"$ticks"'") != "'"$before"'" ]]'
    c task pause pause
    c task kill -s KILL pause >/dev/null 2>&1
    c task resume pause >/dev/null 2>&1
    yes "it doesn't end" wait_for status_is pause STOPPED
    remove pause
}

# --- metrics, update, checkpoint -----------------------------------------------------------------------

test_metrics() {
    limits || return
    local json table
    detached metrics --memory-limit 67108864 -- sh -c 'sleep 998 & i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; exec sleep 1000'
    wait_for 20 eval 'grep -q "^sleep" /proc/$(pid metrics)/cmdline'
    json=$(c task metrics --format json metrics)
    table=$(c task metrics metrics)
    number_of() { awk -v RS='[,{}[:space:]]+' -v key="\"$1\":" '$0 == key {getline; print; exit}' <<<"$json"; }
    case $json in
    *'"usage_limit"'*)
        is limit "$(number_of usage_limit)" 67108864
        between usage "$(number_of usage)" 4096 67108864
        between cpu "$(number_of usage_usec)" 1000 60000000
        like table "$table" '*memory.usage_limit*67108864*'
        ;;
    *)
        is limit "$(awk '/"usage": {/ {inside = 1} inside && /"limit"/ {print $2 + 0; exit}' <<<"$json")" 67108864
        between usage "$(line memory.usage_in_bytes <<<"$table")" 4096 67108864
        is "limit in the table" "$(line memory.limit_in_bytes <<<"$table")" 67108864
        between cpu "$(line cpuacct.usage <<<"$table")" 1000000 60000000000
        is "processors" "$(sed -n 's/^cpuacct.usage_percpu *\[\(.*\)\].*/\1/p' <<<"$table" | wc -w)" "$(nproc --all)"
        ;;
    esac
    is pids "$(number_of current)" 2
    remove metrics
    like "of a task that is gone" "$(c task metrics metrics 2>&1)" '*not found*'
}

test_update() { cannot "ctr has no command for it; Docker's list has"; }

test_checkpoint_is_refused() {
    detached checkpoint --
    local out
    out=$(c task checkpoint checkpoint 2>&1)
    yes "it worked" test $? -ne 0
    if [[ $RUNTIME == hoist ]]; then
        like wording "${out,,}" '*not*implemented*'
    else
        cannot "runc says: ${out:0:100}"
    fi
    is "status after it" "$(status checkpoint)" RUNNING
    remove checkpoint
}

# --- logs ----------------------------------------------------------------------------------------------

test_attach() {
    detached attach -- sh -c 'trap "exit 6" TERM; while :; do echo tick; sleep 0.05; done'
    c task attach attach </dev/null >"$work/attached" 2>&1 &
    local attached=$!
    yes "no output" wait_for grep -q tick "$work/attached"
    c task kill -s TERM attach
    wait $attached
    is "attach's code" $? 6
    # Attached once more: what has ended meanwhile doesn't hang.
    remove attach
}

test_log_file() {
    local log=$work/log-file
    run -d --log-uri "file://$log" $busybox log-file sh -c 'echo out; echo err >&2; seq 20000; echo last' </dev/null 2>"$work/stderr" ||
        problem "$(<"$work/stderr")"
    wait_for status_is log-file STOPPED
    is lines "$(wc -l <"$log")" 20003
    is "last line" "$(tail -n 1 "$log")" last
    yes "no stderr" grep -q err "$log"
    remove log-file
}

test_log_binary() {
    local dir=$work/log-binary
    mkdir -p "$dir"
    cat >"$dir/logger" <<'LOGGER'
#!/bin/bash
# containerd's logging protocol: 3 and 4 are the streams, 5 says "ready". It is told to end before it has read all.
trap '' TERM
echo "$CONTAINER_NAMESPACE $CONTAINER_ID $*" >"${0%/*}/environment"
cat <&3 >"${0%/*}/out" 5>&- &
cat <&4 >"${0%/*}/err" 5>&- &
exec 5>&-
wait
echo ended >"${0%/*}/ended"
LOGGER
    chmod +x "$dir/logger"
    run -d --log-uri "binary://$dir/logger?key=value" $busybox log-binary sh -c 'echo err >&2; seq 20000' </dev/null 2>"$work/stderr" ||
        problem "$(<"$work/stderr")"
    wait_for status_is log-binary STOPPED
    remove log-binary
    yes "the logger doesn't end" wait_for test -e "$dir/ended"
    is environment "$(<"$dir/environment")" "$CONTAINERD_NAMESPACE log-binary key value"
    is stdout "$(wc -l <"$dir/out")" 20000
    is stderr "$(<"$dir/err")" err
    local out
    out=$(run -d --log-uri binary:///no/such/logger $busybox no-logger true </dev/null 2>&1)
    like "a logger that is missing" "${out,,}" '*no such file*'
    remove no-logger
}

test_exec_log_file() {
    detached exec-log --
    c task exec -d --exec-id l --log-uri "file://$work/exec-log" exec-log sh -c 'echo out; echo err >&2' </dev/null >/dev/null 2>&1
    yes "no log" wait_for eval '[[ $(sort "$work/exec-log" | xargs) == "err out" ]]'
    remove exec-log
}

# --- what the specification asks for -------------------------------------------------------------------

test_read_only() {
    local options=(--read-only)
    like writing "$(once ro sh -c 'echo >/x')" '*Read-only file system*'
}

test_mounts() {
    mkdir -p "$work/bind"
    echo host >"$work/bind/file"
    local options=(--mount "type=bind,src=$work/bind,dst=/mnt,options=rbind:ro")
    is "reading" "$(once bind cat /mnt/file)" host
    like "writing what is read-only" "$(once bind-ro sh -c 'echo >/mnt/x')" '*Read-only file system*'
    options=(--mount "type=bind,src=$work/bind,dst=/mnt,options=rbind:rw")
    once bind-rw sh -c 'echo container >/mnt/file'
    is "writing" "$(<"$work/bind/file")" container
    options=(--mount type=tmpfs,dst=/mnt,options=size=1m)
    like tmpfs "$(once tmpfs grep ' /mnt ' /proc/mounts)" '* /mnt tmpfs *size=1024k*'
}

test_namespaces() {
    local options=() kind
    for kind in net mnt pid uts ipc; do
        yes "$kind is the host's" test "$(once "ns-$kind" readlink /proc/self/ns/$kind)" != "$(readlink /proc/self/ns/$kind)"
    done
    options=(--net-host)
    is "net of --net-host" "$(once net-host readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"
    options=(--with-ns "ipc:/proc/self/ns/ipc")
    options=(--with-ns "ipc:/proc/$$/ns/ipc")
    is "ipc of --with-ns" "$(once with-ns readlink /proc/self/ns/ipc)" "$(readlink /proc/$$/ns/ipc)"
}

test_process() {
    local options=(--env HELLO=world --cwd /tmp --user 1000:1000)
    # containerd 1.6 has no --user.
    c run --help | grep -q -e --user || options=(--env HELLO=world --cwd /tmp)
    is "env, cwd, user" "$(once process sh -c 'echo $HELLO $(pwd) $(id -u) $(id -g)')" \
        "world /tmp $(if [[ ${options[*]} == *--user* ]]; then echo 1000 1000; else echo 0 0; fi)"
    options=(--cap-drop CAP_CHOWN)
    like "cap-drop" "$(once cap-drop chown 1 /tmp)" '*not permitted*'
    options=(--cap-add CAP_SYS_TIME)
    # CAP_SYS_TIME is bit 25, in the seventh digit from the right.
    like "cap-add" "$(once cap-add grep CapEff /proc/self/status)" '*CapEff:*[2367abef]??????'
    options=(--pid-file "$work/pid")
    once pid-file true
    yes "no pid file" grep -qx '[0-9]*' "$work/pid"
    options=(--device /dev/fuse)
    [[ ! -e /dev/fuse ]] || is device "$(once device stat -c %F /dev/fuse)" 'character special file'
    options=(--allow-new-privs)
    is "new privileges" "$(once new-privs grep NoNewPrivs /proc/self/status | awk '{print $2}')" 0
    options=()
    is "no new privileges" "$(once no-new-privs grep NoNewPrivs /proc/self/status | awk '{print $2}')" 1
}

test_cgroup() {
    local id=cgroup path=$CONTAINERD_NAMESPACE/of-its-own
    detached $id --cgroup "/$path" --
    yes "no /$path" test -n "$(find /sys/fs/cgroup -type d -path "*/$path")"
    like "the process" "$(<"/proc/$(pid $id)/cgroup")" "*/$path*"
    remove $id
    is "what is left" "$(find /sys/fs/cgroup -type d -path "*/$path")" ''
}

test_memory_limit_and_oom() {
    limits || return
    detached oom --memory-limit 20971520 -- sh -c 'sleep 0.2; exec dd if=/dev/zero of=/dev/null bs=100M count=1'
    yes "it doesn't end" wait_for 20 status_is oom STOPPED
    is code "$(deletion oom)" 137
    c container delete oom
    [[ $RUNTIME == hoist ]] || { cannot "runc's shim may lose the event of an OOM that ends the container"; return; }
    wait_for eval 'events_of oom | grep -q ^delete'
    is events "$(events_of oom | awk '{print $1}' | uniq | xargs)" 'create start oom exit delete'
}

test_seccomp() {
    [[ $(grep -c '^Seccomp:' /proc/self/status) == 1 ]] || { cannot "the kernel has no seccomp"; return; }
    local options=(--seccomp)
    is mode "$(once seccomp grep '^Seccomp:' /proc/self/status | awk '{print $2}')" 2
    like "a forbidden call" "$(once seccomp-unshare unshare -U true)" '*not permitted*'
    echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >"$work/profile"
    options=(--seccomp --seccomp-profile "$work/profile")
    like "a profile of one's own" "$(once seccomp-own mkdir /tmp/x)" '*not permitted*'
}

test_apparmor() { [[ $(cat /sys/module/apparmor/parameters/enabled 2>/dev/null) == Y ]] || cannot "the kernel has no AppArmor"; }

test_privileged() {
    local options=(--privileged)
    is capabilities "$(once privileged grep CapEff /proc/self/status)" "$(grep CapEff /proc/self/status)"
    is "access to a host device" "$(once privileged-device sh -c 'test -e /dev/kmsg && echo yes')" yes
}

test_systemd_cgroup() { [[ -d /run/systemd/system ]] || cannot "systemd doesn't run here"; }

test_runtime_root() {
    [[ $RUNTIME == runc ]] || { cannot "ctr has options only for runc's shim; the list for CRI has this"; return; }
    detached root --runc-root "$work/runtime-root" --
    yes "no state below --runc-root" test -d "$work/runtime-root/$CONTAINERD_NAMESPACE/root"
    is "an exec" "$(in_it root echo yes)" yes
    remove root
    yes "state is left" test ! -e "$work/runtime-root/$CONTAINERD_NAMESPACE/root"
}

test_no_pivot() {
    local options=(--no-pivot)
    is output "$(once no-pivot echo yes)" yes
}

test_user_namespace() {
    local options=(--uidmap 0:100000:65536 --gidmap 0:100000:65536)
    is map "$(once userns sh -c 'echo $(cat /proc/self/uid_map) $(id -u) $(stat -c %u /bin/sh)')" '0 100000 65536 0 0'
    is "writing to stderr's file" "$(once userns-stderr sh -c 'echo x >/dev/stderr')" x
}

test_snapshotter_native() {
    local options=(--snapshotter native)
    is output "$(once native echo yes)" yes
}

test_forty_layers() {
    c images import /images/layers.tar >/dev/null
    is "what is seen" "$(run --rm docker.io/library/layers:latest layers sh -c 'cat /layers/last; ls /layers | wc -l' \
        </dev/null 2>&1 | xargs)" '39 40'
}

# --- pods ----------------------------------------------------------------------------------------------

pod() { # ANNOTATION
    local pid1 pid2
    yes "shims of before" wait_for 15 none shims
    detached pod-1 --annotation "$1=pod-1" --
    is "shims of one" "$(shims | wc -l)" 1
    detached pod-2 --annotation "$1=pod-1" -- sh -c 'sleep 0.5; exit 21'
    detached pod-3 --annotation "$1=pod-1" --
    is "shims of three" "$(shims | wc -l)" 1
    pid1=$(pid pod-1) pid2=$(pid pod-3)
    yes "one pid for two" test "$pid1" != "$pid2"
    is "an exec in the first" "$(in_it pod-1 echo 1)" 1
    is "an exec in the third" "$(in_it pod-3 echo 3)" 3
    yes "the second doesn't end" wait_for status_is pod-2 STOPPED
    is "the others" "$(status pod-1) $(status pod-3)" 'RUNNING RUNNING'
    is "the second's code" "$(deletion pod-2)" 21
    c container delete pod-2
    remove pod-1
    is "the third without the first" "$(status pod-3) $(shims | wc -l)" 'RUNNING 1'
    is "an exec without the first" "$(in_it pod-3 echo 3)" 3
    remove pod-3
    yes "the shim stays" wait_for 15 none shims
}
test_pod_by_group() { pod io.containerd.runc.v2.group; }
test_pod_by_sandbox() { pod io.kubernetes.cri.sandbox-id; }

# Whoever stops to read holds up nobody but the one that writes.
test_reader_that_stops() {
    local group=io.containerd.runc.v2.group=stalled
    mkfifo "$work/stalled"
    exec 8<>"$work/stalled"
    run --annotation $group $busybox stalled yes </dev/null >"$work/stalled" 2>/dev/null &
    local client=$! options=(--annotation $group)
    yes "it doesn't run" wait_for status_is stalled RUNNING
    sleep 0.5
    is "a neighbour" "$(once neighbour sh -c 'seq 50000 | tail -n 1')" 50000
    is "an exec" "$(in_it stalled echo yes)" yes
    c task kill -s KILL stalled
    yes "it doesn't end" wait_for status_is stalled STOPPED
    cat <&8 >/dev/null &
    local reader=$!
    wait $client
    kill $reader
    wait $reader 2>/dev/null
    exec 8>&-
    remove stalled
}

# --- events --------------------------------------------------------------------------------------------

test_events_of_a_run() {
    run --rm $busybox ordered sh -c 'exit 7' </dev/null >/dev/null 2>&1
    wait_for eval 'events_of ordered | grep -q ^delete'
    is events "$(events_of ordered | xargs)" 'create - - start - - exit - 7 delete - 7'
}

test_events_of_an_exec() {
    detached with-exec --
    c task exec --exec-id first with-exec sh -c 'exit 5' </dev/null >/dev/null 2>&1
    c task exec -d --exec-id second with-exec sleep 1000 </dev/null >/dev/null 2>&1
    c task kill -s KILL with-exec
    wait_for status_is with-exec STOPPED
    remove with-exec
    wait_for eval 'events_of with-exec | grep -q "^delete - 137"'
    is "events of the first" "$(events_of with-exec | awk '$2 == "first" {print $1, $3}' | xargs)" \
        'exec-added - exec-started - exit 5'
    is "exits" "$(events_of with-exec | awk '$1 == "exit" {print $2, $3}' | xargs)" 'first 5 second 137 - 137'
}

test_many_by_eight() {
    local events=() wrong id wanted got mistakes=0
    wrong=$(seq "$MANY" | xargs -P 8 -I N bash -c 'timeout 60 ctr run --rm --runtime '"$shim ${shares[*]} $busybox"' many-N sh -c "exit \$((N % 256))" \
        </dev/null >'"$work"'/many-N 2>&1; code=$?; ((code == N % 256)) || echo "N: $code $(<'"$work"'/many-N)"')
    is "wrong codes" "$wrong" ''
    wait_for 20 eval '[[ $(tasks_events | grep -c "^many-.* delete ") == "$MANY" ]]' >/dev/null
    tasks_events | awk '/^many-/ {line[$1] = line[$1] " " $2 " " $3 " " $4} END {for (id in line) print id line[id]}' >"$work/many"
    while read -r got; do id=${got#many-}; events[${id%% *}]=$got; done <"$work/many"
    for ((id = 1; id <= MANY; id++)); do
        wanted="many-$id create - - start - - exit - $((id % 256)) delete - $((id % 256))"
        got=${events[id]:-}
        [[ $got == "$wanted" ]] || {
            mistakes=$((mistakes + 1))
            # runc's shim may end before it has told of the deletion.
            [[ $RUNTIME != hoist && $wanted == "$got "* ]] || problem "wanted $wanted, got $got"
        }
    done
    note "$MANY containers by 8, $mistakes with other events than create, start, exit, delete"
}

# --- the shim itself -----------------------------------------------------------------------------------

test_ctr_shim() {
    detached shim --
    local out
    out=$(c shim --id shim state 2>&1)
    like state "$out" '*"status": 2*'
    like pid "$out" "*\"pid\": $(pid shim)*"
    remove shim
}

test_nothing_is_left() {
    is tasks "$(c task ls -q)" ''
    is containers "$(c container ls -q)" ''
    nothing_is_left 20
}

daemon_start
events_watch || { echo "Bail out! no events"; exit 1; }
c images import /images/busybox.tar >/dev/null || { echo "Bail out! no image"; exit 1; }
tests_run "$@"
tests_end
