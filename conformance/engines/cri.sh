#!/bin/bash
# cri.sh [TEST…]: pods and containers as a kubelet makes them, through containerd's CRI, in `enter`. No package has
# crictl: CRICTL is its path (BIND it). Pods are in the host's network, so they need no CNI plugins. RUNTIME and
# ENGINE as in ctr.sh.
# shellcheck disable=SC2016 # shells in containers expand these
set -u
engines=$(dirname "$(readlink -f "$0")")
. "$engines/lib.sh"
. "$engines/containerd.sh"
CRICTL=${CRICTL:-}
[[ -n $CRICTL ]] || { skip "all" "there is no crictl (CRICTL=PATH)"; finish; }
CONTAINERD_NAMESPACE=k8s.io
roots=/run/roots-of-cri

cat >"$work/config.toml" <<TOML
version = 2
[debug]
  level = "debug"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/pause:latest"
  # To lower one takes CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "tried"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tried]
      runtime_type = "$shim"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tried.options]
        Root = "$roots"
TOML
echo 'runtime-endpoint: unix:///run/containerd/containerd.sock' >/etc/crictl.yaml

cri() { timeout --kill-after 5 60 "$CRICTL" "$@"; }
pod_config() { # NAME
    jq -n --arg name "$1" --arg logs "$work/logs-$1" '{
        metadata: {name: $name, namespace: "default", uid: $name, attempt: 0}, log_directory: $logs,
        linux: {cgroup_parent: "/conformance", security_context: {namespace_options: {network: 2, pid: 1}}}}'
}
container_config() { # NAME COMMAND…
    local name=$1
    shift
    printf '%s\0' "$@" | jq -Rs --arg name "$name" '{
        metadata: {name: $name}, image: {image: "docker.io/library/busybox:latest"}, log_path: ($name + ".log"),
        command: split("\u0000")[:-1], linux: {resources: {memory_limit_in_bytes: 50000000}}}'
}
pod() { # NAME: $pod
    pod_config "$1" >"$work/pod-$1"
    pod=$(cri runp "$work/pod-$1") || problem "no pod $1: $pod"
}
container() { # POD NAME COMMAND…: created and started; $container
    local of=$1
    container_config "${@:2}" >"$work/container"
    container=$(cri create --no-pull "$pod" "$work/container" "$work/pod-$of") || problem "no container $2"
    cri start "$container" >/dev/null || problem "container $2 doesn't start"
}
state() { cri inspect -o json "$1" | jq -r ".status.$2"; } # CONTAINER FIELD
state_is() { [[ $(state "$1" state) == "$2" ]]; }
cri_counts() { cri stats -o json "$1" | jq -e '.stats[0] | (.memory.workingSetBytes.value | tonumber) > 4096'; }
pod_end() {
    cri stopp "$pod" >/dev/null || problem "the pod can't be stopped"
    cri rmp "$pod" >/dev/null || problem "the pod can't be removed"
}

test_pod() {
    local pod container first second
    pod one
    is "state of the pod" "$(cri inspectp -o json "$pod" | jq -r .status.state)" SANDBOX_READY
    container one first sh -c 'echo out; echo err >&2; trap "exit 3" TERM; while :; do sleep 0.05; done'
    first=$container
    container one second sleep 1000
    second=$container
    is shims "$(shims | wc -l)" 1
    is "state of the first" "$(state "$first" state)" CONTAINER_RUNNING
    is "exec" "$(cri exec -s "$first" sh -c 'echo $((6 * 7))')" 42
    cri exec -s "$first" sh -c 'exit 9' >/dev/null 2>&1
    yes "exec's code" test $? -ne 0
    is "exec, streamed" "$(cri exec "$second" echo streamed 2>&1)" streamed
    wait_for eval '[[ $(wc -l <"'"$work/logs-one/first.log"'") == 2 ]]'
    like log "$(sort -k 2 "$work/logs-one/first.log")" '*stderr F err*stdout F out*'
    is "crictl logs" "$(cri logs "$first" 2>/dev/null)" out
    wait_for 30 cri_counts "$second" || problem "stats: $(cri stats -o json "$second")"
    yes "update" cri update --memory 60000000 "$second"
    yes "no state below the option Root" test -d "$roots/k8s.io/$first"
    cri stop --timeout 10 "$first" >/dev/null
    is "state of what was stopped" "$(state "$first" state)" CONTAINER_EXITED
    is "its code" "$(state "$first" exitCode)" 3
    is "the second" "$(state "$second" state)" CONTAINER_RUNNING
    cri rm "$first" >/dev/null || problem "it can't be removed"
    is "exec in the second" "$(cri exec -s "$second" echo yes)" yes
    pod_end
    wait_for none shims || problem "the shim stays"
}

test_exit_codes() {
    local pod container code
    pod codes
    for code in 0 1 137; do
        container codes "code-$code" sh -c "exit $code"
        wait_for state_is "$container" CONTAINER_EXITED || problem "it doesn't end"
        is code "$(state "$container" exitCode)" $code
    done
    container codes missing sh -c true
    container_config none /no/such/command >"$work/container"
    container=$(cri create --no-pull "$pod" "$work/container" "$work/pod-codes")
    like "a missing command" "$(cri start "$container" 2>&1)" '*no such file or directory*'
    is "its code" "$(state "$container" exitCode)" 128
    pod_end
}

test_oom() {
    local pod container
    pod oom
    container oom hog sh -c 'sleep 0.3; exec dd if=/dev/zero of=/dev/null bs=200M count=1'
    wait_for 20 state_is "$container" CONTAINER_EXITED || problem "it doesn't end"
    is code "$(state "$container" exitCode)" 137
    [[ $RUNTIME == hoist ]] || { cannot "runc's shim may lose the event"; return; }
    is reason "$(state "$container" reason)" OOMKilled
    pod_end
}

# A pod that a restarted containerd finds.
test_restart() {
    local pod container ended
    pod again
    container again stays sleep 1000
    local stays=$container
    container again ends sh -c 'sleep 1; exit 33'
    ended=$container
    daemon_kill
    sleep 1.5
    daemon_start
    wait_for state_is "$ended" CONTAINER_EXITED || problem "it is $(state "$ended" state)"
    is "code of what ended meanwhile" "$(state "$ended" exitCode)" 33
    is "what stays" "$(state "$stays" state)" CONTAINER_RUNNING
    is "exec in it" "$(cri exec -s "$stays" echo yes)" yes
    pod_end
}

test_ten_pods() {
    local pod container pods=() name
    for name in 1 2 3 4 5 6 7 8 9 10; do
        pod "ten-$name"
        pods+=("$pod")
        container "ten-$name" a sleep 1000
        container "ten-$name" b sleep 1000
    done
    is shims "$(shims | wc -l)" 10
    for pod in "${pods[@]}"; do pod_end; done
    wait_for none shims || problem "shims stay"
}

test_nothing_is_left() {
    is tasks "$(c task ls -q)" ''
    nothing_is_left 20
}

# The busybox image with another command, as the pod's first container.
pause_image() {
    local dir=$work/pause digest
    mkdir "$dir"
    tar -C "$dir" -xf /images/busybox.tar
    cd "$dir/blobs/sha256" || exit
    replace() { # DIGEST JQ…: the digest of what jq makes of a blob
        jq -c "${@:2}" "${1#sha256:}" >new
        digest=$(sha256sum <new | cut -d' ' -f1)
        mv new "$digest"
    }
    local manifest config
    manifest=$(jq -r '.manifests[0].digest' "$dir/index.json")
    config=$(jq -r .config.digest "${manifest#sha256:}")
    replace "$config" '.config.Cmd = ["sleep", "1000000"]'
    replace "$manifest" --arg digest "sha256:$digest" --argjson size "$(stat -c %s "$digest")" '.config += {digest: $digest, size: $size}'
    jq --arg digest "sha256:$digest" --argjson size "$(stat -c %s "$digest")" '.manifests[0] |= (. + {digest: $digest, size: $size}
        | .annotations["io.containerd.image.name"] = "docker.io/library/pause:latest")' "$dir/index.json" >"$dir/index"
    mv "$dir/index" "$dir/index.json"
    rm "$dir/manifest.json"
    cd "$OLDPWD" || exit
    tar -C "$dir" -cf "$work/pause.tar" .
    c images import "$work/pause.tar" >/dev/null
}

daemon_start
c images import /images/busybox.tar >/dev/null && pause_image || { echo "Bail out! no images"; exit 1; }
tests_run "$@"
tests_end
