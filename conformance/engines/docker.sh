#!/usr/bin/env bash
# What people do with Docker all day, through `--runtime $RUNTIME`. Runs in `enter`, prints TAP.
# With names of sections, only these. Each of them finds no container and leaves none.
set -uo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# From the least to the most that disturbs others.
sections=(run status terminal streams logs life limits security files namespaces network health many build
    compose path restart)

image() { docker load -qi "$IMAGES/$1.tar" >/dev/null; }
id() { docker inspect -f '{{.Id}}' "$1"; }
state() { docker inspect -f "{{.State.$2}}" "$1"; }
# value CONTAINER CONTROLLER/FILE: of its cgroup.
value() { cat "/sys/fs/cgroup/${2%/*}/docker/$(id "$1")/${2##*/}"; }
box() { docker run --rm --network none "$@"; }
# A container that ends at once when it is stopped.
start() { docker run -d --name "$1" "${@:2}" busybox sh -c 'trap "exit 0" TERM; while :; do sleep 0.1; done'; }
gone() { docker rm -f "$@" >/dev/null; }

run() {
    image debian
    image layers
    check "run prints what the program prints" prints hello box busybox echo hello
    check "its program is process 1" prints 1 box busybox sh -c 'echo $$'
    check "an image of a whole distribution runs" says 'Debian' box debian cat /etc/os-release
    check "an image of forty layers has all of them" prints '39 1' box layers sh -c 'echo $(cat /layers/last /layers/1)'
    check "--env and --env-file" all 'echo B=2 >/tmp/env; prints "1 2" box -e A=1 --env-file /tmp/env busybox sh -c "echo \$A \$B"'
    check "--workdir makes the directory" prints /a/b box -w /a/b busybox pwd
    check "--entrypoint" prints 'x y' box --entrypoint echo busybox x y
    check "--hostname" prints web1 box --hostname web1 busybox hostname
    check "--user by number" prints '1000 1000' box --user 1000:1000 busybox sh -c 'echo $(id -u) $(id -g)'
    check "--user by name" prints nobody box --user nobody busybox id -un
    check "--group-add" says 4242 box --user 1000 --group-add 4242 busybox id -G
    check "--annotation and --label are taken" prints l box --annotation a=b --label c=d busybox echo l
    check "--rm removes the container" all 'box --name once busybox true && ! docker inspect once'
    check "--cidfile" all 'rm -f /tmp/cid; box --cidfile /tmp/cid busybox true && same 64 "$(wc -c </tmp/cid)"'
    check "run -d, and exec in it" all 'start a1 >/dev/null && prints hi docker exec a1 echo hi'
    check "exec has its own environment, directory and user" prints '1 /tmp 65534' \
        docker exec -e X=1 -w /tmp -u nobody a1 sh -c 'echo $X $PWD $(id -u)'
    check "exec -d runs behind" all 'docker exec -d a1 touch /behind && wait_for docker exec a1 test -e /behind'
    check "exec -i reads what it is given" prints given all 'echo given | docker exec -i a1 cat'
    check "exec --privileged has more capabilities than the container" all \
        '[ "$(docker exec --privileged a1 grep CapEff /proc/self/status)" != "$(docker exec a1 grep CapEff /proc/self/status)" ]'
    check "top shows the processes" says 'while :; do sleep' docker top a1
    check "top with ps' options" says PPID docker top a1 -o pid,ppid,comm
    check "inspect has the process" all 'test -d /proc/$(state a1 Pid)'
    check "rename" all 'docker rename a1 aa && prints /aa docker inspect -f "{{.Name}}" aa'
    check "events come in order" prints 'create start die destroy ' all \
        'since=$(date +%s.%N); box --name ev busybox true; docker events --since $since --until $(date +%s.%N) \
            --filter container=ev --format "{{.Action}}" | grep -v attach | tr "\n" " "'
    check "rm -f ends what runs" all 'pid=$(state aa Pid); docker rm -f aa && wait_for test ! -d /proc/$pid'
}

status() {
    check "status 0" exits 0 box busybox true
    check "status 1" exits 1 box busybox false
    check "status 42" exits 42 box busybox sh -c 'exit 42'
    check "status 125: what Docker refuses" exits 125 box --no-such-option busybox true
    check "status 125: what the runtime refuses" exits 125 box --sysctl kernel.msgmax=x busybox true
    check "status 126: what can't be executed" exits 126 box busybox /etc/passwd
    check "and says why" says 'permission denied' box busybox /etc/passwd
    check "status 127: what is not there" exits 127 box busybox /no/such/program
    check "and says why, of a path" says 'no such file or directory' box busybox /no/such/program
    check "and says why, of a name" says 'executable file not found in $PATH' box busybox nosuchprogram
    check "status 127: a working directory that is a file is told" says '/etc/passwd' box -w /etc/passwd busybox true
    check "status 137: killed" exits 137 box --init busybox sh -c 'kill -9 $$; sleep 5'
    check "status 137 by kill" all 'start k1 && docker kill k1 && prints 137 docker wait k1; gone k1'
    check "status 143 by stop" all 'docker run -d --name k1 busybox sh -c "trap \"exit 143\" TERM; while :; do sleep 0.1; done" &&
        docker stop k1 && same 143 "$(state k1 ExitCode)"; gone k1'
    check "status 143: died of SIGTERM" exits 143 box --init busybox sh -c 'kill -TERM $$; sleep 5'
    start e1 >/dev/null
    check "status of exec" exits 7 docker exec e1 sh -c 'exit 7'
    check "status 126 of exec" exits 126 docker exec e1 /etc/passwd
    check "status 127 of exec" exits 127 docker exec e1 nosuchprogram
    check "status 137 of exec" exits 137 docker exec e1 sh -c 'kill -9 $$'
    check "a failed exec leaves the container running" prints running state e1 Status
    gone e1
    check "wait prints the status" prints 3 all 'docker run -d --name w1 busybox sh -c "sleep 0.3; exit 3" >/dev/null; docker wait w1'
    check "wait for one that has ended" prints 3 docker wait w1
    gone w1
}

terminal() {
    check "run -it has a terminal" says /dev/pts/0 typed '' 'docker run --rm -it busybox tty'
    check "what is typed arrives" says 'got abc' typed $'abc\n' 'docker run --rm -it busybox sh -c "read x; echo got \$x"'
    check "run -it has the program's status" exits 9 typed $'exit 9\n' 'docker run --rm -it busybox sh'
    check "^C interrupts" exits 130 typed_when now $'\x03' 'docker run --rm -it busybox sh -c "trap \"exit 130\" INT; echo n\"\"ow; while :; do sleep 0.1; done"'
    check "exec -it has a terminal" all 'start t1 && says /dev/pts/ typed "" "docker exec -it t1 tty"'
    check "exec -it has the program's status" exits 4 typed $'exit 4\n' 'docker exec -it t1 sh'
    gone t1
    docker run -dit --name t1 busybox sh -c 'trap "stty size" WINCH; while :; do sleep 0.1; done' >/dev/null
    resize() { curl -sf --unix-socket /run/docker.sock -X POST "http://docker/containers/t1/resize?h=$1&w=$2"; }
    check "a terminal is resized" all 'resize 41 121 && wait_for says "41 121" docker logs t1'
    gone t1
    docker run -dit --name t1 busybox sh >/dev/null
    check "attach: typed and shown" all 'first=$'"'"'echo $((6*7))\n'"'"' typed_when 42 $'"'"'\x10\x11'"'"' "docker attach t1"; says 42 docker logs t1'
    check "detach keys leave it running" prints running state t1 Status
    check "attach, and the shell's end is its end" all 'typed $'"'"'exit 5\n'"'"' "docker attach t1"; same 5 "$(docker wait t1)"'
    gone t1
}

numbers() { seq 2700000; } # 20 MB
streams() {
    local sum
    sum=$(numbers | md5sum)
    check "20 MB arrive as they were written" prints "$sum" all 'box busybox seq 2700000 | md5sum'
    check "20 MB go in and out" prints "$sum" all 'numbers | box -i busybox cat | md5sum'
    check "20 MB of exec" all 'start s1 >/dev/null; prints "$sum" all "docker exec s1 seq 2700000 | md5sum"'
    check "standard error is its own" prints 'err' all 'docker exec s1 sh -c "echo out; echo err >&2" 2>&1 >/dev/null'
    check "closed input ends cat" prints 'x' all 'printf x | timeout 10 docker exec -i s1 cat'
    check "closed input ends run -i" prints 'x' all 'printf x | timeout 10 docker run --rm -i busybox cat'
    gone s1
    check "the last line of a short program is there" all \
        'for i in 1 2 3 4 5 6 7 8 9 10; do same "end $i" "$(box busybox echo end $i)" || return 1; done'
}

logs() {
    check "logs of one that has ended" prints 'a b ' all \
        'docker run --name l1 busybox sh -c "echo a; echo b >&2" >/dev/null 2>&1; docker logs l1 2>&1 | sort | tr "\n" " "'
    gone l1
    docker run -d --name l1 busybox sh -c 'for i in 1 2 3; do echo line $i; sleep 0.2; done' >/dev/null
    check "logs -f ends with the container, and has all of it" prints 'line 1 line 2 line 3 ' all \
        'timeout 20 docker logs -f l1 | tr "\n" " "'
    check "logs --tail" prints 'line 3' docker logs --tail 1 l1
    check "logs --timestamps" says "$(date -u +%Y)-" docker logs -t l1
    gone l1
    check "logs of 20 MB" all 'docker run -d --name l1 busybox seq 2700000; docker wait l1 &&
        same "$(numbers | md5sum)" "$(docker logs l1 | md5sum)"; gone l1'
    check "log driver local" all 'docker run --log-driver local --name l1 busybox echo here && prints here docker logs l1; gone l1'
    check "log driver none: nothing is kept" all 'docker run --log-driver none --name l1 busybox echo here &&
        says "not support reading" docker logs l1; gone l1'
    check "json-file is rotated" all 'docker run --log-opt max-size=10k --log-opt max-file=2 --name l1 busybox seq 5000 &&
        same 5000 "$(docker logs --tail 1 l1)"; gone l1'
}

life() {
    check "create does not start" all 'docker create --name c1 busybox sh -c "echo ran; sleep 1000" && same created "$(state c1 Status)"'
    check "start starts" all 'docker start c1 && same running "$(state c1 Status)"'
    check "stop -t 0 kills" all 'docker stop -t 0 c1 && same 137 "$(state c1 ExitCode)"'
    check "start again" all 'docker start c1 && wait_for all "same 2 \$(docker logs c1 | grep -c ran)"'
    check "restart gives another process" all 'old=$(state c1 Pid); docker restart -t 0 c1 && [ "$(state c1 Pid)" != "$old" ]'
    check "start -a shows the output" all 'docker create --name d1 busybox echo attached && prints attached docker start -a d1; gone d1'
    gone c1
    docker run -d --name c1 busybox sh -c 'trap "echo hup" HUP; while :; do sleep 0.1; done' >/dev/null
    check "kill -s HUP is a signal" all 'docker kill -s HUP c1 && wait_for says hup docker logs c1 && same running "$(state c1 Status)"'
    check "pause stops it" all 'docker pause c1 && same paused "$(state c1 Status)"'
    check "and nothing runs in it" all 'before=$(value c1 cpuacct/cpuacct.usage); sleep 0.5; same "$before" "$(value c1 cpuacct/cpuacct.usage)"'
    check "exec in a paused container is refused" says 'is paused' docker exec c1 true
    check "unpause" all 'docker unpause c1 && same running "$(state c1 Status)" && docker exec c1 true'
    check "a paused container can be removed" all 'docker pause c1 && docker rm -f c1'
    check "--stop-signal" all 'docker run -d --name c1 --stop-signal USR1 busybox sh -c "trap \"exit 11\" USR1; while :; do sleep 0.1; done" &&
        docker stop c1 && same 11 "$(state c1 ExitCode)"; gone c1'
    docker run -d --name c1 --restart always busybox sleep 1000 >/dev/null
    check "--restart always: a crash brings another process" all 'old=$(state c1 Pid); kill -9 "$old" &&
        wait_for all "same 1 \$(docker inspect -f {{.RestartCount}} c1)" && wait_for same running "$(state c1 Status)" &&
        wait_for all "[ \$(state c1 Pid) != $old ] && docker exec c1 true"'
    check "--restart always: stop is a stop" all 'docker stop -t 0 c1 && sleep 0.3 && same exited "$(state c1 Status)"; gone c1'
    check "--restart on-failure:2 gives up after two" all 'docker run -d --name c1 --restart on-failure:2 busybox sh -c "echo try; exit 6" &&
        wait_for 20 all "same exited2 \$(docker inspect -f {{.State.Status}}{{.RestartCount}} c1)" &&
        same 6 "$(state c1 ExitCode)" && same 3 "$(docker logs c1 | grep -c try)"; gone c1'
    check "--restart on-failure leaves a success alone" all 'docker run -d --name c1 --restart on-failure busybox true && docker wait c1 &&
        sleep 0.3 && same 0 "$(docker inspect -f "{{.RestartCount}}" c1)"; gone c1'
    check "--init: process 1 is docker-init" says docker-init box --init busybox cat /proc/1/cmdline
    check "--init reaps orphans" all 'docker run -d --init --name c1 busybox sh -c "(sleep 0.1 &) ; sleep 1000" && sleep 0.5 &&
        ! docker top c1 | grep defunct; gone c1'
}

limits() {
    start m1 --memory 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --cpu-shares 512 --pids-limit 50 \
        --cpuset-cpus 0 --blkio-weight 300 >/dev/null
    check "--memory" all 'same 67108864 "$(value m1 memory/memory.limit_in_bytes)"'
    check "--memory-reservation" all 'same 33554432 "$(value m1 memory/memory.soft_limit_in_bytes)"'
    check "--cpus" all 'same "50000 100000" "$(value m1 cpu/cpu.cfs_quota_us) $(value m1 cpu/cpu.cfs_period_us)"'
    check "--cpu-shares" all 'same 512 "$(value m1 cpu/cpu.shares)"'
    check "--cpuset-cpus" all 'same 0 "$(value m1 cpuset/cpuset.cpus)"'
    check "--pids-limit" all 'same 50 "$(value m1 pids/pids.max)"'
    check "stats" says 64MiB docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}} {{.CPUPerc}}' m1
    check "stats counts processes" all '[ "$(docker stats --no-stream --format "{{.PIDs}}" m1)" -ge 1 ]'
    check "update --memory" all 'docker update --memory 128m --memory-swap 256m m1 && same 134217728 "$(value m1 memory/memory.limit_in_bytes)"'
    check "update --cpus" all 'docker update --cpus 1.5 m1 && same 150000 "$(value m1 cpu/cpu.cfs_quota_us)"'
    check "update --pids-limit" all 'docker update --pids-limit 77 m1 && same 77 "$(value m1 pids/pids.max)"'
    check "update --restart" all 'docker update --restart always m1 && prints always docker inspect -f "{{.HostConfig.RestartPolicy.Name}}" m1'
    gone m1
    check "a program that takes too much memory is killed" exits 137 docker run --name m1 --network none --memory 16m --memory-swap 16m \
        busybox sh -c 'x=a; while :; do x=$x$x; done'
    check "and inspect says OOMKilled" prints true state m1 OOMKilled
    gone m1
    check "one that was killed by hand is not OOMKilled" all 'start m1; docker kill m1; same false "$(state m1 OOMKilled)"; gone m1'
    check "the oom event is told" says oom all 'since=$(date +%s); box --name o1 --memory 16m --memory-swap 16m busybox sh -c \
        "x=a; while :; do x=\$x\$x; done"; docker events --since $since --until $(($(date +%s) + 1)) --filter container=o1 --format "{{.Action}}"'
    check "--pids-limit holds a fork bomb" says "can't fork" box --pids-limit 10 busybox sh -c \
        'for i in $(seq 20); do sleep 20 & done'
    check "--ulimit" prints '100 200' box --ulimit nofile=100:200 busybox sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)'
    check "--sysctl" prints 4242 box --sysctl net.ipv4.ip_unprivileged_port_start=4242 busybox \
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start
    check "--shm-size" says 8.0M box --shm-size 8m busybox df -h /dev/shm
    check "--oom-score-adj" prints 500 box --oom-score-adj 500 busybox cat /proc/1/oom_score_adj
    check "--cgroup-parent" all 'start m1 --cgroup-parent /mine && test -d "/sys/fs/cgroup/memory/mine/$(id m1)"; gone m1'
}

security() {
    local caps='grep CapEff /proc/self/status'
    check "capabilities are Docker's" prints $'CapEff:\t00000000a80425fb' box busybox $caps
    check "--cap-drop ALL" prints $'CapEff:\t0000000000000000' box --cap-drop ALL busybox $caps
    check "--cap-drop ALL --cap-add CHOWN" prints $'CapEff:\t0000000000000001' box --cap-drop ALL --cap-add CHOWN busybox $caps
    check "--cap-add NET_ADMIN can set links" box --cap-add NET_ADMIN busybox ip link set lo mtu 1400
    check "without it that is refused" says 'not permitted' box busybox ip link set lo mtu 1400
    check "a seccomp filter is there" prints $'Seccomp:\t2' box busybox grep Seccomp: /proc/self/status
    check "seccomp=unconfined" prints $'Seccomp:\t0' box --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}' >/tmp/seccomp.json
    check "seccomp=FILE" says 'Operation not permitted' box --security-opt seccomp=/tmp/seccomp.json busybox mkdir /x
    check "Docker's filter refuses what it refuses" says 'Operation not permitted' box busybox unshare -m true
    check "no-new-privileges" prints $'NoNewPrivs:\t1' box --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status
    check "/proc/kcore is masked" prints 0 box busybox sh -c 'head -c 10 /proc/kcore | wc -c'
    check "systempaths=unconfined unmasks" prints 0 box --security-opt systempaths=unconfined busybox sh -c 'grep -c " /proc/sys " /proc/mounts || true'
    check "--device" box --device /dev/null:/dev/mine busybox sh -c 'echo x >/dev/mine'
    check "--device :r can't be written" says 'not permitted' box --device /dev/fuse:/dev/mine:r busybox sh -c 'exec 3</dev/mine; exec 3>/dev/mine'
    check "another device can't be used" says 'not permitted' box --cap-add MKNOD busybox sh -c 'mknod /d b 7 0 && head -c 1 /d'
    check "--device-cgroup-rule" box --device-cgroup-rule 'c 1:5 rwm' busybox sh -c 'mknod /d c 1 5 && head -c 1 /d'
    check "--read-only" says 'Read-only file system' box --read-only busybox touch /x
    check "--read-only with --tmpfs" box --read-only --tmpfs /t busybox touch /t/x
    check "--privileged has the host's devices" box --privileged busybox test -c /dev/kmsg
    check "--privileged can mount" box --privileged busybox mount -t tmpfs t /tmp
}

files() {
    mkdir -p /tmp/v
    echo outside >/tmp/v/file
    check "-v" prints outside box -v /tmp/v:/v busybox cat /v/file
    check "-v :ro" says 'Read-only file system' box -v /tmp/v:/v:ro busybox touch /v/x
    check "-v: what is written is there" all 'box -v /tmp/v:/v busybox sh -c "echo in >/v/in" && same in "$(cat /tmp/v/in)"'
    check "-v of a file" prints outside box -v /tmp/v/file:/etc/hosts.mine busybox cat /etc/hosts.mine
    check "--mount type=bind,readonly" says 'Read-only' box --mount type=bind,src=/tmp/v,dst=/v,readonly busybox touch /v/x
    check "a named volume stays" all 'box -v vol:/v busybox sh -c "echo kept >/v/f" && prints kept box -v vol:/v busybox cat /v/f'
    check "a new volume has what the image has there" prints root all \
        'box -v fresh:/etc busybox cut -d: -f1 /etc/passwd | head -n 1'
    check "--volumes-from" all 'docker create --name vf -v vol:/v busybox && prints kept box --volumes-from vf busybox cat /v/f; gone vf'
    check "--tmpfs with options" says 'size=1024k' box --tmpfs /t:size=1m,mode=700 busybox grep ' /t ' /proc/mounts
    check "-v :rshared shows later mounts" all 'mount --bind /tmp/v /tmp/v && mount --make-shared /tmp/v && mkdir -p /tmp/v/m &&
        start s1 -v /tmp/v:/v:rshared && mount -t tmpfs late /tmp/v/m && docker exec s1 grep -q "^late /v/m" /proc/mounts;
        status=$?; gone s1; umount /tmp/v/m /tmp/v; [ $status = 0 ]'
    start f1 >/dev/null
    check "cp into a running container" all 'docker cp /tmp/v/file f1:/copied && prints outside docker exec f1 cat /copied'
    check "cp out of it" all 'docker exec f1 sh -c "echo out >/made" && docker cp f1:/made /tmp/made && same out "$(cat /tmp/made)"'
    check "cp of a stream" prints copied all 'docker cp f1:/copied - | tar -tf -'
    check "diff" prints 'A /copied A /made ' all 'docker diff f1 | sort | tr "\n" " "'
    check "commit" all 'docker commit f1 mine && prints out box mine cat /made'
    check "export" says made all 'docker export f1 | tar -tf -'
    check "cp out of a stopped container" all 'docker stop f1 && docker cp f1:/made - | tar -xO | grep -q out'
    gone f1
}

namespaces() {
    start n1 --network none >/dev/null
    check "pid, ipc, uts, mnt and net are its own" all 'for ns in pid ipc uts mnt net; do
        [ "$(docker exec n1 readlink /proc/self/ns/$ns)" != "$(readlink /proc/self/ns/$ns)" ] || return 1; done'
    check "--network none has lo only" prints lo all 'box busybox ls /sys/class/net'
    check "--network host" prints "$(readlink /proc/self/ns/net)" docker run --rm --network host busybox readlink /proc/self/ns/net
    check "--network container:" prints "$(docker exec n1 readlink /proc/self/ns/net)" \
        docker run --rm --network container:n1 busybox readlink /proc/self/ns/net
    check "--pid host" prints "$(readlink /proc/self/ns/pid)" box --pid host busybox readlink /proc/self/ns/pid
    check "--pid container:" says 'while :; do sleep' box --pid container:n1 busybox ps
    check "--ipc host" prints "$(readlink /proc/self/ns/ipc)" box --ipc host busybox readlink /proc/self/ns/ipc
    check "--ipc container: of a shareable one" all 'start i1 --ipc shareable >/dev/null; docker exec i1 touch /dev/shm/shared &&
        box --ipc container:i1 busybox test -e /dev/shm/shared; status=$?; gone i1; [ $status = 0 ]'
    check "--uts host" prints engines box --uts host busybox hostname
    check "--userns host" prints "$(readlink /proc/self/ns/user)" box --userns host busybox readlink /proc/self/ns/user
    check "--cgroupns private" prints '' box --cgroupns private busybox sh -c 'grep -E "docker" /proc/self/cgroup || true'
    gone n1
}

network() {
    docker run -d --name web -p 8080:80 -p 127.0.0.1::81 busybox httpd -f -h /etc >/dev/null
    check "-p: a request to the published port" all 'wait_for curl -sf localhost:8080/passwd && curl -s localhost:8080/passwd | grep -q ^root:'
    check "-p: a port that Docker chooses" says 127.0.0.1: docker port web 81
    check "a request to its address" all 'curl -sf "http://$(docker inspect -f "{{.NetworkSettings.Networks.bridge.IPAddress}}" web)/passwd"'
    check "stop closes the port, start opens it" all 'docker stop -t 0 web && ! curl -s localhost:8080/passwd &&
        docker start web && wait_for curl -sf localhost:8080/passwd'
    check "--link" prints root all 'docker run --rm --link web:w busybox wget -qO- http://w/passwd | head -n 1 | cut -d: -f1'
    gone web
    docker network create net1 >/dev/null
    docker run -d --name server --network net1 --network-alias store busybox httpd -f -h /etc >/dev/null
    check "on a user network, one finds the other by name" prints root all \
        'docker run --rm --network net1 busybox wget -qO- http://server/passwd | head -n 1 | cut -d: -f1'
    check "and by its alias" docker run --rm --network net1 busybox wget -qO- http://store/passwd
    check "another network does not reach it" all '! timeout 5 docker run --rm busybox wget -T 2 -qO- http://server/passwd'
    check "network connect in a running container" all 'start later && docker network connect net1 later &&
        docker exec later wget -qO- http://server/passwd && docker network disconnect net1 later && ! docker exec later ip link show eth1; status=$?; gone later; [ $status = 0 ]'
    check "--add-host, --dns, --mac-address" prints '10.1.2.3 10.9.9.9 02:42:00:00:00:99' docker run --rm --add-host h:10.1.2.3 --dns 10.9.9.9 \
        --mac-address 02:42:00:00:00:99 busybox sh -c 'echo $(grep -w h /etc/hosts | cut -f1) $(grep ^nameserver /etc/resolv.conf | cut -d" " -f2) $(cat /sys/class/net/eth0/address)'
    gone server
    docker network rm net1 >/dev/null
}

health() {
    start h1 --health-cmd 'test -e /healthy' --health-interval 200ms --health-retries 2 >/dev/null
    check "a health check fails: unhealthy" wait_for 20 all 'same unhealthy "$(state h1 Health.Status)"'
    docker exec h1 touch /healthy
    check "it passes: healthy" wait_for 20 all 'same healthy "$(state h1 Health.Status)"'
    gone h1
    start h1 --health-cmd 'sleep 10' --health-interval 200ms --health-timeout 300ms --health-retries 1 >/dev/null
    check "a health check that hangs is ended: unhealthy" wait_for 20 all 'same unhealthy "$(state h1 Health.Status)"'
    check "and its process is gone" wait_for all '! docker top h1 | grep "sleep 10"'
    gone h1
}

many() {
    local i
    check "20 containers at once" all 'for i in $(seq 20); do start many$i >/tmp/many$i 2>&1 & jobs[$i]=$!; done
        for i in $(seq 20); do wait ${jobs[$i]} || { cat /tmp/many$i; bad=1; }; done; [ -z "${bad:-}" ] &&
        same 20 "$(docker ps -q --filter name=many | wc -l)"'
    check "an exec in each at once" all 'for i in $(seq 20); do docker exec many$i hostname >/tmp/many$i 2>&1 & jobs[$i]=$!; done
        for i in $(seq 20); do wait ${jobs[$i]} || return 1; done; same 20 "$(sort -u /tmp/many? /tmp/many?? | wc -l)"'
    check "they are stopped at once, each by its signal" all 'docker stop $(docker ps -q --filter name=many) &&
        same 20 "$(docker ps -aq --filter name=many --filter exited=0 | wc -l)"'
    docker ps -aq --filter name=many | xargs docker rm -f >/dev/null
    check "40 short ones, four at a time, each with its status" all \
        'seq 40 | xargs -P 4 -I N sh -c "docker run --rm --network none busybox sh -c \"echo N; exit N\" >/tmp/out.N; [ \$? = N ] && [ \$(cat /tmp/out.N) = N ]"'
}

build() {
    mkdir -p /tmp/build
    cat >/tmp/build/Dockerfile <<'DOCKERFILE'
FROM busybox
ARG WHAT=nothing
RUN echo "$WHAT" >/made && id -u >/who
COPY Dockerfile /
USER nobody
RUN test "$(id -un)" = nobody
USER root
WORKDIR /w
RUN ["/bin/sh", "-c", "pwd >where"]
CMD cat /made
DOCKERFILE
    check "build with RUN steps, each a container" env DOCKER_BUILDKIT=0 docker build --build-arg WHAT=something -t built /tmp/build
    check "its image runs" prints something box built
    check "what RUN did is in it" prints '0 /w' box built sh -c 'echo $(cat /who /w/where)'
    check "a RUN that fails has its status told" says 'returned a non-zero code: 3' all \
        'printf "FROM busybox\nRUN exit 3\n" | DOCKER_BUILDKIT=0 docker build -'
    # BuildKit in dockerd executes runc by itself, whatever runtimes are configured.
    check "BuildKit works beside it" env DOCKER_BUILDKIT=1 docker build -q -t built2 /tmp/build
    docker image rm -f built built2 mine >/dev/null 2>&1
}

compose() {
    if ! docker compose version >/dev/null 2>&1; then
        skip "compose: three services" "there is no docker compose"
        return
    fi
    mkdir -p /tmp/app
    cat >/tmp/app/compose.yaml <<'YAML'
services:
  store:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    healthcheck: {test: ["CMD", "true"], interval: 200ms}
  web:
    image: busybox
    command: httpd -f -h /data
    volumes: ["data:/data"]
    ports: ["8090:80"]
    stop_grace_period: 0s
    depends_on: {store: {condition: service_healthy}}
  job:
    image: busybox
    command: sh -c 'echo made >/data/file; echo job is done'
    volumes: ["data:/data"]
    depends_on: [store]
volumes: {data: {}}
YAML
    c() { docker compose --project-directory /tmp/app --progress quiet "$@"; }
    check "compose up: three services" c up -d --pull never
    check "the one waits for the other's health" all 'same 2 "$(c ps -q | wc -l)"'
    check "a published port answers" all 'wait_for curl -sf localhost:8090/file && same made "$(curl -s localhost:8090/file)"'
    check "services find each other" all 'same made "$(c exec -T store wget -qO- http://web/file)"'
    check "compose logs" says 'job is done' c logs job
    check "compose run" prints ran c run --rm --no-deps -T store echo ran
    check "compose up --scale" all 'c up -d --pull never --scale store=3 && same 3 "$(c ps -q store | wc -l)"'
    check "compose down leaves nothing" all 'c down -v -t 0 && same "" "$(docker ps -aq --filter label=com.docker.compose.project=app)"'
}

path() {
    if [[ $RUNTIME != hoist ]]; then
        skip "the path form" "it is hoist's"
        return
    fi
    p() { docker run --rm --network none --runtime hoist-path "$@"; }
    check "the path form: hoist with Go's shim" prints hello p busybox echo hello
    check "the path form: status" exits 42 p busybox sh -c 'exit 42'
    check "the path form: status 127" exits 127 p busybox nosuchprogram
    check "the path form: status 126" exits 126 p busybox /etc/passwd
    check "the path form: a terminal" says /dev/pts/0 typed '' 'docker run --rm -it --runtime hoist-path busybox tty'
    check "the path form: exec" all 'start p1 --runtime hoist-path && prints hi docker exec p1 echo hi'
    check "the path form: it is Go's shim" all 'pgrep -f "containerd-shim-runc-v2 .*$(id p1)"'
    check "the path form: pause and unpause" all 'docker pause p1 && docker unpause p1 && docker exec p1 true'
    check "the path form: update" all 'docker update --memory 64m --memory-swap 64m p1 && same 67108864 "$(value p1 memory/memory.limit_in_bytes)"'
    check "the path form: top and stats" all 'docker top p1 && docker stats --no-stream p1'
    check "the path form: OOMKilled" all 'docker run --name po --network none --runtime hoist-path --memory 16m --memory-swap 16m busybox sh -c \
        "x=a; while :; do x=\$x\$x; done"; same true "$(state po OOMKilled)"'
    check "the path form: stop" all 'docker stop p1 && same 0 "$(state p1 ExitCode)"'
    docker rm -f p1 po >/dev/null
}

restart() {
    start r1 >/dev/null
    docker run -d --name r2 busybox sh -c 'until [ -e /end ]; do echo alive; sleep 0.1; done; exit 33' >/dev/null
    docker run -d --name r3 --restart always busybox sh -c 'until [ -e /end ]; do sleep 0.1; done; rm /end; exit 1' >/dev/null
    local pid
    pid=$(state r1 Pid)
    local r2 r3
    r2=$(state r2 Pid) r3=$(state r3 Pid)
    kill -KILL "$dockerd"
    wait "$dockerd" 2>/dev/null
    check "dockerd killed: containers run on" all 'kill -0 $pid && kill -0 $r2'
    touch "/proc/$r2/root/end" "/proc/$r3/root/end"
    wait_for test ! -d "/proc/$r2"
    check "dockerd starts again" start_dockerd
    check "what runs is known" all 'same "running $pid" "$(state r1 Status) $(state r1 Pid)"'
    check "exec in it" prints back docker exec r1 echo back
    check "what has ended meanwhile is known, with its status" wait_for all 'same "exited 33" "$(state r2 Status) $(state r2 ExitCode)"'
    check "what is to be restarted is restarted" wait_for 20 all 'same running "$(state r3 Status)" && [ "$(state r3 Pid)" != "$r3" ]'
    check "stop in it" all 'docker stop r1 && same "exited 0" "$(state r1 Status) $(state r1 ExitCode)"'
    docker rm -f r2 r3 >/dev/null
    docker start r1 >/dev/null
    pid=$(state r1 Pid)
    kill -KILL "$containerd"
    wait "$containerd" 2>/dev/null
    check "containerd killed: containers run on" kill -0 "$pid"
    check "containerd starts again" start_containerd
    check "exec after that" wait_for 30 prints back docker exec r1 echo back
    check "new containers after that" prints new box busybox echo new
    check "stop after that" all 'docker stop r1 && same "exited 0" "$(state r1 Status) $(state r1 ExitCode)"'
    gone r1
    start r1 >/dev/null
    pid=$(state r1 Pid)
    local shim
    shim=$(pgrep -f "containerd-shim-.* $(id r1)")
    check "the shim killed: the container is known to have ended" all 'kill -KILL $shim && wait_for 20 all "same exited \$(state r1 Status)"'
    check "its processes are gone" wait_for test ! -d "/proc/$pid"
    check "and it can be started again" all 'docker start r1 && same running "$(state r1 Status)"'
    gone r1
}

# After each section.
clean() {
    docker ps -aq | xargs -r docker rm -f >/dev/null
    check "no shim is left" wait_for all '! pgrep -af containerd-shim-'
    check "no cgroup is left" wait_for all 'same "" "$(find /sys/fs/cgroup{,/*}/{docker,mine} -mindepth 1 -type d ! -name buildkit 2>/dev/null)"'
    check "no mount is left" all 'same "" "$(grep -E "overlay2/.*/merged|/run/containerd/io|/run/docker/netns" /proc/self/mountinfo | grep -v netns/default)"'
    check "no state is left" all 'same "" "$(ls -A /run/containerd/io.containerd.runtime.v2.task/moby /run/containerd/{runc,hoist}/moby /run/docker/runtime-*/moby 2>/dev/null | grep -v :)"'
}

wanted=("$@")
((${#wanted[@]})) || wanted=("${sections[@]}")
daemon_json '"live-restore": true' >/etc/docker/daemon.json
start_containerd && start_dockerd || { echo "Bail out! the engines don't start"; exit 1; }
image busybox
for section in "${wanted[@]}"; do
    $section
    clean
done
finish
