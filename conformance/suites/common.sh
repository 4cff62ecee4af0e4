# Sourced by the `build` scripts below this directory. Each of them makes one product, $cache/NAME, of
# Debian's packages: NAME is its directory's.
# shellcheck shell=bash
suites=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$suites/../common.sh"
pins=$suites/pins
# What the product is made of, besides the script, the pins and this file.
inputs=()
umask 022

# begin SUBJECT COMMAND…: ends the script when the product is there and was made from the same inputs. Else
# the script makes it in $product, with all that it needs for that in $work, and calls `finish`.
begin() {
    subject=$1
    shift
    prerequisites conformance "$@"
    name=$(basename "$(dirname "$(readlink -f "$0")")")
    work=$cache/.$name.work
    product=$work/product
    log=$cache/$name.log
    # Products may know where they are.
    key=$({
        echo "$cache"
        pinned
        cat "$0" "$suites/common.sh" "$conformance/common.sh" "${inputs[@]}"
    } | sha256sum | cut -c1-16)
    up_to_date && exit 0

    mkdir -p "$cache"
    exec {lock}>"$cache/.lock"
    flock --nonblock $lock || {
        say "$name: another build is under way, waiting for it"
        flock $lock
    }
    up_to_date && exit 0
    local free
    free=$(df --output=avail -BM "$cache" | tail -n 1 | tr -dc 0-9)
    ((free >= 1000)) || fail "no room: $free MB are free in $cache, a build needs 1000"
    removable "$cache/$name"
    remove_tree "$work" # of a build that was killed
    trap 'remove_tree "$work"' EXIT
    mkdir -p "$product"
    : >"$log"
    apt_beside "$work/apt" "$work/nothing-installed" "$debian"
    : >"$work/nothing-installed"
}

up_to_date() { [[ $(cat "$cache/$name/key" 2>/dev/null) == "$key" ]]; }

finish() {
    echo "$key" >"$product/key"
    rm -f "$cache/$name/key" # one that is removed by halves is not up to date
    remove_tree "$cache/$name"
    mv "$product" "$cache/$name"
    say "$name: ready after $SECONDS s, $(du -sh "$cache/$name" | cut -f1) in $cache/$name"
}

# logged COMMAND…: with its output in the log.
logged() {
    "$@" >>"$log" 2>&1 && return
    tail -n 15 "$log" >&2
    fail "$name: a step has failed; all that it said is in $log"
}

# SHA-256 and path below the mirror of what the product takes by exact version.
pinned() { awk -v name="$name" '$1 == name {print $2, $3}' "$pins"; }

# fetch_pinned: all of them, checked, to $work/pinned.
fetch_pinned() {
    local sum path file found
    mkdir -p "$work/pinned"
    while read -r sum path; do
        file=$work/pinned/$(basename "$path")
        APT_CONFIG=$apt/apt.conf /usr/lib/apt/apt-helper download-file "$(mirror)/$path" "$file" \
            >"$apt/log" 2>&1 || unavailable "$(basename "$path") is not to be had: $(complaint "$apt/log")"
        found=$(sha256sum "$file" | cut -d' ' -f1)
        [[ $found == "$sum" ]] || {
            rm -f "$file"
            fail "$(basename "$path"): SHA-256 is $found, expected $sum (conformance/suites/pins); removed"
        }
    done < <(pinned)
}

# unpack PACKAGE…: these packages of $debian and all that they depend on, then the pinned ones, to $system.
unpack() {
    local package
    system=$work/system
    say "$name: get packages from $(mirror)"
    apt_download "$@"
    fetch_pinned
    mkdir "$system"
    for package in "$apt"/archives/*.deb "$work"/pinned/*.deb; do
        [[ ! -e $package ]] || logged dpkg -x "$package" "$system"
    done
}

# go_build OUTPUT-DIR OPTION… PACKAGE…: with the Go that was unpacked, from $work/gopath and the packages'
# sources. Small: no symbols, no paths.
go_build() {
    local output=$1 go
    shift
    go=$(echo "$system"/usr/lib/go-*)
    logged env GOROOT="$go" GOPATH="$work/gopath:$system/usr/share/gocode" GOCACHE="$work/gocache" \
        GO111MODULE=off GOENV=off GOFLAGS= GOTOOLCHAIN=local \
        "$go/bin/go" build -trimpath -ldflags='-s -w' -o "$output/" "$@"
}

# busybox_root DIR BUSYBOX: a root file system that has busybox and little else.
busybox_root() {
    local root=$1
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc,dev,home,lib,root,run,tmp,var/tmp}
    chmod 1777 "$root"/{tmp,var/tmp}
    cp "$2" "$root/bin/busybox"
    # Hard links: a test's chmod from outside would follow a symlink to the host's busybox. In /bin and at each
    # applet's own place, because tests name both.
    "$root/bin/busybox" --list-full | while read -r applet; do
        ln -f "$root/bin/busybox" "$root/bin/$(basename "$applet")" 2>/dev/null || true # itself
        ln -f "$root/bin/busybox" "$root/$applet" 2>/dev/null || true
    done
    cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
PASSWD
    cut -d: -f1-2,4 "$root/etc/passwd" | sed 's/$/:/; s/^nobody/nogroup/' >"$root/etc/group"
}
