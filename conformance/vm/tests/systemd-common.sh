# What the scripts about systemd share. Expects $hoist, $dir; systemctl in $systemctl if it is not
# the system's.
number=0 failed=0
check() { # check NAME STATUS-OF-THE-TEST
    number=$((number + 1))
    if [ "$2" = 0 ]; then echo "ok $number $1"; else echo "not ok $number $1"; failed=1; fi
}
same() { # same NAME GOT WANTED
    [ "$2" = "$3" ]
    check "$1" $?
    [ "$2" = "$3" ] || printf '    got: %s\n    not: %s\n' "$2" "$3"
}
fails() { # fails NAME WORDS COMMAND…: it fails, and says these words
    local name=$1 words=$2 said
    shift 2
    if said=$("$@" </dev/null 2>&1); then
        check "$name" 1
        echo "    it worked: $said"
    else
        grep -qF -- "$words" <<<"$said"
        check "$name" $?
        grep -qF -- "$words" <<<"$said" || echo "    said: $said"
    fi
}
run() { "$hoist" --root "$dir/state" --systemd-cgroup "$@" 2>&1; }
status() { run state "$1" | jq -r .status; }
pid() { run state "$1" | jq -r .pid; }
show() { ${systemctl:-systemctl} show "$1" -p "$2" --value; }
is_gone() { [ "$(show "$1" LoadState)" = not-found ] && [ -z "$(find /sys/fs/cgroup -name "$1")" ]; }
gone() { # gone NAME UNIT
    is_gone "$2"
    check "$1: the unit is gone" $?
}
await() { # await NAME ID STATUS
    for _ in $(seq 100); do [ "$(status "$2")" = "$3" ] && break; sleep 0.1; done
    same "$1" "$(status "$2")" "$3"
}
config() { # config CGROUPSPATH FILTER COMMAND [JQ-OPTION…]
    local path=$1 filter=$2 command=$3
    shift 3
    jq --arg path "$path" --arg command "$command" "$@" \
        '.process.terminal = false | .process.args = ["sh", "-c", $command]
        | if $path == "" then del(.linux.cgroupsPath) else .linux.cgroupsPath = $path end
        | '"$filter" spec.json >config.json
}
config_command() { jq --arg command "$1" '.process.args = [$command]' config.json >c && mv c config.json; }
start_container() { # start_container ID CGROUPSPATH FILTER
    config "$2" "$3" 'sleep 1000'
    run run -d "$1" </dev/null >log 2>&1 || { check "run $1" 1; cat log; }
}

mkdir -p rootfs/{bin,proc,sys/fs/cgroup,dev,tmp}
cp /bin/busybox rootfs/bin/
for applet in sh id sleep cat grep tail true; do ln -s busybox "rootfs/bin/$applet"; done
"$hoist" spec ${spec_options:-}
mv config.json spec.json
